//! The engines broker before real engines: what it tells is what `docker inspect` says at the same
//! moment, what it is asked it does or refuses, and no engine's trouble is another's.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use porthole_protocol::container::{RestartPolicy, Signal as Number, Timestamp};
use porthole_protocol::engines::{
    EngineContainer, FailureCode, Health, LogPart, LogRecord, LogStream, RunState, Timeout, Verb,
};
use porthole_tests::broker::{Broker, Line, Log, reference};
use porthole_tests::engines::{DockerDaemon, IMAGE, Podman};
use porthole_tests::instance::signal;
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::Signal;
use serde_json::Value;

fn with_engines(table: &str) -> Instance {
    Instance::builder()
        .with_policy(&format!("[engines]\n{table}\n"))
        .start()
}

fn docker_at(docker: &DockerDaemon) -> String {
    format!("docker = {:?}", docker.socket())
}

fn socket(porthole: &Instance) -> PathBuf {
    porthole.run().join("engines.sock")
}

/// What Docker says of a container.
fn inspect(docker: &DockerDaemon, id: &str) -> Value {
    let all: Value = serde_json::from_str(&docker.docker(&["inspect", id])).expect("JSON");
    all[0].clone()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

/// A moment of Docker's in whole milliseconds; the year 1 is never.
fn moment(value: &Value) -> Option<String> {
    let text = value.as_str().expect("a time");
    let (seconds, fraction) = text
        .trim_end_matches('Z')
        .split_once('.')
        .unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    (!text.starts_with("0001"))
        .then(|| format!("{}.{}Z", seconds.trim_end_matches('Z'), &digits[..3]))
}

/// Every fact that is told, beside `docker inspect`.
fn compare(told: &EngineContainer, said: &Value) {
    let (state, config, host) = (&said["State"], &said["Config"], &said["HostConfig"]);
    assert_eq!(told.id.as_str(), said["Id"]);
    assert_eq!(
        format!("/{}", told.name),
        said["Name"].as_str().expect("a name")
    );
    assert_eq!(told.image, config["Image"].as_str().expect("an image"));
    assert_eq!(told.image_id, said["Image"].as_str().expect("an image"));
    assert_eq!(told.state.name(), state["Status"]);
    let running = matches!(told.state, RunState::Running | RunState::Paused);
    if running || moment(&state["StartedAt"]).is_none() {
        assert_eq!(told.exit_code, None);
    } else {
        assert_eq!(told.exit_code.map(i64::from), state["ExitCode"].as_i64());
    }
    assert_eq!(Some(told.oom_killed), state["OOMKilled"].as_bool());
    assert_eq!(
        told.pid.map_or(0, |pid| i64::from(pid.0)),
        state["Pid"].as_i64().expect("a PID")
    );
    for (told, said) in [
        (told.created_at, &said["Created"]),
        (told.started_at, &state["StartedAt"]),
        (told.finished_at, &state["FinishedAt"]),
    ] {
        assert_eq!(told.map(|at| at.to_string()), moment(said));
    }
    assert_eq!(
        serde_json::to_value(&told.labels).expect("JSON"),
        config["Labels"]
    );
    assert_eq!(told.command, texts(&config["Cmd"]));
    assert_eq!(told.entrypoint, texts(&config["Entrypoint"]));
    assert_eq!(told.env.0, texts(&config["Env"]));
    assert_eq!(told.workdir, config["WorkingDir"].as_str().expect("a path"));
    assert_eq!(told.user, config["User"].as_str().expect("a user"));
    assert_eq!(told.hostname, config["Hostname"].as_str().expect("a name"));
    assert_eq!(Some(told.tty), config["Tty"].as_bool());
    assert_eq!(Some(told.privileged), host["Privileged"].as_bool());
    assert_eq!(
        Some(i64::from(told.restarts)),
        said["RestartCount"].as_i64()
    );
    let networks: Vec<_> = told.networks.iter().map(|network| &network.name).collect();
    let said_networks = said["NetworkSettings"]["Networks"]
        .as_object()
        .expect("networks");
    assert_eq!(networks, said_networks.keys().collect::<Vec<_>>());
    for mount in said["Mounts"].as_array().expect("mounts") {
        let told = told
            .mounts
            .iter()
            .find(|told| mount["Destination"] == *told.destination)
            .unwrap_or_else(|| panic!("{mount}"));
        assert_eq!(told.kind, mount["Type"].as_str().expect("a type"));
        assert_eq!(told.source, mount["Source"].as_str().unwrap_or(""));
        assert_eq!(Some(told.writable), mount["RW"].as_bool());
        assert_eq!(told.name.as_deref(), mount["Name"].as_str());
    }
    assert!(!told.clipped);
}

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

#[test]
fn every_verb_does_what_it_says() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&format!("{}\nmanage = true", docker_at(&docker)));
    let mut broker = Broker::follow(&socket(&porthole));
    broker.answers(0);
    assert!(broker.hello.manage);
    let id = docker.run(
        &["--name=one"],
        &[
            "sh",
            "-c",
            "trap 'exit 7' USR1; while :; do sleep 0.1; done",
        ],
    );
    broker.wait("the container", |broker| broker.container(&id).map(drop));
    let timeout = |seconds: u32| Timeout::try_from(seconds).expect("a timeout");
    let state = |broker: &Broker| {
        // What an answer says has been told before it.
        let told = broker.container(&id).expect("told").state;
        assert_eq!(told.name(), inspect(&docker, &id)["State"]["Status"]);
        told
    };
    broker.act(0, &id, Verb::Pause).expect("paused");
    assert_eq!(state(&broker), RunState::Paused);
    let why = broker
        .act(0, &id, Verb::Pause)
        .expect_err("it is paused already");
    assert_eq!(why.code, FailureCode::WrongState);
    assert!(why.message.contains("already paused"), "{why:?}");
    broker.act(0, &id, Verb::Unpause).expect("unpaused");
    assert_eq!(state(&broker), RunState::Running);
    let before = docker.init(&id);
    broker
        .act(
            0,
            &id,
            Verb::Restart {
                timeout: timeout(0),
            },
        )
        .expect("restarted");
    assert_eq!(state(&broker), RunState::Running);
    assert_ne!(docker.init(&id), before);
    let usr1 = Number::try_from(10).expect("a signal");
    broker
        .act(0, &id, Verb::Kill { signal: usr1 })
        .expect("killed");
    broker.wait("its own end", |broker| {
        (broker.container(&id)?.exit_code == Some(7)).then_some(())
    });
    broker.act(0, &id, Verb::Start).expect("started");
    assert_eq!(state(&broker), RunState::Running);
    broker.act(0, &id, Verb::Start).expect("it runs already");
    let why = broker
        .act(0, &id, Verb::Remove { force: false })
        .expect_err("it runs");
    assert_eq!(why.code, FailureCode::WrongState);
    broker
        .act(
            0,
            &id,
            Verb::Stop {
                timeout: timeout(0),
            },
        )
        .expect("stopped");
    assert_eq!(state(&broker), RunState::Exited);
    broker
        .act(0, &id, Verb::Remove { force: false })
        .expect("removed");
    assert!(broker.container(&id).is_none());
    let forced = docker.run(&[], &["sleep", "1000"]);
    broker.wait("another", |broker| broker.container(&forced).map(drop));
    broker
        .act(0, &forced, Verb::Remove { force: true })
        .expect("removed");
    assert_eq!(docker.docker(&["ps", "--all", "--quiet"]), "");
    // What no engine has named reaches none.
    for (endpoint, id) in [(0, id.as_str()), (0, "one"), (9, forced.as_str())] {
        let why = broker
            .act(endpoint, id, Verb::Start)
            .expect_err("it is gone");
        assert_eq!(why.code, FailureCode::NotFound);
    }
}

