//! Who looks into what: the host's, a container's, a namespace's.

use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::Inspected;
use porthole_protocol::observation::Process;
use porthole_protocol::session::Whose;

use super::*;

#[tokio::test]
async fn what_is_shown_of_the_host_is_for_who_may_look_into_it() {
    let scene = Scene::new().await;
    let hosts = json!({"image": "busybox", "namespaces": {"pid": "host"}});
    let hosts = scene.add(1, "owner", hosts);
    let anothers = scene.add(2, "other", json!({"image": "busybox"}));
    let beside: ContainerId = "none-900-1".parse().expect("an id");
    let out = Some(NamespaceType::Net);
    // As who opened it as an administrator and is none any more.
    for (number, container, left_out, owners) in [
        (1, &scene.container, None, 200),
        (2, &scene.container, Some(NamespaceType::Time), 200),
        (3, &scene.container, out, 403),
        (4, &hosts, Some(NamespaceType::Pid), 403),
        (5, &anothers, None, 403),
        (6, &beside, None, 403),
    ] {
        let id = SessionId::from_bytes([number; 16]);
        let mut session = session(&id, container, "owner");
        if let (Some(joined), Some(kind)) = (&mut session.joined, left_out) {
            joined.get_mut(kind).whose = Whose::Host;
        }
        scene.state.world.learn_session(&session);
        for what in ["journal", "attach", "trace"] {
            let path = format!("/api/v1/sessions/{id}/{what}");
            for (who, may) in [
                (Who::Owner, owners == 200),
                (Who::Other, false),
                (Who::Viewer, true),
                (Who::Admin, true),
            ] {
                let status = scene.status(&Method::GET, &path, who).await;
                assert_eq!(status != 403, may, "{path}: {status} as {who:?}");
                if what == "journal" && may {
                    assert_eq!(status, 200, "the control: {path} as {who:?}");
                }
            }
        }
        let path = format!("/api/v1/sessions/{id}");
        let request = scene.request(&Method::GET, &path, Who::Owner);
        let told = json_of(scene.send(request).await).await;
        assert_eq!(told["command"].is_array(), owners == 200, "{told}");
    }
    let request = scene.request(&Method::GET, "/sessions", Who::Owner);
    let body = scene.send(request).await.into_body();
    let page = axum::body::to_bytes(body, 1 << 20).await.expect("a page");
    let page = String::from_utf8_lossy(&page);
    let hidden = "an administrator&#39;s session in the host&#39;s namespaces";
    assert!(page.contains(hidden), "{page}");
}

#[tokio::test]
async fn what_an_administrator_runs_beside_a_container_is_not_its_owners_to_see() {
    let scene = Scene::new().await;
    let admins = SessionId::from_bytes([3; 16]);
    let inside = SessionId::from_bytes([4; 16]);
    for (id, by, whose) in [
        (&admins, "admin", Whose::Host),
        (&inside, "admin", Whose::Container),
    ] {
        let mut session = session(id, &scene.container, by);
        if let Some(joined) = &mut session.joined {
            joined.get_mut(NamespaceType::Pid).whose = whose;
        }
        scene.state.world.learn_session(&session);
    }
    let of = |pid: i32, session: Option<&SessionId>| {
        let mut process = observed(pid, Some(&scene.container));
        process.args = vec!["mysql".to_owned(), "-phunter2".to_owned()];
        process.session = session.cloned();
        process
    };
    scene.state.world.observe(Update {
        full: true,
        processes: vec![
            of(201, None),
            of(202, Some(&inside)),
            of(203, Some(&admins)),
        ],
        ..Update::default()
    });
    for (pid, owners) in [(201, true), (202, true), (203, false)] {
        for (who, may) in [
            (Who::Owner, owners),
            (Who::Viewer, true),
            (Who::Admin, true),
        ] {
            let path = format!("/api/v1/processes/{pid}");
            let told = json_of(scene.send(scene.request(&Method::GET, &path, who)).await).await;
            assert_eq!(told["args"].is_array(), may, "{pid} as {who:?}: {told}");
            let path = format!("{path}/detail");
            let status = scene.status(&Method::GET, &path, who).await;
            assert_eq!(status, if may { 503 } else { 403 }, "{path} as {who:?}");
        }
    }
}

