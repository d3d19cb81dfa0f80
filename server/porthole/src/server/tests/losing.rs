//! What ends with a right: sockets, waiting, a change on its way, an export.

use std::time::Duration;

use super::*;
use crate::store::NewToken;

/// Within this long an open socket ends.
const SOON: Duration = Duration::from_secs(1);

impl Scene {
    async fn token(&self, name: &str) -> (Identity, String) {
        let account = self.stored(name);
        let secret = Secret::new();
        let new = NewToken {
            account: account.id,
            name: "robot".into(),
            hash: secret.hash(),
            life: None,
        };
        let added = self.state.store.add_token(new, Actor::server());
        added.await.expect("made");
        let via = Via::Token(secret.hash());
        let from = None;
        (Identity { account, via, from }, secret.reveal().to_owned())
    }

    async fn by_token(&self, token: &str) -> u16 {
        let mut request = self.request(&Method::GET, "/api/v1/account", Who::Nobody);
        let value = format!("Bearer {token}").parse().expect("a value");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        self.send(request).await.status().as_u16()
    }
}

#[tokio::test]
async fn a_new_password_ends_the_accounts_tokens_and_their_sockets() {
    let mut scene = Scene::new().await;
    scene.with_password("owner").await;
    let account = scene.stored("owner");
    scene.secrets.retain(|(who, _)| *who != Who::Owner);
    scene.log_in(Who::Owner, &account).await;
    let change = json!({"current": OLD, "new": NEW});
    for (method, path, who, body) in [
        (Method::POST, "/api/v1/password", Who::Owner, change),
        (
            Method::PATCH,
            "/api/v1/users/owner",
            Who::Admin,
            json!({"password": OLD}),
        ),
        // On the page, where it is made up.
        (
            Method::POST,
            "/settings/users/owner/password",
            Who::Admin,
            json!({}),
        ),
    ] {
        let (identity, token) = scene.token("owner").await;
        let (_, others) = scene.token("other").await;
        let state = scene.state.clone();
        let lost = tokio::spawn(async move {
            state.access.standing.lost(&state.store, &identity).await;
        });
        tokio::task::yield_now().await;
        assert_eq!(scene.by_token(&token).await, 200, "the control");
        assert!(!lost.is_finished(), "the control");
        let changed = scene.json(method, path, who, body).await;
        assert!(
            changed.status().is_success(),
            "{path}: {}",
            changed.status()
        );
        assert_eq!(scene.by_token(&token).await, 401, "{path}");
        assert_eq!(scene.by_token(&others).await, 200, "another's");
        let ended = tokio::time::timeout(SOON, lost).await;
        ended.expect("its sockets end").expect("no panic");
    }
    // From the command line.
    let (_, token) = scene.token("owner").await;
    let reset = scene.state.store.set_password_now("owner", "hash");
    reset.expect("set");
    assert_eq!(scene.by_token(&token).await, 401);
}

