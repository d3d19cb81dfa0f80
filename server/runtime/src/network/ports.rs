//! Ports of the machine that are published: kept, so that two do not mean the same one.
//!
//! Nothing listens there: the kernel leads packets on before a socket is looked for. But a program
//! that wanted the port later would never hear anything, and so it is told at once.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use porthole_protocol::container::{Publish, Transport};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::registry::Attachment;

/// Takes all of them, or says which one cannot be had.
pub(super) fn reserve(
    ports: &[Publish],
    attachment: &Attachment,
    others: &[Attachment],
) -> Result<Vec<OwnedFd>, Failure> {
    ports
        .iter()
        .map(|port| {
            take(port).map_err(|errno| refused(port, errno, holder(port, attachment, others)))
        })
        .collect()
}

fn take(port: &Publish) -> Result<OwnedFd, Errno> {
    let family = match port.host {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match port.protocol {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if port.host.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(port.host, port.host_port.get()))?;
    Ok(socket)
}

/// The container of the same person's that has it.
fn holder<'a>(
    port: &Publish,
    attachment: &Attachment,
    others: &'a [Attachment],
) -> Option<&'a Attachment> {
    others
        .iter()
        .filter(|other| other.owner == attachment.owner)
        .find(|other| {
            other.publish.iter().any(|theirs| {
                (theirs.host_port, theirs.protocol) == (port.host_port, port.protocol)
            })
        })
}

fn refused(port: &Publish, errno: Errno, holder: Option<&Attachment>) -> Failure {
    let Publish {
        host, host_port, ..
    } = port;
    let protocol = port.protocol.name();
    let (code, why) = match errno {
        Errno::ADDRINUSE => (
            FailureCode::WrongState,
            match holder {
                Some(other) => format!("your container {} has it; stop that one", other.name),
                None => "another program or container of this machine has it".to_owned(),
            },
        ),
        Errno::ADDRNOTAVAIL => (
            FailureCode::Invalid,
            format!("{host} is no address of this machine"),
        ),
        errno => (
            FailureCode::Internal,
            std::io::Error::from(errno).to_string(),
        ),
    };
    Failure::new(
        code,
        format!(
            "port {host_port} ({protocol}) of {host} cannot be published: {why}, or choose another port"
        ),
    )
    .field("publish")
    .stage(Stage::Network)
    .errno(errno.raw_os_error())
}
