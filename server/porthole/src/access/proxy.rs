//! Which programs say for whom they send a request (`X-Forwarded-For`): those that the settings name
//! as a proxy, and nobody else.
//!
//! An address of this machine's own tells nothing, since any program can send from it. A proxy that
//! runs here is named by its account instead, and the kernel says whose a connection's other end is
//! (`/proc/net/tcp`, see proc_net_tcp.txt in the kernel's documentation).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who is believed. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Addresses of other machines.
    addresses: Vec<IpAddr>,
    /// Accounts of this one.
    users: Vec<u32>,
}

/// Where the kernel lists connections of this network namespace.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// The number of the state in which both ends are there. Of one that is closing the kernel tells no
/// owner, but 0.
const ESTABLISHED: &str = "01";

impl Proxies {
    /// Reads addresses and names or numbers of accounts, with commas between them; `passwd` is the
    /// machine's `/etc/passwd`.
    ///
    /// # Errors
    /// In words, where one is neither or says too little.
    pub fn parse(text: &str, passwd: &str) -> Result<Self, String> {
        let mut proxies = Self::default();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            if let Ok(address) = word.parse::<IpAddr>() {
                let address = address.to_canonical();
                if address.is_loopback() || address.is_unspecified() {
                    return Err(format!(
                        "every program of this machine can send from {word}: name the account that the proxy runs as, such as www-data"
                    ));
                }
                proxies.addresses.push(address);
            } else if let Some(user) = word.parse().ok().or_else(|| number(passwd, word)) {
                proxies.users.push(user);
            } else {
                return Err(format!(
                    "{word} is neither an address nor an account of this machine"
                ));
            }
        }
        Ok(proxies)
    }

    /// Whether it cannot be said without looking at the kernel's tables: [`Proxies::owns`].
    pub const fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether this address is believed whichever program it is.
    pub fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }

    /// Whether the other end of a connection, `peer`, is a program of this machine that runs as one
    /// of the accounts. Reads files: not on a thread that serves.
    pub fn owns(&self, peer: SocketAddr, here: SocketAddr) -> bool {
        TABLES.iter().any(|table| {
            let text = std::fs::read_to_string(table).unwrap_or_default();
            owner(&text, peer, here).is_some_and(|user| self.users.contains(&user))
        })
    }
}

impl fmt::Display for Proxies {
    /// As [`Proxies::parse`] reads it, accounts by their numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let users = self.users.iter().map(ToString::to_string);
        f.write_str(&addresses.chain(users).collect::<Vec<_>>().join(","))
    }
}

/// The number of an account in `/etc/passwd`, passwd(5).
fn number(passwd: &str, name: &str) -> Option<u32> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    let mut found = lines.find(|fields| fields.clone().next() == Some(name))?;
    found.nth(2)?.parse().ok()
}

/// Whose socket is the end of a connection that has this address, by one of the kernel's tables.
fn owner(table: &str, end: SocketAddr, other: SocketAddr) -> Option<u32> {
    let plain = |at: SocketAddr| (at.ip().to_canonical(), at.port());
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
        let [_, local, remote, state, _, _, _, user] = fields[..] else {
            return None;
        };
        let is_it = state == ESTABLISHED
            && address(local).map(plain) == Some(plain(end))
            && address(remote).map(plain) == Some(plain(other));
        is_it.then(|| user.parse().ok()).flatten()
    })
}

/// An address as the kernel writes it: words of 32 bits in the machine's own order.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nwww:x:9:9::/:\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n";

    #[test]
    fn proxies_are_named_by_account_or_by_another_machines_address() {
        let proxies = Proxies::parse("www-data, 192.0.2.7,1005", PASSWD).expect("good");
        assert_eq!(proxies.users, [33, 1005]);
        assert!(proxies.has_users());
        assert!(proxies.is_at("192.0.2.7".parse().expect("one")));
        assert!(proxies.is_at("::ffff:192.0.2.7".parse().expect("one")));
        assert!(!proxies.is_at("127.0.0.1".parse().expect("one")));
        let again = Proxies::parse(&proxies.to_string(), "");
        assert_eq!(again.as_ref(), Ok(&proxies), "as it is passed on");
        assert_eq!(Proxies::parse("", PASSWD), Ok(Proxies::default()));
        for (bad, word) in [
            ("127.0.0.1", "every program of this machine"),
            ("::1", "every program of this machine"),
            ("0.0.0.0", "every program of this machine"),
            ("nobody-here", "neither an address nor an account"),
            ("www-data,10.0.0.0/8", "neither an address nor an account"),
        ] {
            let why = Proxies::parse(bad, PASSWD).expect_err(bad);
            assert!(why.contains(word), "{bad}: {why}");
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn whose_the_other_end_is_is_told_of_a_connection_that_stands_only() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
   0: 0100007F:1DFE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 1 1 0\n\
   1: 0100007F:1DFE 0100007F:C001 01 00000000:00000000 00:00000000 00000000   997        0 2 1 0\n\
   2: 0100007F:C001 0100007F:1DFE 01 00000000:00000000 00:00000000 00000000    33        0 3 1 0\n\
   3: 0100007F:C002 0100007F:1DFE 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0\n\
   4: 0100007F:C003 0100007F:1DFF 01 00000000:00000000 00:00000000 00000000    33        0 4 1 0\n";
        let here: SocketAddr = "127.0.0.1:7678".parse().expect("one");
        let at = |port| SocketAddr::new(here.ip(), port);
        assert_eq!(owner(table, at(0xC001), here), Some(33));
        assert_eq!(owner(table, at(0xC002), here), None, "it is closing");
        assert_eq!(owner(table, at(0xC003), here), None, "to another port");
        assert_eq!(owner(table, at(0xC004), here), None, "no such one");
        let six = "  sl\n   0: 0000000000000000FFFF00000100007F:C001 0000000000000000FFFF00000100007F:1DFE 01 0:0 0:0 0 1000 0 5\n\
   1: 00000000000000000000000001000000:C005 00000000000000000000000001000000:1DFE 01 0:0 0:0 0 1001 0 6\n";
        assert_eq!(owner(six, at(0xC001), here), Some(1000));
        let six_here: SocketAddr = "[::1]:7678".parse().expect("one");
        let end = SocketAddr::new(six_here.ip(), 0xC005);
        assert_eq!(owner(six, end, six_here), Some(1001));
    }

    #[test]
    fn the_kernel_tells_whose_a_connection_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let here = listener.local_addr().expect("an address");
        let client = std::net::TcpStream::connect(here).expect("connected");
        let peer = client.local_addr().expect("an address");
        let mine = rustix::process::getuid().as_raw();
        let named = |user: u32| Proxies::parse(&user.to_string(), "").expect("good");
        assert!(named(mine).owns(peer, here));
        assert!(!named(mine + 1).owns(peer, here), "the control");
        drop(client);
        assert!(!named(mine).owns(peer, here), "it is gone");
    }
}
