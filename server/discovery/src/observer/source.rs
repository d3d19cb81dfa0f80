//! Where changes are learnt from.

use std::time::{Duration, Instant};

use crate::events::Events;

/// How long the kernel has to answer that it will send events.
const ANSWER: Duration = Duration::from_secs(1);

/// Where changes are learnt from.
#[derive(Debug)]
pub(super) enum Source {
    /// The kernel was asked for events and has not answered yet; it has until then.
    Asked(Events, Instant),
    /// It sends them.
    Events(Events),
    /// It does not: everything is read again and again.
    Polling(Option<Events>),
}

impl Source {
    /// Asks the kernel for events.
    pub(super) fn ask(now: Instant) -> Self {
        match Events::listen() {
            Ok(events) => Self::Asked(events, now + ANSWER),
            Err(_) => Self::Polling(None),
        }
    }

    /// Where events come, if any may.
    pub(super) const fn events(&self) -> Option<&Events> {
        match self {
            Self::Asked(events, _) | Self::Events(events) | Self::Polling(Some(events)) => {
                Some(events)
            }
            Self::Polling(None) => None,
        }
    }

    /// Until when the kernel has to answer.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked(_, until) => Some(*until),
            Self::Events(_) | Self::Polling(_) => None,
        }
    }

    /// What it is after events were taken, of which `heard` tells whether there were any. True
    /// where the kernel's time to answer is over.
    pub(super) fn judge(&mut self, heard: bool, now: Instant) -> bool {
        let mut is_over = false;
        *self = match std::mem::replace(self, Self::Polling(None)) {
            Self::Asked(events, _) | Self::Polling(Some(events)) if heard => Self::Events(events),
            Self::Asked(events, until) if until <= now => {
                is_over = true;
                Self::Polling(Some(events))
            }
            other => other,
        };
        is_over
    }

    /// A sentence for people where changes are not learnt of at once; everything is then read each
    /// `polling`.
    pub(super) fn notice(&self, polling: Duration) -> Option<String> {
        match self {
            Self::Asked(..) | Self::Events(_) => None,
            Self::Polling(_) => Some(format!(
                "The kernel does not tell Porthole of new processes (it does so only in the first \
                 network, PID and user namespaces), so they are looked for every {} seconds.",
                polling.as_secs_f32()
            )),
        }
    }
}
