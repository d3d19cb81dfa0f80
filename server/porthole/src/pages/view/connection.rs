//! What a container is connected to, as people write and read it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use porthole_protocol::container::{Container, NetworkChoice, Publish, Transport};

use super::words::sentence;

/// How a published port is written; shown where it was written otherwise.
const EXAMPLE: &str = "Write one port a line: 8080:80 leads from this machine's loopback to the container's port 80, 0.0.0.0:8080:80/udp from everywhere.";

/// Reads ports, one a line: `[ADDRESS:]PORT:PORT[/tcp|/udp]`.
pub(crate) fn parse_ports(text: &str, errors: &mut BTreeMap<String, String>) -> Vec<Publish> {
    let mut ports = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        match parse_port(line) {
            Some(port) => ports.push(port),
            None => {
                let why = sentence(&format!("line {}: {line:?} is no port. {EXAMPLE}", at + 1));
                errors.entry("publish".to_owned()).or_insert(why);
            }
        }
    }
    ports
}

pub(crate) fn parse_port(line: &str) -> Option<Publish> {
    let (line, protocol) = match line.rsplit_once('/') {
        None => (line, Transport::Tcp),
        Some((line, "tcp")) => (line, Transport::Tcp),
        Some((line, "udp")) => (line, Transport::Udp),
        Some(_) => return None,
    };
    let (host, container_port) = line.rsplit_once(':')?;
    let (host, host_port) = match host.parse::<SocketAddr>() {
        Ok(at) => (at.ip(), at.port()),
        Err(_) => (Publish::LOOPBACK, host.parse().ok()?),
    };
    Some(Publish {
        host,
        host_port: host_port.try_into().ok()?,
        container_port: container_port.parse().ok()?,
        protocol,
    })
}

/// What it is connected to, its addresses and its ports.
pub(super) fn facts(container: &Container) -> Vec<(&'static str, String, bool)> {
    let spec = &container.spec;
    let network = match &spec.network {
        None | Some(NetworkChoice::None) => "none: its loopback interface alone".to_owned(),
        Some(NetworkChoice::Bridge) => match &container.network {
            Some(_) => "Porthole's bridge".to_owned(),
            None => "Porthole's bridge, once it is started".to_owned(),
        },
        Some(NetworkChoice::Host) => "the host's".to_owned(),
        Some(NetworkChoice::Container(_)) => "another container's".to_owned(),
    };
    let mut facts = vec![("Network", network, false)];
    if let Some(network) = &container.network {
        let list = |addresses: &[IpAddr]| {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        facts.push(("Addresses", list(&network.addresses), true));
        facts.push(("Gateway", list(&network.gateway), true));
    }
    if !spec.publish.is_empty() {
        let ports: Vec<_> = spec.publish.iter().map(ToString::to_string).collect();
        facts.push(("Published", ports.join(", "), true));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_people_write_them() {
        let mut errors = BTreeMap::new();
        let text = "8080:80\n\n 127.0.0.1:53:5353/udp \n[::]:443:8443/tcp\n";
        let ports = parse_ports(text, &mut errors);
        let said: Vec<_> = ports.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "127.0.0.2:8080 → 80/tcp",
                "127.0.0.1:53 → 5353/udp",
                "[::]:443 → 8443/tcp"
            ]
        );
        assert!(errors.is_empty(), "{errors:?}");
        for bad in [
            "80",
            "x:80",
            "80:x",
            "0:80",
            "80:80/sctp",
            "1.2.3:80:80",
            "80:",
        ] {
            let mut errors = BTreeMap::new();
            assert!(parse_ports(bad, &mut errors).is_empty(), "{bad}");
            assert!(errors["publish"].contains("Line 1"), "{errors:?}");
        }
    }
}
