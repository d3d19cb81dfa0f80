//! Forgetting the connections of an address that passes on, so that nobody else hears what was meant
//! for who had it before: an answer belongs to a connection for as long as the kernel remembers that,
//! and so does a published port.
//!
//! nfnetlink, subsystem ctnetlink: `linux/netfilter/nfnetlink_conntrack.h`.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::io::Errno;

/// `NFNL_SUBSYS_CTNETLINK`, with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = 0x0101;
const DELETE: u16 = 0x0102;

/// `NLM_F_REQUEST` with `NLM_F_DUMP`, and with `NLM_F_ACK`.
const DUMP: u16 = 0x301;
const ACKNOWLEDGE: u16 = 0x5;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`, `CTA_ZONE`, `CTA_FILTER`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;

/// `CTA_TUPLE_IP`.
const TUPLE_IP: u16 = 1;

/// `NLA_F_NESTED`, and what of an attribute's kind is none of its flags.
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;

/// `struct nlmsghdr`, and `struct nfgenmsg` after it.
const HEADER: usize = 16;
const GENERAL: usize = 4;

/// As much as the kernel sends at once.
const ANSWER: usize = 64 * 1024;

/// Forgets every connection from, to or translated to one of these addresses. How many there were;
/// a kernel without that interface has none that it could be asked for.
pub(super) fn forget(addresses: &[IpAddr]) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let mut forgotten = 0;
    for address in addresses {
        for question in questions(*address) {
            let found = match find(&socket, *address, &question) {
                Ok(found) => found,
                Err(error) if is_missing(&error) => return Ok(forgotten),
                Err(error) => return Err(error),
            };
            for connection in found {
                forgotten += usize::from(delete(&socket, *address, &connection)?);
            }
        }
    }
    Ok(forgotten)
}

fn is_missing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT)
    )
}

/// Where in a connection an address is looked for.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It has begun it.
    From,
    /// It was meant.
    To,
    /// It answers: what was meant may have been a published port.
    Answers,
}

/// Every connection with the address that answers a question, as the attributes that name it.
fn find(socket: &Socket, address: IpAddr, question: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    socket.send(question, 0)?;
    let mut found = Vec::new();
    loop {
        let bytes = receive(socket)?;
        for (kind, message) in messages(&bytes) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(refusal(message).unwrap_or_else(|| Errno::BADMSG.into())),
                _ => found.extend(named(message, address)),
            }
        }
    }
}

/// Forgets one; it may have ended by itself.
fn delete(socket: &Socket, address: IpAddr, name: &[u8]) -> io::Result<bool> {
    socket.send(&request(DELETE, ACKNOWLEDGE, address, name), 0)?;
    let bytes = receive(socket)?;
    let answer = messages(&bytes).find(|(kind, _)| *kind == ERROR);
    let (_, answer) = answer.ok_or_else(|| io::Error::from(Errno::BADMSG))?;
    match refusal(answer) {
        None => Ok(true),
        Some(error) if super::netlink::is_absent(&error) => Ok(false),
        Some(error) => Err(error),
    }
}

fn receive(socket: &Socket) -> io::Result<Vec<u8>> {
    loop {
        let mut bytes = Vec::with_capacity(ANSWER);
        let (_, from) = socket.recv_from(&mut bytes, 0)?;
        // Only the kernel is listened to: whoever knows the port may send to it.
        if from.port_number() == 0 {
            return Ok(bytes);
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Asks for all that have the address. For IPv4 the kernel looks for it. For IPv6 it finds all but
/// those that are asked for (`ctnetlink_filter_match_tuple`, Linux 6.18: two addresses are taken for
/// different where they are the same), so that it is asked for all of them.
fn questions(address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(v4) => [Place::From, Place::To, Place::Answers]
            .map(|place| request(GET, DUMP, address, &filter(v4, place)))
            .to_vec(),
        IpAddr::V6(_) => vec![request(GET, DUMP, address, &[])],
    }
}

/// The attributes that let through what has the address in this place.
fn filter(address: Ipv4Addr, place: Place) -> Vec<u8> {
    let target = matches!(place, Place::To);
    // `CTA_IP_V4_SRC`, `CTA_IP_V4_DST`.
    let end = attribute(1 + u16::from(target), &address.octets());
    // `CTA_FILTER_ORIG_FLAGS`, `CTA_FILTER_REPLY_FLAGS`: the source is compared, or the target.
    let flags = 1u32 << u32::from(target);
    let (tuple, compared) = match place {
        Place::From | Place::To => (ORIGINAL, [flags, 0]),
        Place::Answers => (REPLY, [0, flags]),
    };
    let filter = [
        attribute(1, &compared[0].to_ne_bytes()),
        attribute(2, &compared[1].to_ne_bytes()),
    ];
    let attributes = [
        attribute(tuple | NESTED, &attribute(TUPLE_IP | NESTED, &end)),
        attribute(FILTER | NESTED, &filter.concat()),
    ];
    attributes.concat()
}

fn request(kind: u16, flags: u16, address: IpAddr, attributes: &[u8]) -> Vec<u8> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let length = u32::try_from(HEADER + GENERAL + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // A number and a port, which nobody asks for.
    bytes.extend([0; 8]);
    bytes.extend([u8::try_from(family).unwrap_or(0), 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The messages of a datagram: the kind, and what follows the header.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let message = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, message))
    })
}

/// What an answer says went wrong; `None` where nothing did.
fn refusal(message: &[u8]) -> Option<io::Error> {
    let code = message.get(..4).and_then(|code| code.try_into().ok());
    match i32::from_ne_bytes(code?) {
        0 => None,
        code => Some(io::Error::from_raw_os_error(code.saturating_abs())),
    }
}

/// The attributes that name the connection that a message is about. One that the address does not
/// occur in is none that was asked for.
fn named(message: &[u8], address: IpAddr) -> Option<Vec<u8>> {
    let address = octets(address);
    if !message.windows(address.len()).any(|part| part == address) {
        return None;
    }
    let mut name = Vec::new();
    let mut rest = message.get(GENERAL..)?;
    while let Some(head) = rest.get(..4) {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND;
        let value = rest.get(4..length)?;
        if kind == ORIGINAL {
            name.extend(attribute(kind | NESTED, value));
        } else if kind == ID || kind == ZONE {
            name.extend(attribute(kind, value));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Vec<u8> {
        let source = attribute(1, &[10, 0, 0, 2]);
        let tuple = attribute(ORIGINAL | NESTED, &attribute(TUPLE_IP | NESTED, &source));
        let other = attribute(REPLY | NESTED, &[1, 2, 3, 4]);
        let id = attribute(ID, &[0, 0, 0, 7]);
        [vec![2, 0, 0, 0], tuple, other, id].concat()
    }

    #[test]
    fn a_connection_is_named_by_what_it_was_first_and_its_number() {
        let ours = IpAddr::from([10, 0, 0, 2]);
        let name = named(&entry(), ours).expect("it is about it");
        assert!(name.ends_with(&[0, 0, 0, 7]), "{name:?}");
        assert!(
            !name.windows(4).any(|part| part == [1, 2, 3, 4]),
            "{name:?}"
        );
        assert_eq!(named(&entry(), IpAddr::from([10, 0, 0, 3])), None);
    }

    #[test]
    fn what_is_no_message_is_nothing() {
        let whole = entry();
        let ours = IpAddr::from([10, 0, 0, 2]);
        for cut in 0..whole.len() {
            let _ = named(&whole[..cut], ours);
            assert_eq!(messages(&whole[..cut]).count(), 0);
        }
        let datagram = request(GET, DUMP, ours, &whole);
        assert_eq!(messages(&datagram).count(), 1);
        assert!(refusal(&(-2i32).to_ne_bytes()).is_some());
        assert!(refusal(&[0; 4]).is_none());
    }
}
