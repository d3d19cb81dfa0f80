//! How this machine has its control groups: one tree (v2), several (v1), or both (hybrid).

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use porthole_protocol::keeper::Failure;
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::{Cgroups, Controller, Tree, unsupported};
use crate::step::{Number, Step, StepError};

/// The leaf that `serve` moves into on a machine with cgroup2 alone.
const LEAF: &str = "porthole-serve";

/// The slice that systemd starts Porthole's service in, and nothing else. Containers' groups lie in
/// it, beside the service's: below that they would keep systemd from starting the service again, as
/// it puts a new process into the service's own group, which may hold none once controllers are
/// handed on there (systemd has DelegateSubgroup= against that only since 254).
const SLICE: &str = "porthole.slice";

/// A mounted tree, as `/proc/self/mountinfo` has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) point: String,
    /// Which group is at the mount point.
    pub(super) root: String,
    /// `None`: cgroup2. Else the controllers of a v1 tree.
    pub(super) controllers: Option<Vec<String>>,
}

pub(super) fn mounted(mountinfo: &str) -> Vec<Mounted> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, point) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let controllers = match right.next()? {
                "cgroup2" => None,
                "cgroup" => Some(right.nth(1)?.split(',').map(str::to_owned).collect()),
                _ => return None,
            };
            Some(Mounted {
                point: unescape(point),
                root: unescape(root),
                controllers,
            })
        })
        .collect()
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
pub(super) fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// The group that this process is in: of the cgroup2 tree, or of the v1 tree with a controller.
pub(super) fn own_path<'a>(cgroup: &'a str, controller: Option<&str>) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = match controller {
            None => number == "0" && controllers.is_empty(),
            Some(name) => controllers.split(',').any(|other| other == name),
        };
        found.then_some(path)
    })
}

/// The group below which the instance's directory is to be, for a process in this one.
pub(super) fn base_of(own: &str) -> &str {
    let own = own.strip_suffix(&format!("/{LEAF}")).unwrap_or(own);
    match own.rsplit_once('/') {
        Some((slice, _)) if Path::new(slice).ends_with(SLICE) => slice,
        _ => own,
    }
}

/// Where a group is below a mount that may show only a part of its tree.
fn below_mount(mount: &Mounted, path: &str) -> String {
    // A mount that shows another part of the tree: stay at its top.
    let inside = path
        .strip_prefix(mount.root.trim_end_matches('/'))
        .unwrap_or_default();
    format!("{}{}", mount.point, inside.trim_end_matches('/'))
}

fn read(path: &str) -> Result<String, StepError> {
    fs::read_to_string(path)
        .map_err(|error| StepError::new((Step::FindCgroups, path), Number::from(error)))
}

fn open_tree(place: &str) -> Result<OwnedFd, StepError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(place, flags, Mode::empty())
        .map_err(|errno| StepError::new((Step::FindCgroups, place), errno))
}

