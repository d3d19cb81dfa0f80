//! Where the boxes, interfaces and wires of the drawing stand.
//!
//! On the left a namespace that others are wired to, each of its ports on the height of its other
//! end, so that most wires are straight; the others on the right. Wires that cannot be straight turn
//! in the gap between the columns, those between two of the right column beyond it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::plan::{Cluster, End, Link, Plan};

/// The height of an interface with its distance to the next.
const ROW: usize = 24;
/// The height of a box above its first interface.
const HEAD: usize = 42;
const FOOT: usize = 8;
const GAP: usize = 14;
pub(super) const HUB: usize = 444;
pub(super) const SIDE: usize = 350;
/// From an edge of a box to what is in it.
const INSET: usize = 14;
const BRIDGE: usize = 176;
const PORT: usize = 228;
/// The distance of wires that turn, and how many turn at places of their own.
const LANE: usize = 8;
const LANES: usize = 30;

/// A namespace's box.
pub(super) struct Area {
    pub(super) space: usize,
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// An interface's.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) x: usize,
    /// Of its middle.
    pub(super) y: usize,
    pub(super) width: usize,
    left: bool,
}

impl Spot {
    pub(super) const fn right(self) -> usize {
        self.x + self.width
    }

    /// Where a wire leaves: a bridge's below the lines to its ports.
    const fn leaves(self) -> usize {
        if self.left && self.right() < PORT {
            self.y + 7
        } else {
            self.y
        }
    }
}

/// How many wires turn between the columns at most.
fn turns(plan: &Plan<'_>, clusters: &[Cluster]) -> usize {
    let hubs: BTreeSet<usize> = clusters.iter().map(|c| c.hub).collect();
    let straight = |link: &&Link| {
        let (a, b) = (link.ends.0.0, link.ends.1.0);
        clusters
            .iter()
            .any(|c| (c.hub == a && c.around.contains(&b)) || (c.hub == b && c.around.contains(&a)))
    };
    let touches = |link: &&Link| hubs.contains(&link.ends.0.0) || hubs.contains(&link.ends.1.0);
    let all = plan.links.iter().filter(touches);
    all.filter(|link| !straight(link) || !link.pair).count()
}

