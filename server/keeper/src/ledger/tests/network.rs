//! What containers are connected to.

use porthole_protocol::container::NetworkChoice;
use porthole_runtime::network::pool::{Pool, parse_range};

use super::super::network::Network;
use super::*;

fn ready(range: &str, publish_anywhere: bool) -> Network {
    Network::Ready {
        pool: Pool::new(parse_range(range).expect("a range"), 1, true),
        publish_anywhere,
    }
}

fn world(network: Network) -> World {
    let mut world = World::new();
    world.ledger.connect(network);
    world
}

fn refusal(world: &mut World, spec: &str) -> Failure {
    let (ticket, effects) = world.try_create(spec);
    match reply(&effects, ticket) {
        Some(Reply::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bridge_is_the_default_where_there_is_one() {
    let spec = r#"{"image":"busybox"}"#;
    let network = |network| world(network).create(spec).spec.network;
    assert_eq!(network(Network::Off), Some(NetworkChoice::None));
    let lacks = Network::Unusable("nft was not found.".to_owned());
    assert_eq!(network(lacks), Some(NetworkChoice::None));
    let bridge = ready("10.88.0.0/16", false);
    assert_eq!(network(bridge), Some(NetworkChoice::Bridge));
}

#[test]
fn what_is_asked_for_is_given_or_refused_in_words() {
    let asked = r#"{"image":"busybox","network":"bridge"}"#;
    let off = refusal(&mut world(Network::Off), asked);
    assert_eq!(off.code, FailureCode::Forbidden);
    assert!(off.message.contains("bridge = true"), "{off}");
    let lacks = Network::Unusable("nft was not found: install it.".to_owned());
    let lacks = refusal(&mut world(lacks), asked);
    assert_eq!(lacks.code, FailureCode::Unsupported);
    assert!(lacks.message.contains("install it"), "{lacks}");
    let mut world = world(ready("10.88.0.0/16", false));
    let none = world.create(r#"{"image":"busybox","network":"none"}"#);
    assert_eq!(none.spec.network, Some(NetworkChoice::None));
    let host = refusal(&mut world, r#"{"image":"busybox","network":"host"}"#);
    assert_eq!(host.field.as_deref(), Some("namespaces.net"));
    let first = world.create(r#"{"image":"busybox","name":"first"}"#);
    let second = world.create(r#"{"image":"busybox","network":"container:first"}"#);
    let shared = Some(NetworkChoice::Container(first.id.to_string()));
    assert_eq!(second.spec.network, shared);
}

#[test]
fn ports_are_published_on_loopback_unless_root_allows_more() {
    let spec = |host: &str, port: u16| {
        format!(
            r#"{{"image":"busybox","publish":[{{"host":"{host}","host_port":{port},"container_port":80}}]}}"#
        )
    };
    let mut careful = world(ready("10.88.0.0/16", false));
    careful.create(&spec("127.0.0.2", 8080));
    for (host, port) in [
        ("127.0.0.2", 80),
        ("127.0.0.1", 8080),
        ("0.0.0.0", 8080),
        ("192.0.2.1", 8080),
    ] {
        let failure = refusal(&mut careful, &spec(host, port));
        assert_eq!(failure.code, FailureCode::Forbidden, "{host} {port}");
        assert_eq!(failure.field.as_deref(), Some("publish"));
    }
    let mut open = world(ready("10.88.0.0/16", true));
    open.create(&spec("0.0.0.0", 80));
    let none = refusal(&mut world(Network::Off), &spec("127.0.0.2", 8080));
    assert_eq!(none.field.as_deref(), Some("network"), "{none}");
}

#[test]
fn a_number_is_kept_and_the_pool_comes_to_its_end() {
    let mut world = world(ready("10.9.9.0/29", false));
    let ids: Vec<_> = (0..6)
        .map(|_| world.create(r#"{"image":"busybox"}"#).id)
        .collect();
    let mut numbers = Vec::new();
    for id in &ids[..5] {
        let (number, new) = world
            .ledger
            .lease(id)
            .expect("a number")
            .expect("the bridge");
        assert!(new);
        numbers.push(number);
    }
    assert_eq!(numbers, [2, 3, 4, 5, 6]);
    let again = world.ledger.lease(&ids[1]).expect("a number");
    assert_eq!(again, Some((3, false)));
    let full = world.ledger.lease(&ids[5]).expect_err("full");
    assert_eq!(full.code, FailureCode::Exhausted);
    assert!(full.message.contains("10.9.9.0/29"), "{full}");
    // Whoever is not connected needs none.
    let apart = world.create(r#"{"image":"busybox","network":"none"}"#).id;
    assert_eq!(world.ledger.lease(&apart), Ok(None));
}
