//! The parts of a container that an engine has other words for: ports, networks, mounts, policies.

use std::collections::{BTreeMap, BTreeSet};

use porthole_protocol::container::RestartPolicy;
use porthole_protocol::engines::{Compose, Health, HostPort, LIST_LIMIT, Mount, Network, Port};

use super::bounds::Bounds;
use super::{Binding, Endpoint, HealthState, MountPoint, Policy};

/// `80/tcp`.
fn port(text: &str) -> Option<(u16, &str)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().ok()?;
    matches!(protocol, "tcp" | "udp" | "sctp").then_some((number, protocol))
}

pub(super) fn health(state: Option<HealthState>) -> Option<Health> {
    match state?.status?.as_str() {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        _ => None,
    }
}

pub(super) fn restart_policy(policy: Option<Policy>) -> RestartPolicy {
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

pub(super) fn compose(labels: &BTreeMap<String, String>) -> Option<Compose> {
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

pub(super) fn ports(
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

pub(super) fn networks(
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

pub(super) fn mounts(
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
    // They are one list by now.
    if read.len() > LIST_LIMIT {
        bounds.clipped = true;
        read.truncate(LIST_LIMIT);
    }
    read
}
