//! What the address of the namespaces' page says: which of them, in which order, how drawn.

use std::collections::HashSet;
use std::sync::Arc;

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Namespace, Process};
use serde::{Deserialize, Serialize};

use super::super::list;
use super::survey::Survey;

/// How the namespaces are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A row each.
    Table,
    /// Containers as boxes, what hangs from what as lines.
    Graph,
    /// Namespaces below namespaces, of the two types that nest.
    Tree,
    /// Containers and their eight, equal ones alike.
    Matrix,
    /// Network namespaces as boxes, what connects their interfaces as lines.
    Wires,
}

impl View {
    /// All, in their order.
    pub const ALL: [Self; 5] = [
        Self::Table,
        Self::Graph,
        Self::Tree,
        Self::Matrix,
        Self::Wires,
    ];

    /// Its word in the query; the table has none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "",
            Self::Graph => "graph",
            Self::Tree => "tree",
            Self::Matrix => "matrix",
            Self::Wires => "wires",
        }
    }

    /// Its word on screen.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Table => "Table",
            Self::Graph => "Graph",
            Self::Tree => "Trees",
            Self::Matrix => "Sharing",
            Self::Wires => "Wires",
        }
    }

    /// The key that opens it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Table => "t",
            Self::Graph => "g",
            Self::Tree | Self::Matrix | Self::Wires => "",
        }
    }
}

/// The query.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// `graph`, `tree`, `matrix`, `wires`; anything else is the table.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub view: String,
    /// Only those of this type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Words, each of which is an inode, a PID, a user id, or part of a container's name or of a
    /// command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub q: String,
    /// `on`: only those that no process is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub empty: String,
    /// `host`: without those that the host began with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hide: String,
    /// `type inode netnsid processes pid command user owner parent`, falling with `-` before it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sort: String,
    /// `on`: every row, however many there are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub all: String,
}

impl Listing {
    /// How it is drawn.
    pub fn drawn(&self) -> View {
        let mut all = View::ALL.into_iter();
        all.find(|v| v.name() == self.view).unwrap_or(View::Table)
    }

    /// The address of the list with something else chosen.
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        change(&mut other);
        list::query(&other)
    }

    /// The order, and whether it falls.
    pub fn key(&self) -> (&str, bool) {
        match self.sort.strip_prefix('-') {
            Some(key) => (key, true),
            None if self.sort.is_empty() => ("type", false),
            None => (&self.sort, false),
        }
    }

    /// The address with another order: the other way round where it is this one already.
    pub fn sorted_by(&self, key: &str) -> String {
        let (now, falling) = self.key();
        let falls = if now == key {
            !falling
        } else {
            key == "processes"
        };
        let sort = format!("{}{key}", if falls { "-" } else { "" });
        self.with(|listing| listing.sort = if sort == "type" { String::new() } else { sort })
    }

    /// How many rows are drawn unless all are asked for.
    pub fn limit(&self, rows: usize) -> usize {
        if self.all.is_empty() {
            rows
        } else {
            usize::MAX
        }
    }

    /// Whether anything is left out on purpose.
    pub fn narrows(&self) -> bool {
        [&self.kind, &self.q, &self.empty, &self.hide]
            .iter()
            .any(|f| !f.is_empty())
    }

    /// The namespaces that are meant, in order.
    pub fn select(&self, survey: &Survey<'_>) -> Vec<Arc<Namespace>> {
        let words: Vec<Word> = self
            .q
            .split_whitespace()
            .map(|w| Word::new(w, survey))
            .collect();
        let kind: Option<NamespaceType> = self.kind.parse().ok();
        let meant = |n: &&Arc<Namespace>| {
            kind.is_none_or(|kind| n.kind == kind)
                && (self.empty.is_empty() || n.processes == 0)
                && (self.hide.is_empty() || !n.initial)
                && words.iter().all(|word| word.means(n, survey))
        };
        let mut found: Vec<_> = survey.namespaces.iter().filter(meant).cloned().collect();
        self.order(&mut found, survey);
        found
    }

    fn order(&self, found: &mut [Arc<Namespace>], survey: &Survey<'_>) {
        let (key, falling) = self.key();
        let user = |n: &Namespace| survey.leader(n).map(|p| p.uid);
        let command = |n: &Namespace| survey.leader(n).map(|p| p.command.clone());
        let by_type = |a: &Namespace, b: &Namespace| {
            (a.kind, !a.initial, a.inode).cmp(&(b.kind, !b.initial, b.inode))
        };
        found.sort_by(|a, b| {
            let order = match key {
                "inode" => a.inode.cmp(&b.inode),
                // Those that have none come last.
                "netnsid" => {
                    (a.netnsid.is_none(), a.netnsid).cmp(&(b.netnsid.is_none(), b.netnsid))
                }
                "processes" => a.processes.cmp(&b.processes),
                "pid" => a.leader.cmp(&b.leader),
                "command" => command(a).cmp(&command(b)),
                "user" => user(a).cmp(&user(b)),
                "owner" => a.owner.cmp(&b.owner),
                "parent" => a.parent.cmp(&b.parent),
                _ => by_type(a, b),
            };
            let order = if falling { order.reverse() } else { order };
            order.then_with(|| by_type(a, b))
        });
    }
}

/// One word that is searched for, and the namespaces that processes and containers answer it with.
struct Word {
    text: String,
    number: Option<i64>,
    answered: HashSet<NamespaceInode>,
}

impl Word {
    fn new(word: &str, survey: &Survey<'_>) -> Self {
        let text = word.to_lowercase();
        let number: Option<i64> = text.parse().ok();
        let mut answered = HashSet::new();
        for process in survey.processes() {
            if answers(process, &text, number, survey) {
                answered.extend(process.namespaces.iter().filter_map(|(_, inode)| *inode));
            }
        }
        for container in &survey.containers {
            let named = container.name().to_lowercase().contains(&text)
                || container.id().as_str().starts_with(&text)
                || container.engine().name() == text;
            if named && container.pid().is_some() {
                let inodes = container.namespaces().iter();
                answered.extend(inodes.filter_map(|(_, n)| n.inode));
            }
        }
        Self {
            text,
            number,
            answered,
        }
    }

    fn means(&self, namespace: &Namespace, survey: &Survey<'_>) -> bool {
        let inode = namespace.inode.to_string();
        let written = format!("{}:[{inode}]", namespace.kind);
        written == self.text
            || inode == self.text
            // Inodes begin alike: people know one by its end.
            || self.number.is_some() && self.text.len() >= 4 && inode.ends_with(&self.text)
            || self.number.is_some() && namespace.owner_uid.map(i64::from) == self.number
            || namespace.owner_uid.and_then(|uid| survey.user(uid)) == Some(&self.text)
            || self.answered.contains(&namespace.inode)
            || survey.keeps(namespace).iter().any(|k| k.text.to_lowercase().contains(&self.text))
    }
}

fn answers(process: &Process, text: &str, number: Option<i64>, survey: &Survey<'_>) -> bool {
    match number {
        Some(number) => {
            process.pids.iter().any(|pid| i64::from(*pid) == number)
                || i64::from(process.uid) == number
        }
        None => {
            survey.user(process.uid) == Some(text)
                || survey.line(process).to_lowercase().contains(text)
                || process.command.to_lowercase().contains(text)
        }
    }
}
