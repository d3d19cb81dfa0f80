use super::*;
use crate::groups::Groups;
use porthole_protocol::container::Timestamp;

const BASE: &str = "/porthole-0a1b2c3d";
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A host whose namespaces are numbered 1 (pid), 2 (mnt) and 3 (user).
struct Scene {
    groups: Groups,
    processes: HashMap<HostPid, Known>,
    parents: HashMap<NamespaceInode, NamespaceInode>,
    initial: NamespaceSet,
    found: Containers,
}

impl Namespaces for (&NamespaceSet, &HashMap<NamespaceInode, NamespaceInode>) {
    fn initial(&self) -> &NamespaceSet {
        self.0
    }

    fn parent(&self, inode: NamespaceInode) -> Option<NamespaceInode> {
        self.1.get(&inode).copied()
    }

    fn maps(&self, _: NamespaceInode) -> Option<(&[IdRange], &[IdRange])> {
        None
    }
}

impl Scene {
    fn new() -> Self {
        let initial = NamespaceSet {
            pid: Some(NamespaceInode(1)),
            mnt: Some(NamespaceInode(2)),
            user: Some(NamespaceInode(3)),
            ..NamespaceSet::default()
        };
        let mut scene = Self {
            groups: Groups::new(&crate::Settings::new(Some(BASE.to_owned()))),
            processes: HashMap::new(),
            parents: HashMap::new(),
            initial,
            found: Containers::default(),
        };
        scene.process(1, "/init.scope", &[1], (1, 2));
        scene
    }

    /// A process with these numbers, in this PID and this mount namespace. Its start time is its
    /// number; its parent is the first process.
    fn process(&mut self, pid: i32, group: &str, pids: &[i32], (ns, mnt): (u64, u64)) {
        let group = group.replace("<A>", A).replace("<B>", B);
        let group = self.groups.of(format!("0::{group}\n").as_bytes());
        let namespaces = NamespaceSet {
            pid: Some(NamespaceInode(ns)),
            mnt: Some(NamespaceInode(mnt)),
            ..self.initial
        };
        let process = Process {
            host_pid: HostPid(pid),
            pids: pids.to_vec(),
            parent: Some(HostPid(1)),
            uid: 0,
            uid_inside: None,
            gid: 0,
            gid_inside: None,
            command: "x".to_owned(),
            args: Vec::new(),
            tty: None,
            state: 'S',
            started_at: Timestamp(0),
            start_ticks: u64::from(pid.unsigned_abs()),
            threads: 1,
            rss: 0,
            namespaces,
            container: None,
            session: None,
            cgroup: group.path.clone(),
            security: None,
        };
        self.processes
            .insert(HostPid(pid), Known { process, group });
    }

    fn change(&mut self, pid: i32, change: impl FnOnce(&mut Process)) {
        change(
            &mut self
                .processes
                .get_mut(&HostPid(pid))
                .expect("there")
                .process,
        );
    }

    fn nested(&mut self, inner: u64, outer: u64) {
        self.parents
            .insert(NamespaceInode(inner), NamespaceInode(outer));
    }

    /// `id(init)` of the containers that others made, and of those around each, innermost first.
    fn find(&mut self) -> Vec<String> {
        self.find_with(&HashSet::new())
    }

    fn find_with(&mut self, frozen: &HashSet<String>) -> Vec<String> {
        let namespaces = (&self.initial, &self.parents);
        self.found.find(&self.processes, &namespaces, frozen);
        let mut all: Vec<String> = self.found.foreign.values().map(|s| self.words(s)).collect();
        all.sort();
        all
    }

    fn words(&self, sighting: &Sighting) -> String {
        let short = |id: &ContainerId| id.as_str().replace(A, "A").replace(B, "B");
        let within = sighting
            .within
            .as_ref()
            .map_or(String::new(), |id| format!(" in {}", short(id)));
        format!(
            "{}:{}({}){within}",
            sighting.engine,
            short(&sighting.id),
            sighting.init
        )
    }

    /// The container of a process.
    fn of(&self, pid: i32) -> String {
        let known = &self.processes[&HostPid(pid)];
        let container = self.found.of(known.place()).expect("a known place");
        container.as_ref().map_or("-".to_owned(), |id| {
            id.as_str().replace(A, "A").replace(B, "B")
        })
    }
}

