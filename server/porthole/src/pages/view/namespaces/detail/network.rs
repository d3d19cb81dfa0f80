//! A network namespace: its wires to others, interfaces, addresses, routes, ports.

use std::collections::HashMap;
use std::net::IpAddr;

use askama::Template;
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::inspection::{
    Interface, ListeningSocket, Network, Route, SocketHolder, SocketProtocol,
};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Namespace;

use super::super::super::html;
use super::super::super::processes::row::cut;
use super::super::super::words::{bytes, count, sentence, visible};
use super::super::survey::{Link, Survey};
use super::{left_out, process_link};

/// How tall a row of the wires is.
const ROW: usize = 34;

struct InterfaceRow {
    name: String,
    kind: String,
    up: bool,
    state: String,
    addresses: Vec<String>,
    mac: String,
    mtu: u32,
    master: String,
    peer: Option<(String, Option<Link>)>,
    traffic: String,
}

struct RouteRow {
    destination: String,
    via: String,
    out: String,
    source: String,
    more: String,
}

struct PortRow {
    protocol: &'static str,
    address: String,
    port: u16,
    uid: u32,
    holders: Vec<Link>,
}

/// A wire: an interface here, the bridge that it is a port of, its other end, whose that is.
struct Wire {
    y: usize,
    bridge: Option<String>,
    /// The bridge's row is this one.
    bridge_here: bool,
    bridge_y: usize,
    name: String,
    far: String,
    whose: String,
    to: Option<String>,
    far_bridge: Option<String>,
}

#[derive(Template)]
#[template(path = "partials/namespace_net.html")]
struct View {
    sentence: String,
    wires: Vec<Wire>,
    here: String,
    /// The drawing that shows what else is on the same bridges.
    all_wires: String,
    height: usize,
    interfaces: Vec<InterfaceRow>,
    more_interfaces: Option<String>,
    routes: Vec<RouteRow>,
    more_routes: Option<String>,
    ports: Vec<PortRow>,
    more_ports: Option<String>,
    unix: Vec<(String, String, Vec<Link>)>,
    more_unix: Option<String>,
    notes: Vec<String>,
}

/// Whose a network namespace is, and its page.
fn whose(survey: &Survey<'_>, inode: NamespaceInode) -> (String, Option<Link>) {
    let Some(known) = survey.namespace(inode) else {
        return (format!("net:[{inode}]"), None);
    };
    let names: Vec<_> = survey
        .containers_in(inode)
        .map(|c| visible(c.name()))
        .collect();
    let name = match names.as_slice() {
        _ if known.initial => "the host".to_owned(),
        [] => survey
            .keeps(known)
            .first()
            .map_or_else(|| format!("net:[{inode}]"), |k| k.text.clone()),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {}", count(rest.len(), "other", "others")),
    };
    (name, Some(survey.link(inode, NamespaceType::Net)))
}

fn interface(survey: &Survey<'_>, names: &HashMap<u32, &str>, read: &Interface) -> InterfaceRow {
    let address =
        |a: &porthole_protocol::inspection::Address| format!("{}/{}", a.address, a.prefix);
    let peer = read.peer.as_ref().map(|peer| {
        let name = peer
            .name
            .as_deref()
            .map_or_else(|| format!("interface {}", peer.index), visible);
        match peer.namespace {
            Some(inode) => {
                let (whose, link) = whose(survey, inode);
                (
                    format!("{name} in "),
                    Some(Link {
                        text: whose,
                        to: link.map_or_else(String::new, |l| l.to),
                    }),
                )
            }
            None => (name, None),
        }
    });
    InterfaceRow {
        name: visible(&read.name),
        kind: read
            .kind
            .as_deref()
            .map_or_else(|| "hardware".to_owned(), visible),
        up: read.up,
        state: visible(&read.state),
        addresses: read.addresses.iter().map(address).collect(),
        mac: read.mac.as_deref().map_or_else(String::new, visible),
        mtu: read.mtu,
        master: read.master.map_or_else(String::new, |m| {
            names.get(&m).map_or_else(|| m.to_string(), |n| visible(n))
        }),
        peer: peer.map(|(text, link)| {
            (
                text,
                link.filter(|l| !l.to.is_empty() || !l.text.is_empty()),
            )
        }),
        traffic: format!("{} in, {} out", bytes(read.received), bytes(read.sent)),
    }
}

fn route(names: &HashMap<u32, &str>, read: &Route) -> RouteRow {
    let mut more = Vec::new();
    if let Some(metric) = read.metric {
        more.push(format!("metric {metric}"));
    }
    if read.table != 254 {
        more.push(format!("table {}", read.table));
    }
    if read.kind != "unicast" {
        more.push(visible(&read.kind));
    }
    more.push(format!("by {}", visible(&read.protocol)));
    RouteRow {
        destination: visible(&read.destination),
        via: read
            .gateway
            .map_or_else(|| "direct".to_owned(), |g| g.to_string()),
        out: read.interface.map_or_else(String::new, |i| {
            names.get(&i).map_or_else(|| i.to_string(), |n| visible(n))
        }),
        source: read.source.map_or_else(String::new, |s| s.to_string()),
        more: more.join(", "),
    }
}

