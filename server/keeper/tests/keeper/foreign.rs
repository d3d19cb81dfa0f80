//! Sessions in containers of other engines, run here by the real engines, compared with what these
//! engines' own exec starts.

use std::collections::BTreeMap;
use std::path::Path;

use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::keeper::{Failure, FailureCode, Reply, Request};
use porthole_protocol::namespace::{NamespaceType, PerNamespace};
use porthole_protocol::session::{
    Aspect, ExitKind, FidelityLine, Foreign, Session, SessionSpec, Target, Toolbox, Verdict, Whose,
};
use porthole_tests::engines::{DockerDaemon, Podman, Runc};
use porthole_tests::host;

use crate::place::{Client, Place, alive, session, session_id, wait_until};

/// What every session and exec here runs: all that confines it, as the kernel tells it.
const LOOK: &str = "cat /proc/self/status; echo =; cat /proc/self/cgroup; echo =; \
    cat /proc/self/limits; echo =; cat /proc/self/oom_score_adj; echo =; pwd; umask; echo =; \
    for n in mnt uts ipc pid net user cgroup time; do stat -L -c \"$n %i\" /proc/self/ns/$n; done; \
    echo =; env; echo END-OF-LOOK";

/// A keeper whose root allows it; `lines` are added to its policy.
fn place(lines: &str) -> Option<(Place, Client)> {
    let mut place = Place::new()?;
    // The first one has read no policy.
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        format!("join_foreign = true\n{lines}"),
    )
    .expect("policy");
    place.start();
    let client = place.connect();
    Some((place, client))
}

fn start_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    rest.split_whitespace()
        .nth(19)
        .expect("a field")
        .parse()
        .expect("ticks")
}

fn foreign(pid: i32) -> Foreign {
    let namespaces = host::namespaces(pid);
    Foreign {
        pid: HostPid(pid),
        start_ticks: start_ticks(pid),
        namespaces: PerNamespace::build(|kind| {
            namespaces
                .get(kind.name())
                .copied()
                .map(porthole_protocol::id::NamespaceInode)
        }),
        env: None,
        accept: Vec::new(),
        toolbox: None,
    }
}

fn spec(pid: i32, command: &[&str]) -> SessionSpec {
    let id: ContainerId = format!("none-{pid}-{}", start_ticks(pid))
        .parse()
        .expect("an id");
    SessionSpec {
        foreign: Some(Box::new(foreign(pid))),
        ..session(&id, command, false)
    }
}

/// Opens a session, waits for its end and answers what it wrote.
fn run(place: &Place, client: &mut Client, spec: SessionSpec, number: u8) -> (Session, String) {
    let journal = place.journal(&format!("session-{number}"));
    let opened = client.open(spec, number, &journal).expect("opened");
    let mut ended = None;
    wait_until("the session ends", || {
        let sessions = client.sessions();
        ended = sessions
            .into_iter()
            .find(|s| s.id == opened.id && s.exit.is_some());
        ended.is_some() && !journal.marks().is_empty() && place.monitors() == 0
    });
    (ended.expect("ended"), journal.text())
}

fn refusal(place: &Place, client: &mut Client, spec: SessionSpec, number: u8) -> Failure {
    let journal = place.journal(&format!("refused-{number}"));
    client.open(spec, number, &journal).expect_err("refused")
}

fn verdict(lines: &[FidelityLine], aspect: Aspect) -> Verdict {
    let line = lines.iter().find(|line| line.aspect == aspect);
    line.unwrap_or_else(|| panic!("no line about {aspect}: {lines:?}"))
        .verdict
}

/// What [`LOOK`] has seen.
#[derive(Debug)]
struct Seen {
    status: BTreeMap<String, String>,
    cgroups: BTreeMap<String, String>,
    rest: Vec<String>,
    environment: Vec<String>,
}

/// The fields of a status that confine.
const FIELDS: [&str; 13] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "NStgid",
    "Umask",
];

