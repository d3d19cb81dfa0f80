//! Errands of which nobody waits for the end: in a child, so that the keeper waits for no disk and for
//! no killed process.

use std::convert::Infallible;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use porthole_protocol::keeper::Failure;
use porthole_runtime::Swept;
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::Broker;
use crate::log::log;
use crate::monitor::io_failure;

impl Broker {
    /// Deletes a directory. Where that does not come to its end, the next keeper finds what is left.
    pub(super) fn delete_aside(&self, directory: PathBuf) {
        let deleted = run(&[], || {
            porthole_runtime::delete_tree(&directory)
                .map_err(|error| io_failure(&error, &directory.display().to_string()))
        });
        if let Err(error) = deleted {
            log!("keeper", "{}: {error}", directory.display());
        }
    }

    /// Removes control groups that are nobody's any more: whoever was to remove one may have been
    /// killed, or what was in it have taken too long to end.
    pub(super) fn sweep_groups(&self) {
        let places = &self.ground.places;
        let cgroups = &self.ground.cgroups;
        let (containers, sessions) = (places.containers(), places.sessions());
        let imports = self.ground.images.directory().join("staging");
        let swept = run(&cgroups.descriptors(), || {
            // Each has its directory before it has its group, and for longer.
            let has = |place: &Path, name: &str| place.join(name).try_exists().unwrap_or(true);
            cgroups.sweep(|group| match group {
                Swept::Container(name) => has(&containers, name) || has(&imports, name),
                Swept::Session(name) => has(&sessions, name),
            })
        });
        if let Err(error) = swept {
            log!("keeper", "no process for control groups: {error}");
        }
    }
}

/// Does this in a child, which ends with the keeper.
fn run(kept: &[BorrowedFd<'_>], errand: impl FnOnce() -> Result<(), Failure>) -> io::Result<Child> {
    let alone = SingleThreaded::verify()?;
    let keeper = rustix::process::getpid();
    porthole_sys::process::clone(alone, &Clone::default(), |forked| -> Infallible {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if rustix::process::getppid() != Some(keeper) {
            porthole_sys::process::exit(1);
        }
        let _ = forked.close_all_but(kept);
        let _ = rustix::thread::set_name(c"porthole-errand");
        let done = errand();
        if let Err(failure) = &done {
            log!("keeper", "{failure}");
        }
        porthole_sys::process::exit(i32::from(done.is_err()))
    })
}
