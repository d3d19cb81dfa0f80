//! Waiting for many descriptors at once, see epoll(7). Level-triggered.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;
use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

/// Events taken at once.
const AT_ONCE: usize = 64;

/// What is waited for, each by a number of the caller's.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// Something can be read, or is over.
pub(crate) const READ: EventFlags = EventFlags::IN;

/// Something can be read or written.
pub(crate) const READ_WRITE: EventFlags = EventFlags::IN.union(EventFlags::OUT);

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(AT_ONCE),
        })
    }

    pub(crate) fn add(&self, source: impl AsFd, number: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(number),
            flags,
        )?)
    }

    pub(crate) fn change(
        &self,
        source: impl AsFd,
        number: u64,
        flags: EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            source,
            EventData::new_u64(number),
            flags,
        )?)
    }

    /// No error where it was not waited for.
    pub(crate) fn remove(&self, source: impl AsFd) {
        let _ = epoll::delete(&self.epoll, source);
    }

    /// The numbers of those for which something has happened; none where `timeout_ms` has passed.
    pub(crate) fn wait(&mut self, timeout_ms: Option<u64>) -> io::Result<Vec<(u64, EventFlags)>> {
        let timeout = timeout_ms.map(|ms| Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ms % 1000).unwrap_or(0) * 1_000_000,
        });
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        Ok(self
            .events
            .iter()
            .map(|event| {
                let Event { data, flags } = *event;
                (data.u64(), flags)
            })
            .collect())
    }
}
