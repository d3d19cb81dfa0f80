//! What the machine's procfs says of a container's init.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;

use porthole_protocol::container::{AbsolutePath, EnvName, IdRange};
use porthole_protocol::id::HostPid;

use super::limits::{self, Limit};
use crate::step::{Step, StepError};

/// More of an environment than this is not read.
const ENVIRONMENT: u64 = 256 * 1024;

/// What confines a process and what it has, see proc_pid_status(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) status: Status,
    pub(crate) uid_map: Vec<IdRange>,
    pub(crate) gid_map: Vec<IdRange>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) oom_score_adj: i32,
    pub(crate) label: Label,
    /// `None` where it may not be read.
    pub(crate) environment: Option<Variables>,
    pub(crate) workdir: Option<AbsolutePath>,
}

/// The security fields of `/proc/PID/status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Status {
    /// Effective, on the machine.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
    pub(crate) inheritable: u64,
    pub(crate) effective: u64,
    pub(crate) bounding: u64,
    pub(crate) ambient: u64,
    pub(crate) no_new_privs: bool,
    /// 0 off, 1 strict, 2 filter.
    pub(crate) seccomp: u8,
    /// How many filters; `None` on kernels that do not tell (before Linux 5.9).
    pub(crate) filters: Option<usize>,
}

/// The label that a security module has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Label {
    /// This machine has no module that labels processes.
    None,
    Is(String),
    Unreadable,
}

/// An environment as a process began with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Variables {
    pub(crate) values: BTreeMap<String, String>,
    /// How many words were no variables, or no text.
    pub(crate) dropped: usize,
}

impl Facts {
    /// Reads all of it. What comes back is of the process that is looked at before and after.
    pub(crate) fn read(pid: HostPid) -> Result<Self, StepError> {
        let file = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read(&path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|error| StepError::new((Step::ReadProcess, path), error))
        };
        let text = file("status")?;
        let status = Status::parse(&text).ok_or_else(|| {
            StepError::new(
                (Step::ReadProcess, format!("/proc/{pid}/status")),
                rustix::io::Errno::INVAL,
            )
        })?;
        Ok(Self {
            status,
            uid_map: id_map(&file("uid_map")?),
            gid_map: id_map(&file("gid_map")?),
            limits: limits::parse(&file("limits")?),
            oom_score_adj: file("oom_score_adj")?.trim().parse().unwrap_or(0),
            label: label(pid),
            environment: environment(pid),
            workdir: fs::read_link(format!("/proc/{pid}/cwd"))
                .ok()
                .and_then(|path| path.to_str()?.to_owned().try_into().ok()),
        })
    }

    /// Its user as its own user namespace numbers it.
    pub(crate) fn uid_inside(&self) -> u32 {
        inside(&self.uid_map, self.status.uid).unwrap_or(OVERFLOW)
    }

    /// Its group as its own user namespace numbers it.
    pub(crate) fn gid_inside(&self) -> u32 {
        inside(&self.gid_map, self.status.gid).unwrap_or(OVERFLOW)
    }

    /// Its supplementary groups as its own user namespace numbers them.
    pub(crate) fn groups_inside(&self) -> Vec<u32> {
        let groups = self.status.groups.iter();
        groups
            .filter_map(|gid| inside(&self.gid_map, *gid))
            .collect()
    }
}

/// What ids without a number in a user namespace are shown as, see user_namespaces(7).
const OVERFLOW: u32 = 65_534;

fn inside(map: &[IdRange], outside: u32) -> Option<u32> {
    map.iter().find_map(|range| range.inside(outside))
}

impl Status {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let set = |name| u64::from_str_radix(field(name)?, 16).ok();
        // Real, effective, saved and file system's.
        let id = |name| field(name)?.split_ascii_whitespace().nth(1)?.parse().ok();
        Some(Self {
            uid: id("Uid")?,
            gid: id("Gid")?,
            groups: field("Groups")?
                .split_ascii_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect(),
            umask: field("Umask").and_then(|text| u32::from_str_radix(text, 8).ok())?,
            inheritable: set("CapInh")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
            no_new_privs: field("NoNewPrivs")? != "0",
            seccomp: field("Seccomp")?.parse().ok()?,
            filters: field("Seccomp_filters").and_then(|text| text.parse().ok()),
        })
    }
}

