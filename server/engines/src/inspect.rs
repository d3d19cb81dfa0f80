//! What an engine says of a container, read leniently: whatever is missing, null or unknown costs
//! itself only. Texts and lists are bounded, because much of them comes from whoever made an image.

use std::collections::{BTreeMap, BTreeSet};

use porthole_protocol::container::{RestartPolicy, Timestamp};
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{
    Compose, EndpointId, EngineContainer, Environment, Health, HostPort, LIST_LIMIT, Mount,
    Network, Port, RunState, TEXT_LIMIT,
};
use porthole_protocol::id::{ContainerId, HostPid};
use serde::Deserialize;

/// All texts of a container together, in bytes. JSON may write each in six.
const ALL_TEXTS: usize = porthole_protocol::engines::MESSAGE_LIMIT / 8;

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

/// What may still be taken.
struct Bounds {
    left: usize,
    clipped: bool,
}

impl Bounds {
    fn text(&mut self, text: Option<String>) -> String {
        let mut text = text.unwrap_or_default();
        let most = TEXT_LIMIT.min(self.left);
        if text.len() > most {
            self.clipped = true;
            let mut end = most;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        self.left -= text.len();
        text
    }

    /// `None` for an empty one.
    fn some(&mut self, text: Option<String>) -> Option<String> {
        Some(self.text(text)).filter(|text| !text.is_empty())
    }

    fn texts(&mut self, list: Option<Vec<String>>) -> Vec<String> {
        self.list(list.unwrap_or_default(), |bounds, text| {
            bounds.text(Some(text))
        })
    }

    fn list<T, U>(
        &mut self,
        list: impl IntoIterator<Item = T>,
        mut read: impl FnMut(&mut Self, T) -> U,
    ) -> Vec<U> {
        let mut taken = Vec::new();
        for entry in list {
            if taken.len() == LIST_LIMIT || self.left == 0 {
                self.clipped = true;
                break;
            }
            taken.push(read(self, entry));
        }
        taken
    }
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
    match sign {
        "+" => local.checked_sub(offset).map(Timestamp),
        "-" => local.checked_add(offset).map(Timestamp),
        _ => None,
    }
}

/// `80/tcp`.
fn port(text: &str) -> Option<(u16, &str)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().ok()?;
    matches!(protocol, "tcp" | "udp" | "sctp").then_some((number, protocol))
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
        let mut bounds = Bounds {
            left: ALL_TEXTS,
            clipped: false,
        };
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

fn health(state: Option<HealthState>) -> Option<Health> {
    match state?.status?.as_str() {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        _ => None,
    }
}

fn restart_policy(policy: Option<Policy>) -> RestartPolicy {
    let policy = policy.unwrap_or_default();
    match policy.name.as_deref() {
        Some("always") => RestartPolicy::Always,
        Some("unless-stopped") => RestartPolicy::UnlessStopped,
        Some("on-failure") => RestartPolicy::OnFailure {
            most: policy
                .maximum_retry_count
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0),
        },
        _ => RestartPolicy::No,
    }
}

fn compose(labels: &BTreeMap<String, String>) -> Option<Compose> {
    let label = |name: &str| {
        ["com.docker.compose.", "io.podman.compose."]
            .into_iter()
            .find_map(|prefix| labels.get(&format!("{prefix}{name}")))
            .cloned()
    };
    Some(Compose {
        project: label("project")?,
        service: label("service"),
    })
}

fn ports(
    bound: Option<BTreeMap<String, Option<Vec<Binding>>>>,
    exposed: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    bounds: &mut Bounds,
) -> Vec<Port> {
    let mut ports = BTreeSet::new();
    let mut published = BTreeSet::new();
    for (text, bindings) in bound.unwrap_or_default() {
        let Some((container, protocol)) = port(&text) else {
            continue;
        };
        for binding in bindings.unwrap_or_default() {
            let Some(Ok(number)) = binding.host_port.map(|text| text.parse()) else {
                continue;
            };
            published.insert((container, protocol.to_owned()));
            ports.insert(Port {
                container,
                protocol: protocol.to_owned(),
                host: Some(HostPort {
                    address: binding.host_ip.unwrap_or_default(),
                    port: number,
                }),
            });
        }
        if !published.contains(&(container, protocol.to_owned())) {
            ports.insert(Port {
                container,
                protocol: protocol.to_owned(),
                host: None,
            });
        }
    }
    for text in exposed.unwrap_or_default().keys() {
        let Some((container, protocol)) = port(text) else {
            continue;
        };
        if !published.contains(&(container, protocol.to_owned())) {
            ports.insert(Port {
                container,
                protocol: protocol.to_owned(),
                host: None,
            });
        }
    }
    bounds.list(ports, |bounds, mut port| {
        if let Some(host) = &mut port.host {
            host.address = bounds.text(Some(std::mem::take(&mut host.address)));
        }
        port
    })
}

fn networks(
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
    bounds: &mut Bounds,
) -> Vec<Network> {
    bounds.list(networks.unwrap_or_default(), |bounds, (name, endpoint)| {
        let endpoint = endpoint.unwrap_or_default();
        let four = (endpoint.ip_address, endpoint.ip_prefix_len);
        let six = (endpoint.ipv6_address, endpoint.ipv6_prefix_len);
        let addresses = [four, six]
            .into_iter()
            .filter_map(|(address, length)| {
                let address = bounds.some(address)?;
                Some(format!("{address}/{}", length.unwrap_or(0)))
            })
            .collect();
        Network {
            name: bounds.text(Some(name)),
            addresses,
            mac: bounds.some(endpoint.mac_address),
            gateway: bounds.some(endpoint.gateway),
        }
    })
}

fn mounts(
    mounts: Option<Vec<MountPoint>>,
    tmpfs: Option<BTreeMap<String, String>>,
    bounds: &mut Bounds,
) -> Vec<Mount> {
    let mut read = bounds.list(mounts.unwrap_or_default(), |bounds, mount| Mount {
        kind: bounds.text(mount.r#type),
        name: bounds.some(mount.name),
        source: bounds.text(mount.source),
        destination: bounds.text(mount.destination),
        writable: mount.rw.unwrap_or(false),
    });
    // What `--tmpfs` asks for is not among the others.
    read.extend(
        bounds.list(tmpfs.unwrap_or_default(), |bounds, (path, options)| Mount {
            kind: "tmpfs".to_owned(),
            name: None,
            source: String::new(),
            destination: bounds.text(Some(path)),
            writable: !options.split(',').any(|option| option == "ro"),
        }),
    );
    // In an order of their own: Docker's changes from answer to answer.
    read.sort_by(|one, other| one.destination.cmp(&other.destination));
    read.dedup_by(|one, other| one.destination == other.destination && one.kind == other.kind);
    read
}

#[cfg(test)]
mod tests;
