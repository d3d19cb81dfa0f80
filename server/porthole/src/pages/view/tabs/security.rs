//! What the first process of a container may do, and what holds it back.

use std::collections::BTreeSet;

use askama::Template;
use porthole_protocol::capability;
use porthole_protocol::inspection::{Process, ResourceLimit};

use crate::pages::view::words::{bytes, count, visible};

/// A group of capabilities, by what they have to do with Docker's usual ones.
struct Set {
    title: &'static str,
    /// What it means, in a word for the eye and one for the colour.
    class: &'static str,
    names: Vec<String>,
}

/// A fact and a sentence on it.
struct Held {
    name: &'static str,
    value: String,
    why: &'static str,
    /// It holds less back than Docker does.
    weak: bool,
}

/// The rights of a process.
#[derive(Template)]
#[template(path = "partials/security.html")]
pub struct SecurityView {
    sentence: String,
    sets: Vec<Set>,
    held: Vec<Held>,
    facts: Vec<(&'static str, String)>,
    limits: Vec<(String, String, String)>,
    /// Its user and group ids, drawn.
    users: String,
    /// Its control groups, drawn.
    groups: String,
}

impl SecurityView {
    /// Of what was read, with what was drawn of users and groups.
    pub fn of(read: &Process, privileged: bool, users: String, groups: String) -> Self {
        let bounding: BTreeSet<&str> = read
            .capabilities
            .bounding
            .iter()
            .map(String::as_str)
            .collect();
        let default: Vec<String> = capability::names(capability::DEFAULT);
        let usual: BTreeSet<&str> = default.iter().map(String::as_str).collect();
        let beyond = bounding.difference(&usual).count();
        let sentence = match (privileged, bounding.len(), beyond) {
            (true, ..) => "It is privileged: nearly as mighty as the machine's root.".to_owned(),
            (_, 0, _) => "It has no capability and can get none.".to_owned(),
            (_, have, 0) if have == usual.len() => {
                "It has exactly the capabilities that Docker leaves a container.".to_owned()
            }
            (_, _, 0) => "It has fewer capabilities than Docker leaves a container.".to_owned(),
            (_, _, beyond) => format!(
                "It has {} that Docker takes from a container.",
                count(beyond, "capability", "capabilities")
            ),
        };
        let names = |set: Vec<&&str>| set.into_iter().map(|name| visible(name)).collect();
        Self {
            sentence,
            sets: vec![
                Set {
                    title: "Beyond Docker's default",
                    class: "beyond",
                    names: names(bounding.difference(&usual).collect()),
                },
                Set {
                    title: "Of Docker's default",
                    class: "usual",
                    names: names(bounding.intersection(&usual).collect()),
                },
                Set {
                    title: "Of Docker's default, taken away",
                    class: "dropped",
                    names: names(usual.difference(&bounding).collect()),
                },
            ],
            held: held(read),
            facts: facts(read),
            limits: read.limits.iter().map(limit).collect(),
            users,
            groups,
        }
    }
}

fn held(read: &Process) -> Vec<Held> {
    let unknown = || "not known".to_owned();
    let seccomp = match (read.seccomp, read.seccomp_filters) {
        (Some(2), Some(filters)) => count(
            usize::try_from(filters).unwrap_or_default(),
            "filter",
            "filters",
        ),
        (Some(2), None) => "filtered".to_owned(),
        (Some(1), _) => "strict".to_owned(),
        (Some(_), _) => "off".to_owned(),
        (None, _) => unknown(),
    };
    vec![
        Held {
            name: "System calls",
            weak: read.seccomp == Some(0),
            why: match read.seccomp {
                Some(0) => "seccomp filters nothing: every call of the kernel can be made.",
                _ => "seccomp refuses calls that no ordinary program needs.",
            },
            value: seccomp,
        },
        Held {
            name: "No new privileges",
            weak: false,
            value: read.no_new_privs.map_or_else(unknown, |set| {
                if set { "set" } else { "not set" }.to_owned()
            }),
            why: "Where it is set, set-user-ID programs such as sudo give nothing.",
        },
        Held {
            name: "Label",
            weak: false,
            value: read
                .label
                .as_deref()
                .map_or_else(|| "none".to_owned(), visible),
            why: "AppArmor's profile or SELinux's context, where the machine has such a module.",
        },
    ]
}

fn facts(read: &Process) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if read.capabilities.effective != read.capabilities.bounding {
        let set = &read.capabilities.effective;
        let words = match set.len() {
            0 => "none".to_owned(),
            _ => visible(&set.join(" ")),
        };
        facts.push(("Has now", words));
    }
    if !read.capabilities.ambient.is_empty() {
        facts.push(("Hands down", visible(&read.capabilities.ambient.join(" "))));
    }
    if let Some(umask) = read.umask {
        facts.push(("umask", format!("{umask:04o}")));
    }
    if let Some(score) = read.oom_score_adj {
        facts.push(("oom_score_adj", score.to_string()));
    }
    let groups = read.groups.items.iter().map(|group| match group.inside {
        Some(inside) if inside != group.outside => {
            format!("{inside} ({} on the host)", group.outside)
        }
        Some(inside) => inside.to_string(),
        None => format!("{} on the host", group.outside),
    });
    let groups: Vec<_> = groups.collect();
    if !groups.is_empty() {
        facts.push(("Groups", groups.join(", ")));
    }
    for (name, path) in [
        ("Program", &read.exe),
        ("Root", &read.root),
        ("Directory", &read.cwd),
    ] {
        if let Some(path) = path {
            facts.push((name, visible(path)));
        }
    }
    facts
}

fn limit(limit: &ResourceLimit) -> (String, String, String) {
    let word = |value: Option<u64>| match (value, limit.unit.as_str()) {
        (None, _) => "unlimited".to_owned(),
        (Some(value), "bytes") => bytes(value),
        (Some(value), "") => value.to_string(),
        (Some(value), unit) => format!("{value} {}", visible(unit)),
    };
    (visible(&limit.name), word(limit.soft), word(limit.hard))
}
