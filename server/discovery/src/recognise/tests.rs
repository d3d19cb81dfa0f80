use super::*;
use proptest::prelude::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const UID: &str = "0a1b2c3d-0000-4444-8888-0123456789ab";
const BASE: &str = "/system.slice/porthole.service/porthole-0a1b2c3d";

/// `<A>`, `<B>`, `<U>` and `<_>` (a pod's uid, as it is and as systemd's driver writes it).
fn whole(path: &str) -> String {
    path.replace("<A>", A)
        .replace("<B>", B)
        .replace("<U>", UID)
        .replace("<_>", &UID.replace('-', "_"))
}

/// `engine:id` of each level, a pod's behind a plus.
fn found(path: &str) -> String {
    let levels = levels(whole(path).as_bytes(), Some(BASE));
    let word = |level: &Level| {
        let id = level.id.as_str().replace(A, "<A>").replace(B, "<B>");
        let pod = level.pod.as_ref().map_or(String::new(), |pod| {
            format!("+{}", pod.replace(UID, "<U>").replace(B, "<B>"))
        });
        format!("{}:{id}{pod}", level.engine)
    };
    levels.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_engine_is_recognised_by_its_paths() {
    for (path, expected) in [
        // Docker: cgroupfs, systemd, rootless, a parent of one's own, builds.
        ("/docker/<A>", "docker:<A>"),
        ("/system.slice/docker-<A>.scope", "docker:<A>"),
        ("/system.slice/docker-<A>.scope/init.scope", "docker:<A>"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-<A>.scope",
            "docker:<A>",
        ),
        ("/ecs/0123456789abcdef/<A>", "docker:<A>"),
        ("/system.slice:docker:<A>", "docker:<A>"),
        (
            "/docker/buildkit/abcdefghijklmnopqrstuvwxy",
            "docker:abcdefghijklmnopqrstuvwxy",
        ),
        // Podman: systemd, cgroupfs, rootless, pods, split groups.
        ("/machine.slice/libpod-<A>.scope", "podman:<A>"),
        ("/machine.slice/libpod-<A>.scope/container", "podman:<A>"),
        ("/libpod_parent/libpod-<A>", "podman:<A>"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<A>.scope/container",
            "podman:<A>",
        ),
        (
            "/machine.slice/machine-libpod_pod_<B>.slice/libpod-<A>.scope",
            "podman:<A>",
        ),
        ("/libpod_parent/<B>/libpod-<A>", "podman:<A>"),
        (
            "/user.slice/libpod_pod_<B>.slice/libpod-<A>.scope",
            "podman:<A>+<B>",
        ),
        ("/system.slice/web.service/libpod-payload-<A>", "podman:<A>"),
        // containerd: ctr, nerdctl, Kubernetes with either driver, and with the wrong one.
        ("/default/web", "containerd:web"),
        ("/default/<A>", "containerd:<A>"),
        ("/k8s.io/<A>", "containerd:<A>"),
        ("/system.slice/nerdctl-<A>.scope", "containerd:<A>"),
        ("/kubepods/burstable/pod<U>/<A>", "containerd:<A>+<U>"),
        ("/kubepods/pod<U>/<A>", "containerd:<A>+<U>"),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<_>.slice/cri-containerd-<A>.scope",
            "containerd:<A>+<U>",
        ),
        (
            "/kubepods.slice/kubepods-pod<_>.slice/docker-<A>.scope",
            "docker:<A>+<U>",
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod<_>.slice:cri-containerd:<A>",
            "containerd:<A>+<U>",
        ),
        // CRI-O.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<_>.slice/crio-<A>.scope",
            "cri-o:<A>+<U>",
        ),
        ("/kubepods/besteffort/pod<U>/crio-<A>", "cri-o:<A>+<U>"),
        // LXC 2 to 6, with and without systemd in it, and of a user.
        ("/lxc.payload.web", "lxc:web"),
        ("/lxc.payload.web/init.scope", "lxc:web"),
        ("/lxc/web", "lxc:web"),
        ("/lxc.payload/web/system.slice/cron.service", "lxc:web"),
        (
            "/user.slice/user-1000.slice/session-3.scope/lxc.payload.web",
            "lxc:web",
        ),
        // systemd-nspawn, as a service and from a shell, hybrid and cgroup2.
        (
            "/machine.slice/systemd-nspawn@deb.service/payload",
            "nspawn:deb",
        ),
        (
            "/machine.slice/systemd-nspawn@my\\x2ddeb.service/payload/init.scope",
            "nspawn:my-deb",
        ),
        ("/machine.slice/machine-deb.scope", "nspawn:deb"),
        (
            "/machine.slice/machine-my\\x2ddeb.scope/payload",
            "nspawn:my-deb",
        ),
        // Another Porthole on this machine.
        ("/user.slice/porthole-01234567/<A>", "porthole:<A>"),
        // One in another.
        ("/docker/<A>/docker/<B>", "docker:<A> docker:<B>"),
        (
            "/system.slice/docker-<A>.scope/docker/<B>/init.scope",
            "docker:<A> docker:<B>",
        ),
        (
            "/docker/<A>/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod<_>.slice/cri-containerd-<B>.scope",
            "docker:<A> containerd:<B>+<U>",
        ),
        (
            "/docker/<A>/kubelet/kubepods/besteffort/pod<U>/<B>",
            "docker:<A> containerd:<B>+<U>",
        ),
        (
            "/docker/<A>/libpod-<B>.scope/container",
            "docker:<A> podman:<B>",
        ),
        (
            "/docker/<A>/libpod_parent/libpod-<B>",
            "docker:<A> podman:<B>",
        ),
        ("/lxc.payload.web/docker/<A>", "lxc:web docker:<A>"),
        ("/lxc.payload.web/lxc.payload.db", "lxc:web lxc:db"),
        ("/docker/<A>/default/web", "docker:<A> containerd:web"),
        (
            "/docker/<A>/porthole-01234567/<B>",
            "docker:<A> porthole:<B>",
        ),
        (
            "/machine.slice/machine-deb.scope/payload/system.slice/docker-<A>.scope",
            "nspawn:deb docker:<A>",
        ),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn what_only_looks_like_one_is_none() {
    for path in [
        "/",
        "",
        "/..",
        "/../..",
        "/init.scope",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        "/docker",
        "/docker/abc",
        "/docker/buildkit",
        // Who looks after a container from outside.
        "/machine.slice/libpod-conmon-<A>.scope",
        "/libpod_parent/conmon",
        "/kubepods.slice/kubepods-pod<_>.slice/crio-conmon-<A>.scope",
        "/lxc.monitor.web",
        "/lxc/monitor",
        "/machine.slice/systemd-nspawn@deb.service/supervisor",
        // A pod alone, and the engines' own places.
        "/kubepods/burstable/pod<U>",
        "/libpod_parent",
        "/default",
        "/a/default/web",
        // Virtual machines.
        "/machine.slice/machine-qemu\\x2d1\\x2dwin.scope",
        "/machine.slice/machine-qemu\\x2d1\\x2dwin.scope/libvirt/emulator",
        // What no identifier may be.
        "/lxc/../web",
        "/lxc.payload.",
        "/lxc.payload.-x",
        "/default/..",
        "/user.slice/user-1000.slice/session-1.scope",
        "/system.slice/podman.service",
        "/system.slice/docker-ABCDEF.scope",
        "/porthole-01234567",
    ] {
        assert_eq!(found(path), "", "{path}");
    }
}

#[test]
fn ours_are_ours_alone() {
    let of = |path: &str| levels(whole(path).as_bytes(), Some(BASE));
    let own = of(&format!("{BASE}/<A>/docker/<B>"));
    assert_eq!(
        own.iter().map(|level| level.own).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(own[0].group, format!("{BASE}/{A}"));
    assert_eq!(own[1].group, format!("{BASE}/{A}/docker/{B}"));
    // A user's group that is only named alike.
    let other = of("/user.slice/porthole-0a1b2c3d/<A>");
    assert!(!other[0].own);
    assert!(levels(whole("/<A>").as_bytes(), Some("/"))[0].own);
}

#[test]
fn the_hierarchy_that_says_most_counts() {
    let of = |file: &str| group(whole(file).as_bytes(), Some(BASE));
    // cgroup2 only.
    let group = of("0::/system.slice/docker-<A>.scope\n");
    assert_eq!(group.path, Some(whole("/system.slice/docker-<A>.scope")));
    // v1 only: every controller has it.
    let group = of("3:pids:/docker/<A>\n2:memory:/docker/<A>\n1:name=systemd:/docker/<A>\n");
    assert_eq!(group.path, Some(whole("/docker/<A>")));
    assert_eq!(group.levels.len(), 1);
    // Hybrid: the cgroup2 tree knows only who started the engine.
    let group =
        of("5:memory:/docker/<A>\n1:name=systemd:/system.slice\n0::/system.slice/docker.service\n");
    assert_eq!(group.path, Some(whole("/docker/<A>")));
    // Nobody's: cgroup2 first, then systemd's, then what is no root.
    assert_eq!(of("1:name=systemd:/a\n0::/b\n").path.as_deref(), Some("/b"));
    assert_eq!(of("1:name=systemd:/a\n0::/\n").path.as_deref(), Some("/a"));
    assert_eq!(of("2:cpu,cpuacct:/c\n0::/\n").path.as_deref(), Some("/c"));
    assert_eq!(of("2:cpu:/\n0::/\n").path, None);
    assert_eq!(of("0::/a (deleted)\n").path.as_deref(), Some("/a"));
    assert_eq!(of("").path, None);
    // One of ours has its groups in both; in it is a container that only v1 knows.
    let session = "cd".repeat(16);
    let group = of(&format!(
        "2:memory:/x/porthole-0a1b2c3d/<A>/docker/<B>\n0::{BASE}/<A>/{session}\n"
    ));
    let kinds: Vec<(Engine, bool)> = group.levels.iter().map(|l| (l.engine, l.own)).collect();
    assert_eq!(kinds, [(Engine::Porthole, true), (Engine::Docker, false)]);
    assert_eq!(group.session.map(String::from), Some(session));
}

#[test]
fn a_path_is_told_as_text_and_shortened() {
    let of = |file: &[u8]| group(file, None);
    assert_eq!(
        of(b"0::/a\x1b[2J\xff<b>\n").path.as_deref(),
        Some("/a\u{fffd}[2J\u{fffd}<b>")
    );
    let deep = format!("0::/{}\n", "é".repeat(600));
    assert!(of(deep.as_bytes()).path.expect("a path").len() <= PATH_LIMIT);
    // What a container makes below its own group cannot be without end.
    let deep = format!("0::{}\n", "/docker/".to_owned() + A)
        .replace('\n', "")
        .repeat(200);
    assert!(of(deep.as_bytes()).levels.len() <= DEPTH);
}

#[test]
fn supervisors_tell_the_name() {
    let args = |line: &str| -> Vec<String> { line.split(' ').map(whole).collect() };
    let podman = supervisor(
        "conmon",
        &args(
            "/usr/bin/conmon --api-version 1 -c <A> -u <A> -r /usr/bin/runc -n web --exit-dir /x",
        ),
    );
    assert_eq!(
        podman,
        Some(Supervisor {
            engine: Engine::Podman,
            id: Some(A.parse().expect("an id")),
            name: Some("web".to_owned()),
        })
    );
    let shim = "/usr/bin/containerd-shim-runc-v2 -namespace moby -id <A> -address /x";
    let docker = supervisor("containerd-shim", &args(shim)).expect("one");
    assert_eq!(docker.engine, Engine::Docker);
    assert_eq!(docker.id.as_ref().map(ContainerId::as_str), Some(A));
    let lxc = supervisor("lxc-start", &["[lxc monitor] /var/lib/lxc web".to_owned()]);
    assert_eq!(lxc.expect("one").name.as_deref(), Some("web"));
    let nspawn = supervisor("systemd-nspawn", &args("systemd-nspawn --machine=deb -b"));
    assert_eq!(nspawn.expect("one").id, Some("deb".parse().expect("an id")));
    assert_eq!(supervisor("bash", &args("bash -c x")), None);
}

proptest! {
    #[test]
    fn no_path_upsets_it(path in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = group(&path, Some("/a"));
    }

    #[test]
    fn a_name_is_never_a_path(words in proptest::collection::vec(
        "(docker|lxc|default|lxc\\.payload\\.[./a-z\\\\]{0,4}|machine-[./a-z\\\\x0-9]{0,8}\\.scope|\\.\\.|[a-z]{0,3})", 0..8
    )) {
        let path = format!("/{}", words.join("/"));
        for level in levels(path.as_bytes(), None) {
            prop_assert!(!level.id.as_str().contains('/') && level.id.as_str() != "..");
        }
    }
}
