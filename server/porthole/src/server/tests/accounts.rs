//! What an account loses, and what is left of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use porthole_protocol::keeper::{Failure, FailureCode, Reply, Request as Asked};

use super::*;
use crate::access::password::hash_now;
use crate::access::{Identity, Via};
use crate::store::audit::search::Wanted;
use crate::store::{AccountChange, NewToken};

const OLD: &str = "correct horse battery";
const NEW: &str = "another fine horse";
/// Within this long an open socket ends.
const SOON: Duration = Duration::from_secs(1);

impl Scene {
    async fn stored(&self, name: &str) -> Account {
        let stored = self.state.store.account(name).expect("read");
        stored.expect("there").account
    }

    async fn with_password(&self, name: &str) {
        let hash = hash_now(OLD).expect("hashed");
        self.change(
            name,
            AccountChange {
                password: Some(hash),
                ..AccountChange::default()
            },
        )
        .await;
    }

    async fn change(&self, name: &str, change: AccountChange) {
        let by = Actor::server();
        let changed = self.state.store.change_account(name.into(), change, by);
        changed.await.expect("changed");
    }

    async fn set_role(&self, name: &str, role: Role) {
        let role = Some(role);
        self.change(
            name,
            AccountChange {
                role,
                ..AccountChange::default()
            },
        )
        .await;
    }

