//! What a container's processes may not do: the same few calls for its init and for every session
//! in it, so that neither is a way around the other.
//!
//! setns(2) brings neither seccomp, nor no_new_privs, nor the bounding set of the process that it
//! follows: each session sets them again, from here.

pub(crate) mod foreign;
mod seccomp;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

pub use seccomp::confine_server;
pub(crate) use seccomp::prepare;

use crate::account::Account;
use crate::passage;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// Docker's default capabilities.
pub(crate) const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Open files of one process.
const OPEN_FILES: u64 = 1024;

/// Capabilities have numbers below this.
const CAPABILITY_NUMBERS: u32 = 64;

/// Confines this process for good, and makes it the account's. It must be the container's root
/// with every capability in the container's user namespace. What comes after can do no more than
/// the container's command.
pub(crate) fn confine(account: &Account, trace: &mut Recorder) -> Result<(), StepError> {
    limit_resources(trace)?;
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
    drop_bounding(CAPABILITIES, trace)?;
    trace.step(
        Step::ClearAmbient,
        "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)",
        rustix::thread::clear_ambient_capability_set,
    )?;
    become_user(account, trace)?;
    let allowed = if account.uid == 0 {
        CAPABILITIES
    } else {
        CapabilitySet::empty()
    };
    trace.step(
        Step::SetCapabilities,
        format!(
            "capset(effective={0:#x}, permitted={0:#x}, inheritable=0)",
            allowed.bits()
        ),
        || {
            rustix::thread::set_capabilities(
                None,
                CapabilitySets {
                    effective: allowed,
                    permitted: allowed,
                    inheritable: CapabilitySet::empty(),
                },
            )
        },
    )?;
    trace.step(
        Step::NoNewPrivileges,
        "prctl(PR_SET_NO_NEW_PRIVS, 1)",
        || rustix::thread::set_no_new_privs(true),
    )?;
    trace.step(
        Step::LoadFilter,
        format!(
            "seccomp(SECCOMP_SET_MODE_FILTER, {} instructions)",
            seccomp::filter().len()
        ),
        seccomp::load,
    )
}

fn limit_resources(trace: &mut Recorder) -> Result<(), StepError> {
    for (resource, name, value) in [
        (Resource::Nofile, "RLIMIT_NOFILE", OPEN_FILES),
        // A core file would be written by a handler of the machine's, outside.
        (Resource::Core, "RLIMIT_CORE", 0),
    ] {
        trace.step(
            Step::LimitResources,
            format!("setrlimit({name}, {value})"),
            || {
                setrlimit(
                    resource,
                    Rlimit {
                        current: Some(value),
                        maximum: Some(value),
                    },
                )
            },
        )?;
    }
    Ok(())
}

fn drop_bounding(kept: CapabilitySet, trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(
        Step::DropBounding,
        format!("prctl(PR_CAPBSET_DROP, …) for all but {:#x}", kept.bits()),
        || bound(kept),
    )
}

/// Takes every capability but these from the bounding set of this thread.
pub(crate) fn bound(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..CAPABILITY_NUMBERS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The kernel knows no capability of this number, nor of a higher one.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn become_user(account: &Account, trace: &mut Recorder) -> Result<(), StepError> {
    use rustix::process::{Gid, Uid};
    let groups: Vec<Gid> = account.groups.iter().copied().map(Gid::from_raw).collect();
    trace.step(
        Step::SetGroups,
        format!("setgroups({:?})", account.groups),
        || match rustix::thread::set_thread_groups(&groups) {
            // A user namespace may deny it to everybody (user_namespaces(7)), as `unshare -r` has it.
            // The host's groups were given up outside, and there is no way to get any inside.
            Err(Errno::PERM) if rustix::process::getgroups()?.is_empty() => Ok(()),
            answer => answer,
        },
    )?;
    let gid = Gid::from_raw(account.gid);
    trace.step(
        Step::SetGroup,
        format!("setresgid({0}, {0}, {0})", account.gid),
        || rustix::thread::set_thread_res_gid(gid, gid, gid),
    )?;
    let uid = Uid::from_raw(account.uid);
    trace.step(
        Step::SetUser,
        format!("setresuid({0}, {0}, {0})", account.uid),
        || rustix::thread::set_thread_res_uid(uid, uid, uid),
    )?;
    passage::not_dumpable(trace)
}
