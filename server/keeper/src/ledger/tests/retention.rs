//! Ended sessions in containers of other engines that have gone.

use super::super::record::Init;
use super::super::retention::{KEPT, KEPT_MS};
use super::*;
use porthole_protocol::session::Foreign;

fn world() -> World {
    World::with(Policy {
        join_foreign: true,
        ..Policy::default()
    })
}

/// Opens a session in another engine's container with this first process.
fn open(world: &mut World, container: &str, number: u8, pid: i32) {
    let container: ContainerId = container.parse().expect("an id");
    let foreign = Foreign {
        pid: HostPid(pid),
        start_ticks: 7,
        namespaces: PerNamespace::build(|kind| Some(NamespaceInode(900 + kind as u64))),
        env: None,
        accept: Vec::new(),
        toolbox: None,
    };
    world.ask(Request::OpenSession {
        session: session_id(number),
        spec: Box::new(SessionSpec {
            foreign: Some(Box::new(foreign)),
            ..session_spec(&container)
        }),
        owner: "admin".parse().expect("owner"),
    });
    let target = Target::Session(session_id(number));
    world.say(&target, session_started(&container, number, number.into()));
}

/// The same, ended at the beginning of time.
fn ended(world: &mut World, container: &str, number: u8, pid: i32) {
    open(world, container, number, pid);
    let target = Target::Session(session_id(number));
    world.say(&target, FromMonitor::Exited(exit(0)));
    world.gone(&target, None);
}

fn forgotten(effects: &[Effect]) -> Vec<SessionId> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Tell(Event::SessionGone(id)) => Some(id.clone()),
        _ => None,
    });
    told.collect()
}

fn at(ms: u64) -> Now {
    Now {
        wall: Timestamp(ms),
        ms,
    }
}

#[test]
fn sessions_of_a_container_that_has_gone_are_kept_for_a_week() {
    let mut world = world();
    ended(&mut world, "web", 1, 500);
    ended(&mut world, "lasting", 2, 600);
    open(&mut world, "running", 3, 700);
    let lasts = |init: Init| init.pid.0 == 600;
    let effects = world.ledger.expire(lasts, at(KEPT_MS));
    assert!(effects.is_empty(), "not yet: {effects:?}");
    let effects = world.ledger.expire(lasts, at(KEPT_MS + 1));
    assert_eq!(forgotten(&effects), [session_id(1)]);
    assert!(effects.contains(&Effect::Forget(session_id(1))));
    // Control: when the other has gone too, nothing keeps its session. What runs is left alone.
    let effects = world.ledger.expire(|_| false, at(KEPT_MS + 1));
    assert_eq!(forgotten(&effects), [session_id(2)]);
}

#[test]
fn sessions_of_ones_own_containers_stay_with_them() {
    let mut world = world();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.opened(&id, 1);
    let target = Target::Session(session_id(1));
    world.say(&target, FromMonitor::Exited(exit(0)));
    world.gone(&target, None);
    let effects = world.ledger.expire(|_| false, at(10 * KEPT_MS));
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn of_a_container_that_has_gone_only_the_last_are_kept() {
    let mut world = world();
    for number in 0..25 {
        ended(&mut world, "web", number, 500);
        ended(&mut world, "lasting", number + 100, 600);
    }
    let effects = world.ledger.expire(|init| init.pid.0 == 600, at(1));
    let first: Vec<_> = (0..5).map(session_id).collect();
    assert_eq!(forgotten(&effects), first);
    assert_eq!(first.len(), 25 - KEPT);
}
