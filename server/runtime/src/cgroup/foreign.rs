//! A session's group in a container that Porthole did not make.
//!
//! In the cgroup2 tree it is a child of the group that the container's init is in, so that the
//! container's limits hold and the session can be killed as a whole; in each v1 tree it is init's
//! group itself. Which these are is told by `/proc/PID/cgroup`, from the root of our own control
//! group namespace.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use porthole_protocol::id::{HostPid, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::session::FOREIGN_GROUP;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::detect::{mount_unified, mounted};
use super::{Cgroups, Entrance, make, open_directory, read, remove_directory, write};
use crate::step::{Step, StepError};

/// A session's group below that of another engine's container.
#[derive(Debug)]
pub struct ForeignGroup {
    /// The container's group in the cgroup2 tree.
    parent: OwnedFd,
    /// The name of the session's in it.
    name: String,
    /// The container's group, from the cgroup2 tree's root.
    path: String,
    tasks: Vec<(String, OwnedFd)>,
    /// v1 trees that init is in a group of, and that are not mounted where they could be reached.
    missing: Vec<String>,
    /// What was said of init's groups when they were looked for.
    said: String,
}

/// A line of `/proc/PID/cgroup`, see cgroups(7).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Membership<'a> {
    /// Empty: the cgroup2 tree. Else the controllers of a v1 tree, or its `name=`.
    pub(super) controllers: &'a str,
    pub(super) path: &'a str,
}

pub(super) fn memberships(text: &str) -> impl Iterator<Item = Membership<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Membership { controllers, path })
    })
}

/// A path below a tree's root, as openat(2) takes it: `.` for the root.
pub(super) fn below(path: &str) -> Result<&str, Failure> {
    // A group outside our own control group namespace is told by `..`.
    if path.split('/').any(|part| part == "..") {
        return Err(super::unsupported(
            "the container's control group lies outside those that Porthole sees; run Porthole in the machine's own control group namespace",
        ));
    }
    Ok(match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    })
}

impl Cgroups {
    /// Finds the groups that a process is in, for a session beside it. Makes nothing.
    ///
    /// # Errors
    /// Where it is one of this instance's own, or its groups cannot be reached.
    pub fn of_process(&self, pid: HostPid, session: &SessionId) -> Result<ForeignGroup, Failure> {
        let file = format!("/proc/{pid}/cgroup");
        let text = fs::read_to_string(&file).map_err(|error| {
            match StepError::new((Step::ReadProcess, &file), error) {
                error if error.is(Errno::NOENT) || error.is(Errno::SRCH) => Failure::new(
                    FailureCode::WrongState,
                    "the container does not run any more: its init has ended",
                )
                .stage(Stage::Identity),
                error => error.into(),
            }
        })?;
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| StepError::new(Step::FindCgroups, error))?;
        let mounts = mounted(&mountinfo);
        let mut group = None;
        let (mut tasks, mut missing) = (Vec::new(), Vec::new());
        for member in memberships(&text) {
            if self.is_own(member.path) {
                return Err(Failure::new(
                    FailureCode::Forbidden,
                    "this process belongs to a container of Porthole's own; open a session in that container instead",
                )
                .stage(Stage::Identity));
            }
            if member.controllers.is_empty() {
                let parent = open_directory(mount_unified()?, below(member.path)?, "cgroup2")?;
                group = Some((parent, member.path.trim_end_matches('/').to_owned()));
                continue;
            }
            let mount = mounts.iter().find(|mount| {
                let listed = mount.controllers.as_ref();
                mount.root == "/"
                    && listed.is_some_and(|list| {
                        member
                            .controllers
                            .split(',')
                            .all(|name| list.iter().any(|other| other == name))
                    })
            });
            match mount {
                Some(mount) => {
                    let path = format!("{}/{}/tasks", mount.point, below(member.path)?);
                    let file =
                        rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                            .map_err(|errno| StepError::new((Step::OpenCgroup, &path), errno))?;
                    tasks.push((path, file));
                }
                None => missing.push(member.controllers.to_owned()),
            }
        }
        let (parent, path) =
            group.ok_or_else(|| super::unsupported("this kernel has no cgroup2"))?;
        Ok(ForeignGroup {
            parent,
            name: format!("{FOREIGN_GROUP}{session}"),
            path,
            tasks,
            missing,
            said: text,
        })
    }

    /// Whether a path of any tree leads into a group of this instance's.
    fn is_own(&self, path: &str) -> bool {
        path.split('/').any(|part| part == self.instance)
    }

    /// Kills the session's group that [`ForeignGroup::path`] has told of, and removes it if it is
    /// empty already. It is no error that there is none. Waits for nothing.
    pub fn kill_foreign(path: &str) -> Result<(), Failure> {
        let Some((parent, name)) = path
            .rsplit_once('/')
            .filter(|(_, name)| name.starts_with(FOREIGN_GROUP))
        else {
            return Ok(());
        };
        let parent = match open_directory(mount_unified()?, below(parent)?, "cgroup2") {
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            answer => answer?,
        };
        match open_directory(&parent, name, path) {
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            answer => write(&answer?, "cgroup.kill", "1", Step::KillCgroup)?,
        }
        match remove_directory(&parent, name, 1) {
            Err(error) if error.is(Errno::BUSY) => Ok(()),
            answer => Ok(answer?),
        }
    }
}

