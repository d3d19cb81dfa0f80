//! Which process or namespace is meant, and that it is still that one.

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{ProcessIdentity, Subject};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Holder;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, open, openat, openat2};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::{Step, Trouble};
use crate::links::{inode_at, is_namespace};
use crate::parse;
use crate::procfs::{path_of, read_file};

/// What is read, with descriptors that keep meaning it.
#[derive(Debug)]
pub(super) enum Target {
    /// The host.
    Host,
    /// A process.
    Process(Process),
    /// A namespace that was reached without a process in it.
    Namespace {
        kind: NamespaceType,
        inode: NamespaceInode,
        open: OwnedFd,
    },
}

/// A process, by the descriptor of its directory in `/proc`: it names that process for good.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) identity: ProcessIdentity,
    pub(super) directory: OwnedFd,
}

impl Target {
    pub(super) fn open(subject: &Subject) -> Result<Self, Trouble> {
        Ok(match subject {
            Subject::Host => Self::Host,
            Subject::Process(identity) => Self::Process(Process::open(*identity)?),
            Subject::Namespace {
                kind,
                inode,
                holder,
            } => {
                let open = held(*kind, *inode, holder)?;
                Self::Namespace {
                    kind: *kind,
                    inode: *inode,
                    open,
                }
            }
        })
    }

    /// The process; there is none in what is only held.
    pub(super) fn process(&self) -> Result<&Process, Trouble> {
        match self {
            Self::Process(process) => Ok(process),
            _ => Err(Trouble::Unfit(
                "this shows only in a process, and no process is in that namespace",
            )),
        }
    }

    /// The namespace of this type that is meant: its inode, and open.
    pub(super) fn namespace(
        &self,
        kind: NamespaceType,
    ) -> Result<(NamespaceInode, OwnedFd), Trouble> {
        match self {
            Self::Process(process) => process.namespace(kind),
            Self::Namespace {
                kind: own,
                inode,
                open,
            } if *own == kind => {
                let open = rustix::io::fcntl_dupfd_cloexec(open, 3)
                    .map_err(Trouble::of(Step::OpenNamespace))?;
                Ok((*inode, open))
            }
            _ => Err(Trouble::Unfit("the namespace is one of another type")),
        }
    }

    /// Enters the namespace of this type that is meant.
    pub(super) fn enter(&self, kind: NamespaceType) -> Result<NamespaceInode, Trouble> {
        let (inode, open) = self.namespace(kind)?;
        enter(kind, open.as_fd())?;
        Ok(inode)
    }

    /// It is still there. What was read meanwhile was of it then.
    pub(super) fn verify(&self) -> Result<(), Trouble> {
        match self {
            Self::Process(process) => process.verify(),
            // Open, a namespace stays what it is.
            Self::Host | Self::Namespace { .. } => Ok(()),
        }
    }
}

impl Process {
    /// The process with this number, if it was started at this time.
    pub(super) fn open(identity: ProcessIdentity) -> Result<Self, Trouble> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = format!("/proc/{}", identity.pid);
        let directory = open(path.as_str(), flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::SRCH => Trouble::ProcessGone(identity.pid),
            errno => Trouble::at(Step::ReadProcess, path)(errno),
        })?;
        let process = Self {
            identity,
            directory,
        };
        process.verify()?;
        Ok(process)
    }

    /// It is still there, and no zombie whose namespaces are gone.
    pub(super) fn verify(&self) -> Result<(), Trouble> {
        let gone = || Trouble::ProcessGone(self.identity.pid);
        let bytes = self.file("stat").map_err(|_| gone())?;
        let stat = parse::stat(&bytes).ok_or_else(gone)?;
        if stat.start_ticks == self.identity.start_ticks {
            Ok(())
        } else {
            Err(gone())
        }
    }

    /// One of its files in `/proc`, whole.
    pub(super) fn file(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0; 16 * 1024];
        let length = read_file(self.directory.as_fd(), name, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// The same as text; what is no UTF-8 is replaced.
    pub(super) fn text(&self, name: &str) -> Result<String, Trouble> {
        match self.file(name) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(Errno::SRCH | Errno::NOENT) => Err(Trouble::ProcessGone(self.identity.pid)),
            Err(errno) => Err(Trouble::at(Step::ReadProcess, self.path(name))(errno)),
        }
    }

    /// Where one of its files is.
    pub(super) fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.identity.pid)
    }

    /// The inode of the namespace in this file of `/proc/PID/ns`.
    pub(super) fn inode(&self, name: &str) -> Option<NamespaceInode> {
        inode_at(self.directory.as_fd(), &format!("ns/{name}"))
    }

    /// The namespace of this type that it is in.
    pub(super) fn namespace(
        &self,
        kind: NamespaceType,
    ) -> Result<(NamespaceInode, OwnedFd), Trouble> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let failed = |errno| match errno {
            Errno::NOENT | Errno::SRCH => Trouble::ProcessGone(self.identity.pid),
            errno => Trouble::at(Step::OpenNamespace, self.path(path_of(kind)))(errno),
        };
        let open = openat(&self.directory, path_of(kind), flags, Mode::empty()).map_err(failed)?;
        let status = fstat(&open).map_err(failed)?;
        Ok((NamespaceInode(status.st_ino), open))
    }
}

/// Enters an open namespace of this type.
pub(super) fn enter(kind: NamespaceType, open: BorrowedFd<'_>) -> Result<(), Trouble> {
    use rustix::thread::{LinkNameSpaceType as Link, move_into_link_name_space};
    let link = match kind {
        NamespaceType::Mnt => Link::Mount,
        NamespaceType::Uts => Link::HostNameAndNISDomainName,
        NamespaceType::Ipc => Link::InterProcessCommunication,
        NamespaceType::Pid => Link::ProcessID,
        NamespaceType::Net => Link::Network,
        NamespaceType::User => Link::User,
        NamespaceType::Cgroup => Link::ControlGroup,
        NamespaceType::Time => Link::Time,
    };
    move_into_link_name_space(open, Some(link))
        .map_err(Trouble::at(Step::EnterNamespace, kind.name()))
}

/// The namespace that is open in a process or mounted on a file.
fn held(kind: NamespaceType, inode: NamespaceInode, holder: &Holder) -> Result<OwnedFd, Trouble> {
    let gone = || Trouble::NamespaceGone(kind, inode);
    // By O_PATH nothing is opened yet, whatever stands there: a FIFO, a device, a file of FUSE.
    let found = match holder {
        Holder::Mount { pid, path } => mounted(*pid, path).map_err(|_| gone())?,
        other => {
            let link = format!("/proc/{}", other.link(kind).ok_or_else(gone)?);
            // No name of a file looks like that: those begin with a slash.
            if inode_at(CWD, &link) != Some(inode) {
                return Err(gone());
            }
            open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|_| gone())?
        }
    };
    if !is_namespace(&found, inode) {
        return Err(gone());
    }
    let again = format!("/proc/self/fd/{}", DecInt::from_fd(&found).as_str());
    let namespace = open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Trouble::of(Step::OpenNamespace))?;
    if porthole_sys::nsfs::kind(&namespace).is_ok_and(|flag| flag == kind.clone_flag()) {
        Ok(namespace)
    } else {
        Err(gone())
    }
}

/// What is mounted where a process sees this path.
fn mounted(pid: HostPid, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    openat2(
        &root,
        path,
        OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
    )
}
