//! Which network namespaces are drawn, which are connected, and which stand beside which.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::inspection::{Interface, WiredNamespace, Wiring};

/// What the kernel puts into every network namespace where its modules are loaded, unless
/// `net.core.fb_tunnels_only_for_init_net` says otherwise: nobody made them.
const FALLBACKS: [&str; 9] = [
    "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0",
];

/// An interface: the place of its namespace, and its own in that.
pub(super) type End = (usize, usize);

/// What connects two interfaces.
pub(super) struct Link {
    /// That of a bridge's port first, or that which is made on top of the other.
    pub(super) ends: (End, End),
    /// They are a pair, as of veth: neither is made on top of the other.
    pub(super) pair: bool,
}

/// A namespace on the left and those whose wires lead to it on the right.
pub(super) struct Cluster {
    pub(super) hub: usize,
    pub(super) around: Vec<usize>,
}

pub(super) struct Plan<'a> {
    pub(super) spaces: Vec<&'a WiredNamespace>,
    pub(super) links: Vec<Link>,
    /// Interfaces whose other end is nowhere here.
    pub(super) loose: BTreeSet<End>,
    pub(super) clusters: Vec<Cluster>,
    /// Those with only loopback.
    pub(super) bare: Vec<&'a WiredNamespace>,
}

/// Whether an interface is worth a line.
pub(super) fn is_drawn(interface: &Interface) -> bool {
    let fallback = FALLBACKS.contains(&interface.name.as_str());
    interface.kind.as_deref() != Some("loopback") && (interface.up || !fallback)
}

fn is_bare(space: &WiredNamespace) -> bool {
    !space.host
        && !space.cut
        && space.interfaces.left_out == 0
        && !space.interfaces.items.iter().any(is_drawn)
}

impl<'a> Plan<'a> {
    /// Of those that are meant, and of what is wired to them.
    pub(super) fn new(wiring: &'a Wiring, meant: impl Fn(NamespaceInode) -> bool) -> Self {
        let (bare, spaces): (Vec<_>, Vec<_>) =
            wiring.namespaces.items.iter().partition(|s| is_bare(s));
        let mut plan = Self {
            spaces,
            links: Vec::new(),
            loose: BTreeSet::new(),
            clusters: Vec::new(),
            bare: bare.into_iter().filter(|s| meant(s.inode)).collect(),
        };
        plan.connect();
        let mut kept: BTreeSet<usize> = (0..plan.spaces.len())
            .filter(|place| meant(plan.spaces[*place].inode))
            .collect();
        let ends = plan.links.iter().map(|l| (l.ends.0.0, l.ends.1.0));
        let beside: Vec<_> = ends
            .filter(|(a, b)| kept.contains(a) || kept.contains(b))
            .collect();
        kept.extend(beside.iter().flat_map(|(a, b)| [*a, *b]));
        plan.gather(&kept);
        plan
    }

