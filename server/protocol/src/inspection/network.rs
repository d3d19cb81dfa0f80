//! Network namespaces, and the wires between them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{HostPid, NamespaceInode};

use super::Bounded;

/// A network namespace from inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Which.
    pub namespace: NamespaceInode,
    /// By index.
    pub interfaces: Bounded<Interface>,
    /// Of every table but `local`, IPv4 before IPv6.
    pub routes: Bounded<Route>,
    /// TCP sockets that listen and UDP sockets that are bound.
    pub sockets: Bounded<ListeningSocket>,
    /// Unix sockets that listen, on paths and on abstract names.
    pub unix_sockets: Bounded<UnixSocket>,
    /// TCP connections, in whatever state.
    pub connections: u64,
    /// What could not be read, a sentence each.
    pub notes: Vec<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge`, `tun`; `loopback` for lo; `None` for hardware.
    pub kind: Option<String>,
    /// It was set up (`IFF_UP`).
    pub up: bool,
    /// Its operational state (RFC 2863): `up`, `down`, `unknown`, `lowerlayerdown`.
    pub state: String,
    /// Bytes of a packet at most.
    pub mtu: u32,
    /// Its hardware address, `02:42:ac:11:00:02`.
    pub mac: Option<String>,
    /// The index of the interface that it is a port of, such as a bridge.
    pub master: Option<u32>,
    /// The indices of its ports.
    pub ports: Vec<u32>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Where its other end is, for a veth or what is made on top of another interface.
    pub peer: Option<Peer>,
    /// Bytes received and sent.
    pub received: u64,
    #[allow(missing_docs)]
    pub sent: u64,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits the network has.
    pub prefix: u8,
    /// `global`, `site`, `link`, `host` or a number.
    pub scope: String,
}

/// The other end of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its number in its own namespace.
    pub index: u32,
    /// The network namespace that it is in; `None` where that could not be found.
    pub namespace: Option<NamespaceInode>,
    /// Its name there.
    pub name: Option<String>,
    /// The name of the interface that it is a port of there, a bridge mostly.
    pub master: Option<String>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `10.0.0.0/24`, `default`.
    pub destination: String,
    /// Whether it is one of IPv6.
    pub v6: bool,
    /// The next router.
    pub gateway: Option<IpAddr>,
    /// The index of the interface that it leaves by. `None` where there are several or none.
    pub interface: Option<u32>,
    /// The source address that is preferred.
    pub source: Option<IpAddr>,
    /// The lowest wins.
    pub metric: Option<u32>,
    /// The number of its table: 254 is `main`.
    pub table: u32,
    /// Who made it: `kernel`, `boot`, `static`, `dhcp` or a number.
    pub protocol: String,
    /// `global`, `link`, `host` or a number.
    pub scope: String,
    /// `unicast`, `blackhole`, `unreachable` …
    pub kind: String,
}

/// Of which protocol a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SocketProtocol {
    Tcp,
    Udp,
}

/// A socket that can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningSocket {
    /// Its protocol.
    pub protocol: SocketProtocol,
    /// The address that it is bound to; `::` mostly takes IPv4 too.
    pub address: IpAddr,
    /// The port that it is bound to.
    pub port: u16,
    /// Its inode: `socket:[INODE]` in `/proc/PID/fd`.
    pub inode: u64,
    /// The user who made it.
    pub uid: u32,
    /// Who has it open.
    pub holders: Vec<SocketHolder>,
}

/// A unix socket that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocket {
    /// Its path; an abstract name begins with `@`.
    pub path: String,
    /// `stream`, `seqpacket`.
    pub kind: String,
    /// Its inode.
    pub inode: u64,
    /// Who has it open.
    pub holders: Vec<SocketHolder>,
}

/// A process with a socket open. At most eight of a socket's are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHolder {
    /// The process.
    pub pid: HostPid,
    /// Under this number.
    pub fd: i32,
}

/// Every network namespace with its interfaces and how these are connected: what is needed to draw
/// the wires between containers and bridges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wiring {
    /// The host's own first, then by inode.
    pub namespaces: Bounded<WiredNamespace>,
    /// Namespaces that could not be entered.
    pub unread: Bounded<NamespaceInode>,
}

/// A network namespace with its interfaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WiredNamespace {
    /// Which.
    pub inode: NamespaceInode,
    /// Whether it is that of the host.
    pub host: bool,
    /// A process in it.
    pub process: Option<HostPid>,
    /// The file that it is mounted on, as `ip netns` does.
    pub mount: Option<String>,
    /// Its interfaces; addresses included, traffic not.
    pub interfaces: Bounded<Interface>,
    /// Whether it has more of them than are read: these are the first, and nobody has counted the
    /// others.
    #[serde(default)]
    pub cut: bool,
}
