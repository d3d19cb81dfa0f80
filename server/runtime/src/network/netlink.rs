//! rtnetlink(7), one question at a time: sent, answered, done.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

/// An answer about one interface is some kilobytes.
const ANSWER: usize = 64 * 1024;

/// A conversation with the network namespace that the process is in.
pub(super) struct Netlink {
    socket: Socket,
    number: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(NETLINK_ROUTE)?,
            number: 0,
        })
    }

    /// Asks for something to be done.
    pub(super) fn order(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, flags | NLM_F_ACK)?;
        match self.receive()? {
            Some(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
            None => Ok(()),
        }
    }

    /// Asks about one thing; `None` where it is not there.
    pub(super) fn ask(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(message, 0)?;
        match self.receive() {
            Err(error) if is_absent(&error) => Ok(None),
            answer => answer,
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.number += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.number;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(())
    }

    /// The answer to what was last sent; `None` where that is a mere yes.
    fn receive(&self) -> io::Result<Option<RouteNetlinkMessage>> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        loop {
            let mut bytes = Vec::with_capacity(ANSWER);
            let (_, from) = self.socket.recv_from(&mut bytes, 0)?;
            // Only the kernel is listened to: whoever knows the port may send to it.
            if from.port_number() != 0 {
                continue;
            }
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
                .map_err(|_| invalid())?;
            if answer.header.sequence_number != self.number {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::Error(error) => match error.code {
                    None => Ok(None),
                    Some(code) => Err(io::Error::from_raw_os_error(code.get().abs())),
                },
                NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
                _ => Err(invalid()),
            };
        }
    }
}

/// Whether the kernel says that there is no such thing.
pub(super) fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NODEV | Errno::NOENT | Errno::SRCH))
}
