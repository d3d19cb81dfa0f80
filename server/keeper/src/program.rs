//! This program itself, sealed; and what its forks are called.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use porthole_sys::memfd::{copy_of_self, runs_sealed};

/// A sealed copy of this program: the one that it runs from, whose memory all that run from it
/// share, or else a new one.
pub(crate) fn sealed() -> io::Result<OwnedFd> {
    if runs_sealed()? {
        Ok(File::open("/proc/self/exe")?.into())
    } else {
        copy_of_self()
    }
}

/// Calls this process so in `/proc/PID/cmdline`, where ps(1) and the process pages look: words,
/// each with its NUL byte. A fork of the keeper would go by the keeper's own command line. What
/// does not fit over that one is left out.
pub(crate) fn rename(words: &[&str]) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Fields 48 and 49, arg_start and arg_end, see proc_pid_stat(5); the name in field 2 may hold
    // anything.
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(46);
    let mut place = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (Some(start), Some(end)) = (place(), place()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut line: Vec<u8> = words
        .iter()
        .flat_map(|word| word.bytes().chain([0]))
        .collect();
    line.resize(usize::try_from(end - start).unwrap_or(0), 0);
    if let Some(last) = line.last_mut() {
        // The kernel reads on behind a line whose last byte is another.
        *last = 0;
    }
    File::options()
        .write(true)
        .open("/proc/self/mem")?
        .write_all_at(&line, start)
}
