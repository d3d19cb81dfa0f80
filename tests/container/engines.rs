//! The engines broker before real engines: what it tells is what `docker inspect` says at the same
//! moment, what it is asked it does or refuses, and no engine's trouble is another's.

mod asked;
mod logs;
mod podman;
mod process;
mod told;
mod trouble;

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
