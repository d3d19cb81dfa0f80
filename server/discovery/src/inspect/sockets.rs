//! Sockets that can be reached in the network namespace that this process is in, and who has them
//! open.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{ListeningSocket, SocketHolder, SocketProtocol, UnixSocket};
use porthole_protocol::namespace::NamespaceType;
use rustix::fs::{CWD, Mode, OFlags, open, openat, readlinkat_raw};
use rustix::io::{Errno, read};

use super::{Trouble, scan};
use crate::printable;

/// A list is not read beyond this.
const LIST_LIMIT: usize = 16 * 1024 * 1024;

/// So many holders of a socket are told.
const HOLDERS: usize = 8;

/// States of a socket in `/proc/net/tcp` and `udp` (`net/tcp_states.h`).
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// `__SO_ACCEPTCON` of `net/unix/af_unix.c`.
const ACCEPTS: u32 = 0x1_0000;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) reached: Vec<ListeningSocket>,
    pub(super) unix: Vec<UnixSocket>,
    pub(super) connections: u64,
    pub(super) notes: Vec<String>,
}

pub(super) fn list(namespace: NamespaceInode) -> Result<Sockets, Trouble> {
    let mut sockets = Sockets::default();
    for (file, protocol, state) in [
        ("tcp", SocketProtocol::Tcp, LISTEN),
        ("tcp6", SocketProtocol::Tcp, LISTEN),
        ("udp", SocketProtocol::Udp, UNCONNECTED),
        ("udp6", SocketProtocol::Udp, UNCONNECTED),
    ] {
        match rows(file, state) {
            Ok(text) => {
                let found = text
                    .lines()
                    .filter_map(|line| socket(line, protocol, state));
                sockets.reached.extend(found);
            }
            // A kernel without IPv6 has no such file.
            Err(Errno::NOENT) => {}
            Err(errno) => sockets
                .notes
                .push(format!("/proc/net/{file} cannot be read: {errno}.")),
        }
    }
    sockets
        .reached
        .sort_by_key(|one| (one.protocol, one.port, one.address));
    match scan::whole(CWD, "/proc/self/net/unix", LIST_LIMIT) {
        Ok(bytes) => {
            sockets.unix = bytes
                .split(|byte| *byte == b'\n')
                .filter_map(unix)
                .collect()
        }
        Err(errno) => sockets
            .notes
            .push(format!("/proc/net/unix cannot be read: {errno}.")),
    }
    sockets.unix.sort_by(|a, b| a.path.cmp(&b.path));
    let listening = sockets
        .reached
        .iter()
        .filter(|one| one.protocol == SocketProtocol::Tcp);
    sockets.connections = in_use().saturating_sub(listening.count() as u64);
    find_holders(namespace, &mut sockets)?;
    Ok(sockets)
}

/// A table's text. Of TCP's no more than the sockets that listen, which come first
/// (`tcp_get_idx` in net/ipv4/tcp_ipv4.c): connections may be very many.
fn rows(file: &str, state: &str) -> Result<String, Errno> {
    let path = format!("/proc/self/net/{file}");
    let table = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    while bytes.len() < LIST_LIMIT {
        let count = read(&table, &mut chunk[..])?;
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..count]);
        let is_over = state == LISTEN
            && String::from_utf8_lossy(&chunk[..count])
                .lines()
                .next_back()
                .and_then(|line| line.split_ascii_whitespace().nth(3))
                .is_some_and(|found| found != state && found.len() == 2);
        if is_over {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `0: 0100007F:1F40 00000000:0000 0A 0:0 00:0 0 UID 0 INODE …`, proc_pid_net(5).
pub(super) fn socket(line: &str, protocol: SocketProtocol, state: &str) -> Option<ListeningSocket> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if *words.get(3)? != state {
        return None;
    }
    let (address, port) = words.get(1)?.split_once(':')?;
    Some(ListeningSocket {
        protocol,
        address: ip(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: words.get(9)?.parse().ok()?,
        uid: words.get(7)?.parse().ok()?,
        holders: Vec::new(),
    })
}

/// An address as words of this machine's byte order, each printed as one number.
pub(super) fn ip(digits: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for word in digits.as_bytes().chunks(8) {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(sixteen).into())
}

/// `NUM: REFCOUNT PROTOCOL FLAGS TYPE STATE INODE PATH`.
pub(super) fn unix(line: &[u8]) -> Option<UnixSocket> {
    let text = String::from_utf8_lossy(line);
    let mut rest = text.trim_start();
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start_matches(' ');
        word.to_owned()
    };
    let words: Vec<String> = (0..7).map(|_| word()).collect();
    let flags = u32::from_str_radix(&words[3], 16).ok()?;
    if flags & ACCEPTS == 0 || rest.is_empty() {
        return None;
    }
    let kind = match words[4].as_str() {
        "0001" => "stream",
        "0005" => "seqpacket",
        other => other,
    };
    Some(UnixSocket {
        path: printable::line(rest.as_bytes()),
        kind: kind.to_owned(),
        inode: words[6].parse().ok()?,
        holders: Vec::new(),
    })
}

