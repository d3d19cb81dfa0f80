//! One set of processes, seen from every side: as the host numbers them, and as each PID namespace
//! on the way in numbers them anew.
//!
//! A column is a level of nesting, a box in it a PID namespace, a line one process. A namespace
//! sees the processes of those below it, never the reverse: a process that lies three deep stands in
//! three columns.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Process;

use super::Scene;
use super::processes::known::Known;
use super::processes::row::{cut, identity};
use super::words::{count, process_line, visible};
use crate::world::{AnyContainer, World};

/// Processes of a container's map; the page about processes has them all.
const OF_CONTAINER: usize = 30;
/// Processes of the whole host's.
const OF_HOST: usize = 200;
/// How many ancestors of the first process the host's side shows.
const ANCESTORS: usize = 4;
/// The deepest level that is drawn: the kernel allows 32, and nobody reads so many columns.
const LEVELS: usize = 8;

/// How tall a row is; this and the next three stand in the style sheet too.
const ROW: usize = 30;
/// From a box's edge to its first row.
const HEAD: usize = 47;
/// From its last row to its edge.
const FOOT: usize = 13;
/// Between two boxes.
const GAP: usize = 12;

/// What Porthole's own first process of a container calls itself.
const INIT: &str = "porthole-init";

/// A process in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number here.
    pub pid: i32,
    /// Its numbers elsewhere: `→ 72/1` from outside, `← 5709` from inside. Empty where it has none.
    pub other: String,
    /// What one hovers on all sides at once: the PID on the host.
    pub pair: i32,
    /// What names it for good.
    pub identity: String,
    /// What it is.
    pub command: String,
    /// Its whole command line.
    pub title: String,
    /// Its user here, as far as that is known.
    pub uid: Option<u32>,
    /// The session that it belongs to.
    pub session: Option<String>,
}

/// A PID namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Who sees: `The host`, a container's name.
    pub who: String,
    /// That container's address.
    pub address: Option<String>,
    /// `pid:[4026532181]`, and its page.
    pub namespace: String,
    /// Its inode.
    pub inode: Option<u64>,
    /// It is not the host's.
    pub inside: bool,
    /// Processes that it sees.
    pub rows: Vec<Row>,
    /// What of the host does not exist here.
    pub hidden: String,
    /// Empty space above it, so that it stands beside where its processes come from.
    pub before: usize,
}

/// A level of nesting, and the lines from the level before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its namespaces.
    pub sides: Vec<Side>,
    /// From the column before: what they join, and their path.
    pub lines: Vec<(i32, String)>,
}

/// The map.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "partials/pid_map.html")]
pub struct PidMap {
    /// What addresses begin with.
    pub base: String,
    /// From the host inwards.
    pub levels: Vec<Level>,
    /// How tall the lines' drawing is, and how wide.
    pub height: usize,
    /// Narrower where there are many.
    pub width: usize,
    /// How many processes are not drawn, in words; empty where all are.
    pub more: String,
    /// Where they are all listed.
    pub processes: String,
}

/// A process's name on the map: its command line's first word without its directory, then the
/// arguments; its name where it has no command line.
fn named(process: &Process) -> String {
    match process.args.split_first() {
        // How our own init was told what to run is of no use here; the next row is what it runs.
        Some((first, _)) if first == INIT => INIT.to_owned(),
        Some((first, _)) if first.contains(' ') => process_line(&process.args),
        Some((first, rest)) => {
            let program = first.rsplit('/').next().unwrap_or(first);
            let mut words = vec![program.to_owned()];
            words.extend(rest.iter().cloned());
            process_line(&words)
        }
        None => visible(&process.command),
    }
}