    async fn token(&self, name: &str) -> (Identity, String) {
        let account = self.stored(name).await;
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

    async fn json(&self, method: Method, path: &str, who: Who, body: Value) -> Response {
        let mut request = self.request(&method, path, who);
        *request.body_mut() = Body::from(body.to_string());
        self.send(request).await
    }
}

#[tokio::test]
async fn a_new_password_ends_the_accounts_tokens_and_their_sockets() {
    let mut scene = Scene::new().await;
    scene.with_password("owner").await;
    let account = scene.stored("owner").await;
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
async fn a_password_that_an_administrator_has_made_up_is_shown_and_the_only_one() {
    let scene = Scene::new().await;
    scene.with_password("owner").await;
    let path = |name| format!("/settings/users/{name}/password");
    let own = scene
        .status(&Method::POST, &path("admin"), Who::Admin)
        .await;
    assert_eq!(own, 409, "one's own is changed by who knows it");
    let unknown = scene
        .status(&Method::POST, &path("nobody"), Who::Admin)
        .await;
    assert_eq!(unknown, 404);
    let page = scene.request(&Method::POST, &path("owner"), Who::Admin);
    let page = scene.send(page).await.into_body();
    let page = axum::body::to_bytes(page, 1 << 20).await.expect("a page");
    let page = String::from_utf8(page.to_vec()).expect("text");
    let shown = page.split("id=\"fresh-password\">").nth(1).expect("shown");
    let made = shown.split('<').next().expect("a password").to_owned();
    let sign_in = async |password: &str| {
        let body = json!({"user": "owner", "password": password});
        let path = "/api/v1/login";
        let answer = scene.json(Method::POST, path, Who::Nobody, body).await;
        answer.status().as_u16()
    };
    assert_eq!(sign_in(OLD).await, 401);
    assert_eq!(sign_in(&made).await, 204);
    let again = scene.send(scene.request(&Method::GET, "/settings", Who::Admin));
    let again = axum::body::to_bytes(again.await.into_body(), 1 << 20).await;
    let again = String::from_utf8(again.expect("a page").to_vec()).expect("text");
    assert!(!again.contains(&made), "it is shown this once");
    let written = scene.state.store.audit_verify().await.expect("read");
    assert!(written.is_ok(), "{written:?}");
}

#[tokio::test]
async fn a_sign_in_takes_the_place_of_the_one_before() {
    let scene = Scene::new().await;
    scene.with_password("admin").await;
    let sign_in = async |cookie: Option<&str>| {
        let mut request = scene.request(&Method::POST, "/api/v1/login", Who::Nobody);
        let body = json!({"user": "admin", "password": OLD});
        *request.body_mut() = Body::from(body.to_string());
        if let Some(cookie) = cookie {
            let value = cookie.parse().expect("a value");
            request.headers_mut().insert(header::COOKIE, value);
        }
        let answer = scene.send(request).await;
        let cookie = answer.headers().get(header::SET_COOKIE).expect("a cookie");
        let cookie = cookie.to_str().expect("text");
        cookie.split(';').next().unwrap_or_default().to_owned()
    };
    let status = async |cookie: &str| {
        let mut request = scene.request(&Method::GET, "/api/v1/account", Who::Nobody);
        let value = cookie.parse().expect("a value");
        request.headers_mut().insert(header::COOKIE, value);
        scene.send(request).await.status().as_u16()
    };
    let first = sign_in(None).await;
    let elsewhere = sign_in(None).await;
    assert_eq!(status(&first).await, 200, "the control");
    let second = sign_in(Some(&first)).await;
    assert_ne!(first, second, "another secret");
    assert_eq!(status(&first).await, 401, "the one before is over");
    assert_eq!(status(&second).await, 200);
    assert_eq!(status(&elsewhere).await, 200, "another browser's goes on");
}

#[tokio::test]
async fn an_account_takes_its_sessions_with_it() {
    let (scene, asks) = Scene::with_asks().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let fails = Arc::new(Mutex::new(true));
    let (seen, failing) = (asked.clone(), fails.clone());
    let others = SessionId::from_bytes([1; 16]);
    let ended = session(&scene.session, &scene.container, "owner");
    let keeper = tokio::spawn(asks.play(move |request| {
        seen.lock().expect("a lock").push(request.clone());
        match request {
            _ if *failing.lock().expect("a lock") => {
                Reply::Failed(Failure::new(FailureCode::Internal, "no"))
            }
            Asked::EndSession { .. } => Reply::Session(Box::new(ended.clone())),
            _ => Reply::Done,
        }
    }));
    let world = &scene.state.world;
    let anothers = session(&others, &scene.container, "other");
    world.apply(Event::Session(Box::new(anothers)));
    let target = porthole_protocol::session::Target::Session(scene.session.clone());
    let journal = crate::hubs::directory(&scene.state, &target);
    std::fs::create_dir_all(&journal).expect("a journal");
    let delete = async || {
        scene
            .status(&Method::DELETE, "/api/v1/users/owner", Who::Admin)
            .await
    };
    assert_eq!(delete().await, 503, "what it owns is not known");
    world.apply(Event::Synced);
    assert_eq!(delete().await, 409, "it owns a container");
    world.forget_container(&scene.container);
    assert_eq!(delete().await, 500, "its session cannot be ended");
    assert!(scene.state.store.account("owner").expect("read").is_some());
    assert!(world.session(&scene.session).is_some() && journal.exists());
    *fails.lock().expect("a lock") = false;
    asked.lock().expect("a lock").clear();
    assert_eq!(delete().await, 204);
    let session = scene.session.clone();
    let wanted = [
        Asked::EndSession {
            session: session.clone(),
        },
        Asked::ForgetSession { session },
    ];
    assert_eq!(*asked.lock().expect("a lock"), wanted);
    assert!(world.session(&scene.session).is_none() && !journal.exists());
    assert!(world.session(&others).is_some(), "another's stays");
    keeper.abort();
}

#[tokio::test]
async fn a_new_account_inherits_nothing() {
    let scene = Scene::new().await;
    let body = |name: &str| json!({"user": name, "role": "user", "password": NEW});
    let left = session(&SessionId::from_bytes([1; 16]), &scene.container, "ghost");
    scene.state.world.apply(Event::Session(Box::new(left)));
    let make = async |name: &str| {
        let answer = scene
            .json(Method::POST, "/api/v1/users", Who::Admin, body(name))
            .await;
        answer.status().as_u16()
    };
    assert_eq!(make("ghost").await, 409);
    assert_eq!(make("newcomer").await, 201, "the control");
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
            let account = scene.stored("owner").await;
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
async fn that_a_session_was_asked_for_is_on_disk_before_its_shell_exists() {
    let (scene, asks) = Scene::with_asks().await;
    let (asked, trail) = (Arc::new(Mutex::new(0)), scene.state.store.clone());
    let count = asked.clone();
    let keeper = tokio::spawn(asks.play(move |request| {
        let Asked::OpenSession { session: id, .. } = request else {
            return Reply::Done;
        };
        *count.lock().expect("a lock") += 1;
        let last = trail.audit_entries_now(&Wanted::default(), 1);
        let last = &last[0].record;
        assert_eq!((&*last.act, &*last.result), ("session_open", "asked"));
        assert_eq!(last.object, id.as_str());
        Reply::Failed(Failure::new(FailureCode::CommandNotFound, "no shell"))
    }));
    let path = format!("/api/v1/containers/{}/sessions", scene.container);
    let open = async || scene.status(&Method::POST, &path, Who::Owner).await;
    assert_eq!(open().await, 422, "the keeper's answer");
    assert_eq!(*asked.lock().expect("a lock"), 1, "the control");
    let database = scene.state.settings.database();
    let db = rusqlite::Connection::open(database).expect("opens");
    db.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .expect("a trail that takes nothing");
    assert_eq!(open().await, 500);
    assert_eq!(*asked.lock().expect("a lock"), 1, "no shell was asked for");
    assert!(!keeper.is_finished(), "its checks held");
    keeper.abort();
}

#[tokio::test]
async fn every_change_by_cookie_needs_its_own_origin() {
    let scene = Scene::new().await;
    let changing = scene
        .table
        .iter()
        .filter(|route| route.method != Method::GET);
    let mut count = 0;
    for route in changing {
        let path = scene.filled(&route.path);
        for origin in [Some("http://evil.example"), None] {
            let mut request = scene.request(&route.method, &path, Who::Admin);
            request.headers_mut().remove(header::ORIGIN);
            if let Some(origin) = origin {
                let value = header::HeaderValue::from_static(origin);
                request.headers_mut().insert(header::ORIGIN, value);
            }
            let status = scene.send(request).await.status();
            assert_eq!(status, 403, "{} {path} from {origin:?}", route.method);
        }
        count += 1;
    }
    assert!(count > 15, "{count} routes change something");
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
    let identity = crate::access::Identity {
        account,
        via: crate::access::Via::Login(hash),
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
    tokio::time::timeout(std::time::Duration::from_secs(1), lost)
        .await
        .expect("at once")
        .expect("no panic");
}

#[tokio::test]
async fn the_first_account_is_made_once_and_by_the_code_only() {
    let (_directory, state, _) = test_state();
    let (router, table) = router::router(&state);
    let mut scene = Scene {
        _directory,
        state,
        router,
        table,
        container: ContainerId::from_bytes([0; 32]),
        session: SessionId::from_bytes([0; 16]),
        secrets: Vec::new(),
    };
    scene.secrets.clear();
    let post = |path: &str, body: Value| {
        let mut request = scene.request(&Method::POST, path, Who::Nobody);
        *request.body_mut() = Body::from(body.to_string());
        scene.send(request)
    };
    scene.state.access.setup.renew();
    let file = scene.state.settings.run.join("setup-code");
    let code = std::fs::read_to_string(&file).expect("the code's file");
    let body =
        |code: &str, password: &str| json!({"code": code, "user": "ann", "password": password});
    let wrong = post("/api/v1/setup", body("0", "correct horse")).await;
    assert_eq!(wrong.status(), 403);
    let short = post("/api/v1/setup", body(&code, "short")).await;
    assert_eq!(short.status(), 422);
    let made = post("/api/v1/setup", body(&code, "correct horse")).await;
    assert_eq!(made.status(), 204);
    assert!(made.headers().contains_key(header::SET_COOKIE));
    let left = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(left, "", "the code is used up");
    let again = post("/api/v1/setup", body(&code, "correct horse")).await;
    assert_eq!(again.status(), 409);
    let wrong = post(
        "/api/v1/login",
        json!({"user": "ann", "password": "wrong horse"}),
    )
    .await;
    assert_eq!(wrong.status(), 401);
    let right = post(
        "/api/v1/login",
        json!({"user": "ann", "password": "correct horse"}),
    )
    .await;
    assert_eq!(right.status(), 204);
    let verified = scene.state.store.audit_verify().await.expect("read");
    let read = verified.expect("whole").read;
    // The account, the first sign-in, a refused one and one that is none.
    assert!((3..=4).contains(&read), "{read}");
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
        assert_eq!(scene.stored("other").await.role, role);
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
async fn a_token_that_ends_makes_none_that_lasts_longer() {
    let scene = Scene::new().await;
    let account = scene.stored("owner").await.id;
    let mint = |life: Option<Duration>, body: Value| {
        let (secret, scene) = (Secret::new(), &scene);
        async move {
            let new = NewToken {
                account,
                name: "robot".into(),
                hash: secret.hash(),
                life,
            };
            let added = scene.state.store.add_token(new, Actor::server());
            let mother = added.await.expect("made");
            let mut request = scene.request(&Method::POST, "/api/v1/tokens", Who::Nobody);
            let value = format!("Bearer {}", secret.reveal()).parse();
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, value.expect("a value"));
            *request.body_mut() = Body::from(body.to_string());
            let answer = scene.send(request).await;
            assert_eq!(answer.status().as_u16(), 201);
            let id = json_of(answer).await["id"].as_i64();
            let tokens = scene.state.store.tokens(account).expect("read");
            let made = tokens.into_iter().find(|token| Some(token.id) == id);
            (mother.expires_at, made.expect("there").expires_at)
        }
    };
    for body in [
        json!({"name": "x"}),
        json!({"name": "x", "expires_in": 9e6}),
    ] {
        let (mother, made) = mint(Some(Duration::from_secs(60)), body).await;
        assert!(made.is_some() && made <= mother, "{made:?} {mother:?}");
    }
    // The controls.
    let (mother, made) = mint(None, json!({"name": "x"})).await;
    assert_eq!((mother, made), (None, None));
    let (mother, made) = mint(
        Some(Duration::from_secs(60)),
        json!({"name": "x", "expires_in": 5}),
    )
    .await;
    assert!(made.is_some() && made < mother);
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
