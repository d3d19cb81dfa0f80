//! A process's control groups: where they are, what they limit and what they use.

use porthole_protocol::inspection::{Cgroup, CpuUse, GroupMembership, MemoryUse, PidsUse};
use porthole_protocol::namespace::NamespaceType;
use rustix::fs::CWD;

use super::mountinfo;
use super::target::Process;
use super::{Step, Trouble, scan};
use crate::printable;

/// v1 has no word for "without a limit": the highest number of whole pages stands for it
/// (`PAGE_COUNTER_MAX` in the kernel).
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;

pub(super) fn read(process: &Process) -> Result<Cgroup, Trouble> {
    let namespace = process
        .inode(NamespaceType::Cgroup.name())
        .ok_or(Trouble::ProcessGone(process.identity.pid))?;
    let mounted = mounted()?;
    let text = process.text("cgroup")?;
    let groups: Vec<GroupMembership> = text
        .lines()
        .filter_map(|line| membership(line, &mounted))
        .collect();
    let of = |controller: &str| {
        let v1 = groups
            .iter()
            .find(|group| group.version == 1 && group.controllers.iter().any(|c| c == controller));
        let v2 = groups
            .iter()
            .find(|group| group.version == 2 && group.controllers.iter().any(|c| c == controller));
        v1.or(v2)
            .and_then(|group| Some(Directory(group.directory.clone()?, group.version)))
    };
    let unified = groups
        .iter()
        .find(|group| group.version == 2)
        .and_then(|group| Some(Directory(group.directory.clone()?, 2)));
    Ok(Cgroup {
        namespace,
        memory: of("memory").and_then(|group| group.memory()),
        cpu: cpu(of("cpu"), of("cpuacct"), unified.as_ref()),
        pids: of("pids").and_then(|group| group.pids()),
        frozen: frozen(of("freezer"), unified.as_ref()),
        groups,
    })
}

/// A hierarchy that is mounted here.
#[derive(Debug)]
struct Hierarchy {
    version: u8,
    options: Vec<String>,
    /// The group that is the mount's root; `/` unless this is itself a container.
    root: String,
    path: String,
}

fn mounted() -> Result<Vec<Hierarchy>, Trouble> {
    let path = "/proc/self/mountinfo";
    let bytes =
        scan::whole(CWD, path, 16 * 1024 * 1024).map_err(Trouble::at(Step::ReadProcess, path))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(mountinfo::entries(&bytes)
        .filter_map(|entry| {
            let version = match entry.fstype.as_slice() {
                b"cgroup" => 1,
                b"cgroup2" => 2,
                _ => return None,
            };
            Some(Hierarchy {
                version,
                options: text(&entry.super_options)
                    .split(',')
                    .map(str::to_owned)
                    .collect(),
                root: text(&entry.root),
                path: text(&entry.path),
            })
        })
        .collect())
}

/// A line of `/proc/PID/cgroup`: `4:memory:/path`, `0::/path`.
fn membership(line: &str, mounted: &[Hierarchy]) -> Option<GroupMembership> {
    let mut fields = line.splitn(3, ':');
    let number = fields.next()?;
    let named = fields.next()?;
    let path = fields.next()?;
    let version = if number == "0" && named.is_empty() {
        2
    } else {
        1
    };
    let mut controllers: Vec<String> = named
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let hierarchy = mounted.iter().find(|hierarchy| {
        hierarchy.version == version
            && controllers
                .iter()
                .all(|name| hierarchy.options.contains(name))
    });
    let directory = hierarchy.and_then(|hierarchy| {
        // A group above the root that we see, "/../x", cannot be reached.
        let below = path.strip_prefix(hierarchy.root.trim_end_matches('/'))?;
        (!path.starts_with("/..")).then(|| format!("{}{below}", hierarchy.path))
    });
    if let (2, Some(directory)) = (version, &directory) {
        controllers = scan::host_text(&format!("{directory}/cgroup.controllers"))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    }
    Some(GroupMembership {
        version,
        controllers,
        path: printable::line(path.as_bytes()),
        directory: directory.map(|path| printable::line(path.as_bytes())),
    })
}

