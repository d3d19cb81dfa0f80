//! A tree of mounts: what lies on what, what hides what, and to whom each spreads.

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use porthole_protocol::inspection::{Mount, Mounts, PeerGroup, PropagationKind};
use porthole_protocol::namespace::NamespaceType;

use super::super::super::html;
use super::super::super::words::{count, visible};
use super::left_out;

struct Row {
    twig: String,
    path: String,
    raw: Option<String>,
    fstype: String,
    source: String,
    options: String,
    title: String,
    spreads: String,
    peers: String,
    hidden: Option<String>,
}

#[derive(Template)]
#[template(path = "partials/namespace_mounts.html")]
struct View {
    sentence: String,
    rows: Vec<Row>,
    left_out: Option<String>,
}

/// How mounts below it spread, in words.
fn spreads(mount: &Mount) -> String {
    let group = mount
        .propagation
        .group
        .map_or_else(String::new, |g| format!(" in group {g}"));
    let master = mount
        .propagation
        .master
        .map_or_else(String::new, |g| format!(" from group {g}"));
    match mount.propagation.kind {
        PropagationKind::Private => "private".to_owned(),
        PropagationKind::Shared => format!("shared{group}"),
        PropagationKind::Slave => format!("receives{master}"),
        PropagationKind::SharedSlave => format!("receives{master}, shared{group}"),
        PropagationKind::Unbindable => "unbindable".to_owned(),
    }
}

/// Where else the mounts of its groups are.
fn peers(mount: &Mount, groups: &HashMap<u64, &PeerGroup>) -> String {
    let of = [mount.propagation.group, mount.propagation.master]
        .into_iter()
        .flatten();
    let lines = of.filter_map(|id| groups.get(&id)).flat_map(|group| {
        let more = group.members.left_out;
        let members = group.members.items.iter().map(|m| {
            let how = if m.receives { "receives at" } else { "also at" };
            format!(
                "{how} {} in {}:[{}]",
                visible(&m.path),
                NamespaceType::Mnt,
                m.namespace
            )
        });
        members.chain(left_out(more)).collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn row(
    mount: &Mount,
    twig: String,
    all: &HashMap<u64, &Mount>,
    groups: &HashMap<u64, &PeerGroup>,
) -> Row {
    let hidden = mount.hidden_by.map(|id| match all.get(&id) {
        Some(other) if other.path == mount.path => {
            format!("hidden by {} mounted over it", visible(&other.fstype))
        }
        Some(other) => format!("hidden by the mount on {}", visible(&other.path)),
        None => "hidden by a later mount".to_owned(),
    });
    let root = if mount.root == "/" {
        String::new()
    } else {
        format!(", its {}", visible(&mount.root))
    };
    Row {
        twig,
        path: visible(&mount.path),
        raw: mount.path_raw.as_deref().map(visible),
        fstype: visible(&mount.fstype),
        source: format!("{}{root}", visible(&mount.source)),
        options: visible(&mount.options.join(",")),
        title: format!(
            "device {}; the file system's own options: {}",
            visible(&mount.device),
            visible(&mount.super_options.join(","))
        ),
        spreads: spreads(mount),
        peers: peers(mount, groups),
        hidden,
    }
}

/// The tree, each mount after the one that it is mounted on.
pub(super) fn drawn(read: &Mounts) -> String {
    let all: HashMap<u64, &Mount> = read.mounts.items.iter().map(|m| (m.id, m)).collect();
    let groups: HashMap<u64, &PeerGroup> = read.groups.items.iter().map(|g| (g.id, g)).collect();
    let mut below: BTreeMap<Option<u64>, Vec<&Mount>> = BTreeMap::new();
    for mount in &read.mounts.items {
        let parent = Some(mount.parent).filter(|p| all.contains_key(p) && *p != mount.id);
        below.entry(parent).or_default().push(mount);
    }
    let mut rows = Vec::with_capacity(all.len());
    let roots = below.remove(&None).unwrap_or_default();
    let mut next: Vec<(&Mount, String, String)> = roots
        .into_iter()
        .rev()
        .map(|m| (m, String::new(), String::new()))
        .collect();
    while let Some((mount, twig, beneath)) = next.pop() {
        rows.push(row(mount, twig, &all, &groups));
        let own = below.remove(&Some(mount.id)).unwrap_or_default();
        let last = own.len().saturating_sub(1);
        for (index, child) in own.into_iter().enumerate().rev() {
            let (branch, under) = match (beneath.chars().count() >= 60, index == last) {
                (true, _) => ("", ""),
                (false, true) => ("└─ ", "   "),
                (false, false) => ("├─ ", "│  "),
            };
            next.push((
                child,
                format!("{beneath}{branch}"),
                format!("{beneath}{under}"),
            ));
        }
    }
    let hidden = read
        .mounts
        .items
        .iter()
        .filter(|m| m.hidden_by.is_some())
        .count();
    let over = if hidden == 0 {
        String::new()
    } else {
        format!(", {hidden} hidden by others")
    };
    let searched = if read.not_searched == 0 {
        String::new()
    } else {
        format!(
            " Peers were looked for in {} mount namespaces, {} more were not searched.",
            read.searched, read.not_searched
        )
    };
    html(&View {
        sentence: format!(
            "{}{over}, as process {} sees them.{searched}",
            count(rows.len(), "mount", "mounts"),
            read.process
        ),
        rows,
        left_out: left_out(read.mounts.left_out),
    })
}