/// How many TCP sockets there are, from `sockstat` and `sockstat6`: `TCP: inuse 5 …`.
fn in_use() -> u64 {
    [("sockstat", "TCP:"), ("sockstat6", "TCP6:")]
        .into_iter()
        .filter_map(|(file, title)| {
            let text = scan::host_text(&format!("/proc/self/net/{file}")).ok()?;
            let line = text.lines().find(|line| line.starts_with(title))?;
            line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok()
        })
        .sum()
}

/// Looks at what processes have open: those in the namespace first, and where that is not enough
/// all others, because a socket goes with whoever has it, wherever that is.
fn find_holders(namespace: NamespaceInode, sockets: &mut Sockets) -> Result<(), Trouble> {
    let wanted: HashSet<u64> = sockets
        .reached
        .iter()
        .map(|one| one.inode)
        .chain(sockets.unix.iter().map(|one| one.inode))
        .collect();
    let mut held: HashMap<u64, Vec<SocketHolder>> = HashMap::new();
    let (near, far): (Vec<HostPid>, Vec<HostPid>) = scan::pids()?
        .into_iter()
        .partition(|pid| scan::namespace_of(*pid, NamespaceType::Net) == Some(namespace));
    for pid in near {
        open_sockets(pid, &wanted, &mut held);
    }
    for pid in far {
        if held.len() == wanted.len() {
            break;
        }
        open_sockets(pid, &wanted, &mut held);
    }
    for one in &mut sockets.reached {
        one.holders = held.get(&one.inode).cloned().unwrap_or_default();
    }
    for one in &mut sockets.unix {
        one.holders = held.get(&one.inode).cloned().unwrap_or_default();
    }
    Ok(())
}

fn open_sockets(pid: HostPid, wanted: &HashSet<u64>, held: &mut HashMap<u64, Vec<SocketHolder>>) {
    if wanted.is_empty() {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // One that has gone, or may not be looked into, has nothing open.
    let Ok(directory) = openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty()) else {
        return;
    };
    let mut link = [0; 64];
    let _ = scan::names(&directory, |name| {
        let length = readlinkat_raw(&directory, name, &mut link).unwrap_or(0);
        let found = socket_inode(&link[..length]).filter(|inode| wanted.contains(inode));
        let fd = name.to_str().ok().and_then(|name| name.parse().ok());
        if let (Some(inode), Some(fd)) = (found, fd) {
            let holders = held.entry(inode).or_default();
            if holders.len() < HOLDERS {
                holders.push(SocketHolder { pid, fd });
            }
        }
        true
    });
}

/// The number in `socket:[12345]`.
fn socket_inode(link: &[u8]) -> Option<u64> {
    let text = str::from_utf8(link).ok()?;
    text.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000 100 0 0 10 0";
        let found = socket(line, SocketProtocol::Tcp, LISTEN).expect("a socket");
        assert_eq!(found.address, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!((found.port, found.uid, found.inode), (8000, 1000, 12345));
        assert!(socket(line, SocketProtocol::Udp, UNCONNECTED).is_none());
        let six = ip("00000000000000000000000001000000").expect("an address");
        assert_eq!(six, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(ip("0100007F0"), None);
    }

    #[test]
    fn a_unix_socket_may_have_any_name() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01  4711 /run/a b\x1b c";
        let found = unix(line).expect("a socket");
        assert_eq!(found.path, "/run/a b\u{fffd} c");
        assert_eq!((found.kind.as_str(), found.inode), ("stream", 4711));
        let connected = b"0000000000000000: 00000003 00000000 00000000 0001 03  4712 /run/a";
        assert!(unix(connected).is_none());
        let nameless = b"0000000000000000: 00000002 00000000 00010000 0001 01  4711";
        assert!(unix(nameless).is_none());
        assert!(unix(b"Num       RefCount Protocol Flags    Type St Inode Path").is_none());
        assert!(unix(b"").is_none());
    }

    #[test]
    fn only_sockets_are_sockets() {
        assert_eq!(socket_inode(b"socket:[77]"), Some(77));
        assert_eq!(socket_inode(b"/socket:[77]"), None);
        assert_eq!(socket_inode(b"pipe:[77]"), None);
    }
}
