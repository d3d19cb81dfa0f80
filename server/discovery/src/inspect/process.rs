//! What a process is and may.

use porthole_protocol::capability;
use porthole_protocol::inspection::{
    Bounded, Capabilities, Group, NamespaceFile, Process as Detail, ResourceLimit,
};
use porthole_protocol::namespace::NamespaceType;
use rustix::fs::readlinkat;

use super::budget::Budget;
use super::target::Process;
use super::users::Maps;
use super::{Trouble, scan};
use crate::{parse, printable};

/// Environments are not read beyond this.
const ENVIRONMENT_LIMIT: usize = 256 * 1024;

/// Whose environment may be read: passwords are often in it, and whoever asks for it is not
/// believed to have the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variables {
    /// Everybody's.
    All,
    /// That of what runs in the groups of this name.
    InGroups {
        /// The name, of one of the directories on the way to them.
        name: String,
        /// Whether also that of who is among other processes, and other files, than the machine's.
        containers: bool,
    },
}

impl Variables {
    pub(super) fn may_be_read(&self, process: &Process) -> bool {
        let Self::InGroups { name, containers } = self else {
            return true;
        };
        let groups = process.text("cgroup").unwrap_or_default();
        let mut parts = groups.lines().flat_map(|line| line.split('/'));
        let apart = |kind: NamespaceType| {
            let own = process.inode(kind.name());
            own.is_some() && own != scan::own(kind)
        };
        parts.any(|part| part == name)
            || (*containers && apart(NamespaceType::Pid) && apart(NamespaceType::Mnt))
    }
}

pub(super) fn read(process: &Process, environment: bool) -> Result<Detail, Trouble> {
    let status = Status(process.text("status")?);
    let maps = Maps::of(process.identity.pid).unwrap_or_default();
    let mut budget = Budget::new();
    let groups = status.field("Groups").unwrap_or_default();
    let groups = groups.split_whitespace().filter_map(|word| {
        let outside = word.parse().ok()?;
        Some(Group {
            outside,
            inside: parse::inside(&maps.groups, outside),
        })
    });
    let set = |name| capability::names(status.hexadecimal(name).unwrap_or(0));
    let number = |name: &str| process.text(name).ok()?.trim().parse().ok();
    Ok(Detail {
        process: process.identity,
        capabilities: Capabilities {
            inheritable: set("CapInh"),
            permitted: set("CapPrm"),
            effective: set("CapEff"),
            bounding: set("CapBnd"),
            ambient: set("CapAmb"),
        },
        seccomp: status.number("Seccomp"),
        seccomp_filters: status.number("Seccomp_filters"),
        no_new_privs: status.number::<u8>("NoNewPrivs").map(|set| set == 1),
        groups: budget.take(2, groups),
        umask: status
            .field("Umask")
            .and_then(|text| u16::from_str_radix(text, 8).ok()),
        limits: process.text("limits")?.lines().filter_map(limit).collect(),
        oom_score: number("oom_score"),
        oom_score_adj: number("oom_score_adj"),
        cwd: link(process, "cwd"),
        exe: link(process, "exe"),
        root: link(process, "root"),
        environment: environment
            .then(|| variables(process, &mut budget))
            .flatten(),
        label: label(process),
        open_files: open_files(process),
        namespaces: namespaces(process),
    })
}

/// `/proc/PID/status`, proc_pid_status(5).
#[derive(Debug)]
pub(super) struct Status(pub(super) String);

impl Status {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (title, value) = line.split_once(':')?;
            (title == name).then(|| value.trim())
        })
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.field(name)?.parse().ok()
    }

    pub(super) fn hexadecimal(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.field(name)?, 16).ok()
    }
}

/// `Max open files            1024                 524288               files     `: the name has 25
/// columns and may hold blanks.
pub(super) fn limit(line: &str) -> Option<ResourceLimit> {
    let (name, rest) = line.split_at_checked(25)?;
    let mut words = rest.split_ascii_whitespace();
    let value = |word: &str| word.parse::<u64>().ok();
    let (soft, hard) = (words.next()?, words.next()?);
    if soft == "Soft" {
        return None;
    }
    Some(ResourceLimit {
        name: name.trim().to_owned(),
        soft: value(soft),
        hard: value(hard),
        unit: words.next().unwrap_or_default().to_owned(),
    })
}

fn link(process: &Process, name: &str) -> Option<String> {
    let target = readlinkat(&process.directory, name, Vec::with_capacity(256)).ok()?;
    Some(printable::line(target.to_bytes()))
}

fn variables(process: &Process, budget: &mut Budget) -> Option<Bounded<String>> {
    let bytes = scan::whole(&process.directory, "environ", ENVIRONMENT_LIMIT).ok()?;
    let variables = bytes
        .split(|byte| *byte == 0)
        .filter(|variable| !variable.is_empty())
        .map(printable::line);
    Some(budget.take(1, variables))
}

fn label(process: &Process) -> Option<String> {
    let bytes = process.file("attr/current").ok()?;
    let text = printable::line(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
    let text = text.trim_end_matches(['\0', '\u{fffd}']);
    (!text.is_empty()).then(|| text.to_owned())
}

fn open_files(process: &Process) -> Option<u32> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let flags = flags | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::empty();
    let directory = rustix::fs::openat(&process.directory, "fd", flags, mode).ok()?;
    let mut count = 0;
    scan::names(&directory, |_| {
        count += 1;
        true
    })
    .ok()?;
    Some(count)
}

fn namespaces(process: &Process) -> Vec<NamespaceFile> {
    let own = NamespaceType::ALL.map(|kind| (kind.name(), kind));
    let children = [
        ("pid_for_children", NamespaceType::Pid),
        ("time_for_children", NamespaceType::Time),
    ];
    own.into_iter()
        .chain(children)
        .map(|(name, kind)| NamespaceFile {
            name: name.to_owned(),
            kind,
            inode: process.inode(name),
            path: process.path(&format!("ns/{name}")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_apart_by_their_columns() {
        let header =
            "Limit                     Soft Limit           Hard Limit           Units     ";
        assert_eq!(limit(header), None);
        let files =
            "Max open files            1024                 unlimited            files     ";
        let found = limit(files).expect("a limit");
        assert_eq!(found.name, "Max open files");
        assert_eq!((found.soft, found.hard), (Some(1024), None));
        assert_eq!(found.unit, "files");
        let nice =
            limit("Max nice priority         0                    0                              ");
        assert_eq!(nice.map(|limit| limit.unit).as_deref(), Some(""));
        assert_eq!(limit("é"), None);
    }
}
