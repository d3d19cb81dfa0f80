//! A host with everything that pages about namespaces have to draw: containers of several engines,
//! bare namespaces three deep, some that only a file or a mount holds.

use porthole_protocol::container::IdRange;
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::inspection::{
    Address, Bounded, Inspected, Interface, Peer, WiredNamespace, Wiring,
};
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
        netnsid: None,
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

/// The interfaces of `ip link`, as a reader writes them.
fn interface(index: u32, name: &str, kind: &str, address: &str) -> Interface {
    let addresses = [address, "fe80::42:acff:fe11:2/64"];
    let addresses = addresses.into_iter().filter(|a| !a.is_empty()).map(|a| {
        let (address, prefix) = a.split_once('/').expect("a prefix");
        Address {
            address: address.parse().expect("an address"),
            prefix: prefix.parse().expect("a number"),
            scope: if a.starts_with("fe80") {
                "link"
            } else {
                "global"
            }
            .to_owned(),
        }
    });
    Interface {
        index,
        name: name.to_owned(),
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        up: true,
        state: "up".to_owned(),
        mtu: 1500,
        mac: Some("02:42:ac:11:00:02".to_owned()),
        master: None,
        ports: Vec::new(),
        addresses: addresses.collect(),
        peer: None,
        received: 0,
        sent: 0,
    }
}

/// Tells both that they are each other's other end.
fn join(a: (&WiredNamespace, &mut Interface), b: (&WiredNamespace, &mut Interface)) {
    let peer = |space: &WiredNamespace, one: &Interface| Peer {
        index: one.index,
        namespace: Some(space.inode),
        name: Some(one.name.clone()),
        master: None,
    };
    a.1.peer = Some(peer(b.0, b.1));
    b.1.peer = Some(peer(a.0, a.1));
}

fn wired_space(inode: NamespaceInode, process: Option<i32>) -> WiredNamespace {
    let mut fallback = interface(2, "tunl0", "ipip", "");
    fallback.up = false;
    fallback.addresses.clear();
    let items = vec![interface(1, "lo", "loopback", "127.0.0.1/8"), fallback];
    WiredNamespace {
        inode,
        host: false,
        process: process.map(HostPid),
        mount: None,
        interfaces: Bounded { items, left_out: 0 },
        cut: false,
    }
}

/// A host with so many containers on Docker's bridge, two more that are wired to each other, one
/// that a network card of the host's is shared with, and one that is wired to nothing.
pub(crate) fn wired(containers: u32) -> (World, Inspected) {
    let world = crowd(u64::from(containers));
    let mut host = wired_space(initial(NamespaceType::Net), Some(1));
    host.host = true;
    let mut down = interface(4, "wlp0s20f3", "", "");
    (down.up, down.state) = (false, "down".to_owned());
    down.addresses.clear();
    let card = interface(3, "enp0s31f6", "", "192.0.2.17/24");
    let mut bridge = interface(5, "docker0", "bridge", "172.17.0.1/16");
    let mut spaces = Vec::new();
    let mut ports = Vec::new();
    for number in 0..containers {
        let inode = NamespaceInode(4_026_600_000 + u64::from(number) * 6 + 4);
        let pid = 20_000 + i32::try_from(number).unwrap_or_default();
        let mut space = wired_space(inode, Some(pid));
        let address = format!("172.17.0.{}/16", number + 2);
        let mut port = interface(10 + number, &format!("veth{number:04}"), "veth", "");
        port.master = Some(5);
        bridge.ports.push(port.index);
        let mut end = interface(2 + number, "eth0", "veth", &address);
        join((&host, &mut port), (&space, &mut end));
        ports.push(port);
        space.interfaces.items.push(end);
        spaces.push(space);
    }
    let mut pair =
        [4_026_532_305, 4_026_532_405].map(|inode| wired_space(NamespaceInode(inode), None));
    let mut ends =
        ["eth0", "a-name-of-15-by"].map(|name| interface(9, name, "veth", "10.9.0.1/24"));
    let [a, b] = &mut ends;
    join((&pair[0], a), (&pair[1], b));
    for (space, end) in pair.iter_mut().zip(ends) {
        space.interfaces.items.push(end);
    }
    let mut upon = interface(7, "macvlan0", "macvlan", "192.0.2.18/24");
    upon.peer = Some(Peer {
        index: card.index,
        namespace: Some(host.inode),
        name: Some(card.name.clone()),
        master: None,
    });
    pair[0].interfaces.items.push(upon);
    spaces.extend(pair);
    let mut blue = wired_space(NamespaceInode(4_026_533_000), None);
    blue.mount = Some("/run/netns/blue".to_owned());
    spaces.push(blue);
    host.interfaces.items.extend([card, down, bridge]);
    host.interfaces.items.extend(ports);
    spaces.insert(0, host);
    let wiring = Wiring {
        namespaces: Bounded {
            items: spaces,
            left_out: 0,
        },
        unread: Bounded {
            items: vec![NamespaceInode(4_026_533_009)],
            left_out: 0,
        },
    };
    (world, Inspected::Wiring(wiring))
}
