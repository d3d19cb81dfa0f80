//! Two thousand containers: lists and pages stay bounded in size and time.

use std::time::{Duration, Instant};

use porthole_tests::{Events, Instance, PATIENCE, Scene, wait_for};
use serde_json::Value;

use super::items;

const CONTAINERS: usize = 2000;
/// What a page may weigh with that many on it.
const MOST_BYTES: usize = 3 << 20;
/// Far more than it takes, and far less than what grows with the square.
const MOST_TIME: Duration = Duration::from_secs(5);

#[test]
fn two_thousand_containers_are_listed_in_pages_that_stay_small() {
    let porthole = Instance::start();
    let mut events = Events::open(porthole.admin(), "/events?at=/containers");
    let scene = Scene::containers(CONTAINERS);
    let begun = Instant::now();
    let all = wait_for("all of them", PATIENCE * 2, || {
        let mut all = everything(&porthole, "/api/v1/containers?engine=none");
        // Other scenarios have some beside these, which need not have everything of their own.
        all.retain(|one| one["namespaces"]["pid"]["isolation"] == "own");
        (all.len() >= CONTAINERS).then_some(all)
    });
    eprintln!(
        "{CONTAINERS} containers were told after {:?}",
        begun.elapsed()
    );
    events.next(PATIENCE, |event| {
        event.data.len() < MOST_BYTES && !event.data.is_empty()
    });
    for path in [
        "/containers",
        "/namespaces",
        "/namespaces?type=pid",
        "/processes",
        "/sessions",
        "/api/v1/containers",
        "/api/v1/namespaces",
        "/api/v1/processes",
    ] {
        let begun = Instant::now();
        let answer = porthole.admin().get(path);
        let took = begun.elapsed();
        eprintln!("{path}: {} KiB in {took:?}", answer.body.len() / 1024);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.body.len() < MOST_BYTES,
            "{path}: {} bytes",
            answer.body.len()
        );
        assert!(took < MOST_TIME, "{path}: {took:?}");
    }
    // What is hidden is counted.
    let page = porthole.admin().get("/containers").body;
    assert!(
        page.contains("2,0") || page.contains("200"),
        "the page says how many there are"
    );
    let one = &all[CONTAINERS / 2];
    let found = porthole.admin().get(&format!(
        "/containers/{}",
        one["id"].as_str().expect("an id")
    ));
    assert_eq!(found.status, 200);
    // While processes come and go nobody waits longer.
    let busy = Scene::start(&["born", "1000", "20"]);
    for _ in 0..20 {
        let begun = Instant::now();
        porthole.admin().get("/api/v1/containers?limit=10").ok();
        let took = begun.elapsed();
        assert!(took < MOST_TIME / 2, "beside short processes: {took:?}");
    }
    drop(busy);
    drop(scene);
    wait_for("the end of all", PATIENCE * 2, || {
        let left = everything(&porthole, "/api/v1/containers?engine=none");
        (left.len() < CONTAINERS / 2).then_some(())
    });
}

/// A whole list, page by page.
fn everything(porthole: &Instance, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = porthole
            .admin()
            .get(&format!("{path}&limit=500{after}"))
            .ok();
        all.extend_from_slice(items(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}
