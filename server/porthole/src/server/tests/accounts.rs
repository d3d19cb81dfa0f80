//! How accounts begin and end, and how people sign in to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use porthole_protocol::keeper::{Failure, FailureCode, Reply, Request as Asked};

use super::*;
use crate::store::NewToken;
use crate::store::audit::search::Wanted;

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

#[tokio::test]
async fn a_token_that_ends_makes_none_that_lasts_longer() {
    let scene = Scene::new().await;
    let account = scene.stored("owner").id;
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
