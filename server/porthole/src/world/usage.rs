//! What containers use, and have used lately.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use porthole_protocol::id::ContainerId;

use super::{Change, World};

/// Time of processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Processor {
    /// Used since the container was started, in nanoseconds of one core.
    pub used_ns: u64,
    /// In which it could have run but was held back by its limit, in nanoseconds.
    pub throttled_ns: Option<u64>,
    /// How many cores it may use; `None`: all.
    pub cores: Option<f64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Used, without what the kernel takes back first when it needs some.
    pub used: u64,
    /// That.
    pub cache: u64,
    /// The most that was used at once, cache included.
    pub peak: Option<u64>,
    /// The most that it may use.
    pub limit: Option<u64>,
    /// How many of its processes were killed for want of memory.
    pub oom_kills: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// How many there are.
    pub now: u64,
    /// How many there may be.
    pub limit: Option<u64>,
}

/// What a container uses at some moment; `None`: this machine does not count it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Processors.
    pub processor: Option<Processor>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes.
    pub pids: Option<Pids>,
}

impl Sample {
    /// How busy it was since that moment, in per cent of one core.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    pub fn percent_since(&self, before: &Self) -> Option<f64> {
        let passed = self.at.checked_duration_since(before.at)?;
        let (now, then) = (self.processor?.used_ns, before.processor?.used_ns);
        // It was started anew where that is less.
        let used = now.checked_sub(then)?;
        (!passed.is_zero()).then(|| used as f64 * 100.0 / passed.as_nanos() as f64)
    }
}

/// Moments that are kept: two minutes.
pub const KEPT: usize = 60;

/// What is not looked at for so long is forgotten: a line over a gap would be untrue.
const GAP: Duration = Duration::from_secs(10);

/// One moment of a container's past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// In per cent of one core.
    pub percent: Option<f64>,
    /// In bytes.
    pub memory: Option<u64>,
}

/// What a container uses, and has used in the last two minutes that somebody looked.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Now.
    pub now: Sample,
    /// The oldest first; the last is now.
    pub past: VecDeque<Point>,
}

impl Usage {
    /// How busy it is now, in per cent of one core.
    pub fn percent(&self) -> Option<f64> {
        self.past.back()?.percent
    }

    fn next(before: Option<&Self>, now: Sample) -> Self {
        let before = before.filter(|before| now.at.duration_since(before.now.at) < GAP);
        let percent = before.and_then(|before| now.percent_since(&before.now));
        let mut past = before.map(|before| before.past.clone()).unwrap_or_default();
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(Point {
            percent,
            memory: now.memory.map(|memory| memory.used),
        });
        Self { now, past }
    }
}

impl World {
    /// What a container uses, where somebody has looked lately.
    pub fn usage(&self, id: &ContainerId) -> Option<Arc<Usage>> {
        let usage = self.read().usage.get(id).cloned();
        usage.filter(|usage| usage.now.at.elapsed() < GAP)
    }

    /// All containers that run were looked at.
    pub fn learn_usage(&self, samples: HashMap<ContainerId, Sample>) {
        let mut state = self.write();
        let before = std::mem::take(&mut state.usage);
        state.usage = samples
            .into_iter()
            .map(|(id, now)| {
                let usage = Usage::next(before.get(&id).map(Arc::as_ref), now);
                (id, Arc::new(usage))
            })
            .collect();
        self.changes.tell(Change::Usage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moment: Instant, used_ns: u64) -> Sample {
        Sample {
            at: moment,
            processor: Some(Processor {
                used_ns,
                throttled_ns: None,
                cores: None,
            }),
            memory: None,
            pids: None,
        }
    }

    #[test]
    fn how_busy_it_is_needs_two_looks_at_one_run() {
        let begun = Instant::now();
        let first = Usage::next(None, at(begun, 1_000_000_000));
        assert_eq!(first.percent(), None);
        let later = begun + Duration::from_secs(2);
        let second = Usage::next(Some(&first), at(later, 2_000_000_000));
        assert_eq!(second.percent(), Some(50.0));
        let again = Usage::next(Some(&second), at(later + Duration::from_secs(2), 5));
        assert_eq!(again.percent(), None, "it was started anew");
        assert_eq!(again.past.len(), 3);
        let much_later = Usage::next(Some(&again), at(later + Duration::from_secs(20), 9));
        assert_eq!(much_later.past.len(), 1, "nobody looked");
    }

    #[test]
    fn the_past_has_an_end() {
        let begun = Instant::now();
        let mut usage = Usage::next(None, at(begun, 0));
        for second in 1..200 {
            usage = Usage::next(Some(&usage), at(begun + Duration::from_secs(second), 0));
        }
        assert_eq!(usage.past.len(), KEPT);
    }
}
