//! What systemd is told: that Porthole can be reached, and that it is ending. See sd_notify(3).

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::log::log;

/// The listeners are open: whoever connects is answered, at the latest once the server has started.
pub(super) const READY: &str = "READY=1";
/// It was told to stop.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells it, where systemd started this program and wants to know.
pub(super) fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = send(name.as_bytes(), state) {
        log!("serve", "systemd cannot be told {state}: {error}");
    }
}

fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    // systemd may be busy; it is told nothing rather than waited for.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_it_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("notify");
        let hidden = format!("porthole-notify-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).expect("bind");
        let address = SocketAddr::from_abstract_name(&hidden).expect("an address");
        let at_name = UnixDatagram::bind_addr(&address).expect("bind");
        send(path.as_os_str().as_bytes(), READY).expect("sent");
        send(format!("@{hidden}").as_bytes(), STOPPING).expect("sent");
        let mut buffer = [0; 32];
        let length = at_path.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], READY.as_bytes());
        let length = at_name.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], STOPPING.as_bytes());
        let nobody = directory.path().join("nobody");
        send(nobody.as_os_str().as_bytes(), READY).expect_err("nobody listens");
    }
}
