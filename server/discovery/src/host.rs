//! The host as it is known: what reads it together with what is known of it.

use std::time::Instant;

use porthole_protocol::id::HostPid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::arguments::Arguments;
use crate::holders;
use crate::model::Model;
use crate::procfs::{Look, Reader, Reading};
use crate::{Failure, Settings, Step};

/// After so many processes it is time to ask the helper for more arguments.
pub(crate) const ARGUMENTS_EVERY: usize = 32;

/// The readers and what they have read.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) reader: Reader,
    pub(crate) arguments: Arguments,
    pub(crate) model: Model,
}

/// What is known to have happened to a process that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Perhaps nothing.
    None,
    /// It may have other arguments.
    Scan,
    /// It executes another program or has another name.
    Changed,
}

impl Host {
    /// Nothing is read yet.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Failure> {
        let mut reader = Reader::open(settings).map_err(at(Step::OpenProc))?;
        let model = Model::new(reader.initial());
        Ok(Self {
            reader,
            arguments: Arguments::default(),
            model,
        })
    }

    /// The numbers of all processes there are.
    pub(crate) fn list(&self) -> Result<Vec<HostPid>, Failure> {
        self.reader.list().map_err(at(Step::ListProc))
    }

    /// Reads every process and what each holds.
    pub(crate) fn scan(&mut self) -> Result<(), Failure> {
        for some in self.list()?.chunks(ARGUMENTS_EVERY) {
            for pid in some {
                self.read(*pid, Cause::None);
                holders::look_at_process(self, *pid);
            }
            self.run_arguments(Instant::now());
        }
        let mounts: Vec<_> = self.model.mount_namespaces().collect();
        for mnt in mounts {
            holders::look_at_mounts(self, mnt);
        }
        Ok(())
    }

    /// Asks for arguments and takes those that have come.
    pub(crate) fn run_arguments(&mut self, now: Instant) {
        let model = &mut self.model;
        self.arguments.run(now, |answer| {
            model.arguments(answer.pid, answer.start_ticks, answer.args);
        });
    }

    /// Waits until all arguments have come that can be had.
    pub(crate) fn wait_for_arguments(&mut self) -> Result<(), Failure> {
        while !self.arguments.is_done() {
            self.run_arguments(Instant::now());
            if let Some(socket) = self.arguments.socket() {
                let timeout = Timespec {
                    tv_sec: 0,
                    tv_nsec: 100_000_000,
                };
                match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(at(Step::Wait)(errno)),
                }
            }
        }
        Ok(())
    }

    /// Reads a process and what is new around it. Its arguments come later.
    pub(crate) fn read(&mut self, pid: HostPid, cause: Cause) {
        let Reading {
            process,
            group,
            directory,
        } = match self.reader.look(pid) {
            Look::Found(reading) => *reading,
            Look::Gone => return self.model.remove(pid),
            Look::Unclear => return,
        };
        let namespaces = process.namespaces;
        // Threads of the kernel and zombies have none.
        let has_arguments = process.security.is_some() && !matches!(process.state, 'Z' | 'X');
        let is_new = self.model.put(process, group);
        if has_arguments && (is_new || cause != Cause::None) {
            self.arguments.ask(pid, is_new || cause == Cause::Changed);
        }
        for (kind, inode) in namespaces.iter() {
            let Some(inode) = *inode else { continue };
            if self.model.is_related(kind, inode) {
                continue;
            }
            let known = |other| self.model.is_any_related(other);
            if let Some(found) = self.reader.relations(&directory, kind, inode, known) {
                self.model.relate(&found);
            }
        }
        if let Some(inode) = namespaces.user
            && !self.model.is_mapped(inode)
            && let Some(maps) = self.reader.id_maps(&directory)
        {
            self.model.map(inode, maps);
        }
    }
}

/// The failure of this step.
pub(crate) fn at(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { step, errno }
}
