//! `porthole engines`: the broker that talks to Docker and Podman.

use std::os::unix::net::UnixStream;

use anyhow::Context as _;
use listenfd::ListenFd;
use porthole_engines::Given;
use porthole_protocol::engines::{Setting, VARIABLE};
use rustix::net::{AddressFamily, SocketType};

/// What `serve` says of other engines; nothing where nobody says anything.
pub(super) fn setting() -> anyhow::Result<Setting> {
    match std::env::var(VARIABLE) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("reading {VARIABLE}")),
        Err(_) => Ok(Setting::default()),
    }
}

/// Runs the broker with what `serve` has passed on (sd_listen_fds(3)).
pub(super) fn run() -> anyhow::Result<()> {
    const HOW: &str = "`porthole engines` is started by `porthole serve`";
    let mut passed = ListenFd::from_env();
    let listener = passed.take_unix_listener(0)?.context(HOW)?;
    let dial: UnixStream = passed
        .take_custom(
            1,
            i32::from(AddressFamily::UNIX.as_raw()),
            SocketType::SEQPACKET.as_raw().cast_signed(),
            "SOCK_SEQPACKET socket",
        )?
        .context(HOW)?;
    porthole_engines::run(Given {
        setting: setting()?,
        listener,
        dial,
    })
    .context("the engines broker")
}
