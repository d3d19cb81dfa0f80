//! What the address of the list of containers says: which of them, and in what order.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use porthole_protocol::id::ContainerId;
use serde::{Deserialize, Serialize};

use super::super::list;
use crate::access::Identity;
use crate::world::AnyContainer;

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
pub(super) const MOST_ROWS: usize = 5000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_usual(show: &usize) -> bool {
    matches!(*show, 0 | ROWS)
}

/// What a list can be sorted by, with the column's heading.
pub(super) const COLUMNS: [(&str, &str); 6] = [
    ("name", "Name"),
    ("state", "State"),
    ("image", "Image"),
    ("pid", "PID"),
    ("owner", "Owner"),
    ("created", "Created"),
];

/// What a list can be narrowed to.
pub(super) const STATES: [(&str, &str); 5] = [
    ("All", ""),
    ("Running", "running"),
    ("Paused", "paused"),
    ("Exited", "exited"),
    ("Not started", "created"),
];

impl Listing {
    pub(super) fn key(&self) -> (&str, bool) {
        match self.sort.strip_prefix('-') {
            Some(key) => (key, true),
            None if self.sort.is_empty() => ("created", true),
            None => (&self.sort, false),
        }
    }

    /// This list's address with another order: the other way round where it is this one already.
    pub(super) fn sorted_by(&self, key: &str) -> String {
        let (now, falling) = self.key();
        let first_falls = key == "created";
        let falls = if now == key { !falling } else { first_falls };
        self.with(|listing| listing.sort = format!("{}{key}", if falls { "-" } else { "" }))
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Self)) -> String {
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
    pub(super) fn rows(&self) -> usize {
        match self.show {
            0 => ROWS,
            show => show.min(MOST_ROWS),
        }
    }

    /// These with how deep each lies in others: behind the one that it runs in, where the list is
    /// in its usual order.
    pub(super) fn nested(&self, sorted: Vec<AnyContainer>) -> Vec<(usize, AnyContainer)> {
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

#[cfg(test)]
mod tests {
    use super::super::super::sample;
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
}
