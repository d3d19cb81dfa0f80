//! `porthole serve`: settles the settings and becomes the supervisor.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::server::tls;
use crate::settings::{Given, Tls};

/// Replaces this process by the keeper's program in the role of the supervisor. Returns only where
/// that fails.
pub(super) fn run(flags: Given) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "`porthole serve` needs root, because it makes namespaces, mounts and control groups. Run it with sudo, or as a system service."
        );
    }
    let given = Given::gather(flags)?;
    if let Some(file) = given.exposed_password_file() {
        eprintln!(
            "porthole: {} holds a password, and every account of this machine can read it. Let only root read it: chmod 600 {0}",
            file.display()
        );
    }
    let settings = given.resolve()?;
    if let Some(Tls { cert, key }) = &settings.tls {
        tls::check(cert, key)?;
    }
    let program = std::env::current_exe().context("finding this program's own file")?;
    let keeper = program.with_file_name("porthole-keeper");
    if !keeper.is_file() {
        bail!(
            "{} is not there. It belongs beside this program: build both with `make build`.",
            keeper.display()
        );
    }
    let error = Command::new(&keeper)
        .arg("serve")
        .env_remove("PORTHOLE_ADMIN_PASSWORD")
        .env_remove("PORTHOLE_ADMIN_PASSWORD_FILE")
        .envs(settings.to_env())
        .env("PORTHOLE_SERVER_EXE", &program)
        .exec();
    Err(error).with_context(|| format!("starting {}", keeper.display()))
}
