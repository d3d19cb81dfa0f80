//! The bridge and its ports.
//!
//! What a container could say wrongly about itself on a shared wire has nobody to hear it:
//!
//! - ports are *isolated*: the bridge passes nothing from one to another, only to the machine;
//! - ports are *locked*, nothing is learnt, and one entry of the forwarding table says which
//!   link-layer address is behind which port: frames from another one are dropped;
//! - the machine's neighbour entries for containers are permanent, and each container's for the
//!   bridge, so that neither ARP nor neighbour discovery decides anything;
//! - containers have one address each and no network around it, and the machine has a route for
//!   each that is there and no other.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind,
    InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, is_absent};
use super::pool::{Mac, Pool};

/// The interface's name in a container.
const INSIDE: &str = "eth0";

/// What is known of an interface.
pub(super) struct Link {
    pub(super) index: u32,
    /// Its link-layer address.
    pub(super) mac: Option<Mac>,
    /// How large a packet it takes, bytes.
    pub(super) mtu: u32,
    group: u32,
}

/// What bridges of every instance are in, so that each knows the others' (`port`, in ASCII): a number
/// that nobody chooses by chance.
pub(super) const GROUP: u32 = 0x706f_7274;

/// What all their names begin with.
pub(super) const PREFIX: &str = "ph-";

/// The interface with this name.
pub(super) fn find(netlink: &mut Netlink, name: &str) -> io::Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let answer = netlink.ask(RouteNetlinkMessage::GetLink(message))?;
    let Some(RouteNetlinkMessage::NewLink(found)) = answer else {
        return Ok(None);
    };
    let mac = found.attributes.iter().find_map(|one| match one {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    });
    let mut link = Link {
        index: found.header.index,
        mac,
        mtu: 0,
        group: 0,
    };
    for attribute in &found.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Group(group) => link.group = *group,
            _ => {}
        }
    }
    Ok(Some(link))
}

/// Puts a bridge where the others are, if somebody has taken it out.
pub(super) fn regroup(netlink: &mut Netlink, bridge: &Link) -> io::Result<()> {
    if bridge.group == GROUP {
        return Ok(());
    }
    let mut message = LinkMessage::default();
    message.header.index = bridge.index;
    message.attributes = vec![LinkAttribute::Group(GROUP)];
    netlink.order(RouteNetlinkMessage::SetLink(message), 0)
}

/// Whether any instance's bridge is there.
pub(super) fn is_any_bridge(netlink: &mut Netlink) -> io::Result<bool> {
    let text = std::fs::read_to_string("/proc/self/net/dev")?;
    for line in text.lines() {
        let name = line.split(':').next().unwrap_or_default().trim();
        if name.starts_with(PREFIX) && find(netlink, name)?.is_some_and(|one| one.group == GROUP) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the bridge.
pub(super) fn make_bridge(netlink: &mut Netlink, name: &str, mac: Mac) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Group(GROUP),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            // No group membership is kept: nobody but the machine hears what is sent to many.
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
        ]),
    ];
    netlink.order(
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    )
}

/// Gives the bridge its addresses and sets it up; what is so already stays.
pub(super) fn raise_bridge(netlink: &mut Netlink, index: u32, pool: &Pool) -> io::Result<()> {
    if pool.v6().is_some() {
        no_link_local(netlink, index)?;
    }
    for address in pool.gateway() {
        give_address(netlink, index, address)?;
    }
    set_up(netlink, index)
}

/// Deletes an interface; it is no error that there is none.
pub(super) fn delete(netlink: &mut Netlink, name: &str) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    absent_is_well(netlink.order(RouteNetlinkMessage::DelLink(message), 0))
}

fn gone() -> io::Error {
    rustix::io::Errno::NODEV.into()
}

/// A port of the bridge whose other end is in a container's network namespace.
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    pub(super) bridge: u32,
    pub(super) pool: &'a Pool,
    pub(super) number: u32,
    /// A process in that namespace.
    pub(super) pid: u32,
}

