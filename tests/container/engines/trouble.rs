//! Engines that hang, talk nonsense, go away and come back.

use super::*;

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
