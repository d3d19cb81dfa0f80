//! The host as it is known: what reads it together with what is known of it.

use porthole_protocol::id::HostPid;
use rustix::io::Errno;

use crate::model::Model;
use crate::procfs::{Look, Reader, Reading};
use crate::{Failure, Step};

/// The reader and what it has read.
#[derive(Debug)]
pub(crate) struct Host {
    reader: Reader,
    pub(crate) model: Model,
}

impl Host {
    /// Nothing is read yet.
    pub(crate) fn open(cgroup_base: Option<String>) -> Result<Self, Failure> {
        let mut reader = Reader::open(cgroup_base).map_err(at(Step::OpenProc))?;
        let model = Model::new(reader.initial());
        Ok(Self { reader, model })
    }

    /// The numbers of all processes there are.
    pub(crate) fn list(&self) -> Result<Vec<HostPid>, Failure> {
        self.reader.list().map_err(at(Step::ListProc))
    }

    /// Reads every process.
    pub(crate) fn scan(&mut self) -> Result<(), Failure> {
        for pid in self.list()? {
            self.read(pid);
        }
        Ok(())
    }

    /// Reads a process and what is new around it.
    pub(crate) fn read(&mut self, pid: HostPid) {
        let Reading { process, directory } = match self.reader.look(pid) {
            Look::Found(reading) => *reading,
            Look::Gone => return self.model.remove(pid),
            Look::Unclear => return,
        };
        let namespaces = process.namespaces;
        self.model.put(process);
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
