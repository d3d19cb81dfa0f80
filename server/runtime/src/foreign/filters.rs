//! The filters of system calls of a container's init: read once by stopping it for a moment.
//!
//! Only a tracer may read them (PTRACE_SECCOMP_GET_FILTER), and only while the traced process
//! stands still. A forked child does that, which is killed if it takes too long: a process that is
//! frozen stops only once it thaws. A wait that cannot be restarted answers EINTR then, as it does
//! after any stop, see signal(7): epoll_wait(2) among others. So what was read is kept, for as long
//! as init has so many filters and no more: filters are only ever added.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Clone, Forked, SingleThreaded, clone, exit};
use porthole_sys::seccomp::{Filter, Instruction, Stopped};
use serde::{Deserialize, Serialize};

use crate::wire;

/// How long init may take to stop.
const DEADLINE: Duration = Duration::from_secs(2);

/// More filters than this are not read: each may have 4096 instructions.
const FILTERS: usize = 64;

/// A message with one filter: 4096 instructions of at most 30 bytes in JSON.
const LIMIT: usize = 192 * 1024;

/// Why they could not be read, in the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("it did not stop within two seconds")]
    Late,
    #[error("another program traces it, or it may not be traced from here")]
    Traced,
    #[error("the kernel did not allow it: {}", io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    #[error("it has more than 64 of them")]
    Many,
}

/// What the child says, a filter a message, and `None` after the last.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Filter(Stored),
    Last,
    Failed(i32),
}

/// A filter as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    log: bool,
    /// Each with `code`, `jt`, `jf` and `k`.
    instructions: Vec<(u16, u8, u8, u32)>,
}

impl From<&Filter> for Stored {
    fn from(filter: &Filter) -> Self {
        let instructions = filter.instructions.iter();
        Self {
            log: filter.log,
            instructions: instructions.map(|i| (i.code, i.jt, i.jf, i.k)).collect(),
        }
    }
}

impl From<Stored> for Filter {
    fn from(stored: Stored) -> Self {
        let instructions = stored.instructions.into_iter();
        Self {
            log: stored.log,
            instructions: instructions
                .map(|(code, jt, jf, k)| Instruction { code, jt, jf, k })
                .collect(),
        }
    }
}

/// Where what was read is kept: a directory of root's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cache<'a>(pub(crate) &'a Path);

/// This boot of the machine: numbers and times of processes come back in the next.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().filter(char::is_ascii_hexdigit).collect()
}

