//! Commands of the pages about namespaces.

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::NamespaceType;

use super::super::Scene;
use super::super::namespaces::listing::{Listing, View};
use super::super::namespaces::survey::Survey;
use super::{Api, Equal, equal, noted};
use crate::api::inspect::Sight;
use crate::world::World;

/// Of the list.
pub(super) fn of_list(api: &Api<'_>, query: &str) -> Vec<Equal> {
    let listing: Listing = serde_urlencoded::from_str(query).unwrap_or_default();
    let kind: Option<NamespaceType> = listing.kind.parse().ok();
    let (asked, typed) = match kind {
        Some(kind) => (format!("?type={kind}"), format!(" --type {kind}")),
        None => (String::new(), String::new()),
    };
    let mut rows = vec![
        equal("This list", &api.get(&format!("/namespaces{asked}"))),
        noted(
            "By the kernel alone",
            &format!("lsns{typed} --output +NETNSID,NSFS,PNS,ONS"),
            "As root on the host. Namespaces without a process are left out, or not found, by most versions.",
        ),
    ];
    if listing.drawn() == View::Tree {
        rows.push(equal("The trees", "lsns --tree=parent"));
    }
    rows
}

/// Of the namespace that a path names.
pub(super) fn of_one(api: &Api<'_>, world: &World, scene: Scene<'_>, path: &str) -> Vec<Equal> {
    let inode = path.trim_matches('/').split('/').nth(2);
    let inode = inode
        .and_then(|inode| inode.parse().ok())
        .map(NamespaceInode);
    let Some(namespace) = inode.and_then(|inode| world.namespace(inode)) else {
        return Vec::new();
    };
    let survey = Survey::new(world, scene);
    let (kind, inode) = (namespace.kind, namespace.inode);
    let mut rows = vec![equal(
        "This namespace",
        &api.get(&format!("/namespaces/{kind}/{inode}")),
    )];
    if Sight::in_world(world, scene.who).covers(inode) {
        rows.push(equal(
            "What is inside",
            &api.get(&format!("/namespaces/{kind}/{inode}/detail")),
        ));
    }
    if let Some(enter) = survey.nsenter(&namespace) {
        rows.push(noted(
            "Enter it",
            &enter,
            "As root on the host: a shell with this one namespace, and the host's others.",
        ));
    }
    if namespace.processes > 0 {
        rows.push(equal("Its processes", &format!("lsns {inode}")));
    }
    rows
}
