//! A monitor at work: its process runs, or has ended and its output is being put away.
//!
//! ```text
//!                     Attach                       reader hangs up
//!    we read ----------------------> server reads ----------------> we read
//!
//!    process ends --> exit.json --> Exited to keeper and reader
//!      --> drained (by the reader, or by us) and End in the index, Release by the keeper --> gone
//! ```

mod reading;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use porthole_protocol::journal::Stream;
use porthole_protocol::monitor::{FromMonitor, Started, ToMonitor, ToReader, VERSION};
use porthole_protocol::session::{Exit, Target};
use porthole_runtime::{Attached, LastWord, Status};
use porthole_sys::packet::{Listener, Packet};
use porthole_sys::signals;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions};
use serde::Serialize;

use super::exit;
use super::group::Group;
use super::output::Output;
use crate::log::log;
use crate::poll::{Poll, READ};
use crate::{clock, store};

/// Messages to a monitor are short.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// After the end, output is complete when nothing more came for this long ...
const QUIET_MS: u64 = 250;

/// ... or when this long has passed.
const DRAIN_MS: u64 = 5_000;

/// How long a reader has after that, from the keeper's Release on.
const READER_MS: u64 = 10_000;

/// How often one that has nothing left to do but to be released looks whether its records and
/// its socket are still there, while there is no keeper.
const FORGOTTEN_MS: u64 = 1_000;

/// How long to wait after the journal could not be written, or a terminal was at its end.
const RETRY_MS: u64 = 500;

/// How long a container's init is waited for whose processes have all been killed.
const CONTAINER_END: Duration = Duration::from_millis(300);

const PROCESS: u64 = 0;
const CHILDREN: u64 = 1;
const LISTENER: u64 = 2;
const KEEPER: u64 = 3;
const READER: u64 = 4;
const CONTAINER: u64 = 5;
const STREAMS: u64 = 8;

/// What a monitor watches.
pub(super) struct Watched<'a> {
    pub(super) target: Target,
    pub(super) started: Started,
    pub(super) pidfd: OwnedFd,
    /// Where the process is our init: what ended the command behind it.
    pub(super) last_word: Option<LastWord>,
    /// Another engine's container that the process is in: its init.
    pub(super) container: Option<OwnedFd>,
    /// Its place on the bridge, until it has ended.
    pub(super) attached: Option<Attached>,
    pub(super) output: Output,
    /// Where `exit.json` is written.
    pub(super) directory: PathBuf,
    /// Where keepers find this process.
    pub(super) socket: PathBuf,
    pub(super) group: Group<'a>,
}

/// A monitor at work.
pub(super) struct Watch<'a> {
    watched: Watched<'a>,
    poll: Poll,
    children: SignalFd,
    listener: Listener,
    keeper: Option<Packet>,
    reader: Option<Packet>,
    /// Streams that are waited for now.
    awaited: Vec<Stream>,
    /// When streams that could not be read are to be tried again.
    retry_at: Option<u64>,
    /// What was last said of why not, so that it is said once.
    trouble: Option<String>,
    ended_by_someone: bool,
    /// Another engine's container, in which it is.
    container_ended: bool,
    exit: Option<Exit>,
    drain: Drain,
    released: bool,
    /// When a reader that does not hang up is cut off.
    cut_at: Option<u64>,
}

/// How far output is put away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    /// The process runs.
    NotYet,
    /// It has ended; `quiet` moves on with every byte.
    Going { quiet: u64, over: u64 },
    /// Everything is in the journal, and the end is marked.
    Done,
}