impl Cache<'_> {
    fn file(&self, pid: HostPid, start_ticks: u64, count: usize) -> PathBuf {
        self.0
            .join(format!("{pid}-{start_ticks}-{}-{count}", boot()))
    }

    fn get(&self, pid: HostPid, start_ticks: u64, count: usize) -> Option<Vec<Filter>> {
        let bytes = fs::read(self.file(pid, start_ticks, count)).ok()?;
        let stored: Vec<Stored> = serde_json::from_slice(&bytes).ok()?;
        (stored.len() == count).then(|| stored.into_iter().map(Filter::from).collect())
    }

    /// Where it cannot be kept, it is read again.
    fn put(&self, pid: HostPid, start_ticks: u64, filters: &[Filter]) {
        let _ = fs::create_dir(self.0);
        self.forget_gone();
        let stored: Vec<Stored> = filters.iter().map(Stored::from).collect();
        let file = self.file(pid, start_ticks, filters.len());
        // Whole or not at all: two sessions may be opened at once.
        let draft = file.with_extension(std::process::id().to_string());
        let written = serde_json::to_vec(&stored)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&draft, bytes))
            .and_then(|()| fs::rename(&draft, &file));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
    }

    /// Deletes what is kept of processes that are gone.
    fn forget_gone(&self) {
        let boot = boot();
        for entry in fs::read_dir(self.0).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let mut parts = name.to_str().unwrap_or_default().split('-');
            let pid = parts.next().and_then(|part| part.parse().ok());
            let ticks = parts.next().and_then(|part| part.parse::<u64>().ok());
            let lives =
                pid.is_some_and(|pid| crate::observe::start_ticks(HostPid(pid)).ok() == ticks);
            if !lives || parts.next() != Some(boot.as_str()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The filters of a process, the oldest first, in which order they are to be loaded. `count`: how
/// many it has, where the kernel says so.
pub(crate) fn read(
    alone: SingleThreaded,
    pid: HostPid,
    start_ticks: u64,
    count: Option<usize>,
    cache: Cache<'_>,
) -> Result<Vec<Filter>, Unread> {
    if let Some(kept) = count.and_then(|count| cache.get(pid, start_ticks, count)) {
        return Ok(kept);
    }
    let filters = ask(alone, pid)?;
    if count.is_none_or(|count| count == filters.len()) {
        cache.put(pid, start_ticks, &filters);
    }
    Ok(filters)
}

fn ask(alone: SingleThreaded, pid: HostPid) -> Result<Vec<Filter>, Unread> {
    let refused = |error: io::Error| Unread::Refused(error.raw_os_error().unwrap_or_default());
    let (ours, its) = Packet::pair(false).map_err(refused)?;
    let child =
        clone(alone, &Clone::default(), |forked| tell(&forked, pid, &its)).map_err(refused)?;
    drop(its);
    let answer = listen(&ours);
    // Whether it is done or will never be: what it traces goes on when it ends.
    let _ = crate::launch::end(&child);
    answer
}

fn listen(channel: &Packet) -> Result<Vec<Filter>, Unread> {
    let mut filters = Vec::new();
    loop {
        if wire::await_message(channel, Instant::now() + DEADLINE).is_err() {
            return Err(Unread::Late);
        }
        let word = channel
            .receive(LIMIT)
            .ok()
            .flatten()
            .and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok());
        match word {
            Some(Word::Filter(_)) if filters.len() == FILTERS => return Err(Unread::Many),
            Some(Word::Filter(stored)) => filters.push(stored.into()),
            Some(Word::Last) => return Ok(filters),
            Some(Word::Failed(errno)) => {
                let traced = errno == rustix::io::Errno::PERM.raw_os_error();
                return Err(if traced {
                    Unread::Traced
                } else {
                    Unread::Refused(errno)
                });
            }
            None => return Err(Unread::Refused(0)),
        }
    }
}

/// The child.
fn tell(forked: &Forked, pid: HostPid, channel: &Packet) -> Infallible {
    let say = |word: &Word| {
        serde_json::to_vec(word)
            .map_err(io::Error::from)
            .and_then(|bytes| channel.send(&bytes, &[]))
    };
    let told = forked
        .close_all_but(&[channel.as_fd()])
        .and_then(|()| all(forked, pid));
    let last = match told {
        Ok(filters) => {
            for filter in &filters {
                let _ = say(&Word::Filter(filter.into()));
            }
            Word::Last
        }
        Err(error) => Word::Failed(error.raw_os_error().unwrap_or_default()),
    };
    let _ = say(&last);
    exit(0)
}

/// It stands still for as long as this takes.
fn all(forked: &Forked, pid: HostPid) -> io::Result<Vec<Filter>> {
    let stopped = Stopped::at(forked, pid.0)?;
    let mut filters = Vec::new();
    while let Some(filter) = stopped.filter(filters.len())? {
        filters.push(filter);
        if filters.len() > FILTERS {
            break;
        }
    }
    Ok(filters)
}

/// Whether a filter asks a supervisor (SECCOMP_RET_USER_NOTIF): without it, as in a session, what it
/// would be asked answers ENOSYS.
pub(crate) fn asks_supervisor(filter: &Filter) -> bool {
    const RETURN: u16 = 0x06;
    const USER_NOTIF: u32 = 0x7fc0_0000;
    filter
        .instructions
        .iter()
        .any(|i| i.code == RETURN && i.k & 0xffff_0000 == USER_NOTIF)
}
