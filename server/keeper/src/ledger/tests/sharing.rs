//! Namespaces of the machine's, of other containers', and who may use them.

use super::*;

#[test]
fn the_host_is_reached_by_no_detour() {
    let mut world = World::new();
    for (spec, field) in [
        (
            r#"{"image":"busybox","namespaces":{"net":"host"}}"#,
            "namespaces.net",
        ),
        (
            r#"{"image":"busybox","namespaces":{"user":"host"}}"#,
            "namespaces.user",
        ),
    ] {
        let (ticket, effects) = world.try_create(spec);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Forbidden);
        assert_eq!(failure.field.as_deref(), Some(field));
        assert!(failure.message.contains("policy.toml"), "{failure}");
    }
    let (ticket, effects) = world.try_create(r#"{"image":"busybox","namespaces":{"time":"host"}}"#);
    assert_eq!(
        reply(&effects, ticket),
        None,
        "the host's clocks are no secret"
    );
    // Through a container that was made while the policy allowed it.
    let mut world = World::with(Policy {
        host_namespaces: true,
        ..Policy::default()
    });
    let open = world.create(r#"{"image":"busybox","name":"open","namespaces":{"net":"host"}}"#);
    world.run(&open.id, 100);
    world.ledger.policy = Policy::default();
    let (ticket, effects) =
        world.try_create(r#"{"image":"busybox","namespaces":{"net":"container:open"}}"#);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Forbidden);
    let mut spec = session_spec(&open.id);
    spec.join = Some(vec![NamespaceType::Net]);
    let failure = world.refusal(Request::OpenSession {
        session: session_id(1),
        spec: Box::new(spec.clone()),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(failure.code, FailureCode::Forbidden);
    world.ledger.policy.host_namespaces = true;
    let (_, effects) = world.ask(Request::OpenSession {
        session: session_id(1),
        spec: Box::new(spec),
        owner: "admin".parse().expect("owner"),
    });
    assert!(matches!(effects.as_slice(), [Effect::Join(_)]), "control");
}

#[test]
fn a_stricter_policy_is_in_force_for_what_is_there() {
    let open = || Policy {
        host_namespaces: true,
        ..Policy::default()
    };
    let mut world = World::with(open());
    let plain = world.create(PLAIN);
    let first = world.create(r#"{"image":"busybox","name":"a","namespaces":{"ipc":"host"}}"#);
    let second =
        world.create(r#"{"image":"busybox","name":"b","namespaces":{"ipc":"container:a"}}"#);
    let third = world.create(r#"{"image":"busybox","namespaces":{"ipc":"container:b"}}"#);
    let all = [&plain.id, &first.id, &second.id, &third.id];
    for (id, pid) in all.into_iter().zip(100..) {
        world.run(id, pid);
    }
    for (number, (id, allowed)) in all.into_iter().zip([true, false, false, false]).enumerate() {
        let number = u8::try_from(number).expect("a few");
        world.ledger.policy = Policy::default();
        let (ticket, effects) = world.open(id, number);
        if allowed {
            assert!(matches!(effects.as_slice(), [Effect::Join(_)]), "control");
            continue;
        }
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
        assert_eq!(failure.field.as_deref(), Some("namespaces.ipc"));
        world.ledger.policy = open();
        let (_, effects) = world.open(id, number);
        assert!(matches!(effects.as_slice(), [Effect::Join(_)]), "control");
    }
    // Where one on the way is gone, the kernel's number says whose it is.
    world.ledger.policy = Policy::default();
    world.ledger.containers.remove(&first.id);
    let (_, effects) = world.open(&third.id, 11);
    assert!(
        matches!(effects.as_slice(), [Effect::Join(_)]),
        "none of the host's: {effects:?}"
    );
    world.ledger.host.ipc = world
        .ledger
        .run(&second.id)
        .expect("it runs")
        .namespaces
        .ipc;
    let (ticket, effects) = world.open(&third.id, 12);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Forbidden);
    // A start, by the same rule.
    let mut world = World::with(open());
    let net = world.create(r#"{"image":"busybox","name":"a","namespaces":{"net":"host"}}"#);
    let through = world.create(r#"{"image":"busybox","namespaces":{"net":"container:a"}}"#);
    assert_eq!(
        through.spec.namespace(NamespaceType::Net),
        NamespaceChoice::Host,
        "it is told as what it is"
    );
    for id in [&net.id, &through.id] {
        world.ledger.policy = Policy::default();
        let (ticket, effects) = world.start(id);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Forbidden);
        assert!(failure.message.contains("policy.toml"), "{failure}");
        world.ledger.policy = open();
        world.run(id, 100);
    }
}

#[test]
fn processes_are_shared_with_users_only() {
    let mut world = World::new();
    world.create(r#"{"image":"busybox","name":"a"}"#);
    world.create(r#"{"image":"busybox","name":"b"}"#);
    for refused in [
        r#"{"image":"busybox","namespaces":{"pid":"container:a"}}"#,
        r#"{"image":"busybox","namespaces":{"pid":"container:a","user":"container:b"}}"#,
    ] {
        let (ticket, effects) = world.try_create(refused);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Invalid);
        assert_eq!(failure.field.as_deref(), Some("namespaces.pid"));
        assert!(failure.message.contains("user"), "{failure}");
    }
    for allowed in [
        r#"{"image":"busybox","namespaces":{"pid":"container:a","user":"container:a"}}"#,
        r#"{"image":"busybox","namespaces":{"net":"container:a"}}"#,
    ] {
        world.create(allowed);
    }
}

#[test]
fn who_shares_a_namespace_is_told_when_that_changes() {
    let mut world = World::new();
    let one = world.create(r#"{"image":"busybox","name":"one"}"#);
    let other = world.create(
        r#"{"image":"busybox","namespaces":{"net":"container:one","user":"container:one"}}"#,
    );
    assert_eq!(other.uid_map, one.uid_map);
    assert_eq!(other.namespaces.net.isolation, Isolation::Shared);
    let failure = world.refusal(Request::Start {
        container: other.id.clone(),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    world.run(&one.id, 100);
    world.start(&other.id);
    let FromMonitor::Started(mut second) = started(101) else {
        unreachable!()
    };
    let FromMonitor::Started(first) = started(100) else {
        unreachable!()
    };
    second.namespaces.net = first.namespaces.net;
    let effects = world.say(&init(&other.id), FromMonitor::Started(second));
    let told: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell(Event::Container(container)) => Some(container),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2);
    let first = told.iter().find(|c| c.id == one.id).expect("the first");
    assert_eq!(first.namespaces.net.isolation, Isolation::Shared);
    assert_eq!(
        first.namespaces.net.shared_with,
        std::slice::from_ref(&other.id)
    );
    assert_eq!(first.namespaces.uts.isolation, Isolation::Own);
    let effects = world.say(&init(&other.id), FromMonitor::Exited(exit(0)));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Tell(Event::Container(c))
            if c.id == one.id && c.namespaces.net.isolation == Isolation::Own
    )));
}
