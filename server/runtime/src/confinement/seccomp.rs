//! The system call filters, see seccomp(2): that of containers, an allowlist equivalent to Docker's
//! default profile, and that of the server, which is the same but for what it needs even less.
//!
//! What is not on the list answers EPERM. clone3(2) answers ENOSYS, so that libc falls back on
//! clone(2), whose flags a filter can see; so does every call that is newer than this list, as it
//! would on a kernel that lacks it.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use porthole_sys::seccomp::{Filter, Instruction};
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
    FILTER.get_or_init(|| compile(answer).unwrap_or_else(|_| refuse_everything()))
}

/// The same as it is loaded without no_new_privs.
pub(super) fn own() -> Filter {
    let instructions = filter().iter().map(|i| Instruction {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    });
    Filter {
        instructions: instructions.collect(),
        log: false,
    }
}

/// Loads the filter into this process for good. Sets no_new_privs.
pub(super) fn load() -> io::Result<()> {
    apply(filter())
}

/// Loads the filter of the server into this process for good: nothing of a container's filter, and
/// no look into other processes. Sets no_new_privs.
///
/// Without namespaces and mounts it has no file system of its own making, and so no descriptor
/// that whoever closes it would have to wait for.
pub fn confine_server() -> io::Result<()> {
    apply(&compile(answer_server).unwrap_or_else(|_| refuse_everything()))
}

fn apply(filter: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(filter).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        _ => io::Error::from(io::ErrorKind::InvalidInput),
    })
}

/// A list that does not compile is a mistake of ours that tests find; nothing is allowed then.
fn refuse_everything() -> BpfProgram {
    vec![instruction(RETURN, 0, 0, KILL_PROCESS)]
}

const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const EPERM: u32 = 1;
const REFUSE: u32 = 0x0005_0000 | EPERM;
const UNKNOWN: u32 = 0x0005_0000 | 38;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

#[cfg(target_arch = "x86_64")]
const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_ARCHITECTURE: u32 = 0xc000_00b7;

/// Numbers of the x32 interface begin here; it is refused as a whole.
const X32: u32 = 0x4000_0000;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// What a call's number says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Return(u32),
    /// Its arguments decide.
    Ask,
}

fn answer(number: u32) -> Answer {
    let call = i64::from(number);
    if number == CLONE3 {
        Answer::Return(UNKNOWN)
    } else if calls::number::ALL.contains(&call) {
        Answer::Ask
    } else if calls::ALLOWED.binary_search(&call).is_ok() {
        Answer::Return(ALLOW)
    } else if number > NEWEST && number < X32 {
        Answer::Return(UNKNOWN)
    } else {
        Answer::Return(REFUSE)
    }
}

/// The same for the server.
fn answer_server(number: u32) -> Answer {
    if calls::OF_OTHER_PROCESSES.contains(&i64::from(number)) {
        Answer::Return(REFUSE)
    } else {
        answer(number)
    }
}

/// First numbers of the ranges that have the same answer.
fn ranges(answer: fn(u32) -> Answer) -> Vec<(u32, Answer)> {
    let mut ranges: Vec<(u32, Answer)> = Vec::new();
    for number in (0..=NEWEST + 1).chain([X32]) {
        let answer = answer(number);
        if ranges.last().is_none_or(|(_, last)| *last != answer) {
            ranges.push((number, answer));
        }
    }
    ranges
}

/// A binary search: the kernel runs the filter for every number when it is loaded, to remember
/// which are allowed whatever their arguments are, and a chain of comparisons would take it most
/// of a millisecond for each process. Jumps to `Ask` are marked by [`u32::MAX`].
fn search(ranges: &[(u32, Answer)]) -> BpfProgram {
    match ranges {
        [] => Vec::new(),
        [(_, Answer::Return(value))] => vec![instruction(RETURN, 0, 0, *value)],
        [(_, Answer::Ask)] => vec![instruction(JUMP, 0, 0, u32::MAX)],
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            let (first, left) = (right[0].0, search(left));
            // A jump's length has eight bits; tests see that it has room.
            let over = u8::try_from(left.len()).unwrap_or(u8::MAX);
            let mut program = vec![instruction(JUMP_AT_LEAST, over, 0, first)];
            program.extend(left);
            program.extend(search(right));
            program
        }
    }
}

fn compile(answer: fn(u32) -> Answer) -> Result<BpfProgram, seccompiler::BackendError> {
    let filter = SeccompFilter::new(
        rules()?,
        SeccompAction::Errno(EPERM),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    let mut program = vec![
        instruction(LOAD_WORD, 0, 0, ARCHITECTURE),
        instruction(JUMP_EQUAL, 1, 0, THIS_ARCHITECTURE),
        instruction(RETURN, 0, 0, KILL_PROCESS),
        instruction(LOAD_WORD, 0, 0, NUMBER),
    ];
    program.extend(search(&ranges(answer)));
    let end = program.len();
    for (at, instruction) in program.iter_mut().enumerate() {
        if instruction.code == JUMP && instruction.k == u32::MAX {
            instruction.k = u32::try_from(end - at - 1).unwrap_or(0);
        }
    }
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// The calls whose arguments decide, and what these must be.
fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
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

    /// Runs a filter as far as the number alone decides: `None` where it goes on to the arguments.
    fn decide(program: &BpfProgram, number: u32) -> Option<u32> {
        let mut at = 4;
        loop {
            let step = &program[at];
            at += 1;
            match step.code {
                RETURN => return Some(step.k),
                JUMP => return None,
                JUMP_AT_LEAST => {
                    at += usize::from(if number >= step.k { step.jt } else { step.jf })
                }
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn every_number_has_the_answer_that_the_list_gives_it() {
        for answer in [answer, answer_server] {
            let program = compile(answer).expect("a valid list");
            assert!(program.len() < 1024, "{}", program.len());
            for number in (0..2000).chain([X32 - 1, X32, X32 + 1, X32 + 59, u32::MAX]) {
                let expected = match answer(number) {
                    Answer::Return(value) => Some(value),
                    Answer::Ask => None,
                };
                assert_eq!(decide(&program, number), expected, "{number}");
            }
        }
        let program = compile(answer).expect("a valid list");
        for call in calls::OF_OTHER_PROCESSES {
            let call = u32::try_from(call).expect("a number");
            assert_eq!(decide(&program, call), Some(ALLOW), "control");
            assert_eq!(answer_server(call), Answer::Return(REFUSE));
        }
        assert_eq!(decide(&program, CLONE3), Some(UNKNOWN));
        assert_eq!(decide(&program, NEWEST + 1), Some(UNKNOWN));
        assert_eq!(decide(&program, X32 + 59), Some(REFUSE));
    }

    #[test]
    fn the_lists_are_sorted_and_disjoint() {
        assert!(calls::ALLOWED.is_sorted());
        for call in calls::number::ALL {
            assert!(!calls::ALLOWED.contains(&call), "{call}");
            assert!(rules().expect("rules").contains_key(&call), "{call}");
        }
        assert!(calls::ALLOWED.iter().all(|call| *call <= i64::from(NEWEST)));
    }
}
