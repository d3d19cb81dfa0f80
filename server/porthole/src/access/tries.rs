//! Tries at a secret: how long the next one waits, counted by account and by address.
//!
//! An account's count is everybody's who tries at it, so that many addresses together gain
//! nothing. Who has signed in to it from an address lately is counted apart from that: strangers
//! cannot keep an account's owner out.
//!
//! Pure: the clock is passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::delay::Delays;
use super::identity::SecretHash;

/// The longest wait that wrong passwords for an account cause, from wherever they came.
const ACCOUNT_WAIT: Duration = Duration::from_secs(30);
/// The longest wait that wrong passwords from an address cause.
const ADDRESS_WAIT: Duration = Duration::from_secs(300);
/// How long it counts that somebody has signed in from an address.
const LATELY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many such addresses are kept in mind, over all accounts; the oldest go first.
const KEPT: usize = 10_000;

/// Where a try came from. Of IPv6 the network, because one customer has all of a /64 (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(IpAddr);

impl From<IpAddr> for Place {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                Ipv6Addr::from_bits(network).into()
            }
        })
    }
}

/// All that was tried lately.
#[derive(Debug)]
pub struct Tries {
    /// By the hash of the name, which may be anything of any length.
    by_account: Delays<SecretHash>,
    by_place: Delays<Place>,
    by_known: Delays<(SecretHash, Place)>,
    known: HashMap<(SecretHash, Place), Instant>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            by_account: Delays::new(ACCOUNT_WAIT),
            by_place: Delays::new(ADDRESS_WAIT),
            by_known: Delays::new(ACCOUNT_WAIT),
            known: HashMap::new(),
        }
    }
}

impl Tries {
    fn known(
        &self,
        account: SecretHash,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Option<(SecretHash, Place)> {
        let key = (account, Place::from(from?));
        let since = self.known.get(&key)?;
        (now.saturating_duration_since(*since) < LATELY).then_some(key)
    }

    /// Begins a try, or says how long to wait. It counts as failed until [`Tries::succeeded`] says
    /// otherwise.
    pub fn begin(
        &mut self,
        account: SecretHash,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Duration> {
        let place = from.map(Place::from);
        let known = self.known(account, from, now);
        let wait = match known {
            Some(key) => self.by_known.remaining(&key, now),
            None => {
                let places = place.map_or(Duration::ZERO, |p| self.by_place.remaining(&p, now));
                self.by_account.remaining(&account, now).max(places)
            }
        };
        if !wait.is_zero() {
            return Err(wait);
        }
        match known {
            Some(key) => self.by_known.failed(key, now),
            None => self.by_account.failed(account, now),
        }
        if let Some(place) = place {
            self.by_place.failed(place, now);
        }
        Ok(())
    }

    /// The secret was right.
    pub fn succeeded(&mut self, account: SecretHash, from: Option<IpAddr>, now: Instant) {
        let known = self.known(account, from, now);
        // What strangers have tried stays counted where the owner was not counted with them.
        if known.is_none() {
            self.by_account.succeeded(&account);
        }
        let Some(place) = from.map(Place::from) else {
            return;
        };
        let key = (account, place);
        self.by_place.succeeded(&place);
        self.by_known.succeeded(&key);
        if self.known.len() >= KEPT && !self.known.contains_key(&key) {
            let oldest = self.known.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(key, now);
    }

    /// Whoever has signed in from anywhere is a stranger again: the account has another password.
    pub fn forget(&mut self, account: SecretHash) {
        self.known.retain(|(of, _), _| *of != account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SecretHash = [1; 32];
    const BOB: SecretHash = [2; 32];
    const SECOND: Duration = Duration::from_secs(1);

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let now = Instant::now();
        let mut tries = Tries::default();
        // Each at another account, from another address of one network.
        let mut refused = None;
        for host in 1..20_u8 {
            let begun = tries.begin([host; 32], at(&format!("2001:db8::{host}")), now);
            if begun.is_err() {
                refused = Some(host);
                break;
            }
        }
        assert_eq!(
            refused,
            Some(5),
            "the first three are free, one more is not"
        );
        assert!(
            tries
                .begin(BOB, at("2001:db8::ffff:ffff:ffff:ffff"), now)
                .is_err()
        );
        assert_eq!(
            tries.begin(BOB, at("2001:db8:0:1::1"), now),
            Ok(()),
            "another network"
        );
        assert_eq!(
            Place::from(at("::ffff:192.0.2.1").expect("one")).0,
            at("192.0.2.1").expect("one")
        );
    }

    #[test]
    fn strangers_do_not_keep_the_owner_out_and_a_lock_ends() {
        let mut now = Instant::now();
        let mut tries = Tries::default();
        assert_eq!(tries.begin(ANN, at("192.0.2.1"), now), Ok(()));
        tries.succeeded(ANN, at("192.0.2.1"), now);
        // From as many addresses as there are tries.
        let mut last = Ok(());
        for host in 1..50 {
            last = tries.begin(ANN, at(&format!("198.51.100.{host}")), now);
        }
        let wait = last.expect_err("the control: strangers wait");
        assert!(
            tries.begin(ANN, at("203.0.113.9"), now).is_err(),
            "all strangers"
        );
        assert_eq!(tries.begin(ANN, at("192.0.2.1"), now), Ok(()), "the owner");
        tries.succeeded(ANN, at("192.0.2.1"), now);
        assert!(
            tries.begin(ANN, at("203.0.113.9"), now).is_err(),
            "and still strangers"
        );
        // No lock is for good.
        now += wait;
        assert_eq!(tries.begin(ANN, at("203.0.113.9"), now), Ok(()));
        // A known address is no way around the delays.
        let own: Vec<_> = (0..6)
            .map(|_| tries.begin(ANN, at("192.0.2.1"), now))
            .collect();
        assert!(own[4].is_err(), "{own:?}");
        // With another password everybody is a stranger.
        tries.forget(ANN);
        for host in 1..50 {
            last = tries.begin(ANN, at(&format!("198.51.100.{host}")), now);
        }
        assert!(last.is_err());
        now += LATELY + SECOND;
        assert_eq!(tries.begin(ANN, at("192.0.2.1"), now), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut tries = Tries::default();
        let now = Instant::now();
        for number in 0..u32::try_from(KEPT).expect("small") + 50 {
            let address = IpAddr::V4(number.into());
            tries.succeeded(
                ANN,
                Some(address),
                now + Duration::from_millis(number.into()),
            );
        }
        assert_eq!(tries.known.len(), KEPT);
    }
}
