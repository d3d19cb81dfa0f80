//! The interfaces of the network namespace that this process is in, their addresses and routes.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use porthole_protocol::inspection::{Address, Interface, Route};

use super::Trouble;
use super::netlink::Netlink;
use crate::printable;

/// `RT_TABLE_LOCAL` of `linux/rtnetlink.h`: the addresses themselves, which stand at the interfaces.
const LOCAL: u32 = 255;

/// An interface, and where its other end is as this namespace knows it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) interface: Interface,
    pub(super) end: Option<End>,
}

/// The other end: its index, and the number of its namespace here where that is another.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) index: u32,
    pub(super) namespace: Option<i32>,
}

/// So many addresses are read for each interface, all in all.
const ADDRESSES: usize = 4;

/// The interfaces of a namespace.
#[derive(Debug)]
pub(super) struct Interfaces {
    /// By index, with their addresses.
    pub(super) found: Vec<Found>,
    /// How many could not be understood.
    pub(super) strange: usize,
    /// Whether there are more than were asked for.
    pub(super) cut: bool,
    /// The same of their addresses.
    pub(super) addresses_cut: bool,
}

/// At most so many interfaces.
pub(super) fn list(netlink: &mut Netlink, most: usize) -> Result<Interfaces, Trouble> {
    let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let links = netlink.dump(links, most)?;
    let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let addresses = netlink.dump(addresses, most * ADDRESSES)?;
    let strange = links.strange + addresses.strange;
    let mut of: HashMap<u32, Vec<Address>> = HashMap::new();
    for message in addresses.found {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && let Some(address) = address(&message)
        {
            of.entry(message.header.index).or_default().push(address);
        }
    }
    let mut found: Vec<Found> = links
        .found
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => {
                let addresses = of.remove(&link.header.index).unwrap_or_default();
                Some(interface(&link, addresses))
            }
            _ => None,
        })
        .collect();
    let mut ports: HashMap<u32, Vec<u32>> = HashMap::new();
    for one in &found {
        if let Some(master) = one.interface.master {
            ports.entry(master).or_default().push(one.interface.index);
        }
    }
    for one in &mut found {
        one.interface.ports = ports.remove(&one.interface.index).unwrap_or_default();
    }
    found.sort_by_key(|one| one.interface.index);
    Ok(Interfaces {
        found,
        strange,
        cut: links.cut,
        addresses_cut: addresses.cut,
    })
}

pub(super) fn interface(link: &LinkMessage, addresses: Vec<Address>) -> Found {
    let index = link.header.index;
    let loopback = link.header.link_layer_type == LinkLayerType::Loopback;
    let mut interface = Interface {
        index,
        name: String::new(),
        kind: loopback.then(|| "loopback".to_owned()),
        up: link.header.flags.contains(LinkFlags::Up),
        state: "unknown".to_owned(),
        mtu: 0,
        mac: None,
        master: None,
        ports: Vec::new(),
        addresses,
        peer: None,
        received: 0,
        sent: 0,
    };
    let (mut other, mut namespace) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = printable::line(name.as_bytes()),
            LinkAttribute::OperState(state) => interface.state = state.to_string().to_lowercase(),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(bytes) => interface.mac = mac(bytes).filter(|_| !loopback),
            LinkAttribute::Controller(master) => interface.master = Some(*master),
            LinkAttribute::Link(index) => other = Some(*index),
            LinkAttribute::LinkNetNsId(number) => namespace = Some(*number),
            LinkAttribute::Stats64(stats) => {
                interface.received = stats.rx_bytes;
                interface.sent = stats.tx_bytes;
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        interface.kind = Some(printable::line(kind.to_string().as_bytes()));
                    }
                }
            }
            _ => {}
        }
    }
    // Tunnels that hang from nothing say 0.
    let end = other
        .filter(|other| *other != 0 && (*other != index || namespace.is_some()))
        .map(|index| End { index, namespace });
    Found { interface, end }
}

fn mac(bytes: &[u8]) -> Option<String> {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (!digits.is_empty()).then(|| digits.join(":"))
}

pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On a wire between two the other's is the plain one.
            AddressAttribute::Local(address) => found = Some(*address),
            AddressAttribute::Address(address) => found = found.or(Some(*address)),
            _ => {}
        }
    }
    let scope = u8::from(message.header.scope);
    Some(Address {
        address: found?,
        prefix: message.header.prefix_len,
        scope: scope_in_words(scope),
    })
}

/// `RT_SCOPE_*` of `linux/rtnetlink.h`, as ip(8) names them.
fn scope_in_words(scope: u8) -> String {
    match scope {
        0 => "global".to_owned(),
        200 => "site".to_owned(),
        253 => "link".to_owned(),
        254 => "host".to_owned(),
        255 => "nowhere".to_owned(),
        other => other.to_string(),
    }
}

/// The routes of every table but `local`; how many could not be understood, and whether there are
/// more than so many of a family.
pub(super) fn routes(
    netlink: &mut Netlink,
    most: usize,
) -> Result<(Vec<Route>, usize, bool), Trouble> {
    let (mut found, mut strange, mut cut) = (Vec::new(), 0, false);
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let routes = netlink.dump(RouteNetlinkMessage::GetRoute(request), most)?;
        strange += routes.strange;
        cut |= routes.cut;
        found.extend(routes.found.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) => route(message),
            _ => None,
        }));
    }
    Ok((found, strange, cut))
}

pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let v6 = header.address_family == AddressFamily::Inet6;
    let mut route = Route {
        destination: "default".to_owned(),
        v6,
        gateway: None,
        interface: None,
        source: None,
        metric: None,
        table: u32::from(header.table),
        protocol: header.protocol.to_string().to_lowercase(),
        scope: scope_in_words(header.scope.into()),
        kind: kind_in_words(header.kind),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                let address = ip(address)?;
                route.destination = format!("{address}/{}", header.destination_prefix_length);
            }
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => route.gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => {
                route.gateway = Some((*address).into());
            }
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            RouteAttribute::Priority(metric) => route.metric = Some(*metric),
            RouteAttribute::Table(table) => route.table = *table,
            _ => {}
        }
    }
    (route.table != LOCAL).then_some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn kind_in_words(kind: RouteType) -> String {
    match kind {
        RouteType::Unspec => "unspec",
        RouteType::Unicast => "unicast",
        RouteType::Local => "local",
        RouteType::Broadcast => "broadcast",
        RouteType::Anycast => "anycast",
        RouteType::Multicast => "multicast",
        RouteType::BlackHole => "blackhole",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
        RouteType::Nat => "nat",
        other => return u8::from(other).to_string(),
    }
    .to_owned()
}
