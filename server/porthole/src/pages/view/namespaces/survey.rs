//! The host's namespaces with what is in them and what keeps them, gathered once for a page.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode, SessionId};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Holder, Namespace, Process};

use super::super::processes::row::line;
use super::super::words::{count, visible};
use super::super::{Scene, commands};
use crate::machine::{self, Users};
use crate::world::{AnyContainer, World};

/// Everything that pages about namespaces ask.
pub struct Survey<'a> {
    /// Who looks, where links begin.
    pub scene: Scene<'a>,
    world: &'a World,
    /// Every namespace, by type and inode.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Every container, Porthole's own first.
    pub containers: Vec<AnyContainer>,
    places: HashMap<NamespaceInode, usize>,
    numbers: HashMap<ContainerId, usize>,
    inside: HashMap<NamespaceInode, Vec<usize>>,
    sessions: HashMap<NamespaceInode, BTreeSet<SessionId>>,
    /// By host PID.
    processes: Vec<Arc<Process>>,
    users: Arc<Users>,
}

/// A link: where to, below the base path, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where to, with the base path.
    pub to: String,
    /// What it says.
    pub text: String,
}

/// One thing that keeps a namespace alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeps {
    /// In a few words.
    pub text: String,
    /// Where it is shown, if anywhere.
    pub to: Option<String>,
    /// What it is, in a sentence.
    pub title: String,
}

impl<'a> Survey<'a> {
    /// As the world is now.
    pub fn new(world: &'a World, scene: Scene<'a>) -> Self {
        let namespaces = world.namespaces();
        let containers = world.any_containers();
        let processes = world.processes();
        let places = namespaces.iter().enumerate();
        let places = places.map(|(place, n)| (n.inode, place)).collect();
        let ids = containers.iter().map(|c| c.id().clone());
        let numbers: HashMap<_, _> = ids.zip(0..).collect();
        let mut inside: HashMap<NamespaceInode, Vec<usize>> = HashMap::new();
        let mut known = HashSet::new();
        let mut put = |inode, number| {
            if known.insert((inode, number)) {
                inside.entry(inode).or_default().push(number);
            }
        };
        for (number, container) in containers.iter().enumerate() {
            if container.pid().is_some() {
                let inodes = container.namespaces().iter().filter_map(|(_, n)| n.inode);
                inodes.for_each(|inode| put(inode, number));
            }
        }
        let mut sessions: HashMap<_, BTreeSet<_>> = HashMap::new();
        for process in &processes {
            let inodes = process.namespaces.iter().filter_map(|(_, inode)| *inode);
            let number = process.container.as_ref().and_then(|id| numbers.get(id));
            for inode in inodes {
                if let Some(number) = number {
                    put(inode, *number);
                }
                if let Some(session) = &process.session {
                    let of: &mut BTreeSet<_> = sessions.entry(inode).or_default();
                    of.insert(session.clone());
                }
            }
        }
        Self {
            scene,
            world,
            namespaces,
            containers,
            places,
            numbers,
            inside,
            sessions,
            processes,
            users: machine::users(),
        }
    }