/// Everything's place.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) areas: Vec<Area>,
    pub(super) spots: BTreeMap<End, Spot>,
    /// From bridges to their ports.
    pub(super) buses: Vec<String>,
    /// By the place of the link.
    pub(super) paths: BTreeMap<usize, String>,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Layout {
    /// Of so many boxes at most.
    pub(super) fn new(plan: &Plan<'_>, boxes: usize) -> Self {
        let mut layout = Self::default();
        let mut room = boxes;
        let (mut y, mut shown) = (1, BTreeSet::new());
        let mut clusters = Vec::new();
        for cluster in &plan.clusters {
            if room == 0 {
                break;
            }
            let around = cluster.around.iter().take(room - 1).copied();
            let cluster = Cluster {
                hub: cluster.hub,
                around: around.collect(),
            };
            room -= 1 + cluster.around.len();
            shown.insert(cluster.hub);
            shown.extend(&cluster.around);
            clusters.push(cluster);
        }
        let side = HUB + 1 + 40 + LANE * turns(plan, &clusters).min(LANES);
        for cluster in &clusters {
            y = layout.cluster(plan, cluster, side, y) + GAP;
        }
        let beyond = layout.wire(plan);
        let right = layout.areas.iter().map(|a| a.x + a.width).max();
        layout.width = right.unwrap_or(HUB) + 12 + beyond * LANE;
        layout.height = y;
        layout
    }

    fn cluster(&mut self, plan: &Plan<'_>, cluster: &Cluster, side: usize, top: usize) -> usize {
        let mut aligned: HashMap<End, End> = HashMap::new();
        for Link { ends: (a, b), .. } in &plan.links {
            for (here, there) in [(*a, *b), (*b, *a)] {
                if here.0 == cluster.hub && cluster.around.contains(&there.0) {
                    aligned.entry(here).or_insert(there);
                }
            }
        }
        let drawn: Vec<End> = plan.drawn(cluster.hub).collect();
        let masters: BTreeSet<End> = drawn.iter().filter_map(|e| plan.master(*e)).collect();
        let mut above: Vec<End> = drawn
            .iter()
            .filter(|e| !aligned.contains_key(e) && !masters.contains(e))
            .copied()
            .collect();
        above.sort_by_key(|e| (plan.interface(*e).master, *e));
        let pushed = if above.is_empty() {
            0
        } else {
            above.len() * ROW + GAP
        };
        let mut y = top + pushed;
        for space in &cluster.around {
            y = self.side(plan, *space, (side, y)) + GAP;
        }
        let below = y.saturating_sub(GAP);
        for (row, end) in above.iter().enumerate() {
            self.hub_row(plan, *end, top + HEAD + row * ROW + ROW / 2);
        }
        for (here, there) in &aligned {
            if let Some(spot) = self.spots.get(there).copied() {
                self.hub_row(plan, *here, spot.y);
            }
        }
        self.bridges(plan, &drawn, &masters);
        let rows = drawn.iter().filter_map(|e| self.spots.get(e)).map(|s| s.y);
        let lowest = rows.max().map_or(top + HEAD, |y| y + ROW / 2);
        let height = lowest + FOOT - top;
        self.areas.push(Area {
            space: cluster.hub,
            x: 1,
            y: top,
            width: HUB,
            height,
        });
        below.max(top + height)
    }

    fn hub_row(&mut self, plan: &Plan<'_>, end: End, y: usize) {
        let x = if plan.master(end).is_some() {
            PORT
        } else {
            INSET
        };
        let width = HUB - INSET - x;
        let left = true;
        let spot = Spot { x, y, width, left };
        self.spots.insert(end, spot);
    }

    /// A bridge stands on the height of its first port, with a line to each.
    fn bridges(&mut self, plan: &Plan<'_>, drawn: &[End], masters: &BTreeSet<End>) {
        for (number, master) in masters.iter().enumerate() {
            let is_port = |e: &&End| plan.master(**e) == Some(*master);
            let ports = drawn
                .iter()
                .filter(is_port)
                .filter_map(|e| self.spots.get(e));
            let mut ports: Vec<usize> = ports.map(|spot| spot.y).collect();
            ports.sort_unstable();
            let (Some(y), Some(last)) = (ports.first().copied(), ports.last()) else {
                continue;
            };
            let bus = INSET + BRIDGE + 6 + number % 5 * 6;
            let mut path = format!("M{} {y} H{bus} V{last}", INSET + BRIDGE);
            for port in &ports {
                path.push_str(&format!(" M{bus} {port} H{PORT}"));
            }
            self.buses.push(path);
            let spot = Spot {
                x: INSET,
                y,
                width: BRIDGE,
                left: true,
            };
            self.spots.insert(*master, spot);
        }
    }

    fn side(&mut self, plan: &Plan<'_>, space: usize, (x, y): (usize, usize)) -> usize {
        let mut rows = 0;
        for end in plan.drawn(space) {
            let spot = Spot {
                x: x + INSET,
                y: y + HEAD + rows * ROW + ROW / 2,
                width: SIDE - 2 * INSET,
                left: false,
            };
            self.spots.insert(end, spot);
            rows += 1;
        }
        let height = HEAD + rows * ROW + FOOT;
        self.areas.push(Area {
            space,
            x,
            y,
            width: SIDE,
            height,
        });
        y + height
    }

    /// Draws the wires; how many turn beyond the right column.
    fn wire(&mut self, plan: &Plan<'_>) -> usize {
        let (mut between, mut beyond) = (0, 0);
        for (number, Link { ends: (a, b), .. }) in plan.links.iter().enumerate() {
            let (Some(a), Some(b)) = (self.spots.get(a), self.spots.get(b)) else {
                continue;
            };
            let (a, b) = if a.left { (a, b) } else { (b, a) };
            let (ends, x) = match (a.left, b.left) {
                (true, false) if a.leaves() == b.y => ((a.right(), b.x), None),
                (true, _) => {
                    between += 1;
                    let x = HUB + 1 + 12 + LANE * (between % LANES);
                    let to = if b.left { b.right() } else { b.x };
                    ((a.right(), to), Some(x))
                }
                (false, _) => {
                    beyond += 1;
                    let edge = a.right() + INSET;
                    let x = edge + 4 + LANE * (beyond % LANES);
                    ((a.right(), b.right()), Some(x))
                }
            };
            let path = match x {
                None => format!("M{} {} H{}", ends.0, a.y, ends.1),
                Some(x) => format!(
                    "M{} {} H{x} V{} H{}",
                    ends.0,
                    a.leaves(),
                    b.leaves(),
                    ends.1
                ),
            };
            self.paths.insert(number, path);
        }
        beyond.min(LANES)
    }
}
