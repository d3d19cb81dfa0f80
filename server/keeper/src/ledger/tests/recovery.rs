//! What a keeper makes of what it finds.

use super::*;

fn found(world: &mut World, life: Life) -> Found {
    let id = world.create(PLAIN).id;
    let (config, _) = world.ledger.stored(&id).expect("stored");
    Found {
        config: config.clone(),
        state: Some(State {
            life,
            ..State::default()
        }),
        monitor: false,
        exit: None,
        failure: None,
        frozen: false,
    }
}

fn running(boot: &str) -> Life {
    Life::Running(crate::ledger::Run {
        boot: boot.to_owned(),
        host_pid: HostPid(100),
        start_ticks: 7,
        namespaces: NamespaceSet::default(),
        paused: false,
    })
}

fn recovered(found: Found) -> (Container, Vec<Effect>) {
    let mut world = World::new();
    let id = found.config.id.clone();
    let now = world.now();
    let effects = world.ledger.recover(found, now);
    (world.look(&id), effects)
}

#[test]
fn a_container_is_recovered_as_what_it_has_become() {
    let mut world = World::new();
    // Its monitor lives: nothing is changed until that has spoken.
    let mut adopted = found(&mut world, running("boot"));
    adopted.monitor = true;
    let (container, effects) = recovered(adopted);
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!(effects, []);
    // Its monitor has written how it ended, and was lost after that.
    let mut ended = found(&mut world, running("boot"));
    ended.exit = Some(exit(3));
    let (container, effects) = recovered(ended);
    assert_eq!(container.exit.map(|exit| exit.code), Some(3));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // Its monitor was lost.
    let (container, effects) = {
        let lost = found(&mut world, running("boot"));
        recovered(lost)
    };
    assert_eq!(container.exit.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // The machine was restarted: the numbers mean nothing, so nobody is killed by them.
    let mut rebooted = found(&mut world, running("earlier"));
    rebooted.monitor = true;
    let (container, effects) = recovered(rebooted);
    assert_eq!(container.exit.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // It was being started.
    for boot in ["boot", "earlier"] {
        let boot = boot.to_owned();
        let (container, _) = {
            let starting = found(&mut world, Life::Starting { boot });
            recovered(starting)
        };
        assert_eq!(container.state, ContainerState::Created);
        assert!(container.error.is_some());
    }
    let mut broken = found(
        &mut world,
        Life::Starting {
            boot: "boot".to_owned(),
        },
    );
    broken.failure = Some(Failure::new(
        FailureCode::CommandNotFound,
        "no such program",
    ));
    let (container, _) = recovered(broken);
    assert_eq!(container.error.as_deref(), Some("no such program"));
    // A record that a power cut has destroyed.
    let mut unknown = found(&mut world, Life::Exited);
    unknown.state = None;
    let (container, _) = recovered(unknown);
    assert_eq!(container.state, ContainerState::Created);
}

#[test]
fn a_monitor_that_worked_on_without_a_keeper_tells_what_happened() {
    let mut old = World::new();
    let mut starting = found(
        &mut old,
        Life::Starting {
            boot: "boot".to_owned(),
        },
    );
    starting.monitor = true;
    let id = starting.config.id.clone();
    let mut world = World::new();
    let now = world.now();
    world.ledger.recover(starting, now);
    let FromMonitor::Started(started) = started(100) else {
        unreachable!()
    };
    let effects = world.say(
        &init(&id),
        FromMonitor::Hello {
            version: 1,
            target: init(&id),
            started: Some(started),
            exit: Some(exit(4)),
        },
    );
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::Release)));
    let container = world.look(&id);
    assert_eq!(container.state, ContainerState::Exited);
    assert_eq!(container.exit.map(|exit| exit.code), Some(4));
    assert!(container.started_at.is_some());
    // A session of which no record speaks, since its keeper was killed while it was opened.
    world.gone(&init(&id), None);
    world.run(&id, 101);
    world.ledger.recover_session(
        FoundSession {
            id: session_id(1),
            stored: None,
            monitor: true,
            exit: None,
        },
        now,
    );
    world.ledger.recover_opening(&session_id(1), &id, now);
    let target = Target::Session(session_id(1));
    let effects = world.say(&target, session_started(&id, 1, 5));
    assert!(effects.contains(&Effect::SaveSession(session_id(1))));
    assert_eq!(world.ledger.container_of(&session_id(1)), Some(&id));
}

