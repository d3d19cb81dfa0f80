//! The list of containers.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use askama::Template;
use porthole_protocol::container::ContainerState;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::Health;
use porthole_protocol::id::ContainerId;
use serde::{Deserialize, Serialize};

use super::actions::Actions;
use super::fingerprint::{Fingerprint, HEADING};
use super::list::{self, Choice};
use super::live::{Part, Region, Slot};
use super::shell::Shell;
use super::words::{When, visible};
use super::{Scene, html};
use crate::access::Identity;
use crate::world::{AnyContainer, EngineTrouble, World};

/// What the address of the list says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// Words that name, id, image, command or owner hold, all of them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub q: String,
    /// Only those in this state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Only those of this account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Only those of this engine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// Only those of this Compose project or pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// So many rows; [`ROWS`] where it is not given.
    #[serde(skip_serializing_if = "is_usual")]
    pub show: usize,
    /// `name image state pid owner created`, falling with `-` before it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sort: String,
}

/// So many rows a list has until more are asked for: what a browser lays out at once.
const ROWS: usize = 200;

/// The most that can be asked for.
const MOST_ROWS: usize = 5000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_usual(show: &usize) -> bool {
    matches!(*show, 0 | ROWS)
}

/// What a list can be sorted by, with the column's heading.
const COLUMNS: [(&str, &str); 6] = [
    ("name", "Name"),
    ("state", "State"),
    ("image", "Image"),
    ("pid", "PID"),
    ("owner", "Owner"),
    ("created", "Created"),
];

/// What a list can be narrowed to.
const STATES: [(&str, &str); 5] = [
    ("All", ""),
    ("Running", "running"),
    ("Paused", "paused"),
    ("Exited", "exited"),
    ("Not started", "created"),
];

impl Listing {
    fn key(&self) -> (&str, bool) {
        match self.sort.strip_prefix('-') {
            Some(key) => (key, true),
            None if self.sort.is_empty() => ("created", true),
            None => (&self.sort, false),
        }
    }

    /// This list's address with another order: the other way round where it is this one already.
    fn sorted_by(&self, key: &str) -> String {
        let (now, falling) = self.key();
        let first_falls = key == "created";
        let falls = if now == key { !falling } else { first_falls };
        self.with(|listing| listing.sort = format!("{}{key}", if falls { "-" } else { "" }))
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        change(&mut other);
        list::query(&other)
    }

    fn holds(&self, container: &AnyContainer, who: &Identity) -> bool {
        let looks = who.may_look_into_container(container);
        let holds = |text: &str, word: &str| text.to_lowercase().contains(word);
        let owner = container.owner().map_or("", |owner| owner.as_str());
        (self.state.is_empty() || self.state == container.state().name())
            && (self.owner.is_empty() || self.owner == owner)
            && (self.engine.is_empty() || self.engine == container.engine().name())
            && (self.group.is_empty()
                || container
                    .group()
                    .is_some_and(|group| self.group == group.name()))
            && self.q.to_lowercase().split_whitespace().all(|word| {
                holds(container.name(), word)
                    || container.id().as_str().starts_with(word)
                    || holds(container.image().unwrap_or_default(), word)
                    || holds(owner, word)
                    || holds(container.engine().name(), word)
                    || container.group().is_some_and(|g| holds(g.name(), word))
                    || looks && container.command().iter().any(|w| holds(w, word))
                    || container.pid().is_some_and(|pid| pid.to_string() == word)
            })
    }

    fn order(&self, a: &AnyContainer, b: &AnyContainer) -> Ordering {
        let (key, falling) = self.key();
        let order = match key {
            "image" => a.image().cmp(&b.image()),
            "state" => a.state().name().cmp(b.state().name()),
            "pid" => a.pid().cmp(&b.pid()),
            "owner" => (a.owner(), a.engine()).cmp(&(b.owner(), b.engine())),
            "created" => a.created_at().cmp(&b.created_at()),
            _ => a.name().cmp(b.name()),
        };
        let order = if falling { order.reverse() } else { order };
        let by_name = || (a.name(), a.id()).cmp(&(b.name(), b.id()));
        order.then_with(by_name)
    }

    /// The containers of the list in its order.
    pub fn select(&self, mut all: Vec<AnyContainer>, who: &Identity) -> Vec<AnyContainer> {
        all.retain(|container| self.holds(container, who));
        all.sort_by(|a, b| self.order(a, b));
        all
    }

    /// How many rows are shown.
    fn rows(&self) -> usize {
        match self.show {
            0 => ROWS,
            show => show.min(MOST_ROWS),
        }
    }

    /// These with how deep each lies in others: behind the one that it runs in, where the list is
    /// in its usual order.
    fn nested(&self, sorted: Vec<AnyContainer>) -> Vec<(usize, AnyContainer)> {
        let is_nested = |container: &AnyContainer| container.within().is_some();
        if !self.sort.is_empty() || !sorted.iter().any(is_nested) {
            return sorted.into_iter().map(|c| (0, c)).collect();
        }
        let there: HashSet<ContainerId> = sorted.iter().map(|c| c.id().clone()).collect();
        let mut inside: HashMap<ContainerId, Vec<AnyContainer>> = HashMap::new();
        let mut outermost = Vec::new();
        for container in sorted {
            match container.within().filter(|outer| there.contains(*outer)) {
                Some(outer) => inside.entry(outer.clone()).or_default().push(container),
                None => outermost.push(container),
            }
        }
        let mut open: Vec<(usize, AnyContainer)> =
            outermost.into_iter().rev().map(|c| (0, c)).collect();
        let mut rows = Vec::new();
        while let Some((depth, container)) = open.pop() {
            let inner = inside.remove(container.id()).unwrap_or_default();
            open.extend(inner.into_iter().rev().map(|c| (depth + 1, c)));
            rows.push((depth, container));
        }
        rows
    }
}

