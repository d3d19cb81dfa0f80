//! Which addresses containers get: pure.
//!
//! Everything follows from a container's number in the pool: its IPv4 and IPv6 addresses and the
//! address of its interface. Number 1 is the bridge, the way out for all of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The number of the bridge itself.
const GATEWAY: u32 = 1;

/// Private addresses of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    base: Ipv4Addr,
    prefix: u8,
    /// The first address of a /64, where the machine speaks IPv6.
    v6: Option<Ipv6Addr>,
    /// What tells interfaces of instances on one machine apart.
    mark: u32,
}

/// Why a pool is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is no range of addresses.
    #[error("{0:?} is no range of IPv4 addresses; write one like 10.88.0.0/16")]
    Malformed(String),
    /// It is somebody's.
    #[error("{0} is not private: choose one within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")]
    Public(String),
    /// It has no room, or more than numbers go.
    #[error("{0} has the wrong size: its prefix is between /12 and /29")]
    Size(String),
}

/// A range of IPv4 addresses: its first one, and how many bits all have in common.
pub type Range = (Ipv4Addr, u8);

/// Whether two ranges have an address in common.
pub fn overlap(one: Range, other: Range) -> bool {
    let mask = mask(one.1.min(other.1));
    u32::from(one.0) & mask == u32::from(other.0) & mask
}

const fn mask(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        prefix => u32::MAX << (32 - prefix as u32),
    }
}

/// Reads `10.88.0.0/16`.
pub fn parse_range(text: &str) -> Result<Range, PoolError> {
    let malformed = || PoolError::Malformed(text.to_owned());
    let (base, prefix) = text.split_once('/').ok_or_else(malformed)?;
    let base: Ipv4Addr = base.parse().map_err(|_| malformed())?;
    let prefix: u8 = prefix.parse().map_err(|_| malformed())?;
    if prefix > 32 || u32::from(base) & !mask(prefix) != 0 {
        return Err(malformed());
    }
    if !(12..=29).contains(&prefix) {
        return Err(PoolError::Size(text.to_owned()));
    }
    if !base.is_private() {
        return Err(PoolError::Public(text.to_owned()));
    }
    Ok((base, prefix))
}

/// The ranges that an instance may take for itself where root names none, in the order in which
/// they are tried: another one first for each instance.
pub fn candidates(mark: u32) -> impl Iterator<Item = Range> {
    (0..128).map(move |step| {
        let second = 64 + u8::try_from((mark.wrapping_add(step)) % 128).unwrap_or(0);
        (Ipv4Addr::new(10, second, 0, 0), 16)
    })
}

impl Pool {
    /// The pool of the instance with this mark: with IPv6 addresses of a unique local prefix
    /// (RFC 4193) that follows from the mark, where the machine speaks IPv6.
    pub fn new((base, prefix): Range, mark: u32, v6: bool) -> Self {
        let [a, b, c, d] = mark.to_be_bytes();
        let local = Ipv6Addr::from([0xfd, 0x70, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        Self {
            base,
            prefix,
            v6: v6.then_some(local),
            mark,
        }
    }

    /// Its IPv4 addresses.
    pub const fn range(&self) -> Range {
        (self.base, self.prefix)
    }

    /// Its IPv6 addresses: the first one of a /64.
    pub const fn v6(&self) -> Option<Ipv6Addr> {
        self.v6
    }

    /// How many containers have room in it: all numbers but the network's own, the bridge's and
    /// the last one.
    pub const fn room(&self) -> u32 {
        (1 << (32 - self.prefix as u32)) - 3
    }

    /// Whether a container can have this number.
    pub const fn has(&self, number: u32) -> bool {
        number > GATEWAY && number - GATEWAY <= self.room()
    }

    /// A number that nobody has, starting after the last one given: what was just given back is
    /// what others may still remember. `None` where all are taken.
    pub fn choose(&self, last: u32, taken: impl Fn(u32) -> bool) -> Option<u32> {
        let room = self.room();
        let first = if self.has(last) { last - GATEWAY } else { 0 };
        (0..room)
            .map(|step| GATEWAY + 1 + (first + step) % room)
            .find(|number| !taken(*number))
    }

    /// The IPv4 address with this number.
    pub fn v4_of(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) | number)
    }

