//! Every route, as requests meet it: permissions, origins, names, bounds.
//!
//! No keeper is there: a request that is let through to something that needs it is answered by
//! 503, one that is not by 401 or 403, and that is the difference that these tests look for.

mod accounts;
mod rights;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use porthole_protocol::container::{Container, ContainerState, Owner, Timestamp};
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::Event;
use porthole_protocol::namespace::{Isolation, PerNamespace};
use porthole_protocol::session::{Session, Size};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{router, test_state};
use crate::AppState;
use crate::access::gate::Peer;
use crate::access::secret::Secret;
use crate::access::{Account, Permission, Role};
use crate::keeper::Asks;
use crate::routes::{Declared, Face};
use crate::store::NewAccount;

const HOST: &str = "127.0.0.1:7678";
const ORIGIN: &str = "http://127.0.0.1:7678";

/// Who asks. The objects that are asked about are `Owner`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Who {
    Nobody,
    Viewer,
    /// A user, of another's things.
    Other,
    Owner,
    Admin,
}

const EVERYBODY: [Who; 5] = [Who::Nobody, Who::Viewer, Who::Other, Who::Owner, Who::Admin];

/// A server with an account for each, a container and a session of the owner's.
struct Scene {
    _directory: tempfile::TempDir,
    state: AppState,
    router: Router,
    table: Vec<Declared>,
    container: ContainerId,
    session: SessionId,
    secrets: Vec<(Who, String)>,
}

fn owner(name: &str) -> Owner {
    Owner::try_from(name.to_owned()).expect("a name")
}

fn container(id: &ContainerId, owned_by: &str) -> Container {
    let namespace = porthole_protocol::container::ContainerNamespace {
        inode: None,
        isolation: Isolation::Own,
        shared_with: Vec::new(),
    };
    Container {
        id: id.clone(),
        name: "web".parse().expect("a name"),
        engine: porthole_protocol::engine::Engine::Porthole,
        owner: owner(owned_by),
        spec: serde_json::from_value(json!({"image": "busybox", "env": {"KEY": "secret"}}))
            .expect("a spec"),
        state: ContainerState::Running,
        error: None,
        pid: None,
        exit: None,
        created_at: Timestamp::from_system(SystemTime::now()),
        started_at: None,
        finished_at: None,
        namespaces: PerNamespace::build(|_| namespace.clone()),
        uid_map: Vec::new(),
        gid_map: Vec::new(),
        cgroup: None,
    }
}

