use porthole_protocol::container::Timestamp;
use porthole_protocol::engine::Engine;
use porthole_protocol::keeper::{Event, Policy};
use porthole_protocol::namespace::{Isolation, NamespaceType, PerNamespace};
use porthole_protocol::observation::Update;

use super::*;
use crate::fixture;

pub(super) fn container(digit: u8, name: &str) -> Container {
    fixture::container(&ContainerId::from_bytes([digit; 32]), name, "ann")
}

pub(super) fn told(container: &Container) -> Event {
    Event::Container(Box::new(container.clone()))
}

fn hello() -> Hello {
    Hello {
        version: 1,
        pid: 1,
        policy: Policy::default(),
        lacking: Vec::new(),
    }
}

pub(super) fn process(pid: i32, container: Option<&ContainerId>) -> Process {
    Process {
        host_pid: HostPid(pid),
        pids: vec![pid],
        parent: None,
        uid: 0,
        uid_inside: None,
        gid: 0,
        gid_inside: None,
        command: "sh".into(),
        args: Vec::new(),
        tty: None,
        state: 'S',
        started_at: Timestamp::default(),
        start_ticks: 0,
        threads: 1,
        rss: 0,
        namespaces: PerNamespace::default(),
        container: container.cloned(),
        session: None,
        cgroup: None,
        security: None,
    }
}

#[test]
fn a_reference_is_an_id_a_name_or_the_beginning_of_one_id() {
    let world = World::new();
    let (one, two) = (container(0xaa, "web"), container(0xab, "aa"));
    world.apply(told(&one));
    world.apply(told(&two));
    let found = |reference: &str| world.find(reference).map(|c| c.name.to_string());
    assert_eq!(found(one.id.as_str()).as_deref(), Ok("web"));
    assert_eq!(found("web").as_deref(), Ok("web"));
    assert_eq!(
        found("aa").as_deref(),
        Ok("aa"),
        "a name before a beginning"
    );
    assert_eq!(found("aaa").as_deref(), Ok("web"));
    assert_eq!(found("a"), Err(FindError::NotUnique("a".into())));
    assert_eq!(found(""), Err(FindError::NotFound(String::new())));
    assert_eq!(found("b\n"), Err(FindError::NotFound("b\u{fffd}".into())));
}

