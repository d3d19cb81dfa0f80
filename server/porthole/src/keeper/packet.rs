//! A SOCK_SEQPACKET socket on tokio.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use porthole_sys::packet::{Message, Packet, PacketError};
use tokio::io::unix::AsyncFd;

struct Registered(Packet);

impl AsRawFd for Registered {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// One end of a connection that keeps messages apart.
pub struct PacketSocket(AsyncFd<Registered>);

impl PacketSocket {
    /// This end, from now on without waiting in the kernel.
    pub fn new(packet: Packet) -> io::Result<Self> {
        packet.set_nonblocking(true)?;
        #[expect(
            deprecated,
            reason = "its unsafe successor asks that the descriptor stays the same and open for as long as it is registered: `Registered` owns it and gives it away nowhere"
        )]
        let registered = AsyncFd::new(Registered(packet))?;
        Ok(Self(registered))
    }

    /// A descriptor that came from elsewhere.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Self::new(Packet::from_fd(fd)?)
    }

    /// The next message; `None` when the other end has hung up. Safe to cancel.
    pub async fn receive(&self, limit: usize) -> Result<Option<Message>, PacketError> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().0.receive(limit) {
                Err(error) if error.is_would_block() => ready.clear_ready(),
                result => return result,
            }
        }
    }

    /// Sends a message, once there is room. Safe to cancel: it was then not sent.
    pub async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            match self.0.get_ref().0.send(bytes, descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut ready = self.0.writable().await?;
            match self.0.get_ref().0.send(bytes, descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                result => return result,
            }
        }
    }
}