/// A mount of the cgroup2 tree that is attached nowhere and held by its descriptor.
pub(super) fn mount_unified() -> Result<OwnedFd, Failure> {
    let mount = || {
        let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let mount = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        openat(
            &mount,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    mount().map_err(|errno| {
        unsupported(
            "this kernel has no cgroup2; Porthole needs Linux 6.1 or newer with CONFIG_CGROUPS",
        )
        .errno(errno.raw_os_error())
    })
}

pub(super) fn detect(instance: &str) -> Result<(Cgroups, Vec<String>), Failure> {
    let (mountinfo, cgroup) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let mounts = mounted(&mountinfo);
    let own = own_path(&cgroup, None).unwrap_or("/");
    let own = base_of(own);
    let unified_mount = mounts.iter().find(|mount| mount.controllers.is_none());
    let (base, place, path) = match unified_mount {
        Some(mount) => {
            let place = below_mount(mount, own);
            (
                open_tree(&place)?,
                place,
                own.trim_end_matches('/').to_owned(),
            )
        }
        None => (mount_unified()?, "cgroup2".to_owned(), String::new()),
    };
    let available = openat(
        &base,
        "cgroup.controllers",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map(fs::File::from)
    .ok()
    .and_then(|file| std::io::read_to_string(file).ok())
    .unwrap_or_default();
    let mut unified = Tree {
        base,
        place,
        controllers: Vec::new(),
    };
    let mut legacy: Vec<Tree> = Vec::new();
    let mut lacking = Vec::new();
    for controller in Controller::ALL {
        let name = controller.name();
        if available
            .split_ascii_whitespace()
            .any(|other| other == name)
        {
            unified.controllers.push(controller);
            continue;
        }
        let mount = mounts.iter().find(|mount| {
            let listed = mount.controllers.as_ref();
            listed.is_some_and(|list| list.iter().any(|other| other == name))
        });
        let Some(mount) = mount else {
            lacking.push(sentence(controller));
            continue;
        };
        let place = below_mount(mount, base_of(own_path(&cgroup, Some(name)).unwrap_or("/")));
        match legacy.iter_mut().find(|tree| tree.place == place) {
            Some(tree) => tree.controllers.push(controller),
            None => legacy.push(Tree {
                base: open_tree(&place)?,
                place,
                controllers: vec![controller],
            }),
        }
    }
    let cgroups = Cgroups {
        instance: format!("porthole-{instance}"),
        unified,
        unified_path: path,
        legacy,
    };
    Ok((cgroups, lacking))
}

fn sentence(controller: Controller) -> String {
    let (what, how) = match controller {
        Controller::Memory => (
            "memory",
            "boot the kernel with cgroup_enable=memory, or let the group that Porthole runs in have the memory controller",
        ),
        Controller::Cpu => (
            "cpu",
            "mount the cpu controller, or let the group that Porthole runs in have it",
        ),
        Controller::Pids => (
            "pids",
            "mount the pids controller, or let the group that Porthole runs in have it",
        ),
    };
    format!("Limits of {what} are not in force: this machine offers no {what} controller; {how}.")
}

pub(super) fn move_to_leaf() -> Result<(), StepError> {
    let (mountinfo, cgroup) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let mounts = mounted(&mountinfo);
    let unified = mounts.iter().find(|mount| mount.controllers.is_none());
    let (Some(mount), Some(own)) = (unified, own_path(&cgroup, None)) else {
        return Ok(());
    };
    let place = below_mount(mount, own);
    let controllers = read(&format!("{place}/cgroup.controllers"))?;
    let limits = Controller::ALL.iter().any(|wanted| {
        controllers
            .split_ascii_whitespace()
            .any(|name| name == wanted.name())
    });
    // The root group may hold processes and hand on controllers at once; in the slice the service's
    // own group hands on none.
    if !limits || own == "/" || Path::new(own).ends_with(LEAF) || base_of(own) != own {
        return Ok(());
    }
    let leaf = format!("{place}/{LEAF}");
    if let Err(error) = fs::create_dir(&leaf)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(StepError::new((Step::MakeCgroup, &leaf), error));
    }
    let members = format!("{leaf}/cgroup.procs");
    fs::write(&members, "0").map_err(|error| StepError::new((Step::JoinCgroup, &members), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 24 0:27 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw
33 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:30 / /sys/fs/cgroup/me\\040mory rw - cgroup cgroup rw,memory
";

    #[test]
    fn trees_are_read_from_mountinfo() {
        let all = mounted(HYBRID);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].controllers, None);
        assert_eq!(all[1].root, "/docker/abc");
        assert_eq!(all[2].point, "/sys/fs/cgroup/me mory");
    }

    #[test]
    fn a_mount_of_a_part_shows_groups_below_that_part() {
        let all = mounted(HYBRID);
        assert_eq!(
            below_mount(&all[1], "/docker/abc/x"),
            "/sys/fs/cgroup/cpu,cpuacct/x"
        );
        assert_eq!(
            below_mount(&all[1], "/docker/abc"),
            "/sys/fs/cgroup/cpu,cpuacct"
        );
        assert_eq!(below_mount(&all[0], "/"), "/sys/fs/cgroup/unified");
        assert_eq!(below_mount(&all[0], "/a/b"), "/sys/fs/cgroup/unified/a/b");
    }

    #[test]
    fn containers_lie_beside_the_leaf_or_the_service_and_not_in_it() {
        for (own, base) in [
            ("/", "/"),
            ("/user.slice/a.scope", "/user.slice/a.scope"),
            ("/a.scope/porthole-serve", "/a.scope"),
            ("/porthole.slice/porthole.service", "/porthole.slice"),
            ("/x/porthole.slice/porthole.service", "/x/porthole.slice"),
            (
                "/notporthole.slice/a.service",
                "/notporthole.slice/a.service",
            ),
            ("/porthole.slice", "/porthole.slice"),
        ] {
            assert_eq!(base_of(own), base, "{own}");
        }
    }

    #[test]
    fn a_process_has_a_group_in_each_tree() {
        let text = "9:cpu,cpuacct:/docker/abc\n4:memory:/m:x\n0::/user.slice\n";
        assert_eq!(own_path(text, None), Some("/user.slice"));
        assert_eq!(own_path(text, Some("cpu")), Some("/docker/abc"));
        assert_eq!(own_path(text, Some("memory")), Some("/m:x"));
        assert_eq!(own_path(text, Some("pids")), None);
    }
}
