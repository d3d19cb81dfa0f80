//! Which of other engines' containers can be changed through their engines, and why not the others.

use std::collections::BTreeSet;

use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{ContainerRef, EngineState};

use super::{Change, Foreign, World};
use crate::access::Identity;
use crate::engines::Availability;

/// Why a container's engine cannot be asked to change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmanaged {
    /// Nobody made it whom one could ask.
    #[error(
        "{} Porthole can open a terminal in it; whoever started it ends it.",
        no_engine(*.0)
    )]
    NoEngine(Engine),
    /// Root's policy does not name its engine.
    #[error(
        "Root's policy does not let Porthole ask {0}: with {1} = true in the table [engines] of /etc/porthole/policy.toml, and manage = true, it can be started and stopped here."
    )]
    NotAsked(&'static str, &'static str),
    /// Root's policy lets Porthole look only.
    #[error(
        "Root's policy lets Porthole look at {0}'s containers and not change them: manage = true in the table [engines] of /etc/porthole/policy.toml allows it."
    )]
    LookOnly(&'static str),
    /// None of the engines that are asked knows it.
    #[error(
        "No {0} that Porthole asks knows this container: another one made it. Its socket belongs into the table [engines] of /etc/porthole/policy.toml."
    )]
    Unknown(&'static str),
    /// What is seen under its identifier may be another.
    #[error(
        "{0} has not said yet that what runs under this identifier is its container. Try again in a moment."
    )]
    Unconfirmed(&'static str),
    /// The engine, or the way to it, does not answer.
    #[error("{0} does not answer, so it cannot be changed now: {1}")]
    Trouble(&'static str, String),
}

fn no_engine(engine: Engine) -> String {
    match engine {
        Engine::None => "No engine made it: its namespaces are some program's.".to_owned(),
        Engine::Porthole => "Another Porthole made it.".to_owned(),
        engine => format!("{} has no socket that Porthole asks.", engine.words()),
    }
}

/// An engine that has something to tell to who looks at its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTrouble {
    /// `Docker at /run/docker.sock does not answer`.
    pub what: String,
    /// Why, and what that means.
    pub why: String,
}

impl World {
    /// The engines that are asked, as they answer now; to who is no administrator not where and why
    /// not.
    pub fn engine_states(&self, who: &Identity) -> Vec<EngineState> {
        let mut engines: Vec<EngineState> = self.read().engines.values().cloned().collect();
        for engine in engines.iter_mut().filter(|_| !who.is_admin()) {
            engine.socket.clear();
            if let Some(trouble) = &mut engine.trouble {
                *trouble = does_not_answer(engine.engine.words());
            }
        }
        engines
    }

    /// Whether engines can be asked has changed.
    pub fn engines_are(&self, now: Availability) {
        let mut state = self.write();
        if state.asking != now {
            state.asking = now;
            self.changes.tell(Change::Engines);
        }
    }

    /// How the engine that knows this container is asked to change it.
    pub fn managed(&self, container: &Foreign) -> Result<ContainerRef, Unmanaged> {
        let known = self.known_to_engine(container)?;
        if container.unconfirmed {
            return Err(Unmanaged::Unconfirmed(container.engine.words()));
        }
        let state = self.read();
        if !state.manages {
            return Err(Unmanaged::LookOnly(container.engine.words()));
        }
        if let Some(trouble) = state.engines.get(&known.endpoint).and_then(trouble) {
            return Err(Unmanaged::Trouble(container.engine.words(), trouble));
        }
        Ok(known)
    }

    /// How the engine that knows this container is asked about it, whatever it answers then.
    pub fn known_to_engine(&self, container: &Foreign) -> Result<ContainerRef, Unmanaged> {
        let state = self.read();
        let words = container.engine.words();
        if !matches!(container.engine, Engine::Docker | Engine::Podman) {
            return Err(Unmanaged::NoEngine(container.engine));
        }
        let away =
            |why: &str| Unmanaged::Trouble("The part of Porthole that asks it", why.to_owned());
        match (&state.asking, &container.told) {
            (Availability::Off, _) => Err(Unmanaged::NotAsked(words, container.engine.name())),
            (Availability::Impossible(trouble), _) => Err(away(trouble)),
            (Availability::Away, _) => Err(away("it is being restarted. Try again in a moment.")),
            (Availability::There, Some(told)) => Ok(ContainerRef {
                endpoint: told.endpoint,
                id: told.id.clone(),
            }),
            (Availability::There, None) => {
                let mut asked = state.engines.values();
                match asked.any(|asked| asked.engine == container.engine) {
                    true => Err(Unmanaged::Unknown(words)),
                    false => Err(Unmanaged::NotAsked(words, container.engine.name())),
                }
            }
        }
    }

    /// What is wrong with asking engines, a line each. Where their sockets are and what was said
    /// there is for administrators.
    pub fn engine_troubles(&self, who: &Identity) -> Vec<EngineTrouble> {
        let state = self.read();
        let seen = "Its containers are shown as they were last seen.";
        if !who.is_admin() {
            let mut away: Vec<&'static str> = match &state.asking {
                Availability::Off => Vec::new(),
                Availability::Impossible(_) | Availability::Away => vec!["Docker or Podman"],
                Availability::There => {
                    let troubled = state.engines.values().filter(|e| e.trouble.is_some());
                    troubled.map(|engine| engine.engine.words()).collect()
                }
            };
            away.dedup();
            let line = |engine| EngineTrouble {
                what: does_not_answer(engine),
                why: seen.to_owned(),
            };
            return away.into_iter().map(line).collect();
        }
        let mut lines = match &state.asking {
            Availability::Off | Availability::There => Vec::new(),
            Availability::Impossible(trouble) => vec![EngineTrouble {
                what: "Docker and Podman are not asked".to_owned(),
                why: trouble.clone(),
            }],
            Availability::Away => vec![EngineTrouble {
                what: "Docker and Podman are not asked for the moment".to_owned(),
                why: "The part of Porthole that asks them is being started. Their containers are shown as they were last seen.".to_owned(),
            }],
        };
        if state.asking == Availability::There {
            lines.extend(state.engines.values().filter_map(|engine| {
                Some(EngineTrouble {
                    what: format!(
                        "{} at {} does not answer",
                        engine.engine.words(),
                        engine.socket
                    ),
                    why: format!("{} {seen}", sentence(&trouble(engine)?)),
                })
            }));
        }
        lines
    }

    /// Engines whose containers are seen and that root's policy does not let Porthole ask.
    pub fn engines_not_asked(&self) -> Vec<Engine> {
        let state = self.read();
        let asked: BTreeSet<Engine> = state.engines.values().map(|e| e.engine).collect();
        let seen: BTreeSet<Engine> = state.foreign.values().map(|c| c.engine).collect();
        let askable = [Engine::Docker, Engine::Podman].into_iter();
        let asking = matches!(state.asking, Availability::Off | Availability::There);
        askable
            .filter(|engine| asking && seen.contains(engine) && !asked.contains(engine))
            .collect()
    }
}

/// All that is said of an engine in trouble to who is no administrator.
pub fn does_not_answer(engine: &str) -> String {
    format!("{engine} does not answer")
}

fn trouble(engine: &EngineState) -> Option<String> {
    engine.trouble.clone()
}

/// What an engine said, as a sentence.
fn sentence(text: &str) -> String {
    match text.ends_with(['.', '!', '?']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}
