//! Giving up what no reader needs, before anything is read.

use std::collections::BTreeMap;

use porthole_protocol::inspection::What;
use porthole_sys::seccomp::BASIC;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::{Step, Trouble};

/// What readers need, and why.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN // setns(2), an mqueue file system
    .union(CapabilitySet::SYS_PTRACE) // /proc/PID/ns, root, fd and environ of others
    .union(CapabilitySet::SYS_CHROOT) // setns(2) into a mount namespace
    .union(CapabilitySet::DAC_READ_SEARCH) // groups' files, whoever's
    .union(CapabilitySet::SETUID) // to be a container's root, who cannot see the host
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::KILL) // its visitor, by whatever user that is
    .union(CapabilitySet::SYSLOG); // to say whether the kernel's log can be read outside

/// Confines an inspection for good.
///
/// Only one that is to say whether a container could set the clock keeps what that takes, and the
/// filter lets none of the calls through that do.
pub(super) fn reader(what: What) -> Result<(), Trouble> {
    let kept = match what {
        What::Isolation => KEPT.union(CapabilitySet::SYS_TIME),
        _ => KEPT,
    };
    set(kept).map_err(Trouble::of(Step::Confine))?;
    set_no_new_privs(true).map_err(Trouble::of(Step::Confine))?;
    load(&[BASIC, VISITING, READING].concat())
}

/// Gives up every capability but these.
pub(super) fn set(capabilities: CapabilitySet) -> Result<(), Errno> {
    set_capabilities(
        None,
        CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// Confines whoever reads inside a container for good: it opens, reads, writes to its pipe and ends.
pub(super) fn visitor() -> Result<(), Trouble> {
    set(CapabilitySet::empty()).map_err(Trouble::of(Step::Confine))?;
    load(&[BASIC, VISITING].concat())
}

fn load(calls: &[i64]) -> Result<(), Trouble> {
    let failed = |_| Trouble::of(Step::Confine)(Errno::INVAL);
    let program = compile(calls).map_err(failed)?;
    seccompiler::apply_filter(&program).map_err(|_| Trouble::of(Step::Confine)(Errno::ACCESS))
}

fn compile(calls: &[i64]) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.iter().map(|call| (*call, Vec::new())).collect();
    for (call, conditions) in ARGUMENTS {
        let conditions = conditions
            .iter()
            .map(|(place, mask, value)| {
                SeccompCondition::new(*place, Width::Qword, Is::MaskedEq(*mask), *value)
            })
            .collect::<Result<_, _>>()?;
        if let Some(rules) = rules.get_mut(call) {
            rules.push(SeccompRule::new(conditions)?);
        }
    }
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(Errno::PERM.raw_os_error().cast_unsigned()),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

/// An argument by its place, the bits of it that count, and what these must be.
type Argument = (u8, u64, u64);

/// Neither for writing nor to make or cut anything. musl's O_ACCMODE holds O_PATH too.
const READ_ONLY: u64 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;

/// All bits of an int; a pointer has more.
const INT: u64 = 0xffff_ffff;

/// Calls that are allowed with these arguments only.
const ARGUMENTS: &[(i64, &[Argument])] = &[
    (libc::SYS_openat, &[(2, READ_ONLY, 0)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, &[(1, READ_ONLY, 0)]),
    // The requests of nsfs, ioctl_nsfs(2).
    (libc::SYS_ioctl, &[(1, 0xff00, 0xb700)]),
    (libc::SYS_socket, &[(0, INT, libc::AF_NETLINK as u64)]),
    // What `porthole_sys::probe` asks, and nothing that is done.
    (
        libc::SYS_settimeofday,
        &[(0, u64::MAX, 0), (1, u64::MAX, 0)],
    ),
    (libc::SYS_syslog, &[(0, INT, 10)]),
];

/// What whoever reads inside a container needs beside what everybody confined may.
const VISITING: &[i64] = &[
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_uname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
];

/// What an inspection needs beside that.
const READING: &[i64] = &[
    libc::SYS_fstatfs,
    libc::SYS_ioctl,
    libc::SYS_ppoll,
    libc::SYS_pipe2,
    libc::SYS_setns,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mq_getsetattr,
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    // For its visitors.
    libc::SYS_clone,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_close_range,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getppid,
    libc::SYS_prctl,
    libc::SYS_keyctl,
    libc::SYS_setgroups,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_seccomp,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];
