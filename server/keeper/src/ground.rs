//! What has to be there before anything can run: rights, kernel, directories, sockets. Each lack is
//! said in a sentence that says what to do.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown,
};
use std::path::{Path, PathBuf};

use porthole_protocol::id::ContainerId;
use porthole_runtime::Cgroups;
use porthole_sys::packet::Listener;
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::accounts::Account;
use crate::log::log;
use crate::settings::Places;
use crate::store;

/// The version of what is below `ROOT`. A newer one is refused.
const ROOT_VERSION: u32 = 1;

/// The oldest kernel that has everything.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// Open files of keeper and server, at least.
const OPEN_FILES: u64 = 65_536;

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroundError {
    #[error("Porthole makes containers, which takes root: run it as root (sudo porthole serve)")]
    NotRoot,
    #[error(
        "Porthole needs Linux 6.1 or newer, this is Linux {found}; start the machine with a newer kernel"
    )]
    Kernel { found: String },
    #[error(
        "{} was written by a newer Porthole (its version is {found}, this program's {ROOT_VERSION}); install the newer one again, or choose another PORTHOLE_ROOT",
        .path.display()
    )]
    NewerRoot { path: PathBuf, found: u32 },
    #[error("cannot {what} {}: {source}", .path.display())]
    Path {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{} belongs to somebody else (user {uid}): remove it, or choose another place", .path.display()
    )]
    Foreign { path: PathBuf, uid: u32 },
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GroundError {
    let path = path.to_owned();
    move |source| GroundError::Path { what, path, source }
}

/// Everything here is root's.
pub(crate) fn must_be_root() -> Result<(), GroundError> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(GroundError::NotRoot)
    }
}

/// The kernel must be new enough.
pub(crate) fn check_kernel() -> Result<(), GroundError> {
    let system = rustix::system::uname();
    let found = system.release().to_string_lossy().into_owned();
    match version_of(&found) {
        Some(version) if version >= OLDEST_KERNEL => Ok(()),
        _ => Err(GroundError::Kernel { found }),
    }
}

/// Every session and every viewer is a few descriptors of the keeper's and the server's. What runs
/// in containers has its own limit.
pub(crate) fn raise_open_files() {
    let limit = |most| Rlimit {
        current: most,
        maximum: most,
    };
    // None is no limit at all.
    let most = getrlimit(Resource::Nofile).maximum;
    let wanted = most.map(|most| most.max(OPEN_FILES));
    if setrlimit(Resource::Nofile, limit(wanted)).is_err()
        && let Err(errno) = setrlimit(Resource::Nofile, limit(most))
    {
        log!(
            "serve",
            "the number of open files cannot be raised: {errno}"
        );
    }
}

fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Makes the directories below `ROOT` and `RUN`, with their owners and modes.
pub(crate) fn make_directories(
    places: &Places,
    server: Option<&Account>,
) -> Result<(), GroundError> {
    directory(&places.root, 0o711, None)?;
    directory(&places.keeper(), 0o700, None)?;
    check_version(&places.keeper().join("version"))?;
    directory(&places.containers(), 0o700, None)?;
    directory(&places.sessions(), 0o700, None)?;
    directory(&places.keeper().join("images"), 0o700, None)?;
    if server.is_some() {
        directory(&places.server(), 0o700, server)?;
    }
    directory(&places.run, 0o755, None)?;
    directory(&places.monitors(), 0o700, None)
}

fn directory(path: &Path, mode: u32, owner: Option<&Account>) -> Result<(), GroundError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(at("make the directory", path))?;
    let metadata = std::fs::symlink_metadata(path).map_err(at("look at", path))?;
    let uid = owner.map_or(0, |account| account.uid);
    if metadata.uid() != 0 && metadata.uid() != uid {
        return Err(GroundError::Foreign {
            path: path.to_owned(),
            uid: metadata.uid(),
        });
    }
    if !metadata.is_dir() {
        return Err(at("use", path)(io::Error::from(
            io::ErrorKind::NotADirectory,
        )));
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(at("set the mode of", path))?;
    if let Some(account) = owner {
        chown(path, Some(account.uid), Some(account.gid))
            .map_err(at("give to the server's account", path))?;
    }
    Ok(())
}

fn check_version(path: &Path) -> Result<(), GroundError> {
    match store::read::<u32>(path).map_err(at("read", path))? {
        Some(ROOT_VERSION) => Ok(()),
        Some(found) if found > ROOT_VERSION => Err(GroundError::NewerRoot {
            path: path.to_owned(),
            found,
        }),
        // There is no older version to migrate yet.
        Some(_) | None => store::write(path, &ROOT_VERSION).map_err(at("write", path)),
    }
}

