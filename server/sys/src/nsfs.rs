//! How namespaces are related: the ioctls of nsfs, see ioctl_ns(2); and which network namespace this
//! one is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// The user namespace that owns the namespace `ns` is open on. EPERM where that is none of the
/// caller's own user namespace or below it.
pub fn owner(ns: impl AsFd) -> io::Result<OwnedFd> {
    relation(ns, libc::NS_GET_USERNS)
}

/// The parent of the PID or user namespace `ns` is open on; EINVAL for the other types. EPERM
/// where it has none, or one that is above the caller's own.
pub fn parent(ns: impl AsFd) -> io::Result<OwnedFd> {
    relation(ns, libc::NS_GET_PARENT)
}

/// The user id, as the caller's user namespace numbers it, that made the user namespace `ns` is
/// open on; EINVAL for the other types.
pub fn owner_uid(ns: impl AsFd) -> io::Result<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: the request writes one uid_t to where the pointer points, which outlives the call.
    let answer =
        unsafe { libc::ioctl(ns.as_fd().as_raw_fd(), libc::NS_GET_OWNER_UID, &raw mut uid) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(uid)
}

/// The type of the namespace `ns` is open on, as the one flag of clone(2) that makes such a one.
pub fn kind(ns: impl AsFd) -> io::Result<u64> {
    // SAFETY: the request takes no argument, so no memory of ours is read or written; the descriptor
    // is open for as long as `ns` is borrowed.
    let flag = unsafe { libc::ioctl(ns.as_fd().as_raw_fd(), libc::NS_GET_NSTYPE) };
    if flag < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(flag.cast_unsigned()))
}

/// The number of the network namespace that this thread is in: no other one has had it or will have
/// it until the machine is restarted (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn network_cookie() -> io::Result<u64> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `cookie` and `length` are live, and `length` is the size of `cookie`, of which any
    // bytes are a valid one.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// The libc crate does not have it for every C library: `asm-generic/socket.h`.
const SO_NETNS_COOKIE: libc::c_int = 71;

fn relation(ns: impl AsFd, request: libc::Ioctl) -> io::Result<OwnedFd> {
    // SAFETY: these requests take no argument, so no memory of ours is read or written; the
    // descriptor is open for as long as `ns` is borrowed.
    let fd = unsafe { libc::ioctl(ns.as_fd().as_raw_fd(), request) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success the request answers a new descriptor (O_CLOEXEC) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_network_namespace_has_one_number() {
        let cookie = network_cookie().expect("Linux 5.14");
        assert_ne!(cookie, 0);
        assert_eq!(network_cookie().expect("the same"), cookie);
    }

    #[test]
    fn the_network_namespace_is_owned_by_a_user_namespace() {
        let net = File::open("/proc/self/ns/net").expect("procfs");
        let user = File::open("/proc/self/ns/user").expect("procfs");
        assert_eq!(kind(&net).expect("a namespace"), libc::CLONE_NEWNET as u64);
        assert!(kind(File::open("/dev/null").expect("a device")).is_err());
        let inode = |file: &File| file.metadata().expect("stat").ino();
        match owner(&net) {
            Ok(found) => assert_eq!(inode(&File::from(found)), inode(&user)),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
        assert_eq!(
            parent(&net).map(drop).map_err(|e| e.raw_os_error()),
            Err(Some(libc::EINVAL))
        );
        let made = owner_uid(&net).map_err(|e| e.raw_os_error());
        assert_eq!(made, Err(Some(libc::EINVAL)));
        assert!(owner_uid(&user).is_ok());
    }
}