#[test]
fn looking_is_not_managing_and_nothing_else_can_be_asked() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&docker_at(&docker));
    let at = socket(&porthole);
    let mut broker = Broker::follow(&at);
    broker.answers(0);
    let id = docker.run(&[], &["sleep", "1000"]);
    broker.wait("the container", |broker| broker.container(&id).map(drop));
    let all = [
        Verb::Start,
        Verb::Pause,
        Verb::Unpause,
        Verb::Remove { force: true },
        Verb::Kill {
            signal: Number::try_from(9).expect("a signal"),
        },
        Verb::Stop {
            timeout: Timeout::try_from(0).expect("a timeout"),
        },
        Verb::Restart {
            timeout: Timeout::try_from(0).expect("a timeout"),
        },
    ];
    for verb in all {
        let why = broker.act(0, &id, verb).expect_err("refused");
        assert_eq!(why.code, FailureCode::Forbidden, "{verb:?}");
        assert!(why.message.contains("manage = true"), "{why:?}");
    }
    assert_eq!(inspect(&docker, &id)["State"]["Status"], "running");

    let follow = br#"{"follow":{"version":1}}"#.as_slice();
    let ask = |verb: &str| {
        format!(r#"{{"id":1,"container":{{"endpoint":0,"id":"{id}"}},"verb":{verb}}}"#).into_bytes()
    };
    let hung_up = |opening: &[u8], then: Option<&[u8]>| {
        let mut line = Line::connect(&at);
        let _ = line.send(opening);
        if let Some(then) = then {
            let _ = line.send(then);
        }
        let until = Instant::now() + PATIENCE / 10;
        while Instant::now() < until {
            match line.receive(Duration::from_millis(500)) {
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        false
    };
    let good = ask("\"start\"");
    assert!(
        !hung_up(follow, Some(&good)),
        "control: refused by an answer"
    );
    for verb in [
        "\"exec\"",
        r#"{"create":{}}"#,
        r#"{"stop":{"timeout":10,"signal":"KILL"}}"#,
    ] {
        assert!(hung_up(follow, Some(&ask(verb))), "{verb}");
    }
    for opening in [
        &b"GET /containers/json HTTP/1.1\r\n\r\n"[..],
        br#"{"follow":{"version":2}}"#,
        br#"{"exec":{"container":"x"}}"#,
        br#"{"logs":{"container":{"endpoint":0,"id":"../../info"},"part":{}}}"#,
    ] {
        assert!(
            hung_up(opening, None),
            "{}",
            String::from_utf8_lossy(opening)
        );
    }
    assert!(
        hung_up(follow, Some(&vec![b' '; 5000])),
        "longer than a request can be"
    );
    assert_eq!(
        Broker::follow(&at).containers,
        broker.containers,
        "others are not disturbed"
    );
}

/// One that listens and does this with each connection.
fn fake(path: &Path, each: impl Fn(std::os::unix::net::UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(path).expect("bind");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            each(stream);
        }
    });
}

