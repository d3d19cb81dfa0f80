//! A host as pages meet it, for tests: containers in every state, and a name that is no markup.

use porthole_protocol::container::{Container, ContainerState, IdRange, Timestamp};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid, NamespaceInode, SessionId};
use porthole_protocol::keeper::{Event, Hello, Policy, VERSION};
use porthole_protocol::namespace::{Isolation, NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::observation::{Namespace, Process, Security, Sighting, Update};
use porthole_protocol::session::{Exit, ExitKind, Session, Size};

use crate::access::{Account, Identity, Role, Via};
use crate::world::World;

/// When everything here happened.
pub(crate) const NOW: Timestamp = Timestamp(1_795_500_000_000);

/// An administrator.
pub(crate) fn admin() -> Identity {
    identity("admin", Role::Admin)
}

/// Somebody with this name and role.
pub(crate) fn identity(name: &str, role: Role) -> Identity {
    Identity {
        account: Account::new(1, name.parse().expect("valid"), role, NOW),
        via: Via::Local,
        from: None,
    }
}

/// The identifier that is this digit all over.
pub(crate) fn id(digit: u8) -> ContainerId {
    ContainerId::from_bytes([digit; 32])
}

fn container(digit: u8, name: &str, image: &str, command: &[&str]) -> Container {
    let spec = serde_json::json!({ "image": image, "command": command, "hostname": name });
    Container {
        id: id(digit),
        name: name.parse().expect("valid"),
        engine: porthole_protocol::engine::Engine::Porthole,
        owner: "admin".parse().expect("valid"),
        spec: serde_json::from_value(spec).expect("valid"),
        state: ContainerState::Created,
        error: None,
        pid: None,
        exit: None,
        created_at: Timestamp(NOW.0 - 3_600_000 * u64::from(digit)),
        started_at: None,
        finished_at: None,
        image_id: None,
        restarts: 0,
        restart_at: None,
        namespaces: PerNamespace::build(|kind| porthole_protocol::container::ContainerNamespace {
            inode: None,
            isolation: if kind == NamespaceType::Time {
                Isolation::Host
            } else {
                Isolation::Own
            },
            shared_with: Vec::new(),
        }),
        uid_map: vec![IdRange(0, 100_000, 65_536)],
        gid_map: vec![IdRange(0, 100_000, 65_536)],
        cgroup: None,
        network: None,
    }
}

fn running(mut container: Container, pid: i32, first_inode: u64) -> Container {
    container.state = ContainerState::Running;
    container.pid = Some(HostPid(pid));
    container.started_at = Some(Timestamp(container.created_at.0 + 400));
    container.cgroup = Some(format!("/porthole-1a2b3c4d/{}", container.id));
    let mut inode = first_inode;
    container.namespaces = PerNamespace::build(|kind| {
        inode += 1;
        let mut namespace = container.namespaces.get(kind).clone();
        namespace.inode = Some(NamespaceInode(if kind == NamespaceType::Time {
            4_026_531_834
        } else {
            inode
        }));
        namespace
    });
    container
}

/// A process of the sample.
pub(crate) fn process(pid: i32, parent: i32, pids: &[i32], command: &str) -> Process {
    Process {
        host_pid: HostPid(pid),
        pids: pids.to_vec(),
        parent: (parent > 0).then_some(HostPid(parent)),
        uid: 0,
        uid_inside: Some(0),
        gid: 0,
        gid_inside: Some(0),
        command: command.to_owned(),
        args: vec![format!("/usr/bin/{command}")],
        tty: None,
        state: 'S',
        started_at: NOW,
        start_ticks: 1,
        threads: 1,
        rss: 4 << 20,
        namespaces: PerNamespace::build(|kind| {
            (kind == NamespaceType::Pid).then_some(NamespaceInode(if pids.len() > 1 {
                4_026_532_177
            } else {
                4_026_531_836
            }))
        }),
        container: None,
        session: None,
        cgroup: None,
        security: None,
    }
}

fn inside(mut process: Process, container: ContainerId, uid: u32) -> Process {
    process.uid = 100_000 + uid;
    process.uid_inside = Some(uid);
    process.gid = process.uid;
    process.gid_inside = Some(uid);
    process.container = Some(container);
    process
}

/// A session of `web`.
pub(crate) fn session(digit: u8, exit: Option<Exit>) -> Session {
    Session {
        id: SessionId::from_bytes([digit; 16]),
        container: id(1),
        owner: "admin".parse().expect("valid"),
        command: vec!["/bin/bash".to_owned()],
        tty: true,
        size: Size::DEFAULT,
        host_pid: Some(HostPid(7604)),
        container_pid: Some(ContainerPid(14)),
        tty_name: Some("/dev/pts/0".to_owned()),
        started_at: NOW,
        tried: Vec::new(),
        joined: None,
        fidelity: Vec::new(),
        exit,
    }
}

fn exit(code: i32, reason: &str) -> Exit {
    Exit {
        code,
        kind: ExitKind::Exited,
        reason: reason.to_owned(),
        at: NOW,
        oom_killed: false,
    }
}

fn processes() -> Vec<Process> {
    let mut master = process(7561, 7548, &[7561, 6], "nginx");
    master.args = ["nginx: master process /usr/sbin/nginx", "-g", "daemon off;"]
        .map(str::to_owned)
        .into();
    let mut worker = process(7563, 7561, &[7563, 8], "nginx");
    worker.args = vec!["nginx: worker process".to_owned()];
    worker.state = 'R';
    let mut shell = process(7604, 7603, &[7604, 14], "bash");
    shell.args = vec!["/bin/bash".to_owned(), "-l".to_owned()];
    shell.tty = Some("pts/0".to_owned());
    shell.session = Some(SessionId::from_bytes([0xa5; 16]));
    let mut sidecar = process(7901, 914, &[7901, 1], "sleep");
    sidecar.namespaces.pid = Some(NamespaceInode(4_026_532_293));
    vec![
        process(1, 0, &[1], "systemd"),
        process(912, 1, &[912], "porthole-keeper"),
        process(914, 912, &[914], "porthole-keeper"),
        process(7540, 914, &[7540], "porthole-keeper"),
        process(7603, 914, &[7603], "porthole-keeper"),
        inside(process(7548, 7540, &[7548, 1], "init"), id(1), 0),
        inside(master, id(1), 0),
        inside(worker, id(1), 33),
        inside(shell, id(1), 0),
        inside(sidecar, id(2), 0),
    ]
}

/// The host.
pub(crate) fn world() -> World {
    let world = World::new();
    fill(&world);
    world
}

/// Tells a world of everything that the host has.
pub(crate) fn fill(world: &World) {
    world.keeper_came(Hello {
        version: VERSION,
        pid: 914,
        policy: Policy::default(),
        lacking: Vec::new(),
    });
    let web = running(
        container(1, "web", "host", &["nginx", "-g", "daemon off;"]),
        7548,
        4_026_532_173,
    );
    let mut sidecar = running(
        container(2, "sidecar", "busybox", &["sleep", "1d"]),
        7901,
        4_026_532_289,
    );
    sidecar.namespaces.net.isolation = Isolation::Shared;
    sidecar.namespaces.net.inode = web.namespaces.net.inode;
    sidecar.namespaces.net.shared_with = vec![web.id.clone()];
    let mut broken = container(
        3,
        "a-name-as-long-as-docker-lets-it-be-0123456789-0123456789-01234",
        "host",
        &["<script>alert(1)</script>"],
    );
    broken.error = Some("The command \"<script>alert(1)</script>\" was not found: looked in /usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin.".to_owned());
    broken.owner = "<script>"
        .parse()
        .unwrap_or_else(|_| "mallory@example.org".parse().expect("valid"));
    let mut old = container(4, "old-lab", "busybox", &[]);
    old.state = ContainerState::Exited;
    old.started_at = Some(old.created_at);
    old.finished_at = Some(NOW);
    old.exit = Some(exit(0, "exited by itself"));
    old.owner = "ada".parse().expect("valid");
    for container in [web, sidecar, broken, old] {
        world.apply(Event::Container(Box::new(container)));
    }
    world.apply(Event::Session(Box::new(session(0xa5, None))));
    world.apply(Event::Session(Box::new(session(
        0xb6,
        Some(exit(130, "exited by itself")),
    ))));
    for image in images() {
        world.apply(Event::Image(Box::new(image)));
    }
    world.apply(Event::Synced);
    world.observe(Update {
        full: true,
        processes: processes(),
        namespaces: vec![Namespace {
            kind: NamespaceType::Pid,
            inode: NamespaceInode(4_026_531_836),
            initial: true,
            owner: None,
            parent: None,
            processes: 214,
            leader: Some(HostPid(1)),
            owner_uid: None,
            holders: Vec::new(),
            netnsid: None,
            more_holders: 0,
            children: 0,
        }],
        ..Update::default()
    });
}

/// The images of the sample.
pub(crate) fn images() -> Vec<porthole_protocol::container::Image> {
    [
        serde_json::json!({"name": "host", "description": "this machine's own programs, writable on top", "command": ["/bin/bash"], "unavailable": null}),
        serde_json::json!({"name": "busybox", "description": "one small program that is two hundred", "command": ["/bin/sh"], "unavailable": "busybox-static is not installed. As root: apt-get install busybox-static"}),
    ]
    .map(|image| serde_json::from_value(image).expect("valid"))
    .into()
}

/// The same host with Docker on it, a container nested in one of its, and kernel threads.
pub(crate) fn nested() -> World {
    let world = world();
    fill_nested(&world);
    world
}

/// Inodes of the namespaces that the sample host began with, mnt first.
const INITIAL: [u64; 8] = [
    4_026_531_841,
    4_026_531_838,
    4_026_531_839,
    4_026_531_836,
    4_026_531_840,
    4_026_531_837,
    4_026_531_835,
    4_026_531_834,
];

fn namespaces(own: &[(NamespaceType, u64)]) -> NamespaceSet {
    let mut initial = INITIAL.into_iter();
    PerNamespace::build(|kind| {
        let hosts = initial.next();
        let own = own
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, inode)| *inode);
        own.or(hosts).map(NamespaceInode)
    })
}

