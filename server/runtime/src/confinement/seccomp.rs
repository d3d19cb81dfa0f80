//! The system call filter: an allowlist equivalent to Docker's default profile, see seccomp(2).
//!
//! What is not on the list answers EPERM. clone3(2) answers ENOSYS, so that libc falls back on
//! clone(2), whose flags a filter can see; so does every call that is newer than this list, as it
//! would on a kernel that lacks it.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

mod calls;

/// Numbers of system calls above this one are newer than the list.
const NEWEST: u32 = 462;

const CLONE3: u32 = 435;

/// `CLONE_NEW*` of all types that clone(2) and unshare(2) know, CLONE_NEWTIME among them.
const NAMESPACES: u64 = 0x7e02_0080;
/// The same where the low byte is a signal, as in clone(2).
const NAMESPACES_OF_CLONE: u64 = 0x7e02_0000;

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
const TIOCSTI: u64 = 0x5412;
/// Its subcode 2 pastes, as TIOCSTI does.
const TIOCLINUX: u64 = 0x541c;

/// Compiles the filter, if that has not been done: forked children have it then.
pub(crate) fn prepare() {
    filter();
}

/// The filter's instructions.
pub(super) fn filter() -> &'static BpfProgram {
    static FILTER: OnceLock<BpfProgram> = OnceLock::new();
    FILTER.get_or_init(|| compile().unwrap_or_else(|_| refuse_everything()))
}

/// Loads the filter into this process for good. Sets no_new_privs.
pub(super) fn load() -> io::Result<()> {
    seccompiler::apply_filter(filter()).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        _ => io::Error::from(io::ErrorKind::InvalidInput),
    })
}

/// A list that does not compile is a mistake of ours that tests find; nothing is allowed then.
fn refuse_everything() -> BpfProgram {
    vec![instruction(RETURN, 0, 0, 0x8000_0000)]
}

const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;
const RETURN_ENOSYS: u32 = 0x0005_0000 | 38;
const EPERM: u32 = 1;

/// No system call has a number like this in the x32 interface's range.
const X32: u32 = 0x4000_0000;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn compile() -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(
        rules()?,
        SeccompAction::Errno(EPERM),
        SeccompAction::Allow,
        architecture,
    )?;
    let allowlist = BpfProgram::try_from(filter)?;
    // The number of the call is the first word of `struct seccomp_data`.
    let mut program = vec![
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_EQUAL, 2, 0, CLONE3),
        instruction(JUMP_GREATER, 2, 0, X32 - 1),
        instruction(JUMP_GREATER, 0, 1, NEWEST),
        instruction(RETURN, 0, 0, RETURN_ENOSYS),
    ];
    program.extend(allowlist);
    Ok(program)
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls::ALLOWED
        .iter()
        .map(|call| (*call, Vec::new()))
        .collect();
    let masked =
        |argument, mask| SeccompCondition::new(argument, Width::Qword, Is::MaskedEq(mask), 0);
    let differs = |argument, value| SeccompCondition::new(argument, Width::Dword, Is::Ne, value);
    let is = |argument, value| SeccompCondition::new(argument, Width::Dword, Is::Eq, value);
    rules.insert(
        libc_number::CLONE,
        vec![SeccompRule::new(vec![masked(0, NAMESPACES_OF_CLONE)?])?],
    );
    rules.insert(
        libc_number::UNSHARE,
        vec![SeccompRule::new(vec![masked(0, NAMESPACES)?])?],
    );
    rules.insert(
        libc_number::SOCKET,
        vec![SeccompRule::new(vec![
            differs(0, AF_ALG)?,
            differs(0, AF_VSOCK)?,
        ])?],
    );
    rules.insert(
        libc_number::IOCTL,
        vec![SeccompRule::new(vec![
            differs(1, TIOCSTI)?,
            differs(1, TIOCLINUX)?,
        ])?],
    );
    // As Docker: Linux, with or without UNAME26, and Linux for 32 bits; and asking.
    let mut personalities = Vec::new();
    for value in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        personalities.push(SeccompRule::new(vec![is(0, value)?])?);
    }
    rules.insert(libc_number::PERSONALITY, personalities);
    Ok(rules)
}

use calls::number as libc_number;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_compiles_and_fits_the_kernel() {
        let program = compile().expect("a valid list");
        assert!(program.len() < 4096, "BPF_MAXINSNS: {}", program.len());
    }

    #[test]
    fn no_call_is_both_allowed_outright_and_by_its_arguments() {
        for call in [
            libc_number::CLONE,
            libc_number::UNSHARE,
            libc_number::SOCKET,
            libc_number::IOCTL,
            libc_number::PERSONALITY,
        ] {
            assert!(!calls::ALLOWED.contains(&call), "{call}");
        }
    }

    #[test]
    fn the_newest_is_not_older_than_the_list() {
        assert!(calls::ALLOWED.iter().all(|call| *call <= i64::from(NEWEST)));
    }
}
