//! Containers of Docker's over the API: changed and read through their engine as root's policy says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use porthole_tests::engines::DockerDaemon;
use porthole_tests::{Instance, PATIENCE, wait_for};
use serde_json::{Value, json};

fn with(docker: &DockerDaemon, more: &str) -> Instance {
    let policy = format!(
        "join_foreign = true\n[engines]\ndocker = {:?}\n{more}\n",
        docker.socket()
    );
    Instance::builder().with_policy(&policy).start()
}

fn known(porthole: &Instance, name: &str) -> Value {
    wait_for("it is known", PATIENCE, || {
        let answer = porthole.admin().get(&format!("/api/v1/containers/{name}"));
        (answer.status == 200).then(|| answer.json())
    })
}

fn status(docker: &DockerDaemon, name: &str) -> String {
    docker.docker(&["inspect", "--format", "{{.State.Status}}", name])
}

#[test]
fn verbs_go_to_the_engine_and_into_the_audit_trail() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with(&docker, "manage = true");
    docker.run(&["--name", "web"], &["sleep", "1000000"]);
    let container = known(&porthole, "web");
    assert_eq!(container["engine"], "docker");
    let act = |verb: &str, body: &Value| {
        let path = format!("/api/v1/containers/web/{verb}");
        porthole.admin().post(&path, body).ok()
    };
    for (verb, body, there, here) in [
        ("pause", json!({}), "paused", "paused"),
        ("unpause", json!({}), "running", "running"),
        ("stop", json!({"timeout": 0.2}), "exited", "exited"),
        ("start", json!({}), "running", "running"),
        ("restart", json!({"timeout": 0}), "running", "running"),
        ("kill", json!({"signal": "SIGKILL"}), "exited", "exited"),
    ] {
        act(verb, &body);
        wait_for(verb, PATIENCE, || {
            (status(&docker, "web") == there).then_some(())
        });
        wait_for(here, PATIENCE, || {
            (known(&porthole, "web")["state"] == here).then_some(())
        });
    }
    let viewer = porthole.account("grace", "viewer");
    viewer
        .post("/api/v1/containers/web/start", &json!({}))
        .refused(403);
    let user = porthole.account("ada", "user");
    user.delete("/api/v1/containers/web").refused(403);
    porthole.admin().delete("/api/v1/containers/web").ok();
    porthole.admin().get("/api/v1/containers/web").refused(404);
    let gone = docker.try_docker(&["inspect", "web"]);
    assert!(!gone.status.success(), "{gone:?}");

    let log = porthole.log();
    for act in [
        "pause", "unpause", "stop", "start", "restart", "kill", "remove",
    ] {
        assert!(log.contains(&format!("container_{act}\"")), "{act}");
    }
}

#[test]
fn logs_are_the_engines_by_stream_tail_and_as_they_come() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with(&docker, "");
    let says = "echo one; echo two >&2; sleep 0.3; echo three; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo four; exec sleep 1000000";
    docker.run(&["--name", "says"], &["sh", "-c", says]);
    known(&porthole, "says");
    let logs = |query: &str| {
        let answer = porthole
            .admin()
            .get(&format!("/api/v1/containers/says/logs{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.body
    };
    wait_for("three lines", PATIENCE, || {
        (logs("").lines().count() == 3).then_some(())
    });
    assert_eq!(logs("?stream=stderr"), "two\n");
    assert_eq!(logs("?tail=1"), "three\n");

    let mut stream = TcpStream::connect(porthole.address()).expect("connected");
    let headers = porthole.admin().headers_for(false);
    let headers: String = headers
        .iter()
        .map(|(n, v)| format!("{n}: {v}\r\n"))
        .collect();
    write!(stream, "GET /api/v1/containers/says/logs?follow=true&tail=1 HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{headers}\r\n", porthole.address()).expect("sent");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut lines = BufReader::new(stream).lines();
    let mut until = |text: &str| {
        let begun = Instant::now();
        let found = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line == text);
        assert!(found.is_some(), "{text}");
        begun.elapsed()
    };
    until("data: three");
    docker.docker(&["exec", "says", "touch", "/tmp/go"]);
    assert!(until("data: four") < Duration::from_secs(2));
}

#[test]
fn what_root_does_not_allow_is_refused_with_what_to_do() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    docker.run(&["--name", "web"], &["sleep", "1000000"]);
    let looking = with(&docker, "");
    known(&looking, "web");
    let refused = looking
        .admin()
        .post("/api/v1/containers/web/stop", &json!({}))
        .refused(403);
    assert!(
        refused["message"]
            .as_str()
            .expect("words")
            .contains("manage = true"),
        "{refused}"
    );
    assert_eq!(status(&docker, "web"), "running");

    let closed = Instance::start();
    let id = docker.docker(&["inspect", "--format", "{{.Id}}", "web"]);
    let id = id.as_str();
    known(&closed, id);
    for (method, path) in [("POST", "stop"), ("GET", "logs")] {
        let path = format!("/api/v1/containers/{id}/{path}");
        let body = (method == "POST").then(|| json!({}));
        let refused = closed
            .admin()
            .send(method, &path, body.as_ref())
            .refused(403);
        assert!(
            refused["message"]
                .as_str()
                .expect("words")
                .contains("docker = true"),
            "{refused}"
        );
    }
    let path = format!("/api/v1/containers/{id}/sessions");
    let refused = closed.admin().post(&path, &json!({})).refused(403);
    assert!(
        refused["message"]
            .as_str()
            .expect("words")
            .contains("join_foreign"),
        "{refused}"
    );
}