fn namespace(kind: NamespaceType, inode: u64, parent: Option<u64>, processes: u32) -> Namespace {
    Namespace {
        kind,
        inode: NamespaceInode(inode),
        initial: INITIAL.contains(&inode),
        owner: Some(NamespaceInode(INITIAL[5])),
        parent: parent.map(NamespaceInode),
        processes,
        leader: None,
        owner_uid: None,
        holders: Vec::new(),
        netnsid: None,
        more_holders: 0,
        children: 0,
    }
}

/// What Docker's containers have of their own.
const OF_DOCKER: [(NamespaceType, u64); 6] = [
    (NamespaceType::Mnt, 4_026_532_497),
    (NamespaceType::Uts, 4_026_532_498),
    (NamespaceType::Ipc, 4_026_532_499),
    (NamespaceType::Pid, 4_026_532_500),
    (NamespaceType::Net, 4_026_532_501),
    (NamespaceType::Cgroup, 4_026_532_502),
];

fn sighting(id: &ContainerId, engine: Engine, init: i32, namespaces: NamespaceSet) -> Sighting {
    Sighting {
        id: id.clone(),
        engine,
        name: (engine == Engine::Docker).then(|| "shop-db".to_owned()),
        init: HostPid(init),
        start_ticks: 1,
        started_at: NOW,
        namespaces,
        uid_map: vec![IdRange(0, 0, u32::MAX)],
        gid_map: vec![IdRange(0, 0, u32::MAX)],
        cgroup: Some(format!("/docker/{}", id.short())),
        within: None,
        pod: None,
        paused: false,
    }
}

