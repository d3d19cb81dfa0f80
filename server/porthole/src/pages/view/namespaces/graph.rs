//! Containers as boxes with their eight, what hangs from what as lines.
//!
//! Boxes stand below each other, each indented below the one that it is nested in; the lines run in
//! the indent, those of what is shared on the right. Everything has its place by arithmetic, so that
//! the drawing is the same whenever the host is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use askama::Template;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;

use super::super::html;
use super::super::live::Slot;
use super::super::words::{count, visible};
use super::listing::Listing;
use super::matrix;
use super::survey::Survey;

/// Boxes of a drawing unless all are asked for.
pub const BOXES: usize = 40;
/// Lanes for what is shared.
const LANES: usize = 24;

const INDENT: usize = 52;
const WIDTH: usize = 600;
const HEIGHT: usize = 46;
const GAP: usize = 12;
const CELL: usize = 45;
/// Where a box's cells begin.
const CELLS: usize = WIDTH - 8 * CELL - 8;
/// Characters of a title.
const TITLE: usize = 26;

struct Cell {
    x: usize,
    y: usize,
    kind: NamespaceType,
    inode: NamespaceInode,
    to: String,
    class: &'static str,
    title: String,
}

struct Card {
    x: usize,
    y: usize,
    to: Option<String>,
    title: String,
    whole: String,
    sub: String,
    cells: Vec<Cell>,
}

struct Wire {
    kind: NamespaceType,
    inode: NamespaceInode,
    class: &'static str,
    path: String,
    title: String,
}

#[derive(Template)]
#[template(path = "partials/namespaces_graph.html")]
struct Graph {
    width: usize,
    height: usize,
    cards: Vec<Card>,
    wires: Vec<Wire>,
}

/// What a box stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Host,
    Container(ContainerId),
    /// Namespaces of a process that is in no container.
    Process(HostPid),
    /// A namespace that no process is in.
    Held(NamespaceInode),
}

struct Group {
    who: Who,
    title: String,
    to: Option<String>,
    sub: String,
    namespaces: BTreeMap<NamespaceType, NamespaceInode>,
    parent: usize,
}

struct Groups<'a> {
    survey: &'a Survey<'a>,
    all: Vec<Group>,
    /// The box that a namespace is at home in: the first that is in it.
    home: HashMap<NamespaceInode, usize>,
}

impl<'a> Groups<'a> {
    fn new(survey: &'a Survey<'a>, listing: &Listing) -> Self {
        let initial = survey.namespaces.iter().filter(|n| n.initial);
        let host = Group {
            who: Who::Host,
            title: "The host".to_owned(),
            to: None,
            sub: "its own namespaces".to_owned(),
            namespaces: initial.map(|n| (n.kind, n.inode)).collect(),
            parent: 0,
        };
        let mut groups = Self {
            survey,
            all: vec![host],
            home: HashMap::new(),
        };
        groups.add_containers(listing);
        groups.add_others(listing);
        for (number, group) in groups.all.iter().enumerate() {
            for inode in group.namespaces.values() {
                groups.home.entry(*inode).or_insert(number);
            }
        }
        let parents: Vec<_> = (0..groups.all.len()).map(|n| groups.parent_of(n)).collect();
        for (group, parent) in groups.all.iter_mut().zip(parents) {
            group.parent = parent;
        }
        groups
    }

    fn add_containers(&mut self, listing: &Listing) {
        for container in matrix::chosen(self.survey, listing) {
            let namespaces = container.namespaces().iter();
            let own = container.own().is_some();
            let link = self.survey.container_link(container);
            self.all.push(Group {
                who: Who::Container(container.id().clone()),
                title: link.text,
                to: Some(link.to),
                sub: if own {
                    container.image().map_or_else(String::new, visible)
                } else {
                    container.engine().words().to_owned()
                },
                namespaces: namespaces
                    .filter_map(|(k, n)| Some((k, n.inode?)))
                    .collect(),
                parent: 0,
            });
        }
    }

