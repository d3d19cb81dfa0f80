//! What may be created, and what it becomes.

use super::*;

#[test]
fn defaults_are_filled_in_and_names_made_up() {
    let mut world = World::new();
    let container = world.create(PLAIN);
    let spec = &container.spec;
    assert_eq!(spec.name.as_ref(), Some(&container.name));
    assert_eq!(
        spec.hostname.as_ref().map(ToString::to_string),
        Some(container.name.to_string())
    );
    assert_eq!(spec.limits.memory, Some(512 * 1024 * 1024));
    assert_eq!(spec.limits.pids, Some(256));
    assert_eq!(spec.command[0].as_str(), "sh");
    assert_eq!(spec.namespace(NamespaceType::Pid), NamespaceChoice::Own);
    assert_eq!(spec.namespace(NamespaceType::Time), NamespaceChoice::Host);
    let named = world.create(r#"{"image":"busybox","name":"with_underscore"}"#);
    assert_eq!(
        named.spec.hostname.map(|name| name.to_string()),
        Some(named.id.short().to_owned()),
        "a name that no host can have"
    );
}

#[test]
fn a_name_is_taken_while_its_container_is_made_and_free_when_that_failed() {
    let mut world = World::new();
    let spec = r#"{"image":"busybox","name":"one"}"#;
    let (first, effects) = world.try_create(spec);
    let [Effect::Make(config)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let (second, effects) = world.try_create(spec);
    assert_eq!(failed(&effects, second).code, FailureCode::NameInUse);
    // Nobody is told of it, and nobody can refer to it.
    assert_eq!(world.everything().len(), 3, "two images and the end");
    let failure = world.refusal(Request::Start {
        container: config.id.clone(),
    });
    assert_eq!(failure.code, FailureCode::ContainerNotFound);
    let full = Failure::new(FailureCode::Storage, "full");
    let effects = world.ledger.not_made(&config.id, full.clone());
    assert_eq!(effects, [Effect::Reply(first, Reply::Failed(full))]);
    world.create(spec);
}

#[test]
fn no_container_is_given_more_than_root_allows() {
    let mut world = World::new();
    for (limits, field, ceiling) in [
        (r#"{"memory":8589934593}"#, "limits.memory", "8192 MiB"),
        (r#"{"swap":8589934593}"#, "limits.swap", "8192 MiB of swap"),
        (r#"{"cpus":4.5}"#, "limits.cpus", "4 cores"),
        (r#"{"pids":4097}"#, "limits.pids", "4096 processes"),
    ] {
        let spec = format!(r#"{{"image":"busybox","limits":{limits}}}"#);
        let (ticket, effects) = world.try_create(&spec);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Invalid);
        assert_eq!(failure.field.as_deref(), Some(field));
        assert!(failure.message.contains(ceiling), "{failure}");
    }
    world.create(r#"{"image":"busybox","limits":{"memory":8589934592,"cpus":4.0,"pids":4096}}"#);
    // Where the ceiling is lower than what a container has by default, that is less.
    world.ledger.ceilings = Ceilings {
        memory: 64 << 20,
        cpus: 0.5,
        pids: 32,
    };
    let limits = world.create(PLAIN).spec.limits;
    assert_eq!(
        (limits.memory, limits.cpus, limits.pids),
        (Some(64 << 20), Some(0.5), Some(32))
    );
}

#[test]
fn images_that_are_not_there_are_refused() {
    let mut world = World::new();
    let (ticket, effects) = world.try_create(r#"{"image":"nothing"}"#);
    let failure = failed(&effects, ticket);
    assert_eq!(failure.code, FailureCode::ImageNotFound);
    assert!(failure.message.contains("busybox"), "{failure}");
    let (ticket, effects) = world.try_create(r#"{"image":"host"}"#);
    let failure = failed(&effects, ticket);
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::Unsupported, "because")
    );
}
