//! Who has typed, and how far: remembered over a viewer's connections.

use std::collections::HashMap;

use porthole_protocol::session::Size;
use tokio::time::Instant;

use crate::input::Place;
use crate::limits::{MEMORIES, MEMORY};

/// A viewer over all its connections.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) place: Place,
    /// The size of its window, as far as it was said.
    pub(crate) window: Option<Size>,
    /// Since when it has no connection.
    left: Option<Instant>,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    all: HashMap<u64, Writer>,
}

impl Writers {
    pub(crate) fn get(&self, number: u64) -> Option<&Writer> {
        self.all.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Writer> {
        self.all.get_mut(&number)
    }

    /// The number of the writer with this id and account, where it is known still.
    pub(crate) fn find(&self, id: &str, user: &str) -> Option<u64> {
        let known = |writer: &&u64| {
            let writer = &self.all[*writer];
            writer.id == id && writer.user == user
        };
        self.all.keys().find(known).copied()
    }

    /// A new one. Old ones are forgotten for it where there are too many.
    pub(crate) fn add(&mut self, number: u64, id: String, user: String, now: Instant) {
        self.all
            .retain(|_, writer| writer.left.is_none_or(|left| now - left < MEMORY));
        if self.all.len() >= MEMORIES {
            let left = self.all.iter().filter(|(_, writer)| writer.left.is_some());
            let oldest = left.min_by_key(|(_, writer)| writer.left).map(|(&n, _)| n);
            if let Some(oldest) = oldest {
                self.all.remove(&oldest);
            }
        }
        let writer = Writer {
            id,
            user,
            place: Place::default(),
            window: None,
            left: None,
        };
        self.all.insert(number, writer);
    }

    pub(crate) fn came(&mut self, number: u64) {
        if let Some(writer) = self.all.get_mut(&number) {
            writer.left = None;
        }
    }

    pub(crate) fn left(&mut self, number: u64, now: Instant) {
        if let Some(writer) = self.all.get_mut(&number) {
            writer.left = Some(now);
        }
    }

    /// All that arrived counts as accepted: it was refused.
    pub(crate) fn refuse_all(&mut self) {
        for writer in self.all.values_mut() {
            writer.place.accepted = writer.place.received;
        }
    }
}