/// A group's directory and the version of its hierarchy.
#[derive(Debug)]
struct Directory(String, u8);

impl Directory {
    fn text(&self, file: &str) -> Option<String> {
        scan::host_text(&format!("{}/{file}", self.0)).ok()
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    /// A limit; `max` is none.
    fn limit(&self, file: &str) -> Option<u64> {
        self.number(file).filter(|limit| *limit < V1_UNLIMITED)
    }

    /// The number after this word in a file of lines with a word and a number each.
    fn field(&self, file: &str, word: &str) -> Option<u64> {
        let text = self.text(file)?;
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == word).then(|| value.trim().parse().ok())?
        })
    }

    fn memory(&self) -> Option<MemoryUse> {
        if self.1 == 2 {
            return Some(MemoryUse {
                current: self.number("memory.current")?,
                peak: self.number("memory.peak"),
                max: self.limit("memory.max"),
                swap: self.number("memory.swap.current"),
                swap_max: self.limit("memory.swap.max"),
            });
        }
        let current = self.number("memory.usage_in_bytes")?;
        let max = self.limit("memory.limit_in_bytes");
        // These count memory and swap together.
        let both = self.number("memory.memsw.usage_in_bytes");
        let both_max = self.limit("memory.memsw.limit_in_bytes");
        Some(MemoryUse {
            current,
            peak: self.number("memory.max_usage_in_bytes"),
            max,
            swap: both.map(|both| both.saturating_sub(current)),
            swap_max: both_max.and_then(|both| Some(both.saturating_sub(max?))),
        })
    }

    fn pids(&self) -> Option<PidsUse> {
        Some(PidsUse {
            current: self.number("pids.current")?,
            max: self.limit("pids.max"),
        })
    }
}

fn cpu(
    quota: Option<Directory>,
    account: Option<Directory>,
    unified: Option<&Directory>,
) -> Option<CpuUse> {
    match quota {
        Some(group) if group.1 == 1 => {
            let period = group.number("cpu.cfs_period_us")?;
            // -1 is none.
            let limit = group.number("cpu.cfs_quota_us");
            Some(CpuUse {
                usage_us: account?.number("cpuacct.usage")? / 1000,
                cpus: limit.map(|limit| limit as f64 / period.max(1) as f64),
                throttled: group.field("cpu.stat", "nr_throttled").unwrap_or(0),
                throttled_us: group.field("cpu.stat", "throttled_time").unwrap_or(0) / 1000,
            })
        }
        // cpu.stat is there without the controller too.
        group => {
            let group = group.as_ref().or(unified)?;
            let max = group.text("cpu.max").unwrap_or_default();
            let mut words = max.split_whitespace();
            let limit = words.next().and_then(|word| word.parse::<u64>().ok());
            let period = words.next().and_then(|word| word.parse::<u64>().ok());
            Some(CpuUse {
                usage_us: group.field("cpu.stat", "usage_usec")?,
                cpus: limit.map(|limit| limit as f64 / period.unwrap_or(100_000).max(1) as f64),
                throttled: group.field("cpu.stat", "nr_throttled").unwrap_or(0),
                throttled_us: group.field("cpu.stat", "throttled_usec").unwrap_or(0),
            })
        }
    }
}

fn frozen(v1: Option<Directory>, unified: Option<&Directory>) -> Option<bool> {
    let v1 = v1
        .filter(|group| group.1 == 1)
        .and_then(|group| group.text("freezer.state"))
        .map(|state| state.trim() == "FROZEN");
    let v2 = unified
        .and_then(|group| group.field("cgroup.events", "frozen"))
        .map(|frozen| frozen == 1);
    match (v1, v2) {
        (None, None) => None,
        (v1, v2) => Some(v1.unwrap_or(false) || v2.unwrap_or(false)),
    }
}
