//! Whether a container holds anything back from its root: a session in one that does not is as
//! good as a root shell of the machine, whatever it is confined by.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::disks::{Allowed, Disks};
use super::facts::Facts;
use crate::confinement::CAPABILITIES;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// A directory as nothing else is: its file system and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directory(u64, u64);

impl Directory {
    pub(crate) fn of(open: impl AsFd) -> Result<Self, Errno> {
        let status = rustix::fs::fstat(open)?;
        Ok(Self(status.st_dev, status.st_ino))
    }

    /// The root directory of whoever calls.
    pub(crate) fn root() -> Result<Self, Errno> {
        let status = rustix::fs::stat("/")?;
        Ok(Self(status.st_dev, status.st_ino))
    }
}

/// Where the mount namespace of init begins at the machine's root directory, and init has another
/// one: chroot(2) keeps nobody in who may call it too.
const CHANGED_ROOT: &str = "its first process has only changed its root directory, and the machine's own files are around it";

/// What is said where [`reason`] has one, and root's policy does not let that be.
pub(crate) fn refusal(why: &str) -> Failure {
    Failure::new(
        FailureCode::Forbidden,
        format!(
            "this container holds hardly anything back: {why}. Whoever joins it as its init is can be root of the machine; root's policy allows it by join_privileged = true"
        ),
    )
    .stage(Stage::Identity)
}

/// What only who is in a container's control groups, mounts and users can tell.
#[derive(Debug)]
pub(crate) struct Guard {
    /// What must not turn out to be where the mounts of init begin.
    machines: Directory,
    disks: Disks,
    /// Whether its root can make a node of any device, and open that.
    makes_nodes: bool,
}

impl Guard {
    /// For a container with this init, prepared on the machine's side. `machines` is the machine's
    /// root directory.
    pub(crate) fn new(
        machines: Directory,
        facts: &Facts,
        is_machines_root: bool,
        trace: &mut Recorder,
    ) -> Result<Self, StepError> {
        Ok(Self {
            machines,
            disks: Disks::find(trace)?,
            makes_nodes: is_machines_root
                && facts.status.bounding & CapabilitySet::MKNOD.bits() != 0,
        })
    }

    /// What has to stay open until [`Guard::in_groups`] has been asked.
    pub(crate) fn open(&self) -> BorrowedFd<'_> {
        self.disks.open()
    }

    /// Refuses in the container's control groups, as the machine's root still.
    pub(crate) fn in_groups(&self, trace: &mut Recorder) -> Result<(), Failure> {
        if !self.makes_nodes {
            return Ok(());
        }
        let mut allowed = Allowed::Nothing;
        trace.step(Step::FindDisks, "access(node, R_OK) of each disk", || {
            allowed = self.disks.allowed();
            Ok::<_, Errno>(())
        })?;
        match allowed {
            Allowed::Nothing => Ok(()),
            Allowed::Disk(name) => Err(refusal(&format!(
                "its root is the machine's, may make devices (CAP_MKNOD), and its control group lets it open the machine's disk {name}"
            ))),
            Allowed::Unknown => Err(refusal(
                "its root is the machine's and may make devices (CAP_MKNOD), and whether its control group lets it open the machine's disks cannot be told, since Porthole itself does not see them or may make no node of one",
            )),
        }
    }

    /// Refuses where setns(2) has led to, which is where the mounts begin, whatever root directory
    /// init has.
    pub(crate) fn in_mounts(&self) -> Result<(), Failure> {
        let begins =
            Directory::root().map_err(|errno| StepError::new((Step::OpenRoot, "/"), errno))?;
        if begins == self.machines {
            return Err(refusal(CHANGED_ROOT));
        }
        Ok(())
    }

    /// Refuses in the container's files, as its root.
    pub(crate) fn in_files(&self, root: &OwnedFd) -> Result<(), Failure> {
        match self.disks.seen(root) {
            Some(path) => Err(refusal(&format!(
                "its root can open {path}, which is a disk of the machine"
            ))),
            None => Ok(()),
        }
    }
}

/// Whether root in a container is the machine's own.
pub(crate) fn is_machines_root(
    facts: &Facts,
    namespaces: &NamespaceSet,
    host: &NamespaceSet,
) -> bool {
    let maps_root = facts.uid_map.iter().any(|range| range.inside(0).is_some());
    namespaces.user == host.user || maps_root
}

/// What the machine has open for everybody in its network namespace.
pub(crate) struct Machine<'a> {
    /// Whether its root directory is the container's too.
    pub(crate) shares_root: bool,
    /// Its `/proc/net/unix`.
    pub(crate) sockets: &'a str,
}

