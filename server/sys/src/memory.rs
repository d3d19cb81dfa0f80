//! Memory that this process has no more use for.

use std::fs;
use std::io;

use rustix::mm::{Advice, madvise};

/// Lets go of the instructions that this process has executed so far: a fork of a bigger program
/// that does one small thing from now on. What it executes again is mapped again.
pub fn let_go_of_instructions() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    for (start, length) in maps.lines().filter_map(instructions) {
        // SAFETY: the kernel has just said that this range is mapped from a file, executable and
        // not writable, and W^X is kept here: it never was writable, so its pages are the file's
        // and are read from there again. Nothing unmaps it in between: there is one thread.
        unsafe { madvise(start as *mut _, length, Advice::LinuxDontNeed)? };
    }
    Ok(())
}

/// Start and length, where this line of proc_pid_maps(5) is about instructions of a file.
fn instructions(line: &str) -> Option<(usize, usize)> {
    // Address, permissions, offset, device, inode, path. The vDSO has a name in brackets.
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    if fields.next()? != "r-xp" || !fields.nth(3)?.starts_with('/') {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instructions_of_files_are_let_go_of() {
        let line = |permissions: &str, path: &str| {
            let line = format!("7f00-9f00 {permissions} 00021000 00:01 30    {path}");
            instructions(&line)
        };
        let found = Some((0x7f00, 0x2000));
        assert_eq!(line("r-xp", "/memfd:porthole (deleted)"), found);
        assert_eq!(line("r--p", "/memfd:porthole (deleted)"), None);
        assert_eq!(line("rw-p", "/memfd:porthole (deleted)"), None);
        assert_eq!(line("r-xp", "[vdso]"), None);
        assert_eq!(line("r-xp", ""), None);
    }

    #[test]
    fn a_process_goes_on_without_them() {
        let mapped = || {
            let smaps = fs::read_to_string("/proc/self/smaps").expect("smaps");
            let of_file = smaps.split_inclusive("VmFlags").filter(|mapping| {
                let mut lines = mapping.lines();
                lines.any(|line| instructions(line).is_some())
            });
            of_file
                .filter_map(|mapping| mapping.lines().find_map(|l| l.strip_prefix("Rss:")))
                .filter_map(|rss| rss.trim().trim_end_matches(" kB").parse::<u64>().ok())
                .sum::<u64>()
        };
        let before = mapped();
        let_go_of_instructions().expect("advice");
        let after = mapped();
        assert!(after < before, "{before} KiB before, {after} after");
    }
}
