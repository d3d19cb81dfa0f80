//! What of a page stays current while it is open.
//!
//! A page's live content lies in slots: elements of the page with an id. A slot holds parts. Where
//! the slot holds the same parts as before, only those that have changed are sent, each to be
//! morphed where it stands; otherwise the slot is sent whole. Morphing keeps focus, selection and
//! scroll.

use std::fmt::Write as _;

/// A piece of a slot: an element with this id. The only part of a slot may have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its id in the page.
    pub id: String,
    /// The element, with its id.
    pub html: String,
}

/// An element of the page whose content is live.
#[derive(Debug, Clone, PartialEq, Eq)]
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
                Some(known) if same_parts(known, slot) => {
                    for (old, new) in known.parts.iter().zip(&slot.parts) {
                        if old.html != new.html {
                            write_part(&mut out, slot, new);
                        }
                    }
                }
                _ => write_slot(&mut out, slot),
            }
        }
        out
    }
}

fn same_parts(a: &Slot, b: &Slot) -> bool {
    a.parts.len() == b.parts.len() && a.parts.iter().zip(&b.parts).all(|(a, b)| a.id == b.id)
}

fn write_slot(out: &mut String, slot: &Slot) {
    // Writing into a String does not fail.
    let _ = write!(
        out,
        "<hx-partial hx-target=\"#{}\" hx-swap=\"innerMorph\">",
        slot.id
    );
    for part in &slot.parts {
        out.push_str(&part.html);
    }
    out.push_str("</hx-partial>\n");
}

fn write_part(out: &mut String, slot: &Slot, part: &Part) {
    if part.id.is_empty() {
        return write_slot(out, slot);
    }
    let _ = writeln!(
        out,
        "<hx-partial hx-target=\"#{}\" hx-swap=\"outerMorph\">{}</hx-partial>",
        part.id, part.html
    );
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
    fn a_new_row_and_a_new_page_get_everything() {
        let before = rows(&[("a", "1")]);
        let changes = rows(&[("a", "1"), ("b", "2")]).changes(Some(&before));
        assert!(
            changes.contains("\"#rows\" hx-swap=\"innerMorph\">12<"),
            "{changes}"
        );
        assert!(!changes.contains("#count"), "{changes}");
        assert!(before.changes(None).contains("#count"));
    }
}