    /// Namespaces outside containers: those of one process together.
    fn add_others(&mut self, listing: &Listing) {
        let survey = self.survey;
        let mut seen = HashSet::new();
        for namespace in listing.select(survey) {
            if namespace.initial || !survey.container_places(namespace.inode).is_empty() {
                continue;
            }
            let leader = survey.leader(&namespace);
            let who = leader.map_or(Who::Held(namespace.inode), |p| Who::Process(p.host_pid));
            if !seen.insert(who.clone()) {
                continue;
            }
            let group = if let Some(process) = leader {
                let namespaces = process.namespaces.iter();
                Group {
                    who,
                    title: format!("{} {}", visible(&process.command), process.host_pid),
                    to: Some(survey.process_address(process.host_pid)),
                    sub: "in no container".to_owned(),
                    namespaces: namespaces.filter_map(|(k, n)| Some((k, (*n)?))).collect(),
                    parent: 0,
                }
            } else {
                let keeps = survey.keeps(&namespace);
                let kept = keeps.first();
                Group {
                    who,
                    title: kept.map_or_else(|| "kept".to_owned(), |k| k.text.clone()),
                    to: kept.and_then(|k| k.to.clone()),
                    sub: "without a process".to_owned(),
                    namespaces: BTreeMap::from([(namespace.kind, namespace.inode)]),
                    parent: 0,
                }
            };
            self.all.push(group);
        }
    }

    fn is_initial(&self, inode: NamespaceInode) -> bool {
        self.survey.namespace(inode).is_some_and(|n| n.initial)
    }

    /// Whether a namespace is this box's before any other's.
    fn is_home(&self, number: usize, inode: NamespaceInode) -> bool {
        self.home.get(&inode) == Some(&number) && !self.is_initial(inode)
    }

    /// The box that one is nested in.
    fn parent_of(&self, number: usize) -> usize {
        let Some(group) = self.all.get(number).filter(|_| number > 0) else {
            return 0;
        };
        if let Who::Container(id) = &group.who {
            let outer = self.survey.containers.iter().find(|c| c.id() == id);
            let outer = outer.and_then(|c| c.within()).cloned().map(Who::Container);
            let outer = outer.and_then(|who| self.all.iter().position(|g| g.who == who));
            if let Some(outer) = outer.filter(|outer| *outer != number) {
                return outer;
            }
        }
        let own = |kind| {
            let inode = *group.namespaces.get(&kind)?;
            self.is_home(number, inode).then_some(inode)
        };
        // The deeper of the two that nest; where it has neither, who owns what it has.
        let above: Vec<_> = [NamespaceType::Pid, NamespaceType::User]
            .into_iter()
            .filter_map(|kind| self.survey.namespace(own(kind)?)?.parent)
            .collect();
        let above = if above.is_empty() {
            let owners = NamespaceType::ALL.into_iter();
            let owner = |kind| self.survey.namespace(own(kind)?)?.owner;
            owners.filter_map(owner).collect()
        } else {
            above
        };
        let mut homes = above
            .iter()
            .filter_map(|inode| self.home.get(inode).copied());
        homes
            .find(|home| *home != number && *home != 0)
            .unwrap_or_default()
    }

