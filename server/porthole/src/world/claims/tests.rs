use porthole_protocol::container::ContainerState;
use porthole_protocol::engines::FromBroker;
use porthole_protocol::observation::Update;
use serde_json::json;

use super::super::tests::{container, process, sighting, told as keeper_told};
use super::super::{AnyContainer, Foreign};
use super::*;

fn id() -> ContainerId {
    "5".repeat(64).parse().expect("an id")
}

/// What Docker says of its container `db`.
fn says(world: &World, state: &str, pid: Option<i32>) {
    let told = serde_json::from_value(json!({
        "endpoint": 0, "engine": "docker", "id": id(), "name": "db", "image": "postgres",
        "image_id": "", "state": state, "exit_code": null, "oom_killed": false, "error": null,
        "pid": pid, "health": null, "labels": {}, "created_at": null, "started_at": null,
        "finished_at": null, "restarts": 0, "restart_policy": "no", "command": [],
        "entrypoint": [], "env": [], "workdir": "", "user": "", "hostname": "", "tty": false,
        "privileged": false, "ports": [], "networks": [], "mounts": [], "compose": null,
        "pod": null, "clipped": false,
    }));
    world.engines(FromBroker::Container(told.expect("a container")));
}

/// This process is the first of what claims this identifier.
fn seen(id: &str, pid: i32) -> (Sighting, Process) {
    let mut seen = sighting(id, 50);
    seen.engine = Engine::Docker;
    seen.init = HostPid(pid);
    (seen, process(pid, Some(&id.parse().expect("an id"))))
}

fn observe(world: &World, all: Vec<(Sighting, Process)>) {
    let (containers, processes) = all.into_iter().unzip();
    world.observe(Update {
        full: true,
        containers,
        processes,
        ..Update::default()
    });
}

fn foreign(world: &World, id: &str) -> Option<Arc<Foreign>> {
    match world.any_container(&id.parse().expect("an id"))? {
        AnyContainer::Foreign(foreign) => Some(foreign),
        AnyContainer::Own(own) => panic!("another's: {own:?}"),
    }
}

fn pids(world: &World, id: &str) -> Vec<i32> {
    let processes = world.processes_of(&id.parse().expect("an id"));
    processes.iter().map(|p| p.host_pid.0).collect()
}

fn later(world: &World) {
    world.settle(Instant::now() + GRACE);
}

#[test]
fn what_only_has_a_group_called_so_stands_apart() {
    for (state, pid) in [("exited", None), ("created", None), ("running", Some(901))] {
        let world = World::new();
        says(&world, state, pid);
        observe(&world, vec![seen(id().as_str(), 900)]);
        let at_first = foreign(&world, id().as_str()).expect("there");
        assert!(at_first.unconfirmed, "{at_first:?}");
        let (_, mut changes) = world.changes().subscribe();

        later(&world);
        let engines = foreign(&world, id().as_str()).expect("there");
        assert_eq!((&*engines.name, engines.pid), ("db", None), "{state}");
        assert_eq!(engines.state.name(), state);
        assert_eq!((&engines.claim, engines.unconfirmed), (&None, false));
        let other = foreign(&world, "none-900-1").expect("apart");
        assert_eq!(other.engine, Engine::None);
        assert_eq!((&*other.name, &other.told), ("sh", &None));
        let claim = other.claim.as_ref().expect("a claim");
        assert_eq!((&claim.id, &*claim.name), (&id(), "db"));
        let by_engine = match pid {
            Some(pid) => format!("says that the first process of this one is {pid}"),
            None => format!("says that this one is {state}"),
        };
        assert!(claim.words().contains(&by_engine), "{}", claim.words());
        assert_eq!(pids(&world, id().as_str()), [0; 0]);
        assert_eq!(pids(&world, "none-900-1"), [900]);
        let told = std::iter::from_fn(|| changes.try_recv().ok());
        let moved = told.filter(|numbered| {
            matches!(&numbered.change, Change::Processes { changed, .. } if changed.len() == 1)
        });
        assert_eq!(moved.count(), 1);

        // What is told of its processes from now on is of it too.
        let (_, one) = seen(id().as_str(), 902);
        world.observe(Update {
            processes: vec![one],
            ..Update::default()
        });
        assert_eq!(pids(&world, "none-900-1"), [900, 902]);
        // The control: its engine says that it is the one.
        says(&world, "running", Some(900));
        let confirmed = foreign(&world, id().as_str()).expect("there");
        assert_eq!(confirmed.pid, Some(HostPid(900)));
        assert_eq!((&confirmed.claim, confirmed.unconfirmed), (&None, false));
        assert!(foreign(&world, "none-900-1").is_none());
        assert_eq!(pids(&world, id().as_str()), [900, 902]);
    }
}

