//! Writing down our own calls: a container's birth trace, a session's join trace.

use porthole_protocol::trace::{Actor, Trace, TraceStep};

/// Collects the calls that a process and its forked helpers make, with times and results.
#[derive(Debug)]
pub struct Recorder {
    steps: Vec<TraceStep>,
}

impl Recorder {
    /// Begins a trace: its clock is at zero now.
    pub fn new(_actor: Actor) -> Self {
        Self { steps: Vec::new() }
    }

    /// The calls, in the order of their time.
    pub fn into_trace(self) -> Trace {
        Trace { steps: self.steps }
    }
}
