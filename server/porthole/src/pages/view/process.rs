//! A process's own page.

mod detail;
mod eight;

use std::sync::Arc;

use askama::Template;
use porthole_protocol::capability::names;
use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Process;

use super::live::{Part, Region, Slot};
use super::processes::confinement::{Confinement, in_hosts_user_namespace};
use super::processes::known::Known;
use super::processes::row::{Manner, identity, line, row, row_id, state_word};
use super::processes::tree::tree;
use super::shell::Shell;
use super::words::{When, bytes, count, visible};
use super::{Scene, commands, html};
use crate::world::{Departed, World};

pub use detail::{Detail, Reading};

/// Children that are shown; the tree has them all.
const CHILDREN: usize = 50;

#[derive(Template)]
#[template(path = "partials/process_head.html")]
struct Head<'a> {
    base: &'a str,
    state: char,
    state_word: &'static str,
    /// The container that it is in: its address below `/containers`, its name, its engine.
    container: Option<(String, String, &'static str)>,
    session: Option<String>,
    tty: String,
}

#[derive(Template)]
#[template(path = "partials/process_facts.html")]
struct Facts {
    line: String,
    may_look: bool,
    /// Its numbers from the host inwards, with who sees it so.
    numbers: Vec<(i32, String)>,
    uid: (u32, Option<u32>),
    gid: (u32, Option<u32>),
    cgroup: String,
    started: When,
    threads: String,
    rss: String,
    confinement: Confinement,
    effective: Vec<String>,
    bounding: Vec<String>,
    on_host: bool,
}

#[derive(Template)]
#[template(path = "partials/process_gone.html")]
struct Gone<'a> {
    base: &'a str,
    pid: i32,
    was: Option<Was>,
    /// Another process has its number now.
    reused: bool,
}

/// What a process was.
struct Was {
    name: String,
    line: String,
    container: Option<(String, String)>,
    started: When,
    at: When,
}

impl Was {
    fn of(departed: &Departed, known: &Known<'_>) -> Self {
        let process = &departed.process;
        Self {
            name: visible(&process.command),
            line: line(process, known.may_look(process)),
            container: known.place(process).map(|p| (p.at.clone(), p.name.clone())),
            started: process.started_at.into(),
            at: departed.at.into(),
        }
    }
}

fn gone(known: &Known<'_>, pid: HostPid, start: Option<u64>) -> String {
    let was = known.world.departed(pid, start);
    html(&Gone {
        base: known.scene.base,
        pid: pid.0,
        was: was.map(|was| Was::of(&was, known)),
        reused: known.world.process(pid).is_some(),
    })
}

fn head<'a>(process: &Process, known: &Known<'a>) -> Head<'a> {
    let place = known.place(process);
    Head {
        base: known.scene.base,
        state: process.state,
        state_word: state_word(process.state),
        container: place.map(|p| (p.at.clone(), p.name.clone(), p.engine.words())),
        session: process
            .session
            .as_ref()
            .filter(|_| known.may_look(process) && place.is_some())
            .map(ToString::to_string),
        tty: process.tty.as_deref().map_or_else(String::new, visible),
    }
}

/// Who sees it under which number, the host first.
fn numbers(process: &Process, known: &Known<'_>) -> Vec<(i32, String)> {
    let depth = process.pids.len();
    let mut inodes = Vec::new();
    let mut next = process.namespaces.pid;
    while let Some(inode) = next.filter(|_| inodes.len() < depth) {
        inodes.push(inode);
        next = known.world.namespace(inode).and_then(|n| n.parent);
    }
    let who = |level: usize| {
        if level == 0 {
            return "on the host".to_owned();
        }
        let inode = inodes.get(depth - 1 - level);
        let place = inode.and_then(|inode| known.of_pid_namespace(*inode));
        match (place, inode) {
            (Some(place), _) => format!("in {}", place.name),
            (None, Some(inode)) => format!("in pid:[{inode}]"),
            (None, None) => "further in".to_owned(),
        }
    };
    let pids = process.pids.iter().enumerate();
    pids.map(|(level, pid)| (*pid, who(level))).collect()
}

fn facts(process: &Process, known: &Known<'_>) -> Facts {
    let may_look = known.may_look(process);
    let security = process.security;
    Facts {
        line: line(process, may_look),
        may_look,
        numbers: numbers(process, known),
        uid: (process.uid, process.uid_inside),
        gid: (process.gid, process.gid_inside),
        cgroup: process.cgroup.as_deref().map_or_else(String::new, visible),
        started: process.started_at.into(),
        threads: count(process.threads as usize, "thread", "threads"),
        rss: bytes(process.rss),
        confinement: Confinement::of(process, known.world),
        effective: security.map_or_else(Vec::new, |s| names(s.effective)),
        bounding: security.map_or_else(Vec::new, |s| names(s.bounding)),
        on_host: in_hosts_user_namespace(process, known.world),
    }
}

/// Who leads to it, itself, and its children; and how many of those are not shown.
fn family(process: &Arc<Process>, known: &Known<'_>) -> (Vec<Part>, usize) {
    let world = known.world;
    let mut all = vec![process.clone()];
    let mut parent = process.parent;
    while let Some(one) = parent.and_then(|pid| world.process(pid)) {
        // A circle can only be a reading torn by a reused PID.
        if all.len() > 64 || all.iter().any(|p| p.host_pid == one.host_pid) {
            break;
        }
        parent = one.parent;
        all.push(one);
    }
    let mut children = world.processes();
    children.retain(|p| p.parent == Some(process.host_pid) && p.host_pid != process.host_pid);
    let left = children.len().saturating_sub(CHILDREN);
    children.truncate(CHILDREN);
    all.extend(children);
    all.sort_by_key(|p| p.host_pid);
    let parts = tree(all).into_iter().map(|leaf| Part {
        id: row_id(&leaf.process),
        html: row(
            &leaf,
            known,
            Manner {
                names_container: true,
                context: false,
                subject: leaf.process.host_pid == process.host_pid,
            },
        ),
    });
    (parts.collect(), left)
}