fn seen(text: &str) -> Seen {
    assert!(text.contains("END-OF-LOOK"), "{text}");
    let parts: Vec<&str> = text.split("=\n").collect();
    let status: BTreeMap<_, _> = parts[0]
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| FIELDS.contains(field) && *field != "NStgid")
        .map(|(field, value)| {
            (
                field.to_owned(),
                value.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect();
    let cgroups = parts[1]
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .map(|(tree, path)| {
            // In the cgroup2 tree a session has a group of its own, below.
            let own = path.find("/porthole-session-").filter(|_| tree.is_empty());
            let path = own.map_or(path, |at| if at == 0 { "/" } else { &path[..at] });
            (tree.to_owned(), path.to_owned())
        })
        .collect();
    let mut environment: Vec<String> = parts[6..]
        .concat()
        .lines()
        .filter(|line| !line.starts_with("END-OF") && !line.starts_with("SHLVL"))
        .map(str::to_owned)
        .collect();
    environment.sort();
    Seen {
        status,
        cgroups,
        rest: parts[2..6].iter().map(|part| (*part).to_owned()).collect(),
        environment,
    }
}

/// Everything that confines, equal but for where a line says so.
fn assert_alike(session: &Session, ours: &str, theirs: &str) {
    let (ours, theirs) = (seen(ours), seen(theirs));
    assert_eq!(ours.status, theirs.status, "status");
    assert_eq!(ours.cgroups, theirs.cgroups, "groups");
    for (ours, theirs) in ours.rest.iter().zip(&theirs.rest) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.environment, theirs.environment, "environment");
    for line in &session.fidelity {
        assert_eq!(line.verdict, Verdict::Equal, "{line:?}");
    }
    assert_eq!(session.fidelity.len(), Aspect::ALL.len());
}

#[test]
fn a_session_in_docker_is_what_docker_exec_is() {
    let (Some((place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let custom = place.path("seccomp.json");
    std::fs::write(
        &custom,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sethostname","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )
    .expect("a profile");
    let custom = format!("--security-opt=seccomp={}", custom.display());
    let cases: [(&[&str], &[&str], Option<&str>); 6] = [
        (&[], &[], None),
        (&["--env", "A=b c", "--workdir", "/tmp"], &[], None),
        (&["--user", "worker"], &[], None),
        (&["--user", "worker"], &["--user", "0"], Some("0")),
        (
            &[
                "--cap-drop=ALL",
                "--cap-add=NET_RAW",
                "--security-opt=no-new-privileges",
                // Equal, since runc's exec sometimes gives the hard one as the soft one (Go does).
                "--ulimit=nofile=200:200",
                "--memory=64m",
                "--oom-score-adj=500",
                "--read-only",
            ],
            &["--user", "worker"],
            Some("worker"),
        ),
        (&[&custom, "--cap-drop=MKNOD"], &[], None),
    ];
    for (number, (options, exec, user)) in (1..).zip(cases) {
        let container = docker.run(options, &["sleep", "1000000"]);
        let init = docker.init(&container);
        let arguments: Vec<&str> = ["exec"]
            .iter()
            .chain(exec)
            .copied()
            .chain([container.as_str(), "sh", "-c", LOOK])
            .collect();
        let theirs = docker.docker(&arguments);
        let mut spec = spec(init, &["sh", "-c", LOOK]);
        spec.user = user.map(|user| user.parse().expect("a user"));
        let (opened, ours) = run(&place, &mut client, spec, number);
        assert_alike(&opened, &ours, &theirs);
        let exit = opened.exit.expect("ended");
        assert_eq!((exit.kind, exit.code), (ExitKind::Exited, 0));
        assert!(host::runs(init), "it goes on");
        // Control: what is compared is not what every process has.
        let own = std::fs::read_to_string("/proc/self/status").expect("status");
        assert_ne!(
            seen(&ours).status["CapBnd"],
            own.lines()
                .find_map(|l| l.strip_prefix("CapBnd:"))
                .expect("a field")
                .trim()
        );
        docker.docker(&["rm", "--force", &container]);
    }
    assert!(host::cgroups("porthole-session").is_empty());
}

#[test]
fn a_session_in_podman_is_what_podman_exec_is() {
    let (Some((place, mut client)), Some(podman)) = (place(""), Podman::start()) else {
        return;
    };
    let container = podman.run(&["--env", "A=b"], &["sleep", "1000000"]);
    let init = podman.init(&container);
    let theirs = podman.podman(&["exec", &container, "sh", "-c", LOOK]);
    let (opened, ours) = run(&place, &mut client, spec(init, &["sh", "-c", LOOK]), 1);
    // Podman's exec forgets the groups that /etc/group gives its own init.
    let groups = host::status(init)["Groups"].clone();
    let theirs = theirs.replace("Groups:\t ", &format!("Groups:\t{groups}"));
    // And the host name, which its init has in the environment too.
    let ours = ours.replace(&format!("HOSTNAME={}\n", &container[..12]), "");
    assert_alike(&opened, &ours, &theirs);
}

/// A filter of system calls for runc's specification.
fn filtered(spec: &mut serde_json::Value) {
    spec["linux"]["seccomp"] = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["unshare", "mount"], "action": "SCMP_ACT_ERRNO"}],
    });
}