/// A process of the nested host.
pub(crate) fn of_docker(pid: i32, parent: i32, pids: &[i32], command: &str) -> Process {
    let docker = id(0xd0);
    let mut process = process(pid, parent, pids, command);
    process.namespaces = namespaces(&OF_DOCKER);
    process.cgroup = Some(format!("/docker/{}", docker.short()));
    process.container = Some(docker);
    process.security = Some(Security {
        effective: porthole_protocol::capability::DEFAULT,
        bounding: porthole_protocol::capability::DEFAULT,
        no_new_privs: false,
        seccomp: 2,
    });
    process
}

fn fill_nested(world: &World) {
    let docker = id(0xd0);
    let inner: ContainerId = "none-5710-1".parse().expect("valid");
    let mut deep: Vec<_> = OF_DOCKER.into();
    deep.extend([(NamespaceType::User, 4_026_532_601)]);
    deep.iter_mut()
        .filter(|(k, _)| *k == NamespaceType::Pid)
        .for_each(|n| n.1 = 4_026_532_600);
    let mut shell = of_docker(5710, 5709, &[5710, 74, 1], "unshare");
    let mut sleep = of_docker(5712, 5710, &[5712, 75, 3], "sleep");
    // 4 KiB of arguments, markup, control characters.
    sleep.args = vec![
        "/bin/sleep".to_owned(),
        "<b>1d</b>\u{1b}[31m".to_owned(),
        "x".repeat(4000),
    ];
    for process in [&mut shell, &mut sleep] {
        process.namespaces = namespaces(&deep);
        process.container = Some(inner.clone());
    }
    let mut kernel: Vec<_> = [(2, 0, "kthreadd"), (3, 2, "rcu_gp"), (4, 2, "kworker/0:0")]
        .map(|(pid, parent, name)| process(pid, parent, &[pid], name))
        .into();
    for thread in &mut kernel {
        thread.args.clear();
        thread.rss = 0;
    }
    let mut within = sighting(&inner, Engine::None, 5710, namespaces(&deep));
    within.within = Some(docker.clone());
    let mut processes = vec![
        of_docker(5600, 1, &[5600, 1], "postgres"),
        of_docker(5709, 5600, &[5709, 72], "bash"),
        shell,
        sleep,
    ];
    processes.append(&mut kernel);
    let mut all: Vec<_> = NamespaceType::ALL
        .into_iter()
        .zip(INITIAL)
        .map(|(kind, inode)| namespace(kind, inode, None, 214))
        .collect();
    all.extend(OF_DOCKER.map(|(kind, inode)| {
        let parent = (kind == NamespaceType::Pid).then_some(INITIAL[3]);
        namespace(kind, inode, parent, 2)
    }));
    let pid = Some(OF_DOCKER[3].1);
    all.push(namespace(NamespaceType::Pid, 4_026_532_600, pid, 2));
    all.push(namespace(
        NamespaceType::User,
        4_026_532_601,
        Some(INITIAL[5]),
        2,
    ));
    world.observe(Update {
        processes,
        namespaces: all,
        containers: vec![
            sighting(&docker, Engine::Docker, 5600, namespaces(&OF_DOCKER)),
            within,
        ],
        ..Update::default()
    });
}

