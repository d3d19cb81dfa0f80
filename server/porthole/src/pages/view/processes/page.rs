//! `/processes`: every process of the host.

use std::collections::{BTreeSet, HashSet};

use askama::Template;
use porthole_protocol::engine::Engine;
use porthole_protocol::id::HostPid;

use super::super::list::{self, Choice};
use super::super::live::{Region, Slot};
use super::super::pid_map::PidMap;
use super::super::shell::Shell;
use super::super::words::{count, visible};
use super::super::{Scene, html, reference};
use super::known::Known;
use super::listing::{Found, Listing, MOST, STATES, STEP, with_ancestors};
use super::row::Manner;
use super::tree::{Leaf, tree};
use super::{More, parts};
use crate::world::{AnyContainer, World};

/// A heading that sorts: its words, the query, and how it is sorted now.
struct Column {
    title: &'static str,
    query: String,
    aria: Option<&'static str>,
}

/// The page.
#[derive(Template)]
#[template(path = "processes.html")]
pub struct ProcessesPage {
    shell: Shell,
    listing: Listing,
    region: Region,
    views: Vec<Choice>,
    states: Vec<(&'static str, &'static str)>,
    columns: Vec<Column>,
    engines: Vec<Engine>,
    /// How each is addressed, its name.
    containers: Vec<(String, String)>,
    /// One is chosen that is none of these.
    unlisted: bool,
}

impl ProcessesPage {
    /// The page for this list.
    pub fn new(world: &World, scene: Scene<'_>, listing: &Listing, shell: Shell) -> Self {
        let (key, falling) = listing.key();
        let column = |name: &str, title| Column {
            title,
            query: listing.sorted_by(name),
            aria: (name == key).then_some(if falling { "descending" } else { "ascending" }),
        };
        let containers = world.any_containers();
        let engines: BTreeSet<Engine> = containers.iter().map(AnyContainer::engine).collect();
        let containers = choices(world, &containers);
        let chosen = listing.container.as_str();
        let listed = containers.iter().any(|(at, _)| at == chosen);
        let views = [("List", ""), ("Tree", "tree"), ("Map", "map")];
        let views = Choice::of_states(&views, &listing.view, |view| {
            listing.with(|l| view.clone_into(&mut l.view))
        });
        let region = region(world, scene, listing);
        Self {
            shell: shell.around(&region),
            region,
            views,
            states: STATES.map(|(label, word, _)| (label, word)).into(),
            columns: vec![
                column("command", "Process"),
                column("pid", "Host PID"),
                column("", "At every level"),
                column("uid", "uid, gid"),
                column("container", "Container"),
                column("", "TTY"),
                column("", "Confined"),
                column("state", "State"),
                column("rss", "Memory"),
            ],
            engines: engines.into_iter().collect(),
            unlisted: !listed && !matches!(chosen, "" | "none"),
            containers,
            listing: listing.clone(),
        }
    }

    fn is_list(&self) -> bool {
        self.listing.view != "map"
    }
}

/// Containers with processes, by name.
fn choices(world: &World, containers: &[AnyContainer]) -> Vec<(String, String)> {
    let running = containers.iter().filter(|c| c.pid().is_some());
    let mut all: Vec<_> = running
        .map(|c| (reference(world, c), visible(c.name())))
        .collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    all
}

#[derive(Template)]
#[template(path = "partials/processes_none.html")]
struct Empty<'a> {
    base: &'a str,
    any: bool,
    keeper: bool,
}

/// What of the list is live.
pub fn region(world: &World, scene: Scene<'_>, listing: &Listing) -> Region {
    let known = Known::new(world, scene);
    let found = listing.select(&known);
    let (matching, total, kernel) = (found.processes.len(), found.total, found.kernel);
    let number = if matching + kernel == total {
        count(matching, "process", "processes")
    } else {
        format!(
            "{matching} of {}",
            count(total - kernel, "process", "processes")
        )
    };
    let empty = Empty {
        base: scene.base,
        any: total > 0,
        keeper: world.keeper().present,
    };
    let mut slots = if listing.view == "map" {
        vec![Slot::whole("map", map(found, &known))]
    } else {
        rows(found, &known, listing)
    };
    slots.push(Slot::whole("count", number));
    let empty = if matching == 0 {
        html(&empty)
    } else {
        String::new()
    };
    slots.push(Slot::whole("empty", empty));
    slots.push(Slot::whole(
        "kernel",
        kernel_threads(kernel, scene, listing),
    ));
    Region { slots }
}

fn map(found: Found, known: &Known<'_>) -> String {
    let nested: Vec<_> = found
        .processes
        .into_iter()
        .filter(|p| p.pids.len() > 1)
        .collect();
    PidMap::of_processes(nested, known).map_or_else(String::new, |map| html(&map))
}

fn rows(found: Found, known: &Known<'_>, listing: &Listing) -> Vec<Slot> {
    let (mut leaves, context): (Vec<Leaf>, HashSet<HostPid>) = match listing.view.as_str() {
        "tree" if listing.narrows() => {
            let (all, context) = with_ancestors(found.processes, known);
            (tree(all), context)
        }
        "tree" => (tree(found.processes), HashSet::new()),
        _ => (
            found.processes.into_iter().map(Leaf::alone).collect(),
            HashSet::new(),
        ),
    };
    let all = leaves.len();
    leaves.truncate(listing.rows());
    let parts = parts(&leaves, known, |leaf| Manner {
        names_container: true,
        context: context.contains(&leaf.process.host_pid),
        subject: false,
    });
    let more = more(all - leaves.len(), known.scene, listing);
    vec![Slot { id: "rows", parts }, Slot::whole("more", more)]
}

fn more(left: usize, scene: Scene<'_>, listing: &Listing) -> String {
    if left == 0 {
        return String::new();
    }
    let next = listing.rows() + STEP;
    let address = (next <= MOST).then(|| {
        let query = listing.with(|l| l.rows = next.to_string());
        let further = left.min(STEP);
        (
            format!("{}/processes{query}", scene.base),
            format!("Show {further} more"),
        )
    });
    let mut text = count(left, "more is not drawn.", "more are not drawn.");
    if address.is_none() {
        text.push_str(" Search, or choose a container, to come to them.");
    }
    html(&More { text, address })
}

fn kernel_threads(hidden: usize, scene: Scene<'_>, listing: &Listing) -> String {
    let shown = listing.kernel == "shown";
    if hidden == 0 && !shown {
        return String::new();
    }
    let query = listing.with(|l| l.kernel = if shown { "" } else { "shown" }.to_owned());
    let (text, link) = if shown {
        (
            "Kernel threads are listed too.".to_owned(),
            "Leave them out",
        )
    } else {
        let text = count(
            hidden,
            "kernel thread is left out.",
            "kernel threads are left out.",
        );
        (text, "Show them")
    };
    html(&More {
        text,
        address: Some((format!("{}/processes{query}", scene.base), link.to_owned())),
    })
}

/// The query of a list that shows the processes of this container.
pub fn of_container(world: &World, container: &AnyContainer) -> String {
    list::query(&Listing {
        container: reference(world, container),
        ..Listing::default()
    })
}