    /// The boxes in the order in which they stand, with how deep each is nested.
    fn in_order(&self) -> Vec<(usize, usize)> {
        let mut below: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, group) in self.all.iter().enumerate().skip(1) {
            below.entry(group.parent).or_default().push(number);
        }
        let mut order = Vec::with_capacity(self.all.len());
        let mut next = vec![(0, 0)];
        let mut seen = BTreeSet::from([0]);
        while let Some((number, level)) = next.pop() {
            order.push((number, level));
            for child in below.get(&number).into_iter().flatten().rev() {
                if seen.insert(*child) {
                    next.push((*child, level + 1));
                }
            }
        }
        // Boxes in a circle: a torn reading. They are drawn all the same.
        order.extend(
            (0..self.all.len())
                .filter(|n| !seen.contains(n))
                .map(|n| (n, 1)),
        );
        order
    }

    fn card(&self, number: usize, (x, y): (usize, usize), shared: &Shared) -> Option<Card> {
        let group = self.all.get(number)?;
        let cells = group.namespaces.iter().map(|(kind, inode)| {
            let place = NamespaceType::ALL.iter().position(|k| k == kind);
            let known = self.survey.namespace(*inode);
            let processes = known.map_or(0, |n| n.processes as usize);
            let (class, whose) = match (self.is_initial(*inode), shared.contains(inode)) {
                (true, _) if number == 0 => ("own", "the host's"),
                (true, _) => ("host", "the host's"),
                (false, true) => ("shared", "shared"),
                (false, false) => ("own", "its own"),
            };
            Cell {
                x: x + CELLS + place.unwrap_or_default() * CELL,
                y: y + 10,
                kind: *kind,
                inode: *inode,
                to: self.survey.address(*kind, *inode),
                class,
                title: format!(
                    "{kind}:[{inode}], {whose}, {}",
                    count(processes, "process", "processes")
                ),
            }
        });
        Some(Card {
            x,
            y,
            to: group.to.clone(),
            title: cut(&group.title),
            whole: group.title.clone(),
            sub: cut(&group.sub),
            cells: cells.collect(),
        })
    }
}