/// What came to an end.
enum After {
    GoOn,
    Gone,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        watched: Watched<'a>,
        listener: Listener,
        keeper: Packet,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        poll.add(&watched.pidfd, PROCESS, READ)?;
        poll.add(&children, CHILDREN, READ)?;
        poll.add(&listener, LISTENER, READ)?;
        poll.add(&keeper, KEEPER, READ)?;
        if let Some(container) = &watched.container {
            poll.add(container, CONTAINER, READ)?;
        }
        let mut watch = Self {
            watched,
            poll,
            children,
            listener,
            keeper: Some(keeper),
            reader: None,
            awaited: Vec::new(),
            retry_at: None,
            trouble: None,
            ended_by_someone: false,
            container_ended: false,
            exit: None,
            drain: Drain::NotYet,
            released: false,
            cut_at: None,
        };
        watch.tell_keeper(&FromMonitor::Started(watch.watched.started.clone()));
        watch.await_streams();
        watch.reap();
        Ok(watch)
    }

    /// Works until everything is done. Answers the connection to the keeper, who takes its end for
    /// this process's, and goes on to start or remove what it was about.
    pub(super) fn run(mut self) -> io::Result<Option<Packet>> {
        loop {
            let events = self.poll.wait(self.timeout())?;
            for (number, _) in events {
                match number {
                    PROCESS => self.process_ended(),
                    CHILDREN => self.reap(),
                    LISTENER => self.accept(),
                    KEEPER => self.hear_keeper(),
                    READER => self.hear_reader(),
                    CONTAINER => self.container_ended(),
                    _ => {
                        if let Some(stream) = u8::try_from(number - STREAMS)
                            .ok()
                            .and_then(Stream::from_number)
                        {
                            self.pump(stream);
                        }
                    }
                }
            }
            if matches!(self.due(), After::Gone) {
                return Ok(self.keeper.take());
            }
        }
    }

    fn timeout(&self) -> Option<u64> {
        let drain = match self.drain {
            Drain::Going { quiet, over } if self.reader.is_none() => {
                Some(if self.retry_at.is_none() {
                    quiet.min(over)
                } else {
                    over
                })
            }
            _ => None,
        };
        let look = self
            .only_waits_for_a_keeper()
            .then(|| clock::monotonic_ms() + FORGOTTEN_MS);
        let at = [drain, self.retry_at, self.cut_at, look]
            .into_iter()
            .flatten()
            .min()?;
        // One more, since a wait may end just before its time.
        Some(at.saturating_sub(clock::monotonic_ms()) + 1)
    }

    /// Does what is due, and finds out whether everything is done.
    fn due(&mut self) -> After {
        let now = clock::monotonic_ms();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.await_streams();
        }
        if self.cut_at.is_some_and(|at| at <= now) {
            self.cut_at = None;
            self.lose_reader();
        }
        if let Drain::Going { quiet, over } = self.drain
            && self.reader.is_none()
        {
            let nothing_left = self.awaited.is_empty() && self.retry_at.is_none();
            let quiet = quiet <= now && self.retry_at.is_none();
            if nothing_left || quiet || over <= now {
                self.finish_draining();
            }
        }
        let all_done = self.released || (self.only_waits_for_a_keeper() && self.is_forgotten());
        if all_done && self.reader.is_none() && self.drain == Drain::Done {
            After::Gone
        } else {
            After::GoOn
        }
    }

    fn only_waits_for_a_keeper(&self) -> bool {
        self.keeper.is_none() && self.drain == Drain::Done && !self.released
    }

    /// Whether no keeper will ever ask for it: its records were removed, as uninstalling does, or the
    /// socket by which it is found, as removing the program does.
    fn is_forgotten(&self) -> bool {
        let gone = |path: &PathBuf| matches!(path.try_exists(), Ok(false));
        gone(&self.watched.directory) || gone(&self.watched.socket)
    }

    // ---- The keeper

    fn accept(&mut self) {
        while let Ok(packet) = self.listener.accept(true) {
            // The directory lets nobody else in; that alone is not relied upon.
            let is_root = packet.credentials().is_ok_and(|who| who.uid == 0);
            if is_root
                && self.poll.add(&packet, KEEPER, READ).is_ok()
                && let Some(old) = self.keeper.replace(packet)
            {
                self.poll.remove(&old);
            }
        }
    }

    fn hear_keeper(&mut self) {
        loop {
            let Some(keeper) = &self.keeper else { return };
            match keeper.receive(MESSAGE_LIMIT) {
                Ok(Some((bytes, descriptors))) => match serde_json::from_slice(&bytes) {
                    Ok(message) => self.obey(message, descriptors),
                    Err(error) => log!("monitor", "{:?}: keeper: {error}", self.watched.target),
                },
                Err(error) if error.is_would_block() => return,
                Ok(None) | Err(_) => {
                    self.poll.remove(keeper);
                    self.keeper = None;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, message: ToMonitor, descriptors: Vec<OwnedFd>) {
        match message {
            ToMonitor::Hello { .. } => {
                let hello = FromMonitor::Hello {
                    version: VERSION,
                    target: self.watched.target.clone(),
                    started: Some(self.watched.started.clone()),
                    exit: self.exit.clone(),
                };
                self.tell_keeper(&hello);
            }
            ToMonitor::Attach => {
                if let Some(reader) = descriptors.into_iter().next() {
                    self.attach(reader);
                    // What starting took is not needed for waiting, which is all that is left
                    // while somebody else reads. Where the kernel keeps it, it is only memory.
                    let _ = porthole_sys::memory::let_go_of_instructions();
                }
            }
            ToMonitor::Signal { signal } => {
                if self.exit.is_none()
                    && let Err(error) = signals::send(&self.watched.pidfd, i32::from(signal))
                {
                    log!("monitor", "{:?}: signal: {error}", self.watched.target);
                }
            }
            ToMonitor::End => {
                if self.exit.is_none() {
                    self.ended_by_someone = true;
                }
                if let Err(failure) = self.watched.group.kill() {
                    log!("monitor", "{:?}: {failure}", self.watched.target);
                }
                // Somebody may have moved it out of its group, or removed that.
                let _ = signals::send(&self.watched.pidfd, 9);
            }
            ToMonitor::Release => {
                if self.exit.is_some() {
                    self.released = true;
                    self.arm_cut();
                }
            }
        }
    }

    fn tell_keeper(&mut self, message: &FromMonitor) {
        if let Some(keeper) = &self.keeper
            && !send(keeper, message)
        {
            self.poll.remove(keeper);
            // It finds us again by our socket.
            let _ = keeper.shutdown();
            self.keeper = None;
        }
    }

    // ---- The process

    fn process_ended(&mut self) {
        if self.exit.is_some() {
            return;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match rustix::process::waitid(WaitId::PidFd(self.watched.pidfd.as_fd()), options) {
            Ok(Some(status)) => {
                if let Some(status) = Status::of(status.exit_status(), status.terminating_signal())
                {
                    self.record_exit(status);
                }
            }
            Ok(None) => {}
            Err(error) => log!("monitor", "{:?}: wait: {error}", self.watched.target),
        }
    }

    /// What joined another engine's container does not outlive it, whichever namespaces it is in.
    fn container_ended(&mut self) {
        if let Some(container) = self.watched.container.take() {
            self.poll.remove(&container);
        }
        self.container_ended = true;
        if let Err(failure) = self.watched.group.kill() {
            log!("monitor", "{:?}: {failure}", self.watched.target);
        }
    }

    /// Whether the process was killed because its container ends. The kernel kills all of a PID
    /// namespace before that namespace's init is seen to have ended.
    fn ended_with_container(&mut self, status: Status) -> bool {
        if let (Status::Signal(9), Some(container)) = (status, &self.watched.container)
            && !self.ended_by_someone
            && ends_within(container, CONTAINER_END)
        {
            self.container_ended();
        }
        self.container_ended
    }

    /// Reaps whatever was left to us; in a container without PID namespace that may be anything.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() != self.watched.started.host_pid.0 {
                continue;
            }
            if let Some(status) = Status::of(status.exit_status(), status.terminating_signal()) {
                self.record_exit(status);
            }
        }
    }

    fn record_exit(&mut self, status: Status) {
        let status = match &self.watched.last_word {
            Some(last_word) => last_word.of_command(status),
            None => status,
        };
        let left_behind = self.watched.group.left_behind();
        let mut exit = exit::describe(status, self.ended_by_someone, left_behind, clock::wall());
        if let Some(limit) = self.watched.group.out_of_memory() {
            exit::explain_memory(&mut exit, limit);
        }
        if self.ended_with_container(status) {
            exit.reason = "its container has ended".to_owned();
        }
        self.poll.remove(&self.watched.pidfd);
        // Before anybody is told, so that nobody is ever told otherwise.
        if let Err(error) = store::write(&self.watched.directory.join("exit.json"), &exit) {
            log!("monitor", "{:?}: exit.json: {error}", self.watched.target);
        }
        self.exit = Some(exit.clone());
        // Whoever is told of the end may want its ports at once.
        if let Some(attached) = &mut self.watched.attached {
            attached.release();
        }
        if let Err(failure) = self.watched.group.process_ended() {
            log!("monitor", "{:?}: {failure}", self.watched.target);
        }
        let now = clock::monotonic_ms();
        self.drain = Drain::Going {
            quiet: now + QUIET_MS,
            over: now + DRAIN_MS,
        };
        // What stood still because it was at its end or could not be written is tried once more.
        self.await_streams();
        // The keeper first: whoever hears it as the reader may ask the keeper for the next start.
        self.tell_keeper(&FromMonitor::Exited(exit.clone()));
        if let Some(reader) = &self.reader
            && !send(reader, &ToReader::Exited(exit))
        {
            self.lose_reader();
        }
        if let Some(attached) = self.watched.attached.take()
            && let Err(failure) = attached.leave()
        {
            log!("monitor", "{:?}: {failure}", self.watched.target);
        }
    }
}

/// Whether the process of a pidfd ends within this time.
fn ends_within(pidfd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut watched = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::event::poll(&mut watched, Some(&limit)).is_ok_and(|ready| ready > 0)
}

/// Sends a message to somebody who must not be waited for. `false` where it could not be sent.
pub(super) fn send(packet: &Packet, message: &impl Serialize) -> bool {
    serde_json::to_vec(message).is_ok_and(|bytes| packet.send(&bytes, &[]).is_ok())
}
