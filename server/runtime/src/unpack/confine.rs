//! What an unpacker keeps of its rights: those over files below its root.

use std::collections::BTreeMap;

use porthole_sys::seccomp::BASIC;
use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::confinement;
use crate::step::{Step, StepError};

/// To give files to their owners with all their modes and capabilities, in its own user namespace.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP);

/// Address space: more than its group has memory.
const ADDRESS_SPACE: u64 = 1 << 30;

/// Seconds of a processor.
const SECONDS: u64 = 3600;

/// What it needs beside what everybody confined may: its channel, and to make files. No process, no
/// socket, no namespace, no mount, no device.
const UNPACKING: &[i64] = &[
    libc::SYS_sendmsg,
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fsetxattr,
    libc::SYS_utimensat,
    // To end by abort(3).
    libc::SYS_tkill,
    libc::SYS_tgkill,
];

/// Confines this process for good; it is the root of its own user namespace.
pub(super) fn confine(unpacked: u64) -> Result<(), StepError> {
    umask(rustix::fs::Mode::empty());
    for (resource, value) in [
        (Resource::As, ADDRESS_SPACE),
        (Resource::Core, 0),
        (Resource::Cpu, SECONDS),
        (Resource::Fsize, unpacked),
        (Resource::Nofile, 64),
    ] {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit).map_err(|e| StepError::new(Step::LimitResources, e))?;
    }
    confinement::bound(CapabilitySet::empty())
        .map_err(|errno| StepError::new(Step::DropBounding, errno))?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: CAPABILITIES,
            permitted: CAPABILITIES,
            inheritable: CapabilitySet::empty(),
        },
    )
    .map_err(|errno| StepError::new(Step::SetCapabilities, errno))?;
    // Whoever changes its ids or capabilities loses this.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| StepError::new(Step::LimitResources, errno))?;
    set_no_new_privs(true).map_err(|errno| StepError::new(Step::NoNewPrivileges, errno))?;
    let refused = |_| StepError::new(Step::LoadFilter, Errno::INVAL);
    let filter = compile().map_err(refused)?;
    seccompiler::apply_filter(&filter).map_err(|_| StepError::new(Step::LoadFilter, Errno::ACCESS))
}

fn compile() -> Result<BpfProgram, seccompiler::BackendError> {
    let calls = BASIC.iter().chain(UNPACKING);
    let calls: BTreeMap<i64, Vec<_>> = calls.map(|call| (*call, Vec::new())).collect();
    SeccompFilter::new(
        calls,
        SeccompAction::Errno(Errno::PERM.raw_os_error().cast_unsigned()),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_lets_no_process_be_made() {
        let calls = [BASIC, UNPACKING].concat();
        assert!(compile().expect("a filter").len() > calls.len());
        for call in [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_execve,
            libc::SYS_socket,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_ptrace,
            libc::SYS_open_by_handle_at,
            libc::SYS_ioctl,
        ] {
            assert!(!calls.contains(&call), "{call}");
        }
    }
}