    /// The IPv6 address with this number.
    pub fn v6_of(&self, number: u32) -> Option<Ipv6Addr> {
        self.v6
            .map(|base| Ipv6Addr::from(u128::from(base) | u128::from(number)))
    }

    /// Both addresses with this number.
    pub fn addresses(&self, number: u32) -> Vec<IpAddr> {
        let v4 = IpAddr::V4(self.v4_of(number));
        let v6 = self.v6_of(number).map(IpAddr::V6);
        [v4].into_iter().chain(v6).collect()
    }

    /// The bridge's addresses.
    pub fn gateway(&self) -> Vec<IpAddr> {
        self.addresses(GATEWAY)
    }

    /// The link-layer address of the interface with this number.
    pub(crate) fn mac(&self, number: u32) -> Mac {
        let [_, a, b, _] = self.mark.to_be_bytes();
        let [_, x, y, z] = number.to_be_bytes();
        Mac([0x02, a, b, x, y, z])
    }

    /// That of the bridge.
    pub(crate) fn gateway_mac(&self) -> Mac {
        self.mac(GATEWAY)
    }
}

/// A link-layer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(range: &str) -> Pool {
        Pool::new(parse_range(range).expect("a range"), 0x0a1b_2c3d, true)
    }

    #[test]
    fn a_range_is_private_and_has_room() {
        assert_eq!(
            parse_range("10.88.0.0/16"),
            Ok((Ipv4Addr::new(10, 88, 0, 0), 16))
        );
        for bad in [
            "10.88.0.1/16",
            "8.8.8.0/24",
            "10.0.0.0/8",
            "192.168.1.0/30",
            "10.0.0.0",
            "10.0.0.0/40",
            "fd00::/64",
            "127.0.0.0/16",
        ] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_overlap_where_one_holds_the_other() {
        let range = |text: &str| parse_range(text).expect("a range");
        assert!(overlap(range("10.88.0.0/16"), range("10.88.3.0/24")));
        assert!(!overlap(range("10.88.0.0/16"), range("10.89.0.0/24")));
        assert!(overlap((Ipv4Addr::UNSPECIFIED, 0), range("10.89.0.0/24")));
        assert!(candidates(7).all(|range| !overlap(range, (Ipv4Addr::new(10, 0, 0, 0), 16))));
        assert_eq!(candidates(200).count(), 128);
    }

    #[test]
    fn every_number_is_given_once_and_then_none() {
        let pool = pool("10.9.9.0/29");
        let mut taken = std::collections::BTreeSet::new();
        while let Some(number) = pool.choose(0, |n| taken.contains(&n)) {
            assert!(pool.has(number) && taken.insert(number));
        }
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(!pool.has(0) && !pool.has(1) && !pool.has(7));
    }

    #[test]
    fn what_was_given_back_is_not_given_next() {
        let pool = pool("10.9.9.0/29");
        assert_eq!(pool.choose(3, |_| false), Some(4));
        assert_eq!(pool.choose(6, |_| false), Some(2));
        assert_eq!(pool.choose(6, |n| n == 2), Some(3));
        assert_eq!(pool.choose(4_000_000, |_| false), Some(2));
    }

    #[test]
    fn a_number_says_everything() {
        let pool = pool("10.88.0.0/16");
        assert_eq!(pool.v4_of(258), Ipv4Addr::new(10, 88, 1, 2));
        assert_eq!(
            pool.v6_of(258).map(|v6| v6.to_string()).as_deref(),
            Some("fd70:a1b:2c3d::102")
        );
        assert_eq!(pool.mac(258).to_string(), "02:1b:2c:00:01:02");
        assert_eq!(pool.gateway()[0].to_string(), "10.88.0.1");
    }
}
