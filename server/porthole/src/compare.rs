//! What two processes or containers have in common and what not: for pages and for programs.
//!
//! A container is compared by its first process. What the world knows is there at once
//! ([`Comparison::of`]); roots and limits have to be read by a child of the keeper's
//! ([`Comparison::inside`]), for who may look into both.

pub mod inside;

use std::sync::Arc;

use porthole_protocol::capability::{ALL, DEFAULT};
use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use porthole_protocol::observation::Process;
use serde::Serialize;

use crate::Refusal;
use crate::access::Identity;
use crate::actions::sessions::may_look_at_process;
use crate::pages::view::processes::confinement::{seccomp, summary};
use crate::world::{AnyContainer, World};

/// A process or a container.
#[derive(Debug, Clone)]
pub struct One {
    /// What it was named by.
    pub reference: String,
    /// The container, where one was named.
    pub container: Option<AnyContainer>,
    /// The process, or the container's first.
    pub process: Option<Arc<Process>>,
}

/// A value of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about: `namespaces`, `ids`, `confinement`, `place`, `limits`.
    pub about: &'static str,
    /// `net`, `uid`, `seccomp`.
    pub name: String,
    /// Of the one; `null` where it is not known.
    pub a: Option<String>,
    /// Of the other.
    pub b: Option<String>,
    /// Whether they are equal; `null` where one is not known.
    pub same: Option<bool>,
}

impl Line {
    fn new(
        about: &'static str,
        name: impl Into<String>,
        a: Option<String>,
        b: Option<String>,
    ) -> Self {
        Self {
            same: a.as_ref().zip(b.as_ref()).map(|(a, b)| a == b),
            about,
            name: name.into(),
            a,
            b,
        }
    }
}

/// Which process this text names: `8589`, or `8589@123456` with its start in clock ticks since boot,
/// which no other process has.
pub(crate) fn pid(text: &str) -> Option<(HostPid, Option<u64>)> {
    let (pid, start) = match text.split_once('@') {
        Some((pid, start)) => (pid, Some(start.parse().ok()?)),
        None => (text, None),
    };
    let number = pid.parse().ok().filter(|pid| *pid > 0)?;
    Some((HostPid(number), start))
}

