//! Whether control groups are frozen. No event tells it: a few are asked at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::read;

use crate::model::Model;

/// How often groups are asked, and how many at a time.
const PACE: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 64;

/// The hierarchies that freeze, as far as they are mounted.
#[derive(Debug)]
pub(crate) struct Freezer {
    /// The cgroup2 tree.
    tree: Option<OwnedFd>,
    /// The freezer of version 1.
    old: Option<OwnedFd>,
    turn: VecDeque<String>,
    next: Instant,
}

impl Freezer {
    /// Those that are mounted now.
    pub(crate) fn find() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let find = |wanted: fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let (mount, system) = line.split_once(" - ")?;
                let mut mount = mount.split(' ').skip(3);
                let (root, place) = (mount.next()?, mount.next()?);
                let mut system = system.split(' ');
                let (kind, options) = (system.next()?, system.nth(1)?);
                (root == "/" && wanted(kind, options)).then_some(())?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                open(place, flags, Mode::empty()).ok()
            })
        };
        Self {
            tree: find(|kind, _| kind == "cgroup2"),
            old: find(|kind, options| {
                kind == "cgroup" && options.split(',').any(|option| option == "freezer")
            }),
            turn: VecDeque::new(),
            next: Instant::now(),
        }
    }

    /// When the next groups are to be asked.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Asks some of the groups of foreign containers, if it is time.
    pub(crate) fn look(&mut self, model: &mut Model, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + PACE;
        if self.turn.is_empty() {
            self.turn.extend(model.groups());
        }
        for _ in 0..AT_ONCE {
            let Some(group) = self.turn.pop_front() else {
                break;
            };
            let frozen = self.is_frozen(&group);
            model.freeze(&group, frozen);
        }
    }

    fn is_frozen(&self, group: &str) -> bool {
        let says = |tree: &Option<OwnedFd>, name: &str, word: &[u8]| {
            let Some(tree) = tree else { return false };
            let path = format!("{}/{name}", group.trim_start_matches('/'));
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let Ok(file) = openat2(tree, path, flags, Mode::empty(), beneath) else {
                return false;
            };
            let mut text = [0; 128];
            let length = read(&file, &mut text).unwrap_or(0);
            text[..length]
                .split(|b| *b == b'\n')
                .any(|line| line == word)
        };
        says(&self.tree, "cgroup.events", b"frozen 1")
            || says(&self.old, "freezer.state", b"FROZEN")
    }
}
