//! Confining a session as the init of another engine's container is confined.
//!
//! In two acts, since init's own filters may refuse what is still to be done: as runc does, they are
//! loaded last, and where init may gain privileges by set-user-ID programs, with the one capability
//! that loading them then takes and that the program does not get.

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{CAPABILITY_NUMBERS, become_user, drop_bounding, seccomp};
use crate::account::Account;
use crate::foreign::manner::Manner;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// What the account's programs have: root all of the bounding set, others what is ambient. It is
/// what execve(2) would give them too.
fn wanted(account: &Account, manner: &Manner) -> CapabilitySet {
    CapabilitySet::from_bits_retain(if account.uid == 0 {
        manner.bounding
    } else {
        manner.ambient
    })
}

fn set(
    permitted: CapabilitySet,
    effective: CapabilitySet,
    manner: &Manner,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    trace.step(
        Step::SetCapabilities,
        format!(
            "capset(effective={:#x}, permitted={:#x}, inheritable={:#x})",
            effective.bits(),
            permitted.bits(),
            manner.inheritable
        ),
        || {
            rustix::thread::set_capabilities(
                None,
                CapabilitySets {
                    effective,
                    permitted,
                    inheritable: CapabilitySet::from_bits_retain(manner.inheritable),
                },
            )
        },
    )
}

/// The first act: becomes the account's. This process must be the container's root with every
/// capability in the container's user namespace, and keeps one of them beside the account's own.
pub(crate) fn begin(
    account: &Account,
    manner: &Manner,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(manner.umask));
    drop_bounding(CapabilitySet::from_bits_retain(manner.bounding), trace)?;
    trace.step(
        Step::ClearAmbient,
        "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)",
        rustix::thread::clear_ambient_capability_set,
    )?;
    trace.step(Step::SetCapabilities, "prctl(PR_SET_KEEPCAPS, 1)", || {
        rustix::thread::set_keep_capabilities(true)
    })?;
    become_user(account, trace)?;
    let wanted = wanted(account, manner);
    set(wanted | CapabilitySet::SYS_ADMIN, wanted, manner, trace)?;
    for number in (0..CAPABILITY_NUMBERS).filter(|n| manner.ambient & (1 << n) != 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        trace.step(
            Step::SetCapabilities,
            format!("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {number})"),
            || rustix::thread::configure_capability_in_ambient_set(one, true),
        )?;
    }
    Ok(())
}

/// The second act: what comes after can do no more than the container's own programs.
pub(crate) fn finish(
    account: &Account,
    manner: &Manner,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    let wanted = wanted(account, manner);
    if manner.no_new_privs {
        trace.step(
            Step::NoNewPrivileges,
            "prctl(PR_SET_NO_NEW_PRIVS, 1)",
            || rustix::thread::set_no_new_privs(true),
        )?;
    }
    let own = manner.own_filter.then(seccomp::own);
    if manner.filters.is_empty() && own.is_none() {
        return set(wanted, wanted, manner, trace);
    }
    let all = wanted | CapabilitySet::SYS_ADMIN;
    set(all, all, manner, trace)?;
    for filter in manner.filters.iter().chain(own.as_ref()) {
        trace.step(
            Step::LoadFilter,
            format!(
                "seccomp(SECCOMP_SET_MODE_FILTER, {} instructions)",
                filter.instructions.len()
            ),
            || porthole_sys::seccomp::load(filter),
        )?;
    }
    // A filter may refuse it. Then execve(2) takes the one capability away: from root, whose
    // bounding set lacks it or who is to have it, and from others, who keep what is ambient only.
    let _ = set(wanted, wanted, manner, trace);
    Ok(())
}