fn ancestors(world: &World, first: &Process) -> Vec<Arc<Process>> {
    let mut line = Vec::new();
    let mut parent = first.parent;
    while let Some(process) = parent.and_then(|pid| world.process(pid)) {
        // A parent that is its own ancestor can only be a reading torn by a reused PID.
        if line.len() > 64 {
            break;
        }
        parent = process.parent;
        line.push(process);
    }
    line.reverse();
    if line.len() > ANCESTORS {
        // The first process and the nearest ones say most.
        line.drain(1..=line.len() - ANCESTORS);
    }
    line
}

/// The PID namespace that the host began with, as the observer sees it.
fn hosts(world: &World) -> Option<NamespaceInode> {
    let mut all = world.namespaces().into_iter();
    let initial = all.find(|n| n.kind == NamespaceType::Pid && n.initial);
    initial
        .map(|n| n.inode)
        .or_else(|| world.process(HostPid(1)).and_then(|p| p.namespaces.pid))
}

/// Where a process stands on each level: its namespace, which is not known everywhere, and its
/// number.
type Place = (Option<NamespaceInode>, i32);

/// Looks up on which levels processes stand.
struct Levels<'a> {
    world: &'a World,
    host: Option<NamespaceInode>,
    chains: HashMap<NamespaceInode, Vec<NamespaceInode>>,
}

impl<'a> Levels<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            host: hosts(world),
            chains: HashMap::new(),
        }
    }

    /// This namespace and those that it lies in, as far as they are known, the innermost first.
    fn chain(&mut self, inode: NamespaceInode) -> &[NamespaceInode] {
        let world = self.world;
        self.chains.entry(inode).or_insert_with(|| {
            let mut chain = vec![inode];
            let parent = |inode| world.namespace(inode).and_then(|n| n.parent);
            let mut next = parent(inode);
            while let Some(outer) = next.filter(|_| chain.len() < 33) {
                chain.push(outer);
                next = parent(outer);
            }
            chain
        })
    }

    /// From the host inwards.
    fn of(&mut self, process: &Process) -> Vec<Place> {
        let depth = process.pids.len();
        let host = self.host;
        let chain = match process.namespaces.pid {
            Some(inode) => self.chain(inode).to_vec(),
            None => Vec::new(),
        };
        let place = |(level, pid): (usize, &i32)| {
            let known = chain.get(depth - 1 - level).copied();
            (if level == 0 { host } else { known }, *pid)
        };
        process.pids.iter().enumerate().map(place).collect()
    }
}

/// A process that is drawn, and where.
struct Drawn {
    process: Arc<Process>,
    places: Vec<Place>,
}

impl Drawn {
    fn row(&self, level: usize, known: &Known<'_>) -> Row {
        let process = &*self.process;
        let numbers = |places: &[Place]| {
            let all: Vec<String> = places.iter().map(|(_, pid)| pid.to_string()).collect();
            all.join("/")
        };
        let may_look = known.may_look(process);
        let innermost = level + 1 == self.places.len();
        Row {
            pid: self.places[level].1,
            other: match level {
                0 => format!("→ {}", numbers(&self.places[1..])),
                level => format!("← {}", numbers(&self.places[..level])),
            },
            pair: process.host_pid.0,
            identity: identity(process),
            command: if may_look {
                cut(&named(process), 120)
            } else {
                visible(&process.command)
            },
            title: if may_look {
                cut(&process_line(&process.args), 600)
            } else {
                String::new()
            },
            // On the levels between, what it is called is not known; nor is there room for it.
            uid: match (level, innermost) {
                (0, _) => Some(process.uid).filter(|_| self.places.len() <= 2),
                (_, true) => process.uid_inside,
                (_, false) => None,
            },
            session: process.session.as_ref().map(ToString::to_string),
        }
    }
}

/// A process that only exists on the host's side.
fn outside(process: &Process, known: &Known<'_>) -> Row {
    let may_look = known.may_look(process);
    Row {
        pid: process.host_pid.0,
        other: String::new(),
        pair: process.host_pid.0,
        identity: identity(process),
        command: if may_look {
            cut(&named(process), 120)
        } else {
            visible(&process.command)
        },
        title: String::new(),
        uid: None,
        session: None,
    }
}

