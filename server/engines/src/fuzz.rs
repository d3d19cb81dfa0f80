//! Fuzz targets, see `porthole_protocol`'s: each takes any bytes and panics where what it tries
//! does not hold.
#![allow(
    clippy::expect_used,
    reason = "a panic is how a target says what it has found"
)]

use bollard::container::LogOutput;
use porthole_protocol::container::Timestamp;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{
    EndpointId, FromBroker, LIST_LIMIT, LOG_LIMIT, LogRecord, MESSAGE_LIMIT, TEXT_LIMIT,
};
use porthole_protocol::id::ContainerId;

use crate::client::words;
use crate::inspect::{Inspected, Listed, time};
use crate::logs::records;

#[path = "../../../tests/fuzz/shared.rs"]
mod shared;
use shared::{Input, Target, same};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("engine", engine), ("logs", logs)];

/// Any answer of an engine's. A tilde stands for a text that is too long.
fn engine(bytes: &[u8]) {
    let answer = String::from_utf8_lossy(bytes).replace('~', &"\u{1}é".repeat(TEXT_LIMIT));
    let id = ContainerId::from_bytes([7; 32]);
    if let Ok(list) = serde_json::from_str::<Vec<Listed>>(&answer) {
        let _ = list.iter().filter_map(Listed::id).count();
    }
    let Ok(inspected) = serde_json::from_str::<Inspected>(&answer) else {
        let said = words(&answer);
        assert!(!said.chars().any(char::is_control) && said.len() <= 4096);
        return;
    };
    let read = inspected.read(EndpointId(1), Engine::Docker, id, Some(answer));
    let lists = [
        read.command.len(),
        read.entrypoint.len(),
        read.labels.len(),
        read.env.0.len(),
        read.mounts.len(),
        read.networks.len(),
        read.ports.len(),
    ];
    assert!(lists.iter().all(|length| *length <= LIST_LIMIT));
    // What it becomes fits a message and is read by the server as it was meant.
    let message = FromBroker::Container(Box::new(read));
    let written = serde_json::to_vec(&message).expect("JSON");
    assert!(written.len() <= MESSAGE_LIMIT, "{} bytes", written.len());
    let again: FromBroker = serde_json::from_slice(&written).expect("what was written");
    same("a container", &message, &again);
}

/// Any line of a log: of which stream, from when on it is wanted, the line.
fn logs(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (stream, since, repeated) = (input.u8(), input.u64(), input.u8());
    let message: Vec<u8> = input.0.repeat(usize::from(repeated) + 1);
    let text = String::from_utf8_lossy(input.0);
    if let Some(Timestamp(at)) = time(Some(&text)) {
        let written = Timestamp(at).to_string();
        assert_eq!(time(Some(&written)), Some(Timestamp(at)), "{written}");
    }
    let length = message.len();
    let message = message.into();
    let item = match stream % 3 {
        0 => LogOutput::StdOut { message },
        1 => LogOutput::StdErr { message },
        _ => LogOutput::Console { message },
    };
    let mut total = 0;
    for record in records(item, (stream > 127).then_some(Timestamp(since))) {
        let again = LogRecord::decode(&record.encode());
        same("a record", &Some(&record), &again.as_ref());
        let LogRecord::Output { bytes, .. } = record else {
            panic!("an end in the middle");
        };
        assert!(!bytes.is_empty() && bytes.len() <= LOG_LIMIT);
        total += bytes.len();
    }
    assert!(total <= length);
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
