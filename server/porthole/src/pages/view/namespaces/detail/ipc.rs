//! An IPC namespace: queues, semaphores, shared memory.

use askama::Template;
use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::{Ipc, Setting};

use super::super::super::words::{bytes, sentence, visible};
use super::super::survey::{Link, Survey};
use super::{left_out, process_link};

/// A table of objects: its heading, columns, rows.
struct Objects {
    title: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    left_out: Option<String>,
}

/// A cell: a text, or a process.
enum Cell {
    Text(String),
    Process(Link),
}

fn text(value: impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

#[derive(Template)]
#[template(path = "partials/namespace_ipc.html")]
pub(super) struct IpcView {
    tables: Vec<Objects>,
    limits: Vec<Setting>,
    notes: Vec<String>,
}

impl IpcView {
    pub(super) fn of(survey: &Survey<'_>, read: &Ipc) -> Self {
        let key = |key: u32| {
            text(if key == 0 {
                "private".to_owned()
            } else {
                format!("0x{key:08x}")
            })
        };
        let mode = |bits: u16| text(format!("{bits:03o}"));
        let who = |pid: Option<HostPid>| match pid {
            Some(pid) => Cell::Process(process_link(survey, pid)),
            None => text("nobody"),
        };
        let queues = read.queues.items.iter().map(|q| {
            let o = &q.object;
            vec![
                key(o.key),
                text(o.id),
                text(o.uid),
                mode(o.permissions),
                text(q.messages),
                text(bytes(q.bytes)),
                who(q.last_sender),
                who(q.last_receiver),
            ]
        });
        let sets = read.semaphores.items.iter().map(|s| {
            let o = &s.object;
            vec![
                key(o.key),
                text(o.id),
                text(o.uid),
                mode(o.permissions),
                text(s.semaphores),
            ]
        });
        let segments = read.segments.items.iter().map(|s| {
            let o = &s.object;
            let size = if s.removed {
                format!("{}, goes with the last", bytes(s.size))
            } else {
                bytes(s.size)
            };
            vec![
                key(o.key),
                text(o.id),
                text(o.uid),
                mode(o.permissions),
                text(size),
                text(s.attached),
                text(bytes(s.resident)),
                who(s.creator),
            ]
        });
        let posix = read.posix_queues.items.iter().map(|q| {
            let messages = q
                .messages
                .map_or_else(|| "not told".to_owned(), |m| m.to_string());
            vec![
                text(visible(&q.name)),
                text(q.uid),
                mode(q.permissions),
                text(messages),
                text(bytes(q.bytes)),
                who(q.notifies),
            ]
        });
        let tables = vec![
            Objects {
                title: "Message queues",
                columns: &[
                    "Key",
                    "Id",
                    "Owner",
                    "Mode",
                    "Messages",
                    "Size",
                    "Sent last",
                    "Received last",
                ],
                rows: queues.collect(),
                left_out: left_out(read.queues.left_out),
            },
            Objects {
                title: "Semaphores",
                columns: &["Key", "Id", "Owner", "Mode", "In the set"],
                rows: sets.collect(),
                left_out: left_out(read.semaphores.left_out),
            },
            Objects {
                title: "Shared memory",
                columns: &[
                    "Key",
                    "Id",
                    "Owner",
                    "Mode",
                    "Size",
                    "Attached",
                    "In memory",
                    "Made by",
                ],
                rows: segments.collect(),
                left_out: left_out(read.segments.left_out),
            },
            Objects {
                title: "POSIX message queues",
                columns: &["Name", "Owner", "Mode", "Messages", "Size", "Told"],
                rows: posix.collect(),
                left_out: left_out(read.posix_queues.left_out),
            },
        ];
        Self {
            tables,
            limits: read
                .limits
                .iter()
                .map(|s| Setting {
                    name: visible(&s.name),
                    value: visible(&s.value),
                })
                .collect(),
            notes: read.notes.iter().map(|note| sentence(note)).collect(),
        }
    }
}
