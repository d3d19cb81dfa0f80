//! Sessions, opened and ended.

use super::*;
use crate::ledger::ENDED_SESSIONS;

#[test]
fn a_session_that_opens_while_its_container_ends_is_ended() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.opened(&id, 1);
    let (_, effects) = world.open(&id, 2);
    assert!(matches!(effects.as_slice(), [Effect::Join(_)]));
    let end = |number| Effect::Send(Target::Session(session_id(number)), ToMonitor::End);
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(0)));
    assert!(effects.contains(&end(1)));
    assert!(!effects.contains(&end(2)), "nobody could hear it yet");
    let target = Target::Session(session_id(2));
    let effects = world.say(&target, session_started(&id, 2, 1));
    assert!(effects.contains(&end(2)));
}

#[test]
fn identifiers_of_sessions_are_new() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.opened(&id, 1);
    for taken in [
        session_id(1),
        id.as_str()[..32].parse().expect("half of the container's"),
    ] {
        let failure = world.refusal(Request::OpenSession {
            session: taken,
            spec: Box::new(session_spec(&id)),
            owner: "admin".parse().expect("owner"),
        });
        assert_eq!(failure.code, FailureCode::Invalid);
    }
    let mut spec = session_spec(&id);
    spec.size = Size { cols: 0, rows: 70 };
    let failure = world.refusal(Request::OpenSession {
        session: session_id(2),
        spec: Box::new(spec),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(failure.field.as_deref(), Some("cols"));
}

#[test]
fn of_ended_sessions_the_last_are_kept() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    for number in 0..=ENDED_SESSIONS {
        let number = u8::try_from(number).expect("few");
        let target = Target::Session(session_id(number));
        world.open(&id, number);
        world.say(&target, session_started(&id, number, u64::from(number)));
        world.say(&target, FromMonitor::Exited(exit(0)));
        let effects = world.gone(&target, None);
        let forgotten = effects.contains(&Effect::Forget(session_id(0)));
        assert_eq!(forgotten, usize::from(number) == ENDED_SESSIONS);
    }
    // Removing the container forgets the others.
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    world.gone(&init(&id), None);
    world.ask(Request::Remove {
        container: id.clone(),
        force: false,
    });
    let effects = world.ledger.removed(&id, Ok(()));
    let forgotten = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Forget(_)))
        .count();
    assert_eq!(forgotten, ENDED_SESSIONS);
}

#[test]
fn what_a_lost_monitor_has_just_started_is_killed() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (ticket, _) = world.open(&id, 1);
    let effects = world.gone(&Target::Session(session_id(1)), None);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Internal);
    // Nothing is known of it any more when that is done.
    assert_eq!(world.ledger.container_of(&session_id(1)), None);
    let kill = Effect::KillStray(session_id(1), Some(id.clone()));
    assert!(effects.contains(&kill), "{effects:?}");
    // Nor after a keeper that went with it.
    let found = FoundSession {
        id: session_id(2),
        stored: None,
        monitor: false,
        exit: None,
    };
    let now = world.now();
    let effects = world.ledger.recover_session(found, now);
    assert_eq!(
        effects,
        [
            Effect::KillStray(session_id(2), None),
            Effect::Forget(session_id(2))
        ]
    );
    assert_eq!(world.ledger.running(), [id]);
}