#[test]
fn a_session_is_recovered_as_what_it_has_become() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let stored = |number: u8, boot: &str| StoredSession {
        foreign: false,
        init: None,
        boot: boot.to_owned(),
        session: session(&id, number, 1),
    };
    let mut recover = |number: u8, boot: &str, monitor: bool, exit: Option<Exit>| {
        let now = world.now();
        let effects = world.ledger.recover_session(
            FoundSession {
                id: session_id(number),
                stored: Some(stored(number, boot)),
                monitor,
                exit,
            },
            now,
        );
        let stored = world.ledger.stored_session(&session_id(number));
        (stored.and_then(|s| s.session.exit.clone()), effects)
    };
    assert_eq!(recover(1, "boot", true, None), (None, vec![]));
    assert_eq!(recover(2, "boot", false, Some(exit(5))).0, Some(exit(5)));
    let (lost, effects) = recover(3, "boot", false, None);
    assert_eq!(lost.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(effects.contains(&Effect::Kill(Target::Session(session_id(3)))));
    let (lost, effects) = recover(4, "earlier", false, None);
    assert_eq!(lost.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // Of a container that is gone nothing is kept, nor of one that never was.
    let mut other = World::new();
    let now = other.now();
    for (stored, number) in [(Some(stored(5, "boot")), 5), (None, 6)] {
        let effects = other.ledger.recover_session(
            FoundSession {
                id: session_id(number),
                stored,
                monitor: false,
                exit: None,
            },
            now,
        );
        assert_eq!(effects.last(), Some(&Effect::Forget(session_id(number))));
    }
}

#[test]
fn a_monitor_is_believed_where_the_record_could_not_be_written() {
    for (life, ended, expected) in [
        (Life::Created, false, ContainerState::Running),
        (Life::Exited, false, ContainerState::Running),
        (Life::Created, true, ContainerState::Exited),
        (Life::Exited, true, ContainerState::Exited),
    ] {
        let mut old = World::new();
        let mut unwritten = found(&mut old, life);
        unwritten.monitor = true;
        let id = unwritten.config.id.clone();
        let mut world = World::new();
        let now = world.now();
        world.ledger.recover(unwritten, now);
        let FromMonitor::Started(started) = started(100) else {
            unreachable!()
        };
        world.say(
            &init(&id),
            FromMonitor::Hello {
                version: 1,
                target: init(&id),
                started: Some(started),
                exit: ended.then(|| exit(4)),
            },
        );
        assert_eq!(world.look(&id).state, expected);
    }
}

#[test]
fn a_policy_that_has_become_stricter_holds_where_nobody_asks_for_a_start() {
    let allowed = || {
        World::with(Policy {
            host_namespaces: true,
            ..Policy::default()
        })
    };
    let spec = r#"{"image":"busybox","restart":"always","namespaces":{"net":"host"}}"#;
    let mut old = allowed();
    let id = old.create(spec).id;
    let (config, _) = old.ledger.stored(&id).expect("stored");
    for (mut world, starts) in [(allowed(), true), (World::new(), false)] {
        let found = Found {
            config: config.clone(),
            state: Some(State {
                life: Life::Exited,
                boot: "boot".to_owned(),
                started_at: Some(Timestamp(1)),
                backoff_ms: 100,
                restart_at: Some(Timestamp(world.ms + 100)),
                ..State::default()
            }),
            monitor: false,
            exit: None,
            failure: None,
            frozen: false,
        };
        let now = world.now();
        world.ledger.recover(found, now);
        let effects = world.later(100);
        let launch = Effect::Launch(id.clone(), Starter::Policy);
        assert_eq!(effects.contains(&launch), starts, "{effects:?}");
        let error = world.look(&id).error.unwrap_or_default();
        assert_eq!(error.contains("root's policy"), !starts, "{error}");
    }
}

#[test]
fn what_cannot_be_read_keeps_its_ids() {
    let mut world = World::new();
    world.ledger.leave_alone(super::super::Aside {
        id: ContainerId::from_bytes([1; 32]),
        first_id: Some(7_000_000),
        network: None,
    });
    assert_eq!(world.ledger.used_ids(), [IdRange(0, 7_000_000, 65_536)]);
}