fn session(id: &SessionId, container: &ContainerId, owned_by: &str) -> Session {
    Session {
        id: id.clone(),
        container: container.clone(),
        owner: owner(owned_by),
        command: vec!["sh".into(), "secret".into()],
        tty: true,
        size: Size::DEFAULT,
        exit: Some(porthole_protocol::session::Exit {
            code: 0,
            kind: porthole_protocol::session::ExitKind::Exited,
            reason: "exited".into(),
            at: Timestamp::default(),
        }),
        host_pid: None,
        container_pid: None,
        tty_name: None,
        started_at: Timestamp::default(),
        tried: Vec::new(),
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with_asks().await.0
    }

    /// With what the keeper is asked.
    async fn with_asks() -> (Self, Asks) {
        let (directory, state, asks) = test_state();
        let (router, table) = router::router(&state);
        let container_id = ContainerId::from_bytes([7; 32]);
        let session_id = SessionId::from_bytes([8; 16]);
        let container = container(&container_id, "owner");
        let session = session(&session_id, &container_id, "owner");
        state.world.apply(Event::Container(Box::new(container)));
        state.world.apply(Event::Session(Box::new(session)));
        let mut scene = Self {
            _directory: directory,
            state,
            router,
            table,
            container: container_id,
            session: session_id,
            secrets: Vec::new(),
        };
        for (who, name, role) in [
            (Who::Viewer, "viewer", Role::Viewer),
            (Who::Other, "other", Role::User),
            (Who::Owner, "owner", Role::User),
            (Who::Admin, "admin", Role::Admin),
        ] {
            let account = scene.account(name, role).await;
            scene.log_in(who, &account).await;
        }
        (scene, asks)
    }

    async fn account(&self, name: &str, role: Role) -> Account {
        let new = NewAccount {
            name: owner(name),
            role,
            // Nobody signs in with it here.
            password: String::new(),
        };
        self.state.store.create_account(new).await.expect("made")
    }

    async fn log_in(&mut self, who: Who, account: &Account) {
        let secret = Secret::new();
        let added = self.state.store.add_login(account.id, secret.hash(), None);
        added.await.expect("signed in");
        self.secrets.push((who, secret.reveal().to_owned()));
    }

    fn request(&self, method: &Method, path: &str, who: Who) -> Request {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, ORIGIN)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from("{}"))
            .expect("a request");
        let secret = self.secrets.iter().find(|(whose, _)| *whose == who);
        if let Some((_, secret)) = secret {
            let cookie = format!("__Host-porthole={secret}");
            let value = cookie.parse().expect("a value");
            request.headers_mut().insert(header::COOKIE, value);
        }
        let peer: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        request.extensions_mut().insert(Peer::Network(peer));
        request
    }

    async fn send(&self, request: Request) -> Response {
        let answer = self.router.clone().oneshot(request).await;
        match answer {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn status(&self, method: &Method, path: &str, who: Who) -> u16 {
        self.send(self.request(method, path, who))
            .await
            .status()
            .as_u16()
    }

    /// A route's path with the owner's things in it.
    fn filled(&self, path: &str) -> String {
        path.replace("{container}", self.container.as_str())
            .replace("{session}", self.session.as_str())
            .replace("{name}", "nobody")
            .replace("{user}", "nobody")
            .replace("{*name}", "icon.svg")
            .replace("{version}", "0")
            .replace("{host_pid}", "1")
            .replace("{type}", "pid")
            .replace("{inode}", "1")
            .replace("{id}", "1")
            .replace("{token}", "1")
    }
}

async fn json_of(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    serde_json::from_slice(&bytes.expect("a body")).expect("JSON")
}

/// Whom a permission lets through to the owner's things.
const fn allows(permission: Permission, who: Who) -> bool {
    match permission {
        Permission::Public => true,
        Permission::SignedIn
        | Permission::See
        | Permission::SeeContainer
        | Permission::SeeSession => !matches!(who, Who::Nobody),
        Permission::Create => matches!(who, Who::Other | Who::Owner | Who::Admin),
        Permission::LookIntoContainer | Permission::LookIntoSession => {
            matches!(who, Who::Viewer | Who::Owner | Who::Admin)
        }
        Permission::ChangeContainer | Permission::ChangeSession => {
            matches!(who, Who::Owner | Who::Admin)
        }
        Permission::Administer => matches!(who, Who::Admin),
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_its_permission_names_and_nobody_else() {
    let scene = Scene::new().await;
    assert!(scene.table.len() > 40, "the table holds the routes");
    let mut wrong = Vec::new();
    for route in &scene.table {
        // Signing out in between would make the rest meaningless, and waiting waits.
        if route.path.ends_with("/logout") || route.path.ends_with("/wait") {
            continue;
        }
        let path = scene.filled(route.path);
        assert!(!path.contains('{'), "{path}: a parameter without a value");
        for who in EVERYBODY {
            let status = scene.status(&route.method, &path, who).await;
            let refused = match (who, route.face) {
                // People are sent to where one signs in.
                (Who::Nobody, Face::Page) => [302, 303, 307].contains(&status),
                (Who::Nobody, _) => status == 401,
                _ => status == 403,
            };
            // A sign-in page may send who is signed in elsewhere; that is no refusal.
            let public = route.permission == Permission::Public;
            if !public && refused == allows(route.permission, who)
                || public
                    && [401, 403].contains(&status)
                    && !path.contains("setup")
                    && !path.contains("login")
            {
                wrong.push(format!("{} {path} as {who:?}: {status}", route.method));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn permissions_are_what_they_are_meant_to_be() {
    let scene = Scene::new().await;
    use Permission::{
        Administer, ChangeContainer, ChangeSession, Create, LookIntoContainer, LookIntoSession,
        Public, See, SeeContainer, SeeSession, SignedIn,
    };
    // What is public is written down a second time: a route becomes public by two edits only.
    let public: BTreeSet<_> = scene
        .table
        .iter()
        .filter(|route| route.permission == Public)
        .map(|route| (route.method.as_str(), route.path))
        .collect();
    let meant = [
        ("GET", "/"),
        ("GET", "/api/v1/setup"),
        ("GET", "/assets/{version}/{*name}"),
        ("GET", "/favicon.ico"),
        ("GET", "/healthz"),
        ("GET", "/login"),
        ("GET", "/readyz"),
        ("GET", "/setup"),
        ("POST", "/api/v1/login"),
        ("POST", "/api/v1/setup"),
        ("POST", "/login"),
        ("POST", "/setup"),
    ];
    assert_eq!(public, BTreeSet::from(meant));
    for route in &scene.table {
        let Declared {
            method,
            path,
            permission,
            ..
        } = route;
        let on_container = path.contains("{container}");
        let on_session = path.contains("{session}");
        assert_eq!(
            on_container,
            matches!(
                permission,
                SeeContainer | LookIntoContainer | ChangeContainer
            ),
            "{method} {path}: the container of the path is what the permission is about"
        );
        assert_eq!(
            on_session,
            matches!(permission, SeeSession | LookIntoSession | ChangeSession),
            "{method} {path}: the session of the path is what the permission is about"
        );
        let harmless = path.ends_with("/wait") || path.ends_with("/preview");
        if *method != Method::GET && !harmless {
            assert!(
                matches!(
                    permission,
                    Public | SignedIn | Create | ChangeContainer | ChangeSession | Administer
                ),
                "{method} {path} changes something by {permission:?}"
            );
        }
        if *permission == See {
            assert_eq!(*method, Method::GET, "{path}");
        }
    }
}

#[tokio::test]
async fn what_happens_inside_is_hidden_from_other_users() {
    let scene = Scene::new().await;
    let paths = [
        "/api/v1/containers".to_owned(),
        "/api/v1/sessions".to_owned(),
        format!("/api/v1/containers/{}", scene.container),
        format!("/api/v1/sessions/{}", scene.session),
    ];
    for path in paths {
        for (who, sees) in [
            (Who::Other, false),
            (Who::Viewer, true),
            (Who::Owner, true),
            (Who::Admin, true),
        ] {
            let response = scene.send(scene.request(&Method::GET, &path, who)).await;
            assert_eq!(response.status(), StatusCode::OK);
            let text = json_of(response).await.to_string();
            assert_eq!(text.contains("secret"), sees, "{path} as {who:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_change_by_cookie_needs_its_own_origin() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/containers/{}/start", scene.container);
    for (origin, status) in [
        // The control: nobody does it, but it is let through.
        (Some(ORIGIN), 503),
        (None, 403),
        (Some("null"), 403),
        (Some("http://evil.example"), 403),
        (Some("https://127.0.0.1:7678"), 403),
        (Some("http://127.0.0.1:1"), 403),
    ] {
        let mut request = scene.request(&Method::POST, &path, Who::Owner);
        request.headers_mut().remove(header::ORIGIN);
        if let Some(origin) = origin {
            let value = origin.parse().expect("a value");
            request.headers_mut().insert(header::ORIGIN, value);
        }
        let answer = scene.send(request).await;
        assert_eq!(answer.status().as_u16(), status, "{origin:?}");
    }
}

#[tokio::test]
async fn a_token_needs_no_origin_but_none_of_anothers() {
    let scene = Scene::new().await;
    let account = scene
        .state
        .store
        .account("owner")
        .expect("read")
        .expect("there")
        .account;
    let secret = Secret::new();
    let added = scene
        .state
        .store
        .add_token(account.id, "robot".into(), secret.hash());
    let token = added.await.expect("made");
    let path = format!("/api/v1/containers/{}/start", scene.container);
    let send = |authorization: String, origin: Option<&'static str>, who| {
        let mut request = scene.request(&Method::POST, &path, who);
        request.headers_mut().remove(header::ORIGIN);
        if let Some(origin) = origin {
            let value = header::HeaderValue::from_static(origin);
            request.headers_mut().insert(header::ORIGIN, value);
        }
        let value = authorization.parse().expect("a value");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        async { scene.send(request).await.status().as_u16() }
    };
    let bearer = format!("Bearer {}", secret.reveal());
    assert_eq!(
        send(bearer.clone(), None, Who::Nobody).await,
        503,
        "let through"
    );
    assert_eq!(send(bearer.clone(), Some(ORIGIN), Who::Nobody).await, 503);
    let evil = Some("http://evil.example");
    assert_eq!(send(bearer.clone(), evil, Who::Nobody).await, 403);
    assert_eq!(send("Bearer nonsense".into(), None, Who::Nobody).await, 401);
    // A wrong token is not made good by a cookie; what is no token does not stand in its way.
    assert_eq!(
        send("Bearer nonsense".into(), Some(ORIGIN), Who::Owner).await,
        401
    );
    assert_eq!(
        send("Basic eDp5".into(), Some(ORIGIN), Who::Owner).await,
        503
    );
    let gone = scene.state.store.delete_token(account.id, token.id);
    assert!(gone.await.expect("written"));
    assert_eq!(send(bearer, None, Who::Nobody).await, 401, "taken back");
}

#[tokio::test]
async fn names_that_are_not_ours_are_not_answered_to() {
    let scene = Scene::new().await;
    for (host, status) in [
        ("localhost:9999", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ] {
        let mut request = scene.request(&Method::GET, "/healthz", Who::Nobody);
        let value = host.parse().expect("a value");
        request.headers_mut().insert(header::HOST, value);
        let answer = scene.send(request).await;
        assert_eq!(answer.status().as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn every_answer_carries_its_headers() {
    let scene = Scene::new().await;
    for path in [
        "/healthz",
        "/login",
        "/api/v1/containers",
        "/nowhere",
        "/api/v1/nowhere",
    ] {
        let answer = scene
            .send(scene.request(&Method::GET, path, Who::Nobody))
            .await;
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let policy = header("content-security-policy").expect(path);
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(header("referrer-policy"), Some("same-origin"), "{path}");
        assert!(header("x-request-id").is_some(), "{path}");
    }
}

#[tokio::test]
async fn too_much_and_the_wrong_kind_are_refused() {
    let scene = Scene::new().await;
    let post = |body: String, kind: &'static str| {
        let mut request = scene.request(&Method::POST, "/api/v1/containers", Who::Owner);
        *request.body_mut() = Body::from(body);
        let value = header::HeaderValue::from_static(kind);
        request.headers_mut().insert(header::CONTENT_TYPE, value);
        scene.send(request)
    };
    let spec = r#"{"image":"busybox"}"#.to_owned();
    assert_eq!(
        post(spec.clone(), "application/json").await.status(),
        503,
        "the control"
    );
    assert_eq!(post(spec, "text/plain").await.status(), 415);
    let long = format!(r#"{{"image":"busybox","name":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(post(long, "application/json").await.status(), 413);
    let method = scene
        .status(&Method::PATCH, "/api/v1/containers", Who::Owner)
        .await;
    assert_eq!(method, 405);
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
    };
    let state = scene.state.clone();
    let lost = tokio::spawn(async move {
        state.access.standing.lost(&state.store, &identity).await;
    });
    // Another's change first: it is not theirs.
    let role = scene.state.store.set_role("other".into(), Role::Viewer);
    role.await.expect("changed");
    scene.state.access.standing.look(&scene.state.store);
    tokio::task::yield_now().await;
    assert!(!lost.is_finished(), "the control: another's role");
    let role = scene.state.store.set_role("owner".into(), Role::Viewer);
    role.await.expect("changed");
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
    assert_eq!(scene.state.store.audit_verify().expect("read"), Ok(2));
}
