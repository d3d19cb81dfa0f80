//! Peers that manage containers: Podman, and Docker by its command line and by its API.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use porthole_tests::engines::{DockerDaemon, IMAGE, Podman};
use porthole_tests::host;
use porthole_tests::instance::text;
use serde_json::{Value, json};

use super::programs::timed;
use super::{MEMORY, PROCESSES, PROCESSORS, Peer};
use crate::http::Connection;

/// The limits as both command lines take them.
fn limits() -> [String; 3] {
    [
        format!("--memory={MEMORY}"),
        format!("--cpus={PROCESSORS}"),
        format!("--pids-limit={PROCESSES}"),
    ]
}

/// An engine that people use by its command line.
enum Engine {
    Podman(Podman),
    Docker(DockerDaemon),
}

impl Engine {
    fn command(&self, arguments: &[&str]) -> Command {
        match self {
            Self::Podman(podman) => podman.command(arguments),
            Self::Docker(docker) => docker.command(arguments),
        }
    }

    /// A container that goes when it ends.
    fn running(&self, options: &[&str], command: &[&str]) -> Command {
        match self {
            Self::Podman(podman) => podman.running(&[&["--rm"], options].concat(), command),
            Self::Docker(docker) => {
                let run = ["run", "--rm", "--network", "none"];
                docker.command(&[&run, options, &[IMAGE], command].concat())
            }
        }
    }

    /// Starts one that stays: its id and its first process.
    fn stays(&self, options: &[&str], command: &[&str]) -> (String, i32) {
        match self {
            Self::Podman(podman) => {
                let id = podman.run(options, command);
                let init = podman.init(&id);
                (id, init)
            }
            Self::Docker(docker) => {
                let id = docker.run(options, command);
                let init = docker.init(&id);
                (id, init)
            }
        }
    }
}

/// An engine with the containers that stay.
struct Used {
    engine: Engine,
    kept: Vec<String>,
}

impl Used {
    fn begin(engine: Engine) -> Box<dyn Peer> {
        let kept = Vec::new();
        Box::new(Self { engine, kept })
    }
}

impl Peer for Used {
    fn whole(&mut self) -> anyhow::Result<Duration> {
        let limits = limits();
        let limits = limits.each_ref().map(String::as_str);
        timed(self.engine.running(&limits, &["true"]))
    }

    fn exec(&mut self) -> anyhow::Result<Option<Duration>> {
        timed(self.engine.command(&["exec", &self.kept[0], "true"])).map(Some)
    }

    fn keep(&mut self) -> anyhow::Result<Vec<i32>> {
        let limits = limits();
        let limits = limits.each_ref().map(String::as_str);
        let (id, init) = self.engine.stays(&limits, &["sleep", "1000000"]);
        self.kept.push(id);
        Ok(host::parent(init).into_iter().collect())
    }

    /// Docker's daemon, and containerd, which it has started.
    fn together(&self) -> Vec<i32> {
        match &self.engine {
            Engine::Podman(_) => Vec::new(),
            Engine::Docker(docker) => [vec![docker.pid()], host::children(docker.pid())].concat(),
        }
    }
}

pub(super) fn podman() -> anyhow::Result<Box<dyn Peer>> {
    let engine = Podman::start_on("overlay").context("podman or runc is not here")?;
    Ok(Used::begin(Engine::Podman(engine)))
}

pub(super) fn docker() -> anyhow::Result<Box<dyn Peer>> {
    Ok(Used::begin(Engine::Docker(daemon()?)))
}

fn daemon() -> anyhow::Result<DockerDaemon> {
    DockerDaemon::start_on("overlay2").context("docker is not here (apt-get install docker.io)")
}

/// Docker without its command line.
struct Api {
    /// Ends when nobody asks it any more.
    api: Connection,
    daemon: DockerDaemon,
    kept: Vec<String>,
}

pub(super) fn docker_api() -> anyhow::Result<Box<dyn Peer>> {
    let daemon = daemon()?;
    Ok(Box::new(Api {
        api: Connection::local(&daemon.socket())?,
        daemon,
        kept: Vec::new(),
    }))
}

impl Api {
    fn create(&mut self, command: &[&str]) -> anyhow::Result<String> {
        let limits = json!({
            "NetworkMode": "none", "Memory": MEMORY, "NanoCpus": (PROCESSORS * 1e9) as u64,
            "PidsLimit": PROCESSES,
        });
        let spec = json!({"Image": IMAGE, "Cmd": command, "HostConfig": limits});
        let made = self.api.send("POST", "/containers/create", Some(&spec))?;
        let id = text(&made["Id"]);
        let start = format!("/containers/{id}/start");
        self.api.send("POST", &start, None)?;
        Ok(id)
    }
}

impl Peer for Api {
    fn whole(&mut self) -> anyhow::Result<Duration> {
        self.api.renew()?;
        let begun = Instant::now();
        let id = self.create(&["true"])?;
        let wait = format!("/containers/{id}/wait");
        let ended: Value = self.api.send("POST", &wait, None)?;
        let remove = format!("/containers/{id}");
        self.api.send("DELETE", &remove, None)?;
        let took = begun.elapsed();
        anyhow::ensure!(ended["StatusCode"] == 0, "{ended}");
        Ok(took)
    }

    fn exec(&mut self) -> anyhow::Result<Option<Duration>> {
        self.api.renew()?;
        let streams = Connection::local(&self.daemon.socket())?;
        let begun = Instant::now();
        let spec = json!({"Cmd": ["true"], "AttachStdout": true});
        let path = format!("/containers/{}/exec", self.kept[0]);
        let made = self.api.send("POST", &path, Some(&spec))?;
        let start = format!("/exec/{}/start", text(&made["Id"]));
        streams.until_closed("POST", &start, &json!({"Detach": false, "Tty": false}))?;
        Ok(Some(begun.elapsed()))
    }

    fn keep(&mut self) -> anyhow::Result<Vec<i32>> {
        let id = self.create(&["sleep", "1000000"])?;
        self.kept.push(id);
        Ok(Vec::new())
    }
}
