//! Processes that have ended, as they last were: a page about one says what it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use porthole_protocol::container::Timestamp;
use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Process;

/// Memory that they may take in all, in bytes: some ten thousand of them.
const KEPT: usize = 8 << 20;
/// What one takes beside its arguments.
const EACH: usize = 600;

/// A process that is not there any more.
#[derive(Debug, Clone)]
pub struct Departed {
    /// What it last was.
    pub process: Arc<Process>,
    /// When that was noticed.
    pub at: Timestamp,
}

impl Departed {
    fn weight(&self) -> usize {
        EACH + self.process.args.iter().map(String::len).sum::<usize>()
    }
}

/// The last that have ended, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ended {
    last: VecDeque<Departed>,
    weight: usize,
}

impl Ended {
    /// Takes note of one.
    pub(super) fn put(&mut self, process: Arc<Process>) {
        let at = Timestamp::from_system(SystemTime::now());
        let departed = Departed { process, at };
        self.weight += departed.weight();
        self.last.push_back(departed);
        while self.weight > KEPT {
            let Some(oldest) = self.last.pop_front() else {
                break;
            };
            self.weight -= oldest.weight();
        }
    }

    /// The last that had this number; with a start, that very one.
    pub(super) fn find(&self, pid: HostPid, start_ticks: Option<u64>) -> Option<Departed> {
        let mut all = self.last.iter().rev();
        all.find(|departed| {
            departed.process.host_pid == pid
                && start_ticks.is_none_or(|start| departed.process.start_ticks == start)
        })
        .cloned()
    }
}
