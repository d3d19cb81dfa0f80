//! Another name, other limits, another restart policy: put into force by a worker, one change of a
//! container at a time.

use porthole_protocol::container::{Change, ContainerName, RestartPolicy};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Reply};

use super::record::{Changing, Config, Life, Standing};
use super::{Effect, Ledger, Now, Ticket, spec, wrong_state};

impl Ledger {
    pub(super) fn change(
        &mut self,
        ticket: Ticket,
        id: &ContainerId,
        change: Change,
    ) -> Result<Vec<Effect>, Failure> {
        let held = self.container(id)?;
        if held.standing != Standing::Whole {
            return Err(wrong_state("the container is being removed"));
        }
        if held.changing.is_some() {
            return Err(wrong_state(
                "the container is being changed by somebody else; look, and try again",
            ));
        }
        if matches!(held.state.life, Life::Starting { .. }) {
            return Err(wrong_state(
                "the container is being started; try again when it runs",
            ));
        }
        let was = held.config.spec.limits;
        let config = self.changed_config(&held.config, change)?;
        if config == held.config {
            return Ok(vec![self.container_reply(ticket, id)]);
        }
        let limits = (held.run().is_some() && config.spec.limits != was).then_some(was);
        if let Some(held) = self.containers.get_mut(id) {
            held.changing = Some(Changing {
                ticket,
                config: config.clone(),
            });
        }
        Ok(vec![Effect::Configure(Box::new(config), limits)])
    }

    fn changed_config(&self, now: &Config, change: Change) -> Result<Config, Failure> {
        let mut config = now.clone();
        if let Some(name) = change.name.filter(|name| *name != config.name) {
            self.check_name(&name)?;
            config.spec.name = Some(name.clone());
            config.name = name;
        }
        if let Some(restart) = change.restart {
            config.spec.restart = restart;
        }
        config.spec.limits = change.limits.or(config.spec.limits);
        config
            .spec
            .limits
            .check()
            .and_then(|()| config.spec.check_life())
            .map_err(|(field, why)| spec::invalid(field, why.to_string()))?;
        // What was given before root's ceilings were lowered may stay.
        if config.spec.limits != now.spec.limits {
            self.settle_limits(&mut config.spec.limits)?;
        }
        Ok(config)
    }

    /// Refuses a name that another container has or is about to have.
    pub(super) fn check_name(&self, name: &ContainerName) -> Result<(), Failure> {
        if self.is_taken(name) {
            return Err(Failure::new(
                FailureCode::NameInUse,
                format!("another container is called {name}; remove it or choose another name"),
            )
            .field("name"));
        }
        Ok(())
    }

    pub(super) fn is_taken(&self, name: &ContainerName) -> bool {
        self.containers.values().any(|held| {
            let next = held.changing.as_ref().map(|changing| &changing.config.name);
            held.config.name == *name || next == Some(name)
        })
    }

    /// A change is in force and on disk, or is not to be.
    pub(crate) fn changed(
        &mut self,
        id: &ContainerId,
        result: Result<(), Failure>,
        now: Now,
    ) -> Vec<Effect> {
        let Some(held) = self.containers.get_mut(id) else {
            return Vec::new();
        };
        let Some(Changing { ticket, config }) = held.changing.take() else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        match result {
            Ok(()) => {
                held.config = config;
                let ended = !held.lives();
                if ended && held.config.spec.restart == RestartPolicy::No {
                    held.state.restart_at = None;
                    held.deadline = None;
                    effects.push(Effect::Save(id.clone()));
                }
                effects.extend(self.tell(id));
                effects.push(self.container_reply(ticket, id));
            }
            Err(failure) => effects.push(Effect::Reply(ticket, Reply::Failed(failure))),
        }
        effects.extend(self.proceed(id, now));
        effects
    }
}
