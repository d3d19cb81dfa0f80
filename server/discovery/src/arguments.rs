//! Command lines, read by a helper that may hang.
//!
//! `/proc/PID/cmdline` is the memory of that process, and whoever reads it waits for the lock on
//! the map of that memory (`mmap_lock`, taken by access_remote_vm() in mm/memory.c). A process can
//! keep that lock for ever: one thread reads a page of a FUSE file that never comes through
//! `/proc/self/mem`, a second waits to map something, and all readers wait behind that one, ps(1)
//! too, until a fatal signal. (Arguments that are such a page themselves are refused since
//! CVE-2018-1120.) So a forked helper reads them, and is killed and replaced where it takes too
//! long. Whose arguments those were is found by asking for them one by one, and they are left out
//! until it executes another program or, once in a while, there is nothing else to ask.
//!
//! ```text
//!   observer --- how many, PIDs ----------------------------> helper
//!            <-- PID, start time, length, bytes; ... of each
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::{Errno, read, write};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::{parse, printable};

/// How many are asked for at a time.
const AT_ONCE: usize = 64;

/// How long the helper may take for them.
const DEADLINE: Duration = Duration::from_millis(250);

/// How long updates wait for arguments.
const PATIENCE: Duration = Duration::from_millis(15);

/// How long it is at least until somebody is asked again who has let the helper hang.
const AGAIN: Duration = Duration::from_secs(30);

/// So many of those are remembered.
const STUCK: usize = 4096;

/// PID, start time, length.
const HEADER: usize = 4 + 8 + 4;

/// The length of what could not be read.
const NONE: u32 = u32::MAX;

/// A file of `/proc` that is read here beside the arguments; its longest has some 400 bytes.
const STAT: usize = 1024;

/// The arguments of a process, and when that was started.
pub(crate) struct Answer {
    pub(crate) pid: HostPid,
    pub(crate) start_ticks: u64,
    pub(crate) args: Vec<String>,
}

/// Who is to be asked, and who is being asked.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    helper: Option<Helper>,
    waiting: BTreeSet<HostPid>,
    /// In the order in which they were sent; the answers come in the same.
    asked: VecDeque<HostPid>,
    since: Option<Instant>,
    /// So many more are asked one by one.
    careful: usize,
    /// Have let the helper hang.
    stuck: VecDeque<HostPid>,
    next_stuck: Option<Instant>,
    received: Vec<u8>,
    ended: Vec<Child>,
}

#[derive(Debug)]
struct Helper {
    socket: OwnedFd,
    child: Child,
}

impl Arguments {
    /// Asks for the arguments of this process. `anew` if it has executed another program, which
    /// may behave better.
    pub(crate) fn ask(&mut self, pid: HostPid, anew: bool) {
        if anew {
            self.stuck.retain(|stuck| *stuck != pid);
        } else if self.stuck.contains(&pid) {
            return;
        }
        self.waiting.insert(pid);
    }

    /// Whether so little time has passed since something was asked that it is worth waiting.
    pub(crate) fn awaited(&self, now: Instant) -> Option<Instant> {
        let until = self.since? + PATIENCE;
        (until > now).then_some(until)
    }

