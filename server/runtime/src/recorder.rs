//! Writing down our own calls: a container's birth trace, a session's join trace.

use std::os::fd::{AsRawFd, OwnedFd};

use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::trace::{Actor, Trace, TraceStep};
use rustix::time::{ClockId, clock_gettime};

use crate::step::{Number, Place, StepError};

/// Collects the calls that a process and its forked helpers make, with times and results.
#[derive(Debug)]
pub struct Recorder {
    began_us: u64,
    actor: Actor,
    pid: Option<HostPid>,
    steps: Vec<TraceStep>,
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000
}

impl Recorder {
    /// Begins a trace: its clock is at zero now.
    pub fn new(actor: Actor) -> Self {
        Self {
            began_us: now_us(),
            actor,
            pid: Some(HostPid(std::process::id().cast_signed())),
            steps: Vec::with_capacity(128),
        }
    }

    /// A forked helper's own: the same clock, no calls yet.
    pub(crate) fn forked(&self, actor: Actor, pid: Option<HostPid>) -> Self {
        Self {
            began_us: self.began_us,
            actor,
            pid,
            steps: Vec::with_capacity(128),
        }
    }

    /// Makes a call and writes it down. `call` is how strace(1) would write it.
    pub(crate) fn step<T: Outcome, E: Into<Number>>(
        &mut self,
        place: impl Into<Place>,
        call: impl Into<String>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, StepError> {
        let at_us = now_us() - self.began_us;
        let answer = make().map_err(Into::into);
        let result = match &answer {
            Ok(value) => value.number(),
            Err(Number(errno)) => -i64::from(*errno),
        };
        self.steps.push(TraceStep {
            at_us,
            actor: self.actor,
            pid: self.pid,
            call: call.into(),
            result,
            entered: Vec::new(),
        });
        answer.map_err(|errno| StepError::new(place, errno))
    }

    /// Notes that the last call moved its caller into namespaces.
    pub(crate) fn entered(&mut self, kinds: impl IntoIterator<Item = NamespaceType>) {
        if let Some(last) = self.steps.last_mut() {
            last.entered.extend(kinds);
        }
    }

    /// Adds a call that somebody else was seen to make.
    pub(crate) fn seen(&mut self, actor: Actor, pid: Option<HostPid>, call: String, result: i64) {
        self.steps.push(TraceStep {
            at_us: now_us() - self.began_us,
            actor,
            pid,
            call,
            result,
            entered: Vec::new(),
        });
    }

    /// Adds a call whose answer comes later, to who waits for it.
    pub(crate) fn note(&mut self, call: String) {
        self.seen(self.actor, self.pid, call, 0);
    }

    /// Takes over what a forked helper wrote down; `pid` where it could not know its own.
    pub(crate) fn extend(&mut self, steps: Vec<TraceStep>, pid: Option<HostPid>) {
        self.steps.extend(steps.into_iter().map(|mut step| {
            step.pid = step.pid.or(pid);
            step
        }));
    }

    /// Takes what has been written down so far.
    pub(crate) fn take(&mut self) -> Vec<TraceStep> {
        std::mem::take(&mut self.steps)
    }

    /// The calls, in the order of their time.
    pub fn into_trace(self) -> Trace {
        let mut steps = self.steps;
        steps.sort_by_key(|step| step.at_us);
        Trace { steps }
    }
}

/// What a call's answer is as a number.
pub(crate) trait Outcome {
    fn number(&self) -> i64;
}

impl Outcome for () {
    fn number(&self) -> i64 {
        0
    }
}

impl Outcome for OwnedFd {
    fn number(&self) -> i64 {
        i64::from(self.as_raw_fd())
    }
}

impl Outcome for (OwnedFd, OwnedFd) {
    fn number(&self) -> i64 {
        0
    }
}

impl Outcome for usize {
    fn number(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl Outcome for porthole_sys::process::Child {
    fn number(&self) -> i64 {
        i64::from(self.pid)
    }
}

impl Outcome for porthole_sys::terminal::Terminal {
    fn number(&self) -> i64 {
        0
    }
}

impl Outcome for i32 {
    fn number(&self) -> i64 {
        i64::from(*self)
    }
}
