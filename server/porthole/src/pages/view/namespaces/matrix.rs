//! Who shares what: a row for each container, the host's first, a cell for each of the eight.

use std::collections::HashMap;

use askama::Template;
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::{Isolation, NamespaceType};

use super::super::html;
use super::super::live::{Part, Slot};
use super::listing::Listing;
use super::survey::{Link, Survey};
use crate::world::AnyContainer;

/// Rows of a page unless all are asked for.
pub(super) const ROWS: usize = 100;

/// Sentences about what is shared.
const SENTENCES: usize = 8;

struct Cell {
    kind: NamespaceType,
    inode: Option<NamespaceInode>,
    to: String,
    /// `host`, `own`, `shared`, `none`.
    class: &'static str,
    text: String,
    /// The letter that equal ones have in common.
    letter: Option<String>,
    title: String,
}

#[derive(Template)]
#[template(path = "partials/namespaces_matrix_row.html")]
struct Row {
    id: String,
    name: Link,
    engine: &'static str,
    cells: Vec<Cell>,
}

#[derive(Template)]
#[template(path = "partials/namespaces_sharing.html")]
struct Sharing {
    sentences: Vec<Sentence>,
    more: usize,
}

struct Sentence {
    kind: NamespaceType,
    letter: String,
    who: Vec<Link>,
    what: &'static str,
}

/// What containers have in common that share a namespace of this type.
const fn in_common(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Mnt => "the same mounts, so the same files",
        NamespaceType::Uts => "the same host name",
        NamespaceType::Ipc => "the same queues, semaphores and shared memory",
        NamespaceType::Pid => "the same process numbers: each sees and may signal the other's",
        NamespaceType::Net => "the same interfaces, addresses and ports",
        NamespaceType::User => "the same users and groups, and what these own",
        NamespaceType::Cgroup => "the same view of control groups",
        NamespaceType::Time => "the same clocks since boot",
    }
}

/// `A` … `Z`, `AA` …
fn letter(number: usize) -> String {
    let mut rest = number;
    let mut out = String::new();
    loop {
        // Always one of the 26.
        let digit = u8::try_from(rest % 26).unwrap_or_default();
        out.insert(0, char::from(b'A' + digit));
        if rest < 26 {
            return out;
        }
        rest = rest / 26 - 1;
    }
}

struct Letters {
    of: HashMap<NamespaceInode, String>,
    order: Vec<(NamespaceType, NamespaceInode)>,
}

impl Letters {
    fn new(containers: &[&AnyContainer], survey: &Survey<'_>) -> Self {
        let mut counts: HashMap<NamespaceInode, usize> = HashMap::new();
        let mut order = Vec::new();
        for kind in NamespaceType::ALL {
            for container in containers {
                let Some(inode) = container.namespaces().get(kind).inode else {
                    continue;
                };
                if survey.namespace(inode).is_some_and(|n| n.initial) {
                    continue;
                }
                let seen = counts.entry(inode).or_default();
                *seen += 1;
                if *seen == 2 {
                    order.push((kind, inode));
                }
            }
        }
        let of = order.iter().enumerate();
        let of = of
            .map(|(number, (_, inode))| (*inode, letter(number)))
            .collect();
        Self { of, order }
    }
}

fn short(inode: NamespaceInode) -> String {
    let text = inode.to_string();
    let from = text.len().saturating_sub(4);
    format!("…{}", &text[from..])
}

fn cell(
    kind: NamespaceType,
    container: &AnyContainer,
    letters: &Letters,
    survey: &Survey<'_>,
) -> Cell {
    let namespace = container.namespaces().get(kind);
    let Some(inode) = namespace.inode else {
        return Cell {
            kind,
            inode: None,
            to: String::new(),
            class: "unseen",
            text: "not seen".to_owned(),
            letter: None,
            title: format!("{kind}: not seen"),
        };
    };
    let host = namespace.isolation == Isolation::Host
        || survey.namespace(inode).is_some_and(|n| n.initial);
    let letter = letters.of.get(&inode).cloned();
    let (class, text, whose) = match (host, &letter) {
        (true, _) => ("host", "host".to_owned(), "the host's"),
        (false, Some(_)) => ("shared", short(inode), "shared"),
        (false, None) => ("own", short(inode), "its own"),
    };
    Cell {
        kind,
        inode: Some(inode),
        to: survey.address(kind, inode),
        class,
        text,
        title: format!("{kind}:[{inode}], {whose}"),
        letter,
    }
}