    /// When something has to be done if nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.since {
            Some(since) => Some(since + DEADLINE),
            None => self.next_stuck.filter(|_| !self.stuck.is_empty()),
        }
    }

    /// Where answers come.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.since?;
        self.helper.as_ref().map(|helper| helper.socket.as_fd())
    }

    /// Sends the next questions and takes what answers there are.
    pub(crate) fn run(&mut self, now: Instant, mut each: impl FnMut(Answer)) {
        self.ended.retain(|child| !is_over(child));
        self.receive(now, &mut each);
        if self.since.is_some_and(|since| since + DEADLINE <= now) {
            self.replace(now);
        }
        while self.asked.is_empty() && self.send(now, &mut each) {
            self.receive(now, &mut each);
        }
    }

    /// Whether nobody is to be asked any more.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// Sends the next questions; false if there are none.
    fn send(&mut self, now: Instant, each: &mut impl FnMut(Answer)) -> bool {
        if self.waiting.is_empty() {
            if self.next_stuck.is_none_or(|next| next > now) {
                return false;
            }
            // One that even a fatal signal does not end is enough.
            if !self.ended.is_empty() {
                self.next_stuck = Some(now + AGAIN);
                return false;
            }
            let Some(pid) = self.stuck.pop_front() else {
                return false;
            };
            self.next_stuck = Some(now + AGAIN);
            self.waiting.insert(pid);
            self.careful = self.careful.max(1);
        }
        let count = if self.careful > 0 { 1 } else { AT_ONCE };
        self.careful = self.careful.saturating_sub(1);
        while self.asked.len() < count
            && let Some(pid) = self.waiting.pop_first()
        {
            self.asked.push_back(pid);
        }
        if self.helper.is_none() {
            self.helper = Helper::start().ok();
        }
        let Some(helper) = &self.helper else {
            self.read_here(each);
            return true;
        };
        let mut request = (self.asked.len() as u32).to_ne_bytes().to_vec();
        request.extend(self.asked.iter().flat_map(|pid| pid.0.to_ne_bytes()));
        self.since = Some(now);
        // The socket is empty, so that all of it fits; one that is broken is found by reading.
        let _ = send(&helper.socket, &request, SendFlags::NOSIGNAL);
        true
    }

    /// Where no helper can be started: in a program with threads, as tests are.
    fn read_here(&mut self, each: &mut impl FnMut(Answer)) {
        let Ok(proc) = open_proc() else {
            self.asked.clear();
            return;
        };
        let mut buffer = Vec::new();
        for pid in self.asked.drain(..) {
            buffer.clear();
            answer(&proc, pid, &mut buffer);
            if let Some((_, Some(answer))) = parsed(&buffer) {
                each(answer);
            }
        }
    }

    fn receive(&mut self, now: Instant, each: &mut impl FnMut(Answer)) {
        let Some(helper) = self.helper.as_ref().filter(|_| self.since.is_some()) else {
            return;
        };
        let mut buffer = [0; 32 * 1024];
        let mut broken = false;
        while !self.asked.is_empty() {
            match recv(&helper.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => broken = true,
                Ok((length, _)) => self.received.extend_from_slice(&buffer[..length]),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => broken = true,
            }
            if broken {
                break;
            }
            while let Some((length, answer)) = parsed(&self.received) {
                self.received.drain(..length);
                self.asked.pop_front();
                if let Some(answer) = answer {
                    each(answer);
                }
            }
        }
        if self.asked.is_empty() {
            self.since = None;
        } else if broken {
            self.replace(now);
        }
    }

    /// The helper hangs, or was killed.
    fn replace(&mut self, now: Instant) {
        if let Some(Helper { child, .. }) = self.helper.take() {
            let _ = porthole_sys::signals::send(&child.pidfd, Signal::KILL.as_raw());
            self.ended.push(child);
        }
        self.received.clear();
        self.since = None;
        if self.asked.len() == 1 {
            // It may have been asked for again meanwhile.
            for pid in self.asked.drain(..) {
                self.waiting.remove(&pid);
                self.stuck.push_back(pid);
            }
            if self.stuck.len() > STUCK {
                self.stuck.pop_front();
            }
            self.next_stuck = Some(now + AGAIN);
            return;
        }
        self.careful += self.asked.len();
        self.waiting.extend(self.asked.drain(..));
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        let Some(helper) = self.helper.take() else {
            return;
        };
        let _ = porthole_sys::signals::send(&helper.child.pidfd, Signal::KILL.as_raw());
        // One that may hang is not waited for.
        if self.since.is_none() {
            let pidfd = WaitId::PidFd(helper.child.pidfd.as_fd());
            let _ = rustix::process::waitid(pidfd, WaitIdOptions::EXITED);
        }
    }
}

fn is_over(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let waited = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), options);
    !matches!(waited, Ok(None))
}

