//! What a container uses and may use, as the files of its control groups say: cgroup2, version 1,
//! or both, where each controller is in one of them.
//!
//! Everybody may read these files, so the server does; nobody is asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use porthole_protocol::id::HostPid;

use crate::world::usage::{Memory, Pids, Processor, Sample};

/// Where a controller's groups are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// Which group is at the mount point.
    root: String,
}

/// Mounted trees of groups.
#[derive(Debug, Default)]
struct Trees {
    unified: Option<Mount>,
    /// By controller.
    legacy: HashMap<String, Mount>,
}

/// As they were when this was first asked.
static TREES: LazyLock<Trees> = LazyLock::new(|| {
    Trees::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
});

impl Trees {
    /// See proc_pid_mountinfo(5).
    fn parse(mountinfo: &str) -> Self {
        let mut trees = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let mut left = left.split(' ').skip(3);
            let (Some(root), Some(point)) = (left.next(), left.next()) else {
                continue;
            };
            let mount = Mount {
                point: point.replace("\\040", " ").into(),
                root: root.replace("\\040", " "),
            };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => trees.unified = Some(mount),
                (Some("cgroup"), Some(controllers)) => {
                    for controller in controllers.split(',') {
                        trees.legacy.insert(controller.to_owned(), mount.clone());
                    }
                }
                _ => {}
            }
        }
        trees
    }
}

impl Mount {
    fn directory(&self, group: &str) -> PathBuf {
        let inside = group
            .strip_prefix(self.root.trim_end_matches('/'))
            .unwrap_or_default();
        self.point.join(inside.trim_start_matches('/'))
    }
}

/// A container's groups.
#[derive(Debug)]
struct Groups<'a> {
    trees: &'a Trees,
    /// `/proc/PID/cgroup` of its first process.
    text: String,
    /// Its identifier.
    id: &'a str,
}

impl Groups<'_> {
    /// The container's own group in a line of the file: of one that makes groups of its own inside
    /// the process may be further down.
    fn own<'b>(&self, path: &'b str) -> &'b str {
        let Some(at) = path.find(self.id) else {
            return path;
        };
        let end = path[at..].find('/').map_or(path.len(), |more| at + more);
        &path[..end]
    }

    fn unified(&self) -> Option<PathBuf> {
        let path = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("0::"))?;
        Some(self.trees.unified.as_ref()?.directory(self.own(path)))
    }

    /// The group of a controller of version 1.
    fn legacy(&self, controller: &str) -> Option<PathBuf> {
        let path = self.text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let mut controllers = controllers.split(',');
            controllers.any(|other| other == controller).then_some(path)
        })?;
        // In a hierarchy that its engine does not use, it is in the group of whoever started it.
        path.contains(self.id).then_some(())?;
        Some(self.trees.legacy.get(controller)?.directory(self.own(path)))
    }
}

fn text(group: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(group.join(file)).ok()
}

fn number(group: &Path, file: &str) -> Option<u64> {
    text(group, file)?.trim().parse().ok()
}

/// A limit; "max", and what version 1 says instead, is none.
fn limit(group: &Path, file: &str) -> Option<u64> {
    number(group, file).filter(|limit| *limit < 1 << 62)
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.trim().parse().ok()
    })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a period")]
fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

fn processor(groups: &Groups<'_>) -> Option<Processor> {
    let unified = groups.unified();
    // That one counts what is used whichever controllers it has.
    let counted = unified.as_ref().and_then(|group| text(group, "cpu.stat"));
    let used_ns = match groups.legacy("cpuacct") {
        Some(group) => number(&group, "cpuacct.usage")?,
        None => field(counted.as_ref()?, "usage_usec")?.saturating_mul(1000),
    };
    let (throttled_ns, cores) = match groups.legacy("cpu") {
        Some(group) => {
            let stat = text(&group, "cpu.stat");
            // A quota of -1 is none.
            let quota = number(&group, "cpu.cfs_quota_us");
            let period = number(&group, "cpu.cfs_period_us");
            (
                stat.and_then(|stat| field(&stat, "throttled_time")),
                quota.zip(period).and_then(|(q, p)| cores(q, p)),
            )
        }
        None => {
            let throttled = counted.and_then(|stat| field(&stat, "throttled_usec"));
            let most = unified.and_then(|group| text(&group, "cpu.max"));
            let most = most.and_then(|text| {
                let (quota, period) = text.trim().split_once(' ')?;
                cores(quota.parse().ok()?, period.parse().ok()?)
            });
            (throttled.map(|us| us.saturating_mul(1000)), most)
        }
    };
    Some(Processor {
        used_ns,
        throttled_ns,
        cores,
    })
}

