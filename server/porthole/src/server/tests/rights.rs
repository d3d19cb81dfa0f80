//! What depends on more than the route: whose namespaces, how much, how many.

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Sighting, Update};
use porthole_protocol::session::Whose;

use super::*;

/// A second container, whose spec says this.
fn add(scene: &Scene, digit: u8, owned_by: &str, spec: Value) -> ContainerId {
    let id = ContainerId::from_bytes([digit; 32]);
    let mut container = container(&id, owned_by);
    container.name = format!("c{digit}").parse().expect("a name");
    container.spec = serde_json::from_value(spec).expect("a spec");
    scene
        .state
        .world
        .apply(Event::Container(Box::new(container)));
    id
}

impl Scene {
    /// The status and the field that it is about.
    async fn post(&self, path: &str, who: Who, body: Value) -> (u16, Option<String>) {
        let mut request = self.request(&Method::POST, path, who);
        *request.body_mut() = Body::from(body.to_string());
        let answer = self.send(request).await;
        let status = answer.status().as_u16();
        let field = match status {
            200..300 => None,
            _ => json_of(answer).await["error"]["field"]
                .as_str()
                .map(str::to_owned),
        };
        (status, field)
    }
}

fn on(container: &ContainerId, what: &str) -> String {
    format!("/api/v1/containers/{container}/{what}")
}

#[tokio::test]
async fn what_is_not_joined_is_the_hosts_and_for_administrators() {
    let scene = Scene::new().await;
    let path = on(&scene.container, "sessions");
    let all = NamespaceType::ALL.map(NamespaceType::name);
    let but = |kind: &str| {
        let rest: Vec<_> = all.iter().filter(|name| **name != kind).collect();
        json!({"join": rest})
    };
    let refused = (403, Some("join".to_owned()));
    for join in [json!({"join": []}), json!({"join": ["net"]})]
        .into_iter()
        .chain(all.iter().filter(|name| **name != "time").map(|k| but(k)))
    {
        let owner = scene.post(&path, Who::Owner, join.clone()).await;
        assert_eq!(owner, refused, "{join}");
        let admin = scene.post(&path, Who::Admin, join.clone()).await;
        assert_eq!(admin.0, 503, "the control: let through, {join}");
    }
    // The clocks are the host's anyhow, and all is what is joined without a word.
    for join in [but("time"), json!({"join": all}), json!({})] {
        assert_eq!(scene.post(&path, Who::Owner, join).await.0, 503);
    }
    // A clock of its own is one to be joined.
    let clock = json!({"image": "busybox", "time_offset": {"monotonic": 5}});
    let id = add(&scene, 1, "owner", clock);
    let path = on(&id, "sessions");
    let answer = scene.post(&path, Who::Owner, but("time")).await;
    assert_eq!(answer, refused);
}

#[tokio::test]
async fn who_is_no_administrator_any_more_runs_nothing_in_the_hosts_namespaces() {
    let scene = Scene::new().await;
    let net = |choice: &str| json!({"image": "busybox", "namespaces": {"net": choice}});
    let plain = add(&scene, 1, "owner", net("own"));
    let hosts = add(&scene, 2, "owner", net("host"));
    let through = add(&scene, 3, "owner", net(&format!("container:{hosts}")));
    let further = add(&scene, 4, "owner", net(&format!("container:{through}")));
    let beside = add(&scene, 5, "owner", net(&format!("container:{plain}")));
    let anothers = add(&scene, 6, "other", net("own"));
    let into = add(&scene, 7, "owner", net(&format!("container:{anothers}")));
    for what in ["start", "restart", "sessions"] {
        for id in [&hosts, &through, &further, &into] {
            let path = on(id, what);
            let refused = (403, Some("namespaces.net".to_owned()));
            let owner = scene.post(&path, Who::Owner, json!({})).await;
            assert_eq!(owner, refused, "{path}");
            let admin = scene.post(&path, Who::Admin, json!({})).await;
            assert_eq!(admin.0, 503, "the control: {path}");
        }
        for id in [&plain, &beside] {
            let owner = scene.post(&on(id, what), Who::Owner, json!({})).await;
            assert_eq!(owner.0, 503, "let through: {what}");
        }
    }
    for (id, status) in [(&plain, 503), (&through, 403), (&anothers, 403)] {
        let spec = net(&format!("container:{id}"));
        let made = scene.post("/api/v1/containers", Who::Owner, spec).await;
        assert_eq!(made.0, status, "made beside {id}");
    }
}