impl PidMap {
    /// Of this container and of what is nested in it; `None` where it does not run or nothing has
    /// been seen of it yet.
    pub fn of(container: &AnyContainer, world: &World, scene: Scene<'_>) -> Option<Self> {
        let known = Known::new(world, scene);
        let init = world.process(container.pid()?)?;
        let mut levels = Levels::new(world);
        let same = init.pids.len() < 2;
        let own = init.namespaces.pid;
        let mut mine: Vec<Drawn> = Vec::new();
        let of_container = world.processes_of(container.id());
        let candidates = if same {
            of_container
        } else {
            world.processes()
        };
        for process in candidates {
            let mut places = levels.of(&process);
            let sees = same || places.len() > 1 && places.iter().any(|(n, _)| *n == own);
            let is_its = process.container.as_ref() == Some(container.id());
            if !sees && !is_its && process.host_pid != init.host_pid {
                continue;
            }
            if same {
                places.push((levels.host, process.host_pid.0));
            }
            mine.push(Drawn { process, places });
        }
        let address = format!("/containers/{}/processes", super::reference(container));
        let mut map = Self::new(mine, &mut levels, &known, OF_CONTAINER, address);
        if same && let Some(side) = map.levels.get_mut(1).and_then(|l| l.sides.first_mut()) {
            "the host's PID namespace: every process is seen".clone_into(&mut side.hidden);
            side.who = visible(container.name());
        }
        Some(map)
    }

    /// Of these processes, wherever they are; `None` without any.
    pub fn of_processes(processes: Vec<Arc<Process>>, known: &Known<'_>) -> Option<Self> {
        let mut levels = Levels::new(known.world);
        let drawn: Vec<Drawn> = processes
            .into_iter()
            .map(|process| Drawn {
                places: levels.of(&process),
                process,
            })
            .collect();
        let address = "/processes".to_owned();
        (!drawn.is_empty()).then(|| Self::new(drawn, &mut levels, known, OF_HOST, address))
    }

    fn new(
        mut drawn: Vec<Drawn>,
        levels: &mut Levels<'_>,
        known: &Known<'_>,
        most: usize,
        address: String,
    ) -> Self {
        let all = drawn.len();
        drawn.truncate(most);
        let deepest = drawn.iter().map(|d| d.places.len()).max().unwrap_or(1);
        for one in &mut drawn {
            one.places.truncate(LEVELS);
        }
        let visible_in = visible_in(levels);
        let total = known.world.processes().len();
        let mut columns = vec![Level {
            sides: vec![host_side(&drawn, levels.host, known)],
            lines: Vec::new(),
        }];
        let mut tops = column_tops(&columns[0].sides);
        for level in 1..deepest.min(LEVELS) {
            let mut sides = sides(&drawn, level, known, |inode| {
                let seen = visible_in.get(&inode).copied().unwrap_or_default();
                unseen(total.saturating_sub(seen), deepest)
            });
            if level > 1 || sides.len() > 1 {
                put_beside(&mut sides, &tops);
            }
            let now = column_tops(&sides);
            let width = width(deepest);
            let mut lines: Vec<_> = now
                .iter()
                .filter_map(|(pair, to)| Some((*pair, line(*tops.get(pair)?, *to, width))))
                .collect();
            lines.sort_unstable();
            columns.push(Level { sides, lines });
            tops = now;
        }
        let mut more = match all - drawn.len() {
            0 => String::new(),
            left => count(left, "more is not drawn.", "more are not drawn."),
        };
        if deepest > LEVELS {
            let left = count(deepest - LEVELS, "level", "levels");
            let _ = write!(more, " {left} further in are not drawn.");
        }
        Self {
            base: known.scene.base.to_owned(),
            height: columns
                .iter()
                .map(|c| column_height(&c.sides))
                .max()
                .unwrap_or(0),
            width: width(deepest),
            levels: columns,
            more,
            processes: format!("{}{address}", known.scene.base),
        }
    }
}

