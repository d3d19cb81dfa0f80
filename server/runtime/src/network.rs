//! A new network namespace's loopback interface, set up by rtnetlink(7).

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// Its number in every network namespace.
const LOOPBACK: u32 = 1;

/// Sets the loopback interface of this process's network namespace up.
pub(crate) fn raise_loopback(trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(
        Step::RaiseLoopback,
        "sendto(NETLINK_ROUTE, RTM_NEWLINK {lo, IFF_UP})",
        raise,
    )
}

fn raise() -> io::Result<()> {
    use netlink_packet_core::{
        NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    };
    let mut link = LinkMessage::default();
    link.header.index = LOOPBACK;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    header.sequence_number = 1;
    let mut message = NetlinkMessage::new(
        header,
        NetlinkPayload::from(RouteNetlinkMessage::SetLink(link)),
    );
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send(&bytes, 0)?;
    let mut answer = Vec::with_capacity(4096);
    socket.recv(&mut answer, 0)?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    match answer.payload {
        NetlinkPayload::Error(error) => match error.code {
            None => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code.get().abs())),
        },
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}