#[tokio::test]
async fn a_shared_namespace_is_the_hosts_also_when_the_container_between_is_gone() {
    use porthole_protocol::id::NamespaceInode;
    use porthole_protocol::observation::{Namespace, Update};
    let scene = Scene::new().await;
    let id = ContainerId::from_bytes([1; 32]);
    let mut shared = container(&id, "owner");
    let gone = ContainerId::from_bytes([99; 32]);
    shared.spec = serde_json::from_value(
        json!({"image": "busybox", "namespaces": {"net": format!("container:{gone}")}}),
    )
    .expect("a spec");
    shared.namespaces.net.inode = Some(NamespaceInode(5));
    shared.namespaces.net.isolation = Isolation::Own;
    scene.state.world.apply(Event::Container(Box::new(shared)));
    let path = on(&id, "sessions");
    for (initial, status) in [(None, 403), (Some(true), 403), (Some(false), 503)] {
        let namespaces = initial.map(|initial| Namespace {
            kind: NamespaceType::Net,
            inode: NamespaceInode(5),
            initial,
            owner: None,
            parent: None,
            processes: 1,
            leader: None,
            owner_uid: None,
            holders: Vec::new(),
            netnsid: None,
            more_holders: 0,
            children: 0,
        });
        scene.state.world.observe(Update {
            full: true,
            namespaces: namespaces.into_iter().collect(),
            ..Update::default()
        });
        let answer = scene.post(&path, Who::Owner, json!({})).await;
        assert_eq!(answer.0, status, "initial: {initial:?}");
    }
}

#[tokio::test]
async fn a_session_in_the_hosts_namespaces_is_typed_into_by_administrators() {
    let scene = Scene::new().await;
    let hosts = json!({"image": "busybox", "namespaces": {"pid": "host"}});
    let hosts = add(&scene, 1, "owner", hosts);
    let identity = |role| crate::access::Identity {
        account: Account::new(1, owner("owner"), role, Timestamp::default()),
        via: crate::access::Via::Local,
        from: None,
    };
    let out = Some(NamespaceType::Net);
    for (container, left_out, role, may) in [
        (&scene.container, None, Role::User, true),
        (
            &scene.container,
            Some(NamespaceType::Time),
            Role::User,
            true,
        ),
        (&scene.container, out, Role::User, false),
        (&scene.container, out, Role::Admin, true),
        (&hosts, None, Role::User, false),
        (&hosts, None, Role::Admin, true),
    ] {
        let mut session = session(&SessionId::from_bytes([9; 16]), container, "owner");
        if let (Some(joined), Some(kind)) = (&mut session.joined, left_out) {
            joined.get_mut(kind).whose = Whose::Host;
        }
        let writes = crate::actions::sessions::may_write(&scene.state, &identity(role), &session);
        assert_eq!(writes, may, "{container} without {left_out:?} as {role}");
    }
}

#[tokio::test]
async fn a_session_in_another_engines_container_is_typed_into_by_administrators() {
    let scene = Scene::new().await;
    let own = NamespaceInode(70);
    let foreign: ContainerId = "lab".parse().expect("an id");
    let beside: ContainerId = "none-900-1".parse().expect("an id");
    // All eight are its own, so that nothing of the host tells that it is not Porthole's.
    let sighting: Sighting = serde_json::from_value(json!({
        "id": foreign, "engine": "lxc", "name": null, "init": 900, "start_ticks": 1,
        "started_at": Timestamp::default(), "uid_map": [], "gid_map": [], "cgroup": null,
        "within": null, "pod": null, "paused": false,
        "namespaces": {"mnt": own, "uts": own, "ipc": own, "pid": own, "net": own, "user": own,
            "cgroup": own, "time": own},
    }))
    .expect("a sighting");
    scene.state.world.observe(Update {
        full: true,
        containers: vec![sighting],
        ..Update::default()
    });
    let identity = |role| crate::access::Identity {
        account: Account::new(1, owner("owner"), role, Timestamp::default()),
        via: crate::access::Via::Local,
        from: None,
    };
    for (container, role, may) in [
        (&scene.container, Role::User, true),
        (&foreign, Role::User, false),
        (&beside, Role::User, false),
        (&foreign, Role::Admin, true),
    ] {
        let session = session(&SessionId::from_bytes([9; 16]), container, "owner");
        let writes = crate::actions::sessions::may_write(&scene.state, &identity(role), &session);
        assert_eq!(writes, may, "{container} as {role}");
    }
}