#[test]
fn no_engines_trouble_is_anothers() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let held = std::sync::Mutex::new(Vec::new());
    fake(&at("hangs"), move |stream| {
        held.lock().expect("held").push(stream)
    });
    fake(&at("garbage"), |mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
    });
    fake(&at("hangs-up"), drop);
    fake(&at("endless"), |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    fake(&at("refuses"), |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 21\r\n\r\n{\"message\":\"not you\"}",
        );
    });
    drop(UnixListener::bind(at("left")).expect("bind"));
    // Nobody accepts, and its queue is full.
    let address = SocketAddrUnix::new(at("full")).expect("an address");
    let stream = || {
        socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
            None,
        )
        .expect("a socket")
    };
    let full = stream();
    bind(&full, &address).expect("bind");
    listen(&full, 1).expect("listen");
    let clogged: Vec<_> = (0..200)
        .map(|_| stream())
        .take_while(|socket| connect(socket, &address).is_ok())
        .collect();
    assert!(clogged.len() < 200, "its queue ends somewhere");
    let names = [
        "hangs", "garbage", "hangs-up", "endless", "refuses", "left", "full", "missing",
    ];
    let list: Vec<_> = names.iter().map(|name| format!("{:?}", at(name))).collect();
    let table = format!("{}\npodman = [{}]", docker_at(&docker), list.join(", "));
    let porthole = with_engines(&table);
    let mut broker = Broker::follow(&socket(&porthole));
    let begun = Instant::now();
    broker.answers(0);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "others are waited for"
    );
    for (number, (name, says)) in (1..).zip(names.iter().zip([
        "has not answered",
        "does not speak Docker's interface",
        "has hung up",
        "sends without end",
        "not you",
        "Nobody listens",
        "takes no more connections",
        "There is no",
    ])) {
        let trouble = broker.trouble(number);
        assert!(trouble.contains(says), "{name}: {trouble}");
        assert!(
            trouble.contains(&*at(name).to_string_lossy()),
            "{name}: {trouble}"
        );
    }
    let id = docker.run(&[], &["sleep", "1000"]);
    broker.wait_within("a change meanwhile", Duration::from_secs(2), |broker| {
        broker.container(&id).map(drop)
    });
    drop((full, clogged));
    // However often it is tried again.
    let pid = broker.hello.pid.0;
    let open = || {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("fds")
            .count()
    };
    wait_for("few descriptors", PATIENCE, || (open() < 60).then_some(()));
    let memory: u64 = host::status(pid)["VmRSS"]
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number");
    assert!(memory < 200 * 1024, "{memory} KiB");
}