#[test]
fn a_host_without_containers_has_none() {
    let mut scene = Scene::new();
    // What systemd does for services, and `ip netns exec`.
    scene.process(10, "/system.slice/cron.service", &[10], (1, 20));
    assert!(scene.find().is_empty());
    assert_eq!((scene.of(1), scene.of(10)), ("-".into(), "-".into()));
}

#[test]
fn dockers_first_process_is_the_one_that_it_calls_one() {
    let mut scene = Scene::new();
    // The shim is outside; a stage of runc's and who was put into the group are not the first.
    scene.process(9, "/system.slice/containerd.service", &[9], (1, 2));
    scene.process(10, "/docker/<A>", &[10], (1, 2));
    scene.process(11, "/docker/<A>", &[11], (1, 31));
    scene.change(11, |p| p.command = "runc:[1:CHILD]".to_owned());
    scene.process(12, "/docker/<A>", &[12, 1], (30, 31));
    scene.process(13, "/docker/<A>/init.scope", &[13, 7], (30, 31));
    assert_eq!(scene.find(), ["docker:A(12)"]);
    assert_eq!((scene.of(13), scene.of(9)), ("A".into(), "-".into()));
    // One that entered from outside is in it, whatever its group.
    scene.process(14, "/user.slice", &[14, 9], (30, 31));
    scene.find();
    assert_eq!(scene.of(14), "A");
}

#[test]
fn with_the_hosts_pids_the_eldest_is_the_first() {
    let mut scene = Scene::new();
    scene.process(20, "/machine.slice/libpod-<A>.scope", &[20], (1, 31));
    scene.process(21, "/machine.slice/libpod-<A>.scope", &[21], (1, 31));
    // It may make PID namespaces itself.
    scene.process(22, "/machine.slice/libpod-<A>.scope", &[22, 1], (40, 41));
    scene.nested(40, 1);
    assert_eq!(scene.find(), ["none:none-22-22(22) in A", "podman:A(20)"]);
    // Two started in one tick: the one that is outside is the elder.
    scene.change(22, |p| p.start_ticks = 20);
    assert_eq!(scene.find(), ["none:none-22-20(22) in A", "podman:A(20)"]);
}

#[test]
fn containers_of_a_pod_share_and_are_beside_each_other() {
    let pod = "/kubepods/pod0a1b2c3d-0000-4444-8888-0123456789ab";
    let mut scene = Scene::new();
    scene.process(10, &format!("{pod}/<A>"), &[10, 1], (30, 31));
    scene.process(11, &format!("{pod}/<B>"), &[11, 7], (30, 32));
    scene.nested(30, 1);
    assert_eq!(scene.find(), ["containerd:A(10)", "containerd:B(11)"]);
    assert_eq!(scene.of(11), "B");
    let b = &scene.found.foreign[&B.parse().expect("an id")];
    assert!(b.pod.as_ref().is_some_and(|pod| pod.starts_with("0a1b")));
}

#[test]
fn one_in_another_is_told_within_it() {
    let mut scene = Scene::new();
    scene.process(10, "/docker/<A>", &[10, 1], (30, 31));
    scene.process(11, "/docker/<A>/docker/<B>", &[11, 5, 1], (40, 41));
    scene.nested(30, 1);
    scene.nested(40, 30);
    assert_eq!(scene.find(), ["docker:A(10)", "docker:B(11) in A"]);
    assert_eq!(scene.of(11), "B");
    // Its groups may be elsewhere: then its PID namespace tells.
    let mut scene = Scene::new();
    scene.process(10, "/docker/<A>", &[10, 1], (30, 31));
    scene.process(11, "/docker/<B>", &[11, 5, 1], (40, 41));
    scene.nested(30, 1);
    scene.nested(40, 30);
    assert_eq!(scene.find(), ["docker:A(10)", "docker:B(11) in A"]);
}

