//! Checking what a container or session is asked to be, again: whatever the server did not check,
//! and what only the keeper can know.

use porthole_protocol::container::{
    ContainerName, ContainerSpec, IdRange, Limits, NamespaceChoice,
};
use porthole_protocol::id::ContainerId;
use porthole_protocol::image::Digest;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{Foreign, SessionSpec, Size};

use super::Ledger;
use super::record::Held;
use crate::names;

/// A spec may be this long in JSON, so that every message about it fits its limit.
const JSON_LIMIT: usize = 96 * 1024;

/// What a spec becomes.
pub(super) struct Filled {
    pub(super) spec: ContainerSpec,
    pub(super) name: ContainerName,
    /// The imported image that it is to be made of.
    pub(super) image_id: Option<Digest>,
    /// The ids of the container whose user namespace it is to be in.
    pub(super) ids: Option<IdRange>,
}

pub(super) fn invalid(field: &str, message: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Invalid, message)
        .field(field)
        .stage(Stage::Request)
}

fn forbidden(field: &str, what: &str) -> Failure {
    Failure::new(
        FailureCode::Forbidden,
        format!(
            "{what} needs the host's namespaces, which root's policy does not allow; root allows it by host_namespaces = true in {}",
            crate::policy::PATH
        ),
    )
    .field(field)
    .stage(Stage::Request)
}

/// Only who owns a PID namespace may mount its procfs, and a container without one could see
/// nothing of what it shares. The owner is the user namespace that the other container is in.
fn check_processes(spec: &ContainerSpec) -> Result<(), Failure> {
    let processes = spec.namespace(NamespaceType::Pid);
    if matches!(processes, NamespaceChoice::Container(_))
        && spec.namespace(NamespaceType::User) != processes
    {
        return Err(invalid(
            "namespaces.pid",
            "processes can be shared only together with users: share the namespace user of the same container too",
        ));
    }
    Ok(())
}

impl Ledger {
    /// Checks a spec and fills in every default, so that what is shown is what is in force.
    pub(super) fn fill_in(
        &self,
        mut spec: ContainerSpec,
        id: &ContainerId,
        random: [u8; 2],
    ) -> Result<Filled, Failure> {
        spec.check()
            .map_err(|(field, why)| invalid(field, why.to_string()))?;
        let image_id = self.check_image(&mut spec)?;
        let name = match spec.name.take() {
            Some(name) => {
                self.check_name(&name)?;
                name
            }
            None => names::make_up(random, |name| self.is_taken(name)).ok_or_else(|| {
                Failure::new(FailureCode::Exhausted, "no name could be made up; give one")
            })?,
        };
        spec.name = Some(name.clone());
        if spec.hostname.is_none() {
            spec.hostname = name.as_str().parse().or_else(|_| id.short().parse()).ok();
        }
        self.settle_limits(&mut spec.limits)?;
        let ids = self.settle_namespaces(&mut spec)?;
        self.settle_network(&mut spec)?;
        if serde_json::to_vec(&spec).map_or(usize::MAX, |json| json.len()) > JSON_LIMIT {
            return Err(invalid("command", "what is asked for is too long"));
        }
        Ok(Filled {
            spec,
            name,
            image_id,
            ids,
        })
    }

    /// Fills in the defaults, and refuses what is above root's ceilings.
    pub(super) fn settle_limits(&self, limits: &mut Limits) -> Result<(), Failure> {
        let most = &self.ceilings;
        let above = |field: &str, ceiling: String| {
            invalid(
                field,
                format!(
                    "a container may have at most {ceiling} here; root can allow more in {}",
                    crate::policy::PATH
                ),
            )
        };
        if limits.memory.is_some_and(|memory| memory > most.memory) {
            let ceiling = format!(
                "{} MiB of memory ({} bytes)",
                most.memory >> 20,
                most.memory
            );
            return Err(above("limits.memory", ceiling));
        }
        // The same again beyond the memory, as docker allows by itself; a disk is no way around it.
        if limits.swap.is_some_and(|swap| swap > most.memory) {
            let ceiling = format!("{} MiB of swap ({} bytes)", most.memory >> 20, most.memory);
            return Err(above("limits.swap", ceiling));
        }
        if limits.cpus.is_some_and(|cpus| cpus > most.cpus) {
            return Err(above("limits.cpus", format!("{} cores", most.cpus)));
        }
        if limits.pids.is_some_and(|pids| pids > most.pids) {
            return Err(above("limits.pids", format!("{} processes", most.pids)));
        }
        *limits = Limits {
            memory: limits
                .memory
                .or(Some(most.memory.min(Limits::DEFAULT_MEMORY))),
            swap: limits.swap.or(Some(0)),
            cpus: limits.cpus.or(Some(most.cpus.min(Limits::DEFAULT_CPUS))),
            pids: limits.pids.or(Some(most.pids.min(Limits::DEFAULT_PIDS))),
        };
        Ok(())
    }