impl Port<'_> {
    /// Makes the pair, both ends down, for packets of this size. The bridge's own, which nobody sets,
    /// is the smallest of its ports'.
    pub(super) fn make(&self, netlink: &mut Netlink, mtu: u32) -> io::Result<()> {
        let mut inside = LinkMessage::default();
        inside.attributes = vec![
            LinkAttribute::IfName(INSIDE.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Address(self.pool.mac(self.number).0.to_vec()),
            LinkAttribute::NetNsPid(self.pid),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.name.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside))),
            ]),
        ];
        netlink.order(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Plugs it in.
    pub(super) fn join(&self, netlink: &mut Netlink) -> io::Result<()> {
        let index = find(netlink, self.name)?.ok_or_else(gone)?.index;
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![LinkAttribute::Controller(self.bridge)];
        netlink.order(RouteNetlinkMessage::SetLink(message), 0)?;
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::Isolated(true),
                InfoBridgePort::Learning(false),
                InfoBridgePort::Locked(true),
                InfoBridgePort::UnicastFlood(false),
                InfoBridgePort::MulticastFlood(false),
                InfoBridgePort::BroadcastFlood(false),
            ])),
        ])];
        netlink.order(RouteNetlinkMessage::NewLink(message), 0)?;
        let mac = self.pool.mac(self.number);
        behind_port(netlink, index, mac)?;
        for address in self.pool.addresses(self.number) {
            neighbour(netlink, self.bridge, address, mac)?;
            route(netlink, self.bridge, Some(address), None)?;
        }
        // Without an address it says nothing of its own.
        if self.pool.v6().is_some() {
            no_link_local(netlink, index)?;
        }
        set_up(netlink, index)
    }
}

/// Takes away what the machine knows of a container; the port goes with its name.
pub(super) fn forget(
    netlink: &mut Netlink,
    port: &str,
    bridge: Option<u32>,
    addresses: &[IpAddr],
) -> io::Result<()> {
    delete(netlink, port)?;
    let Some(bridge) = bridge else {
        return Ok(());
    };
    for address in addresses {
        let message = route_message(bridge, Some(*address), None);
        absent_is_well(netlink.order(RouteNetlinkMessage::DelRoute(message), 0))?;
        let message = neighbour_message(bridge, *address, None);
        absent_is_well(netlink.order(RouteNetlinkMessage::DelNeighbour(message), 0))?;
    }
    Ok(())
}

fn absent_is_well(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(error) if is_absent(&error) => Ok(()),
        answer => answer,
    }
}

/// The container's side, from inside.
pub(super) fn configure_inside(pool: &Pool, number: u32) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = find(&mut netlink, INSIDE)?.ok_or_else(gone)?.index;
    let v6 = pool.v6().is_some();
    if v6 {
        no_link_local(&mut netlink, index)?;
    }
    set_up(&mut netlink, index)?;
    for address in pool.addresses(number) {
        give_address(&mut netlink, index, address)?;
    }
    for gateway in pool.gateway() {
        neighbour(&mut netlink, index, gateway, pool.gateway_mac())?;
        route(&mut netlink, index, Some(gateway), None)?;
        route(&mut netlink, index, None, Some(gateway))?;
    }
    Ok(())
}

/// No address that its kernel makes up: the ones that are given are all that there are.
fn no_link_local(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
        vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)],
    )])];
    netlink.order(RouteNetlinkMessage::SetLink(message), 0)
}

fn set_up(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    netlink.order(RouteNetlinkMessage::SetLink(message), 0)
}

/// That this link-layer address is behind this port.
fn behind_port(netlink: &mut Netlink, port: u32, mac: Mac) -> io::Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
    netlink.order(
        RouteNetlinkMessage::NewNeighbour(message),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn give_address(netlink: &mut Netlink, index: u32, address: IpAddr) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = bits(address);
    message.header.index = index;
    // Nobody else can have it.
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    netlink.order(
        RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}

fn neighbour_message(index: u32, address: IpAddr, mac: Option<Mac>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes = vec![NeighbourAttribute::Destination(destination)];
    if let Some(mac) = mac {
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    }
    message
}

fn neighbour(netlink: &mut Netlink, index: u32, address: IpAddr, mac: Mac) -> io::Result<()> {
    netlink.order(
        RouteNetlinkMessage::NewNeighbour(neighbour_message(index, address, Some(mac))),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}

fn route_message(index: u32, to: Option<IpAddr>, by: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let any = to.or(by);
    message.header.address_family = any.map_or(AddressFamily::Inet, family);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match by {
        Some(_) => RouteScope::Universe,
        None => RouteScope::Link,
    };
    message.attributes = vec![RouteAttribute::Oif(index)];
    if let Some(to) = to {
        message.header.destination_prefix_length = bits(to);
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::from(to)));
    }
    if let Some(by) = by {
        message
            .attributes
            .push(RouteAttribute::Gateway(RouteAddress::from(by)));
    }
    message
}

/// A route to one address, or for everything by way of another.
fn route(
    netlink: &mut Netlink,
    index: u32,
    to: Option<IpAddr>,
    by: Option<IpAddr>,
) -> io::Result<()> {
    netlink.order(
        RouteNetlinkMessage::NewRoute(route_message(index, to, by)),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}
