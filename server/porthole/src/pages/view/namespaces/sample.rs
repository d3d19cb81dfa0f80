//! A host with everything that pages about namespaces have to draw: containers of several engines,
//! bare namespaces three deep, some that only a file or a mount holds.

use porthole_protocol::container::IdRange;
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::observation::{Holder, Namespace, Process, Sighting, Update};

use super::super::sample;
use crate::world::World;

const HOST: u64 = 4_026_531_834;

/// The host's own of this type.
pub(crate) fn initial(kind: NamespaceType) -> NamespaceInode {
    let place = NamespaceType::ALL.iter().position(|k| *k == kind);
    NamespaceInode(if kind == NamespaceType::Time {
        HOST
    } else {
        HOST + 1 + place.unwrap_or_default() as u64
    })
}

/// The host's, but for these.
pub(crate) fn set(own: &[(NamespaceType, u64)]) -> NamespaceSet {
    PerNamespace::build(|kind| {
        let own = own.iter().find(|(k, _)| *k == kind);
        Some(own.map_or_else(|| initial(kind), |(_, inode)| NamespaceInode(*inode)))
    })
}

/// A namespace whose first process is this.
pub(crate) fn namespace(
    kind: NamespaceType,
    inode: u64,
    leader: Option<i32>,
    processes: u32,
) -> Namespace {
    Namespace {
        kind,
        inode: NamespaceInode(inode),
        initial: false,
        owner: Some(initial(NamespaceType::User)),
        parent: None,
        processes,
        leader: leader.map(HostPid),
        owner_uid: None,
        holders: Vec::new(),
        more_holders: 0,
        children: 0,
    }
}

fn process(
    pid: i32,
    parent: i32,
    pids: &[i32],
    command: &str,
    namespaces: NamespaceSet,
) -> Process {
    let mut process = sample::process(pid, parent, pids, command);
    process.namespaces = namespaces;
    process
}

struct Build {
    update: Update,
}

impl Build {
    fn put(&mut self, process: Process) {
        self.update.processes.push(process);
    }

    /// A container of another engine, with its process and the namespaces that are its own.
    fn foreign(
        &mut self,
        id: &ContainerId,
        engine: Engine,
        name: &str,
        pid: i32,
        first: u64,
        kinds: &[NamespaceType],
    ) {
        let own: Vec<_> = kinds
            .iter()
            .zip(first..)
            .map(|(kind, inode)| (*kind, inode))
            .collect();
        let namespaces = set(&own);
        let mut init = process(pid, 1, &[pid, 1], name, namespaces);
        init.args = vec![
            format!("/usr/bin/{name}"),
            "--listen=0.0.0.0:5000".to_owned(),
        ];
        init.container = Some(id.clone());
        self.put(init);
        for (kind, inode) in own {
            let mut made = namespace(kind, inode, Some(pid), 1);
            if matches!(kind, NamespaceType::Pid | NamespaceType::User) {
                made.parent = Some(initial(kind));
            }
            self.update.namespaces.push(made);
        }
        self.update.containers.push(Sighting {
            id: id.clone(),
            engine,
            name: Some(name.to_owned()),
            init: HostPid(pid),
            start_ticks: 1,
            started_at: sample::NOW,
            namespaces,
            uid_map: vec![IdRange(0, 0, u32::MAX)],
            gid_map: vec![IdRange(0, 0, u32::MAX)],
            cgroup: Some(format!("/system.slice/docker-{id}.scope")),
            within: None,
            pod: None,
            paused: false,
        });
    }

    /// `unshare -U -p` in itself, so deep; none of them is a container here.
    fn nested(&mut self, deep: u64) {
        use NamespaceType::{Mnt, Pid, User};
        let (mut pids, mut parents) = (vec![9000], (initial(Pid), initial(User)));
        for level in 0..deep {
            let (pid, base) = (
                9001 + i32::try_from(level).unwrap_or_default(),
                4_026_540_000 + level * 10,
            );
            pids[0] = pid;
            pids.push(1);
            let own = [(User, base), (Mnt, base + 1), (Pid, base + 2)];
            self.put(process(pid, pid - 1, &pids, "sh", set(&own)));
            for (kind, inode) in own {
                let mut made = namespace(kind, inode, Some(pid), 1);
                made.owner = Some(if kind == User {
                    parents.1
                } else {
                    NamespaceInode(base)
                });
                match kind {
                    Pid => {
                        made.parent = Some(std::mem::replace(&mut parents.0, NamespaceInode(inode)))
                    }
                    User => {
                        made.parent = Some(parents.1);
                        made.owner_uid = Some(1000);
                        made.children = 3;
                    }
                    _ => {}
                }
                self.update.namespaces.push(made);
            }
            parents.1 = NamespaceInode(base);
        }
    }
}

