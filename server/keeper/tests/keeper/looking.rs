//! Looking into namespaces: the child that does it, and what becomes of one that hangs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{
    DEADLINE, Document, Inspected, ProcessIdentity, Subject, What,
};
use porthole_protocol::keeper::{FailureCode, Reply, Request};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Holder;

use crate::place::{Client, IDLE, Place, nothing_left, spec, wait_until};

/// Asks to look; the pipe.
fn ask(client: &mut Client, subject: &Subject, what: What) -> Result<OwnedFd, Reply> {
    let subject = subject.clone();
    let number = client.send(Request::Inspect { subject, what }, &[]);
    match client.answer(number) {
        (Reply::Inspecting, mut descriptors) if descriptors.len() == 1 => Ok(descriptors.remove(0)),
        (reply, _) => Err(reply),
    }
}

fn document(pipe: OwnedFd) -> Option<Document> {
    let mut bytes = Vec::new();
    std::fs::File::from(pipe)
        .read_to_end(&mut bytes)
        .expect("a pipe");
    serde_json::from_slice(&bytes).ok()
}

fn subject(pid: HostPid) -> Subject {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let ticks = rest.split_ascii_whitespace().nth(19).expect("a time");
    Subject::Process(ProcessIdentity {
        pid,
        start_ticks: ticks.parse().expect("a number"),
    })
}

/// The keeper's children that look.
fn lookers(place: &Place) -> Vec<i32> {
    let keeper = place.keeper();
    let children = format!("/proc/{keeper}/task/{keeper}/children");
    let children = std::fs::read_to_string(children).expect("children");
    let is_looker = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name == "porthole-look\n")
    };
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(is_looker)
        .collect()
}

#[test]
fn a_container_is_looked_into() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    let made = client.start(&made.id, &journal);
    let target = subject(made.pid.expect("it runs"));
    for what in [
        What::Mounts,
        What::Network,
        What::Uts,
        What::Ipc,
        What::User,
        What::Cgroup,
        What::Time,
        What::Pid,
        What::Process { environment: true },
        What::Isolation,
    ] {
        let pipe = ask(&mut client, &target, what).expect("a pipe");
        match document(pipe) {
            Some(Document::Inspected(found)) => match *found {
                Inspected::Uts(uts) => assert_eq!(Some(uts.namespace), made.namespaces.uts.inode),
                Inspected::Isolation(found) => {
                    assert!(!found.set_clock.allowed, "{found:?}");
                    assert!(!found.facts.is_empty());
                }
                Inspected::Pid(pid) => {
                    assert_eq!(pid.init, made.pid);
                    assert!(pid.pid_max.is_some(), "{pid:?}");
                }
                _ => {}
            },
            other => panic!("{what:?}: {other:?}"),
        }
    }
    wait_until("all have gone", || lookers(&place).is_empty());
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

/// A file system of its own that takes requests and answers none.
struct Silent {
    daemon: Child,
    pid: HostPid,
}

impl Silent {
    fn new(program: &std::path::Path) -> Option<Self> {
        Self::within(program, &["--mount"])
    }

    /// In namespaces of its own, made by these options of unshare(1).
    fn within(program: &std::path::Path, options: &[&str]) -> Option<Self> {
        if !std::path::Path::new("/dev/fuse").exists() {
            eprintln!("SKIPPED: this test needs /dev/fuse");
            return None;
        }
        let text = include_str!("../../../discovery/tests/inspect/silent_fuse.py");
        std::fs::write(program, text).expect("a program");
        let mut daemon = Command::new("unshare")
            .args(options)
            .args(["--", "python3"])
            .arg(program)
            .arg("/mnt")
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let stdout = daemon.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let pid = HostPid(daemon.id().cast_signed());
        Some(Self { daemon, pid })
    }

    /// A namespace that is said to be mounted in it.
    fn subject(&self) -> Subject {
        held(self.pid)
    }
}