fn host_row(survey: &Survey<'_>) -> Row {
    let cells = NamespaceType::ALL
        .into_iter()
        .map(|kind| {
            let initial = survey
                .namespaces
                .iter()
                .find(|n| n.kind == kind && n.initial);
            Cell {
                kind,
                inode: initial.map(|n| n.inode),
                to: initial.map_or_else(String::new, |n| survey.address(kind, n.inode)),
                class: if initial.is_some() { "host" } else { "unseen" },
                text: initial.map_or_else(|| "not seen".to_owned(), |n| short(n.inode)),
                letter: None,
                title: initial.map_or_else(
                    || format!("{kind}: not seen"),
                    |n| format!("{kind}:[{}], the host's", n.inode),
                ),
            }
        })
        .collect();
    Row {
        id: "host".to_owned(),
        name: Link {
            to: String::new(),
            text: "the host".to_owned(),
        },
        engine: "",
        cells,
    }
}

/// The containers that run and that a list is about, in the order in which they are drawn.
pub(super) fn chosen<'s>(survey: &'s Survey<'_>, listing: &Listing) -> Vec<&'s AnyContainer> {
    let running = survey.containers.iter().filter(|c| c.pid().is_some());
    let mut found: Vec<_> = if listing.narrows() {
        let meant: std::collections::HashSet<_> = listing
            .select(survey)
            .iter()
            .filter(|n| !n.initial)
            .flat_map(|n| survey.container_places(n.inode))
            .copied()
            .collect();
        let numbered = survey.containers.iter().enumerate();
        numbered
            .filter(|(number, c)| c.pid().is_some() && meant.contains(number))
            .map(|(_, c)| c)
            .collect()
    } else {
        running.collect()
    };
    found.sort_by(|a, b| (a.engine(), a.name(), a.id()).cmp(&(b.engine(), b.name(), b.id())));
    found
}

/// The rows, what is said of them, and how many containers there are in all.
pub(super) fn slots(survey: &Survey<'_>, listing: &Listing) -> (Vec<Slot>, usize) {
    let found = chosen(survey, listing);
    let letters = Letters::new(&found, survey);
    let host = Part {
        id: "m-host".to_owned(),
        html: html(&host_row(survey)),
    };
    let rows = found
        .iter()
        .take(listing.limit(ROWS))
        .map(|container| Part {
            id: format!("m-{}", container.id()),
            html: html(&Row {
                id: container.id().to_string(),
                name: survey.container_link(container),
                engine: if container.own().is_some() {
                    ""
                } else {
                    container.engine().words()
                },
                cells: NamespaceType::ALL
                    .into_iter()
                    .map(|kind| cell(kind, container, &letters, survey))
                    .collect(),
            }),
        });
    let parts = std::iter::once(host).chain(rows).collect();
    let sentences = letters
        .order
        .iter()
        .take(SENTENCES)
        .map(|(kind, inode)| Sentence {
            kind: *kind,
            letter: letters.of.get(inode).cloned().unwrap_or_default(),
            who: found
                .iter()
                .filter(|c| c.namespaces().get(*kind).inode == Some(*inode))
                .map(|c| survey.container_link(c))
                .collect(),
            what: in_common(*kind),
        })
        .collect();
    let sharing = html(&Sharing {
        sentences,
        more: letters.order.len().saturating_sub(SENTENCES),
    });
    let rows = Slot { id: "rows", parts };
    (vec![rows, Slot::whole("sharing", sharing)], found.len())
}

#[cfg(test)]
mod tests {
    use super::letter;

    #[test]
    fn letters_go_on_behind_z() {
        assert_eq!(
            [0, 25, 26, 51, 52, 701, 702].map(letter),
            ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
        );
    }
}
