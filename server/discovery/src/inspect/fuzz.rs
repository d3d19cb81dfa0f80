//! Fuzz targets for what readers parse.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use porthole_protocol::inspection::{NotIsolated, SocketProtocol};

use super::mountinfo::{self, Entry};
use super::{clocks, interfaces, ipc, isolation, mounts, netlink, process, sockets};
use crate::fuzz::is_one_line;
use crate::fuzz::shared::Input;

/// Any list of mounts.
pub(crate) fn mountinfo(bytes: &[u8]) {
    let entries: Vec<Entry<'_>> = mountinfo::entries(bytes).collect();
    let order = mountinfo::tree(&entries);
    let mut met = vec![false; entries.len()];
    let mut depths = Vec::new();
    for (place, depth) in &order {
        assert!(!met[*place], "a mount twice");
        met[*place] = true;
        depths.push(*depth);
    }
    assert!(depths.first().is_none_or(|depth| *depth == 0));
    assert!(depths.windows(2).all(|two| two[1] <= two[0] + 1));
    let hidden = mountinfo::hidden(&entries, &order);
    for (place, depth) in order {
        let entry = &entries[place];
        if let Some(by) = hidden.get(&entry.id) {
            assert!(entries.iter().any(|other| other.id == *by), "by none");
        }
        let mount = mounts::mount(entry, depth, &hidden);
        for text in [&mount.path, &mount.root, &mount.fstype, &mount.source] {
            is_one_line(text);
        }
        assert!(mount.options.iter().all(|word| !word.is_empty()));
    }
    // What the kernel writes of a path is that path.
    let escaped: Vec<u8> = bytes.iter().flat_map(|byte| escape(*byte)).collect();
    assert_eq!(mountinfo::unescaped(&escaped), bytes);
    for (_, _, place) in crate::parse::mounted_namespaces(bytes) {
        assert!(place.len() <= bytes.len());
    }
}

/// As `mangle` of fs/proc_namespace.c.
fn escape(byte: u8) -> Vec<u8> {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
        _ => vec![byte],
    }
}

/// Any text of the kernel's tables: of sockets, of System V's objects, of limits and clocks.
pub(crate) fn tables(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        for state in ["0A", "07"] {
            for protocol in [SocketProtocol::Tcp, SocketProtocol::Udp] {
                let _ = sockets::socket(line, protocol, state);
            }
        }
        if let Some(limit) = process::limit(line) {
            assert!(limit.name.len() <= 25);
        }
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(socket) = sockets::unix(line) {
            is_one_line(&socket.path);
        }
    }
    for words in ipc::lines(bytes) {
        if let Some(queue) = ipc::queue(&words) {
            assert!(queue.last_sender.is_none_or(|pid| pid.0 > 0));
        }
        let _ = (ipc::set(&words), ipc::segment(&words));
    }
    for clock in ["monotonic", "boottime"] {
        let _ = clocks::offset(&text, clock);
    }
    for name in NotIsolated::ALL {
        let _ = isolation::value(name, &text);
    }
    // An address as the kernel prints it is that address.
    if let Some(four) = bytes.first_chunk::<4>() {
        let printed = format!("{:08X}", u32::from_ne_bytes(*four));
        assert_eq!(sockets::ip(&printed), Some(std::net::IpAddr::from(*four)));
    }
    if let Some(sixteen) = bytes.first_chunk::<16>() {
        let words = sixteen.as_chunks::<4>().0.iter();
        let printed: String = words
            .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
            .collect();
        assert_eq!(
            sockets::ip(&printed),
            Some(std::net::IpAddr::from(*sixteen))
        );
    }
}

/// Any datagrams of the kernel's, of interfaces, addresses and routes; and the first byte as the
/// kind of one message, with the rest as what is in it.
pub(crate) fn netlink(bytes: &[u8]) {
    let mut length = 0;
    for message in netlink::messages(bytes) {
        length += message.len();
        one(message);
    }
    assert!(length <= bytes.len());

    let mut input = Input(bytes);
    let kind = [16u16, 20, 24, 88][usize::from(input.u8() % 4)];
    let mut message = Vec::new();
    message.extend((input.0.len() as u32 + 16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(input.0);
    let mut all = netlink::messages(&message);
    assert_eq!((all.next(), all.next()), (Some(&message[..]), None));
    one(&message);
}

fn one(message: &[u8]) {
    let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message);
    let Ok(NetlinkPayload::InnerMessage(inner)) = parsed.map(|message| message.payload) else {
        return;
    };
    match inner {
        RouteNetlinkMessage::NewLink(link) => {
            let found = interfaces::interface(&link, Vec::new()).interface;
            is_one_line(&found.name);
            is_one_line(found.kind.as_deref().unwrap_or_default());
        }
        RouteNetlinkMessage::NewAddress(address) => drop(interfaces::address(&address)),
        RouteNetlinkMessage::NewRoute(route) => {
            if let Some(route) = interfaces::route(&route) {
                is_one_line(&route.destination);
            }
        }
        _ => {}
    }
}