#[test]
fn a_container_that_is_being_started_is_one_all_the_time() {
    let world = World::new();
    says(&world, "created", None);
    observe(&world, vec![seen(id().as_str(), 900)]);
    assert_eq!(world.any_containers().len(), 1);
    says(&world, "running", Some(900));
    later(&world);
    let started = foreign(&world, id().as_str()).expect("there");
    assert_eq!(started.state, ContainerState::Running);
    assert!(!started.unconfirmed);
    assert_eq!(world.any_containers().len(), 1);
    // Ended, as its engine noticed first.
    says(&world, "exited", None);
    observe(&world, Vec::new());
    later(&world);
    assert_eq!(world.any_containers().len(), 1);
}

#[test]
fn who_comes_and_goes_under_an_identifier_is_not_shown_as_its_engines_each_time() {
    let world = World::new();
    says(&world, "exited", None);
    observe(&world, vec![seen(id().as_str(), 900)]);
    later(&world);
    observe(&world, Vec::new());
    assert!(foreign(&world, "none-900-1").is_none());
    observe(&world, vec![seen(id().as_str(), 905)]);
    assert!(foreign(&world, "none-905-1").is_some(), "at once");
    assert_eq!(foreign(&world, id().as_str()).expect("there").pid, None);
}

#[test]
fn the_one_that_its_engine_means_has_the_identifier_whatever_the_group_of_another() {
    let world = World::new();
    says(&world, "running", Some(901));
    // The observer gives the identifier to the shorter path, and marks the other.
    let marked = format!("{}-0badcafe", "5".repeat(55));
    observe(&world, vec![seen(id().as_str(), 900), seen(&marked, 901)]);
    let engines = foreign(&world, id().as_str()).expect("there");
    assert_eq!((&*engines.name, engines.pid), ("db", Some(HostPid(901))));
    assert_eq!(engines.engine, Engine::Docker);
    assert!(!engines.unconfirmed && engines.claim.is_none());
    assert!(foreign(&world, &marked).is_none());
    assert!(
        foreign(&world, "none-900-1")
            .expect("apart")
            .claim
            .is_some()
    );
    assert_eq!(pids(&world, id().as_str()), [901]);
    assert_eq!(pids(&world, "none-900-1"), [900]);
    // The control: nobody else claims it.
    observe(&world, vec![seen(id().as_str(), 901)]);
    assert_eq!(world.any_containers().len(), 1);
}

#[test]
fn an_engine_that_counts_processes_in_a_container_means_the_same_one() {
    let world = World::new();
    says(&world, "running", Some(17));
    let (mut nested, mut first) = seen(id().as_str(), 900);
    first.pids = vec![900, 17, 1];
    nested.init = first.host_pid;
    observe(&world, vec![(nested, first)]);
    later(&world);
    let found = foreign(&world, id().as_str()).expect("there");
    assert_eq!(found.pid, Some(HostPid(900)));
    assert!(!found.unconfirmed);
}

#[test]
fn a_group_that_is_called_like_an_own_container_is_another() {
    let world = World::new();
    let own = container(0xaa, "web");
    world.apply(keeper_told(&own));
    observe(&world, vec![seen(own.id.as_str(), 900)]);
    assert_eq!(world.find("web").map(|found| found.pid), Ok(None));
    assert_eq!(pids(&world, own.id.as_str()), [0; 0]);
    let other = foreign(&world, "none-900-1").expect("apart");
    let claim = other.claim.as_ref().expect("a claim");
    assert_eq!((&claim.id, claim.engine), (&own.id, Engine::Porthole));
}