#[test]
fn an_engine_that_went_away_comes_back() {
    let Some(mut docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&docker_at(&docker));
    let mut broker = Broker::follow(&socket(&porthole));
    broker.answers(0);
    let id = docker.run(&["--name=one", "--stop-signal=KILL"], &["sleep", "1000"]);
    broker.wait("running", |b| {
        b.container(&id)
            .filter(|c| c.state == RunState::Running)
            .map(drop)
    });

    // Its socket alone: what hangs on to the daemon goes on, and nobody new gets in.
    let (at, away) = (docker.socket(), docker.socket().with_extension("away"));
    std::fs::rename(&at, &away).expect("rename");
    let trouble = broker.trouble(0);
    assert!(trouble.contains("There is no"), "{trouble}");
    assert!(broker.container(&id).is_some(), "it is told as it was last");
    std::fs::rename(&away, &at).expect("rename");
    broker.answers(0);

    docker.stop();
    broker.trouble(0);
    docker.start_again();
    broker.answers(0);
    compare(broker.container(&id).expect("told"), &inspect(&docker, &id));
    assert_ne!(
        broker.container(&id).expect("told").state,
        RunState::Running
    );
    // What goes while nobody looks is not there afterwards.
    std::fs::rename(&at, &away).expect("rename");
    broker.trouble(0);
    std::fs::rename(&away, &at).expect("rename");
    docker.docker(&["rm", "one"]);
    broker.wait("its removal", |broker| {
        broker.container(&id).is_none().then_some(())
    });
    broker.answers(0);
}

#[test]
fn a_killed_broker_is_started_again_and_nothing_is_harmed() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&format!("{}\nmanage = true", docker_at(&docker)));
    let at = socket(&porthole);
    let mut broker = Broker::follow(&at);
    broker.answers(0);
    let id = docker.run(&[], &["sleep", "1000"]);
    broker.wait("running", |b| {
        (b.container(&id)?.state == RunState::Running).then_some(())
    });
    let init = docker.init(&id);
    let there = |log: &str| log.matches("the engines broker is there").count();
    for round in 1..=3 {
        let server = wait_for("the server's connection", PATIENCE, || {
            // One line of the broker's own, one of the server's.
            (there(&porthole.log()) >= 2 * round).then_some(porthole.server_pid())
        });
        let before = Broker::follow(&at);
        signal(before.hello.pid.0, Signal::KILL);
        let mut after = wait_for("another broker", PATIENCE, || {
            let after = Broker::follow(&at);
            (after.hello.pid != before.hello.pid).then_some(after)
        });
        after.answers(0);
        assert_eq!(after.containers, broker.containers);
        assert_eq!(porthole.server_pid(), server, "the server is the same");
        let said = "the engines broker was ended by signal 9; it is started again";
        assert_eq!(porthole.log().matches(said).count(), round);
    }
    assert_eq!(docker.init(&id), init);
    assert!(porthole.log().contains("the engines broker is away"));
}

