//! What a rendering of many processes asks again and again: whose they are, and who may look.

use std::collections::HashMap;

use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Process;

use super::super::words::visible;
use super::super::{Scene, reference};
use crate::actions::sessions::may_look_at_process;
use crate::world::{AnyContainer, World};

/// A container as a row names it.
#[derive(Debug, Clone)]
pub struct Place {
    /// How addresses name it.
    pub at: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub engine: Engine,
    /// Whose it is; nobody's where another engine made it.
    pub owner: String,
    /// Its first process.
    pub init: Option<HostPid>,
    /// Its PID namespace, where that is not the host's.
    pub pid_namespace: Option<NamespaceInode>,
    /// Whether the reader may look into it.
    pub may_look: bool,
}

/// The containers, looked up once.
pub struct Known<'a> {
    /// Everything.
    pub world: &'a World,
    /// Who reads, and where.
    pub scene: Scene<'a>,
    places: HashMap<ContainerId, Place>,
}

impl<'a> Known<'a> {
    /// As they are now, for this reader.
    pub fn new(world: &'a World, scene: Scene<'a>) -> Self {
        let place = |container: &AnyContainer| Place {
            at: reference(world, container),
            name: visible(container.name()),
            engine: container.engine(),
            owner: container
                .owner()
                .map_or_else(String::new, ToString::to_string),
            init: container.pid(),
            pid_namespace: own_pid_namespace(container, world),
            may_look: scene.who.may_look_into_container(container),
        };
        let all = world.any_containers();
        Self {
            world,
            scene,
            places: all.iter().map(|c| (c.id().clone(), place(c))).collect(),
        }
    }

    /// The container that this process is in.
    pub fn place(&self, process: &Process) -> Option<&Place> {
        self.places.get(process.container.as_ref()?)
    }

    /// The container that this PID namespace was made for.
    pub fn of_pid_namespace(&self, inode: NamespaceInode) -> Option<&Place> {
        let mut all = self.places.values();
        all.find(|place| place.pid_namespace == Some(inode))
    }

    /// Whether the reader may see what this process does: its command line above all.
    pub fn may_look(&self, process: &Process) -> bool {
        match (&process.container, self.place(process)) {
            (None, _) => self.scene.who.may_look_into_host(),
            (Some(_), Some(place)) => {
                place.may_look && may_look_at_process(self.world, self.scene.who, process)
            }
            // Whose it is is not known yet.
            (Some(_), None) => self.scene.who.is_admin(),
        }
    }
}

fn own_pid_namespace(container: &AnyContainer, world: &World) -> Option<NamespaceInode> {
    let inode = container.namespaces().get(NamespaceType::Pid).inode?;
    let initial = world.namespace(inode).is_some_and(|n| n.initial);
    (!initial).then_some(inode)
}