#[test]
fn what_a_returning_keeper_does_not_tell_of_is_gone() {
    let world = World::new();
    let (stays, goes) = (container(1, "stays"), container(2, "goes"));
    world.keeper_came(hello());
    world.apply(told(&stays));
    world.apply(told(&goes));
    assert!(!world.keeper().present, "not everything has been told yet");
    world.apply(Event::Synced);
    assert!(world.keeper().present);
    world.keeper_left();
    assert!(!world.keeper().present);
    assert_eq!(world.containers().len(), 2, "what was known stays");
    let (_, mut changes) = world.changes().subscribe();
    world.keeper_came(hello());
    world.apply(told(&stays));
    world.apply(Event::Synced);
    assert_eq!(world.containers().len(), 1);
    let mut told = Vec::new();
    while let Ok(numbered) = changes.try_recv() {
        told.push(match numbered.change {
            Change::ContainerGone(gone) => gone.name.to_string(),
            Change::Keeper => "keeper".to_owned(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told, ["goes", "keeper"], "and nothing of what is as it was");
}

#[test]
fn a_container_that_has_not_changed_is_no_change() {
    let world = World::new();
    let (_, mut changes) = world.changes().subscribe();
    let one = container(1, "web");
    world.apply(told(&one));
    world.learn_container(&one);
    assert!(changes.try_recv().is_ok());
    assert!(changes.try_recv().is_err());
}

#[test]
fn processes_come_go_and_move() {
    let world = World::new();
    let (one, two) = (container(1, "one").id, container(2, "two").id);
    let update = |processes: Vec<Process>, gone: &[i32], full| Update {
        full,
        processes,
        processes_gone: gone.iter().map(|pid| HostPid(*pid)).collect(),
        ..Update::default()
    };
    let pids = |id: &ContainerId| -> Vec<i32> {
        world
            .processes_of(id)
            .iter()
            .map(|p| p.host_pid.0)
            .collect()
    };
    let some = vec![
        process(7, Some(&one)),
        process(3, Some(&one)),
        process(9, None),
    ];
    world.observe(update(some, &[], true));
    assert_eq!(pids(&one), [3, 7]);
    assert_eq!(world.processes().len(), 3);
    let (_, mut changes) = world.changes().subscribe();
    world.observe(update(vec![process(7, Some(&two))], &[3], false));
    assert_eq!((pids(&one), pids(&two)), (vec![], vec![7]));
    let Ok(Numbered {
        change: Change::Processes { containers, .. },
        ..
    }) = changes.try_recv()
    else {
        panic!("a change of processes");
    };
    assert_eq!(*containers, BTreeSet::from([one.clone(), two.clone()]));
    world.observe(update(vec![process(9, None)], &[], true));
    assert_eq!(pids(&two), [0; 0], "everything told before is void");
}

#[test]
fn a_follower_that_comes_back_gets_what_it_missed_or_is_told_to_read_anew() {
    let world = World::new();
    let (last, _) = world.changes().subscribe();
    for digit in 1..=3 {
        world.apply(told(&container(digit, &format!("c{digit}"))));
    }
    let id = world.changes().id(last + 1);
    let number = world.changes().number_of(&id).expect("of this server");
    let (Replay::Missed(missed), _) = world.changes().resume(number) else {
        panic!("kept");
    };
    let numbers: Vec<_> = missed.iter().map(|n| n.number).collect();
    assert_eq!(numbers, [last + 2, last + 3]);
    assert_eq!(world.changes().number_of("0-1"), None, "another server's");
    for round in 0..600u32 {
        let mut one = container(9, "busy");
        one.created_at = Timestamp(u64::from(round));
        world.apply(told(&one));
    }
    assert!(matches!(world.changes().resume(number).0, Replay::TooOld));
    assert!(matches!(world.changes().resume(u64::MAX).0, Replay::TooOld));
}

pub(super) fn sighting(id: &str, net: u64) -> Sighting {
    Sighting {
        id: id.parse().expect("an id"),
        engine: Engine::Lxc,
        name: None,
        init: HostPid(900),
        start_ticks: 1,
        started_at: Timestamp::default(),
        namespaces: PerNamespace::build(|kind| match kind {
            NamespaceType::Net => Some(NamespaceInode(net)),
            NamespaceType::Pid => Some(NamespaceInode(id.len() as u64 + 100)),
            _ => Some(NamespaceInode(1)),
        }),
        uid_map: Vec::new(),
        gid_map: Vec::new(),
        cgroup: None,
        within: None,
        pod: None,
        paused: false,
    }
}

fn initial(inode: u64) -> Namespace {
    Namespace {
        initial: true,
        ..fixture::namespace(NamespaceType::Uts, inode)
    }
}

#[test]
fn anothers_container_is_known_by_whose_namespaces_it_is_in() {
    let world = World::new();
    let own = container(0xaa, "web");
    world.apply(told(&own));
    world.observe(Update {
        full: true,
        namespaces: vec![initial(1)],
        containers: vec![
            sighting("lab", 50),
            sighting("web-2", 50),
            sighting("x", 60),
        ],
        ..Update::default()
    });
    let isolation = |name: &str, kind| {
        let found = world.find_any(name).expect("there");
        found.namespaces().get(kind).isolation
    };
    assert_eq!(isolation("lab", NamespaceType::Uts), Isolation::Host);
    assert_eq!(isolation("lab", NamespaceType::Net), Isolation::Shared);
    assert_eq!(isolation("lab", NamespaceType::Pid), Isolation::Own);
    assert_eq!(isolation("x", NamespaceType::Net), Isolation::Own);
    assert_eq!(world.any_containers().len(), 4);
    assert!(matches!(world.find("lab"), Err(FindError::NotOwn { .. })));

    // Whoever is not there any more is shared with nobody.
    world.observe(Update {
        containers_gone: vec!["web-2".parse().expect("an id")],
        ..Update::default()
    });
    assert_eq!(isolation("lab", NamespaceType::Net), Isolation::Own);
    assert!(world.find_any("web-2").is_err());
}

#[test]
fn no_container_takes_the_place_of_another_by_what_it_is_called() {
    let world = World::new();
    let digits = "5".repeat(64);
    for (number, name) in [(0xaa, "web"), (0xab, &digits[..12]), (0xac, "plain")] {
        world.apply(told(&container(number, name)));
    }
    let found = |reference: &str| world.find_any(reference).map(|c| c.name().to_owned());
    let not_unique = |reference: &str| Err(FindError::NotUnique(reference.into()));
    for control in ["web", &digits[..12], "plain"] {
        assert_eq!(found(control).as_deref(), Ok(control));
    }
    world.observe(Update {
        full: true,
        containers: vec![sighting("web", 50), sighting(&digits, 51)],
        ..Update::default()
    });
    // A group that somebody called so, and a name that somebody chose.
    assert_eq!(found("web"), not_unique("web"));
    assert_eq!(found(&digits[..12]), not_unique(&digits[..12]));
    // What leads to each from a page is its alone.
    for container in world.any_containers() {
        let found = world
            .find_any(&world.reference(&container))
            .map(|c| c.id().clone());
        assert_eq!(found.as_ref(), Ok(container.id()));
    }
    let reference = |own: u8| {
        let own = world.container(&ContainerId::from_bytes([own; 32]));
        world.reference(&AnyContainer::Own(own.expect("there")))
    };
    assert_eq!(reference(0xac), "plain", "the control");
    assert_eq!(
        reference(0xaa),
        ContainerId::from_bytes([0xaa; 32]).to_string()
    );
    assert_eq!(
        reference(0xab),
        ContainerId::from_bytes([0xab; 32]).to_string()
    );
    let lxc = world.any_container(&"web".parse().expect("an id"));
    assert_eq!(world.reference(&lxc.expect("there")), "lxc:web");
    assert_eq!(
        found("docker:web"),
        Err(FindError::NotFound("docker:web".into()))
    );
    // Each has an identifier, or a name, that is its alone.
    assert_eq!(
        found(container(0xaa, "web").id.as_str()).as_deref(),
        Ok("web")
    );
    assert_eq!(
        world.find_any(&digits).map(|c| c.id().to_string()),
        Ok(digits)
    );
    assert_eq!(found("plain").as_deref(), Ok("plain"));
}

#[test]
fn what_runs_in_a_container_is_the_containers_too_and_its_owners_to_see() {
    let world = World::new();
    let own = container(0xaa, "web");
    world.apply(told(&own));
    let inner: ContainerId = "none-900-1".parse().expect("an id");
    let mut nested = sighting(inner.as_str(), 50);
    nested.within = Some(own.id.clone());
    let deep: ContainerId = "none-901-1".parse().expect("an id");
    let mut deeper = sighting(deep.as_str(), 50);
    deeper.within = Some(inner.clone());
    world.observe(Update {
        full: true,
        processes: vec![
            process(5, Some(&own.id)),
            process(900, Some(&inner)),
            process(901, Some(&deep)),
            process(7, None),
        ],
        containers: vec![nested, deeper],
        ..Update::default()
    });
    let pids = |id: &ContainerId| -> Vec<_> {
        let processes = world.processes_of(id);
        processes.iter().map(|p| p.host_pid.0).collect()
    };
    assert_eq!(pids(&own.id), [5, 900, 901]);
    assert_eq!(pids(&inner), [900, 901]);
    let found = world.any_container(&deep).expect("there");
    let AnyContainer::Foreign(found) = found else {
        panic!("another's: {found:?}")
    };
    assert_eq!(found.host_owner.as_ref(), Some(&own.owner));

    let (_, mut changes) = world.changes().subscribe();
    world.observe(Update {
        processes: vec![process(902, Some(&deep))],
        ..Update::default()
    });
    let told = std::iter::from_fn(|| changes.try_recv().ok());
    let touched = told
        .map(|numbered| numbered.change)
        .find_map(|change| match change {
            Change::Processes { containers, .. } => Some(containers),
            _ => None,
        });
    assert!(touched.is_some_and(|touched| touched.contains(&own.id)));
}