/// What a namespace does not see, in words that fit into its column.
fn unseen(number: usize, levels: usize) -> String {
    if levels > 2 {
        return format!("{number} others it cannot see");
    }
    count(
        number,
        "other process of the host does not exist here",
        "other processes of the host do not exist here",
    )
}

/// Lowers boxes to where their first process stands in the column before.
fn put_beside(sides: &mut [Side], tops: &HashMap<i32, usize>) {
    let mut free = 0;
    for side in sides {
        let first = side.rows.first().and_then(|row| tops.get(&row.pair));
        let wanted = first.map_or(0, |middle| middle.saturating_sub(HEAD + ROW / 2));
        side.before = wanted.saturating_sub(free);
        free += side.before + side.height() + GAP;
    }
}

/// How many processes each PID namespace sees.
fn visible_in(levels: &mut Levels<'_>) -> HashMap<NamespaceInode, usize> {
    let mut seen = HashMap::new();
    for process in levels.world.processes() {
        if process.pids.len() < 2 {
            continue;
        }
        for (inode, _) in levels.of(&process).into_iter().skip(1) {
            if let Some(inode) = inode {
                *seen.entry(inode).or_default() += 1;
            }
        }
    }
    seen
}

fn host_side(drawn: &[Drawn], inode: Option<NamespaceInode>, known: &Known<'_>) -> Side {
    let mut rows: Vec<Row> = Vec::new();
    let mut shown: HashSet<HostPid> = drawn.iter().map(|d| d.process.host_pid).collect();
    // Those who lead to the outermost ones, each once.
    let firsts = drawn.iter().filter(|d| {
        let parent = d.process.parent;
        parent.is_none_or(|parent| !shown.contains(&parent))
    });
    let lead: Vec<_> = firsts
        .flat_map(|d| ancestors(known.world, &d.process))
        .collect();
    for process in lead {
        if shown.insert(process.host_pid) {
            rows.push(outside(&process, known));
        }
    }
    rows.extend(drawn.iter().map(|d| d.row(0, known)));
    rows.sort_by_key(|row| row.pid);
    Side {
        who: "The host".to_owned(),
        address: None,
        namespace: inode.map_or_else(String::new, |inode| format!("pid:[{inode}]")),
        inode: inode.map(|inode| inode.0),
        inside: false,
        rows,
        hidden: String::new(),
        before: 0,
    }
}

fn sides(
    drawn: &[Drawn],
    level: usize,
    known: &Known<'_>,
    hidden: impl Fn(NamespaceInode) -> String,
) -> Vec<Side> {
    let here: Vec<&Drawn> = drawn.iter().filter(|d| d.places.len() > level).collect();
    let mut order = Vec::new();
    let mut met = BTreeSet::new();
    for one in &here {
        if met.insert(one.places[level].0) {
            order.push(one.places[level].0);
        }
    }
    order
        .into_iter()
        .map(|inode| {
            let members = here.iter().filter(|d| d.places[level].0 == inode);
            let mut rows: Vec<Row> = members.map(|d| d.row(level, known)).collect();
            rows.sort_by_key(|row| row.pid);
            let place = inode.and_then(|inode| known.of_pid_namespace(inode));
            Side {
                who: place.map_or_else(|| "A namespace".to_owned(), |p| p.name.clone()),
                address: place.map(|p| format!("{}/containers/{}", known.scene.base, p.at)),
                namespace: inode.map_or_else(String::new, |inode| format!("pid:[{inode}]")),
                inode: inode.map(|inode| inode.0),
                inside: true,
                rows,
                hidden: inode.map_or_else(String::new, &hidden),
                before: 0,
            }
        })
        .collect()
}

impl Side {
    /// Rows and the line about what is hidden.
    fn height(&self) -> usize {
        HEAD + FOOT + ROW * (self.rows.len() + usize::from(!self.hidden.is_empty()))
    }
}

