//! A container's eight namespaces.

use askama::Template;
use porthole_protocol::namespace::{Isolation, NamespaceType};

use super::live::{Part, Slot};
use super::words::visible;
use super::{Scene, commands, html};
use crate::world::{AnyContainer, World};

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
                |c| (super::reference(&c), visible(c.name())),
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

#[cfg(test)]
mod tests {
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
