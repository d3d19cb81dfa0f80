//! Journals: files of the server's, into which monitors put what their processes write.
//!
//! The server is not trusted with what it passes, nor with what lies in its directory.

use std::os::fd::OwnedFd;
use std::path::Path;

use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fstat, fstatfs, openat};

use super::Broker;
use crate::ledger::Ticket;
use crate::monitor::io_failure;

/// File systems that are the kernel's own, see statfs(2): what is written there does something.
const KERNELS_OWN: [i64; 12] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x7363_6673, // securityfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x6265_6570, // configfs
    0x4249_4e4d, // binfmt_misc
    0xcafe_4a11, // bpf
    0xf97c_ff8c, // selinuxfs
    0xde5e_81e4, // efivarfs
];

/// Journal and index must be plain files of whoever passes them, open for both, into which
/// splice(2) can move.
pub(super) fn check_journal(pair: &[OwnedFd; 2], owner: Option<u32>) -> Result<(), Failure> {
    let fit = |fd: &OwnedFd| {
        let flags = fcntl_getfl(fd).unwrap_or(OFlags::APPEND);
        flags.contains(OFlags::RDWR) && !flags.contains(OFlags::APPEND) && is_plain_file(fd, owner)
    };
    if pair.iter().all(fit) {
        Ok(())
    } else {
        Err(Failure::new(
            FailureCode::BadRequest,
            "journal and index must be regular files of the server's own on a disk, open for reading and writing, not for appending",
        ))
    }
}

/// Whether this is a regular file of this owner's, and none of the kernel's own.
pub(super) fn is_plain_file(fd: &OwnedFd, owner: Option<u32>) -> bool {
    let regular = fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && Some(stat.st_uid) == owner
    });
    regular && fstatfs(fd).is_ok_and(|system| !KERNELS_OWN.contains(&system.f_type))
}

impl Broker {
    /// The journal that came with a request.
    pub(super) fn take_journal(&mut self, ticket: Ticket) -> Result<[OwnedFd; 2], Failure> {
        // They are gone where the server that asked is gone.
        self.descriptors
            .remove(&ticket)
            .ok_or_else(|| Failure::new(FailureCode::WrongState, "whoever asked for it has gone"))
    }

    /// The journal of a container that has run before, for a start that nobody has asked for: no
    /// server need be there.
    pub(super) fn open_journal(&self, id: &ContainerId) -> Result<[OwnedFd; 2], Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let files = openat(CWD, self.ground.places.server(), flags, Mode::empty())
            .map_err(std::io::Error::from)
            .and_then(|root| {
                let directory = Path::new("journals").join(id.as_str());
                porthole_journal::open_beneath(root, &directory)
            })
            .map_err(|error| {
                io_failure(&error, "its journal cannot be opened").stage(Stage::Monitor)
            })?;
        let pair = [files.journal.into(), files.index.into()];
        check_journal(&pair, Some(self.server_uid.unwrap_or(0)))?;
        Ok(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn no_lease_keeps_the_keeper_waiting() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("journals/one");
        drop(porthole_journal::create(&path).expect("journal"));
        let root = File::open(directory.path()).expect("open");
        let files = porthole_journal::open_beneath(root, "journals/one".as_ref()).expect("open");
        for file in [files.journal, files.index] {
            // With it open(2) answers EWOULDBLOCK where somebody has a lease on the file.
            let flags = fcntl_getfl(&file).expect("flags");
            assert!(flags.contains(OFlags::NONBLOCK), "{flags:?}");
        }
    }

    #[test]
    fn a_journal_is_a_file_of_whoever_passes_it() {
        let directory = tempfile::tempdir().expect("directory");
        let own = rustix::process::geteuid().as_raw();
        let open = |path: &std::path::Path, append| -> OwnedFd {
            File::options()
                .read(true)
                .write(true)
                .append(append)
                .open(path)
                .expect("open")
                .into()
        };
        let path = directory.path().join("output");
        File::create(&path).expect("file");
        let plain = || open(&path, false);
        let check = |other: OwnedFd, owner| check_journal(&[plain(), other], owner).is_ok();
        assert!(check(plain(), Some(own)), "control");
        assert!(!check(plain(), Some(own + 1)), "somebody else's");
        assert!(!check(plain(), None), "nobody knows whose");
        assert!(!check(open(&path, true), Some(own)), "for appending");
        let kernels = open("/proc/self/comm".as_ref(), false);
        assert_eq!(fstat(&kernels).expect("status").st_uid, own, "control");
        assert!(!check(kernels, Some(own)), "the kernel's");
        let read_only = File::open(&path).expect("open").into();
        assert!(!check(read_only, Some(own)), "for reading only");
        let device = open("/dev/null".as_ref(), false);
        assert!(!check(device, Some(own)), "a device");
    }
}
