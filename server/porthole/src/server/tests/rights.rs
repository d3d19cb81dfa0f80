//! What depends on more than the route: whose namespaces, how much, how many.

use porthole_protocol::observation::Sighting;
use porthole_protocol::session::Whose;

use super::*;

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
    let id = scene.add(1, "owner", clock);
    let path = on(&id, "sessions");
    let answer = scene.post(&path, Who::Owner, but("time")).await;
    assert_eq!(answer, refused);
}

#[tokio::test]
async fn who_is_no_administrator_any_more_runs_nothing_in_the_hosts_namespaces() {
    let scene = Scene::new().await;
    let net = |choice: &str| json!({"image": "busybox", "namespaces": {"net": choice}});
    let plain = scene.add(1, "owner", net("own"));
    let hosts = scene.add(2, "owner", net("host"));
    let through = scene.add(3, "owner", net(&format!("container:{hosts}")));
    let further = scene.add(4, "owner", net(&format!("container:{through}")));
    let beside = scene.add(5, "owner", net(&format!("container:{plain}")));
    let anothers = scene.add(6, "other", net("own"));
    let into = scene.add(7, "owner", net(&format!("container:{anothers}")));
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
        let namespaces = initial.map(|initial| network(5, initial));
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
    let hosts = scene.add(1, "owner", hosts);
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
        let writes =
            crate::actions::sessions::may_write(&scene.state, &identity("owner", role), &session);
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
    for (container, role, may) in [
        (&scene.container, Role::User, true),
        (&foreign, Role::User, false),
        (&beside, Role::User, false),
        (&foreign, Role::Admin, true),
    ] {
        let session = session(&SessionId::from_bytes([9; 16]), container, "owner");
        let writes =
            crate::actions::sessions::may_write(&scene.state, &identity("owner", role), &session);
        assert_eq!(writes, may, "{container} as {role}");
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
        scene.add(100 + digit, "other", spec.clone());
        scene.add(digit + 10, "admin", spec.clone());
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