fn there(process: &Arc<Process>, known: &Known<'_>) -> Region {
    let (rows, left) = family(process, known);
    let more = match left {
        0 => String::new(),
        left => format!(
            "{} <a class=\"btn small\" href=\"{}/processes?view=tree\">The whole tree</a>",
            count(
                left,
                "more child is not drawn.",
                "more children are not drawn."
            ),
            known.scene.base,
        ),
    };
    Region {
        slots: vec![
            Slot::whole("gone", String::new()),
            Slot::whole("head", html(&head(process, known))),
            Slot::whole("facts", html(&facts(process, known))),
            Slot {
                id: "eight",
                parts: eight::parts(process, known),
            },
            Slot {
                id: "rows",
                parts: rows,
            },
            Slot::whole("more", more),
        ],
    }
}

/// What of the page of this very process is live. Of one that has ended stays what was last known.
pub fn region(world: &World, scene: Scene<'_>, pid: HostPid, start: Option<u64>) -> Region {
    let known = Known::new(world, scene);
    let process = world.process(pid);
    match process.filter(|p| start.is_none_or(|start| p.start_ticks == start)) {
        Some(process) => there(&process, &known),
        None => Region {
            slots: vec![Slot::whole("gone", gone(&known, pid, start))],
        },
    }
}

/// The page.
#[derive(Template)]
#[template(path = "process.html")]
pub struct ProcessPage {
    shell: Shell,
    name: String,
    pid: i32,
    start: u64,
    identity: String,
    may_look: bool,
    ps: String,
    nsenter: Option<String>,
    lsns: String,
    region: Region,
}

impl ProcessPage {
    /// Of this process, and of no other that gets its number.
    pub fn new(world: &World, scene: Scene<'_>, process: &Arc<Process>, shell: Shell) -> Self {
        let known = Known::new(world, scene);
        let region = there(process, &known);
        let at = format!(
            "/processes/{}?start={}",
            process.host_pid, process.start_ticks
        );
        Self {
            shell: shell.following(at).around(&region),
            name: visible(&process.command),
            pid: process.host_pid.0,
            start: process.start_ticks,
            identity: identity(process),
            may_look: known.may_look(process),
            ps: commands::ps(process.host_pid),
            nsenter: super::processes::row::nsenter(process, &known),
            lsns: commands::lsns(process.host_pid, None),
            region,
        }
    }
}

/// The page of a process that is not there.
#[derive(Template)]
#[template(path = "process_gone.html")]
pub struct GonePage {
    shell: Shell,
    pid: i32,
    gone: String,
}

impl GonePage {
    /// Of whoever had this number.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        pid: HostPid,
        start: Option<u64>,
        shell: Shell,
    ) -> Self {
        let known = Known::new(world, scene);
        Self {
            shell,
            pid: pid.0,
            gone: gone(&known, pid, start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use porthole_protocol::observation::Update;

    #[test]
    fn a_reused_number_is_never_shown_as_the_same_process() {
        let world = sample::nested();
        let who = sample::admin();
        let scene = Scene {
            base: "",
            who: &who,
        };
        let pid = HostPid(5712);
        let before = region(&world, scene, pid, Some(1));
        assert!(before.slot("facts").contains("sleep"));
        let mut other = sample::of_docker(5712, 5600, &[5712, 75], "other");
        other.start_ticks = 2;
        world.observe(Update {
            processes: vec![other],
            ..Update::default()
        });
        let now = region(&world, scene, pid, Some(1));
        let gone = now.slot("gone");
        assert!(
            gone.contains("sleep") && gone.contains("another process"),
            "{gone}"
        );
        assert_eq!(now.slot("facts"), "", "what was last known stays");
        assert!(!now.changes(Some(&before)).contains("other</b>"));
        assert!(
            region(&world, scene, pid, Some(2))
                .slot("facts")
                .contains("other")
        );
    }

    #[test]
    fn it_stands_between_its_ancestors_and_its_children() {
        let world = sample::nested();
        let who = sample::admin();
        let scene = Scene {
            base: "",
            who: &who,
        };
        let region = region(&world, scene, HostPid(5710), None);
        let rows = region
            .slots
            .iter()
            .find(|slot| slot.id == "rows")
            .expect("there");
        let ids: Vec<_> = rows.parts.iter().map(|part| part.id.as_str()).collect();
        assert_eq!(
            ids,
            ["p-1-1", "p-5600-1", "p-5709-1", "p-5710-1", "p-5712-1"]
        );
    }

    #[test]
    fn its_numbers_say_who_sees_it_so() {
        let world = sample::nested();
        let who = sample::admin();
        let known = Known::new(
            &world,
            Scene {
                base: "",
                who: &who,
            },
        );
        let process = world.process(HostPid(5712)).expect("there");
        let numbers = numbers(&process, &known);
        let words: Vec<_> = numbers
            .iter()
            .map(|(pid, who)| format!("{pid} {who}"))
            .collect();
        assert_eq!(words, ["5712 on the host", "75 in shop-db", "3 in unshare"]);
    }
}
