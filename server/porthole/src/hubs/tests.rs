use porthole_protocol::id::SessionId;
use porthole_protocol::keeper::Event;

use super::*;
use crate::fixture;

#[tokio::test]
async fn what_was_removed_while_changes_were_missed_is_forgotten() {
    let (_directory, state, _asks) = crate::server::test_state();
    let ended = |digit| {
        let container = "ab".parse().expect("an id");
        fixture::session(&SessionId::from_bytes([digit; 16]), &container, "ann")
    };
    let (gone, stays) = (ended(1), ended(2));
    let targets = [&gone, &stays].map(|session| Target::Session(session.id.clone()));
    for session in [&gone, &stays] {
        let event = Event::Session(Box::new(session.clone()));
        state.world.apply(event);
    }
    for target in &targets {
        state.hubs.hub(&state, target).await.expect("a hub");
    }
    state.hubs.catch_up(&state).await;
    assert_eq!(state.hubs.count().0, 2, "the control");
    state.world.forget_session(&gone.id);
    state.hubs.catch_up(&state).await;
    let there = targets.map(|target| {
        let hub = state.hubs.info(&target).is_some();
        (hub, directory(&state, &target).exists())
    });
    assert_eq!(there, [(false, false), (true, true)]);
}
