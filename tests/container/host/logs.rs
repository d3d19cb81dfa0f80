//! The log of Docker's container, its end and what comes after that, as `docker logs` has it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use porthole_tests::engines::DockerDaemon;
use porthole_tests::{Instance, PATIENCE, wait_for};

/// Ten lines, every third on standard error; then three more when it is told to, and its end.
const SAYS: &str = "for n in 1 2 3 4 5 6 7 8 9 10; do \
        if [ $((n % 3)) = 0 ]; then echo line $n >&2; else echo line $n; fi; \
    done; \
    while [ ! -e /tmp/go ]; do sleep 0.1; done; \
    echo line 11; echo line 12 >&2; echo line 13";

/// A log that is followed as text; the answer has begun.
fn follow(porthole: &Instance, query: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(porthole.address()).expect("connected");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let headers = porthole.admin().headers_for(false);
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let address = porthole.address();
    write!(
        stream,
        "GET /api/v1/containers/says/logs?follow=true{query} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n"
    )
    .expect("sent");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = reader.read_line(&mut head).expect("an answer");
        assert_ne!(read, 0, "{head}");
    }
    assert!(head.contains(" 200 "), "{head}");
    reader
}

/// What is still to come, up to the end.
fn rest(mut reader: BufReader<TcpStream>) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("an end");
    text
}

/// The same by Docker's own program, both streams in one.
fn by_docker(docker: &DockerDaemon, tail: &str) -> Child {
    let logs = docker.command(&["logs", "--follow", "--tail", tail, "says"]);
    let mut merged = Command::new("sh");
    merged.args(["-c", "exec \"$@\" 2>&1", "sh"]);
    merged.arg(logs.get_program()).args(logs.get_args());
    for (name, value) in logs.get_envs() {
        merged.env(name, value.unwrap_or_default());
    }
    merged
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker logs")
}

fn sorted(text: &str) -> Vec<String> {
    // Two streams keep their order each, and none between them.
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn lines(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let text: String = numbers
        .into_iter()
        .map(|number| format!("line {number}\n"))
        .collect();
    sorted(&text)
}

#[test]
fn the_last_lines_and_what_follows_are_what_docker_logs_tells() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = Instance::builder()
        .with_policy(&format!("[engines]\ndocker = {:?}\n", docker.socket()))
        .start();
    docker.run(&["--name=says"], &["sh", "-c", SAYS]);
    wait_for("its first lines", PATIENCE, || {
        let answer = porthole.admin().get("/api/v1/containers/says/logs");
        (answer.status == 200 && answer.body.lines().count() == 10).then_some(())
    });
    let cases = [("1", 1), ("3", 3), ("10", 10), ("100", 10), ("all", 10)];
    let mut both = Vec::new();
    for (tail, before) in cases {
        let mut theirs = by_docker(&docker, tail);
        let mut reader = BufReader::new(theirs.stdout.take().expect("piped"));
        let mut begun = String::new();
        reader.read_line(&mut begun).expect("its first line");
        let ours = follow(&porthole, &format!("&tail={tail}"));
        both.push((tail, before, theirs, begun, reader, ours));
    }
    let none = follow(&porthole, "&tail=0");
    let errors = follow(&porthole, "&tail=all&stream=stderr");
    docker.docker(&["exec", "says", "touch", "/tmp/go"]);
    for (tail, before, mut theirs, mut said, mut reader, ours) in both {
        reader.read_to_string(&mut said).expect("an end");
        theirs.wait().expect("docker logs");
        let ours = sorted(&rest(ours));
        assert_eq!(ours, sorted(&said), "tail {tail}");
        // Which are the last of two streams is for Docker to say.
        assert_eq!(ours.len(), before + 3, "tail {tail}: {ours:?}");
        let new = lines(11..=13);
        assert!(
            new.iter().all(|line| ours.contains(line)),
            "tail {tail}: {ours:?}"
        );
    }
    // How soon Docker begins to follow nobody can say; of what was there before there is nothing.
    let after = sorted(&rest(none));
    assert!(
        !after.is_empty() && after.iter().all(|line| lines(11..=13).contains(line)),
        "{after:?}"
    );
    assert_eq!(sorted(&rest(errors)), lines([3, 6, 9, 12]));
}
