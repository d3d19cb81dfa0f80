//! What an engine says of a container, read leniently: whatever is missing, null or unknown costs
//! itself only. Texts and lists are bounded, because much of them comes from whoever made an image.

mod bounds;
mod parts;

use std::collections::BTreeMap;

use porthole_protocol::container::Timestamp;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{EndpointId, EngineContainer, Environment, RunState};
use porthole_protocol::id::{ContainerId, HostPid};
use serde::Deserialize;

use bounds::Bounds;
use parts::{compose, health, mounts, networks, ports, restart_policy};

/// An entry of the list, `GET /containers/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Listed {
    id: Option<String>,
    names: Option<Vec<String>>,
    state: Option<String>,
}

impl Listed {
    /// Its identifier; `None` where that is none.
    pub(crate) fn id(&self) -> Option<ContainerId> {
        self.id.as_deref()?.parse().ok()
    }

    /// Whether the list says of it what is known.
    pub(crate) fn agrees(&self, known: &EngineContainer) -> bool {
        let names = self.names.as_deref().unwrap_or_default();
        let state = run_state(self.state.as_deref().unwrap_or_default());
        state == known.state && names.iter().any(|name| bare(name) == known.name)
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// The answer of `GET /containers/{id}/json`: of all that it has, what is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Inspected {
    name: Option<String>,
    created: Option<String>,
    image: Option<String>,
    restart_count: Option<i64>,
    state: Option<State>,
    config: Option<Config>,
    host_config: Option<HostConfig>,
    network_settings: Option<NetworkSettings>,
    mounts: Option<Vec<MountPoint>>,
}

/// An entry of Podman's own list, for what Docker's interface has no place for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct InPod {
    pub(crate) pod_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: Option<String>,
    pid: Option<i32>,
    exit_code: Option<i32>,
    error: Option<String>,
    #[serde(rename = "OOMKilled")]
    oom_killed: Option<bool>,
    started_at: Option<String>,
    finished_at: Option<String>,
    health: Option<HealthState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HealthState {
    status: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    hostname: Option<String>,
    user: Option<String>,
    tty: Option<bool>,
    env: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    image: Option<String>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: Option<bool>,
    restart_policy: Option<Policy>,
    tmpfs: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    name: Option<String>,
    maximum_retry_count: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Binding {
    host_ip: Option<String>,
    host_port: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    ip_address: Option<String>,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: Option<u8>,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6_address: Option<String>,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    ipv6_prefix_len: Option<u8>,
    mac_address: Option<String>,
    gateway: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MountPoint {
    r#type: Option<String>,
    name: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    #[serde(rename = "RW")]
    rw: Option<bool>,
}

/// A state's word. Podman has some of its own: "configured", "initialized", "stopped".
fn run_state(word: &str) -> RunState {
    match word {
        "created" | "configured" | "initialized" => RunState::Created,
        "running" => RunState::Running,
        "paused" => RunState::Paused,
        "restarting" => RunState::Restarting,
        "stopping" => RunState::Stopping,
        "removing" => RunState::Removing,
        "exited" | "stopped" => RunState::Exited,
        "dead" => RunState::Dead,
        _ => RunState::Unknown,
    }
}

/// A time as Go writes it: RFC 3339 with any offset, and the year 1 for never.
pub(crate) fn time(text: Option<&str>) -> Option<Timestamp> {
    let text = text?;
    if text.ends_with('Z') {
        return text.to_owned().try_into().ok();
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let (hours, minutes) = offset.split_once(':')?;
    let offset = (hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?) * 60_000;
    let Timestamp(local) = format!("{local}Z").try_into().ok()?;
    let time = match sign {
        "+" => local.checked_sub(offset).map(Timestamp),
        "-" => local.checked_add(offset).map(Timestamp),
        _ => None,
    };
    // Later ones would become others on their way.
    time.filter(|time| *time <= Timestamp::LAST)
}

impl Inspected {
    /// The container that this is.
    pub(crate) fn read(
        self,
        endpoint: EndpointId,
        engine: Engine,
        id: ContainerId,
        pod: Option<String>,
    ) -> EngineContainer {
        let mut bounds = Bounds::new();
        let state = self.state.unwrap_or_default();
        let config = self.config.unwrap_or_default();
        let host = self.host_config.unwrap_or_default();
        let run = run_state(state.status.as_deref().unwrap_or_default());
        let started_at = time(state.started_at.as_deref());
        let name = bounds.text(self.name);
        let labels: BTreeMap<_, _> = bounds
            .list(
                config.labels.unwrap_or_default(),
                |bounds, (name, value)| (bounds.text(Some(name)), bounds.text(Some(value))),
            )
            .into_iter()
            .collect();
        let mut read = EngineContainer {
            endpoint,
            engine,
            id,
            name: bare(&name).to_owned(),
            image: bounds.text(config.image),
            image_id: bounds.text(self.image),
            state: run,
            // 0 is also what stands there before it ever ran.
            exit_code: state
                .exit_code
                .filter(|code| !run.has_processes() && (started_at.is_some() || *code != 0)),
            oom_killed: state.oom_killed.unwrap_or(false),
            error: bounds.some(state.error),
            pid: state.pid.filter(|pid| *pid > 0).map(HostPid),
            health: health(state.health),
            compose: compose(&labels),
            labels,
            created_at: time(self.created.as_deref()),
            started_at,
            finished_at: time(state.finished_at.as_deref()),
            restarts: self
                .restart_count
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0),
            restart_policy: restart_policy(host.restart_policy),
            command: bounds.texts(config.cmd),
            entrypoint: bounds.texts(config.entrypoint),
            workdir: bounds.text(config.working_dir),
            user: bounds.text(config.user),
            hostname: bounds.text(config.hostname),
            tty: config.tty.unwrap_or(false),
            privileged: host.privileged.unwrap_or(false),
            ports: Vec::new(),
            networks: Vec::new(),
            mounts: mounts(self.mounts, host.tmpfs, &mut bounds),
            pod: bounds.some(pod),
            env: Environment::default(),
            clipped: false,
        };
        let network = self.network_settings.unwrap_or_default();
        read.ports = ports(network.ports, config.exposed_ports, &mut bounds);
        read.networks = networks(network.networks, &mut bounds);
        // Last, because it is what there can be most of.
        read.env = Environment(bounds.texts(config.env));
        read.clipped = bounds.clipped;
        read
    }
}

#[cfg(test)]
mod tests;
