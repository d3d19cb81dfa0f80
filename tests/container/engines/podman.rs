//! Podman, which speaks as Docker does.

use std::process::Child;

use super::*;

/// Podman's interface on a socket, which it has only while this runs.
struct Service(Child);

impl Service {
    fn start(podman: &Podman, at: &Path) -> Self {
        let address = format!("unix://{}", at.display());
        let service = podman
            .command(&["system", "service", "--time=0", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("podman");
        wait_for("Podman's service", PATIENCE, || at.exists().then_some(()));
        Self(service)
    }

    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn podman_is_told_as_docker_is() {
    let Some(podman) = Podman::start() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("podman.sock");
    let mut service = Service::start(&podman, &at);
    let porthole = with_engines(&format!("podman = {at:?}\nmanage = true"));
    let mut broker = Broker::follow(&socket(&porthole));
    let version = podman.podman(&["version", "--format", "{{.Client.Version}}"]);
    assert_eq!(broker.answers(0), version);
    podman.podman(&["pod", "create", "--infra=false", "--name=herd"]);
    let id = podman.run(
        &["--name=one", "--pod=herd", "--env=A=b"],
        &["sh", "-c", "echo hi; exec sleep 1000"],
    );
    broker.wait("running", |b| {
        b.container(&id)
            .filter(|c| c.state == RunState::Running)
            .map(drop)
    });
    let told = broker.container(&id).expect("told");
    assert_eq!(told.pid.expect("a PID").0, podman.init(&id));
    assert_eq!(
        (told.name.as_str(), told.pod.as_deref()),
        ("one", Some("herd"))
    );
    assert!(told.env.0.contains(&"A=b".to_owned()), "{:?}", told.env.0);
    assert_eq!(told.command, ["sh", "-c", "echo hi; exec sleep 1000"]);
    let (log, _) = Log::open(&socket(&porthole), reference(0, &id), LogPart::default())
        .expect("a log")
        .rest();
    assert_eq!(output(&log, LogStream::Stdout), "hi\n");
    broker.act(0, &id, Verb::Pause).expect("paused");
    assert_eq!(broker.container(&id).expect("told").state, RunState::Paused);
    broker.act(0, &id, Verb::Unpause).expect("unpaused");
    let kill = Number::try_from(9).expect("a signal");
    broker
        .act(0, &id, Verb::Kill { signal: kill })
        .expect("killed");
    broker.wait("its end", |b| {
        let told = b.container(&id)?;
        (told.state == RunState::Exited && told.exit_code == Some(137)).then_some(())
    });
    broker
        .act(0, &id, Verb::Remove { force: false })
        .expect("removed");
    assert!(broker.container(&id).is_none());
    podman.podman(&["pod", "rm", "--force", "herd"]);
    service.stop();
    broker.trouble(0);
}

#[test]
fn a_pod_is_a_group() {
    let Some(podman) = Podman::start() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("podman.sock");
    let _service = Service::start(&podman, &at);
    let porthole = with_engines(&format!("podman = {at:?}"));
    let pod = podman.pod("herd");
    // The one that holds the pod's namespaces, and two in it; one beside.
    let first = podman.run_in("herd", "sheep-1", &["sleep", "1000000"]);
    let second = podman.run_in("herd", "sheep-2", &["sleep", "1000000"]);
    let alone = podman.run(&["--name=alone"], &["sleep", "1000000"]);
    let known = |id: &str| {
        wait_for("it runs", PATIENCE, || {
            let answer = porthole.admin().get(&format!("/api/v1/containers/{id}"));
            let one = (answer.status == 200).then(|| answer.json())?;
            (one["state"] == "running" && one["image"].is_string()).then_some(one)
        })
    };
    let herd = serde_json::json!({"kind": "pod", "name": "herd"});
    for id in [&first, &second] {
        let container = known(id);
        assert_eq!(container["group"], herd, "{container}");
    }
    assert_eq!(known(&alone)["group"], Value::Null, "the control");
    let said = podman.podman(&["ps", "--no-trunc", "--quiet", "--filter", "pod=herd"]);
    let mut theirs: Vec<&str> = said.lines().collect();
    theirs.sort_unstable();
    assert_eq!(theirs.len(), 3, "{said}");
    for id in &theirs {
        known(id);
    }
    let list = porthole.admin().get("/api/v1/containers?limit=5000").ok();
    let all = list["items"].as_array().expect("a list").iter();
    let ours = all.filter(|one| one["group"] == herd);
    // Another test may have a herd of its own.
    let ours = ours.filter_map(|one| one["id"].as_str());
    let mut ours: Vec<&str> = ours.filter(|id| theirs.contains(id)).collect();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
    let page = porthole.admin().get("/containers?group=herd").body;
    assert!(
        page.contains("sheep-1") && page.contains("sheep-2"),
        "{page}"
    );
    assert!(!page.contains(">alone<"), "{page}");
    podman.podman(&["pod", "rm", "--force", "--time=0", &pod]);
}
