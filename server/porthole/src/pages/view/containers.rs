//! The list of containers.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use askama::Template;
use porthole_protocol::container::ContainerState;
use porthole_protocol::engine::Engine;
use serde::{Deserialize, Serialize};

use super::actions::Actions;
use super::fingerprint::{Fingerprint, HEADING};
use super::list::{self, Choice};
use super::live::{Part, Region};
use super::shell::Shell;
use super::words::{When, visible};
use super::{Scene, html};
use crate::access::Identity;
use crate::world::{AnyContainer, World};

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
    /// `name image state pid owner created`, falling with `-` before it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sort: String,
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
const STATES: [(&str, &str); 4] = [
    ("All", ""),
    ("Running", "running"),
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
        Self {
            class,
            word,
            since: since.map(When::from),
            error: container.error().map(visible),
        }
    }
}

#[derive(Template)]
#[template(path = "partials/container_row.html")]
struct ContainerRow {
    base: String,
    id: String,
    short: String,
    at: String,
    name: String,
    engine: Option<&'static str>,
    group: Option<String>,
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
    fn of(container: &AnyContainer, world: &World, scene: Scene<'_>) -> Self {
        let init = container.pid().and_then(|pid| world.process(pid));
        let within = container.within().and_then(|id| world.any_container(id));
        Self {
            base: scene.base.to_owned(),
            id: container.id().to_string(),
            short: container.id().short().to_owned(),
            at: super::reference(container),
            name: visible(container.name()),
            engine: (container.own().is_none()).then(|| container.engine().words()),
            group: container.group().map(|group| visible(&group.words())),
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
            actions: Actions::of(container, scene, true),
        }
    }
}

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
        let engines: BTreeSet<Engine> = world
            .any_containers()
            .iter()
            .map(AnyContainer::engine)
            .collect();
        Self {
            shell: shell.around(&region),
            listing: listing.clone(),
            region,
            engines: engines.into_iter().collect(),
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

/// What of the list is live.
pub fn region(world: &World, scene: Scene<'_>, listing: &Listing) -> Region {
    let all = world.any_containers();
    let total = all.len();
    let parts = listing
        .select(all, scene.who)
        .iter()
        .map(|container| Part {
            id: format!("c-{}", container.id()),
            html: html(&ContainerRow::of(container, world, scene)),
        })
        .collect();
    list::region(parts, total, ("container", "containers"), || {
        html(&Empty {
            base: scene.base.to_owned(),
            any: total > 0,
            known: world.keeper().hello.is_some(),
            may_create: scene.who.may_create(),
        })
    })
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
