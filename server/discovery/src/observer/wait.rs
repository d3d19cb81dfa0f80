//! What the observer waits for: events, answers, changed mounts and networks, room in the stream,
//! and the next thing that has its time.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Observer;
use crate::host::at;
use crate::{Failure, Step};

impl Observer {
    /// Waits until there is something to do; false if the receiver has hung up.
    pub(super) fn wait(&mut self) -> Result<bool, Failure> {
        let now = Instant::now();
        let timeout = self.patience(now);
        let mut interest = PollFlags::IN;
        if !self.outbox.is_empty() {
            interest |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::new(&self.stream, interest)];
        // While events are gathered one more is no reason to wake up.
        if self.gather.is_none()
            && let Some(events) = self.source.events()
        {
            fds.push(PollFd::new(events, PollFlags::IN));
        }
        let answers = self.host.arguments.socket();
        if let Some(answers) = &answers {
            fds.push(PollFd::new(answers, PollFlags::IN));
        }
        let networks = (self.next_networks <= now)
            .then(|| self.host.reader.networks().hears())
            .flatten();
        if let Some(networks) = &networks {
            fds.push(PollFd::new(networks, PollFlags::IN));
        }
        let mounts = self.holders.watched(now);
        if let Some(mounts) = &mounts {
            fds.push(PollFd::new(mounts, PollFlags::PRI));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(at(Step::Wait)(errno)),
        }
        let seen = fds[0].revents();
        let changed = PollFlags::PRI | PollFlags::ERR;
        let mounts_changed = mounts.is_some()
            && fds
                .last()
                .is_some_and(|mounts| mounts.revents().intersects(changed));
        if mounts_changed {
            self.holders.mounts_changed(&mut self.host, now);
        }
        if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(false);
        }
        Ok(!seen.contains(PollFlags::IN) || self.is_connected())
    }

    /// How long there is nothing to do if nothing happens.
    fn patience(&self, now: Instant) -> Timespec {
        let work = !self.scan.is_empty() || !self.is_told_whole() || self.holders.is_busy();
        let mut until = self
            .next_scan
            .min(self.holders.next(now))
            .min(self.freezer.next())
            .min(self.glance.next());
        if self.next_networks > now {
            until = until.min(self.next_networks);
        }
        for time in [
            self.awaited(now),
            self.host.arguments.deadline(),
            self.source.deadline(),
            self.gather,
            self.endings.next(),
        ] {
            until = until.min(time.unwrap_or(until));
        }
        let left = until.saturating_duration_since(now);
        let left = if work || left.is_zero() {
            Duration::ZERO
        } else {
            // Rounded up, so as not to wake up a moment too early again and again.
            left + Duration::from_micros(50)
        };
        Timespec::try_from(left).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        })
    }

    /// The receiver has nothing to say; what it says is not kept.
    fn is_connected(&self) -> bool {
        let mut ignored = [0; 512];
        match recv(&self.stream, &mut ignored[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length > 0,
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}