impl ForeignGroup {
    /// The session's group, from the cgroup2 tree's root.
    pub fn path(&self) -> String {
        format!("{}/{}", self.path, self.name)
    }

    /// The container's own group, from the cgroup2 tree's root; empty for the root.
    pub(crate) fn container_path(&self) -> &str {
        &self.path
    }

    /// Whether this process is in these groups now. They were found by a number alone, which was
    /// another process's then, perhaps one that was less confined or Porthole's own.
    pub(crate) fn holds(&self, pid: HostPid) -> bool {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text == self.said)
    }

    /// v1 trees that the session cannot be put into the container's group of.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Makes the session's group.
    pub fn create(&self) -> Result<(), Failure> {
        Ok(make(&self.parent, &self.name, &self.path)?)
    }

    /// Kills every process of the session.
    pub fn kill(&self) -> Result<(), Failure> {
        match self.open() {
            Ok(group) => Ok(write(&group, "cgroup.kill", "1", Step::KillCgroup)?),
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many processes of the session there are.
    pub fn count(&self) -> usize {
        self.open()
            .and_then(|group| read(&group, "cgroup.procs", Step::ReadCgroup))
            .map_or(0, |text| text.lines().count())
    }

    /// Removes the session's group once it is empty; `false` while processes are in it.
    pub fn remove(&self) -> Result<bool, Failure> {
        match remove_directory(&self.parent, &self.name, super::REMOVE_TRIES_ABROAD) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::BUSY) => Ok(false),
            // It went with its parent, of which only this descriptor is left.
            Err(error) if error.is(Errno::NODEV) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The way into it.
    pub(crate) fn entrance(&self) -> Result<Entrance, StepError> {
        let mut tasks = Vec::with_capacity(self.tasks.len());
        for (path, file) in &self.tasks {
            let copy = file
                .try_clone()
                .map_err(|error| StepError::new((Step::OpenCgroup, path), error))?;
            tasks.push((path.clone(), copy));
        }
        Ok(Entrance {
            unified: self.open()?,
            tasks,
        })
    }

    /// Whether the container stands still, by either version's freezer.
    pub(crate) fn is_frozen(&self) -> bool {
        let unified = openat(
            &self.parent,
            "cgroup.events",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map(fs::File::from)
        .ok()
        .and_then(|file| std::io::read_to_string(file).ok())
        .is_some_and(|text| text.lines().any(|line| line == "frozen 1"));
        let legacy = self.tasks.iter().any(|(path, _)| {
            let state = Path::new(path).with_file_name("freezer.state");
            fs::read_to_string(state).is_ok_and(|state| state.trim() != "THAWED")
        });
        unified || legacy
    }

    fn open(&self) -> Result<OwnedFd, StepError> {
        open_directory(&self.parent, &self.name, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_are_read() {
        let text = "4:memory:/docker/a\n1:name=systemd:/docker/a\n0::/docker/a:b\n";
        let all: Vec<_> = memberships(text).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].controllers, "memory");
        assert_eq!(all[1].controllers, "name=systemd");
        assert_eq!(
            (all[2].controllers, all[2].path),
            ("", "/docker/a:b"),
            "a colon may stand in a group's name"
        );
    }

    #[test]
    fn a_group_outside_is_refused() {
        assert_eq!(below("/").expect("root"), ".");
        assert_eq!(below("/a/b").expect("below"), "a/b");
        assert!(below("/../a").is_err());
        assert_eq!(below("/..a").expect("a name"), "..a");
    }

    #[test]
    fn groups_that_a_process_is_not_in_any_more_are_not_its() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: this test needs root");
            return;
        }
        let mut child = std::process::Command::new("sleep")
            .arg("1000000")
            .spawn()
            .expect("sleep");
        let pid = HostPid(child.id().cast_signed());
        let tree = mount_unified().expect("cgroup2");
        let name = format!("porthole-test-{pid}");
        let found = ForeignGroup {
            parent: tree.try_clone().expect("a copy"),
            name: String::new(),
            path: String::new(),
            tasks: Vec::new(),
            missing: Vec::new(),
            said: fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups"),
        };
        let before = found.holds(pid);
        make(&tree, &name, "cgroup2").expect("a group");
        let group = open_directory(&tree, &name, "cgroup2").expect("a group");
        write(&group, "cgroup.procs", &pid.to_string(), Step::JoinCgroup).expect("moved");
        let after = found.holds(pid);
        child.kill().expect("killed");
        child.wait().expect("ended");
        remove_directory(&tree, &name, 100).expect("removed");
        assert!(before && !after, "{before} {after}");
        assert!(!found.holds(pid), "it is gone");
    }
}