    /// What the machine calls this user of its own.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.name(uid)
    }

    /// The namespace with this inode.
    pub fn namespace(&self, inode: NamespaceInode) -> Option<&Arc<Namespace>> {
        self.namespaces.get(*self.places.get(&inode)?)
    }

    /// The process with this PID on the host.
    pub fn process(&self, pid: HostPid) -> Option<&Arc<Process>> {
        let place = self.processes.binary_search_by_key(&pid, |p| p.host_pid);
        self.processes.get(place.ok()?)
    }

    /// Every process, by host PID.
    pub fn processes(&self) -> &[Arc<Process>] {
        &self.processes
    }

    /// The process of a namespace with the lowest PID.
    pub fn leader(&self, namespace: &Namespace) -> Option<&Arc<Process>> {
        self.process(namespace.leader?)
    }

    /// The processes in a namespace, by host PID.
    pub fn members(&self, namespace: &Namespace) -> Vec<Arc<Process>> {
        let inode = Some(namespace.inode);
        let is_in = |p: &&Arc<Process>| *p.namespaces.get(namespace.kind) == inode;
        self.processes.iter().filter(is_in).cloned().collect()
    }

    /// The containers with a process in it, by their places in [`Survey::containers`].
    pub fn container_places(&self, inode: NamespaceInode) -> &[usize] {
        self.inside.get(&inode).map_or(&[], Vec::as_slice)
    }

    /// The containers with a process in it.
    pub fn containers_in(&self, inode: NamespaceInode) -> impl Iterator<Item = &AnyContainer> {
        let places = self.container_places(inode).iter();
        places.filter_map(|place| self.containers.get(*place))
    }

    /// The sessions of Porthole's with a process in it.
    pub fn sessions_in(&self, inode: NamespaceInode) -> impl Iterator<Item = &SessionId> {
        self.sessions.get(&inode).into_iter().flatten()
    }

    /// The namespaces that have it as parent.
    pub fn below(&self, inode: NamespaceInode) -> impl Iterator<Item = &Arc<Namespace>> {
        let is_child = move |n: &&Arc<Namespace>| n.parent == Some(inode) && n.inode != inode;
        self.namespaces.iter().filter(is_child)
    }

    /// The namespaces that it owns as a user namespace.
    pub fn owned_by(&self, inode: NamespaceInode) -> impl Iterator<Item = &Arc<Namespace>> {
        let is_owned = move |n: &&Arc<Namespace>| n.owner == Some(inode) && n.inode != inode;
        self.namespaces.iter().filter(is_owned)
    }

    /// Whether this person may see what a process was started with.
    pub fn may_look(&self, process: &Process) -> bool {
        let who = self.scene.who;
        match &process.container {
            Some(id) => {
                let known = self.numbers.get(id).and_then(|n| self.containers.get(*n));
                known.map_or(who.is_admin(), |c| who.may_look_into_container(c))
            }
            None => who.may_look_into_host(),
        }
    }

    /// What a process's line says to this person: its whole command line, or only its name.
    pub fn line(&self, process: &Process) -> String {
        line(process, self.may_look(process))
    }

    /// A namespace's page.
    pub fn link(&self, inode: NamespaceInode, fallback: NamespaceType) -> Link {
        let kind = self.namespace(inode).map_or(fallback, |n| n.kind);
        Link {
            to: self.address(kind, inode),
            text: inode.to_string(),
        }
    }

    /// Where a namespace's page is.
    pub fn address(&self, kind: NamespaceType, inode: NamespaceInode) -> String {
        format!("{}/namespaces/{kind}/{inode}", self.scene.base)
    }

    /// Where a process's page is.
    pub fn process_address(&self, pid: HostPid) -> String {
        format!("{}/processes/{pid}", self.scene.base)
    }

    /// A container's page.
    pub fn container_link(&self, container: &AnyContainer) -> Link {
        let at = super::super::reference(self.world, container);
        Link {
            to: format!("{}/containers/{at}", self.scene.base),
            text: visible(container.name()),
        }
    }

    /// The file that a namespace is reached by on the host: a process's link, an open descriptor or
    /// a mount. One that only others hang from has none.
    pub fn path(&self, namespace: &Namespace) -> Option<String> {
        if let Some(pid) = namespace.leader {
            return Some(format!("/proc/{pid}/ns/{}", namespace.kind));
        }
        let holder = namespace.holders.first()?;
        Some(self.holder_path(namespace.kind, holder))
    }

    /// The command that enters a namespace, by a process in it or by the file that holds it.
    pub fn nsenter(&self, namespace: &Namespace) -> Option<String> {
        match namespace.leader {
            Some(pid) => Some(commands::nsenter(pid, [namespace.kind])),
            None => Some(commands::nsenter_file(
                namespace.kind,
                &self.path(namespace)?,
            )),
        }
    }

    /// The file that a holder keeps it by, as the host sees it.
    pub fn holder_path(&self, kind: NamespaceType, holder: &Holder) -> String {
        match holder {
            Holder::Descriptor { .. } | Holder::Thread { .. } | Holder::Children { .. } => {
                format!("/proc/{}", holder.link(kind).unwrap_or_default())
            }
            // Another mount namespace is looked into through a process that is in it.
            Holder::Mount { pid, path } if self.sees_host_mounts(*pid) => path.clone(),
            Holder::Mount { pid, path } => format!("/proc/{pid}/root{path}"),
        }
    }

    fn sees_host_mounts(&self, pid: HostPid) -> bool {
        let inode = self.process(pid).and_then(|p| p.namespaces.mnt);
        let namespace = inode.and_then(|inode| self.namespace(inode));
        namespace.is_some_and(|n| n.initial)
    }

    /// What keeps a namespace alive beside its processes.
    pub fn keeps(&self, namespace: &Namespace) -> Vec<Keeps> {
        let mut all: Vec<_> = namespace.holders.iter().map(|h| self.keeper(h)).collect();
        if namespace.more_holders > 0 {
            let more = namespace.more_holders as usize;
            all.push(Keeps {
                text: count(more, "more holder", "more holders"),
                to: None,
                title: "More descriptors and mounts than are listed one by one.".to_owned(),
            });
        }
        let sessions: Vec<_> = self.sessions_in(namespace.inode).collect();
        if let [session] = sessions[..] {
            all.push(Keeps {
                text: "a session".to_owned(),
                to: Some(format!("{}/sessions/{session}", self.scene.base)),
                title: format!("A session of Porthole's has a process in it: {session}."),
            });
        } else if !sessions.is_empty() {
            all.push(Keeps {
                text: count(sessions.len(), "session", "sessions"),
                to: None,
                title: "Sessions of Porthole's have processes in it.".to_owned(),
            });
        }
        if namespace.children > 0 {
            all.push(Keeps {
                text: count(namespace.children as usize, "child", "children"),
                to: None,
                title: "Namespaces that have it as owner or parent keep it.".to_owned(),
            });
        }
        if namespace.initial {
            all.push(Keeps {
                text: "the kernel".to_owned(),
                to: None,
                title: "The host began with it, and it never ends.".to_owned(),
            });
        }
        all
    }

    fn keeper(&self, holder: &Holder) -> Keeps {
        let pid = holder.pid();
        let name = self
            .process(pid)
            .map_or_else(String::new, |p| format!(" {}", visible(&p.command)));
        let by_process = |text: String, title: String| Keeps {
            text,
            to: Some(self.process_address(pid)),
            title,
        };
        match holder {
            Holder::Descriptor { fd, .. } => by_process(
                format!("fd {fd} of {pid}{name}"),
                format!("Process {pid}{name} has it open as descriptor {fd}."),
            ),
            Holder::Thread { tid, .. } => by_process(
                format!("thread {tid} of {pid}{name}"),
                format!("Thread {tid} of process {pid}{name} is in it, and the process is not."),
            ),
            Holder::Children { .. } => by_process(
                format!("for children of {pid}{name}"),
                format!("What process {pid}{name} starts will be in it; it is not itself."),
            ),
            Holder::Mount { path, .. } => Keeps {
                text: visible(path),
                to: None,
                title: format!(
                    "It is mounted on {}, as process {pid} sees it.",
                    visible(path)
                ),
            },
        }
    }
}