impl One {
    /// The process or container that this names. A number is a process where there is one.
    pub fn find(world: &World, reference: &str) -> Result<Self, Refusal> {
        let named = pid(reference);
        if let Some((pid, start)) = named {
            let process = world.process(pid);
            let process = process.filter(|p| start.is_none_or(|start| p.start_ticks == start));
            if process.is_some() {
                return Ok(Self {
                    reference: pid.to_string(),
                    container: None,
                    process,
                });
            }
        }
        match (world.find_any(reference), named) {
            (Ok(container), _) => Ok(Self {
                reference: crate::pages::view::reference(world, &container),
                process: container.pid().and_then(|pid| world.process(pid)),
                container: Some(container),
            }),
            (Err(_), Some((pid, start))) => Err(gone(world, pid, start)),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// What a sentence calls it.
    pub fn words(&self) -> String {
        match (&self.container, &self.process) {
            (Some(container), _) => container.name().to_owned(),
            (None, Some(process)) => process.host_pid.to_string(),
            (None, None) => self.reference.clone(),
        }
    }

    fn namespaces(&self) -> NamespaceSet {
        match (&self.process, &self.container) {
            (Some(process), _) => process.namespaces,
            (None, Some(container)) => {
                NamespaceSet::build(|kind| container.namespaces().get(kind).inode)
            }
            (None, None) => NamespaceSet::default(),
        }
    }

    /// Whether this person may see what it does.
    fn may_look(&self, world: &World, who: &Identity) -> bool {
        match (&self.container, &self.process) {
            (Some(container), _) => who.may_look_into_container(container),
            (None, Some(process)) => may_look(world, process, who),
            (None, None) => false,
        }
    }
}

/// Whether this person may see what a process does: what it is in says.
pub fn may_look(world: &World, process: &Process, who: &Identity) -> bool {
    match &process.container {
        None => who.may_look_into_host(),
        Some(id) => match world.any_container(id) {
            Some(container) => {
                who.may_look_into_container(&container) && may_look_at_process(world, who, process)
            }
            // Whose it is is not known yet.
            None => who.is_admin(),
        },
    }
}

fn gone(world: &World, pid: HostPid, start: Option<u64>) -> Refusal {
    let message = match world.departed(pid, start) {
        Some(was) => format!(
            "There is no process {pid} now. It was {} and had ended by {}.",
            was.process.command,
            crate::pages::view::words::moment(was.at)
        ),
        None => {
            format!("There is no process {pid} on the host now, and no container is called so.")
        }
    };
    Refusal::not_found("process_not_found", message)
}

/// Everything that is compared.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What is so, in one sentence.
    pub sentence: String,
    /// Value by value.
    pub lines: Vec<Line>,
    /// What could not be read, a sentence each.
    pub notes: Vec<String>,
}

fn arrow(outside: u32, inside: Option<u32>) -> String {
    match inside {
        Some(inside) => format!("{outside} on the host, {inside} inside"),
        None => format!("{outside} on the host, none inside"),
    }
}

impl Comparison {
    /// What the world knows.
    pub fn of(a: &One, b: &One) -> Self {
        let both = |value: &dyn Fn(&Process) -> Option<String>| {
            let of = |one: &One| one.process.as_deref().and_then(value);
            (of(a), of(b))
        };
        let mut lines = Vec::new();
        for kind in NamespaceType::ALL {
            let of = |one: &One| one.namespaces().get(kind).map(|n| format!("{kind}:[{n}]"));
            lines.push(Line::new("namespaces", kind.name(), of(a), of(b)));
        }
        let mut add = |about, name: &str, value: &dyn Fn(&Process) -> Option<String>| {
            let (a, b) = both(value);
            lines.push(Line::new(about, name, a, b));
        };
        add("ids", "uid", &|p| Some(arrow(p.uid, p.uid_inside)));
        add("ids", "gid", &|p| Some(arrow(p.gid, p.gid_inside)));
        add("confinement", "capabilities", &|p| {
            p.security.map(|s| set(s.effective))
        });
        add("confinement", "bounding set", &|p| {
            p.security.map(|s| set(s.bounding))
        });
        add("confinement", "seccomp", &|p| {
            p.security.map(|s| seccomp(s.seccomp).to_owned())
        });
        add("confinement", "no_new_privs", &|p| {
            p.security
                .map(|s| if s.no_new_privs { "set" } else { "not set" }.to_owned())
        });
        add("place", "control group", &|p| p.cgroup.clone());
        Self {
            sentence: sentence(a, b),
            lines,
            notes: Vec::new(),
        }
    }
}

/// A set in a word and, where that does not say it all, with its bits.
fn set(bits: u64) -> String {
    match bits & ALL {
        0 | ALL | DEFAULT => summary(bits),
        _ => format!("{} ({bits:#x})", summary(bits)),
    }
}

fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// What is so, in words: what they share, and who of them is confined.
fn sentence(a: &One, b: &One) -> String {
    let (mine, yours) = (a.namespaces(), b.namespaces());
    let (one, other) = (a.words(), b.words());
    let stopped = |one: &One| one.process.is_none();
    if stopped(a) || stopped(b) {
        let who: Vec<String> = [a, b]
            .iter()
            .filter(|o| stopped(o))
            .map(|o| o.words())
            .collect();
        let who: Vec<&str> = who.iter().map(String::as_str).collect();
        let verb = if who.len() == 1 { "does" } else { "do" };
        return format!(
            "{} {verb} not run, so there is little to compare.",
            list(&who)
        );
    }
    let shared: Vec<&str> = NamespaceType::ALL
        .into_iter()
        .filter(|kind| mine.get(*kind).is_some() && mine.get(*kind) == yours.get(*kind))
        .map(NamespaceType::name)
        .collect();
    let mut parts = vec![match shared.len() {
        0 => "They share no namespace".to_owned(),
        8 => "They are in the same eight namespaces".to_owned(),
        5.. => {
            let differ: Vec<&str> = NamespaceType::ALL
                .into_iter()
                .map(NamespaceType::name)
                .filter(|name| !shared.contains(name))
                .collect();
            format!("They share every namespace but {}", list(&differ))
        }
        _ => format!("They share {}", list(&shared)),
    }];
    if let (Some(x), Some(y)) = (&a.process, &b.process)
        && let (Some(x), Some(y)) = (x.security, y.security)
    {
        match (x.seccomp != 0, y.seccomp != 0) {
            (true, false) => parts.push(format!("{one} is confined by seccomp, {other} is not")),
            (false, true) => parts.push(format!("{other} is confined by seccomp, {one} is not")),
            _ => {}
        }
        let (mine, yours) = (x.effective & ALL, y.effective & ALL);
        if mine != yours {
            let has = |who: &str, set: u64| format!("{who} {}", capabilities(set));
            parts.push(format!("{}, {}", has(&one, mine), has(&other, yours)));
        }
    }
    format!("{}.", parts.join("; "))
}

fn capabilities(set: u64) -> String {
    match set {
        0 => "has no capability".to_owned(),
        ALL => "has every capability".to_owned(),
        DEFAULT => "has Docker's default capabilities".to_owned(),
        set => format!(
            "has {} of {} capabilities",
            set.count_ones(),
            ALL.count_ones()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::view::sample;

    fn compared(a: &str, b: &str) -> Comparison {
        let world = sample::nested();
        let find = |reference| One::find(&world, reference).expect("there");
        Comparison::of(&find(a), &find(b))
    }

    #[test]
    fn one_sentence_says_it() {
        let same = compared("5600", "5709");
        assert_eq!(same.sentence, "They are in the same eight namespaces.");
        let nested = compared("shop-db", "5712");
        assert_eq!(
            nested.sentence,
            "They share every namespace but pid and user."
        );
        let old = compared("old-lab", "5712");
        assert_eq!(
            old.sentence,
            "old-lab does not run, so there is little to compare."
        );
    }

    #[test]
    fn who_is_confined_is_said() {
        let world = sample::nested();
        let mut free = sample::of_docker(9, 1, &[9], "a");
        free.security = free.security.map(|mut s| {
            (s.seccomp, s.effective) = (0, ALL);
            s
        });
        free.namespaces.mnt = None;
        free.namespaces.pid = None;
        let free = One {
            reference: "9".to_owned(),
            container: None,
            process: Some(Arc::new(free)),
        };
        let db = One::find(&world, "shop-db").expect("there");
        assert_eq!(
            Comparison::of(&db, &free).sentence,
            "They share every namespace but mnt and pid; shop-db is confined by seccomp, 9 is not; \
             shop-db has Docker's default capabilities, 9 has every capability."
        );
    }

    #[test]
    fn every_namespace_has_a_line() {
        let lines = compared("5600", "5712").lines;
        let differ: Vec<_> = lines
            .iter()
            .filter(|line| line.about == "namespaces" && line.same == Some(false))
            .map(|line| line.name.as_str())
            .collect();
        assert_eq!(differ, ["pid", "user"]);
    }

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let world = sample::nested();
        assert!(One::find(&world, "5600@1").is_ok());
        assert!(One::find(&world, "5600@2").is_err());
        let why = One::find(&world, "99999").expect_err("not there").message;
        assert!(why.contains("no process 99999"), "{why}");
    }
}