#[tokio::test]
async fn what_is_shown_of_the_host_is_for_who_may_look_into_it() {
    let scene = Scene::new().await;
    let hosts = json!({"image": "busybox", "namespaces": {"pid": "host"}});
    let hosts = add(&scene, 1, "owner", hosts);
    let anothers = add(&scene, 2, "other", json!({"image": "busybox"}));
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

#[tokio::test]
async fn only_administrators_go_beyond_the_ceilings() {
    let scene = Scene::new().await;
    let path = "/api/v1/containers";
    for (limits, field) in [
        (json!({"memory": 1_u64 << 50}), "limits.memory"),
        (json!({"swap": 1_u64 << 50}), "limits.swap"),
        (json!({"cpus": 1024}), "limits.cpus"),
        (json!({"pids": 4097}), "limits.pids"),
    ] {
        let spec = json!({"image": "busybox", "limits": limits});
        let refused = (422, Some(field.to_owned()));
        assert_eq!(scene.post(path, Who::Owner, spec.clone()).await, refused);
        let admin = scene.post(path, Who::Admin, spec).await;
        assert_eq!(admin.0, 503, "the control: {field}");
    }
    let modest =
        json!({"image": "busybox", "limits": {"memory": 64 << 20, "cpus": 1, "pids": 4096}});
    assert_eq!(scene.post(path, Who::Owner, modest).await.0, 503);
}

#[tokio::test]
async fn a_user_has_64_containers_and_32_sessions_at_once() {
    let scene = Scene::new().await;
    let path = "/api/v1/containers";
    // Little memory, so that it is their number that counts.
    let spec = json!({"image": "busybox", "limits": {"memory": 8 << 20}});
    for digit in 0..64 {
        let made = scene.post(path, Who::Other, spec.clone()).await;
        assert_eq!(made.0, 503, "the control: {digit}");
        add(&scene, 100 + digit, "other", spec.clone());
        add(&scene, digit + 10, "admin", spec.clone());
    }
    assert_eq!(scene.post(path, Who::Other, spec.clone()).await.0, 429);
    assert_eq!(scene.post(path, Who::Admin, spec.clone()).await.0, 503);
    assert_eq!(scene.post(path, Who::Owner, spec).await.0, 503, "another's");

    let path = on(&scene.container, "sessions");
    for digit in 0..32 {
        let opened = scene.post(&path, Who::Owner, json!({})).await;
        assert_eq!(opened.0, 503, "the control: {digit}");
        let id = SessionId::from_bytes([100 + digit; 16]);
        let mut session = session(&id, &scene.container, "owner");
        session.exit = None;
        scene.state.world.apply(Event::Session(Box::new(session)));
    }
    assert_eq!(scene.post(&path, Who::Owner, json!({})).await.0, 429);
    assert_eq!(scene.post(&path, Who::Admin, json!({})).await.0, 503);
}

#[tokio::test]
async fn a_list_says_when_the_keeper_is_away() {
    let scene = Scene::new().await;
    for away in [json!("away"), Value::Null] {
        for path in ["/api/v1/containers", "/api/v1/sessions"] {
            let request = scene.request(&Method::GET, path, Who::Admin);
            let list = json_of(scene.send(request).await).await;
            assert_eq!(list["keeper"], away, "{list}");
            assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        }
        scene.state.world.apply(Event::Synced);
    }
}

/// A process on the host that the observer tells of.
fn observed(pid: i32, container: Option<&ContainerId>) -> porthole_protocol::observation::Process {
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
    use porthole_protocol::id::{HostPid, NamespaceInode};
    use porthole_protocol::observation::{Namespace, Update};
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
        kind: NamespaceType::Net,
        inode: NamespaceInode(inode),
        initial,
        owner: None,
        parent: None,
        processes: 1,
        leader: Some(HostPid(i32::try_from(inode).expect("small") + 50)),
        owner_uid: None,
        holders: Vec::new(),
        netnsid: None,
        more_holders: 0,
        children: 0,
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
    use porthole_protocol::inspection::Inspected;
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
    let sight = crate::api::inspect::Sight::only([porthole_protocol::id::NamespaceInode(51)]);
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
    use porthole_protocol::id::NamespaceInode;
    use porthole_protocol::namespace::NamespaceType;
    use porthole_protocol::observation::{Namespace, Update};
    let scene = Scene::new().await;
    scene.state.world.observe(Update {
        full: true,
        namespaces: vec![Namespace {
            kind: NamespaceType::Net,
            inode: NamespaceInode(77),
            initial: true,
            owner: None,
            parent: None,
            processes: 1,
            leader: None,
            owner_uid: None,
            holders: Vec::new(),
            netnsid: None,
            more_holders: 0,
            children: 0,
        }],
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
