//! Every route, as requests meet it: permissions, origins, names, bounds.
//!
//! No keeper is there: a request that is let through to something that needs it is answered by
//! 503, one that is not by 401 or 403, and that is the difference that these tests look for.

mod accounts;
mod looking;
mod losing;
mod permissions;
mod requests;
mod rights;

use std::net::SocketAddr;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use porthole_protocol::container::{Container, ContainerState, Owner, Timestamp};
use porthole_protocol::id::{ContainerId, NamespaceInode, SessionId};
use porthole_protocol::keeper::Event;
use porthole_protocol::namespace::{Isolation, NamespaceType};
use porthole_protocol::observation::{Namespace, Update};
use porthole_protocol::session::Session;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{router, test_state};
use crate::AppState;
use crate::access::gate::{Peer, Whence};
use crate::access::password::hash_now;
use crate::access::secret::Secret;
use crate::access::{Account, Identity, Permission, Role, Via};
use crate::fixture;
use crate::keeper::Asks;
use crate::routes::{Declared, Face};
use crate::store::{AccountChange, Act, Actor, NewAccount, Note};

const HOST: &str = "127.0.0.1:7678";
const ORIGIN: &str = "http://127.0.0.1:7678";

const OLD: &str = "correct horse battery";
const NEW: &str = "another fine horse";

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

/// One that runs, with a secret in its variables.
fn container(id: &ContainerId, owned_by: &str) -> Container {
    Container {
        spec: serde_json::from_value(json!({"image": "busybox", "env": {"KEY": "secret"}}))
            .expect("a spec"),
        state: ContainerState::Running,
        created_at: Timestamp::from_system(SystemTime::now()),
        ..fixture::container(id, "web", owned_by)
    }
}

/// One with a secret in its command.
fn session(id: &SessionId, container: &ContainerId, owned_by: &str) -> Session {
    Session {
        command: vec!["sh".into(), "secret".into()],
        ..fixture::session(id, container, owned_by)
    }
}

/// Somebody of this name, over the local socket.
fn identity(name: &str, role: Role) -> Identity {
    Identity {
        account: Account::new(1, owner(name), role, Timestamp::default()),
        via: Via::Local,
        from: None,
    }
}

/// A network namespace that the observer tells of.
fn network(inode: u64, initial: bool) -> Namespace {
    Namespace {
        initial,
        ..fixture::namespace(NamespaceType::Net, inode)
    }
}

fn on(container: &ContainerId, what: &str) -> String {
    format!("/api/v1/containers/{container}/{what}")
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
        let by = Actor::server();
        self.state
            .store
            .create_account(new, by)
            .await
            .expect("made")
    }

    async fn log_in(&mut self, who: Who, account: &Account) {
        let secret = Secret::new();
        let note = Note::done(&Actor::server(), Act::SignIn, account.name.as_str());
        let store = &self.state.store;
        let added = store.add_login(account.id, secret.hash(), None, Whence::default(), note);
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

    async fn json(&self, method: Method, path: &str, who: Who, body: Value) -> Response {
        let mut request = self.request(&method, path, who);
        *request.body_mut() = Body::from(body.to_string());
        self.send(request).await
    }

    /// The status and the field that it is about.
    async fn post(&self, path: &str, who: Who, body: Value) -> (u16, Option<String>) {
        let answer = self.json(Method::POST, path, who, body).await;
        let status = answer.status().as_u16();
        let field = match status {
            200..300 => None,
            _ => json_of(answer).await["error"]["field"]
                .as_str()
                .map(str::to_owned),
        };
        (status, field)
    }

    /// A second container, whose spec says this.
    fn add(&self, digit: u8, owned_by: &str, spec: Value) -> ContainerId {
        let id = ContainerId::from_bytes([digit; 32]);
        let mut container = container(&id, owned_by);
        container.name = format!("c{digit}").parse().expect("a name");
        container.spec = serde_json::from_value(spec).expect("a spec");
        let event = Event::Container(Box::new(container));
        self.state.world.apply(event);
        id
    }

    /// The account as it is in the database.
    fn stored(&self, name: &str) -> Account {
        let stored = self.state.store.account(name).expect("read");
        stored.expect("there").account
    }

    async fn change(&self, name: &str, change: AccountChange) {
        let by = Actor::server();
        let changed = self.state.store.change_account(name.into(), change, by);
        changed.await.expect("changed");
    }

    async fn with_password(&self, name: &str) {
        let change = AccountChange {
            password: Some(hash_now(OLD).expect("hashed")),
            ..AccountChange::default()
        };
        self.change(name, change).await;
    }

    async fn set_role(&self, name: &str, role: Role) {
        let change = AccountChange {
            role: Some(role),
            ..AccountChange::default()
        };
        self.change(name, change).await;
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
            .replace("{pid}", "1")
            .replace("{type}", "pid")
            .replace("{inode}", "1")
            .replace("{id}", "1")
            .replace("{token}", "1")
            .replace("{image}", "nothing")
    }
}

async fn json_of(response: Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    serde_json::from_slice(&bytes.expect("a body")).expect("JSON")
}
