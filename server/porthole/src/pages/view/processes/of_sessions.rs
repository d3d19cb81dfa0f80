//! What runs in a container's sessions, beside their terminals.

use askama::Template;
use porthole_protocol::observation::Process;

use super::super::live::{Part, Slot};
use super::super::words::{count, visible};
use super::super::{Scene, html};
use super::known::Known;
use super::row::{cut, line};
use super::tree::tree;
use crate::world::{AnyContainer, World};

/// So many are listed, the others counted.
const MOST: usize = 100;

#[derive(Template)]
#[template(path = "partials/session_process.html")]
struct SessionProcess<'a> {
    id: String,
    session: String,
    twig: &'a str,
    pid: i32,
    /// Its numbers behind the host's.
    inside: String,
    name: String,
    line: String,
    of: String,
}

fn one(process: &Process, twig: &str, known: &Known<'_>) -> String {
    let session = process.session.as_ref();
    let inside: Vec<String> = process
        .pids
        .iter()
        .skip(1)
        .map(ToString::to_string)
        .collect();
    let line = line(process, known.may_look(process));
    html(&SessionProcess {
        id: format!("sp-{}-{}", process.host_pid, process.start_ticks),
        session: session.map_or_else(String::new, ToString::to_string),
        twig,
        pid: process.host_pid.0,
        inside: inside.join("/"),
        name: visible(&process.command),
        line: cut(&line, 200),
        of: session.map_or_else(String::new, |session| session.short().to_owned()),
    })
}

/// The processes of its sessions that run, and how many these are.
pub fn slots(container: &AnyContainer, world: &World, scene: Scene<'_>) -> Vec<Slot> {
    let known = Known::new(world, scene);
    let mut all = world.processes_of(container.id());
    all.retain(|process| process.session.is_some());
    let number = count(
        all.len(),
        "process of its sessions",
        "processes of its sessions",
    );
    let parts = tree(all).into_iter().take(MOST).map(|leaf| Part {
        id: format!("sp-{}-{}", leaf.process.host_pid, leaf.process.start_ticks),
        html: one(&leaf.process, &leaf.twig, &known),
    });
    vec![
        Slot {
            id: "session-processes",
            parts: parts.collect(),
        },
        Slot::whole("session-count", number),
    ]
}
