//! Pausing, and changing what a container is.

use super::*;

fn pause(id: &ContainerId) -> Request {
    Request::Pause {
        container: id.clone(),
    }
}

fn unpause(id: &ContainerId) -> Request {
    Request::Unpause {
        container: id.clone(),
    }
}

fn paused() -> (World, ContainerId) {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (ticket, effects) = world.ask(pause(&id));
    assert_eq!(effects, [Effect::Freeze(id.clone())]);
    assert_eq!(world.look(&id).state, ContainerState::Running, "not yet");
    let effects = world.ledger.frozen(&id, Ok(()));
    assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    assert!(effects.contains(&Effect::Save(id.clone())));
    assert_eq!(world.look(&id).state, ContainerState::Paused);
    assert_eq!(world.ledger.next_deadline(), None);
    (world, id)
}

#[test]
fn a_container_is_paused_once_all_of_it_stands_still() {
    let (mut world, id) = paused();
    assert_eq!(world.refusal(pause(&id)).code, FailureCode::WrongState);
    // Nothing can be started in it.
    let (ticket, effects) = world.open(&id, 1);
    let failure = failed(&effects, ticket);
    assert_eq!(failure.code, FailureCode::WrongState);
    assert!(failure.message.contains("unpause"), "{failure}");
    let (ticket, effects) = world.ask(unpause(&id));
    assert!(effects.contains(&Effect::Thaw(id.clone())));
    assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    assert_eq!(world.look(&id).state, ContainerState::Running);
    assert_eq!(world.refusal(unpause(&id)).code, FailureCode::WrongState);
    world.opened(&id, 2);
}

#[test]
fn what_does_not_come_to_a_stand_goes_on() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (first, _) = world.ask(pause(&id));
    let (second, effects) = world.ask(pause(&id));
    assert_eq!(effects, [], "it is under way");
    let effects = world.later(2_000);
    assert!(effects.contains(&Effect::Thaw(id.clone())));
    for ticket in [first, second] {
        assert_eq!(failed(&effects, ticket).code, FailureCode::WrongState);
    }
    assert_eq!(world.look(&id).state, ContainerState::Running);
    // It comes to a stand too late, and is not paused by that.
    assert_eq!(world.ledger.frozen(&id, Ok(())), []);
}

#[test]
fn a_paused_container_can_be_ended() {
    let (mut world, id) = paused();
    let (ticket, effects) = world.ask(Request::Stop {
        container: id.clone(),
        timeout_ms: 5_000,
    });
    let term = Effect::Send(init(&id), ToMonitor::Signal { signal: 15 });
    let at = |effect: &Effect| effects.iter().position(|other| other == effect);
    assert!(at(&term) < at(&Effect::Thaw(id.clone())), "{effects:?}");
    assert!(at(&term).is_some());
    assert_eq!(world.look(&id).state, ContainerState::Running);
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(143)));
    assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    // By force, frozen as it is: the kernel kills what is frozen.
    let (mut world, id) = paused();
    let (_, effects) = world.ask(Request::Remove {
        container: id.clone(),
        force: true,
    });
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::End)));
    world.say(&init(&id), FromMonitor::Exited(exit(137)));
    assert!(world.gone(&init(&id), None).contains(&Effect::Unmake(id)));
}

#[test]
fn the_end_comes_before_the_pause() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (ticket, _) = world.ask(pause(&id));
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(0)));
    assert_eq!(failed(&effects, ticket).code, FailureCode::WrongState);
    world.gone(&init(&id), None);
    assert_eq!(world.ledger.next_deadline(), None);
    // What is being stopped is not paused.
    world.run(&id, 101);
    world.ask(Request::Stop {
        container: id.clone(),
        timeout_ms: 5_000,
    });
    assert_eq!(world.refusal(pause(&id)).code, FailureCode::WrongState);
}

fn change(id: &ContainerId, change: Change) -> Request {
    Request::Change {
        container: id.clone(),
        change,
    }
}

fn named(name: &str) -> Change {
    Change {
        name: Some(name.parse().expect("a name")),
        ..Change::default()
    }
}

#[test]
fn one_change_after_the_other_and_no_name_twice() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    let other = world.create(r#"{"image":"busybox","name":"other"}"#).id;
    let failure = world.refusal(change(&id, named("other")));
    assert_eq!(failure.code, FailureCode::NameInUse);
    let (ticket, effects) = world.ask(change(&id, named("web")));
    let [Effect::Configure(config, None)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((config.name.as_str(), &config.id), ("web", &id));
    assert_ne!(world.look(&id).name.as_str(), "web", "not on disk yet");
    // The name is taken from now on, and nothing else is changed meanwhile.
    let failure = world.refusal(change(&other, named("web")));
    assert_eq!(failure.code, FailureCode::NameInUse);
    let failure = world.refusal(change(&id, named("db")));
    assert_eq!(failure.code, FailureCode::WrongState);
    let (starter, effects) = world.start(&id);
    assert_eq!(effects, [], "it waits");
    let now = world.now();
    let effects = world.ledger.changed(&id, Ok(()), now);
    let Some(Reply::Container(container)) = reply(&effects, ticket) else {
        panic!("{effects:?}")
    };
    assert_eq!(container.name.as_str(), "web");
    assert!(effects.contains(&Effect::Launch(id.clone(), Starter::Asked(starter))));
    // A removal waits too.
    world.ask(change(&other, named("db")));
    let (_, effects) = world.ask(Request::Remove {
        container: other.clone(),
        force: false,
    });
    assert_eq!(effects, []);
    let full = Failure::new(FailureCode::Storage, "the disk is full");
    let effects = world.ledger.changed(&other, Err(full), now);
    assert_eq!(world.look(&id).name.as_str(), "web");
    assert!(effects.contains(&Effect::Unmake(other)), "{effects:?}");
}

#[test]
fn limits_stay_below_roots_ceilings() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let was = world.look(&id).spec.limits;
    let limits = |limits| Change {
        limits,
        ..Change::default()
    };
    let too_much = Limits {
        memory: Some(9 << 30),
        ..Limits::default()
    };
    let failure = world.refusal(change(&id, limits(too_much)));
    assert_eq!(failure.field.as_deref(), Some("limits.memory"));
    let less = Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    };
    let (_, effects) = world.ask(change(&id, limits(less)));
    let [Effect::Configure(config, Some(before))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*before, was);
    let now = Limits {
        memory: Some(64 << 20),
        ..was
    };
    assert_eq!(config.spec.limits, now, "the others stay");
    // What does not run is only written down.
    let idle = world.create(PLAIN).id;
    let (_, effects) = world.ask(change(&idle, limits(less)));
    assert!(matches!(effects.as_slice(), [Effect::Configure(_, None)]));
    // Nothing is done for nothing.
    let unchanged = Change::default();
    let third = world.create(PLAIN).id;
    let (ticket, effects) = world.ask(change(&third, unchanged));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Reply(to, Reply::Container(_))] if *to == ticket
    ));
}

#[test]
fn who_ends_it_while_it_comes_to_a_stand_is_not_forgotten() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (pausing, _) = world.ask(pause(&id));
    let (_, effects) = world.ask(Request::Remove {
        container: id.clone(),
        force: true,
    });
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::End)));
    assert!(effects.contains(&Effect::Thaw(id.clone())));
    assert_eq!(failed(&effects, pausing).code, FailureCode::WrongState);
    // The kernel has been faster.
    assert_eq!(world.ledger.frozen(&id, Ok(())), []);
    // Its monitor does nothing.
    assert_eq!(world.later(2_000), [Effect::Kill(init(&id))]);
}
