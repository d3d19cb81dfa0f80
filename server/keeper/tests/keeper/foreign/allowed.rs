//! What is refused: by root's policy, for another process's sake, and until somebody accepts it.

use super::{LOOK, Unshared, foreign, place, refusal, run, seen, spec, verdict, with_users};
use crate::place::{IDLE, Place, alive, wait_until};
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::keeper::FailureCode;
use porthole_protocol::session::{Aspect, Foreign, Verdict, Whose};
use porthole_tests::engines::{DockerDaemon, Runc};
use porthole_tests::host;

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

/// Ended by its number: a change of user has made it forget that it is to die with its parent.
struct Chrooted(Unshared);

impl Drop for Chrooted {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.0.1),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
}

/// A container whose first process has users and processes of its own and no other mounts than the
/// machine's: by chroot(2) it sees a directory of these only.
fn chrooted(root: &std::path::Path) -> Chrooted {
    use std::io::Write;
    porthole_tests::engines::busybox_root(root).expect("a root directory");
    let script = format!(
        "read mapped; exec setpriv --reuid=0 --regid=0 --clear-groups \
         sh -c 'mount -t proc proc {root}/proc; exec chroot {root} /bin/sleep 1000000'",
        root = root.display()
    );
    let mut child = std::process::Command::new("unshare")
        .args([
            "--user",
            "--keep-caps",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args(["sh", "-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("unshare");
    let outer = child.id().cast_signed();
    let mut inner = 0;
    wait_until("it has forked", || {
        inner = host::children(outer).first().copied().unwrap_or(0);
        inner != 0
            && host::arguments(inner)
                .first()
                .is_some_and(|word| word == "sh")
    });
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{inner}/{map}"), "0 100000 65536").expect("a map");
    }
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"mapped\n").expect("it reads");
    let own = Chrooted(Unshared(child, inner));
    wait_until("it has changed its root", || {
        host::arguments(inner)
            .first()
            .is_some_and(|word| word == "/bin/sleep")
    });
    own
}

#[test]
fn a_changed_root_directory_holds_nobody() {
    let Some((mut place, mut client)) = place("") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).expect("chmod");
    let changed = chrooted(&directory.path().join("root"));
    // As whoever calls chroot(2) leaves it, or goes to where the mounts begin.
    let leave = spec(
        changed.0.1,
        &[
            "busybox",
            "nsenter",
            "--mount=/proc/self/ns/mnt",
            "/bin/ls",
            "/",
        ],
    );
    let failure = refusal(&place, &mut client, leave.clone(), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("join_privileged"), "{failure}");
    // Control: with root's word, and what it would have seen.
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        "join_foreign = true\njoin_privileged = true\n",
    )
    .expect("policy");
    place.start();
    let mut client = place.connect();
    let (_, text) = run(&place, &mut client, leave, 2);
    assert!(text.contains("boot\n") && text.contains("var\n"), "{text}");
    let (_, text) = run(&place, &mut client, spec(changed.0.1, &["/bin/ls", "/"]), 3);
    assert!(!text.contains("boot\n"), "its own root directory: {text}");
}

#[test]
fn who_could_set_the_kernel_needs_roots_word() {
    let (Some((mut place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let open = docker.run(
        &["--security-opt", "systempaths=unconfined"],
        &["sleep", "1000000"],
    );
    let open = docker.init(&open);
    // Docker's own capabilities and filter. What is written is what stands there.
    let look = [
        "sh",
        "-c",
        "cd /proc/sys/kernel; now=$(cat core_pattern); echo \"$now\" >core_pattern && echo written",
    ];
    let failure = refusal(&place, &mut client, spec(open, &look), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("/proc/sys"), "{failure}");
    let usual = docker.run(&[], &["sleep", "1000000"]);
    let (_, text) = run(&place, &mut client, spec(docker.init(&usual), &look), 2);
    assert!(!text.contains("written"), "control: {text}");
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        "join_foreign = true\njoin_privileged = true\n",
    )
    .expect("policy");
    place.start();
    let mut client = place.connect();
    let (_, text) = run(&place, &mut client, spec(open, &look), 3);
    assert!(text.contains("written"), "why it is refused: {text}");
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
    let Some((place, mut client)) = super::place("join_privileged = true\n") else {
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
            foreign.namespaces.net = Some(NamespaceInode(1));
        }
        let failure = refusal(&place, &mut client, lie, 1);
        assert_eq!(failure.code, FailureCode::WrongState, "{pid}: {failure}");
    }
    // Porthole's own containers are joined as such.
    let journal = place.journal("container");
    let container = client.create(&crate::place::spec(IDLE));
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
    let Some((place, mut client)) = super::place("join_privileged = true\n") else {
        return;
    };
    let one = Unshared::new(&["--mount", "--pid"]);
    let two = Unshared::new(&["--mount", "--pid"]);
    let good = foreign(one.1);
    let change = |change: fn(&mut Foreign, &Foreign)| {
        let mut changed = spec(one.1, &["id"]);
        if let Some(foreign) = &mut changed.foreign {
            change(foreign, &super::foreign(two.1));
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
            "foreign::allowed::traces_for_another_test",
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