/// Drawn text does not cut itself.
fn cut(text: &str) -> String {
    if text.chars().count() <= TITLE {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(TITLE - 1).collect();
    short.push('…');
    short
}

type Shared = HashSet<NamespaceInode>;

/// Where the boxes that are drawn stand.
struct Layout {
    places: HashMap<usize, (usize, usize)>,
    right: usize,
}

impl Layout {
    fn new(order: &[(usize, usize)]) -> Self {
        let place = |(row, (number, level)): (usize, &(usize, usize))| {
            // Deeper than anybody looks the boxes go straight down.
            (*number, ((*level).min(12) * INDENT, row * (HEIGHT + GAP)))
        };
        let places: HashMap<_, _> = order.iter().enumerate().map(place).collect();
        let right = places.values().map(|(x, _)| x + WIDTH).max();
        Self {
            places,
            right: right.unwrap_or(WIDTH),
        }
    }

    /// A line in the indent, from below one box into another.
    fn wire(&self, from: usize, to: usize, track: usize) -> Option<String> {
        let ((ax, ay), (bx, by)) = (self.places.get(&from)?, self.places.get(&to)?);
        if ay >= by || bx < ax {
            return None;
        }
        let x = ax + 12 + track * 12;
        let y = by + 12 + track * 11;
        Some(format!(
            "M{x} {} V{} Q{x} {y} {} {y} H{bx}",
            ay + HEIGHT,
            y - 6,
            x + 6
        ))
    }
}

fn wires(groups: &Groups<'_>, layout: &Layout) -> Vec<Wire> {
    let survey = groups.survey;
    let mut wires = Vec::new();
    for number in layout.places.keys().copied().filter(|n| *n > 0) {
        let Some(group) = groups.all.get(number) else {
            continue;
        };
        let own = group
            .namespaces
            .iter()
            .filter(|(_, inode)| groups.is_home(number, **inode));
        let mut owners: BTreeMap<NamespaceInode, Vec<&str>> = BTreeMap::new();
        for (kind, inode) in own {
            let Some(known) = survey.namespace(*inode) else {
                continue;
            };
            let home = |inode: NamespaceInode| groups.home.get(&inode).copied();
            if let Some(parent) = known.parent
                && let Some(path) = home(parent).and_then(|from| {
                    layout.wire(from, number, usize::from(*kind == NamespaceType::User))
                })
            {
                wires.push(Wire {
                    kind: *kind,
                    inode: *inode,
                    class: "parent",
                    path,
                    title: format!("{kind}:[{inode}] lies below {kind}:[{parent}]"),
                });
            }
            if let Some(owner) = known
                .owner
                .filter(|o| home(*o).is_some_and(|h| h != number))
            {
                owners.entry(owner).or_default().push(kind.name());
            }
        }
        for (owner, kinds) in owners {
            let from = groups.home.get(&owner).copied();
            if let Some(path) = from.and_then(|from| layout.wire(from, number, 2)) {
                wires.push(Wire {
                    kind: NamespaceType::User,
                    inode: owner,
                    class: "owner",
                    path,
                    title: format!("user:[{owner}] owns its {}", kinds.join(", ")),
                });
            }
        }
    }
    wires.sort_by(|a, b| (a.kind, a.inode, &a.path).cmp(&(b.kind, b.inode, &b.path)));
    wires
}

/// Lines on the right for what several boxes share; what does not fit is not drawn, but marked in
/// the boxes.
fn lanes(groups: &Groups<'_>, layout: &Layout) -> (Shared, Vec<Wire>) {
    let mut sharers: BTreeMap<(NamespaceType, NamespaceInode), Vec<(usize, usize)>> =
        BTreeMap::new();
    for (number, place) in &layout.places {
        let Some(group) = groups.all.get(*number).filter(|_| *number > 0) else {
            continue;
        };
        for (kind, inode) in group
            .namespaces
            .iter()
            .filter(|(_, i)| !groups.is_initial(**i))
        {
            sharers.entry((*kind, *inode)).or_default().push(*place);
        }
    }
    sharers.retain(|_, places| places.len() > 1);
    let shared = sharers.keys().map(|(_, inode)| *inode).collect();
    let lane = |(lane, ((kind, inode), mut places)): (
        usize,
        ((NamespaceType, NamespaceInode), Vec<_>),
    )| {
        places.sort_by_key(|(_, y)| *y);
        let x = layout.right + 14 + lane * 12;
        let track = NamespaceType::ALL
            .iter()
            .position(|k| *k == kind)
            .unwrap_or_default();
        let heights: Vec<usize> = places.iter().map(|(_, y)| y + 7 + track * 4).collect();
        let mut path = String::new();
        if let (Some(first), Some(last)) = (heights.first(), heights.last()) {
            path = format!("M{x} {first} V{last}");
        }
        for ((left, _), y) in places.iter().zip(&heights) {
            path.push_str(&format!(" M{} {y} H{x}", left + WIDTH));
        }
        Wire {
            kind,
            inode,
            class: "sharing",
            path,
            title: format!(
                "{kind}:[{inode}] is shared by {}",
                count(places.len(), "box", "boxes")
            ),
        }
    };
    let drawn = sharers
        .into_iter()
        .take(LANES)
        .enumerate()
        .map(lane)
        .collect();
    (shared, drawn)
}

/// The drawing, how many boxes it has, and how many there are in all.
pub fn slot(survey: &Survey<'_>, listing: &Listing) -> (Slot, usize, usize) {
    let groups = Groups::new(survey, listing);
    let mut order = groups.in_order();
    let total = order.len() - 1;
    order.truncate(listing.limit(BOXES).saturating_add(1));
    let layout = Layout::new(&order);
    let (shared, lanes) = lanes(&groups, &layout);
    let width = layout.right + 14 + lanes.len() * 12 + 8;
    let mut all = wires(&groups, &layout);
    all.extend(lanes);
    let cards = order.iter().filter_map(|(number, _)| {
        let place = layout.places.get(number)?;
        groups.card(*number, *place, &shared)
    });
    let graph = Graph {
        width,
        height: order.len() * (HEIGHT + GAP),
        cards: cards.collect(),
        wires: all,
    };
    (Slot::whole("graph", html(&graph)), order.len() - 1, total)
}
