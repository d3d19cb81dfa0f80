//! Control groups: limits, what belongs to a container or a session, and ending all of it.
//!
//! ```text
//! cgroup2 tree   <serve's own group>/porthole-<instance>/<container>/        its init
//!                                                       <container>/<session>/
//! v1 trees       <serve's own group>/porthole-<instance>/<container>/        all of them
//!
//! cgroup2 tree   <another engine's container>/porthole-session-<session>/    a session there
//! v1 trees       <another engine's container>/
//! ```
//! The cgroup2 tree says who belongs to what, freezes and kills, on every machine: where none is
//! mounted we hold a mount of our own. Limits are set in it where it has the controller, else in
//! the v1 tree that does. A group is a leaf to the kernel's "no internal processes" rule: no
//! controller is handed on below a container's, so it may hold processes and sessions' groups.

mod detect;
mod foreign;
mod freezer;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod limits;
mod memory;

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use porthole_protocol::container::Limits;
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::fs::{AtFlags, Mode, OFlags, chmodat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::step::{Step, StepError};

pub use foreign::ForeignGroup;
pub use freezer::Freezing;

/// What a controller limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// A tree of groups, open at the group below which the instance's directory is.
#[derive(Debug)]
struct Tree {
    base: OwnedFd,
    /// Where that is, for people.
    place: String,
    controllers: Vec<Controller>,
}

/// The control groups of one instance of Porthole in every tree that this machine has.
#[derive(Debug)]
pub struct Cgroups {
    /// The name of the instance's directory.
    instance: String,
    /// The cgroup2 tree.
    unified: Tree,
    /// The base's path in the cgroup2 tree, without a slash at its end.
    unified_path: String,
    /// v1 trees whose controllers the cgroup2 tree lacks.
    legacy: Vec<Tree>,
}

/// The way into a container's or session's groups, open.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// The group of the cgroup2 tree, to be born into.
    pub(crate) unified: OwnedFd,
    /// `tasks` of the v1 groups, to write 0 to; with their paths.
    pub(crate) tasks: Vec<(String, OwnedFd)>,
}

