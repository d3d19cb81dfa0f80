//! The isolation fingerprint: eight cells, one a kind of namespace, always in the same order.

use askama::Template;
use porthole_protocol::container::{ContainerSpec, NamespaceChoice};
use porthole_protocol::namespace::{Isolation, NamespaceType};

use super::words::count;
use crate::world::AnyContainer;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The type's name, which is its colour's class.
    pub kind: &'static str,
    /// `own`, `host` or `shared`: the class that draws it.
    pub isolation: &'static str,
    /// What it says where one points at it.
    pub title: String,
}

/// The fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "partials/fingerprint.html")]
pub struct Fingerprint {
    /// Eight cells.
    pub cells: Vec<Cell>,
    /// The same in words.
    pub label: String,
    /// Drawn larger.
    pub big: bool,
}

/// The eight in three letters, with their classes: the heading above a column of fingerprints.
pub const HEADING: [(&str, &str); 8] = [
    ("mnt", "mnt"),
    ("uts", "uts"),
    ("ipc", "ipc"),
    ("pid", "pid"),
    ("net", "net"),
    ("user", "usr"),
    ("cgroup", "cgr"),
    ("time", "tim"),
];

fn title(kind: NamespaceType, isolation: Isolation) -> String {
    let whose = match isolation {
        Isolation::Own => "its own",
        Isolation::Host => "the host's",
        Isolation::Shared => "shared with another container",
    };
    format!("{kind}: {whose} ({})", kind.isolates())
}

impl Fingerprint {
    fn new(isolation: impl Fn(NamespaceType) -> Isolation, big: bool) -> Self {
        let cells = NamespaceType::ALL
            .into_iter()
            .map(|kind| Cell {
                kind: kind.name(),
                isolation: isolation(kind).name(),
                title: title(kind, isolation(kind)),
            })
            .collect();
        let of = |wanted: Isolation| {
            NamespaceType::ALL
                .into_iter()
                .filter(|kind| isolation(*kind) == wanted)
                .map(NamespaceType::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut label = String::from("Isolation:");
        for (wanted, whose) in [
            (Isolation::Own, "own"),
            (Isolation::Shared, "shared"),
            (Isolation::Host, "the host's"),
        ] {
            let names = of(wanted);
            if !names.is_empty() {
                label.push_str(&format!(" {whose} {names};"));
            }
        }
        label.pop();
        Self { cells, label, big }
    }

    /// Of a container that runs; `None` for one that has no namespaces now.
    pub fn of(container: &AnyContainer, big: bool) -> Option<Self> {
        let namespaces = container.namespaces();
        container
            .pid()
            .map(|_| Self::new(|kind| namespaces.get(kind).isolation, big))
    }

    /// Of a container that is to be made so.
    pub fn planned(spec: &ContainerSpec) -> Self {
        Self::new(|kind| planned(spec, kind), true)
    }

    /// `7 own, 1 the host's`.
    pub fn summary(&self) -> String {
        let of = |word: &str| self.cells.iter().filter(|c| c.isolation == word).count();
        let mut parts = vec![count(
            of("own"),
            "namespace of its own",
            "namespaces of its own",
        )];
        if of("shared") > 0 {
            parts.push(format!("{} shared", of("shared")));
        }
        if of("host") > 0 {
            parts.push(format!("{} the host's", of("host")));
        }
        parts.join(", ")
    }
}

fn planned(spec: &ContainerSpec, kind: NamespaceType) -> Isolation {
    match spec.namespace(kind) {
        NamespaceChoice::Own => Isolation::Own,
        NamespaceChoice::Host => Isolation::Host,
        NamespaceChoice::Container(_) => Isolation::Shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_cells_in_their_order_and_in_words() {
        let spec: ContainerSpec =
            serde_json::from_str(r#"{"image":"host","namespaces":{"net":"container:web"}}"#)
                .expect("valid");
        let fingerprint = Fingerprint::planned(&spec);
        let kinds: Vec<_> = fingerprint.cells.iter().map(|c| c.kind).collect();
        assert_eq!(HEADING.map(|(kind, _)| kind).as_slice(), kinds);
        assert_eq!(
            kinds,
            ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"]
        );
        assert_eq!(
            fingerprint.label,
            "Isolation: own mnt, uts, ipc, pid, user, cgroup; shared net; the host's time"
        );
        assert_eq!(
            fingerprint.summary(),
            "6 namespaces of its own, 1 shared, 1 the host's"
        );
    }
}
