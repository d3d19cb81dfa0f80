//! How a process ended, in a shell's numbers and in words.

use porthole_protocol::container::Timestamp;
use porthole_protocol::session::{Exit, ExitKind};
use porthole_runtime::Status;

/// Names of the signals of Linux on x86-64 and arm64, from 1 on, see signal(7).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The same as others are told. `ended`: whether someone ended it through Porthole.
/// `left_behind`: how many processes it has put in the background.
pub(crate) fn describe(status: Status, ended: bool, left_behind: usize, at: Timestamp) -> Exit {
    let code = status.code();
    let (kind, reason) = match status {
        Status::Code(code) => (ExitKind::Exited, format!("exited with code {code}")),
        Status::Signal(signal) => {
            let name = usize::try_from(signal)
                .ok()
                .and_then(|number| NAMES.get(number.checked_sub(1)?));
            let reason = match name {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
