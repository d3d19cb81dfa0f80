//! What a forked helper tells the monitor that waits for it.
//!
//! ```text
//! monitor                          init-to-be                       joiner
//!   | <---------------------- Waiting |                               |
//!   | maps ids, reads its namespaces  |                               |
//!   | Go + overlays ----------------> |                               |
//!   |                                 |         (a terminal:) Opening |
//!   | <---- Handed + terminal / pipes | <---- Handed + terminal / pipes
//!   | <-------------------- Executing | <--------------------- Spawned |
//!   | <------------- (end: it did so) | <------------ (end: it is gone)
//! ```
//! `Failed` may come instead of anything.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::session::Tried;
use porthole_protocol::trace::TraceStep;
use porthole_sys::packet::Packet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::Console;
use crate::step::{Number, Step, StepError};

/// The longest message: a trace of some hundred steps.
const LIMIT: usize = 192 * 1024;

/// A message of a helper's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It is in its namespaces and waits to be given its ids.
    Waiting,
    /// It opens the container's `/dev/ptmx` now, which may be anything.
    Opening,
    /// With the near ends of what the program will read and write: one, or three.
    Handed { tty_name: Option<String> },
    /// It replaces itself by the program now; where that is our init, with the monitor's end of
    /// its last word.
    Executing { call: String, steps: Vec<TraceStep> },
    /// It has started the program and goes away.
    Spawned {
        pid: i32,
        path: String,
        command: Vec<String>,
        tried: Vec<Tried>,
        steps: Vec<TraceStep>,
    },
    /// It could not.
    Failed {
        failure: Failure,
        steps: Vec<TraceStep>,
    },
}

/// Sends a message.
pub(crate) fn send(
    channel: &Packet,
    report: &Report,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), StepError> {
    let failed = |error: std::io::Error| StepError::new(Step::HandOver, error);
    let bytes = serde_json::to_vec(report).map_err(|error| failed(error.into()))?;
    channel.send(&bytes, descriptors).map_err(failed)
}

/// A helper waits for next to nothing that a container controls, so that one which takes this long
/// will never answer: its container is frozen, its group is out of memory and stalled, or somebody
/// holds a lease (fcntl(2)) on the command.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long opening a terminal may take. It waits for nobody, but where a container has put
/// something else into its place.
pub(crate) const OPENING: Duration = Duration::from_secs(5);

/// Waits until there is something to receive.
pub(crate) fn await_message(channel: &Packet, until: Instant) -> Result<(), Failure> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                return Err(Failure::new(
                    FailureCode::Internal,
                    "a helper process did not answer in time; is the container frozen, its memory all in use, or the command a file that somebody keeps from being opened?",
                )
                .stage(Stage::Monitor)
                .errno(Errno::TIMEDOUT.raw_os_error()));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(StepError::new(Step::MakeChannel, errno).into()),
        }
    }
}

/// A message with its descriptors; `None` when every other end is closed.
type Received = Option<(Report, Vec<OwnedFd>)>;

/// Receives a message.
pub(crate) fn receive(channel: &Packet) -> Result<Received, Failure> {
    receive_within(channel, DEADLINE)
}

/// As [`receive`], from a helper that has this long.
pub(crate) fn receive_within(channel: &Packet, limit: Duration) -> Result<Received, Failure> {
    let broken = |what: String| {
        Failure::new(
            FailureCode::Internal,
            format!("a helper process answered badly: {what}"),
        )
        .stage(Stage::Monitor)
    };
    await_message(channel, Instant::now() + limit)?;
    match channel.receive(LIMIT) {
        Ok(None) => Ok(None),
        Ok(Some((bytes, descriptors))) => {
            let report = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
            Ok(Some((report, descriptors)))
        }
        Err(error) => Err(broken(error.to_string())),
    }
}

/// Tells the init-to-be to go on, with its overlays.
pub(crate) fn go(channel: &Packet, overlays: &[BorrowedFd<'_>]) -> Result<(), StepError> {
    channel
        .send(b"go", overlays)
        .map_err(|error| StepError::new(Step::HandOver, error))
}

/// Waits for [`go`]; `None` when the monitor is gone.
pub(crate) fn wait_to_go(channel: &Packet) -> Result<Option<Vec<OwnedFd>>, StepError> {
    match channel.receive(16) {
        Ok(message) => Ok(message.map(|(_, descriptors)| descriptors)),
        Err(error) => Err(StepError::new(
            Step::HandOver,
            Number(match error {
                porthole_sys::packet::PacketError::Io(error) => Number::from(error).0,
                _ => Errno::PROTO.raw_os_error(),
            }),
        )),
    }
}

/// Hands the near ends over.
pub(crate) fn hand_over(
    channel: &Packet,
    console: &Console,
    tty_name: Option<String>,
) -> Result<(), StepError> {
    let report = Report::Handed { tty_name };
    match console {
        Console::Tty { master } => send(channel, &report, &[master.as_fd()]),
        Console::Pipes {
            stdin,
            stdout,
            stderr,
        } => send(
            channel,
            &report,
            &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        ),
    }
}

/// What was handed over.
pub(crate) fn console(descriptors: Vec<OwnedFd>) -> Option<Console> {
    let count = descriptors.len();
    let mut descriptors = descriptors.into_iter();
    match (count, descriptors.next()?) {
        (1, master) => Some(Console::Tty { master }),
        (3, stdin) => Some(Console::Pipes {
            stdin,
            stdout: descriptors.next()?,
            stderr: descriptors.next()?,
        }),
        _ => None,
    }
}
