//! A container's life, with and without a keeper.

use porthole_protocol::container::ContainerState;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::keeper::{FailureCode, Reply, Request};
use porthole_protocol::namespace::Isolation;
use porthole_protocol::session::{ExitKind, Target};

use crate::place::{IDLE, Place, alive, nothing_left, nothing_left_of, session, spec, wait_until};

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
    // A network alone may be shared, as a container that looks after another does.
    let mut beside: serde_json::Value = serde_json::from_str(&spec(IDLE)).expect("spec");
    beside["namespaces"] = serde_json::json!({"net": format!("container:{}", one.name)});
    let beside = client.create(&beside.to_string());
    assert_ne!(beside.uid_map, one.uid_map);
    let running = client.start(&beside.id, &place.journal("beside"));
    assert_eq!(running.namespaces.net.isolation, Isolation::Shared);
    for id in [&beside.id, &other.id, &one.id] {
        client.remove(id);
    }
    nothing_left(&place, &one.id);
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
