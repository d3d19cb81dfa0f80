//! What of a page stays current while it is open.
//!
//! A page's live content lies in slots: elements of the page with an id. A slot holds parts. Only
//! parts that have changed are sent, each to be morphed where it stands, put behind the one before
//! it, or taken away; where the order has changed too, the slot is sent whole. Morphing keeps
//! focus, selection and scroll.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// A piece of a slot: an element with this id. The only part of a slot may have none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// Its id in the page.
    pub id: String,
    /// The element, with its id.
    pub html: String,
}

/// An element of the page whose content is live.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its id in the page.
    pub id: &'static str,
    /// What it holds, in order.
    pub parts: Vec<Part>,
}

impl Slot {
    /// A slot that is always sent whole.
    pub fn whole(id: &'static str, html: String) -> Self {
        let part = Part {
            id: String::new(),
            html,
        };
        Self {
            id,
            parts: vec![part],
        }
    }
}

/// Everything of a page that is live.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Region {
    /// Its slots.
    pub slots: Vec<Slot>,
}

impl Region {
    /// The content of this slot; empty where there is none of this id.
    pub fn slot(&self, id: &str) -> String {
        self.slots
            .iter()
            .filter(|slot| slot.id == id)
            .flat_map(|slot| &slot.parts)
            .map(|part| part.html.as_str())
            .collect()
    }

    /// What makes a page that shows `before` show this. Empty where nothing has changed; with no
    /// `before`, everything.
    pub fn changes(&self, before: Option<&Self>) -> String {
        let mut out = String::new();
        for slot in &self.slots {
            let known = before.and_then(|b| b.slots.iter().find(|s| s.id == slot.id));
            match known {
                Some(known) => write_changes(&mut out, known, slot),
                None => write_slot(&mut out, slot),
            }
        }
        out
    }

    /// What tells a page that shows this from one that shows anything else. The same in every
    /// process of one build.
    pub fn digest<'a>(of: impl IntoIterator<Item = &'a Self>) -> String {
        // Not for secrets: its keys are fixed, which is what makes it the same everywhere.
        let mut hasher = DefaultHasher::new();
        for slot in of.into_iter().flat_map(|region| &region.slots) {
            slot.hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }
}

fn write_changes(out: &mut String, known: &Slot, slot: &Slot) {
    let Some(moved) = moved(known, slot) else {
        return write_slot(out, slot);
    };
    let staying = |part: &&Part| !moved.contains(part.id.as_str());
    let new: HashSet<&str> = slot
        .parts
        .iter()
        .filter(staying)
        .map(|part| part.id.as_str())
        .collect();
    for gone in known
        .parts
        .iter()
        .filter(|part| !new.contains(part.id.as_str()))
    {
        write(out, &gone.id, "delete", "");
    }
    let old: HashMap<&str, &str> = known
        .parts
        .iter()
        .filter(staying)
        .map(|part| (part.id.as_str(), part.html.as_str()))
        .collect();
    // Where new parts go has to be there before any of this is done: a run of them goes together.
    let (mut behind, mut run): (Option<&Part>, String) = (None, String::new());
    for part in &slot.parts {
        let Some(html) = old.get(part.id.as_str()) else {
            run.push_str(&part.html);
            continue;
        };
        write_run(out, slot, behind, &mut run);
        if *html != part.html {
            match part.id.as_str() {
                "" => write_slot(out, slot),
                id => write(out, id, "outerMorph", &part.html),
            }
        }
        behind = Some(part);
    }
    write_run(out, slot, behind, &mut run);
}

fn write_run(out: &mut String, slot: &Slot, behind: Option<&Part>, run: &mut String) {
    if run.is_empty() {
        return;
    }
    match behind {
        Some(part) => write(out, &part.id, "afterend", run),
        None => write(out, slot.id, "afterbegin", run),
    }
    run.clear();
}

/// Which of the parts that both have are to be taken away and put elsewhere, so that the others
/// need not move; `None` where the slot is quicker sent whole. Morphing two hundred rows takes a
/// browser half a second, one of them none.
fn moved<'a>(known: &'a Slot, slot: &'a Slot) -> Option<HashSet<&'a str>> {
    let was: HashMap<&str, usize> = known
        .parts
        .iter()
        .enumerate()
        .map(|(place, part)| (part.id.as_str(), place))
        .collect();
    let kept: Vec<(&str, usize)> = slot
        .parts
        .iter()
        .filter_map(|part| Some((part.id.as_str(), *was.get(part.id.as_str())?)))
        .collect();
    let staying = longest_rise(&kept.iter().map(|(_, place)| *place).collect::<Vec<_>>());
    let total = slot.parts.len();
    // A slot of which little stays is quicker sent whole; so is a small one of another order.
    let whole = if total < 8 {
        staying.len() < kept.len()
    } else {
        staying.len() * 2 < total
    };
    let places: HashSet<usize> = staying.into_iter().collect();
    let moved = kept
        .into_iter()
        .filter(|(_, place)| !places.contains(place));
    (!whole).then(|| moved.map(|(id, _)| id).collect())
}

