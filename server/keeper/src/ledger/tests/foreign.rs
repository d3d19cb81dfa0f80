//! Sessions in containers of other engines.

use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::keeper::{Failure, FailureCode, Policy, Request};
use porthole_protocol::monitor::ToMonitor;
use porthole_protocol::namespace::PerNamespace;
use porthole_protocol::session::{Foreign, SessionSpec, Target, Toolbox};

use super::super::Effect;
use super::{PLAIN, World, session_id, session_spec, session_started};

fn foreign(pid: i32) -> Foreign {
    Foreign {
        pid: HostPid(pid),
        start_ticks: 7,
        namespaces: PerNamespace::build(|kind| Some(NamespaceInode(900 + kind as u64))),
        env: None,
        accept: Vec::new(),
        toolbox: None,
    }
}

fn spec(id: &str, foreign: Foreign) -> SessionSpec {
    let id: ContainerId = id.parse().expect("an id");
    SessionSpec {
        foreign: Some(Box::new(foreign)),
        ..session_spec(&id)
    }
}

fn ask(world: &mut World, spec: SessionSpec) -> Result<(), Failure> {
    let (ticket, effects) = world.ask(request(spec));
    match effects.as_slice() {
        [Effect::Join(_)] => Ok(()),
        other => Err(super::failed(other, ticket)),
    }
}

fn request(spec: SessionSpec) -> Request {
    Request::OpenSession {
        session: session_id(1),
        spec: Box::new(spec),
        owner: "admin".parse().expect("owner"),
    }
}

fn open() -> Policy {
    Policy {
        join_foreign: true,
        ..Policy::default()
    }
}

#[test]
fn root_says_whether_other_engines_containers_are_joined() {
    let mut world = World::with(Policy::default());
    let failure = ask(&mut world, spec("web", foreign(500))).expect_err("refused");
    assert_eq!(failure.code, FailureCode::Forbidden);
    assert!(failure.message.contains("join_foreign"), "{failure}");
    let mut world = World::with(open());
    ask(&mut world, spec("web", foreign(500))).expect("control");
}

#[test]
fn what_is_no_container_of_others_is_refused() {
    let mut world = World::with(open());
    let own = world.create(PLAIN);
    world.run(&own.id, 100);
    let host = world.ledger.host;
    let cases = [
        (own.id.to_string(), foreign(500)),
        ("web".to_owned(), foreign(100)),
        ("web".to_owned(), foreign(1)),
        ("web".to_owned(), foreign(0)),
        ("web".to_owned(), foreign(-1)),
        (
            "web".to_owned(),
            Foreign {
                namespaces: host,
                ..foreign(500)
            },
        ),
    ];
    for (id, foreign) in cases {
        let failure = ask(&mut world, spec(&id, foreign.clone())).expect_err("refused");
        assert_eq!(failure.code, FailureCode::Forbidden, "{foreign:?}");
    }
    // The same number at another time is another process.
    let later = Foreign {
        start_ticks: 8,
        ..foreign(100)
    };
    ask(&mut world, spec("web", later)).expect("control");
}

#[test]
fn a_subset_and_a_toolbox_have_rules_of_their_own() {
    let mut world = World::with(open());
    let subset = SessionSpec {
        join: Some(vec![porthole_protocol::namespace::NamespaceType::Net]),
        ..spec("web", foreign(500))
    };
    let failure = ask(&mut world, subset.clone()).expect_err("refused");
    assert!(failure.message.contains("host_namespaces"), "{failure}");
    let with = |image: &str, join| SessionSpec {
        join,
        ..spec(
            "web",
            Foreign {
                toolbox: Some(Toolbox {
                    image: image.parse().expect("a name"),
                }),
                ..foreign(500)
            },
        )
    };
    let failure = ask(&mut world, with("none", None)).expect_err("refused");
    assert_eq!(failure.code, FailureCode::ImageNotFound);
    let failure = ask(&mut world, with("busybox", subset.join.clone())).expect_err("refused");
    assert_eq!(failure.field.as_deref(), Some("join"));
    ask(&mut world, with("busybox", None)).expect("control");
    let mut world = World::with(Policy {
        host_namespaces: true,
        ..open()
    });
    ask(&mut world, subset).expect("control");
}

#[test]
fn a_session_goes_on_although_no_container_of_ours_runs() {
    let mut world = World::with(open());
    ask(&mut world, spec("web", foreign(500))).expect("asked");
    let id: ContainerId = "web".parse().expect("an id");
    let target = Target::Session(session_id(1));
    let effects = world.say(&target, session_started(&id, 1, 500));
    let end = Effect::Send(target, ToMonitor::End);
    assert!(!effects.contains(&end), "{effects:?}");
    let stored = world.ledger.stored_session(&session_id(1)).expect("kept");
    assert!(stored.foreign && world.ledger.is_foreign(&session_id(1)));
}
