//! A process as a row of one side.

use std::sync::Arc;

use porthole_protocol::observation::Process;

use super::super::processes::known::Known;
use super::super::processes::row::{cut, identity};
use super::super::words::{process_line, visible};
use super::Row;
use super::levels::Place;

/// What Porthole's own first process of a container calls itself.
const INIT: &str = "porthole-init";

/// A process's name on the map: its command line's first word without its directory, then the
/// arguments; its name where it has no command line.
fn named(process: &Process) -> String {
    match process.args.split_first() {
        // How our own init was told what to run is of no use here; the next row is what it runs.
        Some((first, _)) if first == INIT => INIT.to_owned(),
        Some((first, _)) if first.contains(' ') => process_line(&process.args),
        Some((first, rest)) => {
            let program = first.rsplit('/').next().unwrap_or(first);
            let mut words = vec![program.to_owned()];
            words.extend(rest.iter().cloned());
            process_line(&words)
        }
        None => visible(&process.command),
    }
}

/// A process that is drawn, and where.
pub(super) struct Drawn {
    pub(super) process: Arc<Process>,
    pub(super) places: Vec<Place>,
}

impl Drawn {
    pub(super) fn row(&self, level: usize, known: &Known<'_>) -> Row {
        let process = &*self.process;
        let numbers = |places: &[Place]| {
            let all: Vec<String> = places.iter().map(|(_, pid)| pid.to_string()).collect();
            all.join("/")
        };
        let may_look = known.may_look(process);
        let innermost = level + 1 == self.places.len();
        Row {
            pid: self.places[level].1,
            other: match level {
                0 => format!("→ {}", numbers(&self.places[1..])),
                level => format!("← {}", numbers(&self.places[..level])),
            },
            pair: process.host_pid.0,
            identity: identity(process),
            command: if may_look {
                cut(&named(process), 120)
            } else {
                visible(&process.command)
            },
            title: if may_look {
                cut(&process_line(&process.args), 600)
            } else {
                String::new()
            },
            // On the levels between, what it is called is not known; nor is there room for it.
            uid: match (level, innermost) {
                (0, _) => Some(process.uid).filter(|_| self.places.len() <= 2),
                (_, true) => process.uid_inside,
                (_, false) => None,
            },
            session: process.session.as_ref().map(ToString::to_string),
        }
    }
}

/// A process that only exists on the host's side.
pub(super) fn outside(process: &Process, known: &Known<'_>) -> Row {
    let may_look = known.may_look(process);
    Row {
        pid: process.host_pid.0,
        other: String::new(),
        pair: process.host_pid.0,
        identity: identity(process),
        command: if may_look {
            cut(&named(process), 120)
        } else {
            visible(&process.command)
        },
        title: String::new(),
        uid: None,
        session: None,
    }
}