/// A process on the host that the observer tells of.
fn observed(pid: i32, container: Option<&ContainerId>) -> Process {
    serde_json::from_value(json!({
        "host_pid": pid, "pids": [pid], "parent": null, "uid": 0, "uid_inside": 0, "gid": 0,
        "gid_inside": 0, "command": "sleep", "args": [], "tty": null, "state": "S",
        "started_at": Timestamp::default(), "start_ticks": 1, "threads": 1, "rss": 0,
        "namespaces": {"mnt": null, "uts": null, "ipc": null, "pid": null, "net": null, "user": null,
            "cgroup": null, "time": null},
        "container": container, "session": null,
    }))
    .expect("a process")
}

#[tokio::test]
async fn only_what_a_container_has_to_itself_is_looked_into_by_its_owner() {
    let scene = Scene::new().await;
    let net = |digit: u8, name: &str, pid: i32, inode: u64| {
        let id = ContainerId::from_bytes([digit; 32]);
        let mut made = container(&id, name);
        made.name = format!("c{digit}").parse().expect("a name");
        made.pid = Some(HostPid(pid));
        made.namespaces.net.inode = Some(NamespaceInode(inode));
        let event = Event::Container(Box::new(made));
        scene.state.world.apply(event);
        id
    };
    let own = net(1, "owner", 101, 51);
    let hosts = net(2, "owner", 102, 52);
    let shared = net(3, "owner", 103, 53);
    net(4, "other", 104, 53);
    let namespace = |inode: u64, initial| Namespace {
        leader: Some(HostPid(i32::try_from(inode).expect("small") + 50)),
        ..network(inode, initial)
    };
    scene.state.world.observe(Update {
        full: true,
        processes: vec![
            observed(101, Some(&own)),
            observed(102, Some(&hosts)),
            observed(103, Some(&shared)),
            observed(104, Some(&ContainerId::from_bytes([4; 32]))),
            observed(105, None),
        ],
        namespaces: vec![
            namespace(51, false),
            namespace(52, true),
            namespace(53, false),
            namespace(55, false),
        ],
        ..Update::default()
    });
    // 503: let through to the keeper, which is away.
    for (path, owners, others) in [
        (on(&own, "network"), 503, 403),
        (on(&hosts, "network"), 403, 403),
        (on(&shared, "network"), 403, 403),
        (on(&hosts, "security"), 503, 403),
        (on(&own, "isolation"), 503, 403),
        ("/api/v1/namespaces/net/51/detail".to_owned(), 503, 403),
        ("/api/v1/namespaces/net/52/detail".to_owned(), 403, 403),
        ("/api/v1/namespaces/net/53/detail".to_owned(), 403, 403),
        ("/api/v1/namespaces/net/55/detail".to_owned(), 403, 403),
        ("/api/v1/processes/101/detail".to_owned(), 503, 403),
        ("/api/v1/processes/104/detail".to_owned(), 403, 503),
        ("/api/v1/processes/105/detail".to_owned(), 403, 403),
        ("/api/v1/wiring".to_owned(), 503, 503),
    ] {
        for (who, expected) in [
            (Who::Nobody, 401),
            (Who::Owner, owners),
            (Who::Other, others),
            (Who::Viewer, 503),
            (Who::Admin, 503),
        ] {
            let status = scene.status(&Method::GET, &path, who).await;
            assert_eq!(status, expected, "{path} as {who:?}");
        }
    }
    for (path, expected) in [
        ("/api/v1/namespaces/uts/51/detail", 404),
        ("/api/v1/namespaces/net/50/detail", 404),
        ("/api/v1/namespaces/mount/51/detail", 404),
        ("/api/v1/namespaces/net/x/detail", 404),
        ("/api/v1/processes/99/detail", 404),
        ("/api/v1/processes/-1/detail", 404),
    ] {
        let status = scene.status(&Method::GET, path, Who::Admin).await;
        assert_eq!(status, expected, "{path}");
    }
    let stopped = on(&scene.container, "mounts");
    for who in [Who::Owner, Who::Admin] {
        assert_eq!(scene.status(&Method::GET, &stopped, who).await, 409);
    }
}

