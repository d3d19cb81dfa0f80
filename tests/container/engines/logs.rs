//! Logs, by their engine.

use super::*;

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
