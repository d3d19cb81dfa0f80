//! What the kernel tells of network namespaces, by rtnetlink(7): what the one that the observer is
//! in calls others, and that interfaces, addresses or wires have changed.
//!
//! The kernel multicasts changes in the namespace of the socket and, where asked to
//! (NETLINK_LISTEN_ALL_NSID), in every one that has a number there. It gets one as soon as a wire
//! leads from here into it. What happens in others, as between two namespaces deep in a container,
//! is not heard.

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use crate::inspect::netlink::Netlink;

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR` and `RTNLGRP_NSID` of
/// `linux/rtnetlink.h`.
const GROUPS: [u32; 4] = [1, 5, 9, 28];
/// `RTM_NEWNSID` and `RTM_DELNSID`.
const NUMBERS: [u16; 2] = [88, 89];
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// So many messages are taken before anything else has its turn.
const AT_ONCE: usize = 1024;

/// Both directions. Where the kernel refuses one, nothing of it is known.
pub(crate) struct Networks {
    asks: Option<Netlink>,
    hears: Option<Socket>,
}

impl std::fmt::Debug for Networks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Networks").finish_non_exhaustive()
    }
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    /// Interfaces, addresses or wires may have changed.
    pub(crate) wires: bool,
    /// Namespaces may have got numbers.
    pub(crate) numbers: bool,
}

impl Networks {
    pub(crate) fn open() -> Self {
        Self {
            asks: Netlink::open().and_then(Netlink::without_waiting).ok(),
            hears: listen().ok(),
        }
    }

    /// What the observer's network namespace calls this one; `None` where that is none of this type,
    /// or has no number.
    pub(crate) fn number_of(&self, namespace: impl AsFd) -> Option<i32> {
        self.asks.as_ref()?.number_of(namespace.as_fd()).ok()?
    }

    /// Takes what was told since the last time.
    pub(crate) fn take(&self) -> Heard {
        let mut heard = Heard::default();
        let Some(socket) = &self.hears else {
            return heard;
        };
        let mut message = [0; HEADER];
        for _ in 0..AT_ONCE {
            // Only the header is looked at: what is cut off is not missed.
            match socket.recv_from(&mut &mut message[..], 0) {
                // Any process with the capability may send to the groups; the kernel's port is 0.
                Ok((length, from)) if from.port_number() == 0 => heard.add(&message[..length]),
                Ok(_) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    // It had to drop some.
                    Some(Errno::NOBUFS) => {
                        heard = Heard {
                            wires: true,
                            numbers: true,
                        };
                    }
                    _ => break,
                },
            }
        }
        heard
    }

    /// Is readable when something was told.
    pub(crate) fn hears(&self) -> Option<BorrowedFd<'_>> {
        self.hears.as_ref().map(AsFd::as_fd)
    }
}

impl Heard {
    fn add(&mut self, message: &[u8]) {
        let Some(kind) = message.get(4..6) else {
            return;
        };
        if NUMBERS.contains(&u16::from_ne_bytes([kind[0], kind[1]])) {
            self.numbers = true;
        } else {
            self.wires = true;
        }
    }
}

fn listen() -> std::io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    // Needs CAP_NET_BROADCAST; without, only what happens here is heard.
    let _ = socket.set_listen_all_namespaces(true);
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart_from_wires() {
        let mut message = [0; HEADER];
        for (kind, wires, numbers) in [(16_u16, true, false), (88, false, true), (20, true, false)]
        {
            message[4..6].copy_from_slice(&kind.to_ne_bytes());
            let mut heard = Heard::default();
            heard.add(&message);
            assert_eq!(heard, Heard { wires, numbers }, "{kind}");
        }
        let mut heard = Heard::default();
        heard.add(&message[..5]);
        assert_eq!(heard, Heard::default(), "it is cut");
    }
}