#[test]
fn what_lies_elsewhere_is_left_out() {
    let scene = |inside: u64, outside: u64| -> Inspected {
        let interface = |peer: u64| {
            json!({"index": 2, "name": "eth0", "kind": "veth", "up": true, "state": "up", "mtu": 1500,
                "mac": null, "master": null, "ports": [], "addresses": [], "received": 0, "sent": 0,
                "peer": {"index": 9, "namespace": peer, "name": "veth1", "master": "secret0"}})
        };
        let wired = |inode: u64, peer: u64| {
            json!({"inode": inode, "host": false, "process": null, "mount": null,
                "interfaces": {"items": [interface(peer)], "left_out": 0}})
        };
        let wiring = json!({"what": "wiring", "unread": {"items": [outside], "left_out": 0},
            "namespaces": {"items": [wired(inside, outside), wired(outside, inside)], "left_out": 0}});
        serde_json::from_value(wiring).expect("wiring")
    };
    let mut seen = scene(51, 52);
    let sight = crate::api::inspect::Sight::only([NamespaceInode(51)]);
    sight.restrict(&mut seen);
    let text = serde_json::to_string(&seen).expect("json");
    assert!(!text.contains("secret0"), "{text}");
    let Inspected::Wiring(wiring) = seen else {
        panic!("wiring");
    };
    assert_eq!(
        (wiring.namespaces.items.len(), wiring.namespaces.left_out),
        (1, 1)
    );
    assert_eq!((wiring.unread.items.len(), wiring.unread.left_out), (0, 1));
}

#[tokio::test]
async fn what_is_inside_a_namespace_of_the_host_is_for_who_may_look_into_the_host() {
    let scene = Scene::new().await;
    scene.state.world.observe(Update {
        full: true,
        namespaces: vec![network(77, true)],
        ..Update::default()
    });
    for (who, sees) in [
        (Who::Other, false),
        (Who::Owner, false),
        (Who::Viewer, true),
        (Who::Admin, true),
    ] {
        let page = scene.status(&Method::GET, "/namespaces/net/77", who).await;
        assert_eq!(page, 200, "{who:?} sees that it is there");
        let inside = scene
            .status(&Method::GET, "/namespaces/net/77/detail", who)
            .await;
        assert_eq!(inside, if sees { 200 } else { 403 }, "{who:?}");
    }
}

#[tokio::test]
async fn wires_that_cannot_be_read_cost_a_line_and_not_the_page() {
    let scene = Scene::new().await;
    for who in [Who::Other, Who::Admin] {
        for piece in [false, true] {
            let mut request = scene.request(&Method::GET, "/namespaces/wires?q=a", who);
            if piece {
                let value = axum::http::HeaderValue::from_static("true");
                request.headers_mut().insert("hx-request", value);
            }
            let answer = scene.send(request).await;
            assert_eq!(answer.status(), 200, "{who:?}");
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
            let text = String::from_utf8(body.expect("a body").to_vec()).expect("text");
            assert!(text.contains("<strong>Not read.</strong>"), "{text}");
            assert!(text.contains("hx-get=\"/namespaces/wires?q=a\""), "{text}");
            assert_eq!(text.contains("<html"), !piece);
        }
    }
}
