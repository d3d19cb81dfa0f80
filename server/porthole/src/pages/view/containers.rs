//! The list of containers.

mod listing;
mod row;

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use porthole_protocol::engine::Engine;

use self::listing::{COLUMNS, MOST_ROWS, STATES};
use self::row::ContainerRow;
use super::fingerprint::HEADING;
use super::list::{self, Choice};
use super::live::{Part, Region, Slot};
use super::shell::Shell;
use super::words::visible;
use super::{Scene, html};
use crate::world::{AnyContainer, EngineTrouble, World};

pub use self::listing::Listing;
pub use self::row::StateView;
pub(super) use self::row::stays;

struct Column {
    title: &'static str,
    query: String,
    aria: Option<&'static str>,
}

/// What can be done with several at once: as the form says it, its title, whether it is asked about.
const CHOSEN_VERBS: [(&str, &str, bool); 5] = [
    ("start", "Start", false),
    ("stop", "Stop", false),
    ("pause", "Pause", false),
    ("unpause", "Unpause", false),
    ("remove", "Remove", true),
];

/// The question before several are removed, for a browser without scripts.
#[derive(Template)]
#[template(path = "containers_sure.html")]
pub struct SurePage {
    /// The frame.
    pub shell: Shell,
    /// How each is addressed, its name, and whether it runs.
    pub chosen: Vec<(String, String, bool)>,
}

/// What was not done, for a browser without scripts.
#[derive(Template)]
#[template(path = "containers_failed.html")]
pub struct SomeFailedPage {
    /// The frame.
    pub shell: Shell,
    /// In a few words.
    pub title: String,
    /// Each with why.
    pub failed: Vec<(String, String)>,
}

/// The page.
#[derive(Template)]
#[template(path = "containers.html")]
pub struct ContainersPage {
    shell: Shell,
    listing: Listing,
    region: Region,
    may_create: bool,
    columns: Vec<Column>,
    states: Vec<Choice>,
    owners: Vec<String>,
    engines: Vec<Engine>,
    /// Each project and pod by its name, in words.
    groups: BTreeMap<String, String>,
}

impl ContainersPage {
    /// The page for this list.
    pub fn new(world: &World, scene: Scene<'_>, listing: &Listing, shell: Shell) -> Self {
        let (key, falling) = listing.key();
        let columns = COLUMNS.map(|(name, title)| Column {
            title,
            query: listing.sorted_by(name),
            aria: (name == key).then_some(if falling { "descending" } else { "ascending" }),
        });
        let states = Choice::of_states(&STATES, &listing.state, |state| {
            listing.with(|l| state.clone_into(&mut l.state))
        });
        let mut owners: Vec<_> = world
            .containers()
            .iter()
            .map(|c| c.owner.to_string())
            .chain([scene.who.name().to_string()])
            .collect();
        owners.sort();
        owners.dedup();
        let region = region(world, scene, listing);
        let all = world.any_containers();
        let engines: BTreeSet<Engine> = all.iter().map(AnyContainer::engine).collect();
        let groups = all.iter().filter_map(AnyContainer::group);
        let groups = groups
            .map(|group| (group.name().to_owned(), visible(&group.words())))
            .take(MOST_ROWS)
            .collect();
        Self {
            shell: shell.around(&region),
            listing: listing.clone(),
            region,
            engines: engines.into_iter().collect(),
            groups,
            may_create: scene.who.may_create(),
            columns: columns.into(),
            states,
            owners,
        }
    }
}

#[derive(Template)]
#[template(path = "partials/containers_empty.html")]
struct Empty {
    base: String,
    any: bool,
    known: bool,
    may_create: bool,
}

#[derive(Template)]
#[template(path = "partials/engine_lines.html")]
struct EngineLines {
    troubles: Vec<EngineTrouble>,
    /// Engines that root's policy leaves out, in words and in the policy's.
    not_asked: Vec<(&'static str, &'static str)>,
}

impl EngineLines {
    fn of(world: &World, scene: Scene<'_>) -> Self {
        let troubles = world
            .engine_troubles(scene.who)
            .into_iter()
            .map(|line| EngineTrouble {
                what: visible(&line.what),
                why: visible(&line.why),
            });
        let not_asked = match scene.who.is_admin() {
            true => world.engines_not_asked(),
            false => Vec::new(),
        };
        Self {
            troubles: troubles.collect(),
            not_asked: not_asked.iter().map(|e| (e.words(), e.name())).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "partials/more_rows.html")]
struct MoreRows {
    base: String,
    shown: usize,
    hidden: usize,
    next: (usize, String),
}

/// What of the list is live.
pub fn region(world: &World, scene: Scene<'_>, listing: &Listing) -> Region {
    let all = world.any_containers();
    let total = all.len();
    let mut rows = listing.nested(listing.select(all, scene.who));
    let (matching, most) = (rows.len(), listing.rows());
    rows.truncate(most);
    let parts = rows
        .iter()
        .map(|row| Part {
            id: format!("c-{}", row.1.id()),
            html: html(&ContainerRow::of(row, world, scene)),
        })
        .collect();
    let hidden = matching - rows.len();
    let more = match hidden {
        0 => String::new(),
        hidden => html(&MoreRows {
            base: scene.base.to_owned(),
            shown: rows.len(),
            hidden,
            next: (
                hidden.min(most),
                listing.with(|l| l.show = (most * 2).min(MOST_ROWS)),
            ),
        }),
    };
    let mut region = list::region(
        parts,
        (matching, total),
        ("container", "containers"),
        || {
            html(&Empty {
                base: scene.base.to_owned(),
                any: total > 0,
                known: world.keeper().hello.is_some(),
                may_create: scene.who.may_create(),
            })
        },
    );
    region.slots.push(Slot::whole("more", more));
    let lines = html(&EngineLines::of(world, scene));
    region.slots.push(Slot::whole("engines", lines));
    region
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_name_is_text() {
        let world = sample::world();
        let who = sample::admin();
        let scene = Scene {
            base: "",
            who: &who,
        };
        let html = region(&world, scene, &Listing::default()).slot("rows");
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("&#60;script&#62;"), "{html}");
    }
}
