//! Two processes or containers beside each other.

use askama::Template;
use axum::http::StatusCode;

use super::live::{Region, Slot};
use super::shell::Shell;
use super::words::{sentence, visible};
use super::{Scene, html, reference};
use crate::Refusal;
use crate::compare::{Comparison, Line, One};
use crate::world::World;

/// Which two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The one; empty where it is still to be chosen.
    pub a: String,
    /// The other.
    pub b: String,
}

impl Wanted {
    /// From an address: `a` and `b`, or, as rows that were chosen in a list send it, `of` twice.
    pub fn from_query(pairs: &[(String, String)]) -> Self {
        let named = |name: &str| {
            let mut all = pairs.iter().filter(|(n, v)| n == name && !v.is_empty());
            all.next().map(|(_, value)| value.trim().to_owned())
        };
        let mut chosen = pairs
            .iter()
            .filter(|(n, _)| n == "of")
            .map(|(_, v)| v.clone());
        let mut next = |name| named(name).or_else(|| chosen.next()).unwrap_or_default();
        Self {
            a: next("a"),
            b: next("b"),
        }
    }

    fn parse(query: &str) -> Self {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        Self::from_query(&pairs)
    }

    fn query(&self) -> String {
        let pairs = [("a", &self.a), ("b", &self.b)];
        serde_urlencoded::to_string(pairs).unwrap_or_default()
    }
}

/// A line as it is shown.
struct Shown {
    name: String,
    kind: String,
    a: Option<String>,
    b: Option<String>,
    same: Option<bool>,
    /// The page of a namespace, for each.
    pages: (Option<String>, Option<String>),
    title: &'static str,
}

/// What of the two is read inside.
#[derive(Template)]
#[template(path = "partials/compare_lines.html")]
pub struct Inside {
    lines: Vec<Shown>,
    notes: Vec<String>,
}

/// Of a namespace the inode is enough: its type stands before the line.
fn inode_alone(value: &str, of_namespace: bool) -> String {
    match value.find('[') {
        Some(at) if of_namespace => visible(&value[at..]),
        _ => visible(value),
    }
}

fn shown(line: &Line, base: &str) -> Shown {
    let of_namespace = line.about == "namespaces";
    let link = |value: &Option<String>| {
        let value = value.as_deref().filter(|_| of_namespace)?;
        let inode = value.split(['[', ']']).nth(1)?;
        Some(format!("{base}/namespaces/{}/{inode}", line.name))
    };
    Shown {
        kind: if of_namespace {
            line.name.clone()
        } else {
            String::new()
        },
        name: visible(&line.name),
        a: line
            .a
            .as_deref()
            .map(|value| inode_alone(value, of_namespace)),
        b: line
            .b
            .as_deref()
            .map(|value| inode_alone(value, of_namespace)),
        same: line.same,
        pages: (link(&line.a), link(&line.b)),
        title: match line.same {
            Some(true) => "same",
            Some(false) => "different",
            None => "not known",
        },
    }
}

impl Inside {
    /// These lines and notes.
    pub fn of(comparison: &Comparison) -> Self {
        Self {
            lines: comparison
                .lines
                .iter()
                .map(|line| shown(line, ""))
                .collect(),
            notes: comparison.notes.iter().map(|note| sentence(note)).collect(),
        }
    }
}

/// One of the two, above its column.
struct Head {
    words: String,
    address: String,
    what: String,
}

impl Head {
    fn of(world: &World, one: &One, base: &str) -> Self {
        let words = visible(&one.words());
        match (&one.container, &one.process) {
            (Some(container), process) => Self {
                address: format!("{base}/containers/{}", reference(world, container)),
                what: match process {
                    Some(process) => format!("container, its first process {}", process.host_pid),
                    None => "container that does not run".to_owned(),
                },
                words,
            },
            (None, process) => Self {
                address: format!("{base}/processes/{}", one.reference),
                what: process
                    .as_ref()
                    .map_or_else(String::new, |p| visible(&p.command)),
                words,
            },
        }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "compare.html")]
pub struct ComparePage {
    shell: Shell,
    wanted: Wanted,
    heads: Option<(Head, Head)>,
    query: String,
    region: Region,
    /// What is wrong with the one and with the other.
    trouble: (String, String),
    /// What can be chosen.
    containers: Vec<(String, String)>,
}

impl ComparePage {
    /// The page for these two.
    pub fn new(world: &World, scene: Scene<'_>, wanted: &Wanted, shell: Shell) -> Self {
        let find = |reference: &str| (!reference.is_empty()).then(|| One::find(world, reference));
        let (a, b) = (find(&wanted.a), find(&wanted.b));
        let trouble = |found: &Option<Result<One, Refusal>>| match found {
            Some(Err(refusal)) => sentence(&refusal.message),
            _ => String::new(),
        };
        let trouble = (trouble(&a), trouble(&b));
        let both = a.and_then(Result::ok).zip(b.and_then(Result::ok));
        let region = match &both {
            Some((a, b)) => of(a, b, scene),
            None => Region::default(),
        };
        let all = world.any_containers();
        let mut containers: Vec<_> = all
            .iter()
            .map(|c| (reference(world, c), visible(c.name())))
            .collect();
        containers.sort_by(|a, b| a.1.cmp(&b.1));
        Self {
            shell: shell.around(&region),
            heads: both.map(|(a, b)| {
                (
                    Head::of(world, &a, scene.base),
                    Head::of(world, &b, scene.base),
                )
            }),
            query: wanted.query(),
            wanted: wanted.clone(),
            region,
            trouble,
            containers,
        }
    }

    /// What it is answered with: one that was named and is not there is not found.
    pub fn status(&self) -> StatusCode {
        match (self.trouble.0.as_str(), self.trouble.1.as_str()) {
            ("", "") => StatusCode::OK,
            _ => StatusCode::NOT_FOUND,
        }
    }
}

fn of(a: &One, b: &One, scene: Scene<'_>) -> Region {
    let compared = Comparison::of(a, b);
    let lines = Inside {
        lines: compared
            .lines
            .iter()
            .map(|line| shown(line, scene.base))
            .collect(),
        notes: Vec::new(),
    };
    Region {
        slots: vec![
            Slot::whole("sentence", visible_html(&compared.sentence)),
            Slot::whole("known", html(&lines)),
        ],
    }
}

#[derive(Template)]
#[template(source = "{{ text }}", ext = "html")]
struct Text {
    text: String,
}

fn visible_html(text: &str) -> String {
    html(&Text {
        text: visible(text),
    })
}

/// What of the page at this query is live. Of one that has ended stays what was last known.
pub fn region(world: &World, scene: Scene<'_>, query: &str) -> Region {
    let wanted = Wanted::parse(query);
    match (One::find(world, &wanted.a), One::find(world, &wanted.b)) {
        (Ok(a), Ok(b)) => of(&a, &b, scene),
        _ => Region::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_chosen_are_the_two() {
        let pairs = |pairs: &[(&str, &str)]| -> Wanted {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            Wanted::from_query(&pairs)
        };
        let chosen = pairs(&[("of", "7548@1"), ("of", "web")]);
        assert_eq!((chosen.a.as_str(), chosen.b.as_str()), ("7548@1", "web"));
        let one = pairs(&[("a", "web"), ("b", "")]);
        assert_eq!((one.a.as_str(), one.b.as_str()), ("web", ""));
        assert_eq!(pairs(&[("a", "x"), ("of", "y")]).b, "y");
    }
}
