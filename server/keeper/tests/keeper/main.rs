//! A real keeper in a root of its own, driven as the server drives it: containers, sessions, the
//! journal, and keepers and monitors that are killed in between. Needs root and busybox; skips
//! loudly without.

mod place;
mod supervisor;

use std::io::Read;
use std::process::Command;

use porthole_journal::Pumped;
use porthole_protocol::container::ContainerState;
use porthole_protocol::id::ContainerId;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::keeper::{FailureCode, Reply, Request};
use porthole_protocol::namespace::Isolation;
use porthole_protocol::observation::Update;
use porthole_protocol::session::{ExitKind, Target};

use place::{Place, alive, session, spec, wait_until};

/// `sleep` as PID 1 would not heed SIGTERM.
const IDLE: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1; done";

#[test]
fn a_container_lives_through_a_killed_keeper_and_leaves_nothing() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    assert_eq!(made.state, ContainerState::Created);
    let running = client.start(&made.id, &journal);
    assert_eq!(running.state, ContainerState::Running);
    let pid = running.pid.expect("pid");
    assert!(alive(pid.0));
    wait_until("its output is in the journal with nobody attached", || {
        journal.text().contains("ready")
    });
    // A session with a terminal.
    let session_journal = place.journal("session");
    let opened = client
        .open(session(&made.id, &["sh"], true), 1, &session_journal)
        .expect("opened");
    assert_eq!(opened.tty_name.as_deref(), Some("/dev/pts/0"));
    let reader = client.attach(Target::Session(opened.id.clone()));
    assert!(reader.tty);
    reader.write("echo 6*7=$((6*7)); tty\n");
    let mut relay = reader.relay();
    wait_until("the shell answers its reader", || {
        let _ = relay.pump(Stream::Tty, 2).expect("pump");
        session_journal.text().contains("6*7=42")
    });
    drop((relay, reader));
    // The keeper is killed; what runs is not touched, and its output still drained.
    drop(client);
    place.kill();
    assert!(alive(pid.0));
    place.start();
    let mut client = place.connect();
    let mut adopted = None;
    wait_until("the container is adopted", || {
        adopted = client.containers().pop();
        adopted
            .as_ref()
            .is_some_and(|c| c.state == ContainerState::Running)
    });
    let adopted = adopted.expect("adopted");
    assert_eq!(adopted, running);
    assert_eq!(client.sessions(), vec![opened.clone()]);
    let reader = client.attach(Target::Session(opened.id.clone()));
    reader.write("echo after-$((1+1))\n");
    drop(reader);
    wait_until("the monitor reads when its reader has hung up", || {
        session_journal.text().contains("after-2")
    });
    // Ending.
    match client.ask(Request::EndSession {
        session: opened.id.clone(),
    }) {
        Reply::Session(ended) => {
            let exit = ended.exit.expect("ended");
            assert_eq!((exit.kind, exit.code), (ExitKind::Ended, 137));
        }
        other => panic!("{other:?}"),
    }
    let stopped = client.container(Request::Stop {
        container: made.id.clone(),
        timeout_ms: 10_000,
    });
    assert_eq!(stopped.state, ContainerState::Exited);
    assert_eq!(stopped.exit.expect("exit").code, 0);
    wait_until("the journals say how it ended", || {
        journal.marks().last() == Some(&Mark::End(0))
            && session_journal.marks().last() == Some(&Mark::End(137))
    });
    // It can run again, with the same journal.
    let again = client.start(&made.id, &journal);
    assert_eq!(again.state, ContainerState::Running);
    let failure = client.failure(Request::Remove {
        container: made.id.clone(),
        force: false,
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let pid = again.pid.expect("pid");
    client.remove(&made.id);
    assert!(!alive(pid.0));
    assert!(client.containers().is_empty());
    assert!(client.sessions().is_empty());
    nothing_left(&place, &made.id);
}

fn nothing_left(place: &Place, id: &ContainerId) {
    wait_until("no monitor is left", || place.monitors() == 0);
    nothing_left_of(place, id);
    for directory in ["root/keeper/containers", "root/keeper/sessions"] {
        let count = std::fs::read_dir(place.path(directory))
            .expect("directory")
            .count();
        assert_eq!(count, 0, "{directory}");
    }
}

fn nothing_left_of(place: &Place, id: &ContainerId) {
    let directory = place.path("root/keeper/containers").join(id.as_str());
    assert!(!directory.exists());
    let groups = Command::new("find")
        .args(["/sys/fs/cgroup", "-name", id.as_str()])
        .output()
        .expect("find");
    assert_eq!(String::from_utf8_lossy(&groups.stdout), "");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(id.as_str()));
}

