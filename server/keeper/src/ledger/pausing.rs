//! Freezing a container's processes, and letting them go on.
//!
//! Always by the cgroup2 tree, which every machine here has and whose groups hold all processes of
//! a container, its sessions' too: what is frozen there can be killed, and its freezer needs no
//! controller.

use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Reply};

use super::record::{Deadline, Life, Then, Wish};
use super::{Effect, FREEZE_MS, Ledger, Now, Ticket, check_waiting, refuse, wrong_state};

impl Ledger {
    pub(super) fn pause(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        now: Now,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        match held.run() {
            None => return Err(wrong_state("the container does not run")),
            Some(run) if run.paused => return Err(wrong_state("the container is paused already")),
            Some(_) => {}
        }
        check_waiting(held.waiting.len())?;
        let begun = held.awaits(Wish::Paused);
        if !begun && held.deadline.is_some() {
            return Err(wrong_state("the container is being stopped"));
        }
        let Some(held) = self.containers.get_mut(id) else {
            return Ok(Vec::new());
        };
        held.waiting.push((ticket, Wish::Paused));
        if begun {
            return Ok(Vec::new());
        }
        held.deadline = Some(Deadline {
            at_ms: now.ms + FREEZE_MS,
            then: Then::GiveUpPausing,
        });
        Ok(vec![Effect::Freeze(id.clone())])
    }

    /// Every process of the container stands still, or cannot be frozen.
    pub(crate) fn frozen(&mut self, id: &ContainerId, result: Result<(), Failure>) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        if !held.awaits(Wish::Paused) {
            return Vec::new();
        }
        held.deadline = None;
        let pausing = held.take(Wish::Paused);
        if let Err(failure) = result {
            return pausing
                .into_iter()
                .map(|ticket| Effect::Reply(ticket, Reply::Failed(failure.clone())))
                .collect();
        }
        if let Life::Running(run) = &mut held.state.life {
            run.paused = true;
        }
        let mut effects: Vec<_> = pausing
            .into_iter()
            .map(|ticket| self.container_reply(ticket, id))
            .collect();
        effects.extend(self.tell(id));
        effects.push(Effect::Save(id.clone()));
        effects
    }

    pub(super) fn give_up_pausing(&mut self, id: &ContainerId) -> Vec<Effect> {
        let failure = Failure::new(
            FailureCode::WrongState,
            "not all of its processes came to a stand: one waits for a device or file system that does not answer. They go on; try again",
        );
        let mut effects = vec![Effect::Thaw(id.clone())];
        effects.extend(self.frozen(id, Err(failure)));
        effects
    }

    pub(super) fn unpause(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        if !held.paused() && !held.awaits(Wish::Paused) {
            return Err(wrong_state("the container is not paused"));
        }
        let mut effects = Vec::new();
        if let Some(held) = self.containers.get_mut(id)
            && held.awaits(Wish::Paused)
        {
            held.deadline = None;
            let pausing = held.take(Wish::Paused);
            effects.extend(
                pausing
                    .into_iter()
                    .map(|ticket| refuse(ticket, "the container was unpaused meanwhile")),
            );
        }
        effects.extend(self.thaw(id));
        effects.push(self.container_reply(ticket, id));
        Ok(effects)
    }

    /// Lets its processes go on.
    pub(super) fn thaw(&mut self, id: &ContainerId) -> Vec<Effect> {
        if let Some(held) = self.containers.get_mut(id)
            && let Life::Running(run) = &mut held.state.life
        {
            run.paused = false;
        }
        let mut effects = vec![Effect::Thaw(id.clone())];
        effects.extend(self.tell(id));
        effects.push(Effect::Save(id.clone()));
        effects
    }
}