/// A container's state in words, with the class that colours it.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "partials/state.html")]
pub struct StateView {
    /// Its class.
    pub class: &'static str,
    /// `running`, `exited (0)`, `not started`.
    pub word: String,
    /// Since when.
    pub since: Option<When>,
    /// Why the last start failed.
    pub error: Option<String>,
}

impl StateView {
    /// Of this container.
    pub fn of(container: &AnyContainer) -> Self {
        let (class, word, since) = match container.state() {
            ContainerState::Created if container.error().is_some() => {
                ("failed", "failed to start".to_owned(), None)
            }
            ContainerState::Created => ("created", "not started".to_owned(), None),
            ContainerState::Running => ("running", "running".to_owned(), container.started_at()),
            ContainerState::Paused => ("paused", "paused".to_owned(), container.started_at()),
            ContainerState::Exited => {
                let code = container.exit_code();
                let word = code.map_or_else(|| "exited".to_owned(), |c| format!("exited ({c})"));
                ("exited", word, container.finished_at())
            }
            ContainerState::Unknown => ("unknown", "unknown".to_owned(), None),
        };
        let (more, health) = engine_says(container);
        Self {
            class: if health == Some(Health::Unhealthy) {
                "failed"
            } else {
                class
            },
            word: match more {
                Some(more) => format!("{word}, {more}"),
                None => word,
            },
            since: since.map(When::from),
            error: container.error().map(visible),
        }
    }
}

/// What an engine knows of a container's state beyond its word.
fn engine_says(container: &AnyContainer) -> (Option<&'static str>, Option<Health>) {
    let AnyContainer::Foreign(foreign) = container else {
        return (None, None);
    };
    let runs = container.state() == ContainerState::Running;
    let health = foreign.told.as_ref().and_then(|told| told.health);
    let word = match health.filter(|_| runs) {
        Some(Health::Unhealthy) => Some("unhealthy"),
        Some(Health::Starting) => Some("health not known yet"),
        Some(Health::Healthy) => Some("healthy"),
        None => foreign.status(),
    };
    (word, health.filter(|_| runs))
}

#[derive(Template)]
#[template(path = "partials/container_row.html")]
struct ContainerRow {
    base: String,
    id: String,
    short: String,
    at: String,
    name: String,
    /// How deep it lies in the containers above it.
    depth: usize,
    engine: Option<&'static str>,
    /// In words, and as its filter's address has it.
    group: Option<(String, String)>,
    /// Where it runs, if that is a container: how it is addressed, and its name.
    within: Option<(String, String)>,
    state: StateView,
    image: String,
    fingerprint: Option<Fingerprint>,
    pid: Option<i32>,
    inside: Option<i32>,
    owner: String,
    created: Option<When>,
    actions: Actions,
}

impl ContainerRow {
    fn of((depth, container): &(usize, AnyContainer), world: &World, scene: Scene<'_>) -> Self {
        let init = container.pid().and_then(|pid| world.process(pid));
        let within = container.within().and_then(|id| world.any_container(id));
        Self {
            base: scene.base.to_owned(),
            id: container.id().to_string(),
            short: container.id().short().to_owned(),
            at: super::reference(container),
            name: visible(container.name()),
            depth: (*depth).min(DEEPEST),
            engine: (container.own().is_none()).then(|| container.engine().words()),
            group: container.group().map(|group| {
                let of_group = Listing {
                    group: group.name().to_owned(),
                    ..Listing::default()
                };
                (visible(&group.words()), list::query(&of_group))
            }),
            within: within.map(|c| (super::reference(&c), visible(c.name()))),
            state: StateView::of(container),
            image: container.image().map_or_else(String::new, visible),
            fingerprint: Fingerprint::of(container, false),
            pid: container.pid().map(|pid| pid.0),
            inside: init.and_then(|process| process.pids.last().copied()),
            owner: container
                .owner()
                .map_or_else(String::new, ToString::to_string),
            created: container.created_at().map(When::from),
            actions: Actions::of(world, container, scene, true),
        }
    }
}

/// Deeper ones are drawn as deep as this.
const DEEPEST: usize = 4;

struct Column {
    title: &'static str,
    query: String,
    aria: Option<&'static str>,
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
            .engine_troubles()
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
    fn words_state_and_owner_narrow_the_list() {
        let world = sample::world();
        let names = |listing: &Listing| -> Vec<String> {
            listing
                .select(world.any_containers(), &sample::admin())
                .iter()
                .map(|c| c.name().to_owned())
                .collect()
        };
        let q = |q: &str| Listing {
            q: q.to_owned(),
            sort: "name".to_owned(),
            ..Listing::default()
        };
        assert_eq!(names(&q("SIDE")), ["sidecar"]);
        assert_eq!(names(&q("nginx busybox")), Vec::<String>::new());
        let exited = Listing {
            state: "exited".to_owned(),
            ..Listing::default()
        };
        assert_eq!(names(&exited), ["old-lab"]);
    }

    #[test]
    fn an_address_says_only_what_is_chosen() {
        assert_eq!(list::query(&Listing::default()), "");
        let listing = Listing {
            q: "a&b".to_owned(),
            ..Listing::default()
        };
        assert_eq!(listing.sorted_by("name"), "?q=a%26b&sort=name");
        assert_eq!(listing.sorted_by("created"), "?q=a%26b&sort=created");
    }

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
