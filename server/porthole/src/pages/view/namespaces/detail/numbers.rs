//! A PID namespace: how it is nested, and its numbers.

use askama::Template;
use porthole_protocol::inspection::Pid;
use porthole_protocol::namespace::NamespaceType;

use super::super::super::words::{count, sentence};
use super::super::survey::{Link, Survey};
use super::{level, process_link};

/// A box of the nesting, the outermost first.
struct Nest {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    text: String,
    to: String,
}

#[derive(Template)]
#[template(path = "partials/namespace_pid.html")]
pub(super) struct PidView {
    facts: Vec<(&'static str, String)>,
    init: Option<Link>,
    nests: Vec<Nest>,
    width: usize,
    height: usize,
    notes: Vec<String>,
}

impl PidView {
    pub(super) fn of(survey: &Survey<'_>, read: &Pid) -> Self {
        const STEP: usize = 26;
        let mut facts = vec![
            ("Level", level(read.level)),
            (
                "Processes",
                format!("{}, those below left out", read.processes),
            ),
        ];
        if let Some(max) = read.pid_max {
            facts.push(("Numbers stay below", max.to_string()));
        }
        if let Some(last) = read.last_pid {
            facts.push(("Given last", last.to_string()));
        }
        let line: Vec<_> = read
            .ancestors
            .iter()
            .rev()
            .copied()
            .chain([read.namespace])
            .collect();
        let deep = line.len();
        let (width, height) = (640, 40 + STEP * 2 * (deep - 1));
        let nests = line.iter().enumerate().map(|(step, inode)| {
            let processes = survey.namespace(*inode).map_or(0, |n| n.processes as usize);
            Nest {
                x: step * 18,
                y: step * STEP,
                width: width - step * 36,
                height: height - step * STEP * 2,
                text: format!(
                    "pid:[{inode}], {}",
                    count(processes, "process", "processes")
                ),
                to: survey.address(NamespaceType::Pid, *inode),
            }
        });
        Self {
            facts,
            init: read.init.map(|pid| process_link(survey, pid)),
            nests: nests.collect(),
            width,
            height,
            notes: read.notes.iter().map(|note| sentence(note)).collect(),
        }
    }
}