#[test]
fn the_broker_has_no_rights_and_is_for_the_server_alone() {
    let porthole = with_engines("docker = \"/run/no/such.sock\"");
    let at = socket(&porthole);
    let broker = Broker::follow(&at);
    let status = host::status(broker.hello.pid.0);
    let passwd = std::fs::read_to_string("/etc/passwd").expect("accounts");
    let account = |name: &str| -> Vec<String> {
        let line = passwd
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        let fields = line
            .unwrap_or_else(|| panic!("{name}: run `make setup`"))
            .split(':');
        fields.skip(2).take(2).map(str::to_owned).collect()
    };
    let (own, server) = (account("porthole-engines"), account("porthole"));
    assert_eq!(status["Uid"], [&*own[0]; 4].join("\t"));
    assert_eq!(status["Gid"], [&*own[1]; 4].join("\t"));
    assert_eq!(status["Groups"], "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0".repeat(16), "{set}");
    }
    assert_eq!(
        (status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()),
        ("1", "2")
    );
    assert_eq!(
        host::environment(broker.hello.pid.0)
            .iter()
            .filter(|v| v.contains("PASSWORD"))
            .count(),
        0
    );

    // Whoever is only in the server's group, as local users of the API are.
    let connects = |uid: &str, gid: &str| {
        let uid = format!("--reuid={uid}");
        let gid = format!("--regid={gid}");
        let mut command = Command::new("setpriv");
        command.args([
            &*uid,
            &*gid,
            "--clear-groups",
            "/usr/bin/perl",
            "-MSocket",
            "-e",
        ]);
        command
            .arg("socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un(shift)) || exit 1");
        let status = command
            .arg(&at)
            .stderr(Stdio::null())
            .status()
            .expect("setpriv");
        status.success()
    };
    assert!(
        connects(&server[0], &server[1]),
        "control: the server itself"
    );
    assert!(!connects("65534", &server[1]));
    assert!(!connects(&own[0], &own[1]));
}

#[test]
fn nothing_is_asked_unless_root_enables_it() {
    for policy in ["", "[engines]\ndocker = false\nmanage = true\n"] {
        let porthole = Instance::builder().with_policy(policy).start();
        assert!(!socket(&porthole).exists(), "{policy:?}");
        let roles: Vec<_> = host::children(porthole.serve_pid())
            .into_iter()
            .filter_map(|pid| host::arguments(pid).get(1).cloned())
            .collect();
        assert!(!roles.contains(&"engines".to_owned()), "{roles:?}");
        assert!(roles.contains(&"server".to_owned()), "control: {roles:?}");
    }
}

fn output(records: &[LogRecord], of: LogStream) -> String {
    let mut all = Vec::new();
    for record in records {
        if let LogRecord::Output { stream, bytes, .. } = record
            && *stream == of
        {
            all.extend_from_slice(bytes);
        }
    }
    String::from_utf8(all).expect("text")
}

