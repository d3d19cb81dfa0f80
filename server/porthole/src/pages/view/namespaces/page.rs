//! `/namespaces`: every namespace of the host, as a table, a graph, trees and a matrix, and the wires
//! between those of type net.

use askama::Template;
use porthole_protocol::namespace::NamespaceType;

use super::super::list;
use super::super::live::{Region, Slot};
use super::super::shell::Shell;
use super::super::words::count;
use super::super::{Scene, html};
use super::listing::{Listing, View};
use super::survey::Survey;
use super::{graph, matrix, table, trees, wires};
use crate::world::World;

/// A view's link.
struct Other {
    title: &'static str,
    key: &'static str,
    query: String,
    now: bool,
}

/// A type's segment.
struct Segment {
    kind: Option<NamespaceType>,
    query: String,
    now: bool,
}

struct Column {
    name: &'static str,
    title: &'static str,
    query: String,
    aria: Option<&'static str>,
}

/// The page.
#[derive(Template)]
#[template(path = "namespaces.html")]
pub struct NamespacesPage {
    shell: Shell,
    listing: Listing,
    view: View,
    views: Vec<Other>,
    segments: Vec<Segment>,
    columns: Vec<Column>,
    region: Region,
    /// Where the wires are read.
    wires: String,
    /// The wires, where they were read already.
    drawing: Option<String>,
}

impl NamespacesPage {
    /// The page for this list.
    pub fn new(world: &World, scene: Scene<'_>, listing: &Listing, shell: Shell) -> Self {
        let view = listing.drawn();
        let views = View::ALL.into_iter().map(|other| {
            // What only the table can be narrowed by would narrow a drawing unseen.
            let drawn = Listing {
                view: other.name().to_owned(),
                q: listing.q.clone(),
                ..Listing::default()
            };
            Other {
                title: other.title(),
                key: other.key(),
                query: list::query(&drawn),
                now: other == view,
            }
        });
        let kinds = std::iter::once(None).chain(NamespaceType::ALL.map(Some));
        let segments = kinds.map(|kind| {
            let name = kind.map_or("", NamespaceType::name);
            Segment {
                kind,
                query: listing.with(|l| name.clone_into(&mut l.kind)),
                now: listing.kind == name,
            }
        });
        let (key, falling) = listing.key();
        let columns = table::COLUMNS.map(|(name, title)| Column {
            name,
            title,
            query: listing.sorted_by(name),
            aria: (name == key).then_some(if falling { "descending" } else { "ascending" }),
        });
        let region = region(world, scene, listing);
        Self {
            shell: shell.around(&region),
            listing: listing.clone(),
            view,
            views: views.collect(),
            segments: segments.collect(),
            columns: columns.into(),
            region,
            wires: wires::address(scene.base, listing),
            drawing: None,
        }
    }

    /// The page with the wires in it, for browsers without scripts.
    pub fn holding(mut self, drawing: String) -> Self {
        self.drawing = Some(drawing);
        self
    }
}

#[derive(Template)]
#[template(path = "partials/namespaces_empty.html")]
struct Empty {
    base: String,
    view: &'static str,
    any: bool,
}

#[derive(Template)]
#[template(path = "partials/namespaces_more.html")]
pub(super) struct More {
    pub(super) to: String,
    pub(super) shown: usize,
    pub(super) total: usize,
    pub(super) what: &'static str,
}

/// What of the page is live.
pub fn region(world: &World, scene: Scene<'_>, listing: &Listing) -> Region {
    let survey = Survey::new(world, scene);
    let view = listing.drawn();
    let (mut slots, shown, total, what) = match view {
        View::Table => {
            let (rows, total) = table::slot(&survey, listing);
            let shown = rows.parts.len();
            (vec![rows], shown, total, "rows")
        }
        View::Graph => {
            let (drawing, shown, total) = graph::slot(&survey, listing);
            (vec![drawing], shown, total, "boxes")
        }
        View::Tree => {
            let (rows, hidden) = trees::slots(&survey, listing);
            let shown: usize = rows
                .iter()
                .filter(|s| s.id.ends_with("tree"))
                .map(|s| s.parts.len())
                .sum();
            (rows, shown, shown + hidden, "rows")
        }
        View::Matrix => {
            let (rows, total) = matrix::slots(&survey, listing);
            let shown = total.min(listing.limit(matrix::ROWS));
            (rows, shown, total, "containers")
        }
        // What is read later says itself what it left out, and that there is nothing.
        View::Wires => {
            let all = survey.namespaces.len();
            let pulse = wires::pulse(scene.base, listing, world.wirings());
            (vec![Slot::whole("pulse", pulse)], all, all, "boxes")
        }
    };
    let all = survey.namespaces.len();
    let number = if view == View::Table && total != all {
        format!("{total} of {all}")
    } else {
        count(all, "namespace", "namespaces")
    };
    let more = if shown < total {
        let to = listing.with(|l| "on".clone_into(&mut l.all));
        html(&More {
            to: format!("{}/namespaces{to}", scene.base),
            shown,
            total,
            what,
        })
    } else {
        String::new()
    };
    let empty = if total == 0 {
        html(&Empty {
            base: scene.base.to_owned(),
            view: view.name(),
            any: all > 0,
        })
    } else {
        String::new()
    };
    slots.push(Slot::whole("count", number));
    slots.push(Slot::whole("more", more));
    slots.push(Slot::whole("empty", empty));
    Region { slots }
}
