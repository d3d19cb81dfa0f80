//! Work on disk that may take long: in a child, so that the keeper waits for no disk.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use porthole_protocol::container::Limits;
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_sys::packet::Packet;
use porthole_sys::process::{Child, Clone, SingleThreaded};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::ledger::Config;
use crate::monitor::{Ground, io_failure};
use crate::store;

/// A report is short.
const REPORT_LIMIT: usize = 64 * 1024;

/// The how manyth time something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Last,
}

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Make a container's files; its `config.json` comes last, and makes it one.
    Make(Box<Config>),
    /// Delete a container's files, for the first time or again; its `config.json` goes first.
    Unmake(ContainerId, Attempt),
    /// Set a container's limits where it runs and they were these, and write down what it is, for
    /// the first time or again.
    Configure(Box<Config>, Option<Limits>, Attempt),
}

impl Work {
    pub(super) fn container(&self) -> &ContainerId {
        match self {
            Self::Make(config) | Self::Configure(config, ..) => &config.id,
            Self::Unmake(id, _) => id,
        }
    }

    fn run(&self, ground: &Ground) -> Result<(), Failure> {
        let directory = ground.places.containers().join(self.container().as_str());
        match self {
            Self::Make(config) => make(ground, config, &directory),
            Self::Unmake(id, _) => unmake(ground, id, &directory),
            Self::Configure(config, was, _) => configure(ground, config, was.as_ref(), &directory),
        }
    }
}

/// What has become of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Report {
    /// It was done, or was not and what was done of it is undone.
    Done(Result<(), Failure>),
    /// Its worker has ended without a word, and may have done any part of it.
    Killed(Failure),
}

/// A worker with its connection.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) work: Work,
    pub(super) packet: Packet,
    /// It is reaped by its number; this keeps that from being another's.
    pub(super) _child: Child,
}

impl Worker {
    pub(super) fn fork(ground: &Ground, work: Work) -> io::Result<Self> {
        let alone = SingleThreaded::verify()?;
        let (packet, its) = Packet::pair(true)?;
        let keeper = rustix::process::getpid();
        let child = porthole_sys::process::clone(alone, &Clone::default(), |forked| {
            // The next keeper takes what is half done for half made, and must be alone with it.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(keeper) {
                porthole_sys::process::exit(1);
            }
            let mut kept = ground.cgroups.descriptors();
            kept.push(its.as_fd());
            let _ = forked.close_all_but(&kept);
            let _ = rustix::thread::set_name(c"porthole-worker");
            let report = work.run(ground);
            let sent =
                serde_json::to_vec(&report).is_ok_and(|report| its.send(&report, &[]).is_ok());
            porthole_sys::process::exit(i32::from(!sent))
        })?;
        Ok(Self {
            work,
            packet,
            _child: child,
        })
    }

    /// What it has done; `None` while it is at work.
    pub(super) fn report(&self) -> Option<Report> {
        match self.packet.receive(REPORT_LIMIT) {
            Ok(Some((report, _))) => Some(Report::Done(
                serde_json::from_slice(&report)
                    .unwrap_or_else(|error| Err(io_failure(&error.into(), "a worker's report"))),
            )),
            Ok(None) => Some(Report::Killed(
                Failure::new(
                    FailureCode::Internal,
                    "the process that was to do it has ended; try again",
                )
                .stage(Stage::Monitor),
            )),
            Err(error) if error.is_would_block() => None,
            Err(error) => Some(Report::Killed(Failure::new(
                FailureCode::Internal,
                error.to_string(),
            ))),
        }
    }
}

fn make(ground: &Ground, config: &Config, directory: &Path) -> Result<(), Failure> {
    let written = |error: io::Error, what: &str| {
        io_failure(&error, &format!("{what} in {} failed", directory.display())).stage(Stage::Image)
    };
    let build = || {
        std::fs::create_dir(directory)
            .map_err(|e| written(e, "making the container's directory"))?;
        porthole_runtime::create_root(
            directory,
            &config.id,
            &config.name,
            &config.spec,
            config.ids,
            &ground.images,
            config.image_id.as_ref(),
        )?;
        store::write(&directory.join("config.json"), config)
            .map_err(|e| written(e, "writing the container's record"))
    };
    build().map_err(|mut failure: Failure| {
        if let Err(left) = delete(directory) {
            failure.cleanup = Some(left.message);
        }
        failure
    })
}

fn configure(
    ground: &Ground,
    config: &Config,
    was: Option<&Limits>,
    directory: &Path,
) -> Result<(), Failure> {
    let limits = &config.spec.limits;
    if let Some(was) = was {
        ground.cgroups.set_limits(&config.id, limits, was)?;
    }
    store::write(&directory.join("config.json"), config).map_err(|error| {
        if let Some(was) = was {
            let _ = ground.cgroups.set_limits(&config.id, was, limits);
        }
        io_failure(&error, "writing the container's record failed")
    })
}

fn unmake(ground: &Ground, id: &ContainerId, directory: &Path) -> Result<(), Failure> {
    store::delete(&directory.join("config.json"))
        .map_err(|error| cleanup_failure(&error, directory))?;
    let groups = ground.cgroups.remove(id);
    delete(directory)?;
    groups
}

/// Deletes a container's directory, whatever it holds.
fn delete(directory: &Path) -> Result<(), Failure> {
    if !directory.exists() {
        return Ok(());
    }
    porthole_runtime::remove_root(directory)?;
    let remove = || {
        // What the keeper and its monitors wrote; directories are the runtime's to delete.
        for entry in std::fs::read_dir(directory)? {
            std::fs::remove_file(entry?.path())?;
        }
        std::fs::remove_dir(directory)
    };
    remove().map_err(|error| cleanup_failure(&error, directory))
}

fn cleanup_failure(error: &io::Error, directory: &Path) -> Failure {
    let mut failure = io_failure(error, &format!("deleting {} failed", directory.display()))
        .stage(Stage::Cleanup);
    failure.cleanup = Some(format!(
        "{} stays; the next start of Porthole tries again",
        directory.display()
    ));
    failure
}
