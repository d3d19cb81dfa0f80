//! Starting, stopping and removing.

use super::*;

#[test]
fn stopping_gets_harder_and_gives_up_in_the_end() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (ticket, effects) = world.ask(Request::Stop {
        container: id.clone(),
        timeout_ms: 5_000,
    });
    let target = init(&id);
    assert_eq!(
        effects,
        [
            Effect::Save(id.clone()),
            Effect::Send(target.clone(), ToMonitor::Signal { signal: 15 })
        ]
    );
    assert_eq!(world.later(4_999), []);
    assert_eq!(
        world.later(1),
        [Effect::Send(target.clone(), ToMonitor::End)]
    );
    assert_eq!(world.later(1_999), []);
    assert_eq!(world.later(1), [Effect::Kill(target.clone())]);
    let effects = world.later(10_000);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Internal);
    assert_eq!(world.ledger.next_deadline(), None);
    // When it ends after all, that is noticed, and nobody is answered twice.
    let effects = world.say(&target, FromMonitor::Exited(exit(137)));
    assert_eq!(reply(&effects, ticket), None);
    assert_eq!(world.look(&id).state, ContainerState::Exited);
}

#[test]
fn who_stops_again_may_shorten_the_wait_but_not_lengthen_it() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let stop = |timeout_ms| Request::Stop {
        container: id.clone(),
        timeout_ms,
    };
    let (first, _) = world.ask(stop(5_000));
    let (second, _) = world.ask(stop(u64::MAX));
    assert_eq!(world.ledger.next_deadline(), Some(world.ms + 5_000));
    let (third, effects) = world.ask(stop(0));
    assert_eq!(effects, [Effect::Send(init(&id), ToMonitor::End)]);
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(0)));
    for ticket in [first, second, third] {
        assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    }
}

#[test]
fn a_start_that_takes_too_long_is_given_up() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    let (ticket, _) = world.start(&id);
    let failure = world.refusal(Request::Start {
        container: id.clone(),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let effects = world.later(30_000);
    assert_eq!(
        effects,
        [Effect::KillMonitor(init(&id)), Effect::Kill(init(&id))]
    );
    let effects = world.gone(&init(&id), None);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Internal);
    let container = world.look(&id);
    assert_eq!(container.state, ContainerState::Created);
    assert!(container.error.is_some());
    world.run(&id, 101);
    assert_eq!(world.look(&id).error, None);
}

#[test]
fn a_container_that_is_being_started_can_be_removed_by_force() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    let (starter, _) = world.start(&id);
    let failure = world.refusal(Request::Remove {
        container: id.clone(),
        force: false,
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let (remover, effects) = world.ask(Request::Remove {
        container: id.clone(),
        force: true,
    });
    assert_eq!(effects, []);
    let effects = world.say(&init(&id), started(100));
    assert!(matches!(
        reply(&effects, starter),
        Some(Reply::Container(_))
    ));
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::End)));
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(137)));
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::Release)));
    assert!(!effects.contains(&Effect::Unmake(id.clone())), "not yet");
    assert_eq!(world.gone(&init(&id), None), [Effect::Unmake(id.clone())]);
    // In the meantime it can neither be started nor hides that it goes.
    let failure = world.refusal(Request::Start {
        container: id.clone(),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let effects = world.ledger.removed(&id, Ok(()));
    assert_eq!(
        effects,
        [
            Effect::Tell(Event::ContainerGone(id.clone())),
            Effect::Reply(remover, Reply::Done)
        ]
    );
}

#[test]
fn one_of_which_nothing_could_be_deleted_is_there_as_before() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    let remove = || Request::Remove {
        container: id.clone(),
        force: false,
    };
    let (remover, effects) = world.ask(remove());
    assert_eq!(effects, [Effect::Unmake(id.clone())]);
    let failure = Failure::new(FailureCode::Exhausted, "no process can be started");
    let now = world.now();
    let effects = world.ledger.not_removed(&id, &failure, now);
    assert_eq!(effects, [Effect::Reply(remover, Reply::Failed(failure))]);
    assert_eq!(
        world.ledger.next_deadline(),
        None,
        "that is somebody's to do"
    );
    // It can be removed later, which answers whoever asks then.
    let (remover, effects) = world.ask(remove());
    assert_eq!(effects, [Effect::Unmake(id.clone())]);
    let effects = world.ledger.removed(&id, Ok(()));
    assert!(effects.contains(&Effect::Reply(remover, Reply::Done)));
}

#[test]
fn a_start_waits_for_the_last_runs_monitor() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    let (ticket, effects) = world.start(&id);
    assert_eq!(effects, [], "its output is being put away");
    let effects = world.gone(&init(&id), Some(exit(0)));
    assert!(effects.contains(&Effect::Launch(id.clone(), Starter::Asked(ticket))));
    // Removal goes before a start that waits.
    world.say(&init(&id), started(101));
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    let (start, _) = world.start(&id);
    let (_, effects) = world.ask(Request::Remove {
        container: id.clone(),
        force: false,
    });
    assert_eq!(effects, []);
    let effects = world.gone(&init(&id), None);
    assert!(effects.contains(&Effect::Unmake(id.clone())));
    assert_eq!(failed(&effects, start).code, FailureCode::WrongState);
}

#[test]
fn one_that_goes_when_it_ends_is_tried_again_where_it_could_not() {
    let mut world = World::new();
    let id = world.create(r#"{"image":"busybox","auto_remove":true}"#).id;
    world.run(&id, 100);
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    let unmake = [Effect::Unmake(id.clone())];
    assert_eq!(world.gone(&init(&id), Some(exit(0))), unmake);
    let failure = Failure::new(FailureCode::Exhausted, "no process can be started");
    for _ in 0..3 {
        let now = world.now();
        assert_eq!(world.ledger.not_removed(&id, &failure, now), []);
        assert_eq!(world.look(&id).state, ContainerState::Exited);
        assert_eq!(world.later(59_999), []);
        assert_eq!(world.later(1), unmake);
    }
    // One that somebody starts meanwhile runs.
    let now = world.now();
    world.ledger.not_removed(&id, &failure, now);
    world.run(&id, 101);
    assert_eq!(world.later(60_000), []);
}
