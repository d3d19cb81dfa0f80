//! What engines are asked: a closed list, where root allows it.

use super::*;

#[test]
fn every_verb_does_what_it_says() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&format!("{}\nmanage = true", docker_at(&docker)));
    let mut broker = Broker::follow(&socket(&porthole));
    broker.answers(0);
    assert!(broker.hello.manage);
    let id = docker.run(
        &["--name=one"],
        &[
            "sh",
            "-c",
            "trap 'exit 7' USR1; while :; do sleep 0.1; done",
        ],
    );
    broker.wait("the container", |broker| broker.container(&id).map(drop));
    let timeout = |seconds: u32| Timeout::try_from(seconds).expect("a timeout");
    let state = |broker: &Broker| {
        // What an answer says has been told before it.
        let told = broker.container(&id).expect("told").state;
        assert_eq!(told.name(), inspect(&docker, &id)["State"]["Status"]);
        told
    };
    broker.act(0, &id, Verb::Pause).expect("paused");
    assert_eq!(state(&broker), RunState::Paused);
    let why = broker
        .act(0, &id, Verb::Pause)
        .expect_err("it is paused already");
    assert_eq!(why.code, FailureCode::WrongState);
    assert!(why.message.contains("already paused"), "{why:?}");
    broker.act(0, &id, Verb::Unpause).expect("unpaused");
    assert_eq!(state(&broker), RunState::Running);
    let before = docker.init(&id);
    broker
        .act(
            0,
            &id,
            Verb::Restart {
                timeout: timeout(0),
            },
        )
        .expect("restarted");
    assert_eq!(state(&broker), RunState::Running);
    assert_ne!(docker.init(&id), before);
    let usr1 = Number::try_from(10).expect("a signal");
    broker
        .act(0, &id, Verb::Kill { signal: usr1 })
        .expect("killed");
    broker.wait("its own end", |broker| {
        (broker.container(&id)?.exit_code == Some(7)).then_some(())
    });
    broker.act(0, &id, Verb::Start).expect("started");
    assert_eq!(state(&broker), RunState::Running);
    broker.act(0, &id, Verb::Start).expect("it runs already");
    let why = broker
        .act(0, &id, Verb::Remove { force: false })
        .expect_err("it runs");
    assert_eq!(why.code, FailureCode::WrongState);
    broker
        .act(
            0,
            &id,
            Verb::Stop {
                timeout: timeout(0),
            },
        )
        .expect("stopped");
    assert_eq!(state(&broker), RunState::Exited);
    broker
        .act(0, &id, Verb::Remove { force: false })
        .expect("removed");
    assert!(broker.container(&id).is_none());
    let forced = docker.run(&[], &["sleep", "1000"]);
    broker.wait("another", |broker| broker.container(&forced).map(drop));
    broker
        .act(0, &forced, Verb::Remove { force: true })
        .expect("removed");
    assert_eq!(docker.docker(&["ps", "--all", "--quiet"]), "");
    // What no engine has named reaches none.
    for (endpoint, id) in [(0, id.as_str()), (0, "one"), (9, forced.as_str())] {
        let why = broker
            .act(endpoint, id, Verb::Start)
            .expect_err("it is gone");
        assert_eq!(why.code, FailureCode::NotFound);
    }
}

#[test]
fn looking_is_not_managing_and_nothing_else_can_be_asked() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&docker_at(&docker));
    let at = socket(&porthole);
    let mut broker = Broker::follow(&at);
    broker.answers(0);
    let id = docker.run(&[], &["sleep", "1000"]);
    broker.wait("the container", |broker| broker.container(&id).map(drop));
    let all = [
        Verb::Start,
        Verb::Pause,
        Verb::Unpause,
        Verb::Remove { force: true },
        Verb::Kill {
            signal: Number::try_from(9).expect("a signal"),
        },
        Verb::Stop {
            timeout: Timeout::try_from(0).expect("a timeout"),
        },
        Verb::Restart {
            timeout: Timeout::try_from(0).expect("a timeout"),
        },
    ];
    for verb in all {
        let why = broker.act(0, &id, verb).expect_err("refused");
        assert_eq!(why.code, FailureCode::Forbidden, "{verb:?}");
        assert!(why.message.contains("manage = true"), "{why:?}");
    }
    assert_eq!(inspect(&docker, &id)["State"]["Status"], "running");

    let follow = br#"{"follow":{"version":1}}"#.as_slice();
    let ask = |verb: &str| {
        format!(r#"{{"id":1,"container":{{"endpoint":0,"id":"{id}"}},"verb":{verb}}}"#).into_bytes()
    };
    let hung_up = |opening: &[u8], then: Option<&[u8]>| {
        let mut line = Line::connect(&at);
        let _ = line.send(opening);
        if let Some(then) = then {
            let _ = line.send(then);
        }
        let until = Instant::now() + PATIENCE / 10;
        while Instant::now() < until {
            match line.receive(Duration::from_millis(500)) {
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        false
    };
    let good = ask("\"start\"");
    assert!(
        !hung_up(follow, Some(&good)),
        "control: refused by an answer"
    );
    for verb in [
        "\"exec\"",
        r#"{"create":{}}"#,
        r#"{"stop":{"timeout":10,"signal":"KILL"}}"#,
    ] {
        assert!(hung_up(follow, Some(&ask(verb))), "{verb}");
    }
    for opening in [
        &b"GET /containers/json HTTP/1.1\r\n\r\n"[..],
        br#"{"follow":{"version":2}}"#,
        br#"{"exec":{"container":"x"}}"#,
        br#"{"logs":{"container":{"endpoint":0,"id":"../../info"},"part":{}}}"#,
    ] {
        assert!(
            hung_up(opening, None),
            "{}",
            String::from_utf8_lossy(opening)
        );
    }
    assert!(
        hung_up(follow, Some(&vec![b' '; 5000])),
        "longer than a request can be"
    );
    assert_eq!(
        Broker::follow(&at).containers,
        broker.containers,
        "others are not disturbed"
    );
}

#[test]
fn nothing_is_asked_unless_root_enables_it() {
    for policy in ["", "[engines]\ndocker = false\nmanage = true\n"] {
        let porthole = Instance::builder().with_policy(policy).start();
        assert!(!socket(&porthole).exists(), "{policy:?}");
        let roles: Vec<_> = host::children(porthole.serve_pid())
            .into_iter()
            .filter_map(|pid| host::arguments(pid).get(1).cloned())
            .collect();
        assert!(!roles.contains(&"engines".to_owned()), "{roles:?}");
        assert!(roles.contains(&"server".to_owned()), "control: {roles:?}");
    }
}
