//! The two types that nest, drawn as they do: process numbers, and users.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::{NamespaceType, PerNamespace};
use porthole_protocol::observation::Namespace;

use super::super::html;
use super::super::live::{Part, Slot};
use super::super::words::{count, visible};
use super::listing::Listing;
use super::survey::{Link, Survey};

/// Rows of a tree unless all are asked for.
pub(super) const ROWS: usize = 150;

/// So deep the kernel nests (`MAX_PID_NS_LEVEL`, and `user_namespaces(7)`); what is deeper here is a
/// torn reading.
const DEEPEST: usize = 40;

#[derive(Template)]
#[template(path = "partials/namespaces_tree_row.html")]
struct Row {
    kind: NamespaceType,
    twig: String,
    inode: NamespaceInode,
    to: String,
    initial: bool,
    level: usize,
    processes: u32,
    leader: Option<(Link, Vec<i32>)>,
    command: String,
    owner_uid: Option<u32>,
    owns: Vec<(NamespaceType, usize)>,
    containers: Vec<Link>,
    more_containers: usize,
}

/// A namespace with the branches that lead to it, and how deep it lies.
type Leaf = (String, usize, Arc<Namespace>);

struct Forest {
    children: BTreeMap<Option<NamespaceInode>, Vec<Arc<Namespace>>>,
    rows: Vec<Leaf>,
}

impl Forest {
    fn grow(&mut self, namespace: Arc<Namespace>, level: usize, twig: &str, below: &str) {
        let own = self
            .children
            .remove(&Some(namespace.inode))
            .unwrap_or_default();
        self.rows.push((twig.to_owned(), level, namespace));
        let last = own.len().saturating_sub(1);
        for (index, child) in own.into_iter().enumerate() {
            let (branch, beneath) = match (level >= DEEPEST, index == last) {
                (true, _) => ("", ""),
                (false, true) => ("└─ ", "   "),
                (false, false) => ("├─ ", "│  "),
            };
            self.grow(
                child,
                level + 1,
                &format!("{below}{branch}"),
                &format!("{below}{beneath}"),
            );
        }
    }
}

fn tree(kind: NamespaceType, survey: &Survey<'_>) -> Vec<Leaf> {
    let all = survey.namespaces.iter().filter(|n| n.kind == kind);
    let known: HashSet<_> = all.clone().map(|n| n.inode).collect();
    let mut children: BTreeMap<_, Vec<Arc<Namespace>>> = BTreeMap::new();
    for namespace in all {
        let is_known =
            |parent: &NamespaceInode| known.contains(parent) && *parent != namespace.inode;
        let parent = namespace.parent.filter(is_known);
        children.entry(parent).or_default().push(namespace.clone());
    }
    let mut roots = children.remove(&None).unwrap_or_default();
    roots.sort_by_key(|n| (!n.initial, n.inode));
    let mut forest = Forest {
        children,
        rows: Vec::with_capacity(known.len()),
    };
    for root in roots {
        forest.grow(root, 0, "", "");
    }
    forest.rows
}

/// A namespace of a tree that a list is about, and all that it lies below.
fn meant(rows: Vec<Leaf>, listing: &Listing, survey: &Survey<'_>) -> Vec<Leaf> {
    if !listing.narrows() {
        return rows;
    }
    let everything = Listing {
        kind: String::new(),
        hide: String::new(),
        ..listing.clone()
    };
    let mut wanted: HashSet<_> = everything.select(survey).iter().map(|n| n.inode).collect();
    // Below comes after: from the end every parent of a wanted one is reached.
    for (_, _, namespace) in rows.iter().rev() {
        if wanted.contains(&namespace.inode) {
            wanted.extend(namespace.parent);
        }
    }
    let mut rows = rows;
    rows.retain(|(_, _, namespace)| wanted.contains(&namespace.inode));
    rows
}

fn row((twig, level, namespace): &Leaf, survey: &Survey<'_>) -> Row {
    let leader = survey.leader(namespace);
    let mut owns = PerNamespace::<usize>::default();
    if namespace.kind == NamespaceType::User && namespace.children > 0 {
        for owned in survey.owned_by(namespace.inode) {
            *owns.get_mut(owned.kind) += 1;
        }
        // A user namespace's own of its type are the next rows.
        owns.user = 0;
    }
    let mut containers = survey.containers_in(namespace.inode);
    let shown = containers
        .by_ref()
        .take(3)
        .map(|c| survey.container_link(c))
        .collect();
    Row {
        kind: namespace.kind,
        twig: twig.clone(),
        inode: namespace.inode,
        to: survey.address(namespace.kind, namespace.inode),
        initial: namespace.initial,
        level: *level,
        processes: namespace.processes,
        leader: leader.map(|process| {
            let link = Link {
                to: survey.process_address(process.host_pid),
                text: visible(&process.command),
            };
            (link, process.pids.clone())
        }),
        command: leader.map_or_else(String::new, |process| survey.line(process)),
        owner_uid: namespace.owner_uid,
        owns: owns
            .iter()
            .map(|(kind, n)| (kind, *n))
            .filter(|(_, n)| *n > 0)
            .collect(),
        containers: shown,
        more_containers: containers.count(),
    }
}

/// The rows of both trees, and how many are not drawn.
pub(super) fn slots(survey: &Survey<'_>, listing: &Listing) -> (Vec<Slot>, usize) {
    let mut hidden = 0;
    let mut slots = Vec::new();
    for (kind, id, number) in [
        (NamespaceType::Pid, "pid-tree", "pid-count"),
        (NamespaceType::User, "user-tree", "user-count"),
    ] {
        let rows = meant(tree(kind, survey), listing, survey);
        let limit = listing.limit(ROWS);
        hidden += rows.len().saturating_sub(limit);
        let deepest = rows
            .iter()
            .map(|(_, level, _)| *level)
            .max()
            .unwrap_or_default();
        let words = match rows.len() {
            0 => "none".to_owned(),
            rows => format!(
                "{}, {}",
                count(rows, "namespace", "namespaces"),
                match deepest {
                    0 => "none below another".to_owned(),
                    deepest => format!("{} deep", count(deepest + 1, "level", "levels")),
                }
            ),
        };
        let parts = rows
            .iter()
            .take(limit)
            .map(|leaf| Part {
                id: format!("t-{}", leaf.2.inode),
                html: html(&row(leaf, survey)),
            })
            .collect();
        slots.push(Slot { id, parts });
        slots.push(Slot::whole(number, words));
    }
    (slots, hidden)
}
