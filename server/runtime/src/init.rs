//! The role `init`: PID 1 of a container, which forks the command, forwards signals, reaps
//! whatever is left to it and exits as the command did.
//!
//! It is confined as the command is and runs as the same user. Many programs do not expect to be
//! PID 1: the kernel ignores signals for it that have no handler, and orphans are its children.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_sys::packet::Packet;
use porthole_sys::process::{
    Child, SingleThreaded, Standard, Words, execute_path, exit, fork, inherited, redirect,
};
use porthole_sys::signals;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::WaitOptions;

use crate::ending::{self, Status};
use crate::program::c_word;
use crate::step::{Step, StepError};
use crate::wire::{self, Report};

/// What init exits with when it has failed itself, as docker does.
const OWN_FAILURE: i32 = 125;

const SIGCHLD: i32 = 17;

/// The words that start it: its name, its role, the descriptors of the channel and of its last
/// word, the command's path; the command's own words follow.
pub(crate) fn words(channel: i32, last_word: i32, path: &str) -> [String; 5] {
    [
        "porthole-init".to_owned(),
        "init".to_owned(),
        channel.to_string(),
        last_word.to_string(),
        path.to_owned(),
    ]
}

/// Runs PID 1. `args` are the words after the role's name in the command line. It is started by
/// [`crate::launch`] only, from the sealed memfd.
pub fn init_main(args: Vec<OsString>) -> ! {
    match run(&args) {
        Ok(code) => exit(code),
        Err(_) => exit(OWN_FAILURE),
    }
}

fn run(args: &[OsString]) -> Result<i32, StepError> {
    let [channel, last_word, path, command @ ..] = args else {
        return Err(StepError::new(Step::Execute, Errno::INVAL));
    };
    // Best effort: how ps shows it.
    let _ = rustix::thread::set_name(c"porthole-init");
    let (channel, last_word) = (socket(channel)?, socket(last_word)?);
    let alone =
        SingleThreaded::verify().map_err(|error| StepError::new(Step::CountThreads, error))?;
    signals::block_all();
    // Where the PID namespace is another container's, orphans would not come to it otherwise.
    let _ = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));
    let words = Words {
        arguments: command.iter().map(|word| c_word(&lossy(word))).collect(),
        environment: std::env::vars_os()
            .map(|(name, value)| c_word(&format!("{}={}", lossy(&name), lossy(&value))))
            .collect(),
    };
    let child = match fork(alone, |_| execute_command(&lossy(path), &words, &channel)) {
        Ok(child) => child,
        Err(error) => {
            let error = StepError::new(Step::Clone, error);
            tell(&channel, error.clone().into());
            return Err(error);
        }
    };
    drop(channel);
    let _ = let_go();
    let status = watch(&child)?;
    if let Status::Signal(signal) = status {
        ending::say(&last_word, signal);
    }
    Ok(status.code())
}

/// A socket that was left open for this program; the command will not have it.
fn socket(number: &OsStr) -> Result<Packet, StepError> {
    number
        .to_str()
        .and_then(|number| inherited(number.parse().ok()?))
        .and_then(|fd| Packet::from_fd(fd).ok())
        .ok_or_else(|| StepError::new(Step::MakeChannel, Errno::BADF))
}

fn lossy(word: &OsStr) -> String {
    String::from_utf8_lossy(word.as_bytes()).into_owned()
}

/// The command's terminal or pipes are not held open by init.
fn let_go() -> Result<(), std::io::Error> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for standard in [Standard::Input, Standard::Output, Standard::Error] {
        redirect(&null, standard)?;
    }
    Ok(())
}

fn execute_command(path: &str, words: &Words, channel: &Packet) -> Infallible {
    let failure = match prepare_command() {
        Ok(()) => refused(path, &execute_path(&c_word(path), words)),
        Err(error) => error.into(),
    };
    tell(channel, failure);
    exit(OWN_FAILURE)
}

fn tell(channel: &Packet, failure: Failure) {
    let steps = Vec::new();
    // Without it the monitor sees the end of the channel.
    let _ = wire::send(channel, &Report::Failed { failure, steps }, &[]);
}

fn prepare_command() -> Result<(), StepError> {
    signals::reset();
    rustix::process::setsid().map_err(|errno| StepError::new(Step::NewSession, errno))?;
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
            .map_err(|errno| StepError::new(Step::ControlTerminal, errno))?;
    }
    Ok(())
}

/// The kernel refused a program that had been looked at before.
pub(crate) fn refused(path: &str, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => FailureCode::CommandNotFound,
        _ => FailureCode::NotExecutable,
    };
    let mut failure = Failure::new(code, format!("{path}: cannot be executed: {error}"))
        .field("command")
        .stage(Stage::Exec);
    failure.errno = error.raw_os_error();
    failure
}

/// Forwards signals and reaps until the command has ended.
fn watch(child: &Child) -> Result<Status, StepError> {
    loop {
        if let Some(status) = reap(child)? {
            return Ok(status);
        }
        match signals::wait() {
            Ok(SIGCHLD) => {}
            Ok(signal) => {
                // It may have ended meanwhile, which the next turn sees.
                let _ = signals::send(&child.pidfd, signal);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StepError::new(Step::Wait, error)),
        }
    }
}

/// Reaps everything that has ended; how the command did where it is among that.
fn reap(child: &Child) -> Result<Option<Status>, StepError> {
    let mut command = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == child.pid => {
                command = Status::of(status.exit_status(), status.terminating_signal());
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(command),
            Err(errno) => return Err(StepError::new(Step::Wait, errno)),
        }
    }
}
