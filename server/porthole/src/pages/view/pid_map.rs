//! One set of processes, seen from every side: as the host numbers them, and as each PID namespace
//! on the way in numbers them anew.
//!
//! A column is a level of nesting, a box in it a PID namespace, a line one process. A namespace
//! sees the processes of those below it, never the reverse: a process that lies three deep stands in
//! three columns.

mod layout;
mod levels;
mod rows;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::observation::Process;

use self::layout::{column_height, column_tops, line, put_beside, width};
use self::levels::{Levels, visible_in};
use self::rows::{Drawn, outside};
use super::Scene;
use super::processes::known::Known;
use super::words::{count, visible};
use crate::world::{AnyContainer, World};

/// Processes of a container's map; the page about processes has them all.
const OF_CONTAINER: usize = 30;
/// Processes of the whole host's.
const OF_HOST: usize = 200;
/// How many ancestors of the first process the host's side shows.
const ANCESTORS: usize = 4;
/// The deepest level that is drawn: the kernel allows 32, and nobody reads so many columns.
const LEVELS: usize = 8;

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
        let address = format!(
            "/containers/{}/processes",
            super::reference(world, container)
        );
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