fn memory(groups: &Groups<'_>) -> Option<Memory> {
    let (group, files) = match groups.legacy("memory") {
        Some(group) => (
            group,
            [
                "memory.usage_in_bytes",
                "memory.max_usage_in_bytes",
                "memory.limit_in_bytes",
                "memory.oom_control",
                "total_inactive_file",
            ],
        ),
        None => (
            groups.unified()?,
            [
                "memory.current",
                "memory.peak",
                "memory.max",
                "memory.events",
                "inactive_file",
            ],
        ),
    };
    let [used, peak, most, events, spare] = files;
    let all = number(&group, used)?;
    let spare = text(&group, "memory.stat").and_then(|stat| field(&stat, spare));
    Some(Memory {
        // As docker stats counts it: without what the kernel takes back first.
        used: all.saturating_sub(spare.unwrap_or(0)),
        cache: spare.unwrap_or(0).min(all),
        peak: number(&group, peak),
        limit: limit(&group, most),
        oom_kills: text(&group, events)
            .and_then(|text| field(&text, "oom_kill"))
            .unwrap_or(0),
    })
}

fn pids(groups: &Groups<'_>) -> Option<Pids> {
    let group = groups.legacy("pids").or_else(|| groups.unified())?;
    Some(Pids {
        now: number(&group, "pids.current")?,
        limit: limit(&group, "pids.max"),
    })
}

/// What the container of this identifier uses, whose first process this is; `None` where it has
/// no group of its own, or has ended.
pub(super) fn sample(id: &str, init: HostPid) -> Option<Sample> {
    let groups = Groups {
        trees: &TREES,
        text: std::fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?,
        id,
    };
    // Another's number by now, or one that shares the group of whoever started it.
    groups.text.contains(id).then_some(())?;
    let sample = Sample {
        at: Instant::now(),
        processor: processor(&groups),
        memory: memory(&groups),
        pids: pids(&groups),
    };
    let nothing = sample.processor.is_none() && sample.memory.is_none() && sample.pids.is_none();
    (!nothing).then_some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 24 0:27 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:30 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn each_controller_is_where_it_is_mounted() {
        let trees = Trees::parse(MOUNTS);
        let groups = |text: &str| Groups {
            trees: &trees,
            text: text.to_owned(),
            id: "c0ffee",
        };
        let text = "5:pids:/docker/abc\n4:memory:/docker/abc/p/c0ffee\n3:cpu,cpuacct:/p/c0ffee/init.scope\n0::/p/docker-c0ffee.scope/x\n";
        let place = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let groups = groups(text);
        assert_eq!(
            place(groups.legacy("memory")).as_deref(),
            Some("/sys/fs/cgroup/memory/p/c0ffee")
        );
        assert_eq!(
            place(groups.legacy("cpuacct")).as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/p/c0ffee")
        );
        assert_eq!(groups.legacy("pids"), None, "of whoever started it");
        assert_eq!(
            place(groups.unified()).as_deref(),
            Some("/sys/fs/cgroup/unified/p/docker-c0ffee.scope")
        );
    }

    /// A tree of cgroup2 with all controllers, which this machine need not have.
    #[test]
    fn the_files_of_cgroup2_are_understood() {
        let directory = tempfile::tempdir().expect("a directory");
        let group = directory.path().join("c0ffee");
        std::fs::create_dir(&group).expect("a group");
        for (file, text) in [
            (
                "cpu.stat",
                "usage_usec 2500\nuser_usec 1\nthrottled_usec 7\n",
            ),
            ("cpu.max", "50000 100000\n"),
            ("memory.current", "1000\n"),
            ("memory.peak", "3000\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 600\ninactive_file 300\n"),
            ("memory.events", "oom 2\noom_kill 1\n"),
            ("pids.current", "4\n"),
            ("pids.max", "256\n"),
        ] {
            std::fs::write(group.join(file), text).expect("a file");
        }
        let trees = Trees {
            unified: Some(Mount {
                point: directory.path().to_owned(),
                root: "/".to_owned(),
            }),
            legacy: HashMap::new(),
        };
        let groups = Groups {
            trees: &trees,
            text: "0::/c0ffee\n".to_owned(),
            id: "c0ffee",
        };
        let used = processor(&groups).expect("a processor");
        assert_eq!((used.used_ns, used.throttled_ns), (2_500_000, Some(7_000)));
        assert_eq!(used.cores, Some(0.5));
        let used = memory(&groups).expect("memory");
        assert_eq!((used.used, used.cache, used.peak), (700, 300, Some(3000)));
        assert_eq!((used.limit, used.oom_kills), (None, 1));
        let used = pids(&groups).expect("processes");
        assert_eq!((used.now, used.limit), (4, Some(256)));
    }
}
