//! Containers as boxes with their eight, what hangs from what as lines.
//!
//! Boxes stand below each other, each indented below the one that it is nested in; the lines run in
//! the indent, those of what is shared on the right. Everything has its place by arithmetic, so that
//! the drawing is the same whenever the host is.

use std::collections::{BTreeMap, HashMap, HashSet};

mod groups;

use askama::Template;
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::NamespaceType;

use super::super::html;
use super::super::live::Slot;
use super::super::processes::row::cut;
use super::super::words::count;
use super::listing::Listing;
use super::survey::Survey;
use groups::Groups;

/// Boxes of a drawing unless all are asked for.
pub(super) const BOXES: usize = 40;
/// Lanes for what is shared.
const LANES: usize = 24;

const INDENT: usize = 52;
const WIDTH: usize = 600;
const HEIGHT: usize = 46;
const GAP: usize = 12;
const CELL: usize = 45;
/// Where a box's cells begin.
const CELLS: usize = WIDTH - 8 * CELL - 8;
/// Characters of a title: drawn text does not cut itself.
const TITLE: usize = 22;

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

/// A box with its cells.
fn card(
    groups: &Groups<'_>,
    number: usize,
    (x, y): (usize, usize),
    shared: &Shared,
) -> Option<Card> {
    let group = groups.all.get(number)?;
    let cells = group.namespaces.iter().map(|(kind, inode)| {
        let place = NamespaceType::ALL.iter().position(|k| k == kind);
        let known = groups.survey.namespace(*inode);
        let processes = known.map_or(0, |n| n.processes as usize);
        let (class, whose) = match (groups.is_initial(*inode), shared.contains(inode)) {
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
            to: groups.survey.address(*kind, *inode),
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
        title: cut(&group.title, TITLE),
        whole: group.title.clone(),
        sub: cut(&group.sub, TITLE),
        cells: cells.collect(),
    })
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
pub(super) fn slot(survey: &Survey<'_>, listing: &Listing) -> (Slot, usize, usize) {
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
        card(&groups, *number, *place, &shared)
    });
    let graph = Graph {
        width,
        height: order.len() * (HEIGHT + GAP),
        cards: cards.collect(),
        wires: all,
    };
    (Slot::whole("graph", html(&graph)), order.len() - 1, total)
}