#[test]
fn ours_are_not_told_but_hold_others() {
    let mut scene = Scene::new();
    scene.process(10, "/porthole-0a1b2c3d/<A>", &[10, 1], (30, 31));
    scene.process(11, "/porthole-0a1b2c3d/<A>", &[11, 5, 1], (40, 41));
    scene.process(12, "/porthole-0a1b2c3d/<A>/x", &[12, 6], (30, 31));
    // Another Porthole's.
    scene.process(13, "/user.slice/porthole-01234567/<B>", &[13, 1], (50, 51));
    scene.nested(30, 1);
    scene.nested(40, 30);
    scene.nested(50, 1);
    assert_eq!(scene.find(), ["none:none-11-11(11) in A", "porthole:B(13)"]);
    assert_eq!(
        (scene.of(12), scene.of(11)),
        ("A".into(), "none-11-11".into())
    );
}

#[test]
fn bare_namespaces_nest_by_their_pids() {
    let mut scene = Scene::new();
    scene.process(10, "/user.slice", &[10, 1], (30, 31));
    scene.process(11, "/user.slice", &[11, 2, 1], (40, 41));
    scene.process(12, "/user.slice", &[12, 3, 2, 1], (50, 51));
    scene.process(13, "/user.slice", &[13, 4, 3, 2], (50, 51));
    scene.nested(30, 1);
    scene.nested(40, 30);
    scene.nested(50, 40);
    assert_eq!(
        scene.find(),
        [
            "none:none-10-10(10)",
            "none:none-11-11(11) in none-10-10",
            "none:none-12-12(12) in none-11-11"
        ]
    );
    assert_eq!(scene.of(13), "none-12-12");
}

#[test]
fn who_makes_namespaces_is_in_some_of_them_already() {
    // unshare -mp: the container's first process is its child.
    let mut scene = Scene::new();
    scene.process(10, "/docker/<A>", &[10], (1, 31));
    scene.process(11, "/docker/<A>", &[11, 1], (30, 31));
    scene.change(11, |p| p.parent = Some(HostPid(10)));
    scene.nested(30, 1);
    assert_eq!(scene.find(), ["docker:A(11)"]);
    // unshare -mp unshare -mp: the first of the outer one has the mounts of the inner one.
    let mut scene = Scene::new();
    scene.process(10, "/user.slice", &[10], (1, 31));
    scene.process(11, "/user.slice", &[11, 1], (30, 41));
    scene.process(12, "/user.slice", &[12, 2, 1], (40, 41));
    scene.change(12, |p| p.parent = Some(HostPid(11)));
    scene.nested(30, 1);
    scene.nested(40, 30);
    let both = ["none:none-11-11(11)", "none:none-12-12(12) in none-11-11"];
    assert_eq!(scene.find(), both);
    // With somebody else in these mounts they are the outer one's.
    scene.process(13, "/user.slice", &[13, 3], (30, 41));
    assert_eq!(scene.find(), ["none:none-11-11(11)"]);
}

#[test]
fn a_browsers_sandbox_is_no_container() {
    let mut scene = Scene::new();
    scene.process(10, "/user.slice", &[10, 1], (30, 2));
    scene.process(11, "/user.slice", &[11, 2], (30, 2));
    // One that is made in it counts, around the host.
    scene.process(12, "/user.slice", &[12, 3, 1], (40, 41));
    scene.nested(30, 1);
    scene.nested(40, 30);
    assert_eq!(scene.find(), ["none:none-12-12(12)"]);
    assert_eq!(scene.of(11), "-");
}

#[test]
fn a_supervisor_outside_tells_the_name() {
    let mut scene = Scene::new();
    scene.process(10, "/machine.slice/libpod-<A>.scope", &[10, 1], (30, 31));
    scene.process(9, "/machine.slice/libpod-conmon-<A>.scope", &[9], (1, 2));
    scene.change(9, |p| {
        p.command = "conmon".to_owned();
        p.args = ["conmon", "-c", A, "-n", "web"].map(str::to_owned).to_vec();
    });
    scene.change(10, |p| p.parent = Some(HostPid(9)));
    assert_eq!(scene.find(), ["podman:A(10)"]);
    let name = |scene: &Scene| {
        scene
            .found
            .foreign
            .values()
            .next()
            .and_then(|s| s.name.clone())
    };
    assert_eq!(name(&scene).as_deref(), Some("web"));
    // Podman without groups of its own, as users without systemd have it.
    scene.process(10, "/user.slice", &[10, 1], (30, 31));
    scene.change(10, |p| p.parent = Some(HostPid(9)));
    assert_eq!(scene.find(), ["podman:A(10)"]);
}