/// So many more processes, on so many levels.
pub(crate) fn fill_with(world: &World, number: i32, levels: usize) {
    let processes = (0..number)
        .map(|n| {
            let pid = 20_000 + n;
            let pids = [pid, 100 + n];
            let mut process = of_docker(pid, 5600, &pids[..levels], "worker");
            process.args = vec![
                "/usr/bin/worker".to_owned(),
                format!("--queue=orders-{n}"),
                "--log-level=info".to_owned(),
            ];
            if levels < 2 {
                process.container = None;
            }
            process
        })
        .collect();
    world.observe(Update {
        processes,
        ..Update::default()
    });
}

/// So many more containers of Docker's, each with a process of its own in namespaces of its own.
pub(crate) fn fill_with_containers(world: &World, number: i32) {
    let mut update = Update::default();
    for n in 0..number {
        let pid = 40_000 + n;
        let mut bytes = [0xee; 32];
        bytes[..4].copy_from_slice(&pid.to_be_bytes());
        let docker = ContainerId::from_bytes(bytes);
        let first = 4_026_600_000 + 10 * u64::try_from(n).unwrap_or_default();
        let own: Vec<_> = OF_DOCKER
            .iter()
            .zip(first..)
            .map(|((kind, _), inode)| (*kind, inode))
            .collect();
        let mut process = of_docker(pid, 1, &[pid, 1], "sleep");
        process.namespaces = namespaces(&own);
        process.container = Some(docker.clone());
        update.processes.push(process);
        update
            .containers
            .push(sighting(&docker, Engine::Docker, pid, namespaces(&own)));
        update
            .namespaces
            .extend(own.into_iter().map(|(kind, inode)| {
                let parent = (kind == NamespaceType::Pid).then_some(INITIAL[3]);
                namespace(kind, inode, parent, 1)
            }));
    }
    world.observe(update);
}