/// Why a session that is confined as this init is would hardly be confined; `None` where it is. A
/// sentence's end.
pub(crate) fn reason(
    facts: &Facts,
    namespaces: &NamespaceSet,
    host: &NamespaceSet,
    machine: &Machine<'_>,
    mountinfo: &str,
) -> Option<String> {
    let hosts = |kind| namespaces.get(kind) == host.get(kind);
    // A mount namespace alone, as unshare(1) makes it, takes no file away.
    if hosts(NamespaceType::Mnt) || machine.shares_root {
        return Some("it has the machine's own files".to_owned());
    }
    if hosts(NamespaceType::Pid) {
        return Some("it is among the machine's own processes".to_owned());
    }
    if !is_machines_root(facts, namespaces, host) {
        // What it has of capabilities ends at its user namespace, and no user in it is root outside.
        return None;
    }
    let more = facts.status.bounding & !CAPABILITIES.bits();
    if more != 0 {
        return Some(format!(
            "its root is the machine's, with more than Docker's default capabilities ({more:#x} beyond them)"
        ));
    }
    if facts.status.seccomp == 0 {
        return Some("its root is the machine's, and no system call is filtered".to_owned());
    }
    if let Some(point) = open_settings(mountinfo) {
        return Some(format!(
            "its root is the machine's, and can write what the kernel is set by, below {point}: which program it starts when another one crashes, among it"
        ));
    }
    hosts(NamespaceType::Net)
        .then(|| in_network(facts, machine.sockets))
        .flatten()
}

/// What the machine's root can do in the machine's network, of its default capabilities: listen to
/// all of it, and speak to what knows its clients by their user alone (CVE-2020-15257).
fn in_network(facts: &Facts, sockets: &str) -> Option<String> {
    if facts.status.bounding & CapabilitySet::NET_RAW.bits() != 0 {
        return Some(
            "its root is the machine's, in the machine's network, and can listen to all that passes there (CAP_NET_RAW): what people send to this dashboard over the loopback interface, among it"
                .to_owned(),
        );
    }
    listening(sockets).map(|name| {
        format!(
            "its root is the machine's, in the machine's network, and speaks as such to programs that listen on a name without a file there, such as {name}"
        )
    })
}

/// An abstract socket that somebody listens on, by `/proc/net/unix`: unix(7).
pub(super) fn listening(sockets: &str) -> Option<String> {
    sockets.lines().find_map(|line| {
        // Num RefCount Protocol Flags Type St Inode Path; a name may hold spaces.
        let mut fields = line.split_ascii_whitespace();
        let listens = fields.nth(3)? == "00010000";
        let name = fields
            .nth(3)
            .filter(|name| listens && name.starts_with('@'))?;
        let shown = name.chars().filter(|c| !c.is_control()).take(64).collect();
        Some(shown)
    })
}

/// Where files by which the kernel is set can be written: they ask for no capability, but for the
/// machine's root, see core(5) and `/sys/kernel/uevent_helper`. Engines make them read-only.
pub(super) fn open_settings(mountinfo: &str) -> Option<String> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(Mount::parse).collect();
    let written = |mount: &&Mount<'_>| mount.writable && mount.root == "/";
    mounts.iter().filter(written).find_map(|mount| {
        let settings = match mount.fstype {
            "proc" => format!("{}/sys", mount.point.trim_end_matches('/')),
            "sysfs" => return Some(mount.point.to_owned()),
            _ => return None,
        };
        // What was mounted last over it counts.
        let over = mounts.iter().rev().find(|over| over.point == settings);
        over.is_none_or(|over| over.writable && over.fstype == "proc")
            .then_some(settings)
    })
}