/// Listens where servers find the keeper: for root and the server's group.
pub(crate) fn keeper_listener(
    places: &Places,
    server: Option<&Account>,
) -> anyhow::Result<Listener> {
    let path = places.keeper_socket();
    unlink(&path)?;
    let listener = Listener::bind(&path).map_err(at("listen at", &path))?;
    share(&path, None, server)?;
    Ok(listener)
}

/// Gives a socket to a user, and to the server's group.
pub(crate) fn share(
    path: &Path,
    owner: Option<&Account>,
    group: Option<&Account>,
) -> Result<(), GroundError> {
    chown(
        path,
        Some(owner.map_or(0, |account| account.uid)),
        Some(group.map_or(0, |account| account.gid)),
    )
    .map_err(at("give to the server's group", path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o660))
        .map_err(at("set the mode of", path))
}

/// Gives a socket to the server's account alone: whoever else is in its group stays out.
pub(crate) fn give(path: &Path, server: &Account) -> Result<(), GroundError> {
    // First closed to all but root, so that it is at no moment open to others.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(at("set the mode of", path))?;
    chown(path, Some(server.uid), Some(server.gid))
        .map_err(at("give to the server's account", path))
}

/// Makes an empty file that only the server's account reads and writes. There must be none.
pub(crate) fn empty_file(path: &Path, server: &Account) -> Result<(), GroundError> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at("make", path))?;
    fchown(&file, Some(server.uid), Some(server.gid))
        .map_err(at("give to the server's account", path))
}

/// Deletes what an earlier instance left at a socket's or file's place.
pub(crate) fn unlink(path: &Path) -> Result<(), GroundError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(at("delete the old socket", path)(error))
        }
        _ => Ok(()),
    }
}

/// The group in which every container has its own, from the cgroup2 tree's root.
pub(crate) fn cgroup_base(cgroups: &Cgroups) -> String {
    let id = ContainerId::from_bytes([0; ContainerId::BYTES]);
    let path = cgroups.path(&id);
    path.strip_suffix(id.as_str())
        .unwrap_or(&path)
        .trim_end_matches('/')
        .to_owned()
}

/// What this machine lacks that containers can do without, each in a sentence.
pub(crate) fn lacking() -> Vec<String> {
    let mut lacking = Vec::new();
    // Asking for it has the kernel load the module where there is one.
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
    if matches!(overlay, Err(Errno::NODEV)) {
        lacking.push(
            "The kernel has no overlay file system, so no container can be made: install its module (modprobe overlay loads it), or start a kernel that is built with CONFIG_OVERLAY_FS."
                .to_owned(),
        );
    }
    let number =
        |path: &str| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    if number("/proc/sys/user/max_user_namespaces") == Some(0) {
        lacking.push(
            "User namespaces are switched off, so no container can run: sysctl -w user.max_user_namespaces=15000 as root."
                .to_owned(),
        );
    }
    if !Path::new("/proc/self/ns/time").exists() {
        lacking.push(
            "The kernel has no time namespaces, so containers cannot have clocks of their own: start one that is built with CONFIG_TIME_NS."
                .to_owned(),
        );
    }
    if number("/proc/sys/fs/suid_dumpable") == Some(1) {
        lacking.push(
            "The kernel is set to let processes be looked into that have changed their user, so a session that joins a container could be for a moment: sysctl -w fs.suid_dumpable=0 as root."
                .to_owned(),
        );
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_version_is_read() {
        assert_eq!(version_of("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version_of("6.1.0-42-amd64"), Some((6, 1)));
        assert!(version_of("6.0.9").is_some_and(|found| found < OLDEST_KERNEL));
        assert!(version_of("5.19").is_some_and(|found| found < OLDEST_KERNEL));
        assert!(version_of("10.0").is_some_and(|found| found > OLDEST_KERNEL));
        assert_eq!(version_of("six"), None);
    }

    #[test]
    fn a_newer_root_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("version");
        check_version(&path).expect("none yet");
        check_version(&path).expect("ours");
        store::write(&path, &(ROOT_VERSION + 1)).expect("write");
        let why = check_version(&path).expect_err("newer").to_string();
        assert!(why.contains("newer Porthole"), "{why}");
        assert_eq!(store::read(&path).expect("read"), Some(ROOT_VERSION + 1));
    }
}
