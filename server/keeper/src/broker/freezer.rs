//! Bringing a container's processes to a stand: the kernel says when they do.

use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::Failure;
use rustix::event::epoll::EventFlags;

use super::{Broker, Source};
use crate::log::log;
use crate::monitor::io_failure;

impl Broker {
    pub(super) fn freeze(&mut self, id: &ContainerId) {
        if let Err(failure) = self.try_freeze(id) {
            self.thaw(id);
            let effects = self.ledger.frozen(id, Err(failure));
            self.queue.extend(effects);
        } else {
            self.look_at_freezer(id);
        }
    }

    fn try_freeze(&mut self, id: &ContainerId) -> Result<(), Failure> {
        let freezing = self.ground.cgroups.freeze(id)?;
        let number = self.number(Source::Freezer(id.clone()));
        self.poll
            .add(&freezing, number, EventFlags::PRI)
            .map_err(|error| io_failure(&error, "the control group cannot be watched"))?;
        self.forget_freezer(id);
        self.freezing.insert(id.clone(), (number, freezing));
        Ok(())
    }

    /// Looks whether every process stands still.
    pub(super) fn look_at_freezer(&mut self, id: &ContainerId) {
        let Some((_, freezing)) = self.freezing.get(id) else {
            return;
        };
        let done = freezing.is_done();
        if done == Ok(false) {
            return;
        }
        self.forget_freezer(id);
        let effects = self.ledger.frozen(id, done.map(|_| ()));
        self.perform(effects);
    }

    pub(super) fn thaw(&mut self, id: &ContainerId) {
        self.forget_freezer(id);
        if let Err(failure) = self.ground.cgroups.thaw(id) {
            log!("keeper", "container {}: {failure}", id.short());
        }
    }

    fn forget_freezer(&mut self, id: &ContainerId) {
        if let Some((number, freezing)) = self.freezing.remove(id) {
            self.poll.remove(&freezing);
            self.sources.remove(&number);
        }
    }
}