/// A line of `/proc/PID/mountinfo`, see proc_pid_mountinfo(5).
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    writable: bool,
    fstype: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut words = mount.split(' ').skip(3);
        let (root, point, options) = (words.next()?, words.next()?, words.next()?);
        let mut system = system.split(' ');
        let (fstype, _, whole) = (system.next()?, system.next(), system.next());
        let read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Self {
            root,
            point,
            writable: !read_only(options) && !whole.is_some_and(read_only),
            fstype,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Label, Status};
    use super::*;
    use porthole_protocol::container::IdRange;
    use porthole_protocol::id::NamespaceInode;
    use porthole_protocol::namespace::PerNamespace;

    /// Docker's, of what counts.
    const MOUNTS: &str = "\
        1 0 0:30 / / rw,relatime - overlay overlay rw,lowerdir=a\n\
        2 1 0:31 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
        3 1 0:32 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro\n\
        4 2 0:31 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw\n\
        5 2 0:31 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw\n";

    #[test]
    fn what_the_kernel_is_set_by_is_not_written() {
        let (facts, own, host) = docker();
        let why = |mounts: &str| reason(&facts, &own, &host, &MACHINE, mounts);
        assert_eq!(why(MOUNTS), None);
        let settings = MOUNTS.lines().last().expect("a line");
        let open = MOUNTS.replace(settings, "");
        assert!(why(&open).expect("a reason").contains("/proc/sys"));
        let again = format!("{MOUNTS}6 5 0:31 /sys /proc/sys rw - proc proc rw\n");
        assert!(why(&again).is_some(), "the last mount is what shows");
        let empty = format!("{MOUNTS}6 5 0:40 / /proc/sys rw - tmpfs tmpfs rw\n");
        assert_eq!(why(&empty), None);
        let elsewhere = format!("{MOUNTS}6 1 0:31 / /host/proc rw master:1 - proc proc rw\n");
        assert!(why(&elsewhere).expect("a reason").contains("/host/proc"));
        let devices = MOUNTS.replace(
            "/sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro",
            "/sys rw - sysfs sysfs rw",
        );
        assert!(why(&devices).is_some());
        let part = format!(
            "{MOUNTS}6 3 0:32 /devices/virtual/net /sys/devices/virtual/net rw - sysfs sysfs rw\n"
        );
        assert_eq!(why(&part), None, "as LXC has it");
        // Where nobody in it is the machine's root, nobody writes them.
        let mut users = own;
        users.user = Some(NamespaceInode(7));
        let mut mapped = facts.clone();
        mapped.uid_map = vec![IdRange(0, 100_000, 65_536)];
        assert_eq!(reason(&mapped, &users, &host, &MACHINE, &open), None);
    }

    /// Nobody listens on a name alone.
    const MACHINE: Machine<'static> = Machine {
        shares_root: false,
        sockets: "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/x.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 4712 @/containerd-shim/1\n",
    };

    #[test]
    fn the_machines_network_is_the_machines_where_its_root_can_use_it() {
        let (mut facts, mut own, host) = docker();
        let of = |facts: &Facts, own: &NamespaceSet, sockets: &str| {
            let machine = Machine { sockets, ..MACHINE };
            reason(facts, own, &host, &machine, MOUNTS)
        };
        let listens = MACHINE
            .sockets
            .replace("00000000 0001 03", "00010000 0001 01");
        assert_eq!(
            of(&facts, &own, &listens),
            None,
            "it has a network of its own"
        );
        own.net = host.net;
        let raw = of(&facts, &own, MACHINE.sockets).expect("a reason");
        assert!(raw.contains("CAP_NET_RAW"), "{raw}");
        facts.status.bounding &= !CapabilitySet::NET_RAW.bits();
        assert_eq!(of(&facts, &own, MACHINE.sockets), None, "control");
        let named = of(&facts, &own, &listens).expect("a reason");
        assert!(named.contains("@/containerd-shim/1"), "{named}");
        // Where nobody in it is the machine's root, it has no rights over that network.
        own.user = Some(NamespaceInode(7));
        facts.uid_map = vec![IdRange(0, 100_000, 65_536)];
        facts.status.bounding = u64::MAX;
        assert_eq!(of(&facts, &own, &listens), None);
    }

    fn docker() -> (Facts, NamespaceSet, NamespaceSet) {
        let host = PerNamespace::build(|kind| Some(NamespaceInode(kind as u64)));
        let mut own = PerNamespace::build(|kind| Some(NamespaceInode(100 + kind as u64)));
        own.user = host.user;
        own.time = host.time;
        let facts = Facts {
            status: Status {
                bounding: CAPABILITIES.bits(),
                seccomp: 2,
                ..Status::default()
            },
            uid_map: vec![IdRange(0, 0, u32::MAX)],
            gid_map: vec![IdRange(0, 0, u32::MAX)],
            limits: Vec::new(),
            oom_score_adj: 0,
            label: Label::None,
            environment: None,
            workdir: None,
        };
        (facts, own, host)
    }

    #[test]
    fn dockers_defaults_hold_something_back() {
        let (facts, own, host) = docker();
        assert_eq!(reason(&facts, &own, &host, &MACHINE, MOUNTS), None);
    }

    #[test]
    fn whatever_takes_a_wall_away_is_told() {
        let (facts, own, host) = docker();
        for kind in [NamespaceType::Mnt, NamespaceType::Pid] {
            let mut shared = own;
            *shared.get_mut(kind) = *host.get(kind);
            assert!(
                reason(&facts, &shared, &host, &MACHINE, MOUNTS).is_some(),
                "{kind}"
            );
        }
        let shared = Machine {
            shares_root: true,
            ..MACHINE
        };
        assert!(
            reason(&facts, &own, &host, &shared, MOUNTS).is_some(),
            "its root"
        );
        let mut unfiltered = facts.clone();
        unfiltered.status.seccomp = 0;
        assert!(reason(&unfiltered, &own, &host, &MACHINE, MOUNTS).is_some());
        let mut capable = facts.clone();
        capable.status.bounding |= 1 << 21;
        assert!(
            reason(&capable, &own, &host, &MACHINE, MOUNTS)
                .expect("a reason")
                .contains("0x200000")
        );
        // All of that ends at a user namespace, unless the machine's root is in it.
        let mut users = own;
        users.user = Some(NamespaceInode(7));
        capable.status.seccomp = 0;
        assert!(reason(&capable, &users, &host, &MACHINE, MOUNTS).is_some());
        capable.uid_map = vec![IdRange(0, 100_000, 65_536)];
        assert_eq!(reason(&capable, &users, &host, &MACHINE, MOUNTS), None);
    }
}
