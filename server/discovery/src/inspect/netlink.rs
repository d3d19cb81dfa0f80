//! Asking the kernel about the network namespace that this process is in, by rtnetlink(7).

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::path::DecInt;

use super::{Step, Trouble};

/// Bytes of a message's header: its first four are the message's length.
const HEADER: usize = 16;

/// A connection to the kernel. It stays with the namespace that it was made in.
pub(crate) struct Netlink(Socket);

/// What the kernel has answered.
#[derive(Default)]
pub(super) struct Dump {
    pub(super) found: Vec<RouteNetlinkMessage>,
    /// How many answers could not be understood, which a newer kernel may send.
    pub(super) strange: usize,
    /// Whether there are more.
    pub(super) cut: bool,
}

impl Netlink {
    pub(crate) fn open() -> Result<Self, Trouble> {
        Socket::new(NETLINK_ROUTE).map(Self).map_err(failed)
    }

    /// For who must not wait: the kernel answers such requests before it takes the next.
    pub(crate) fn without_waiting(self) -> Result<Self, Trouble> {
        self.0.set_non_blocking(true).map_err(failed)?;
        Ok(self)
    }

    /// What answers this request, at most so many. Of a longer list nothing more is read, since
    /// whoever makes it may make it as long as they like: the connection is made anew, in the
    /// namespace that this process is in.
    pub(super) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        most: usize,
    ) -> Result<Dump, Trouble> {
        self.send(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut dump = Dump::default();
        loop {
            let bytes = self.receive()?;
            if bytes.is_empty() {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            for message in messages(&bytes) {
                match NetlinkMessage::deserialize(message).map(|message| message.payload) {
                    Ok(NetlinkPayload::InnerMessage(_)) if dump.found.len() >= most => {
                        dump.cut = true;
                        *self = Self::open()?;
                        return Ok(dump);
                    }
                    Ok(NetlinkPayload::InnerMessage(inner)) => dump.found.push(inner),
                    Ok(NetlinkPayload::Done(_)) => return Ok(dump),
                    Ok(NetlinkPayload::Error(error)) => {
                        let code = error.code.map_or(0, std::num::NonZero::get);
                        return Err(failed(io::Error::from_raw_os_error(code.abs())));
                    }
                    Ok(_) => {}
                    Err(_) => dump.strange += 1,
                }
            }
        }
    }

    /// What the namespace here calls another one; `None` where it has no name for it.
    pub(crate) fn number_of(&self, namespace: BorrowedFd<'_>) -> Result<Option<i32>, Trouble> {
        let number = DecInt::from_fd(namespace).as_str().parse().unwrap_or(0);
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(number));
        self.send(RouteNetlinkMessage::GetNsId(message), NLM_F_REQUEST)?;
        let bytes = self.receive()?;
        match NetlinkMessage::deserialize(&bytes).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer))) => Ok(answer
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    // -1 stands for none.
                    NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                    _ => None,
                })),
            Ok(NetlinkPayload::Error(error)) => {
                let code = error.code.map_or(0, std::num::NonZero::get);
                Err(failed(io::Error::from_raw_os_error(code.abs())))
            }
            _ => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }

    /// What the kernel sends. Whoever is root of the namespace's users can send to any socket in it.
    fn receive(&self) -> Result<Vec<u8>, Trouble> {
        loop {
            let (bytes, from) = self.0.recv_from_full().map_err(failed)?;
            if from.port_number() == 0 {
                return Ok(bytes);
            }
        }
    }

    fn send(&self, request: RouteNetlinkMessage, flags: u16) -> Result<(), Trouble> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = 1;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0).map(|_| ()).map_err(failed)
    }
}

fn failed(error: io::Error) -> Trouble {
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::BADMSG);
    Trouble::at(Step::Read, "netlink")(errno)
}

/// The messages of a datagram, each as long as it says.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.first_chunk()?.to_owned()) as usize;
        let message = rest
            .get(..length)
            .filter(|message| message.len() >= HEADER)?;
        // Each begins at a multiple of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_they_say() {
        let mut bytes = Vec::new();
        for length in [17_u32, 16, 20] {
            let mut one = vec![7; length.next_multiple_of(4) as usize];
            one[..4].copy_from_slice(&length.to_ne_bytes());
            bytes.extend(one);
        }
        let lengths: Vec<_> = messages(&bytes).map(<[u8]>::len).collect();
        assert_eq!(lengths, [17, 16, 20]);
        for bad in [0_u32, 15, 1000, u32::MAX] {
            let mut bytes = vec![0; 32];
            bytes[..4].copy_from_slice(&bad.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "{bad}");
        }
        assert_eq!(messages(&[1, 2]).count(), 0);
    }

    #[test]
    fn only_the_kernel_is_listened_to() {
        use netlink_sys::SocketAddr;
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: this test needs root");
            return;
        }
        let mut asks = Socket::new(NETLINK_ROUTE).expect("a socket");
        let address = asks.bind_auto().expect("an address");
        let mut asks = Netlink(asks);
        // NLMSG_DONE, before the kernel has been asked for anything.
        let over = [20, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let forger = Socket::new(NETLINK_ROUTE).expect("a socket");
        let to = SocketAddr::new(address.port_number(), 0);
        forger.send_to(&over, &to, 0).expect("it may");
        let request = RouteNetlinkMessage::GetLink(Default::default());
        let dump = asks.dump(request, 10_000).expect("an answer");
        assert!(!dump.found.is_empty(), "there is a loopback interface");
    }
}