#[tokio::test]
async fn waiting_ends_with_the_rights_and_with_the_server() {
    for taken in [true, false] {
        let scene = Scene::new().await;
        let path = format!("/api/v1/containers/{}/wait", scene.container);
        let request = scene.request(&Method::POST, &path, Who::Owner);
        let answer = tokio::spawn(scene.router.clone().oneshot(request));
        // Another's loss is none.
        scene.set_role("other", Role::Viewer).await;
        scene.state.access.standing.look(&scene.state.store);
        let still = tokio::time::sleep(Duration::from_millis(50));
        still.await;
        assert!(!answer.is_finished(), "the control: it waits");
        let status = if taken {
            let account = scene.stored("owner");
            scene.with_password("owner").await;
            assert_eq!(account.role, Role::User);
            scene.state.access.standing.look(&scene.state.store);
            403
        } else {
            scene.state.ending.send_replace(true);
            503
        };
        let answer = tokio::time::timeout(SOON, answer).await.expect("at once");
        let answer = match answer.expect("no panic") {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        assert_eq!(answer.status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_lost_right_is_noticed_at_once() {
    let scene = Scene::new().await;
    let (_, secret) = &scene.secrets[2];
    let hash = crate::access::secret::hash(secret);
    let account = scene
        .state
        .store
        .login(&hash)
        .expect("read")
        .expect("signed in");
    let identity = Identity {
        account,
        via: Via::Login(hash),
        from: None,
    };
    let state = scene.state.clone();
    let lost = tokio::spawn(async move {
        state.access.standing.lost(&state.store, &identity).await;
    });
    // Another's change first: it is not theirs.
    scene.set_role("other", Role::Viewer).await;
    scene.state.access.standing.look(&scene.state.store);
    tokio::task::yield_now().await;
    assert!(!lost.is_finished(), "the control: another's role");
    scene.set_role("owner", Role::Viewer).await;
    scene.state.access.standing.look(&scene.state.store);
    tokio::time::timeout(SOON, lost)
        .await
        .expect("at once")
        .expect("no panic");
}

/// The clock is stopped but for when everybody waits for it: no hour passes here.
#[tokio::test]
async fn waiting_ends_after_an_hour() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/containers/{}/wait", scene.container);
    let request = scene.request(&Method::POST, &path, Who::Owner);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let mut answer = std::pin::pin!(scene.send(request));
    let almost = Duration::from_secs(3599);
    let early = tokio::time::timeout(almost, &mut answer).await;
    assert!(early.is_err(), "the control: it waits");
    let answer = answer.await;
    let hour = Duration::from_secs(3600);
    let waited = begun.elapsed();
    assert!(
        waited >= hour && waited < hour + Duration::from_secs(1),
        "{waited:?}"
    );
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    let why = json_of(answer).await;
    assert_eq!(why["error"]["code"], "still_running", "{why}");
}

/// A body that begins to be waited for, and is held back until this is told.
fn held_back(
    body: &Value,
) -> (
    Body,
    tokio::sync::oneshot::Receiver<()>,
    tokio::sync::oneshot::Sender<()>,
) {
    let (waits, waited) = tokio::sync::oneshot::channel();
    let (go, gone) = tokio::sync::oneshot::channel();
    let text = body.to_string();
    let body = Body::from_stream(futures_util::stream::once(async move {
        let _ = waits.send(());
        let _ = gone.await;
        Ok::<_, std::io::Error>(text)
    }));
    (body, waited, go)
}

#[tokio::test]
async fn a_change_whose_body_is_held_back_outlives_no_right() {
    // The control: nothing is taken away meanwhile.
    for (loses, status, role) in [(false, 200, Role::Admin), (true, 403, Role::User)] {
        let scene = Scene::new().await;
        scene.account("second", Role::Admin).await;
        let mut request = scene.request(&Method::PATCH, "/api/v1/users/other", Who::Admin);
        let (body, waited, go) = held_back(&json!({"role": "admin"}));
        *request.body_mut() = body;
        let (answer, ()) = tokio::join!(scene.send(request), async {
            waited.await.expect("the body is waited for");
            if loses {
                scene.set_role("admin", Role::Viewer).await;
            }
            go.send(()).expect("somebody waits");
        });
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(scene.stored("other").role, role);
    }
}

#[tokio::test]
async fn a_change_whose_body_is_held_back_is_measured_by_what_is_then() {
    const ALL: u64 = 1 << 30;
    let with = |id: &ContainerId, memory: u64| {
        let mut container = container(id, "owner");
        container.name = format!("c{}", &id.as_str()[..2]).parse().expect("a name");
        container.spec.limits.memory = Some(memory);
        Event::Container(Box::new(container))
    };
    // The control: what is asked for is what the container has all the time. No keeper is there.
    for (gives, status) in [(false, 503), (true, 429)] {
        let scene = Scene::new().await;
        let limits = serde_json::from_value(json!({"memory": ALL})).expect("limits");
        let change = AccountChange {
            limits,
            ..AccountChange::default()
        };
        scene.change("owner", change).await;
        scene.state.world.apply(with(&scene.container, ALL));
        let path = format!("/api/v1/containers/{}", scene.container);
        let mut request = scene.request(&Method::PATCH, &path, Who::Owner);
        let (body, waited, go) = held_back(&json!({"limits": {"memory": ALL}}));
        *request.body_mut() = body;
        let (answer, ()) = tokio::join!(scene.send(request), async {
            waited.await.expect("the body is waited for");
            if gives {
                let other = ContainerId::from_bytes([9; 32]);
                scene.state.world.apply(with(&scene.container, ALL / 16));
                scene.state.world.apply(with(&other, ALL / 2));
            }
            go.send(()).expect("somebody waits");
        });
        assert_eq!(answer.status().as_u16(), status);
    }
}

#[tokio::test]
async fn an_export_of_the_audit_trail_ends_with_the_rights_to_it() {
    // The control: they stay.
    for loses in [false, true] {
        let scene = Scene::new().await;
        scene.account("second", Role::Admin).await;
        let request = scene.request(&Method::GET, "/api/v1/audit/export", Who::Admin);
        let answer = scene.send(request).await;
        assert_eq!(answer.status().as_u16(), 200);
        if loses {
            scene.set_role("admin", Role::Viewer).await;
        }
        let read = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
        let whole = read.is_ok_and(|bytes| bytes.ends_with(b"}\n"));
        assert_eq!(whole, !loses);
    }
}