    /// Writes down where each of the eight comes from, other containers by their full ids.
    fn settle_namespaces(&self, spec: &mut ContainerSpec) -> Result<Option<IdRange>, Failure> {
        let mut ids = None;
        for kind in NamespaceType::ALL {
            let field = format!("namespaces.{kind}");
            let mut choice = spec.namespace(kind);
            match &choice {
                NamespaceChoice::Own => {}
                // The host's clocks are what every container has unless it asks for others.
                NamespaceChoice::Host if kind == NamespaceType::Time => {}
                NamespaceChoice::Host if self.policy.host_namespaces => {}
                NamespaceChoice::Host => return Err(forbidden(&field, "this")),
                NamespaceChoice::Container(reference) => {
                    let other = self
                        .resolve(reference)
                        .map_err(|why| invalid(&field, why))?;
                    if kind == NamespaceType::User {
                        ids = Some(other.config.ids);
                    }
                    let id = other.config.id.to_string();
                    // What that one has of the host's, this one would have too.
                    let hosts = self.reaches_host(other, kind);
                    if hosts && !self.policy.host_namespaces {
                        return Err(forbidden(&field, "this"));
                    }
                    choice = if hosts && matches!(kind, NamespaceType::Pid | NamespaceType::Net) {
                        // As what it is: `/proc` and `/sys` are the host's with it.
                        NamespaceChoice::Host
                    } else {
                        NamespaceChoice::Container(id)
                    };
                }
            }
            spec.namespaces.insert(kind, choice);
        }
        check_processes(spec)?;
        Ok(ids)
    }

    /// Whether a container's namespace is the host's, be it by way of others.
    ///
    /// Containers refer to older ones only, so that this ends. Where one on the way was removed,
    /// what is shared is told by the kernel's number of it, and where there is none it is taken
    /// for the host's.
    pub(super) fn reaches_host(&self, held: &Held, kind: NamespaceType) -> bool {
        // The host's clocks are nobody's secret.
        if kind == NamespaceType::Time {
            return false;
        }
        match held.config.spec.namespace(kind) {
            NamespaceChoice::Own => false,
            NamespaceChoice::Host => true,
            NamespaceChoice::Container(reference) => {
                let other = reference
                    .parse()
                    .ok()
                    .and_then(|id| self.containers.get(&id));
                match other {
                    Some(other) => self.reaches_host(other, kind),
                    None => held
                        .run()
                        .and_then(|run| *run.namespaces.get(kind))
                        .is_none_or(|inode| *self.host.get(kind) == Some(inode)),
                }
            }
        }
    }

    /// A policy that has become stricter since a container was made is in force for it too.
    pub(super) fn check_policy(&self, held: &Held) -> Result<(), Failure> {
        let kind = NamespaceType::ALL
            .into_iter()
            .find(|kind| self.reaches_host(held, *kind));
        match kind {
            Some(kind) if !self.policy.host_namespaces => Err(forbidden(
                &format!("namespaces.{kind}"),
                &format!("the container {}", held.config.name),
            )),
            _ => Ok(()),
        }
    }

