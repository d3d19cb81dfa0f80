use std::time::Duration;

use porthole_protocol::engines::{
    Ask, Endpoint, EndpointId, EngineState, FromBroker, Hello, Open, Timeout, VERSION,
};
use porthole_protocol::id::HostPid;
use tokio::net::{UnixListener, UnixStream};

use super::connection::{receive, send};
use super::*;
use crate::server::test_state_with;

const DOCKER: porthole_protocol::engine::Engine = porthole_protocol::engine::Engine::Docker;

fn setting() -> Setting {
    Setting {
        engines: vec![Endpoint {
            engine: DOCKER,
            socket: "/run/docker.sock".to_owned(),
        }],
        manage: true,
        ..Setting::default()
    }
}

fn container() -> ContainerRef {
    ContainerRef {
        endpoint: EndpointId(0),
        id: "ab".parse().expect("an id"),
    }
}

async fn say(stream: &mut UnixStream, message: &FromBroker) {
    let message = serde_json::to_vec(message).expect("JSON");
    send(stream, &message).await.expect("sent");
}

/// Takes the server's connection and greets it.
async fn greet(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let open = receive(&mut stream).await.expect("read").expect("open");
    let open: Open = serde_json::from_slice(&open).expect("JSON");
    assert_eq!(open, Open::Follow { version: VERSION });
    let hello = Hello {
        version: VERSION,
        pid: HostPid(1),
        manage: true,
    };
    say(&mut stream, &FromBroker::Hello(hello)).await;
    stream
}

fn engine(trouble: Option<&str>) -> FromBroker {
    FromBroker::Engine(Box::new(EngineState {
        endpoint: EndpointId(0),
        engine: DOCKER,
        socket: "/run/docker.sock".to_owned(),
        version: Some("20.10".to_owned()),
        trouble: trouble.map(str::to_owned),
    }))
}

async fn until(engines: &Engines, what: &str, so: impl FnMut(&Arc<Snapshot>) -> bool) {
    let mut snapshots = engines.subscribe();
    tokio::time::timeout(Duration::from_secs(10), snapshots.wait_for(so))
        .await
        .unwrap_or_else(|_| panic!("{what}: {:?}", engines.snapshot()))
        .expect("it goes on");
}

#[tokio::test]
async fn what_was_known_stays_while_the_broker_is_away_and_is_replaced_when_it_is_back() {
    let (_directory, state, _, jobs) = test_state_with(setting());
    let engines = &state.engines;
    assert_eq!(engines.snapshot().availability, Availability::Away);
    let listener = UnixListener::bind(state.settings.engines_socket()).expect("bind");
    let client = tokio::spawn(run(state.clone(), jobs));

    let mut broker = greet(&listener).await;
    say(&mut broker, &engine(None)).await;
    assert!(engines.snapshot().engines.is_empty(), "not whole yet");
    say(&mut broker, &FromBroker::Synced).await;
    until(engines, "there", |now| {
        now.availability == Availability::There
    })
    .await;
    assert_eq!(engines.snapshot().engines[0].trouble, None);
    say(&mut broker, &engine(Some("it hangs"))).await;
    until(engines, "trouble", |now| now.engines[0].trouble.is_some()).await;

    drop(broker);
    until(engines, "away", |now| {
        now.availability == Availability::Away
    })
    .await;
    assert_eq!(engines.snapshot().engines.len(), 1, "as it was last");
    let mut broker = greet(&listener).await;
    say(&mut broker, &FromBroker::Synced).await;
    until(engines, "back", |now| {
        now.availability == Availability::There
    })
    .await;
    assert!(engines.snapshot().engines.is_empty());
    client.abort();
}

#[tokio::test]
async fn an_answer_reaches_who_asked_and_a_broker_that_goes_is_told_at_once() {
    let (_directory, state, _, jobs) = test_state_with(setting());
    let listener = UnixListener::bind(state.settings.engines_socket()).expect("bind");
    let client = tokio::spawn(run(state.clone(), jobs));
    let mut broker = greet(&listener).await;
    say(&mut broker, &FromBroker::Synced).await;
    let act = |verb| {
        let state = state.clone();
        tokio::spawn(async move { state.engines.act(container(), verb).await })
    };
    let stop = Verb::Stop {
        timeout: Timeout::try_from(3).expect("a timeout"),
    };
    let (start, stopped) = (act(Verb::Start), act(stop));
    let mut asked = Vec::new();
    for _ in 0..2 {
        let ask = receive(&mut broker)
            .await
            .expect("read")
            .expect("a request");
        asked.push(serde_json::from_slice::<Ask>(&ask).expect("JSON"));
    }
    // In the other order, and one of them refused.
    for ask in asked.iter().rev() {
        let failure =
            (ask.verb == stop).then(|| Failure::new(FailureCode::WrongState, "it does not run"));
        say(
            &mut broker,
            &FromBroker::Reply {
                id: ask.id,
                failure,
            },
        )
        .await;
    }
    assert_eq!(start.await.expect("a task"), Ok(()));
    let why = stopped.await.expect("a task").expect_err("refused");
    assert_eq!(Refusal::from(why).status, StatusCode::CONFLICT);

    let unanswered = act(Verb::Pause);
    receive(&mut broker)
        .await
        .expect("read")
        .expect("a request");
    drop((broker, listener));
    assert_eq!(unanswered.await.expect("a task"), Err(EngineError::Away));
    client.abort();
}

#[tokio::test]
async fn where_root_enables_nothing_that_is_said() {
    let (_directory, state, _, jobs) = test_state_with(Setting::default());
    assert_eq!(state.engines.snapshot().availability, Availability::Off);
    let why = state.engines.act(container(), Verb::Start).await;
    assert_eq!(why, Err(EngineError::Off));
    // There is nothing to hold a connection to.
    run(state.clone(), jobs).await;
    let trouble = Setting {
        trouble: Some("There is no account.".to_owned()),
        ..setting()
    };
    let (_directory, state, _, _) = test_state_with(trouble);
    let why = state.engines.logs(container(), LogPart::default()).await;
    let refusal = Refusal::from(why.err().expect("refused"));
    assert_eq!(&*refusal.message, "There is no account.");
}
