//! What is so of a container, name by name.

use askama::Template;
use porthole_protocol::container::{Container, IdRange, Limits};

use super::Scene;
use super::words::{When, bytes, command_line, count, visible};
use crate::world::World;

/// A fact: its name, its value, whether the value is for machines.
type Fact = (&'static str, String, bool);

/// The facts.
#[derive(Template)]
#[template(path = "partials/facts.html")]
pub(super) struct Facts {
    id: String,
    created: When,
    started: Option<When>,
    finished: Option<(When, String)>,
    facts: Vec<Fact>,
}

impl Facts {
    /// Of this container, as far as the reader may know them.
    pub(super) fn of(world: &World, container: &Container, scene: Scene<'_>) -> Self {
        let spec = &container.spec;
        let mut facts: Vec<Fact> = Vec::new();
        let looks = scene.who.may_look_into(&container.owner);
        facts.push(("Image", visible(spec.image.as_str()), true));
        if looks {
            let words: Vec<_> = spec
                .entrypoint
                .iter()
                .chain(&spec.command)
                .map(|w| w.as_str())
                .collect();
            let command = if words.is_empty() {
                "the image's".to_owned()
            } else {
                command_line(&words)
            };
            facts.push(("Command", command, true));
        }
        if let Some(pid) = container.pid {
            let inside = world.process(pid).and_then(|p| p.pids.last().copied());
            let pids = inside.map_or_else(
                || format!("{pid} on the host"),
                |inside| format!("{pid} on the host, {inside} inside"),
            );
            facts.push(("First process", pids, true));
        }
        facts.push((
            "Host name",
            spec.hostname
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            true,
        ));
        facts.push((
            "User",
            spec.user
                .as_ref()
                .map_or_else(|| "root (0)".to_owned(), ToString::to_string),
            true,
        ));
        if let Some(workdir) = &spec.workdir {
            facts.push(("Directory", visible(workdir.as_str()), true));
        }
        facts.push(("User ids", id_map(&container.uid_map), true));
        if container.gid_map != container.uid_map {
            facts.push(("Group ids", id_map(&container.gid_map), true));
        }
        facts.push(("Limits", limits(&spec.limits), false));
        facts.push(("Process 1", first(spec.init, spec.tty), false));
        if let Some(offset) = spec.time_offset {
            let text = format!(
                "monotonic {:+} s, since boot {:+} s",
                offset.monotonic, offset.boottime
            );
            facts.push(("Clocks", text, false));
        }
        if let Some(cgroup) = &container.cgroup {
            facts.push(("Control group", visible(cgroup), true));
        }
        facts.push(("Owner", container.owner.to_string(), false));
        let finished = match (&container.exit, container.pid) {
            (Some(exit), None) => Some((
                exit.at.into(),
                format!("{} ({})", visible(&exit.reason), exit.code),
            )),
            _ => None,
        };
        Self {
            id: container.id.to_string(),
            created: container.created_at.into(),
            started: container.started_at.map(When::from),
            finished,
            facts,
        }
    }
}

fn id_map(ranges: &[IdRange]) -> String {
    if ranges.is_empty() {
        return "the host's".to_owned();
    }
    let lines: Vec<_> = ranges
        .iter()
        .map(|range| {
            let end = |first: u32| first + range.2.saturating_sub(1);
            format!(
                "{}–{} are {}–{} on the host",
                range.0,
                end(range.0),
                range.1,
                end(range.1)
            )
        })
        .collect();
    lines.join(", ")
}

fn limits(limits: &Limits) -> String {
    let cpus = limits.cpus.unwrap_or(Limits::DEFAULT_CPUS);
    let cores = if (cpus - 1.0).abs() < f64::EPSILON {
        "1 core".to_owned()
    } else {
        format!("{cpus} cores")
    };
    let mut text = format!(
        "{} of memory, {cores}, {}",
        bytes(limits.memory.unwrap_or(Limits::DEFAULT_MEMORY)),
        count(
            usize::try_from(limits.pids.unwrap_or(Limits::DEFAULT_PIDS)).unwrap_or(usize::MAX),
            "process",
            "processes"
        )
    );
    if let Some(swap) = limits.swap.filter(|swap| *swap > 0) {
        text.push_str(&format!(", {} of swap", bytes(swap)));
    }
    text
}

fn first(init: bool, tty: bool) -> String {
    let init = if init {
        "a small init that reaps"
    } else {
        "the command itself"
    };
    let tty = if tty {
        "with a terminal"
    } else {
        "without a terminal"
    };
    format!("{init}, {tty}")
}
