//! What the keeper and the observer tell of, for tests: the plainest of each kind.

use porthole_protocol::container::{Container, ContainerNamespace, ContainerState, Timestamp};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, NamespaceInode, SessionId};
use porthole_protocol::namespace::{Isolation, NamespaceType, PerNamespace};
use porthole_protocol::observation::Namespace;
use porthole_protocol::session::{Exit, ExitKind, JoinedNamespace, Session, Size, Whose};

/// A container that never ran.
pub(crate) fn container(id: &ContainerId, name: &str, owner: &str) -> Container {
    let namespace = ContainerNamespace {
        inode: None,
        isolation: Isolation::Own,
        shared_with: Vec::new(),
    };
    Container {
        id: id.clone(),
        name: name.parse().expect("a name"),
        engine: Engine::Porthole,
        owner: owner.parse().expect("a name"),
        spec: serde_json::from_str(r#"{"image":"busybox"}"#).expect("a spec"),
        state: ContainerState::Created,
        error: None,
        pid: None,
        exit: None,
        created_at: Timestamp::default(),
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

/// A session with a terminal that has ended, and was in all of its container's namespaces.
pub(crate) fn session(id: &SessionId, container: &ContainerId, owner: &str) -> Session {
    Session {
        id: id.clone(),
        container: container.clone(),
        owner: owner.parse().expect("a name"),
        command: vec!["sh".into()],
        tty: true,
        size: Size::DEFAULT,
        exit: Some(Exit {
            code: 0,
            kind: ExitKind::Exited,
            reason: "exited".into(),
            at: Timestamp::default(),
            oom_killed: false,
        }),
        host_pid: None,
        container_pid: None,
        tty_name: None,
        started_at: Timestamp::default(),
        tried: Vec::new(),
        joined: Some(PerNamespace::build(|_| JoinedNamespace {
            inode: None,
            whose: Whose::Container,
        })),
        fidelity: Vec::new(),
    }
}

/// A namespace with one process in it.
pub(crate) fn namespace(kind: NamespaceType, inode: u64) -> Namespace {
    Namespace {
        kind,
        inode: NamespaceInode(inode),
        initial: false,
        owner: None,
        parent: None,
        processes: 1,
        leader: None,
        owner_uid: None,
        holders: Vec::new(),
        netnsid: None,
        more_holders: 0,
        children: 0,
    }
}