/// The longest part of a list of different numbers that rises, by patience sorting.
fn longest_rise(list: &[usize]) -> Vec<usize> {
    let mut tops: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(list.len());
    for (at, number) in list.iter().enumerate() {
        let pile = tops.partition_point(|top| list[*top] < *number);
        before.push(pile.checked_sub(1).map(|left| tops[left]));
        if pile == tops.len() {
            tops.push(at);
        } else {
            tops[pile] = at;
        }
    }
    let mut rise = Vec::with_capacity(tops.len());
    let mut next = tops.last().copied();
    while let Some(at) = next {
        rise.push(list[at]);
        next = before[at];
    }
    rise.reverse();
    rise
}

/// Adds what puts this into the element with this id.
pub fn write(out: &mut String, target: &str, swap: &str, html: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(
        out,
        "<hx-partial hx-target=\"#{target}\" hx-swap=\"{swap}\">{html}</hx-partial>"
    );
}

fn write_slot(out: &mut String, slot: &Slot) {
    let html: String = slot.parts.iter().map(|part| part.html.as_str()).collect();
    write(out, slot.id, "innerMorph", &html);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Region {
        let parts = rows
            .iter()
            .map(|(id, html)| Part {
                id: (*id).to_owned(),
                html: (*html).to_owned(),
            })
            .collect();
        Region {
            slots: vec![
                Slot { id: "rows", parts },
                Slot::whole("count", "n".to_owned()),
            ],
        }
    }

    #[test]
    fn nothing_is_sent_where_nothing_changed() {
        let now = rows(&[("a", "1"), ("b", "2")]);
        assert_eq!(now.changes(Some(&now.clone())), "");
    }

    #[test]
    fn one_changed_row_is_sent_alone() {
        let before = rows(&[("a", "1"), ("b", "2")]);
        let changes = rows(&[("a", "1"), ("b", "3")]).changes(Some(&before));
        assert_eq!(
            changes,
            "<hx-partial hx-target=\"#b\" hx-swap=\"outerMorph\">3</hx-partial>\n"
        );
    }

    #[test]
    fn a_new_row_is_put_where_it_belongs() {
        let before = rows(&[("a", "1"), ("c", "3")]);
        let changes =
            rows(&[("0", "0"), ("a", "1"), ("b", "2"), ("c", "3")]).changes(Some(&before));
        assert_eq!(
            changes,
            "<hx-partial hx-target=\"#rows\" hx-swap=\"afterbegin\">0</hx-partial>\n\
             <hx-partial hx-target=\"#a\" hx-swap=\"afterend\">2</hx-partial>\n"
        );
    }

    #[test]
    fn a_row_that_is_gone_is_taken_away() {
        let before = rows(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let changes = rows(&[("a", "1"), ("c", "4")]).changes(Some(&before));
        assert_eq!(
            changes,
            "<hx-partial hx-target=\"#b\" hx-swap=\"delete\"></hx-partial>\n\
             <hx-partial hx-target=\"#c\" hx-swap=\"outerMorph\">4</hx-partial>\n"
        );
    }

    #[test]
    fn another_order_and_a_new_page_get_everything() {
        let before = rows(&[("a", "1"), ("b", "2")]);
        let changes = rows(&[("b", "2"), ("a", "1")]).changes(Some(&before));
        assert!(
            changes.contains("\"#rows\" hx-swap=\"innerMorph\">21<"),
            "{changes}"
        );
        assert!(!changes.contains("#count"), "{changes}");
        assert!(before.changes(None).contains("#count"));
    }

    #[test]
    fn of_a_long_list_only_what_moved_is_sent() {
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let list = |order: &[&str]| {
            let pairs: Vec<_> = order.iter().map(|id| (*id, *id)).collect();
            rows(&pairs)
        };
        let before = list(&ids);
        let now = list(&["a", "h", "b", "c", "d", "e", "f", "g", "i"]);
        assert_eq!(
            now.changes(Some(&before)),
            "<hx-partial hx-target=\"#h\" hx-swap=\"delete\"></hx-partial>\n\
             <hx-partial hx-target=\"#a\" hx-swap=\"afterend\">h</hx-partial>\n"
        );
        assert_eq!(longest_rise(&[3, 1, 2, 0, 4]), [1, 2, 4]);
        assert_eq!(longest_rise(&[]), Vec::<usize>::new());
    }

    #[test]
    fn what_looks_the_same_has_the_same_digest() {
        let (one, other) = (rows(&[("a", "1")]), rows(&[("a", "2")]));
        assert_eq!(Region::digest([&one]), Region::digest([&one.clone()]));
        assert_ne!(Region::digest([&one]), Region::digest([&other]));
    }
}
