//! Namespaces: a container's eight here, and below all of the host.

pub mod detail;
mod graph;
pub mod listing;
mod matrix;
pub mod one;
pub mod page;
pub mod survey;
mod table;
mod trees;
pub mod wires;

#[cfg(test)]
mod sample;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::{Isolation, NamespaceType};
use porthole_protocol::observation::{Namespace, Process};

use super::live::{Part, Region, Slot};
use super::words::visible;
use super::{Scene, commands, html};
use crate::world::{AnyContainer, Change, World};

#[derive(Template)]
#[template(path = "partials/namespace_row.html")]
struct NamespaceRow {
    base: String,
    kind: &'static str,
    inode: Option<String>,
    path: Option<String>,
    isolation: &'static str,
    whose: &'static str,
    shared_with: Vec<(String, String)>,
    isolates: &'static str,
    processes: Option<u32>,
    nsenter: Option<String>,
    lsns: Option<String>,
}

/// The eight rows.
pub fn slot(container: &AnyContainer, world: &World, scene: Scene<'_>) -> Slot {
    let parts = NamespaceType::ALL
        .into_iter()
        .map(|kind| Part {
            id: format!("n-{kind}"),
            html: html(&row(kind, container, world, scene)),
        })
        .collect();
    Slot { id: "rows", parts }
}

fn row(
    kind: NamespaceType,
    container: &AnyContainer,
    world: &World,
    scene: Scene<'_>,
) -> NamespaceRow {
    let namespace = container.namespaces().get(kind);
    let running = container.pid();
    let shared_with = namespace
        .shared_with
        .iter()
        .map(|id| {
            world.any_container(id).map_or_else(
                || (id.to_string(), id.short().to_owned()),
                |c| (super::reference(world, &c), visible(c.name())),
            )
        })
        .collect();
    NamespaceRow {
        base: scene.base.to_owned(),
        kind: kind.name(),
        inode: namespace.inode.map(|inode| format!("{kind}:[{inode}]")),
        path: running.map(|pid| format!("/proc/{pid}/ns/{kind}")),
        isolation: namespace.isolation.name(),
        whose: match namespace.isolation {
            Isolation::Own => "its own",
            Isolation::Host => "the host's",
            Isolation::Shared => "shared",
        },
        shared_with,
        isolates: kind.isolates(),
        processes: namespace
            .inode
            .and_then(|inode| world.namespace(inode))
            .map(|namespace| namespace.processes),
        nsenter: running.map(|pid| commands::nsenter(pid, [kind])),
        lsns: running.map(|pid| commands::lsns(pid, Some(kind))),
    }
}

/// What of a page about namespaces is live: the list, or the one that its path names.
pub fn region(
    world: &World,
    scene: Scene<'_>,
    named: (Option<&str>, Option<&str>),
    query: &str,
) -> Region {
    match named {
        (None, _) => {
            let listing = serde_urlencoded::from_str(query).unwrap_or_default();
            page::region(world, scene, &listing)
        }
        (Some(kind), Some(inode)) => match (kind.parse(), inode.parse()) {
            (Ok(kind), Ok(inode)) => {
                let shown = serde_urlencoded::from_str(query).unwrap_or_default();
                one::region(world, scene, (kind, NamespaceInode(inode)), &shown)
            }
            _ => Region::default(),
        },
        _ => Region::default(),
    }
}

/// Whether what a page about namespaces shows can have changed.
pub fn concerns(world: &World, path: &str, changes: &[Change]) -> bool {
    let inode = path.trim_matches('/').split('/').nth(2);
    let shown: Option<NamespaceInode> = inode.and_then(|i| i.parse().ok()).map(NamespaceInode);
    let is_leader = |process: &Arc<Process>| {
        let inodes = process.namespaces.iter().filter_map(|(_, inode)| *inode);
        let mut known = inodes.filter_map(|inode| world.namespace(inode));
        known.any(|n| n.leader == Some(process.host_pid))
    };
    let is_in = |process: &Arc<Process>, shown| {
        process
            .namespaces
            .iter()
            .any(|(_, inode)| *inode == Some(shown))
    };
    changes.iter().any(|change| match change {
        Change::Namespaces { changed, gone } => shown.is_none_or(|shown| {
            let hangs = |n: &Arc<Namespace>| {
                n.inode == shown || n.owner == Some(shown) || n.parent == Some(shown)
            };
            gone.contains(&shown) || changed.iter().any(hangs) || !gone.is_empty()
        }),
        // Of processes a list shows the leaders; that one is there or gone is told with its
        // namespaces.
        Change::Processes { changed, gone, .. } => match shown {
            Some(shown) => changed.iter().chain(gone.iter()).any(|p| is_in(p, shown)),
            None => changed.iter().any(is_leader),
        },
        Change::Wires => shown.is_none(),
        Change::Container(_)
        | Change::ContainerGone(_)
        | Change::Foreign(_)
        | Change::ForeignGone(_)
        | Change::Keeper => true,
        Change::Session(_)
        | Change::SessionGone(_)
        | Change::Engines
        | Change::Usage
        | Change::Viewers(_)
        | Change::Image(_)
        | Change::ImageGone(_)
        | Change::Importing(_) => false,
    })
}

#[cfg(test)]
mod of_a_container {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_shared_network_names_the_other_container() {
        let world = sample::world();
        let who = sample::admin();
        let scene = Scene {
            base: "/p",
            who: &who,
        };
        let sidecar = world.find_any("sidecar").expect("there");
        let slot = slot(&sidecar, &world, scene);
        let net = slot.parts.iter().find(|p| p.id == "n-net").expect("there");
        assert!(
            net.html.contains("href=\"/p/containers/web\""),
            "{}",
            net.html
        );
        assert!(net.html.contains("/proc/7901/ns/net"), "{}", net.html);
        assert!(net.html.contains("nsenter --target 7901 --net"));
        assert_eq!(slot.parts.len(), 8);
    }
}
