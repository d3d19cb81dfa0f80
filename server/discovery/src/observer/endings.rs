//! Processes that have ended and are still there: until its parent has asked how it ended a process
//! is a zombie, and no event tells when that is over. They are looked at again and again, in turn.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;

/// How soon is looked again, and how soon where all have been zombies for a while.
const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(1);

/// How many are looked at again at a time.
const AT_ONCE: usize = 512;

/// Those that are known.
#[derive(Debug)]
pub(super) struct Endings {
    /// Since when each was seen as one.
    since: HashMap<HostPid, Instant>,
    /// The same, those that were not looked at for longest first.
    turn: VecDeque<HostPid>,
    next: Instant,
}

impl Endings {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: HashMap::new(),
            turn: VecDeque::new(),
            next: now,
        }
    }

    /// When some are to be looked at; `None` where there are none.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.since.is_empty()).then_some(self.next)
    }

    /// A process was read and is one.
    pub(super) fn add(&mut self, pid: HostPid, now: Instant) {
        if let Entry::Vacant(unknown) = self.since.entry(pid) {
            unknown.insert(now);
            self.turn.push_back(pid);
            self.next = self.next.clamp(now, now + SOON);
        }
    }

    /// Those whose turn it is, if it is time, with since when each is one. They are forgotten: who
    /// still is one is [added](Self::add) again.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(HostPid, Instant)> {
        if self.next().is_none_or(|next| now < next) {
            return Vec::new();
        }
        let count = self.turn.len().min(AT_ONCE);
        let turn = self.turn.drain(..count);
        turn.filter_map(|pid| Some((pid, self.since.remove(&pid)?)))
            .collect()
    }

    /// Those that were taken were looked at: who was added again has been one for as long as before.
    pub(super) fn looked_at(&mut self, taken: Vec<(HostPid, Instant)>, now: Instant) {
        if taken.is_empty() {
            return;
        }
        for (pid, since) in taken {
            if let Some(again) = self.since.get_mut(&pid) {
                *again = since;
            }
        }
        let recent = |since: &Instant| now.duration_since(*since) < LATE * 2;
        let soon = self.since.values().any(recent);
        self.next = now + if soon { SOON } else { LATE };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_is_looked_at_less_often() {
        let begin = Instant::now();
        let mut endings = Endings::new(begin);
        assert_eq!(endings.next(), None);
        endings.add(HostPid(7), begin);
        endings.add(HostPid(8), begin);
        let mut now = begin;
        let mut paces = Vec::new();
        for _ in 0..25 {
            let taken = endings.take(now);
            assert_eq!(taken, [(HostPid(7), begin), (HostPid(8), begin)]);
            assert_eq!(endings.take(now), []);
            endings.add(HostPid(7), now);
            endings.add(HostPid(8), now);
            endings.looked_at(taken, now);
            let next = endings.next().expect("two are there");
            paces.push(next - now);
            now = next;
        }
        assert_eq!(paces[..20], [SOON; 20]);
        assert_eq!(paces[20..], [LATE; 5]);
        // One is gone, another is new.
        let taken = endings.take(now);
        endings.add(HostPid(8), now);
        endings.add(HostPid(9), now);
        endings.looked_at(taken, now);
        assert_eq!(endings.next(), Some(now + SOON));
        assert_eq!(
            endings.take(now + SOON),
            [(HostPid(8), begin), (HostPid(9), now)]
        );
        assert_eq!(endings.next(), None);
    }

    #[test]
    fn no_more_than_some_are_looked_at_at_a_time() {
        let begin = Instant::now();
        let mut endings = Endings::new(begin);
        let all = 3 * AT_ONCE;
        for pid in 0..all {
            endings.add(HostPid(pid as i32), begin);
        }
        let mut now = begin;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let taken = endings.take(now);
            assert_eq!(taken.len(), AT_ONCE);
            seen.extend(taken.iter().map(|(pid, _)| pid.0));
            for (pid, _) in &taken {
                endings.add(*pid, now);
            }
            endings.looked_at(taken, now);
            now += SOON;
        }
        assert!(seen.into_iter().eq(0..all as i32), "each in turn");
    }
}
