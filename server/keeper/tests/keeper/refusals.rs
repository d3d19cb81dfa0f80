//! What is refused, in words, and leaves nothing.

use std::collections::BTreeSet;

use porthole_protocol::container::ContainerState;
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{FailureCode, Request};

use crate::place::{self, IDLE, Place, nothing_left, session, wait_until};

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
fn a_keeper_that_can_open_no_more_says_so_and_works_on() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let keeper = place.keeper();
    let open = || -> BTreeSet<u64> {
        std::fs::read_dir(format!("/proc/{keeper}/fd"))
            .expect("descriptors")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    };
    // Once it has answered it holds nothing but the connection, and what its start has not let go of.
    assert!(client.containers().is_empty());
    let idle = open();
    let made = client.create(&place::spec(IDLE));
    let journal = place.journal("container");
    wait_until("what creating took is given back", || {
        open().is_subset(&idle)
    });
    let held = open();
    let free = (0..).find(|number| !held.contains(number));
    let limit = |current| {
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(1024),
        };
        prlimit(Pid::from_raw(keeper), Resource::Nofile, limit).expect("prlimit");
    };
    // Room for one of the two.
    limit(free.expect("a number") + 1);
    let failure = client
        .try_start(&made.id, &journal)
        .expect_err("they cannot be taken");
    assert_eq!(failure.code, FailureCode::Exhausted, "{failure}");
    assert!(failure.message.contains("descriptors"), "{failure}");
    assert_eq!(client.look(&made.id).state, ContainerState::Created);
    limit(1024);
    client.start(&made.id, &journal);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}
