//! Local sockets that keep messages apart and carry descriptors: `SOCK_SEQPACKET`, see unix(7).
//!
//! A message arrives whole or not at all. One that was cut short, in its bytes or in its
//! descriptors, is refused, and every descriptor that came with it is closed: nothing that a peer
//! sends stays open here unless the caller took it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg, shutdown, socket_with,
    socketpair, sockopt,
};

/// Descriptors that one message may carry. More are refused by the sender and by the receiver.
pub const DESCRIPTORS: usize = 16;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The kernel refused. `WouldBlock` on a socket that is not to wait.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The message is longer than the receiver takes.
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// What the receiver takes.
        limit: usize,
    },
    /// It came with more than [`DESCRIPTORS`], or this process could not open as many.
    #[error("a message came with more descriptors than can be taken")]
    Descriptors {
        /// The message without them, so that whoever sent it can be answered.
        bytes: Vec<u8>,
    },
}

impl PacketError {
    /// Whether there is only nothing to be had yet.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A message with the descriptors that came beside it.
pub type Message = (Vec<u8>, Vec<OwnedFd>);

/// Who is at the other end, as the kernel noted it when the connection was made (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Its process; 0 where that cannot be seen from this PID namespace.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// One end of a connection. Close-on-exec.
#[derive(Debug)]
pub struct Packet(OwnedFd);

fn flags(nonblocking: bool) -> SocketFlags {
    if nonblocking {
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
    } else {
        SocketFlags::CLOEXEC
    }
}

impl Packet {
    /// Connects to who listens at this path, which has at most 107 bytes. The socket waits.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags(false),
            None,
        )?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Two ends of one connection.
    pub fn pair(nonblocking: bool) -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags(nonblocking),
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Takes a descriptor that came from elsewhere, after making sure that it is such a socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_domain(&fd)? != AddressFamily::UNIX
            || sockopt::socket_type(&fd)? != SocketType::SEQPACKET
        {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self(fd))
    }

    /// Whether sending and receiving wait. All duplicates of this end share the answer.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.0, nonblocking)?)
    }

    /// Sends one message, which may not be empty, with at most [`DESCRIPTORS`] descriptors.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || descriptors.len() > DESCRIPTORS {
            // An empty message cannot be told from the end of the connection.
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        rustix::io::retry_on_intr(|| {
            sendmsg(
                &self.0,
                &[io::IoSlice::new(bytes)],
                &mut control,
                SendFlags::NOSIGNAL,
            )
        })?;
        Ok(())
    }

    /// Receives one message of at most `limit` bytes; `None` when the other end has hung up.
    pub fn receive(&self, limit: usize) -> Result<Option<Message>, PacketError> {
        // One byte more than is allowed, so that a message of just `limit` bytes is told from a
        // longer one. Zeroed memory of this size comes from the kernel untouched.
        let mut bytes = vec![0; limit + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.0,
                &mut [io::IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .map_err(io::Error::from)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        // From here on whatever came is owned, and closed by leaving.
        if received.flags.contains(ReturnFlags::TRUNC) || received.bytes > limit {
            return Err(PacketError::TooLong { limit });
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            bytes.truncate(received.bytes);
            return Err(PacketError::Descriptors { bytes });
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        Ok(Some((bytes[..received.bytes].to_vec(), descriptors)))
    }

    /// Who is at the other end.
    pub fn credentials(&self) -> io::Result<Credentials> {
        // Not rustix: its type for a PID cannot hold the 0 that a peer of another PID namespace
        // has.
        let mut found = libc::ucred {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `found` and `length` are live, and `length` is the size of `found`; any bytes
        // are a valid `ucred`.
        let answer = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut found).cast(),
                &raw mut length,
            )
        };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Credentials {
            pid: found.pid,
            uid: found.uid,
            gid: found.gid,
        })
    }

    /// Ends the connection for every holder of this end: the other one reads its end.
    pub fn shutdown(&self) -> io::Result<()> {
        Ok(shutdown(&self.0, Shutdown::Both)?)
    }
}

impl AsFd for Packet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Packet> for OwnedFd {
    fn from(packet: Packet) -> Self {
        packet.0
    }
}