fn holders(survey: &Survey<'_>, holders: &[SocketHolder]) -> Vec<Link> {
    let mut pids: Vec<_> = holders.iter().map(|h| h.pid).collect();
    pids.dedup();
    pids.into_iter()
        .map(|pid| process_link(survey, pid))
        .collect()
}

fn port(survey: &Survey<'_>, read: &ListeningSocket) -> PortRow {
    let every = read.address.is_unspecified();
    PortRow {
        protocol: match read.protocol {
            SocketProtocol::Tcp => "tcp",
            SocketProtocol::Udp => "udp",
        },
        address: match read.address {
            _ if every => format!("every ({})", read.address),
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => address.to_string(),
        },
        port: read.port,
        uid: read.uid,
        holders: holders(survey, &read.holders),
    }
}

fn wires(
    survey: &Survey<'_>,
    namespace: &Namespace,
    read: &Network,
    names: &HashMap<u32, &str>,
) -> Vec<Wire> {
    // What is made on top of another interface of the same namespace is no wire to anywhere.
    let leaves = |i: &&Interface| {
        i.peer
            .as_ref()
            .is_some_and(|p| p.namespace != Some(namespace.inode))
    };
    let mut ends: Vec<_> = read.interfaces.items.iter().filter(leaves).collect();
    ends.sort_by_key(|i| (i.master.is_none(), i.master, i.index));
    let mut bridge_rows: HashMap<u32, usize> = HashMap::new();
    let wire = |(row, end): (usize, &&Interface)| {
        let y = row * ROW + 34;
        let bridge_y = end.master.map_or(y, |m| *bridge_rows.entry(m).or_insert(y));
        let peer = end.peer.as_ref();
        let (name, link) = match peer.and_then(|p| p.namespace) {
            Some(inode) => whose(survey, inode),
            None => ("not found".to_owned(), None),
        };
        Wire {
            y,
            bridge: end
                .master
                .map(|m| names.get(&m).map_or_else(|| m.to_string(), |n| visible(n))),
            bridge_here: bridge_y == y,
            bridge_y,
            name: visible(&end.name),
            far: peer.map_or_else(String::new, |p| {
                p.name
                    .as_deref()
                    .map_or_else(|| format!("#{}", p.index), visible)
            }),
            whose: cut(
                &name,
                if peer.is_some_and(|p| p.master.is_some()) {
                    16
                } else {
                    30
                },
            ),
            to: link.map(|l| l.to),
            far_bridge: peer.and_then(|p| p.master.as_deref()).map(visible),
        }
    };
    ends.iter().enumerate().map(wire).collect()
}

/// Everything of it.
pub(super) fn drawn(survey: &Survey<'_>, namespace: &Namespace, read: &Network) -> String {
    let names: HashMap<u32, &str> = read
        .interfaces
        .items
        .iter()
        .map(|i| (i.index, i.name.as_str()))
        .collect();
    let wires = wires(survey, namespace, read, &names);
    html(&View {
        sentence: format!(
            "{}, {}, {} open.",
            count(read.interfaces.items.len(), "interface", "interfaces"),
            count(
                read.sockets.items.len(),
                "port that can be reached",
                "ports that can be reached"
            ),
            count(
                usize::try_from(read.connections).unwrap_or(usize::MAX),
                "TCP connection",
                "TCP connections"
            ),
        ),
        height: wires.len() * ROW + 40,
        wires,
        all_wires: format!("{}/namespaces?view=wires", survey.scene.base),
        here: cut(&whose(survey, namespace.inode).0, 46),
        interfaces: read
            .interfaces
            .items
            .iter()
            .map(|i| interface(survey, &names, i))
            .collect(),
        more_interfaces: left_out(read.interfaces.left_out),
        routes: read.routes.items.iter().map(|r| route(&names, r)).collect(),
        more_routes: left_out(read.routes.left_out),
        ports: read.sockets.items.iter().map(|s| port(survey, s)).collect(),
        more_ports: left_out(read.sockets.left_out),
        unix: read
            .unix_sockets
            .items
            .iter()
            .map(|s| {
                (
                    visible(&s.path),
                    visible(&s.kind),
                    holders(survey, &s.holders),
                )
            })
            .collect(),
        more_unix: left_out(read.unix_sockets.left_out),
        notes: read.notes.iter().map(|note| sentence(note)).collect(),
    })
}