#[test]
fn a_session_in_runc_is_what_runc_exec_is() {
    let (Some((place, mut client)), Some(runc)) = (place(""), Runc::start()) else {
        return;
    };
    let init = runc.run("one", |spec| {
        filtered(spec);
        spec["process"]["oomScoreAdj"] = 300.into();
    });
    let theirs = runc.runc(&["exec", "one", "/bin/sh", "-c", LOOK]);
    let (opened, ours) = run(&place, &mut client, spec(init, &["sh", "-c", LOOK]), 1);
    assert_alike(&opened, &ours, &theirs);
    let status = seen(&ours).status;
    assert_eq!(
        (status["Seccomp"].as_str(), status["NoNewPrivs"].as_str()),
        ("2", "1")
    );
    // What the filter refuses, it refuses here: with the control beside it.
    let mount = [
        "sh",
        "-c",
        "mount -t tmpfs x /tmp; unshare -n true; echo END",
    ];
    let (_, refused) = run(&place, &mut client, spec(init, &mount), 2);
    assert!(
        refused.contains("END") && refused.contains("permitted"),
        "{refused}"
    );
    // Init was stopped once only: what it is filtered by is kept.
    let kept = std::fs::read_dir(place.path("run/filters")).expect("kept");
    assert_eq!(kept.count(), 1);
}

/// `unshare`d processes of a test, gone after it.
struct Unshared(std::process::Child, i32);

impl Unshared {
    fn new(options: &[&str]) -> Self {
        let child = std::process::Command::new("unshare")
            .args(options)
            .args(["--fork", "--kill-child", "sleep", "1000000"])
            .spawn()
            .expect("unshare");
        let outer = child.id().cast_signed();
        let mut inner = 0;
        wait_until("unshare has forked", || {
            inner = host::children(outer).first().copied().unwrap_or(0);
            inner != 0
                && host::arguments(inner)
                    .first()
                    .is_some_and(|word| word == "sleep")
        });
        Self(child, inner)
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With users of its own and, in them, everything that runc's defaults take away.
fn with_users(spec: &mut serde_json::Value) {
    let map = serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.push(serde_json::json!({"type": "user"}));
    spec["process"]["noNewPrivileges"] = false.into();
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] =
            serde_json::json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_KILL"]);
    }
}

#[test]
fn what_holds_nothing_back_needs_roots_word() {
    let Some((mut place, mut client)) = place("") else {
        return;
    };
    let bare = Unshared::new(&["--mount", "--pid", "--net", "--mount-proc"]);
    let failure = refusal(&place, &mut client, spec(bare.1, &["id"]), 1);
    assert_eq!(failure.code, FailureCode::Forbidden);
    assert!(failure.message.contains("join_privileged"), "{failure}");
    // Where its users are its own, what it has of capabilities ends there.
    if let Some(runc) = Runc::start() {
        let users = runc.run("users", with_users);
        let look = [
            "/bin/sh",
            "-c",
            "id -u; cat /proc/1/comm; cat /proc/self/status",
        ];
        let (opened, text) = run(&place, &mut client, spec(users, &look), 2);
        assert!(text.starts_with("0\nsleep\n"), "{text}");
        assert!(text.contains("Seccomp:\t0"), "{text}");
        assert_eq!(opened.joined.expect("told").user.whose, Whose::Container);
    }
    // With root's word.
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        "join_foreign = true\njoin_privileged = true\n",
    )
    .expect("policy");
    place.start();
    let mut client = place.connect();
    let (opened, text) = run(&place, &mut client, spec(bare.1, &["sh", "-c", LOOK]), 3);
    let status = host::status(bare.1);
    let ours = seen(&text).status;
    for field in ["CapBnd", "NoNewPrivs", "Seccomp", "Seccomp_filters"] {
        assert_eq!(ours[field], status[field], "{field}");
    }
    assert_eq!(verdict(&opened.fidelity, Aspect::Seccomp), Verdict::Equal);
}