impl Helper {
    fn start() -> io::Result<Self> {
        let alone = SingleThreaded::verify()?;
        let (ours, its) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let observer = rustix::process::getpid();
        let body = |forked: porthole_sys::process::Forked| -> Infallible {
            let _ = rustix::thread::set_name(c"porthole-args");
            let done = forked
                .close_all_but(&[its.as_fd()])
                .and_then(|()| Ok(help(&its, observer)?));
            porthole_sys::process::exit(i32::from(done.is_err()))
        };
        let child = porthole_sys::process::clone(alone, &Clone::default(), body)?;
        Ok(Self {
            socket: ours,
            child,
        })
    }
}

fn open_proc() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open("/proc", flags, Mode::empty())
}

/// The helper's life.
fn help(socket: &OwnedFd, observer: Pid) -> Result<(), Errno> {
    // It may hang when the observer ends, and would not notice.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(observer) {
        return Ok(());
    }
    let proc = open_proc()?;
    let mut answers = Vec::with_capacity(64 * 1024);
    let mut request = [0; 4 * (AT_ONCE + 1)];
    loop {
        if !read_exact(socket, &mut request[..4])? {
            return Ok(());
        }
        let count = word(&request) as usize;
        let Some(pids) = request.get_mut(..count * 4) else {
            return Err(Errno::INVAL);
        };
        if !read_exact(socket, pids)? {
            return Ok(());
        }
        for pid in pids.chunks_exact(4) {
            answer(&proc, HostPid(word(pid).cast_signed()), &mut answers);
            if answers.len() > 48 * 1024 {
                write_all(socket, &mut answers)?;
            }
        }
        write_all(socket, &mut answers)?;
    }
}

/// Adds the answer for this process. The start time is read after the arguments and through the
/// same directory, so that both are of one process.
fn answer(proc: &OwnedFd, pid: HostPid, answers: &mut Vec<u8>) {
    let begin = answers.len();
    answers.resize(begin + HEADER + printable::ARGS_BYTES, 0);
    let found = arguments(proc, pid, &mut answers[begin + HEADER..]);
    let (ticks, length) = found.unwrap_or((0, NONE));
    let bytes = if length == NONE { 0 } else { length as usize };
    answers.truncate(begin + HEADER + bytes);
    answers[begin..begin + 4].copy_from_slice(&pid.0.to_ne_bytes());
    answers[begin + 4..begin + 12].copy_from_slice(&ticks.to_ne_bytes());
    answers[begin + 12..begin + HEADER].copy_from_slice(&length.to_ne_bytes());
}

fn arguments(proc: &OwnedFd, pid: HostPid, args: &mut [u8]) -> Result<(u64, u32), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = rustix::path::DecInt::new(pid.0);
    let directory = openat(proc, name, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(&directory, "cmdline", flags, Mode::empty())?;
    let length = read(&file, args)?;
    let file = openat(&directory, "stat", flags, Mode::empty())?;
    let mut stat = [0; STAT];
    let read = read(&file, &mut stat)?;
    let stat = parse::stat(&stat[..read]).ok_or(Errno::INVAL)?;
    Ok((stat.start_ticks, length as u32))
}

/// The first answer and its length, if it is there whole; `None` inside where nothing was read.
pub(crate) fn parsed(received: &[u8]) -> Option<(usize, Option<Answer>)> {
    let header = received.get(..HEADER)?;
    let length = word(&header[12..]);
    if length == NONE {
        return Some((HEADER, None));
    }
    let end = HEADER + length as usize;
    let args = printable::args(received.get(HEADER..end)?);
    let ticks = header[4..12].first_chunk().copied().unwrap_or_default();
    let answer = Answer {
        pid: HostPid(word(header).cast_signed()),
        start_ticks: u64::from_ne_bytes(ticks),
        args,
    };
    Some((end, Some(answer)))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes(bytes.first_chunk().copied().unwrap_or_default())
}

/// Fills the buffer; false at the end.
fn read_exact(socket: &OwnedFd, mut buffer: &mut [u8]) -> Result<bool, Errno> {
    while !buffer.is_empty() {
        match read(socket, &mut *buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => buffer = &mut buffer[length..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

fn write_all(socket: &OwnedFd, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match write(socket, rest) {
            Ok(length) => rest = &rest[length..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.clear();
    Ok(())
}
