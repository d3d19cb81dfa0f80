//! Our own program as a file that nobody can change, see memfd_create(2).
//!
//! A container that gets hold of `/proc/PID/exe` of one of our processes could overwrite the
//! program on the host's disk (CVE-2019-5736); a sealed copy has nothing behind it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create, sendfile};

const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// A sealed copy of the program that this process runs.
pub fn copy_of_self() -> io::Result<OwnedFd> {
    let program = File::open("/proc/self/exe")?;
    let size = program.metadata()?.len();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC keeps working where vm.memfd_noexec is set; kernels before 6.3 do not know it.
    let copy = match memfd_create("porthole", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create("porthole", flags)?,
        answer => answer?,
    };
    let mut copied = 0;
    while copied < size {
        let rest = usize::try_from(size - copied).unwrap_or(usize::MAX);
        match sendfile(&copy, &program, None, rest)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            more => copied += more as u64,
        }
    }
    fcntl_add_seals(&copy, SEALS)?;
    Ok(copy)
}

/// Whether this process runs from a copy that [`copy_of_self`] made.
pub fn runs_sealed() -> io::Result<bool> {
    let program = File::open("/proc/self/exe")?;
    Ok(fcntl_get_seals(&program).is_ok_and(|seals| seals.contains(SEALS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn the_copy_is_whole_and_cannot_be_written() {
        let copy = copy_of_self().expect("copy");
        let mut copy = File::from(copy);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        File::open(path)
            .expect("open")
            .read_to_end(&mut one)
            .expect("read");
        File::open("/proc/self/exe")
            .expect("open")
            .read_to_end(&mut other)
            .expect("read");
        assert!(one == other);
        assert!(copy.write_all(b"x").is_err());
        assert!(copy.set_len(0).is_err());
        assert!(!runs_sealed().expect("exe"));
    }
}
