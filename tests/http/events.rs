//! Server-sent events.

use std::time::Duration;

use porthole_tests::instance::text;
use porthole_tests::{Events, Instance};
use serde_json::json;

#[test]
fn what_happens_is_told_as_it_happens() {
    let porthole = Instance::start();
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let container = porthole
        .create(&json!({"image": "busybox", "name": "seen", "command": ["sleep", "infinity"]}));
    let id = text(&container["id"]);
    let limit = Duration::from_secs(10);
    // Other containers of the machine are told too.
    events.next(limit, |event| {
        event.name == "container" && event.data.contains(&id) && event.data.contains("\"running\"")
    });
    let session = porthole.session(&container, &json!({"command": ["sleep", "1000"]}));
    events.next(limit, |event| {
        event.name == "session" && event.data.contains(&text(&session["id"]))
    });
    porthole
        .admin()
        .delete(&format!("/api/v1/containers/{id}?force=true"))
        .ok();
    events.next(limit, |event| {
        event.name == "container" && event.data.contains(&id) && event.data.contains("removed")
    });
}

#[test]
fn a_page_of_another_is_not_told_what_happens_in_it() {
    let porthole = Instance::start();
    let bob = porthole.account("bob", "user");
    let mut events = Events::open(&bob, "/api/v1/events");
    let secret = "do-not-tell-bob";
    let container = porthole
        .create(&json!({"image": "busybox", "name": "admins", "command": ["sleep", "infinity"]}));
    porthole.session(
        &container,
        &json!({"command": ["sh", "-c", format!("sleep 1000 # {secret}")]}),
    );
    // Something that everybody is told marks the end of what has to be looked at.
    porthole.create(&json!({"image": "busybox", "name": "marker", "start": false}));
    let mut seen = Vec::new();
    events.next(Duration::from_secs(10), |event| {
        seen.push(event.data.clone());
        event.name == "container" && event.data.contains("marker")
    });
    assert!(!seen.iter().any(|data| data.contains(secret)), "{seen:?}");
}