#[test]
fn logs_come_with_their_streams_and_times() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&docker_at(&docker));
    let at = socket(&porthole);
    let mut broker = Broker::follow(&at);
    broker.answers(0);
    let script = "echo one; echo two >&2; sleep 1.2; echo three; read -t 100 line; sleep 1000";
    let id = docker.run(&["--name=talks"], &["sh", "-c", script]);
    broker.wait("the container", |b| b.container(&id).map(drop));
    wait_for("its words", PATIENCE, || {
        docker
            .docker(&["logs", "talks"])
            .contains("three")
            .then_some(())
    });
    let open = |part: LogPart| Log::open(&at, reference(0, &id), part).expect("a log");
    let (all, trouble) = open(LogPart::default()).rest();
    assert_eq!(trouble, None);
    assert_eq!(output(&all, LogStream::Stdout), "one\nthree\n");
    assert_eq!(output(&all, LogStream::Stderr), "two\n");
    let times: Vec<Timestamp> = all
        .iter()
        .map(|record| match record {
            LogRecord::Output { at, .. } => at.expect("a time"),
            LogRecord::End { .. } => unreachable!("taken off"),
        })
        .collect();
    let said = docker.docker(&["logs", "--timestamps", "talks"]);
    let first = said
        .lines()
        .find(|line| line.ends_with("one"))
        .expect("its line");
    let first = moment(&Value::from(first.split(' ').next().expect("a time")));
    assert_eq!(Some(times[0].to_string()), first);
    // The last one alone: by lines, and by its very moment.
    let tail = LogPart {
        tail: Some(1),
        ..LogPart::default()
    };
    assert_eq!(output(&open(tail).rest().0, LogStream::Stdout), "three\n");
    let since = LogPart {
        since: Some(times[2]),
        ..LogPart::default()
    };
    assert_eq!(output(&open(since).rest().0, LogStream::Stdout), "three\n");

    // Followed to its end, through a reader that does not read for a while.
    let floods = docker.run(
        &["--name=floods"],
        &[
            "sh",
            "-c",
            "while :; do echo 0123456789012345678901234567890123456789; done",
        ],
    );
    broker.wait("the other", |b| b.container(&floods).map(drop));
    let follow = LogPart {
        follow: true,
        ..LogPart::default()
    };
    let unread = Log::open(&at, reference(0, &floods), follow).expect("a log");
    let mut followed = open(LogPart {
        tail: Some(0),
        ..follow
    });
    std::thread::sleep(Duration::from_millis(700));
    docker.docker(&["pause", "floods"]);
    broker.wait("a change meanwhile", |b| {
        (b.container(&floods)?.state == RunState::Paused).then_some(())
    });
    let memory: u64 = host::status(broker.hello.pid.0)["VmRSS"]
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number");
    assert!(memory < 100 * 1024, "{memory} KiB");
    drop(unread);
    docker.docker(&["kill", "talks"]);
    assert_eq!(followed.record(), LogRecord::End { trouble: None });

    // A terminal has one stream.
    let tty = docker.run(
        &["--tty"],
        &["sh", "-c", "echo out; echo err >&2; printf rest"],
    );
    docker.docker(&["wait", &tty]);
    broker.wait("the terminal", |b| {
        b.container(&tty)
            .filter(|c| c.state == RunState::Exited)
            .map(drop)
    });
    let (all, _) = Log::open(&at, reference(0, &tty), LogPart::default())
        .expect("a log")
        .rest();
    assert_eq!(output(&all, LogStream::Terminal), "out\r\nerr\r\nrest");

    // One that goes between looking and asking.
    docker.docker(&["rm", "talks"]);
    let why = Log::open(&at, reference(0, &id), LogPart::default()).expect_err("gone");
    assert_eq!(why.code, FailureCode::NotFound);
}

#[test]
fn podman_is_told_as_docker_is() {
    let Some(podman) = Podman::start() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("podman.sock");
    let mut service = podman
        .command(&[
            "system",
            "service",
            "--time=0",
            &format!("unix://{}", at.display()),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("podman");
    wait_for("Podman's service", PATIENCE, || at.exists().then_some(()));
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
    service.kill().expect("kill");
    service.wait().expect("wait");
    broker.trouble(0);
}
