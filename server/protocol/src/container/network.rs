//! How a container reaches others, and how it is reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// What a container is connected to: `bridge`, `none`, `host` or `container:REF`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkChoice {
    /// Porthole's own bridge: addresses of its own, the way out through the machine's.
    Bridge,
    /// Nothing: it has its loopback interface.
    None,
    /// What the machine is connected to: its network namespace is the machine's.
    Host,
    /// What another container is connected to: its network namespace is that one's.
    Container(String),
}

impl TryFrom<String> for NetworkChoice {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            "bridge" => Ok(Self::Bridge),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some(reference) if !reference.is_empty() => {
                    Ok(Self::Container(reference.to_owned()))
                }
                _ => Err(Invalid(
                    "a network is \"bridge\", \"none\", \"host\" or \"container:\" and a name",
                )),
            },
        }
    }
}

impl From<NetworkChoice> for String {
    fn from(choice: NetworkChoice) -> String {
        choice.to_string()
    }
}

impl fmt::Display for NetworkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(reference) => write!(f, "container:{reference}"),
        }
    }
}

/// What a published port speaks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its word in JSON, on screen and for nft.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port of the machine that leads to one of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The machine's address; `0.0.0.0` and `::` are all of its.
    #[serde(default = "loopback")]
    pub host: IpAddr,
    /// The machine's port.
    pub host_port: NonZeroU16,
    /// The container's.
    pub container_port: NonZeroU16,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Transport,
}

const fn loopback() -> IpAddr {
    Publish::LOOPBACK
}

impl Publish {
    /// Where a port is published that names no address: the machine's loopback, but not 127.0.0.1.
    /// Cookies know no ports (RFC 6265, 8.5), so that whoever answers there is sent those of a
    /// Porthole that is used at that address.
    pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    /// How many ports one container may publish.
    pub const MOST: usize = 32;

    /// The first thing that is wrong with these together.
    pub(super) fn check(all: &[Self]) -> Result<(), Invalid> {
        if all.len() > Self::MOST {
            return Err(Invalid("a container publishes at most 32 ports"));
        }
        if all
            .iter()
            .any(|one| matches!(one.host, IpAddr::V6(host) if host.is_loopback()))
        {
            return Err(Invalid(
                "the kernel leads nothing on from ::1; publish on 127.0.0.2",
            ));
        }
        if all.iter().any(|one| one.host.is_multicast()) {
            return Err(Invalid("a multicast address is nobody's own"));
        }
        let alike = |one: &Self, other: &Self| {
            (one.host, one.host_port, one.protocol) == (other.host, other.host_port, other.protocol)
        };
        let twice = all
            .iter()
            .enumerate()
            .any(|(at, one)| all[..at].iter().any(|other| alike(one, other)));
        if twice {
            return Err(Invalid("the same port is published twice"));
        }
        Ok(())
    }
}

impl fmt::Display for Publish {
    /// As people write it: `127.0.0.2:8080 → 80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = std::net::SocketAddr::new(self.host, self.host_port.get());
        write!(
            f,
            "{host} \u{2192} {}/{}",
            self.container_port,
            self.protocol.name()
        )
    }
}

/// A container's place on Porthole's bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerNetwork {
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// What it sends to when it means anybody else.
    pub gateway: Vec<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(json: &str) -> Publish {
        serde_json::from_str(json).expect("a port")
    }

    #[test]
    fn a_port_is_published_on_loopback_unless_told_otherwise() {
        let port = publish(r#"{"host_port":8080,"container_port":80}"#);
        assert_eq!(port.to_string(), "127.0.0.2:8080 → 80/tcp");
        let port = publish(r#"{"host":"::","host_port":53,"container_port":53,"protocol":"udp"}"#);
        assert_eq!(port.to_string(), "[::]:53 → 53/udp");
        for bad in [
            r#"{"host_port":0,"container_port":80}"#,
            r#"{"host_port":80}"#,
            r#"{"host":"localhost","host_port":80,"container_port":80}"#,
            r#"{"host_port":80,"container_port":80,"protocol":"sctp"}"#,
        ] {
            assert!(serde_json::from_str::<Publish>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_do_not_stand_in_each_others_way() {
        let one = publish(r#"{"host_port":8080,"container_port":80}"#);
        let other = publish(r#"{"host_port":8080,"container_port":81}"#);
        let udp = publish(r#"{"host_port":8080,"container_port":80,"protocol":"udp"}"#);
        assert_eq!(Publish::check(&[one, udp]), Ok(()));
        assert!(Publish::check(&[one, udp, other]).is_err());
        let v6 = publish(r#"{"host":"::1","host_port":8080,"container_port":80}"#);
        assert!(Publish::check(&[v6]).is_err());
        assert!(Publish::check(&[one; Publish::MOST + 1]).is_err());
    }

    #[test]
    fn a_network_is_one_of_four() {
        for good in ["bridge", "none", "host", "container:web"] {
            let choice = NetworkChoice::try_from(good.to_owned()).expect("valid");
            assert_eq!(String::from(choice), good);
        }
        for bad in ["", "container:", "own", "Bridge"] {
            assert!(NetworkChoice::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