pub(super) fn id_map(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().map(str::parse);
            let mut next = || words.next()?.ok();
            Some(IdRange(next()?, next()?, next()?))
        })
        .collect()
}

/// `attr/current` answers EINVAL where no module labels processes.
fn label(pid: HostPid) -> Label {
    match fs::read_to_string(format!("/proc/{pid}/attr/current")) {
        Ok(text) => match text.trim_end_matches(['\0', '\n']) {
            "" => Label::None,
            label => Label::Is(label.to_owned()),
        },
        Err(error)
            if matches!(
                error
                    .raw_os_error()
                    .map(rustix::io::Errno::from_raw_os_error),
                Some(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT)
            ) =>
        {
            Label::None
        }
        Err(_) => Label::Unreadable,
    }
}

fn environment(pid: HostPid) -> Option<Variables> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/environ"))
        .ok()?
        .take(ENVIRONMENT)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(Variables::parse(&bytes))
}

impl Variables {
    /// A process may have written anything over its environment: what is no variable is left out.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut variables = Self::default();
        // What was cut off is no variable: the last word ends with a NUL byte too.
        let whole = bytes.iter().rposition(|byte| *byte == 0).map_or(0, |at| at);
        for word in bytes[..whole].split(|byte| *byte == 0) {
            let variable = std::str::from_utf8(word).ok().and_then(|word| {
                let (name, value) = word.split_once('=')?;
                let valid = EnvName::try_from(name.to_owned()).is_ok()
                    && !name.chars().any(|c| c.is_control() || c.is_whitespace());
                valid.then(|| (name.to_owned(), value.to_owned()))
            });
            match variable {
                Some((name, value)) => {
                    // The first of a name is the one that getenv(3) finds.
                    variables.values.entry(name).or_insert(value);
                }
                None if word.is_empty() => {}
                None => variables.dropped += 1,
            }
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let facts = Facts::read(HostPid(std::process::id().cast_signed())).expect("facts");
        assert_eq!(facts.status.uid, rustix::process::geteuid().as_raw());
        assert_eq!(facts.limits.len(), limits::ALL.len());
        assert_eq!(facts.uid_inside(), facts.status.uid);
        let home = std::env::current_dir().expect("a directory");
        assert_eq!(
            facts.workdir.expect("cwd").as_str(),
            home.to_str().expect("text")
        );
    }

    #[test]
    fn a_status_is_read() {
        let text = "Name:\tx\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 11 \n\
            CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
            CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n\
            Seccomp_filters:\t1\n";
        let status = Status::parse(text).expect("a status");
        assert_eq!((status.uid, status.gid, status.umask), (2, 6, 0o022));
        assert_eq!(status.groups, [10, 11]);
        assert_eq!(status.bounding, 0xa804_25fb);
        assert_eq!((status.seccomp, status.filters), (2, Some(1)));
        assert!(!status.no_new_privs);
        assert_eq!(Status::parse("Name:\tx\n"), None);
    }

    #[test]
    fn an_environment_is_hostile() {
        let parsed = Variables::parse(b"A=1\0B=x=y\0nothing\0=z\0\xff=1\0A=2\0C D=1\0\0E=cut off");
        let pairs: Vec<_> = parsed
            .values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x=y")]);
        assert_eq!(parsed.dropped, 4);
        assert_eq!(Variables::parse(b""), Variables::default());
    }

    #[test]
    fn ids_are_mapped() {
        let map = id_map("         0     100000      65536\n");
        assert_eq!(inside(&map, 101_000), Some(1000));
        assert_eq!(inside(&map, 5), None);
    }
}
