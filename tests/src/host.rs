//! What the kernel says, read from /proc and /sys: what Porthole's answers are compared with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The fields of a process's status that say as whom it runs and how it is confined.
pub const CONFINEMENT: [&str; 12] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Umask",
];

/// A process's status (`/proc/PID/status`), by field.
pub fn status(pid: i32) -> BTreeMap<String, String> {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(field, value)| (field.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The inodes of a process's eight namespaces, by the type's name; empty where it is gone.
pub fn namespaces(pid: i32) -> BTreeMap<String, u64> {
    porthole_protocol::namespace::NamespaceType::ALL
        .into_iter()
        .filter_map(|kind| {
            let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
            let text = link.to_string_lossy().into_owned();
            let inode = text.split_once('[')?.1.strip_suffix(']')?.parse().ok()?;
            Some((kind.name().to_owned(), inode))
        })
        .collect()
}

/// Resident memory in bytes; 0 where it is gone.
pub fn resident(pid: i32) -> u64 {
    status(pid).get("VmRSS").map_or(0, |size| kilobytes(size))
}

/// Resident memory with shared pages divided among those who share them, in bytes; 0 where it is gone.
pub fn proportional(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    kilobytes(line.unwrap_or_default())
}

fn kilobytes(text: &str) -> u64 {
    let number = text.split_whitespace().next();
    number.and_then(|word| word.parse().ok()).unwrap_or(0u64) << 10
}

/// Every process of the host.
pub fn processes() -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A process's parent.
pub fn parent(pid: i32) -> Option<i32> {
    status(pid).get("PPid")?.parse().ok()
}

/// Whether a process runs: it is there and no zombie.
pub fn runs(pid: i32) -> bool {
    status(pid)
        .get("State")
        .is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// The processes whose parent this is, zombies left out.
pub fn children(pid: i32) -> Vec<i32> {
    processes()
        .into_iter()
        .filter(|&child| parent(child) == Some(pid) && runs(child))
        .collect()
}

/// A process's command line.
pub fn arguments(pid: i32) -> Vec<String> {
    nul_separated(&format!("/proc/{pid}/cmdline"))
}

/// A process's environment as it was when it was executed.
pub fn environment(pid: i32) -> Vec<String> {
    nul_separated(&format!("/proc/{pid}/environ"))
}

fn nul_separated(path: &str) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// A process's lines of `/proc/PID/uid_map` or `gid_map`.
pub fn id_map(pid: i32, which: &str) -> Vec<[u32; 3]> {
    fs::read_to_string(format!("/proc/{pid}/{which}"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(|word| word.parse().ok());
            Some([words.next()??, words.next()??, words.next()??])
        })
        .collect()
}

/// The numbers of a process in every PID namespace from the host's to its own (`NSpid`).
pub fn pids(pid: i32) -> Vec<i32> {
    status(pid)
        .get("NSpid")
        .map(|text| {
            text.split_whitespace()
                .filter_map(|n| n.parse().ok())
                .collect()
        })
        .unwrap_or_default()
}

/// What is mounted where this test runs, at or below this directory.
pub fn mounts_below(directory: &Path) -> Vec<String> {
    let directory = directory.to_string_lossy();
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains(&*directory))
        .map(str::to_owned)
        .collect()
}

/// Every cgroup of every hierarchy with this name.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    fn search(directory: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Some v1 hierarchies are symbolic links to others.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_str() == Some(name) {
                found.push(entry.path());
            }
            if depth > 0 {
                search(&entry.path(), name, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    search(Path::new("/sys/fs/cgroup"), name, 8, &mut found);
    found
}

/// The processes whose cgroup, in any hierarchy, has this name among its parts.
pub fn processes_in_cgroup(name: &str) -> Vec<i32> {
    processes()
        .into_iter()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .unwrap_or_default()
                .lines()
                .any(|line| line.split('/').any(|part| part == name))
                && runs(*pid)
        })
        .collect()
}