#[test]
fn nobody_takes_anothers_identifier() {
    let mut scene = Scene::new();
    let forged = "/user.slice/user-1000.slice/docker/<A>";
    scene.process(10, forged, &[10, 1], (30, 31));
    assert_eq!(scene.find(), ["docker:A(10)"]);
    // The one that root made comes later and has more right to it.
    scene.process(20, "/docker/<A>", &[20, 1], (40, 41));
    let both = scene.find();
    assert_eq!(both[0], "docker:A(20)");
    assert!(
        both[1].starts_with("docker:A-") && both[1].ends_with("(10)"),
        "{both:?}"
    );
    assert_ne!(scene.of(10), "A");
    // It does not come into it again when that one is gone.
    scene.processes.remove(&HostPid(20));
    assert_eq!(scene.find(), [both[1].clone()]);
    // Nor can one inside ours, or beside it, be ours.
    let mut scene = Scene::new();
    scene.process(10, "/porthole-0a1b2c3d/<A>", &[10, 1], (30, 31));
    scene.process(
        11,
        "/porthole-0a1b2c3d/<A>/docker/<A>",
        &[11, 2, 1],
        (40, 41),
    );
    scene.process(12, "/docker/<A>", &[12, 1], (50, 51));
    scene.find();
    assert_eq!(scene.of(10), "A");
    assert!(scene.of(11).starts_with("A-") && scene.of(12).starts_with("A-"));
}

#[test]
fn a_zombie_is_no_container() {
    let mut scene = Scene::new();
    scene.process(10, "/docker/<A>", &[10, 1], (30, 31));
    assert_eq!(scene.find(), ["docker:A(10)"]);
    scene.change(10, |p| {
        p.state = 'Z';
        p.namespaces = NamespaceSet::default();
    });
    assert!(scene.find().is_empty());
}

#[test]
fn a_frozen_group_is_a_paused_container() {
    let mut scene = Scene::new();
    scene.process(10, "/docker/<A>", &[10, 1], (30, 31));
    let frozen = HashSet::from([format!("/docker/{A}")]);
    scene.find_with(&frozen);
    assert!(scene.found.foreign.values().all(|sighting| sighting.paused));
}

#[test]
fn two_thousand_containers_are_found_quickly() {
    let mut scene = Scene::new();
    for number in 0..2000_i32 {
        let (ns, mnt) = (
            10_000 + number.unsigned_abs(),
            20_000 + number.unsigned_abs(),
        );
        let group = format!("/docker/{number:064x}");
        let first = 100 + number * 3;
        for (pid, inner) in (first..first + 3).zip(1..) {
            scene.process(pid, &group, &[pid, inner], (ns.into(), mnt.into()));
        }
        scene.nested(ns.into(), 1);
    }
    let begun = std::time::Instant::now();
    assert_eq!(scene.find().len(), 2000);
    eprintln!("found in {:?}", begun.elapsed());
    let again = scene.found.foreign.clone();
    scene.find();
    assert_eq!(scene.found.foreign, again);
    let init = |known: &Known| scene.found.is_init(known.process.host_pid);
    assert_eq!(scene.processes.values().filter(|k| init(k)).count(), 2000);
}

#[test]
fn a_containers_start_is_told_anew_where_the_clock_was_set() {
    let mut scene = Scene::new();
    scene.process(10, "/docker/<A>", &[10, 1], (11, 12));
    scene.process(11, "/docker/<A>", &[11, 2], (11, 12));
    scene.find();
    for (pid, concerns) in [(10, true), (11, false)] {
        let before = scene.processes[&HostPid(pid)].clone();
        assert!(!scene.found.concerns(Some(&before), &before));
        scene.change(pid, |process| process.started_at = Timestamp(3_600_000));
        let now = &scene.processes[&HostPid(pid)];
        assert_eq!(scene.found.concerns(Some(&before), now), concerns, "{pid}");
    }
    scene.find();
    let found: Vec<_> = scene.found.foreign.values().collect();
    assert_eq!(found[0].started_at, Timestamp(3_600_000));
}
