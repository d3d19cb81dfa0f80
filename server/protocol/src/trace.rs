//! What our own processes write down of the calls they made: a container's birth, a join.

use serde::{Deserialize, Serialize};

use crate::id::HostPid;
use crate::namespace::NamespaceType;

/// Who made a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// The monitor, in the host's namespaces.
    Monitor,
    /// A container's first process before it runs its program.
    Init,
    /// The process that joins a container.
    Joiner,
    /// The shell or command that was started.
    Shell,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// Microseconds since the trace began (`CLOCK_MONOTONIC`).
    pub at_us: u64,
    /// Who made it.
    pub actor: Actor,
    /// That process on the host, where it is known.
    pub pid: Option<HostPid>,
    /// The call with its arguments, as strace(1) would write it.
    pub call: String,
    /// What it returned; `-errno` where it failed.
    pub result: i64,
    /// The namespaces that its caller is in since, and was not before.
    #[serde(default)]
    pub entered: Vec<NamespaceType>,
}

/// Calls in the order of their time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// The calls.
    pub steps: Vec<TraceStep>,
}