    /// The container that a person means: by id, else by name, else by the beginning of an id.
    fn resolve(&self, reference: &str) -> Result<&Held, String> {
        let whole = || {
            self.containers
                .values()
                .filter(|held| !matches!(held.standing, super::record::Standing::Making(_)))
        };
        let exact = whole()
            .find(|held| held.config.id.as_str() == reference)
            .or_else(|| whole().find(|held| held.config.name.as_str() == reference));
        if let Some(held) = exact {
            return Ok(held);
        }
        let mut begins = whole().filter(|held| held.config.id.as_str().starts_with(reference));
        match (begins.next(), begins.next()) {
            (Some(held), None) => Ok(held),
            (Some(_), Some(_)) => Err(format!(
                "several containers have ids that begin with {reference}"
            )),
            (None, _) => Err(format!("there is no container {reference}")),
        }
    }

    /// Checks what a session in another engine's container is asked to be, as far as that can be
    /// told without looking at the container: the session's monitor checks the rest.
    pub(super) fn check_foreign(
        &self,
        spec: &SessionSpec,
        foreign: &Foreign,
    ) -> Result<(), Failure> {
        if !self.policy.join_foreign {
            return Err(Failure::new(
                FailureCode::Forbidden,
                format!(
                    "root's policy does not allow joining containers that Porthole did not make; root allows it by join_foreign = true in {}",
                    crate::policy::PATH
                ),
            )
            .stage(Stage::Request));
        }
        let own =
            self.containers.contains_key(&spec.container)
                || self.containers.values().filter_map(Held::run).any(|run| {
                    run.host_pid == foreign.pid && run.start_ticks == foreign.start_ticks
                });
        if own {
            return Err(Failure::new(
                FailureCode::Forbidden,
                "this container is one of Porthole's own; open a session in it as such",
            )
            .field("container")
            .stage(Stage::Request));
        }
        if foreign.pid.0 <= 1 {
            return Err(Failure::new(
                FailureCode::Forbidden,
                "the machine's own init is in no container",
            )
            .stage(Stage::Request));
        }
        let same = |kind| foreign.namespaces.get(kind) == self.host.get(kind);
        if NamespaceType::ALL.into_iter().all(same) {
            return Err(Failure::new(
                FailureCode::Forbidden,
                "this process is in none but the machine's own namespaces: a session there would be a shell of the machine's",
            )
            .stage(Stage::Request));
        }
        if let Some(toolbox) = &foreign.toolbox {
            if spec.join.is_some() {
                return Err(invalid(
                    "join",
                    "a toolbox joins every namespace but mnt; leave join or toolbox out",
                ));
            }
            let image = self.images.made().find(|image| image.name == toolbox.image);
            match image.map(|image| &image.unavailable) {
                None => {
                    return Err(Failure::new(
                        FailureCode::ImageNotFound,
                        format!("there is no image {}", toolbox.image),
                    )
                    .field("toolbox"));
                }
                Some(Some(why)) => {
                    return Err(
                        Failure::new(FailureCode::Unsupported, why.clone()).field("toolbox")
                    );
                }
                Some(None) => {}
            }
        }
        Ok(())
    }

    /// Checks what a session is asked to be.
    pub(super) fn check_session(&self, spec: &SessionSpec) -> Result<(), Failure> {
        Size::new(spec.size.cols, spec.size.rows)
            .map_err(|why| invalid("cols", why.to_string()))?;
        let words: usize = spec.command.iter().map(|w| w.as_str().len() + 1).sum();
        let given = spec.foreign.iter().flat_map(|foreign| &foreign.env);
        let variables: usize = given
            .flatten()
            .chain(&spec.env)
            .map(|(name, value)| name.as_str().len() + value.as_str().len() + 2)
            .sum();
        let json = serde_json::to_vec(spec).map_or(usize::MAX, |json| json.len());
        if words + variables > ContainerSpec::WORDS || json > JSON_LIMIT {
            return Err(invalid(
                "command",
                "command and environment have at most 49152 bytes together",
            ));
        }
        // What is not joined stays the host's.
        if let Some(join) = &spec.join
            && !self.policy.host_namespaces
            && NamespaceType::ALL.iter().any(|kind| !join.contains(kind))
        {
            return Err(forbidden("join", "joining some of the namespaces only"));
        }
        Ok(())
    }
}