#[test]
fn only_what_root_allows_is_joined() {
    let Some(place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let users = Unshared::new(&["--mount", "--pid", "--mount-proc"]);
    let failure = refusal(&place, &mut client, spec(users.1, &["id"]), 1);
    assert_eq!(failure.code, FailureCode::Forbidden);
    assert!(failure.message.contains("join_foreign = true"), "{failure}");
    drop(place);
    let Some((place, mut client)) = self::place("join_privileged = true\n") else {
        return;
    };
    // The machine's own processes, and Porthole's, are no containers.
    let own = std::process::id().cast_signed();
    for pid in [1, own, place.keeper()] {
        let failure = refusal(&place, &mut client, spec(pid, &["id"]), 1);
        assert_eq!(failure.code, FailureCode::Forbidden, "{pid}: {failure}");
    }
    // Nor when the server lies about where they are.
    for pid in [own, place.keeper()] {
        let mut lie = spec(pid, &["id"]);
        if let Some(foreign) = &mut lie.foreign {
            foreign.namespaces.net = Some(porthole_protocol::id::NamespaceInode(1));
        }
        let failure = refusal(&place, &mut client, lie, 1);
        assert_eq!(failure.code, FailureCode::WrongState, "{pid}: {failure}");
    }
    // Porthole's own containers are joined as such.
    let journal = place.journal("container");
    let container = client.create(&crate::place::spec(crate::place::IDLE));
    let container = client.start(&container.id, &journal);
    let pid = container.pid.expect("a PID").0;
    let failure = refusal(&place, &mut client, spec(pid, &["id"]), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    wait_until("it has a child", || !host::children(pid).is_empty());
    let inner = host::children(pid)[0];
    let failure = refusal(&place, &mut client, spec(inner, &["id"]), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    client.remove(&container.id);
    // Control.
    let (_, text) = run(&place, &mut client, spec(users.1, &["id", "-u"]), 2);
    assert_eq!(text, "0\n");
}

#[test]
fn another_process_is_never_entered_by_mistake() {
    let Some((place, mut client)) = place("join_privileged = true\n") else {
        return;
    };
    let one = Unshared::new(&["--mount", "--pid"]);
    let two = Unshared::new(&["--mount", "--pid"]);
    let good = foreign(one.1);
    let change = |change: fn(&mut Foreign, &Foreign)| {
        let mut changed = spec(one.1, &["id"]);
        if let Some(foreign) = &mut changed.foreign {
            change(foreign, &self::foreign(two.1));
        }
        changed
    };
    for wrong in [
        change(|foreign, _| foreign.start_ticks += 1),
        change(|foreign, other| foreign.pid = other.pid),
        change(|foreign, other| foreign.namespaces.mnt = other.namespaces.mnt),
        change(|foreign, _| foreign.namespaces.net = None),
    ] {
        let failure = refusal(&place, &mut client, wrong, 1);
        assert_eq!(failure.code, FailureCode::WrongState, "{failure}");
    }
    let (_, text) = run(&place, &mut client, spec(one.1, &["id", "-u"]), 2);
    assert_eq!(text, "0\n", "control");
    // The number is another process's: the kernel is told which to give (clone3's set_tid).
    drop(one);
    wait_until("it is gone", || !alive(good.pid.0));
    let reused = reuse(good.pid.0);
    let mut stale = spec(good.pid.0, &["id"]);
    stale.foreign = Some(Box::new(good));
    let failure = refusal(&place, &mut client, stale, 3);
    assert_eq!(failure.code, FailureCode::WrongState, "{failure}");
    assert!(failure.message.contains("another process's"), "{failure}");
    drop(reused);
}

/// A process with this number, in namespaces of its own.
fn reuse(pid: i32) -> Unshared {
    // The next number that is given is one above what is written here, see proc_sys_kernel(5).
    for _ in 0..200 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root");
        let mut child = std::process::Command::new("unshare")
            .args(["--mount", "sleep", "1000000"])
            .spawn()
            .expect("unshare");
        if child.id().cast_signed() == pid {
            return Unshared(child, pid);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("the number {pid} was not given again");
}

#[test]
fn a_subset_is_joined_with_the_machines_tools() {
    let (Some((mut place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let container = docker.run(&[], &["sleep", "1000000"]);
    let init = docker.init(&container);
    let subset = |kinds: &[NamespaceType], command: &[&str]| SessionSpec {
        join: Some(kinds.to_vec()),
        ..spec(init, command)
    };
    let net = [NamespaceType::Net];
    let failure = refusal(&place, &mut client, subset(&net, &["id"]), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("host_namespaces"), "{failure}");
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        "join_foreign = true\nhost_namespaces = true\n",
    )
    .expect("policy");
    place.start();
    let mut client = place.connect();
    let look = [
        "/bin/sh",
        "-c",
        "ip -o addr; readlink /proc/self/ns/net; cat /proc/self/status; head -1 /etc/os-release",
    ];
    let (opened, text) = run(&place, &mut client, subset(&net, &look), 2);
    assert!(
        text.contains(&format!("net:[{}]", host::namespaces(init)["net"])),
        "{text}"
    );
    assert!(
        text.contains("127.0.0.1") && text.contains("PRETTY_NAME"),
        "{text}"
    );
    assert!(
        text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"),
        "{text}"
    );
    assert!(text.contains("CapBnd:\t00000000a80425fb"), "{text}");
    let joined = opened.joined.expect("told");
    for (kind, namespace) in joined.iter() {
        let whose = if kind == NamespaceType::Net {
            Whose::Container
        } else {
            Whose::Host
        };
        assert_eq!(namespace.whose, whose, "{kind}");
    }
    assert_eq!(
        verdict(&opened.fidelity, Aspect::Namespaces),
        Verdict::Weaker
    );
    assert_eq!(
        verdict(&opened.fidelity, Aspect::Seccomp),
        Verdict::Stronger
    );
    // What the container shares with the machine makes no session in it.
    let failure = refusal(
        &place,
        &mut client,
        subset(&[NamespaceType::User], &["id"]),
        3,
    );
    assert_eq!(
        (failure.code, failure.field.as_deref()),
        (FailureCode::Invalid, Some("join"))
    );
    // The same in a container of Porthole's own.
    let journal = place.journal("container");
    let own = client.create(&crate::place::spec(crate::place::IDLE));
    let own = client.start(&own.id, &journal);
    let spec = SessionSpec {
        join: Some(net.to_vec()),
        ..session(
            &own.id,
            &[
                "/bin/sh",
                "-c",
                "id -u; readlink /proc/self/ns/net /proc/self/ns/mnt",
            ],
            false,
        )
    };
    let (opened, text) = {
        let journal = place.journal("own-subset");
        let opened = client.open(spec, 4, &journal).expect("opened");
        wait_until("it has written", || {
            journal.text().matches(']').count() == 2
        });
        (opened, journal.text())
    };
    let pid = own.pid.expect("a PID").0;
    assert!(text.starts_with("0\n"), "{text}");
    assert!(
        text.contains(&host::namespaces(pid)["net"].to_string()),
        "{text}"
    );
    assert!(
        !text.contains(&host::namespaces(pid)["mnt"].to_string()),
        "{text}"
    );
    assert_eq!(opened.joined.expect("told").mnt.whose, Whose::Host);
    client.remove(&own.id);
}

#[test]
fn a_toolbox_works_where_there_is_no_shell() {
    let (Some((place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    // One static program, and nothing else: busybox under the name by which it sleeps.
    docker.import("scratch", &[("/sleep", Path::new("/bin/busybox"))]);
    let container = docker.run(&["--image=scratch"], &["/sleep", "1000000"]);
    let init = docker.init(&container);
    let failure = refusal(&place, &mut client, spec(init, &[]), 1);
    assert_eq!(failure.code, FailureCode::CommandNotFound, "{failure}");
    for (number, image) in [(2, "busybox"), (3, "host")] {
        let mut spec = spec(
            init,
            &[
                "sh",
                "-c",
                "pwd; ls /target; ls -d /proc/1; cat /proc/1/comm; hostname; touch /tmp/x && echo writable; cat /proc/self/status; stat -c %t,%T /dev/null; readlink /proc/self/ns/pid",
            ],
        );
        if let Some(foreign) = &mut spec.foreign {
            foreign.toolbox = Some(Toolbox {
                image: image.parse().expect("a name"),
            });
        }
        let (opened, text) = run(&place, &mut client, spec, number);
        assert!(text.starts_with("/target\n"), "{image}: {text}");
        assert!(text.contains("\nsleep\n"), "{image}: {text}");
        assert!(text.contains(&container[..12]), "{image}: {text}");
        assert!(text.contains("writable"), "{image}: {text}");
        assert!(
            text.contains("CapBnd:\t00000000a80425fb"),
            "{image}: {text}"
        );
        assert!(text.contains("Seccomp:\t2"), "{image}: {text}");
        assert!(text.contains("1,3"), "{image}: {text}");
        assert!(
            text.contains(&format!("pid:[{}]", host::namespaces(init)["pid"])),
            "{image}: {text}"
        );
        let joined = opened.joined.expect("told");
        assert_eq!(
            (joined.mnt.whose, joined.pid.whose),
            (Whose::Session, Whose::Container)
        );
        assert_eq!(
            verdict(&opened.fidelity, Aspect::Capabilities),
            Verdict::Equal
        );
    }
}

#[test]
fn a_session_ends_with_its_container_and_hinders_nothing() {
    let (Some((place, mut client)), Some(docker)) =
        (place("host_namespaces = true\n"), DockerDaemon::start())
    else {
        return;
    };
    for (number, join) in [(1, None), (2, Some(vec![NamespaceType::Net]))] {
        let container = docker.run(&[], &["sleep", "1000000"]);
        let init = docker.init(&container);
        let late = spec(init, &["id"]);
        let journal = place.journal(&format!("session-{number}"));
        let spec = SessionSpec {
            join,
            tty: true,
            ..spec(init, &["/bin/sh", "-c", "sleep 1000000 & sleep 1000000"])
        };
        let opened = client.open(spec, number, &journal).expect("opened");
        let shell = opened.host_pid.expect("a PID").0;
        assert!(host::runs(shell));
        let group = std::fs::read_to_string(format!("/proc/{shell}/cgroup")).expect("groups");
        assert!(group.contains("/porthole-session-"), "{group}");
        docker.docker(&["rm", "--force", &container]);
        wait_until("the session has ended", || {
            client
                .sessions()
                .iter()
                .any(|s| s.id == opened.id && s.exit.is_some())
        });
        let sessions = client.sessions();
        let ended = sessions.iter().find(|s| s.id == opened.id).expect("kept");
        let exit = ended.exit.as_ref().expect("ended");
        assert_eq!(exit.reason, "its container has ended");
        assert!(!host::runs(shell));
        assert!(host::cgroups(&container).is_empty(), "its groups are gone");
        let failure = refusal(&place, &mut client, late, 9);
        assert_eq!(failure.code, FailureCode::WrongState, "{failure}");
    }
}

#[test]
fn a_paused_container_is_not_joined() {
    let (Some((place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let container = docker.run(&[], &["sleep", "1000000"]);
    let init = docker.init(&container);
    docker.docker(&["pause", &container]);
    let failure = refusal(&place, &mut client, spec(init, &["id", "-u"]), 1);
    assert_eq!(failure.code, FailureCode::WrongState, "{failure}");
    assert!(failure.message.contains("unpause"), "{failure}");
    docker.docker(&["unpause", &container]);
    let (_, text) = run(&place, &mut client, spec(init, &["id", "-u"]), 2);
    assert_eq!(text, "0\n", "control");
}

#[test]
fn less_confinement_must_be_accepted() {
    let (Some((place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let container = docker.run(&[], &["sleep", "1000000"]);
    let init = docker.init(&container);
    // Its filters cannot be read while another program traces it.
    let mut tracer = std::process::Command::new("/proc/self/exe")
        .env("PORTHOLE_TEST_TRACE", init.to_string())
        .args([
            "--exact",
            "foreign::traces_for_another_test",
            "--nocapture",
            "--include-ignored",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a tracer");
    wait_until("it is traced", || host::status(init)["TracerPid"] != "0");
    let failure = refusal(&place, &mut client, spec(init, &["id", "-u"]), 1);
    assert_eq!(
        (failure.code, failure.field.as_deref()),
        (FailureCode::LessConfined, Some("accept"))
    );
    assert_eq!(
        verdict(&failure.fidelity, Aspect::Seccomp),
        Verdict::Unknown
    );
    let mut accepted = spec(init, &["cat", "/proc/self/status"]);
    if let Some(foreign) = &mut accepted.foreign {
        foreign.accept = vec![Aspect::Label];
    }
    let failure = refusal(&place, &mut client, accepted.clone(), 1);
    assert_eq!(
        failure.code,
        FailureCode::LessConfined,
        "another aspect was accepted"
    );
    if let Some(foreign) = &mut accepted.foreign {
        foreign.accept = vec![Aspect::Seccomp];
    }
    let (opened, text) = run(&place, &mut client, accepted, 2);
    assert_eq!(verdict(&opened.fidelity, Aspect::Seccomp), Verdict::Unknown);
    assert!(
        text.contains("Seccomp_filters:\t1"),
        "Porthole's own: {text}"
    );
    let _ = tracer.kill();
    let _ = tracer.wait();
    wait_until("it is not traced", || {
        host::status(init)["TracerPid"] == "0"
    });
    let (opened, _) = run(&place, &mut client, spec(init, &["id", "-u"]), 3);
    assert_eq!(
        verdict(&opened.fidelity, Aspect::Seccomp),
        Verdict::Equal,
        "control"
    );
}

/// A tracer, where the test above starts it as a program of its own.
#[test]
#[ignore = "no test: a program that the scenario of a traced init starts"]
fn traces_for_another_test() {
    let Some(pid) = std::env::var("PORTHOLE_TEST_TRACE")
        .ok()
        .and_then(|pid| pid.parse().ok())
    else {
        return;
    };
    nix::sys::ptrace::seize(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::ptrace::Options::empty(),
    )
    .expect("seize");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_keeper_and_monitor_leave_no_session_behind() {
    let (Some((mut place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let container = docker.run(&[], &["sleep", "1000000"]);
    let init = docker.init(&container);
    let journal = place.journal("session");
    let opened = client
        .open(
            spec(init, &["sh", "-c", "sleep 1000000 & sleep 1000000"]),
            1,
            &journal,
        )
        .expect("opened");
    let shell = opened.host_pid.expect("a PID").0;
    drop(client);
    place.kill();
    place.start();
    let mut client = place.connect();
    let mut sessions = Vec::new();
    wait_until("it is adopted", || {
        sessions = client.sessions();
        !sessions.is_empty()
    });
    assert_eq!(sessions, vec![opened.clone()]);
    assert!(host::runs(shell));
    let monitor = place.monitor(&Target::Session(opened.id.clone()));
    let monitor = rustix::process::Pid::from_raw(monitor).expect("a PID");
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).expect("kill");
    wait_until("it is lost", || {
        client.sessions().iter().any(|s| {
            s.exit
                .as_ref()
                .is_some_and(|exit| exit.kind == ExitKind::Lost)
        })
    });
    wait_until("what was left of it is killed", || !host::runs(shell));
    assert_eq!(
        client.ask(Request::ForgetSession {
            session: session_id(1)
        }),
        Reply::Done
    );
    let name = format!("porthole-session-{}", session_id(1));
    wait_until("its group is gone", || host::cgroups(&name).is_empty());
    assert!(host::runs(init));
}
