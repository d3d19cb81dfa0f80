//! What containers are connected to: what is asked for becomes what is in force, and each that is
//! on the bridge has a number in its pool, which it keeps until it is removed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use porthole_protocol::container::{
    ContainerNetwork, ContainerSpec, NamespaceChoice, NetworkChoice, Publish,
};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::NamespaceType;
use porthole_runtime::network::pool::Pool;

use super::Ledger;
use super::record::Held;

/// Ports below this one are for what belongs to the machine.
const FIRST_FREE_PORT: u16 = 1024;

/// The bridge, as far as this machine and root's policy have one.
#[derive(Debug, Default)]
pub(crate) enum Network {
    /// Root's policy has none.
    #[default]
    Off,
    /// It has one, but the machine lacks something: a sentence that says what to do.
    Unusable(String),
    /// Containers can be attached.
    Ready {
        /// Their addresses.
        pool: Pool,
        /// Whether ports may be published anywhere, and not on loopback alone.
        publish_anywhere: bool,
    },
}

fn refused(field: &str, code: FailureCode, message: impl Into<String>) -> Failure {
    Failure::new(code, message)
        .field(field)
        .stage(Stage::Network)
}

/// Why no port of this address can lead to a container, whatever root allows.
fn leads_nowhere(host: IpAddr) -> Option<&'static str> {
    match host {
        // There is nothing like route_localnet for IPv6.
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(
            "cannot be published: the kernel lets nothing that is sent from ::1 go on to a container; publish on 127.0.0.2, or on an IPv6 address of the machine's",
        ),
        IpAddr::V6(host) if host.to_ipv4_mapped().is_some() => Some(
            "cannot be published: it is an IPv4 address written as an IPv6 one; write it as an IPv4 address",
        ),
        IpAddr::V6(host) if host.is_unicast_link_local() => Some(
            "cannot be published: an address that starts with fe80: is one on each interface; publish on another address of the machine's",
        ),
        IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Some("cannot be published: it is the address of many; publish on one of the machine's")
        }
        _ => None,
    }
}

impl Network {
    /// Whether containers can be attached.
    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    fn pool(&self) -> Result<&Pool, Failure> {
        match self {
            Self::Ready { pool, .. } => Ok(pool),
            Self::Off => Err(refused(
                "network",
                FailureCode::Forbidden,
                format!(
                    "root's policy has no network for containers; root allows it by bridge = true in the table [network] of {}",
                    crate::policy::PATH
                ),
            )),
            Self::Unusable(why) => Err(refused(
                "network",
                FailureCode::Unsupported,
                format!("no container can be connected now: {why}"),
            )),
        }
    }

    fn check_ports(&self, ports: &[Publish]) -> Result<(), Failure> {
        let Self::Ready {
            pool,
            publish_anywhere,
        } = self
        else {
            return Ok(());
        };
        if pool.v6().is_none() && ports.iter().any(|port| port.host.is_ipv6()) {
            return Err(refused(
                "publish",
                FailureCode::Unsupported,
                "this machine does not speak IPv6, so that no port of such an address leads anywhere; publish on an IPv4 address",
            ));
        }
        for port in ports {
            if let Some(why) = leads_nowhere(port.host) {
                return Err(refused(
                    "publish",
                    FailureCode::Invalid,
                    format!("{port} {why}"),
                ));
            }
        }
        if *publish_anywhere {
            return Ok(());
        }
        for port in ports {
            let why = if !port.host.is_loopback() {
                "on an address that others reach"
            } else if port.host == Ipv4Addr::LOCALHOST {
                "where browsers have Porthole's cookies, which know no ports (127.0.0.2 is as near)"
            } else if port.host_port.get() < FIRST_FREE_PORT {
                "below 1024"
            } else {
                continue;
            };
            return Err(refused(
                "publish",
                FailureCode::Forbidden,
                format!(
                    "{port} is {why}, which root's policy does not allow; root allows it by publish = \"anywhere\" in the table [network] of {}",
                    crate::policy::PATH
                ),
            ));
        }
        Ok(())
    }
}

impl Ledger {
    /// Says what there is to attach containers to.
    pub(crate) fn connect(&mut self, network: Network) {
        self.network = network;
    }

    /// Writes down what a container is connected to, after its namespaces are.
    pub(super) fn settle_network(&self, spec: &mut ContainerSpec) -> Result<(), Failure> {
        let asked = spec.network.take();
        let network = match spec.namespace(NamespaceType::Net) {
            NamespaceChoice::Host => NetworkChoice::Host,
            NamespaceChoice::Container(id) => NetworkChoice::Container(id),
            NamespaceChoice::Own => match asked {
                Some(NetworkChoice::None) => NetworkChoice::None,
                Some(_) => NetworkChoice::Bridge,
                None if self.network.is_ready() => NetworkChoice::Bridge,
                // What cannot be without one asks for it.
                None if !spec.publish.is_empty() || !spec.dns.is_empty() => NetworkChoice::Bridge,
                None => NetworkChoice::None,
            },
        };
        if network == NetworkChoice::Bridge {
            self.network.pool()?;
            self.network.check_ports(&spec.publish)?;
        }
        spec.network = Some(network);
        Ok(())
    }

    /// The number of a container that is to be attached, `None` for one that is not: the one that
    /// it has, or one that nobody has. The flag says that it is new.
    pub(crate) fn lease(&mut self, id: &ContainerId) -> Result<Option<(u32, bool)>, Failure> {
        let Some(held) = self.containers.get(id) else {
            return Ok(None);
        };
        if held.config.spec.network != Some(NetworkChoice::Bridge) {
            return Ok(None);
        }
        let pool = self.network.pool()?;
        self.network.check_ports(&held.config.spec.publish)?;
        if let Some(number) = held.state.network.filter(|number| pool.has(*number)) {
            return Ok(Some((number, false)));
        }
        let taken = |number| {
            let known = self.containers.values().map(|other| other.state.network);
            let aside = self.aside.iter().map(|aside| aside.network);
            known.chain(aside).any(|other| other == Some(number))
        };
        let number = pool.choose(self.last_number, taken).ok_or_else(|| {
            let (base, prefix) = pool.range();
            refused(
                "network",
                FailureCode::Exhausted,
                format!(
                    "all {} addresses of {base}/{prefix} are in use: remove a container that is connected, give this one the network \"none\", or let root choose a larger range (ipv4 in the table [network] of {})",
                    pool.room(),
                    crate::policy::PATH
                ),
            )
        })?;
        self.last_number = number;
        if let Some(held) = self.containers.get_mut(id) {
            held.state.network = Some(number);
        }
        Ok(Some((number, true)))
    }

    pub(super) fn render_network(&self, held: &Held) -> Option<ContainerNetwork> {
        let Network::Ready { pool, .. } = &self.network else {
            return None;
        };
        if held.config.spec.network != Some(NetworkChoice::Bridge) {
            return None;
        }
        let number = held.state.network.filter(|number| pool.has(*number))?;
        Some(ContainerNetwork {
            addresses: pool.addresses(number),
            gateway: pool.gateway(),
        })
    }
}