fn kill_process(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
}

#[test]
fn pipes_keep_streams_apart_and_end_of_input_arrives() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    let script = "cat; echo $? >&2; exit 3";
    let opened = client
        .open(session(&made.id, &["sh", "-c", script], false), 1, &output)
        .expect("opened");
    assert_eq!((opened.tty, &opened.tty_name), (false, &None));
    let mut reader = client.attach(Target::Session(opened.id.clone()));
    reader.write("through and back\n");
    let mut relay = reader.relay();
    wait_until("cat answers", || {
        let _ = relay.pump(Stream::Stdout, 2).expect("pump");
        output.text() == "through and back\n"
    });
    reader.end_input();
    let exit = reader.exited().expect("it was told");
    assert_eq!((exit.code, exit.kind), (3, ExitKind::Exited));
    while relay.pump(Stream::Stderr, 3).expect("pump") != Pumped::EndOfFile {}
    relay.mark(Mark::End(exit.code), 4).expect("mark");
    drop((relay, reader));
    wait_until("its monitor goes", || place.monitors() == 1);
    assert_eq!(output.text(), "through and back\n0\n");
    assert_eq!(output.marks(), [Mark::Start, Mark::End(3)], "marked once");
    let ended = client.sessions().pop().expect("its record is kept");
    assert_eq!(ended.exit, Some(exit));
    let failure = client.failure(Request::Attach {
        target: Target::Session(opened.id.clone()),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    assert_eq!(
        client.ask(Request::ForgetSession {
            session: opened.id.clone()
        }),
        Reply::Done
    );
    let failure = client.failure(Request::ForgetSession { session: opened.id });
    assert_eq!(failure.code, FailureCode::SessionNotFound);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn what_cannot_be_done_is_refused_in_words_and_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let create = |client: &mut place::Client, spec: serde_json::Value| {
        client.failure(Request::Create {
            spec: Box::new(serde_json::from_value(spec).expect("spec")),
            owner: "admin".parse().expect("owner"),
        })
    };
    let named = client.create(r#"{"image":"busybox","name":"one","command":["true"]}"#);
    for (spec, code, field) in [
        (
            serde_json::json!({"image":"busybox","name":"one"}),
            FailureCode::NameInUse,
            "name",
        ),
        (
            serde_json::json!({"image":"nothing"}),
            FailureCode::ImageNotFound,
            "image",
        ),
        (
            serde_json::json!({"image":"busybox","namespaces":{"pid":"host"}}),
            FailureCode::Forbidden,
            "namespaces.pid",
        ),
        (
            serde_json::json!({"image":"busybox","namespaces":{"net":"container:nobody"}}),
            FailureCode::Invalid,
            "namespaces.net",
        ),
        (
            serde_json::json!({"image":"busybox","limits":{"memory":1}}),
            FailureCode::Invalid,
            "limits.memory",
        ),
    ] {
        let failure = create(&mut client, spec);
        assert_eq!(
            (failure.code, failure.field.as_deref()),
            (code, Some(field)),
            "{failure}"
        );
    }
    // A start that fails keeps the container, with the reason.
    let broken = client.create(r#"{"image":"busybox","command":["/no/such/program"]}"#);
    let failure = client
        .try_start(&broken.id, &journal)
        .expect_err("there is no such program");
    assert_eq!(failure.code, FailureCode::CommandNotFound, "{failure}");
    let kept = client.look(&broken.id);
    assert_eq!(kept.state, ContainerState::Created);
    assert_eq!(kept.error.as_deref(), Some(failure.message.as_str()));
    assert_eq!(kept.pid, None);
    wait_until("no monitor is left", || place.monitors() == 0);
    // A container that does not run.
    let spec = session(&named.id, &["true"], false);
    let failure = client
        .open(spec, 1, &place.journal("none"))
        .expect_err("it does not run");
    assert_eq!(failure.code, FailureCode::WrongState);
    let failure = client.failure(Request::Kill {
        container: named.id.clone(),
        signal: 9,
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let nobody = ContainerId::from_bytes([9; 32]);
    let failure = client.failure(Request::Remove {
        container: nobody,
        force: true,
    });
    assert_eq!(failure.code, FailureCode::ContainerNotFound);
    // Sessions.
    let idle = client.create(&place::spec(IDLE));
    client.start(&idle.id, &journal);
    for (command, code) in [
        ("/no/such/program", FailureCode::CommandNotFound),
        ("/etc/passwd", FailureCode::NotExecutable),
    ] {
        let failure = client
            .open(
                session(&idle.id, &[command], true),
                1,
                &place.journal("none"),
            )
            .expect_err(command);
        assert_eq!(failure.code, code, "{failure}");
    }
    let mut subset = session(&idle.id, &["true"], false);
    subset.join = Some(vec![porthole_protocol::namespace::NamespaceType::Net]);
    let failure = client
        .open(subset, 1, &place.journal("none"))
        .expect_err("the rest would be the host's");
    assert_eq!(failure.code, FailureCode::Forbidden);
    let failure = client.failure(Request::Kill {
        container: idle.id.clone(),
        signal: 65,
    });
    assert_eq!(failure.code, FailureCode::Invalid);
    assert!(client.sessions().is_empty());
    for id in [&named.id, &broken.id, &idle.id] {
        client.remove(id);
    }
    for id in [&named.id, &broken.id, &idle.id] {
        nothing_left(&place, id);
    }
}

#[test]
fn every_line_arrives_once_while_keepers_and_readers_come_and_go() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    let opened = client
        .open(
            session(&made.id, &["sh", "-c", "seq 1 300000"], false),
            1,
            &output,
        )
        .expect("opened");
    let target = Target::Session(opened.id.clone());
    for turn in 0..8 {
        let number = client.send(
            Request::Attach {
                target: target.clone(),
            },
            &[],
        );
        let (reply, mut descriptors) = client.answer(number);
        if reply != Reply::Attached {
            break;
        }
        let reader = place::Attached::new(
            porthole_sys::packet::Packet::from_fd(descriptors.remove(0)).expect("packet"),
        );
        let mut relay = reader.relay();
        for _ in 0..turn * 3 {
            let _ = relay.pump(Stream::Stdout, 2).expect("pump");
        }
        if turn % 3 == 1 {
            drop(client);
            place.kill();
            place.start();
            client = place.connect();
            wait_until("the session is adopted", || {
                client.sessions().iter().any(|s| s.id == opened.id)
            });
        }
        drop((relay, reader));
    }
    wait_until("everything is in the journal", || {
        output.marks().last() == Some(&Mark::End(0))
    });
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(output.text() == expected, "a byte is missing or doubled");
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn a_killed_monitor_costs_what_it_watched_and_no_more() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    let running = client.start(&made.id, &journal);
    let pid = running.pid.expect("pid").0;
    let open = |client: &mut place::Client, number: u8, place: &Place| {
        client
            .open(
                session(&made.id, &["sleep", "1000"], false),
                number,
                &place.journal(&format!("session{number}")),
            )
            .expect("opened")
    };
    let lost = open(&mut client, 1, &place);
    let other = open(&mut client, 2, &place);
    kill_process(place.monitor(&Target::Session(lost.id.clone())));
    wait_until("the session is lost", || {
        client.sessions().iter().any(|session| {
            session.id == lost.id
                && session
                    .exit
                    .as_ref()
                    .is_some_and(|exit| exit.kind == ExitKind::Lost)
        })
    });
    wait_until("its process is ended", || {
        !alive(lost.host_pid.expect("pid").0)
    });
    assert!(alive(pid) && alive(other.host_pid.expect("pid").0));
    // The container's own, while there is no keeper.
    drop(client);
    place.kill();
    kill_process(place.monitor(&Target::Init(made.id.clone())));
    place.start();
    let mut client = place.connect();
    wait_until("the container is lost", || {
        client.look(&made.id).state == ContainerState::Exited
    });
    let exit = client.look(&made.id).exit.expect("exit");
    assert_eq!((exit.kind, exit.code), (ExitKind::Lost, 137));
    wait_until("its processes are ended", || !alive(pid));
    wait_until("so is its session", || {
        client
            .sessions()
            .iter()
            .all(|session| session.exit.is_some())
    });
    // It can run again.
    client.start(&made.id, &journal);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn containers_end_by_themselves_by_a_signal_and_by_force() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    // By itself, while there is no keeper.
    let brief = client.create(&spec("sleep 0.4; exit 7"));
    client.start(&brief.id, &journal);
    drop(client);
    place.kill();
    let exit_file = place
        .path("root/keeper/containers")
        .join(brief.id.as_str())
        .join("exit.json");
    wait_until("it has ended", || exit_file.exists());
    place.start();
    let mut client = place.connect();
    wait_until("the new keeper knows", || {
        client.look(&brief.id).state == ContainerState::Exited
    });
    assert_eq!(client.look(&brief.id).exit.expect("exit").code, 7);
    wait_until("its monitor is let go", || place.monitors() == 0);
    // By force, since it does not heed SIGTERM.
    let stubborn = client.create(&spec("trap '' TERM; echo ready; while :; do sleep 1; done"));
    let output = place.journal("stubborn");
    client.start(&stubborn.id, &output);
    wait_until("it is ready", || output.text().contains("ready"));
    let stopped = client.container(Request::Stop {
        container: stubborn.id.clone(),
        timeout_ms: 100,
    });
    let exit = stopped.exit.expect("exit");
    assert_eq!((exit.code, exit.kind), (137, ExitKind::Ended));
    // To stop what has ended is no error.
    let again = client.container(Request::Stop {
        container: stubborn.id.clone(),
        timeout_ms: 100,
    });
    assert_eq!(again.state, ContainerState::Exited);
    // By a signal of its own choice, and started again while a reader keeps the last run's monitor.
    client.start(&stubborn.id, &output);
    let reader = client.attach(Target::Init(stubborn.id.clone()));
    client.container(Request::Kill {
        container: stubborn.id.clone(),
        signal: 9,
    });
    assert_eq!(reader.exited().expect("told").code, 137);
    let number = client.send(
        Request::Start {
            container: stubborn.id.clone(),
        },
        &output.descriptors(),
    );
    drop(reader);
    match client.answer(number).0 {
        Reply::Container(container) => assert_eq!(container.state, ContainerState::Running),
        other => panic!("{other:?}"),
    }
    for id in [&brief.id, &stubborn.id] {
        client.remove(id);
        nothing_left_of(&place, id);
    }
}

#[test]
fn after_a_restart_of_the_machine_nothing_is_taken_for_running() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    let pid = client.start(&made.id, &journal).pid.expect("pid").0;
    let opened = client
        .open(
            session(&made.id, &["sleep", "1000"], false),
            1,
            &place.journal("session"),
        )
        .expect("opened");
    drop(client);
    place.kill();
    // What a power cut would leave: records of another boot, dead sockets, a half-made container.
    for target in [
        Target::Session(opened.id.clone()),
        Target::Init(made.id.clone()),
    ] {
        kill_process(place.monitor(&target));
    }
    kill_process(pid);
    let keeper = place.path("root/keeper");
    for path in [
        keeper
            .join("containers")
            .join(made.id.as_str())
            .join("state.json"),
        keeper
            .join("sessions")
            .join(opened.id.as_str())
            .join("session.json"),
    ] {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        let text = std::fs::read_to_string(&path).expect("record");
        assert!(text.contains(boot.trim()));
        std::fs::write(&path, text.replace(boot.trim(), "another")).expect("write");
    }
    let half = keeper
        .join("containers")
        .join(ContainerId::from_bytes([7; 32]).as_str());
    std::fs::create_dir_all(half.join("upper/etc")).expect("half made");
    assert_eq!(place.monitors(), 2, "sockets at which nobody listens");
    place.start();
    let mut client = place.connect();
    let found = client.look(&made.id);
    assert_eq!(found.state, ContainerState::Exited);
    assert_eq!(found.exit.expect("exit").kind, ExitKind::Lost);
    let found = client.sessions().pop().expect("session");
    assert_eq!(found.exit.expect("exit").kind, ExitKind::Lost);
    assert_eq!(place.monitors(), 0);
    wait_until("the half-made container is deleted", || !half.exists());
    client.start(&made.id, &journal);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn a_second_reader_cuts_the_first_off() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let first = client.attach(Target::Init(made.id.clone()));
    let second = client.attach(Target::Init(made.id.clone()));
    assert_eq!(first.exited(), None, "it was hung up on");
    client.container(Request::Kill {
        container: made.id.clone(),
        signal: 15,
    });
    assert_eq!(second.exited().map(|exit| exit.code), Some(0));
    drop((first, second));
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn a_container_may_share_the_namespaces_of_another() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("one");
    let one = client.create(&spec(IDLE));
    let mut other: serde_json::Value = serde_json::from_str(&spec(IDLE)).expect("spec");
    other["namespaces"] = serde_json::json!({
        "user": format!("container:{}", one.name),
        "net": format!("container:{}", one.id.short()),
    });
    let other = client.create(&other.to_string());
    assert_eq!(other.uid_map, one.uid_map);
    let failure = client
        .try_start(&other.id, &place.journal("other"))
        .expect_err("the first does not run");
    assert_eq!(failure.code, FailureCode::WrongState, "{failure}");
    client.start(&one.id, &journal);
    let running = client.start(&other.id, &place.journal("other"));
    assert_eq!(running.namespaces.net.isolation, Isolation::Shared);
    assert_eq!(
        running.namespaces.net.shared_with,
        std::slice::from_ref(&one.id)
    );
    assert_eq!(running.namespaces.pid.isolation, Isolation::Own);
    let first = client.look(&one.id);
    assert_eq!(first.namespaces.net, {
        let mut expected = running.namespaces.net.clone();
        expected.shared_with = vec![other.id.clone()];
        expected
    });
    for id in [&other.id, &one.id] {
        client.remove(id);
    }
    nothing_left(&place, &one.id);
}

#[test]
fn the_observer_sees_containers_and_sessions() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let number = client.send(Request::Observe, &[]);
    let (reply, mut descriptors) = client.answer(number);
    assert_eq!(reply, Reply::Observing);
    let mut stream = std::os::unix::net::UnixStream::from(descriptors.remove(0));
    let opened = client
        .open(
            session(&made.id, &["sleep", "1000"], false),
            1,
            &place.journal("session"),
        )
        .expect("opened");
    let pid = opened.host_pid.expect("pid");
    let mut first = true;
    wait_until("the session's process is told of", || {
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("length");
        let mut json = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut json).expect("message");
        let update: Update = serde_json::from_slice(&json).expect("json");
        assert_eq!(update.full, std::mem::take(&mut first));
        update.processes.iter().any(|process| {
            process.host_pid == pid
                && process.container.as_ref() == Some(&made.id)
                && process.session.as_ref() == Some(&opened.id)
        })
    });
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn many_at_once_are_in_nobodys_way() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let made: Vec<_> = (0..12).map(|_| client.create(&spec("exit 3"))).collect();
    let journals: Vec<_> = made.iter().map(|m| place.journal(m.id.as_str())).collect();
    for _ in 0..3 {
        // All are asked for before the first has answered.
        let numbers: Vec<_> = made
            .iter()
            .zip(&journals)
            .map(|(made, journal)| {
                let request = Request::Start {
                    container: made.id.clone(),
                };
                client.send(request, &journal.descriptors())
            })
            .collect();
        for number in numbers {
            match client.answer_among(number).0 {
                Reply::Container(_) => {}
                other => panic!("{other:?}"),
            }
        }
        wait_until("all have ended", || {
            client
                .containers()
                .iter()
                .all(|c| c.state == ContainerState::Exited)
        });
    }
    for (made, journal) in made.iter().zip(&journals) {
        assert_eq!(client.look(&made.id).exit.expect("exit").code, 3);
        wait_until("every run is in its journal", || {
            journal.marks() == [Mark::Start, Mark::End(3)].repeat(3)
        });
    }
    let numbers: Vec<_> = made
        .iter()
        .map(|made| {
            let request = Request::Remove {
                container: made.id.clone(),
                force: true,
            };
            client.send(request, &[])
        })
        .collect();
    for number in numbers {
        assert_eq!(client.answer_among(number).0, Reply::Done);
    }
    for made in &made {
        nothing_left(&place, &made.id);
    }
}

#[test]
fn nothing_of_the_monitors_own_state_reaches_what_it_starts() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let look = "umask; grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l; env | grep -c PORTHOLE; echo ready; ";
    let made = client.create(&spec(&format!("{look}{IDLE}")));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    client
        .open(session(&made.id, &["sh", "-c", look], false), 1, &output)
        .expect("opened");
    for journal in [&journal, &output] {
        wait_until("it has looked", || journal.text().contains("ready"));
        let text = journal.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "0022");
        let [blocked, ignored] = [lines[1], lines[2]].map(|line| {
            let (_, mask) = line.split_once('\t').expect("a mask");
            u64::from_str_radix(mask, 16).expect("a mask")
        });
        // Three above 31 belong to the C library, which whoever started this test may have set.
        assert_eq!((blocked, ignored & 0x7fff_ffff), (0, 0), "{text}");
        // Standard input, output and error, and the directory that ls reads.
        assert_eq!(lines[3..6], ["4", "0", "ready"], "{text}");
    }
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}
