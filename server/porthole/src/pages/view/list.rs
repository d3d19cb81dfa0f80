//! What lists have in common: a choice of states, how many there are, and what is said of none.

use serde::Serialize;

use super::live::{Part, Region, Slot};
use super::words::count;

/// One of a few that a list can be narrowed to.
pub struct Choice {
    /// Its words.
    pub label: &'static str,
    /// The query of its address.
    pub query: String,
    /// It is chosen.
    pub now: bool,
}

impl Choice {
    /// One for each of these labels and states; `with` is the list's query in that state.
    pub fn of_states(
        states: &[(&'static str, &str)],
        now: &str,
        with: impl Fn(&str) -> String,
    ) -> Vec<Self> {
        let choice = |&(label, state): &(&'static str, &str)| Self {
            label,
            query: with(state),
            now: state == now,
        };
        states.iter().map(choice).collect()
    }
}

/// What is chosen as the query of an address, with its question mark where there is anything to say.
pub fn query(listing: &impl Serialize) -> String {
    match serde_urlencoded::to_string(listing) {
        Ok(query) if !query.is_empty() => format!("?{query}"),
        _ => String::new(),
    }
}

/// What of a list is live: its rows, how many of all are like that, and, where there are none, what
/// is said instead.
pub fn region(
    parts: Vec<Part>,
    (matching, total): (usize, usize),
    (one, many): (&str, &str),
    empty: impl FnOnce() -> String,
) -> Region {
    let number = if matching == total {
        count(total, one, many)
    } else {
        format!("{matching} of {total}")
    };
    let empty = if parts.is_empty() {
        empty()
    } else {
        String::new()
    };
    Region {
        slots: vec![
            Slot { id: "rows", parts },
            Slot::whole("count", number),
            Slot::whole("empty", empty),
        ],
    }
}
