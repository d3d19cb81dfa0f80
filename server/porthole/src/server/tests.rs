//! Every route, as requests meet it: permissions, origins, names, bounds.
//!
//! No keeper is there: a request that is let through to something that needs it is answered by
//! 503, one that is not by 401 or 403, and that is the difference that these tests look for.

mod accounts;
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
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::Event;
use porthole_protocol::namespace::{Isolation, PerNamespace};
use porthole_protocol::session::{Session, Size};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{router, test_state};
use crate::AppState;
use crate::access::gate::{Peer, Whence};
use crate::access::secret::Secret;
use crate::access::{Account, Permission, Role};
use crate::keeper::Asks;
use crate::routes::{Declared, Face};
use crate::store::{Act, Actor, NewAccount, Note};

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
        image_id: None,
        restarts: 0,
        restart_at: None,
        namespaces: PerNamespace::build(|_| namespace.clone()),
        uid_map: Vec::new(),
        gid_map: Vec::new(),
        cgroup: None,
        network: None,
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
            oom_killed: false,
        }),
        host_pid: None,
        container_pid: None,
        tty_name: None,
        started_at: Timestamp::default(),
        tried: Vec::new(),
        joined: Some(porthole_protocol::namespace::PerNamespace::build(|_| {
            porthole_protocol::session::JoinedNamespace {
                inode: None,
                whose: porthole_protocol::session::Whose::Container,
            }
        })),
        fidelity: Vec::new(),
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
