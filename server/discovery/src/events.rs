//! What the kernel tells of processes: the proc connector.
//!
//! A netlink socket on which the kernel multicasts each fork, exec and exit, and changes of ids,
//! session and name (`linux/cn_proc.h`, drivers/connector/cn_proc.c). It is there only for the
//! first network namespace, and speaks only to who is in the first PID and user namespaces and
//! may administer the network. Anywhere else opening it fails or it never answers.

use porthole_protocol::id::HostPid;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, send,
    socket_with, sockopt,
};

/// What one of the kernel's messages says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The answer to a wish to listen, ours or another's: 0 or an error's number.
    Answer(u32),
    /// `child` was born. What its parent is in may have changed before that: unshare(2) has no
    /// event of its own, and is mostly followed by a fork.
    Fork {
        /// The process that forked.
        parent: HostPid,
        /// The new one.
        child: HostPid,
    },
    /// A process runs another program, has other ids, another session or another name, or one
    /// thread more or less.
    Changed(HostPid),
    /// A process has ended. It may stay for a while as a zombie, and no event tells the end of
    /// that.
    Exit(HostPid),
}

/// `CN_IDX_PROC` and `CN_VAL_PROC`.
const PROC_ID: [u32; 2] = [1, 1];
/// `PROC_CN_MCAST_LISTEN` and `PROC_CN_MCAST_IGNORE`.
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
/// `NLMSG_DONE`, the type that connector messages have.
const DONE: u16 = 3;
/// Length of `struct nlmsghdr`, and of `struct cn_msg` after it.
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
/// About 5,000 events.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// One of the kernel's messages; `None` if it is of another kind, or cut.
///
/// `struct nlmsghdr`, `struct cn_msg`, then `struct proc_event`: what, cpu, timestamp, and data
/// that depends on what. All in the machine's byte order.
pub(crate) fn event(message: &[u8]) -> Option<Event> {
    if word(message, NETLINK_HEADER)? != PROC_ID[0]
        || word(message, NETLINK_HEADER + 4)? != PROC_ID[1]
    {
        return None;
    }
    let event = message.get(NETLINK_HEADER + CONNECTOR_HEADER..)?;
    let data = event.get(16..)?;
    let pid = |index: usize| word(data, index * 4).map(|pid| HostPid(pid.cast_signed()));
    Some(match word(event, 0)? {
        0 => Event::Answer(word(data, 0)?),
        // Parent's thread and process, child's thread and process.
        1 => match (pid(1)?, pid(2)?, pid(3)?) {
            (parent, child, process) if child == process => Event::Fork { parent, child },
            (_, _, process) => Event::Changed(process),
        },
        // Exec, uid, gid, sid, comm; each begins with thread and process.
        0x2 | 0x4 | 0x40 | 0x80 | 0x200 => Event::Changed(pid(1)?),
        0x8000_0000 => match (pid(0)?, pid(1)?) {
            (thread, process) if thread == process => Event::Exit(process),
            (_, process) => Event::Changed(process),
        },
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The wish to listen, or not to any more.
fn wish(operation: u32) -> Vec<u8> {
    let length = NETLINK_HEADER + CONNECTOR_HEADER + 4;
    let mut message = Vec::with_capacity(length);
    // nlmsghdr: length, type, flags, sequence, port.
    message.extend((length as u32).to_ne_bytes());
    message.extend(DONE.to_ne_bytes());
    message.extend([0; 10]);
    // cn_msg: id, sequence, acknowledgement, length of what follows, flags.
    message.extend(PROC_ID.iter().flat_map(|id| id.to_ne_bytes()));
    message.extend([0; 8]);
    message.extend(4u16.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(operation.to_ne_bytes());
    message
}

/// The socket on which the events come.
#[derive(Debug)]
pub(crate) struct Events {
    socket: OwnedFd,
}

/// What was left when events were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing.
    All,
    /// As many as were asked for were taken; there may be more.
    Some,
    /// The kernel had to drop events: nothing that is known is certain.
    Lost,
}

impl Events {
    /// Asks the kernel for its events. Whether it will send any, only its answer tells.
    pub(crate) fn listen() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::DGRAM, flags, Some(netlink::CONNECTOR))?;
        // More than net.core.rmem_max for who may; a smaller one loses events only sooner, and
        // that is noticed.
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER))?;
        bind(&socket, &SocketAddrNetlink::new(0, PROC_ID[0]))?;
        send(&socket, &wish(LISTEN), SendFlags::empty())?;
        Ok(Self { socket })
    }

    /// Takes at most `limit` events.
    pub(crate) fn take(&self, limit: usize, mut each: impl FnMut(Event)) -> Result<Taken, Errno> {
        let mut message = [0; 256];
        for _ in 0..limit {
            let from = match recvfrom(&self.socket, &mut message[..], RecvFlags::empty()) {
                Ok((length, _, from)) => from.map(|from| (length, from)),
                Err(Errno::AGAIN) => return Ok(Taken::All),
                Err(Errno::NOBUFS) => return Ok(Taken::Lost),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            // Any process with the capability may send to the group; the kernel's port is 0.
            if let Some((length, from)) = from
                && SocketAddrNetlink::try_from(from).is_ok_and(|from| from.pid() == 0)
                && let Some(event) = event(&message[..length.min(message.len())])
            {
                each(event);
            }
        }
        Ok(Taken::Some)
    }
}

/// Before Linux 6.6 a listener that only closes its socket is counted for ever, and the kernel
/// goes on making events for nobody.
impl Drop for Events {
    fn drop(&mut self) {
        let _ = send(&self.socket, &wish(IGNORE), SendFlags::empty());
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message as the kernel sends it.
    fn message(what: u32, data: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; NETLINK_HEADER];
        bytes.extend(PROC_ID.iter().flat_map(|id| id.to_ne_bytes()));
        bytes.extend([0; 12]);
        bytes.extend(what.to_ne_bytes());
        bytes.extend([0; 12]);
        bytes.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn each_event_is_understood() {
        let (a, b) = (HostPid(10), HostPid(20));
        for (what, data, expected) in [
            (0, vec![0], Some(Event::Answer(0))),
            (0, vec![1], Some(Event::Answer(1))),
            (
                1,
                vec![11, 10, 20, 20],
                Some(Event::Fork {
                    parent: a,
                    child: b,
                }),
            ),
            (1, vec![11, 10, 12, 10], Some(Event::Changed(a))),
            (2, vec![10, 10], Some(Event::Changed(a))),
            (4, vec![11, 10, 0, 0], Some(Event::Changed(a))),
            (0x200, vec![11, 10, 0, 0, 0, 0], Some(Event::Changed(a))),
            (0x8000_0000, vec![10, 10, 0, 17, 1, 1], Some(Event::Exit(a))),
            (
                0x8000_0000,
                vec![11, 10, 0, 17, 1, 1],
                Some(Event::Changed(a)),
            ),
            (0x4000_0000, vec![10, 10, 1, 1], None),
            (1, vec![11, 10], None),
        ] {
            assert_eq!(event(&message(what, &data)), expected, "{what:#x} {data:?}");
        }
    }

    #[test]
    fn another_connector_is_not_heard() {
        let mut other = message(2, &[10, 10]);
        other[NETLINK_HEADER] = 7;
        assert_eq!(event(&other), None);
    }

    proptest! {
        #[test]
        fn no_message_upsets_it(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = event(&bytes);
        }
    }
}