fn column_height(sides: &[Side]) -> usize {
    sides
        .iter()
        .map(|side| side.before + side.height())
        .sum::<usize>()
        + GAP * sides.len().saturating_sub(1)
}

/// The middle of each process's row, from the column's top.
fn column_tops(sides: &[Side]) -> HashMap<i32, usize> {
    let mut tops = HashMap::new();
    let mut top = 0;
    for side in sides {
        top += side.before;
        for (index, row) in side.rows.iter().enumerate() {
            tops.insert(row.pair, top + HEAD + index * ROW + ROW / 2);
        }
        top += side.height() + GAP;
    }
    tops
}

/// How wide the lines between two of so many columns are.
const fn width(levels: usize) -> usize {
    if levels > 2 { 64 } else { 120 }
}

fn line(from: usize, to: usize, width: usize) -> String {
    let middle = width / 2;
    format!("M0 {from} C{middle} {from} {middle} {to} {width} {to}")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn pids(side: &Side) -> Vec<(i32, i32)> {
        side.rows.iter().map(|row| (row.pid, row.pair)).collect()
    }

    fn of(world: &World, name: &str) -> Option<PidMap> {
        let container = world.find_any(name).expect("there");
        let who = sample::admin();
        PidMap::of(
            &container,
            world,
            Scene {
                base: "",
                who: &who,
            },
        )
    }

    #[test]
    fn both_sides_show_the_same_processes() {
        let map = of(&sample::world(), "web").expect("runs");
        let [host, inside] = &map.levels[..] else {
            panic!("{map:#?}")
        };
        let rows = &inside.sides[0].rows;
        let inside_rows: Vec<_> = rows.iter().map(|r| (r.pid, r.pair, r.uid)).collect();
        assert_eq!(
            inside_rows,
            [
                (1, 7548, Some(0)),
                (6, 7561, Some(0)),
                (8, 7563, Some(33)),
                (14, 7604, Some(0)),
            ]
        );
        assert_eq!(inside.lines.len(), 4);
        let first = &host.sides[0].rows[0];
        assert_eq!((first.pid, first.other.as_str()), (1, ""));
        let session = rows.iter().find(|row| row.session.is_some());
        assert_eq!(
            session.map(|row| row.pid),
            Some(14),
            "a session's own is marked"
        );
    }

    #[test]
    fn every_level_of_nesting_is_a_column() {
        let map = of(&sample::nested(), "shop-db").expect("runs");
        let levels: Vec<Vec<_>> = map
            .levels
            .iter()
            .skip(1)
            .map(|level| level.sides.iter().map(pids).collect())
            .collect();
        assert_eq!(
            levels,
            [
                vec![vec![(1, 5600), (72, 5709), (74, 5710), (75, 5712)]],
                vec![vec![(1, 5710), (3, 5712)]],
            ]
        );
        assert_eq!(map.levels[2].lines.len(), 2);
        let deepest = &map.levels[2].sides[0].rows[1];
        assert_eq!(deepest.other, "← 5712/75");
        assert_eq!(
            map.levels[0].sides[0].rows.last().map(|r| r.other.as_str()),
            Some("→ 75/3")
        );
    }

    #[test]
    fn a_large_set_is_bounded_and_counted() {
        let world = sample::nested();
        sample::fill_with(&world, 500, 2);
        let who = sample::admin();
        let known = Known::new(
            &world,
            Scene {
                base: "",
                who: &who,
            },
        );
        let nested = world.processes().into_iter().filter(|p| p.pids.len() > 1);
        let map = PidMap::of_processes(nested.collect(), &known).expect("there");
        assert!(map.levels[0].sides[0].rows.len() < 220);
        assert!(map.more.contains("are not drawn"), "{}", map.more);
    }

    #[test]
    fn what_does_not_run_has_no_map() {
        assert_eq!(of(&sample::world(), "old-lab"), None);
    }
}