/// A namespace that is said to be mounted where this process sees a silent file system.
fn held(pid: HostPid) -> Subject {
    Subject::Namespace {
        kind: NamespaceType::Net,
        inode: NamespaceInode(1),
        holder: Holder::Mount {
            pid,
            path: "/mnt/held".to_owned(),
        },
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn one_that_hangs_holds_up_nobody_and_is_killed() {
    let Some(place) = Place::new() else { return };
    let Some(silent) = Silent::new(&place.path("silent_fuse.py")) else {
        return;
    };
    let mut client = place.connect();
    let since = Instant::now();
    let mut pipes = Vec::new();
    let refused = loop {
        match ask(&mut client, &silent.subject(), What::Network) {
            Ok(pipe) => pipes.push(pipe),
            Err(Reply::Failed(failure)) => break failure,
            Err(reply) => panic!("{reply:?}"),
        }
        assert!(pipes.len() < 100, "no bound");
    };
    assert_eq!(refused.code, FailureCode::Exhausted);
    assert!(
        since.elapsed() < DEADLINE,
        "the keeper waited: {:?}",
        since.elapsed()
    );
    // Others have their turn.
    let own = subject(HostPid(std::process::id().cast_signed()));
    let pipe = ask(&mut client, &own, What::Uts).expect("a pipe");
    assert!(matches!(document(pipe), Some(Document::Inspected(_))));
    // Killed: what waits for the daemon cannot go before that does, and reads nothing more.
    wait_until("they are killed", || {
        lookers(&place).iter().all(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
            let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            pending.is_none_or(|mask| mask & (1 << 8) != 0)
        })
    });
    let took = since.elapsed();
    assert!(took < DEADLINE + Duration::from_secs(2), "{took:?}");
    drop(silent);
    wait_until("all have gone", || lookers(&place).is_empty());
    for pipe in pipes {
        assert!(!matches!(document(pipe), Some(Document::Inspected(_))));
    }
    let pipe = ask(&mut client, &own, What::Uts).expect("there is room again");
    assert!(matches!(document(pipe), Some(Document::Inspected(_))));
}

#[test]
fn one_container_does_not_take_everybodys_places() {
    let Some(place) = Place::new() else { return };
    let options = ["--mount", "--pid", "--fork", "--kill-child"];
    let Some(silent) = Silent::within(&place.path("silent_fuse.py"), &options) else {
        return;
    };
    let daemon = HostPid(porthole_tests::host::children(silent.pid.0)[0]);
    // Others in it, half of them in PID namespaces further in.
    let inside: Vec<_> = (0..8)
        .map(|number| {
            let mut command = Command::new("nsenter");
            command.args(["--target", &daemon.to_string(), "--mount", "--pid"]);
            if number % 2 == 0 {
                command.args(["unshare", "--pid", "--fork", "--kill-child"]);
            }
            command.args(["sleep", "1000000"]);
            Started(command.stdin(Stdio::null()).spawn().expect("nsenter"))
        })
        .collect();
    let mut pids = Vec::new();
    for one in &inside {
        let mut innermost = 0;
        wait_until("it sleeps in there", || {
            innermost = one.0.id().cast_signed();
            while let Some(&child) = porthole_tests::host::children(innermost).first() {
                innermost = child;
            }
            let words = porthole_tests::host::arguments(innermost);
            let outside = porthole_tests::host::pids(innermost).len() == 1;
            !outside && words.first().is_some_and(|word| word == "sleep")
        });
        pids.push(HostPid(innermost));
    }
    let mut client = place.connect();
    let mut pipes = Vec::new();
    let mut refused = None;
    for pid in pids.iter().cycle().take(100) {
        match ask(&mut client, &held(*pid), What::Network) {
            Ok(pipe) => pipes.push(pipe),
            Err(Reply::Failed(failure)) => {
                refused = Some(failure);
                break;
            }
            Err(reply) => panic!("{reply:?}"),
        }
    }
    let refused = refused.expect("a bound");
    assert_eq!(refused.code, FailureCode::Exhausted);
    assert!(refused.message.contains("this container"), "{refused}");
    assert!(pipes.len() >= 8, "a page can show it: {}", pipes.len());
    // All the others have their places still.
    let others: Vec<_> = (0..2)
        .map(|_| Started(Command::new("sleep").arg("1000000").spawn().expect("sleep")))
        .collect();
    let mut answers = Vec::new();
    for other in &others {
        for _ in 0..8 {
            let subject = subject(HostPid(other.0.id().cast_signed()));
            answers.push(ask(&mut client, &subject, What::Uts).expect("a place"));
        }
    }
    for pipe in answers {
        assert!(matches!(document(pipe), Some(Document::Inspected(_))));
    }
    drop(inside);
    drop(silent);
    wait_until("all have gone", || lookers(&place).is_empty());
}

/// What the keeper tells of a process's variables.
fn variables(client: &mut Client, pid: i32) -> Option<Vec<String>> {
    let what = What::Process { environment: true };
    let pipe = ask(client, &subject(HostPid(pid)), what).expect("a pipe");
    match document(pipe) {
        Some(Document::Inspected(inspected)) => match *inspected {
            Inspected::Process(process) => process.environment.map(|found| found.items),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Gone after the test, however that ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whose_variables_are_told_is_for_root_to_say() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let started = |command: &mut Command| {
        let command = command.env("SECRET", "hunter2").stdin(Stdio::null());
        Started(command.stdout(Stdio::null()).spawn().expect("it starts"))
    };
    let hosts = started(Command::new("sleep").arg("1000000"));
    let others = started(Command::new("unshare").args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sleep",
        "1000000",
    ]));
    let on_host = hosts.0.id().cast_signed();
    let outer = others.0.id().cast_signed();
    let mut inside = 0;
    wait_until("it runs in namespaces of its own", || {
        inside = porthole_tests::host::children(outer)
            .first()
            .copied()
            .unwrap_or(0);
        let words = porthole_tests::host::arguments(inside);
        inside != 0 && words.first().is_some_and(|word| word == "sleep")
    });
    let mut client = place.connect();
    let journal = place.journal("container");
    let own = client.create(&spec(IDLE));
    let own = client.start(&own.id, &journal);
    let own = own.pid.expect("it runs").0;
    for (policy, of_container, of_host) in [
        ("", false, false),
        ("join_foreign = true\n", true, false),
        ("host_namespaces = true\n", true, true),
        ("join_foreign = true\njoin_privileged = true\n", true, true),
    ] {
        place.kill();
        std::fs::write(place.path("policy.toml"), policy).expect("policy");
        place.start();
        client = place.connect();
        for (pid, told) in [(own, true), (inside, of_container), (on_host, of_host)] {
            let found = variables(&mut client, pid);
            assert_eq!(found.is_some(), told, "{policy:?}: {pid}");
            let secret = found.is_some_and(|found| found.iter().any(|v| v == "SECRET=hunter2"));
            assert_eq!(secret, told && pid != own, "{policy:?}: {pid}");
        }
    }
    let ids: Vec<_> = client.containers().into_iter().map(|one| one.id).collect();
    for id in ids {
        client.remove(&id);
    }
}
