//! The control groups that were met: what a path says is worked out once, not for each process.

use std::collections::HashMap;
use std::sync::Arc;

use crate::recognise::{self, Group};

/// Those that a process is in, by the whole of its `/proc/PID/cgroup`.
#[derive(Debug)]
pub(crate) struct Groups {
    base: Option<String>,
    met: HashMap<Vec<u8>, Arc<Group>>,
    none: Arc<Group>,
    last: u64,
}

impl Groups {
    /// None was met yet. `base` is the group of Porthole's own containers.
    pub(crate) fn new(base: Option<String>) -> Self {
        Self {
            base,
            met: HashMap::new(),
            none: Arc::default(),
            last: 0,
        }
    }

    /// That of the kernel's threads.
    pub(crate) fn none(&self) -> Arc<Group> {
        self.none.clone()
    }

    /// The one that this file says.
    pub(crate) fn of(&mut self, file: &[u8]) -> Arc<Group> {
        if file.is_empty() {
            return self.none();
        }
        if let Some(group) = self.met.get(file) {
            return group.clone();
        }
        self.last += 1;
        let group = Arc::new(Group {
            number: self.last,
            ..recognise::group(file, self.base.as_deref())
        });
        self.met.insert(file.to_vec(), group.clone());
        group
    }

    /// Forgets those that no process is in.
    pub(crate) fn tidy(&mut self) {
        self.met.retain(|_, group| Arc::strong_count(group) > 1);
    }
}
