//! What is told of containers is what `docker inspect` says, and at once.

use super::*;

#[test]
fn containers_are_told_as_docker_itself_says() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&docker_at(&docker));
    let mut broker = Broker::follow(&socket(&porthole));
    let version = docker.docker(&["version", "--format", "{{.Server.Version}}"]);
    assert_eq!(broker.answers(0), version);
    assert!(!broker.hello.manage);

    let rich = docker.run(
        &[
            "--name=rich",
            "--tty",
            "--hostname=inside",
            "--user=1000:1000",
            "--workdir=/tmp",
            "--env=TOKEN=secret",
            "--env=EMPTY=",
            "--label=com.docker.compose.project=shop",
            "--label=com.docker.compose.service=web",
            "--label=weird=\"<b>\" ü",
            "--expose=80/tcp",
            "--expose=53/udp",
            "--tmpfs=/scratch",
            "--restart=on-failure:3",
            "--volume=kept:/data",
            "--volume=/etc/hostname:/host:ro",
            "--entrypoint=/bin/sleep",
        ],
        &["1000"],
    );
    let created = docker.docker(&["create", "--network=none", "--name=created", IMAGE, "true"]);
    let failed = docker.run(&["--name=failed"], &["sh", "-c", "exit 3"]);
    let paused = docker.run(&["--name=paused", "--restart=always"], &["sleep", "1000"]);
    docker.docker(&["pause", "paused"]);
    docker.docker(&["wait", "failed"]);
    let sick = docker.run(
        &[
            "--name=sick",
            "--health-cmd=false",
            "--health-interval=1s",
            "--health-retries=1",
        ],
        &["sleep", "1000"],
    );
    let broken = docker.docker(&[
        "create",
        "--network=none",
        "--name=broken",
        IMAGE,
        "/no/such",
    ]);
    assert!(!docker.try_docker(&["start", "broken"]).status.success());

    for (id, state) in [
        (&rich, RunState::Running),
        (&created, RunState::Created),
        (&failed, RunState::Exited),
        (&paused, RunState::Paused),
    ] {
        broker.wait(state.name(), |broker| {
            broker.container(id).filter(|c| c.state == state).map(drop)
        });
        compare(broker.container(id).expect("told"), &inspect(&docker, id));
    }
    let told = broker.container(&rich).expect("told");
    let compose = told.compose.as_ref().expect("a project");
    assert_eq!(
        (compose.project.as_str(), compose.service.as_deref()),
        ("shop", Some("web"))
    );
    assert_eq!(told.restart_policy, RestartPolicy::OnFailure { most: 3 });
    let ports: Vec<_> = told
        .ports
        .iter()
        .map(|p| (p.container, &*p.protocol, &p.host))
        .collect();
    assert_eq!(ports, [(53, "udp", &None), (80, "tcp", &None)]);
    assert!(
        told.mounts
            .iter()
            .any(|m| m.kind == "tmpfs" && m.destination == "/scratch")
    );
    assert_eq!(
        broker.container(&paused).expect("told").restart_policy,
        RestartPolicy::Always
    );
    assert_eq!(broker.container(&failed).expect("told").exit_code, Some(3));
    broker.wait("a health check's finding", |broker| {
        (broker.container(&sick)?.health == Some(Health::Unhealthy)).then_some(())
    });
    let error = broker.wait("why it did not start", |broker| {
        broker.container(&broken)?.error.clone()
    });
    assert_eq!(error, inspect(&docker, &broken)["State"]["Error"]);
    assert_eq!(
        broker.container(&broken).expect("told").exit_code,
        Some(127)
    );

    // All that there are, and no others.
    let mut all: Vec<String> = docker
        .docker(&["ps", "--all", "--quiet", "--no-trunc"])
        .lines()
        .map(str::to_owned)
        .collect();
    all.sort();
    let told: Vec<String> = broker
        .containers
        .keys()
        .map(|key| key.id.to_string())
        .collect();
    assert_eq!(told, all);
    // Whoever comes later is told the same.
    let later = Broker::follow(&socket(&porthole));
    assert_eq!(later.containers, broker.containers);
    assert_eq!(later.engines, broker.engines);
}

#[test]
fn a_change_is_told_at_once() {
    const AT_ONCE: Duration = Duration::from_millis(200);
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&docker_at(&docker));
    let mut broker = Broker::follow(&socket(&porthole));
    broker.answers(0);
    let id = docker.run(&["--name=one"], &["sleep", "1000"]);
    let mut times = Vec::new();
    let mut seen =
        |broker: &mut Broker, what: &str, so: &dyn Fn(Option<&EngineContainer>) -> bool| {
            let begun = Instant::now();
            broker.wait(what, |broker| so(broker.container(&id)).then_some(()));
            times.push((begun.elapsed(), what.to_owned()));
        };
    seen(&mut broker, "running", &|c| {
        c.is_some_and(|c| c.state == RunState::Running)
    });
    for round in 0..3 {
        docker.docker(&["pause", "one"]);
        seen(&mut broker, "paused", &|c| {
            c.is_some_and(|c| c.state == RunState::Paused)
        });
        docker.docker(&["unpause", "one"]);
        seen(&mut broker, "unpaused", &|c| {
            c.is_some_and(|c| c.state == RunState::Running)
        });
        let name = format!("name{round}");
        docker.docker(&["rename", &id, &name]);
        seen(&mut broker, "renamed", &|c| {
            c.is_some_and(|c| c.name == name)
        });
        docker.docker(&["rename", &id, "one"]);
        seen(&mut broker, "renamed back", &|c| {
            c.is_some_and(|c| c.name == "one")
        });
    }
    docker.docker(&["kill", "one"]);
    seen(&mut broker, "killed", &|c| {
        c.is_some_and(|c| c.state == RunState::Exited)
    });
    docker.docker(&["rm", "one"]);
    seen(&mut broker, "removed", &|c| c.is_none());
    times.sort();
    // One or the other may meet a machine that does something else.
    let (typical, _) = times[times.len() / 2];
    assert!(typical < AT_ONCE, "{times:?}");
}
