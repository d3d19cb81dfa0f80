//! The boxes of the graph: the host, containers, processes outside containers with namespaces of their
//! own, namespaces without a process; and which is nested in which.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::namespace::NamespaceType;

use super::super::super::words::visible;
use super::super::listing::Listing;
use super::super::matrix;
use super::super::survey::Survey;

/// What a box stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Host,
    Container(ContainerId),
    /// Namespaces of a process that is in no container.
    Process(HostPid),
    /// A namespace that no process is in.
    Held(NamespaceInode),
}

pub(super) struct Group {
    who: Who,
    pub(super) title: String,
    pub(super) to: Option<String>,
    pub(super) sub: String,
    pub(super) namespaces: BTreeMap<NamespaceType, NamespaceInode>,
    parent: usize,
}

pub(super) struct Groups<'a> {
    pub(super) survey: &'a Survey<'a>,
    pub(super) all: Vec<Group>,
    /// The box that a namespace is at home in: the first that is in it.
    pub(super) home: HashMap<NamespaceInode, usize>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(survey: &'a Survey<'a>, listing: &Listing) -> Self {
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
                let holder = survey.keeps(&namespace).into_iter().next();
                let holder = holder.filter(|_| !namespace.holders.is_empty());
                let (kind, inode) = (namespace.kind, namespace.inode);
                Group {
                    who,
                    title: holder.map_or_else(|| format!("{kind}:[{inode}]"), |h| h.text),
                    to: Some(survey.address(kind, inode)),
                    sub: "without a process".to_owned(),
                    namespaces: BTreeMap::from([(namespace.kind, namespace.inode)]),
                    parent: 0,
                }
            };
            self.all.push(group);
        }
    }

    pub(super) fn is_initial(&self, inode: NamespaceInode) -> bool {
        self.survey.namespace(inode).is_some_and(|n| n.initial)
    }

    /// Whether a namespace is this box's before any other's.
    pub(super) fn is_home(&self, number: usize, inode: NamespaceInode) -> bool {
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
    pub(super) fn in_order(&self) -> Vec<(usize, usize)> {
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
}