/// Where others connect to. Close-on-exec; accepting does not wait. Leaves its path behind.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens at this path, at which there must be nothing yet. Its mode is that of the umask.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags(true),
            None,
        )?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, 128)?;
        Ok(Self(socket))
    }

    /// Makes the calling process the one that clients see at the other end
    /// ([`Packet::credentials`]), where another one had begun to listen.
    pub fn make_own(&self) -> io::Result<()> {
        Ok(listen(&self.0, 128)?)
    }

    /// Takes a descriptor that came from elsewhere, after making sure that it is such a listener.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&fd)? {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let listener = Self(Packet::from_fd(fd)?.into());
        rustix::io::ioctl_fionbio(&listener.0, true)?;
        Ok(listener)
    }

    /// The next who connects, `WouldBlock` where there is nobody.
    pub fn accept(&self, nonblocking: bool) -> io::Result<Packet> {
        let socket = rustix::io::retry_on_intr(|| accept_with(&self.0, flags(nonblocking)))?;
        Ok(Packet(socket))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe's read end tells whether every copy of its write end is closed.
    fn pipe() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(
            rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
        )
        .expect("pipe")
    }

    fn closed(read: &OwnedFd) -> bool {
        matches!(rustix::io::read(read, &mut [0; 1]), Ok(0))
    }

    #[test]
    fn messages_stay_apart_and_carry_descriptors() {
        let (one, other) = Packet::pair(false).expect("pair");
        let (read, write) = pipe();
        one.send(b"first", &[write.as_fd()]).expect("send");
        one.send(b"second", &[]).expect("send");
        drop(write);
        let (bytes, mut descriptors) = other.receive(64).expect("receive").expect("message");
        assert_eq!((bytes.as_slice(), descriptors.len()), (&b"first"[..], 1));
        let write = descriptors.remove(0);
        assert!(
            rustix::io::fcntl_getfd(&write)
                .expect("flags")
                .contains(rustix::io::FdFlags::CLOEXEC)
        );
        assert!(!closed(&read), "the descriptor that came is open");
        drop(write);
        assert!(closed(&read), "and it was the last");
        let (bytes, descriptors) = other.receive(64).expect("receive").expect("message");
        assert_eq!((bytes.as_slice(), descriptors.len()), (&b"second"[..], 0));
        drop(one);
        assert!(other.receive(64).expect("receive").is_none());
    }

    #[test]
    fn a_message_of_the_limit_is_taken_and_a_longer_one_refused_with_its_descriptors() {
        let (one, other) = Packet::pair(false).expect("pair");
        one.send(&[7; 64], &[]).expect("send");
        assert_eq!(
            other.receive(64).expect("receive").expect("message").0,
            [7; 64]
        );
        let (read, write) = pipe();
        one.send(&[7; 65], &[write.as_fd()]).expect("send");
        drop(write);
        assert!(matches!(
            other.receive(64),
            Err(PacketError::TooLong { limit: 64 })
        ));
        assert!(closed(&read), "what came with it is closed");
        one.send(&[7; 100_000], &[]).expect("send");
        assert!(matches!(
            other.receive(64),
            Err(PacketError::TooLong { limit: 64 })
        ));
        one.send(b"next", &[]).expect("send");
        assert_eq!(
            other.receive(64).expect("receive").expect("message").0,
            b"next",
            "the connection goes on"
        );
    }

    #[test]
    fn too_many_descriptors_are_refused_and_closed() {
        let (one, other) = Packet::pair(false).expect("pair");
        let (read, write) = pipe();
        let all = [write.as_fd(); DESCRIPTORS];
        one.send(b"just enough", &all).expect("send");
        let (_, descriptors) = other.receive(64).expect("receive").expect("message");
        assert_eq!(descriptors.len(), DESCRIPTORS);
        drop(descriptors);
        assert!(
            one.send(b"too many", &[write.as_fd(); DESCRIPTORS + 1])
                .is_err()
        );
        // A sender that does not keep to it.
        let too_many = [write.as_fd(); DESCRIPTORS + 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS + 4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&too_many)));
        sendmsg(
            &one,
            &[io::IoSlice::new(b"too many")],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .expect("send");
        drop(write);
        assert!(matches!(
            other.receive(64),
            Err(PacketError::Descriptors { .. })
        ));
        assert!(closed(&read), "those that did fit are closed too");
    }

    #[test]
    fn a_listener_tells_who_connects() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("socket");
        let listener = Listener::bind(&path).expect("bind");
        assert_eq!(
            listener.accept(true).expect_err("nobody").kind(),
            io::ErrorKind::WouldBlock
        );
        let client = Packet::connect(&path).expect("connect");
        let server = listener.accept(true).expect("accept");
        let who = server.credentials().expect("credentials");
        assert_eq!(who.pid.cast_unsigned(), std::process::id());
        assert_eq!(who.uid, rustix::process::geteuid().as_raw());
        assert!(matches!(server.receive(8), Err(error) if error.is_would_block()));
        assert!(client.send(b"", &[]).is_err(), "an empty message");
        server.shutdown().expect("shutdown");
        assert!(client.receive(8).expect("receive").is_none());
        assert!(Packet::from_fd(pipe().0).is_err(), "a pipe is no socket");
        let listener = Listener::from_fd(listener.into()).expect("a listener");
        assert!(Listener::from_fd(client.into()).is_err(), "a connection");
        drop(listener);
    }
}