/// A group that is looked at, by its name.
#[derive(Debug, Clone, Copy)]
pub enum Swept<'a> {
    /// One for a container, or for an import.
    Container(&'a str),
    /// One for a session, in a container's.
    Session(&'a str),
}

/// How often groups are made anew that somebody else has removed in the same moment.
const CREATE_TRIES: u32 = 20;

/// How often and how long after one another an emptying group is tried to be removed: what was killed
/// leaves it only when it has given its memory back, on a busy machine not at once.
const REMOVE_TRIES: u32 = 1_000;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// The same where an engine of somebody else's waits for us.
const REMOVE_TRIES_ABROAD: u32 = 60;

impl Cgroups {
    /// Looks at how this machine has its control groups. `instance` is eight hexadecimal digits of
    /// a hash of the instance's root directory: its directory is `porthole-<instance>`, below the
    /// group that the caller is in. Also answers what is lacking, in sentences for people.
    /// Makes no directory.
    pub fn detect(instance: &str) -> Result<(Self, Vec<String>), Failure> {
        detect::detect(instance)
    }

    /// On a machine with cgroup2 alone, moves the caller into a leaf of its own, so that the group
    /// above may hand controllers to containers. `serve` calls it before it starts anything; does
    /// nothing where that is not needed.
    pub fn move_to_leaf() -> Result<(), Failure> {
        Ok(detect::move_to_leaf()?)
    }

    /// Makes a container's groups and sets its limits. What is left of earlier ones is emptied
    /// first.
    pub fn create(&self, id: &ContainerId, limits: &Limits) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            match self.try_create(id, limits) {
                // Whoever removed the last container has taken the instance's group away just
                // after it was found or made here, or while it was written to.
                Err(error)
                    if (error.is(Errno::NOENT) || error.is(Errno::NODEV))
                        && tries < CREATE_TRIES =>
                {
                    tries += 1;
                }
                answer => return Ok(answer?),
            }
        }
    }

    fn try_create(&self, id: &ContainerId, limits: &Limits) -> Result<(), StepError> {
        for tree in self.trees() {
            make(&tree.base, &self.instance, &tree.place)?;
            let instance = self.open(tree, &[])?;
            if std::ptr::eq(tree, &self.unified) {
                self.hand_on_controllers(&instance)?;
                self.clear(id)?;
            }
            make(&instance, id.as_str(), &tree.place)?;
            let group = open_directory(&instance, id.as_str(), &tree.place)?;
            self.limit_in(tree, &group, limits)?;
        }
        Ok(())
    }

    /// Sets other limits of a container that runs. Where one cannot be set, `was` is in force again.
    pub fn set_limits(
        &self,
        id: &ContainerId,
        limits: &Limits,
        was: &Limits,
    ) -> Result<(), Failure> {
        let memory = limits.memory.unwrap_or(Limits::DEFAULT_MEMORY);
        if limits.memory != was.memory {
            self.check_memory(id, memory)?;
        }
        self.limit(id, limits).map_err(|error| {
            // Of what was in force before nothing is refused.
            let _ = self.limit(id, was);
            memory::refused(error, memory)
        })
    }

    fn limit(&self, id: &ContainerId, limits: &Limits) -> Result<(), StepError> {
        for tree in self.trees() {
            let group = self.open(tree, &[id.as_str()])?;
            self.limit_in(tree, &group, limits)?;
        }
        Ok(())
    }

    fn limit_in(&self, tree: &Tree, group: &OwnedFd, limits: &Limits) -> Result<(), StepError> {
        for controller in &tree.controllers {
            if std::ptr::eq(tree, &raw const self.unified) {
                limits::unified(group, *controller, limits)?;
            } else {
                limits::legacy(group, *controller, limits)?;
            }
        }
        Ok(())
    }

    /// Removes a container's groups, its sessions' and, after the last container, the instance's.
    /// Kills what is still in them. It is no error that there are none.
    pub fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        let mut outcome = self.clear(id);
        // Whatever stays in one of them, the others are not left for it.
        for tree in self.trees() {
            let removed = self.remove_in(tree, id);
            outcome = outcome.and(removed);
        }
        Ok(outcome?)
    }

    fn remove_in(&self, tree: &Tree, id: &ContainerId) -> Result<(), StepError> {
        let Some(instance) = self.try_open(tree, &[])? else {
            return Ok(());
        };
        let tries = if std::ptr::eq(tree, &raw const self.unified) {
            // It was waited for.
            1
        } else {
            REMOVE_TRIES
        };
        remove_directory(&instance, id.as_str(), tries)?;
        // Only the last container's removal finds it empty.
        let _ = remove_directory(&tree.base, &self.instance, 1);
        Ok(())
    }

    /// Removes groups of this instance's that nobody will: of containers and sessions that are gone,
    /// where whoever was to do it was killed or could not wait for what was in them. Kills nothing:
    /// one that still holds processes stays.
    ///
    /// `is_known` says of a container's group, or of a session's in one, whether somebody else looks
    /// after it. It is asked after the group was found, so that it may look at what is there before
    /// the group is.
    pub fn sweep(&self, is_known: impl Fn(Swept<'_>) -> bool) -> Result<(), Failure> {
        for tree in self.trees() {
            let Some(instance) = self.try_open(tree, &[])? else {
                continue;
            };
            for container in children(&instance)? {
                let known = is_known(Swept::Container(&container));
                let group = match open_directory(&instance, &container, &tree.place) {
                    Err(error) if error.is(Errno::NOENT) => continue,
                    answer => answer?,
                };
                for session in children(&group)? {
                    if !known || !is_known(Swept::Session(&session)) {
                        let _ = remove_directory(&group, &session, 1);
                    }
                }
                if !known {
                    let _ = remove_directory(&instance, &container, 1);
                }
            }
            let _ = remove_directory(&tree.base, &self.instance, 1);
        }
        Ok(())
    }

    /// Makes a session's group below its container's, in the cgroup2 tree.
    pub fn create_session(&self, id: &ContainerId, session: &SessionId) -> Result<(), Failure> {
        let group = self.open(&self.unified, &[id.as_str()]).map_err(lost)?;
        Ok(make(&group, session.as_str(), id.as_str())?)
    }

    /// Removes a session's group once it is empty; `false` while processes are in it.
    pub fn remove_session(&self, id: &ContainerId, session: &SessionId) -> Result<bool, Failure> {
        let Some(group) = self.try_open(&self.unified, &[id.as_str()])? else {
            return Ok(true);
        };
        match remove_directory(&group, session.as_str(), 1) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::BUSY) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills every process of a container, its sessions' too, frozen or not.
    pub fn kill(&self, id: &ContainerId) -> Result<(), Failure> {
        Ok(self.kill_group(&[id.as_str()])?)
    }

    /// Kills every process of a session, what it left in the background too.
    pub fn kill_session(&self, id: &ContainerId, session: &SessionId) -> Result<(), Failure> {
        Ok(self.kill_group(&[id.as_str(), session.as_str()])?)
    }

    /// How many processes of a session there are.
    pub fn count_session(&self, id: &ContainerId, session: &SessionId) -> Result<usize, Failure> {
        match self.try_open(&self.unified, &[id.as_str(), session.as_str()])? {
            Some(group) => Ok(read(&group, "cgroup.procs", Step::ReadCgroup)?
                .lines()
                .count()),
            None => Ok(0),
        }
    }

    /// The descriptors that it works with: a forked child that closes others keeps these.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.trees().map(|tree| tree.base.as_fd()).collect()
    }

    /// The container's group in the cgroup2 tree, from that tree's root.
    pub fn path(&self, id: &ContainerId) -> String {
        format!("{}/{}/{id}", self.unified_path, self.instance)
    }

    /// The way into a container's groups, or into those of one of its sessions.
    pub(crate) fn entrance(
        &self,
        id: &ContainerId,
        session: Option<&SessionId>,
    ) -> Result<Entrance, StepError> {
        let unified = match session {
            Some(session) => self.open(&self.unified, &[id.as_str(), session.as_str()])?,
            None => self.open(&self.unified, &[id.as_str()])?,
        };
        let mut tasks = Vec::with_capacity(self.legacy.len());
        for tree in &self.legacy {
            let path = format!("{}/{}/{id}/tasks", tree.place, self.instance);
            let file = openat(
                &tree.base,
                format!("{}/{id}/tasks", self.instance),
                OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(|errno| StepError::new((Step::OpenCgroup, &path), errno))?;
            tasks.push((path, file));
        }
        Ok(Entrance { unified, tasks })
    }

    /// Removes a container's group of the cgroup2 tree with its sessions' and all that is in them.
    ///
    /// A group whose processes were once killed as a whole is not used again: newer kernels (6.18
    /// does) kill at once whatever is born into it by CLONE_INTO_CGROUP, since they compare its
    /// count of kills with that of the parent's group.
    fn clear(&self, id: &ContainerId) -> Result<(), StepError> {
        self.kill_group(&[id.as_str()])?;
        if let Some(group) = self.try_open(&self.unified, &[id.as_str()])? {
            for session in children(&group)? {
                remove_directory(&group, &session, REMOVE_TRIES)?;
            }
        }
        match self.try_open(&self.unified, &[])? {
            Some(instance) => remove_directory(&instance, id.as_str(), REMOVE_TRIES),
            None => Ok(()),
        }
    }

    fn trees(&self) -> impl Iterator<Item = &Tree> {
        std::iter::once(&self.unified).chain(&self.legacy)
    }

    fn open(&self, tree: &Tree, below: &[&str]) -> Result<OwnedFd, StepError> {
        let mut path = self.instance.clone();
        for name in below {
            path.push('/');
            path.push_str(name);
        }
        open_directory(&tree.base, &path, &tree.place)
    }

    fn try_open(&self, tree: &Tree, below: &[&str]) -> Result<Option<OwnedFd>, StepError> {
        match self.open(tree, below) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn kill_group(&self, below: &[&str]) -> Result<(), StepError> {
        match self.try_open(&self.unified, below)? {
            Some(group) => write(&group, "cgroup.kill", "1", Step::KillCgroup),
            None => Ok(()),
        }
    }

    /// Lets the instance's group and its children limit what the cgroup2 tree can limit.
    fn hand_on_controllers(&self, instance: &OwnedFd) -> Result<(), StepError> {
        if self.unified.controllers.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = self
            .unified
            .controllers
            .iter()
            .map(|controller| format!("+{}", controller.name()))
            .collect();
        for group in [self.unified.base.as_fd(), instance.as_fd()] {
            write(
                group,
                "cgroup.subtree_control",
                &words.join(" "),
                Step::SetLimit,
            )?;
        }
        Ok(())
    }
}

/// What is told where a container that runs has no group: somebody else has removed it.
pub(crate) fn lost(error: StepError) -> Failure {
    if !error.is(Errno::NOENT) {
        return error.into();
    }
    Failure::new(
        FailureCode::WrongState,
        "somebody has removed the container's control groups, so that it has no limits any more: stop it and start it again",
    )
    .stage(Stage::Cgroup)
}

fn open_directory(at: impl AsFd, path: &str, place: &str) -> Result<OwnedFd, StepError> {
    openat(
        at,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| StepError::new((Step::OpenCgroup, format!("{place}/{path}")), errno))
}

fn make(at: impl AsFd, name: &str, place: &str) -> Result<(), StepError> {
    let mode = Mode::from_bits_truncate(0o755);
    let made = match mkdirat(&at, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {
            // Whatever our umask is: kernels before 6.16 look, as the container's root, through every
            // group on the way to the container's own when it mounts its cgroup2.
            chmodat(&at, name, mode, AtFlags::empty())
        }
        Err(errno) => Err(errno),
    };
    made.map_err(|errno| StepError::new((Step::MakeCgroup, format!("{place}/{name}")), errno))
}

fn write(group: impl AsFd, file: &str, text: &str, step: Step) -> Result<(), StepError> {
    openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|fd| rustix::io::write(&fd, text.as_bytes()))
        .map(|_| ())
        .map_err(|errno| StepError::new((step, format!("{file} = {text}")), errno))
}

fn read(group: impl AsFd, file: &str, step: Step) -> Result<String, StepError> {
    let mut text = String::new();
    openat(group, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|fd| std::fs::File::from(fd).read_to_string(&mut text))
        .map_err(|error| StepError::new((step, file), error))?;
    Ok(text)
}

/// Names of a group's child groups.
fn children(group: &OwnedFd) -> Result<Vec<String>, StepError> {
    let failed = |errno| StepError::new(Step::RemoveCgroup, errno);
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(group).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == rustix::fs::FileType::Directory && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

/// Removes a group, trying again while killed processes are still leaving it.
fn remove_directory(at: impl AsFd, name: &str, tries: u32) -> Result<(), StepError> {
    let at: BorrowedFd<'_> = at.as_fd();
    let mut left = tries;
    loop {
        left = left.saturating_sub(1);
        match unlinkat(at, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if left > 0 => std::thread::sleep(REMOVE_PAUSE),
            Err(errno) => return Err(StepError::new((Step::RemoveCgroup, name), errno)),
        }
    }
}

fn unsupported(message: &str) -> Failure {
    Failure::new(FailureCode::Unsupported, message).stage(Stage::Cgroup)
}
