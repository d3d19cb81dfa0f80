//! How a process ended, in a shell's numbers and in words.

use porthole_protocol::container::{Signal, Timestamp};
use porthole_protocol::session::{Exit, ExitKind};
use porthole_runtime::Status;

/// The same as others are told. `ended`: whether someone ended it through Porthole.
/// `left_behind`: how many processes it has put in the background.
pub(crate) fn describe(status: Status, ended: bool, left_behind: usize, at: Timestamp) -> Exit {
    let code = status.code();
    let (kind, reason) = match status {
        Status::Code(code) => (ExitKind::Exited, format!("exited with code {code}")),
        Status::Signal(signal) => {
            let known = u32::try_from(signal).ok().and_then(|n| n.try_into().ok());
            let reason = match known.and_then(Signal::name) {
                Some(name) => format!("ended by signal {signal} ({name})"),
                None => format!("ended by signal {signal}"),
            };
            (ExitKind::Signal, reason)
        }
    };
    if ended {
        return Exit {
            code,
            kind: ExitKind::Ended,
            reason: "ended through Porthole".to_owned(),
            at,
            oom_killed: false,
        };
    }
    let reason = match left_behind {
        // What ended it by a signal may be ending the others as well.
        _ if kind == ExitKind::Signal => reason,
        0 => reason,
        1 => format!("{reason}; one process goes on in the background"),
        many => format!("{reason}; {many} processes go on in the background"),
    };
    Exit {
        code,
        kind,
        reason,
        at,
        oom_killed: false,
    }
}

/// Adds that the kernel has killed a process of the container at this limit of its memory, in bytes.
pub(crate) fn explain_memory(exit: &mut Exit, limit: u64) {
    exit.oom_killed = true;
    let limit = format!("limit {} MiB", limit >> 20);
    let killed = exit.code == 128 + i32::from(Signal::KILL.get());
    exit.reason = match exit.kind {
        ExitKind::Exited | ExitKind::Signal if killed => format!("ended: out of memory ({limit})"),
        _ => format!(
            "{}; a process of it was killed before that: out of memory ({limit})",
            exit.reason
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_of_memory_is_told_as_what_it_did() {
        let told = |status, ended| {
            let mut exit = describe(status, ended, 0, Timestamp(0));
            assert!(!exit.oom_killed);
            explain_memory(&mut exit, 512 << 20);
            assert!(exit.oom_killed);
            exit.reason
        };
        let short = "ended: out of memory (limit 512 MiB)";
        assert_eq!(told(Status::Signal(9), false), short);
        assert_eq!(
            told(Status::Code(137), false),
            short,
            "a shell whose child was killed"
        );
        assert!(told(Status::Code(0), false).starts_with("exited with code 0; a process"));
        assert!(told(Status::Signal(9), true).starts_with("ended through Porthole; a process"));
    }

    #[test]
    fn codes_are_those_of_a_shell() {
        let at = Timestamp(0);
        let exit = describe(Status::Code(3), false, 0, at);
        assert_eq!((exit.code, exit.kind), (3, ExitKind::Exited));
        let exit = describe(Status::Signal(11), false, 0, at);
        assert_eq!((exit.code, exit.kind), (139, ExitKind::Signal));
        assert_eq!(exit.reason, "ended by signal 11 (SIGSEGV)");
        assert_eq!(
            describe(Status::Signal(34), false, 0, at).reason,
            "ended by signal 34"
        );
        let exit = describe(Status::Code(0), false, 2, at);
        assert_eq!(
            exit.reason,
            "exited with code 0; 2 processes go on in the background"
        );
        let exit = describe(Status::Signal(9), true, 0, at);
        assert_eq!((exit.code, exit.kind), (137, ExitKind::Ended));
    }
}