    pub(super) fn interface(&self, (space, place): End) -> &'a Interface {
        &self.spaces[space].interfaces.items[place]
    }

    /// The interfaces of a namespace that are drawn.
    pub(super) fn drawn(&self, space: usize) -> impl Iterator<Item = End> + use<'_, 'a> {
        let all = self.spaces[space].interfaces.items.iter().enumerate();
        all.filter(|(_, one)| is_drawn(one))
            .map(move |(place, _)| (space, place))
    }

    /// The interface that one is a port of.
    pub(super) fn master(&self, end: End) -> Option<End> {
        let index = self.interface(end).master?;
        let mut all = self.spaces[end.0].interfaces.items.iter();
        Some((end.0, all.position(|one| one.index == index)?))
    }

    fn connect(&mut self) {
        let mut places: HashMap<(NamespaceInode, u32), End> = HashMap::new();
        for (space, one) in self.spaces.iter().enumerate() {
            for (place, interface) in one.interfaces.items.iter().enumerate() {
                places.insert((one.inode, interface.index), (space, place));
            }
        }
        let mut links: BTreeMap<(End, End), Link> = BTreeMap::new();
        for space in 0..self.spaces.len() {
            for end in self.drawn(space).collect::<Vec<_>>() {
                let interface = self.interface(end);
                let Some(peer) = &interface.peer else {
                    continue;
                };
                let other = peer.namespace.and_then(|n| places.get(&(n, peer.index)));
                match other.copied() {
                    Some(other) if other != end => {
                        let veth = interface.kind.as_deref() == Some("veth");
                        let link = links.entry((end.min(other), end.max(other)));
                        // What is made on top knows what it is on, and is not known there.
                        link.and_modify(|link| link.pair = true).or_insert(Link {
                            ends: (end, other),
                            pair: veth,
                        });
                    }
                    Some(_) => {}
                    None => {
                        self.loose.insert(end);
                    }
                }
            }
        }
        self.links = links.into_values().collect();
        let is_port = |end| self.interface(end).master.is_some();
        let swapped = |l: &Link| l.pair && !is_port(l.ends.0) && is_port(l.ends.1);
        let turned: Vec<bool> = self.links.iter().map(swapped).collect();
        for (link, _) in self.links.iter_mut().zip(turned).filter(|(_, t)| *t) {
            link.ends = (link.ends.1, link.ends.0);
        }
        for link in &self.links {
            self.loose.remove(&link.ends.0);
            self.loose.remove(&link.ends.1);
        }
    }

    /// Stands each beside the one that most of its like lead to: the host, who has a bridge that
    /// wires to elsewhere are ports of, and of the others those with the most wires.
    fn gather(&mut self, kept: &BTreeSet<usize>) {
        let mut hubs: BTreeSet<usize> = BTreeSet::new();
        let mut neighbours: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for Link { ends: (a, b), .. } in self.links.iter().filter(|l| l.ends.0.0 != l.ends.1.0) {
            for (one, other) in [(*a, *b), (*b, *a)] {
                neighbours.entry(one.0).or_default().insert(other.0);
                if self.interface(one).master.is_some() {
                    hubs.insert(one.0);
                }
            }
        }
        let none = BTreeSet::new();
        let of = |place: &usize| neighbours.get(place).unwrap_or(&none);
        hubs.extend((0..self.spaces.len()).filter(|place| self.spaces[*place].host));
        let mut rest: Vec<usize> = kept.difference(&hubs).copied().collect();
        rest.sort_by_key(|place| (std::cmp::Reverse(of(place).len()), *place));
        let mut beside: BTreeMap<usize, usize> = BTreeMap::new();
        for place in &rest {
            if let Some(hub) = of(place).intersection(&hubs).next() {
                beside.insert(*place, *hub);
            }
        }
        for place in &rest {
            if beside.contains_key(place) {
                continue;
            }
            hubs.insert(*place);
            for other in of(place) {
                if !hubs.contains(other) {
                    beside.entry(*other).or_insert(*place);
                }
            }
        }
        let cluster = |hub: usize| {
            let all = beside.iter().filter(|(_, at)| **at == hub);
            let mut around: Vec<usize> = all.map(|(place, _)| *place).collect();
            around.sort_by_cached_key(|place| (self.port_of(hub, *place), *place));
            Cluster { hub, around }
        };
        let all = hubs.intersection(kept).copied().map(cluster);
        self.clusters = all.collect();
        // Those that nothing is beside of come last, as they have no wire.
        self.clusters.sort_by_key(|c| {
            let alone = c.around.is_empty() && of(&c.hub).is_empty();
            (!self.spaces[c.hub].host, alone, c.hub)
        });
    }

    /// Where in the hub's box a wire to there begins: those of one bridge together.
    fn port_of(&self, hub: usize, place: usize) -> Option<(bool, Option<u32>, u32)> {
        let ends = self
            .links
            .iter()
            .flat_map(|l| [l.ends, (l.ends.1, l.ends.0)]);
        let ports = ends.filter(|(a, b)| a.0 == hub && b.0 == place);
        ports
            .map(|(a, _)| self.interface(a))
            .map(|port| (port.master.is_none(), port.master, port.index))
            .min()
    }
}
