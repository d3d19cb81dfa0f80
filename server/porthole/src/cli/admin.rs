//! `porthole admin`: works on the database itself, whether the server runs or not.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rustix::process::{Gid, Uid};

use crate::access::password::{LONGEST, check_new, hash_now, make_up};
use crate::settings::Given;
use crate::store::Store;

/// Gives an account a new password.
pub(super) fn reset_password(
    name: &str,
    from_stdin: bool,
    root: Option<PathBuf>,
) -> anyhow::Result<()> {
    let path = database(root)?;
    let password = if from_stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(LONGEST as u64 + 2)
            .read_to_string(&mut text)
            .context("reading the password from standard input")?;
        text.trim_end_matches(['\n', '\r']).to_owned()
    } else {
        make_up()
    };
    check_new(&password)?;
    let hash = hash_now(&password).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    let account = Store::open(&path)?.set_password_now(name, &hash)?;
    if from_stdin {
        println!(
            "{} has the new password, is signed out everywhere, and has no tokens any more.",
            account.name
        );
    } else {
        println!(
            "{} is signed out everywhere and has no tokens any more. The new password:\n\n    {password}\n",
            account.name
        );
    }
    Ok(())
}

/// Where the database of this root is, or of the one that is set. This process is its owner's
/// afterwards.
pub(super) fn database(root: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let directory = state(root)?.join("server");
    let owner = std::fs::metadata(&directory).with_context(|| {
        format!(
            "{} cannot be looked at: run this as root, and set PORTHOLE_ROOT where Porthole's state is elsewhere",
            directory.display()
        )
    })?;
    become_owner(owner.uid(), owner.gid())?;
    let path = directory.join("porthole.db");
    if !path.is_file() {
        bail!(
            "{} is not there: Porthole was never started with this PORTHOLE_ROOT",
            path.display()
        );
    }
    Ok(path)
}

/// This root, or the one that is set.
pub(super) fn state(root: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let flags = Given {
        root,
        ..Given::default()
    };
    // Only where its state is matters here, not whether it could be served from there.
    let root = Given::gather(flags)?.root;
    Ok(root.unwrap_or_else(|| "/var/lib/porthole".into()))
}

/// The database's files stay its owner's: the server could not open one that root has made.
fn become_owner(uid: u32, gid: u32) -> anyhow::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // There is one thread yet, so that a thread's ids are the process's.
    rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_gid(Gid::from_raw(gid)))
        .and_then(|()| rustix::thread::set_thread_uid(Uid::from_raw(uid)))
        .context("becoming the owner of the database")
}