/// Tells a world of all of them.
pub(crate) fn fill(world: &World) {
    use NamespaceType::{Cgroup, Ipc, Mnt, Net, Pid, Time, Uts};
    let mut build = Build {
        update: Update {
            full: true,
            ..Update::default()
        },
    };
    for kind in NamespaceType::ALL {
        let inode = initial(kind);
        let mut made = namespace(kind, inode.0, Some(1), 214);
        made.initial = true;
        made.owner = (kind != NamespaceType::User).then(|| initial(NamespaceType::User));
        made.owner_uid = (kind == NamespaceType::User).then_some(0);
        made.children = u32::from(matches!(kind, NamespaceType::User | Pid)) * 9;
        build.update.namespaces.push(made);
    }
    build.put(process(1, 0, &[1], "systemd", set(&[])));
    build.put(process(912, 1, &[912], "ip", set(&[])));
    own(&mut build, world);
    let registry = [Mnt, Uts, Ipc, Pid, Net, Cgroup];
    build.foreign(
        &sample::id(7),
        Engine::Docker,
        "registry",
        8589,
        4_026_532_301,
        &registry,
    );
    build.foreign(
        &sample::id(8),
        Engine::Podman,
        "a-pod-of-a-very-long-name-indeed-<b>",
        8700,
        4_026_532_401,
        &registry,
    );
    build.nested(3);
    let mut held = namespace(Net, 4_026_533_000, None, 0);
    held.holders = vec![
        Holder::Mount {
            pid: HostPid(912),
            path: "/run/netns/blue".to_owned(),
        },
        Holder::Descriptor {
            pid: HostPid(912),
            fd: 7,
        },
    ];
    held.more_holders = 3;
    let mut open = namespace(Time, 4_026_533_001, None, 0);
    open.holders = vec![Holder::Descriptor {
        pid: HostPid(912),
        fd: 9,
    }];
    let mut only = namespace(NamespaceType::User, 4_026_533_002, None, 0);
    only.parent = Some(initial(NamespaceType::User));
    only.owner_uid = Some(1000);
    only.children = 1;
    let mut below = namespace(Uts, 4_026_533_003, None, 0);
    below.owner = Some(only.inode);
    below.holders = vec![Holder::Mount {
        pid: HostPid(8589),
        path: "/run/\u{202e}evil\u{7}<i>".to_owned(),
    }];
    build.update.namespaces.extend([held, open, only, below]);
    world.observe(build.update);
}

/// Porthole's own containers, `web` and `sidecar` which shares a network with it.
fn own(build: &mut Build, world: &World) {
    for container in world.containers() {
        let Some(pid) = container.pid else { continue };
        let namespaces = PerNamespace::build(|kind| container.namespaces.get(kind).inode);
        let mut init = process(pid.0, 914, &[pid.0, 1], "init", namespaces);
        init.args = ["init", "--", "secret-argument"].map(str::to_owned).into();
        init.uid = 100_000;
        init.container = Some(container.id.clone());
        init.session = (container.name.as_str() == "web")
            .then(|| porthole_protocol::id::SessionId::from_bytes([0xa5; 16]));
        build.put(init);
        let user = namespaces.user;
        for (kind, inode) in namespaces.iter().filter_map(|(k, i)| Some((k, (*i)?))) {
            if kind == NamespaceType::Time
                || build.update.namespaces.iter().any(|n| n.inode == inode)
            {
                continue;
            }
            let mut made = namespace(kind, inode.0, Some(pid.0), 1);
            if kind == NamespaceType::User {
                made.parent = Some(initial(kind));
                made.children = 6;
                made.owner_uid = Some(0);
            } else {
                made.owner = user;
            }
            if kind == NamespaceType::Pid {
                made.parent = Some(initial(kind));
            }
            build.update.namespaces.push(made);
        }
    }
}

/// A host that pages about namespaces can be drawn of.
pub(crate) fn world() -> World {
    let world = sample::world();
    fill(&world);
    world
}

/// The same with so many containers of Docker, six namespaces each.
pub(crate) fn crowd(containers: u64) -> World {
    use NamespaceType::{Cgroup, Ipc, Mnt, Net, Pid, Uts};
    let world = world();
    let mut build = Build {
        update: Update::default(),
    };
    for number in 0..containers {
        let mut bytes = [11; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let id = ContainerId::from_bytes(bytes);
        let pid = 20_000 + i32::try_from(number).unwrap_or_default();
        let first = 4_026_600_000 + number * 6;
        build.foreign(
            &id,
            Engine::Docker,
            &format!("job-{number:04}"),
            pid,
            first,
            &[Mnt, Uts, Ipc, Pid, Net, Cgroup],
        );
    }
    world.observe(build.update);
    world
}
