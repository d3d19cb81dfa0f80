//! Fuzz targets: each takes any bytes and panics where what it tries does not hold. Searched by
//! `make fuzz`; what was found lies in `tests/fuzz/corpus` and is tried by the tests too.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target says what it has found"
)]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::container::{
    AbsolutePath, ContainerName, ContainerSpec, EnvName, Hostname, ImageName, NameOrId,
    NamespaceChoice, NetworkChoice, Publish, RestartPolicy, Signal, Timestamp, UserSpec,
};
use crate::engines::dial;
use crate::engines::{Ask, FromBroker, LogRecord, Open};
use crate::frame::{ClientFrame, ServerFrame};
use crate::id::{ContainerId, SessionId};
use crate::image::{Digest, ImageConfig, StoredImage};
use crate::inspection::Document;
use crate::journal::Record;
use crate::keeper::{Envelope, FromKeeper};
use crate::monitor::{FromMonitor, ToMonitor, ToReader};
use crate::namespace::NamespaceType;
use crate::observation::Update;

#[path = "../../../tests/fuzz/shared.rs"]
mod shared;
use shared::{Input, Target, same};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("frames", frames),
    ("messages", messages),
    ("names", names),
    ("spec", spec),
    ("records", records),
];

/// Frames of `porthole.v1`, in both directions.
fn frames(bytes: &[u8]) {
    if let Ok(frame) = ClientFrame::decode(bytes) {
        let encoded = frame.encode();
        assert_eq!(encoded, bytes, "{frame:?}");
        same("a frame", &Ok(frame), &ClientFrame::decode(&encoded));
    }
    if let Ok(frame) = ServerFrame::decode(bytes) {
        let encoded = frame.encode();
        // The upper four bits of a hello's flags mean nothing yet and are not kept.
        assert!(encoded == bytes || bytes[0] == 0x80, "{frame:?}");
        assert_eq!(encoded.len(), bytes.len(), "{frame:?}");
        same("a frame", &Ok(frame), &ServerFrame::decode(&encoded));
    }
}

/// Messages between Porthole's processes. The first byte says of which kind, the rest is JSON.
fn messages(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = input.u8();
    let message = input.0;
    match kind % 11 {
        0 => json::<Envelope>(message),
        1 => json::<FromKeeper>(message),
        2 => json::<ToMonitor>(message),
        3 => json::<FromMonitor>(message),
        4 => json::<ToReader>(message),
        5 => json::<Update>(message),
        6 => json::<Document>(message),
        7 => json::<Open>(message),
        8 => json::<Ask>(message),
        9 => json::<FromBroker>(message),
        _ => json::<StoredImage>(message),
    }
}

/// What JSON says, and what it says when that was written again.
fn json<T: DeserializeOwned + Serialize + PartialEq + Debug>(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(text) else {
        return;
    };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&written);
    match again {
        Ok(again) => same("a message", &value, &again),
        Err(error) => panic!(
            "what was written is not read again: {error}\n{}",
            String::from_utf8_lossy(&written)
        ),
    }
}

/// What people and other engines write in one word.
fn names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    word::<ContainerId>(text);
    word::<SessionId>(text);
    word::<ContainerName>(text);
    word::<ImageName>(text);
    word::<Hostname>(text);
    word::<AbsolutePath>(text);
    word::<EnvName>(text);
    word::<NameOrId>(text);
    word::<UserSpec>(text);
    word::<Signal>(text);
    word::<RestartPolicy>(text);
    word::<Digest>(text);
    word::<NamespaceType>(text);
    if let Ok(time) = Timestamp::try_from(text.to_owned()) {
        same("a time", &Ok(time), &Timestamp::try_from(time.to_string()));
    }
    if let Ok(choice) = NetworkChoice::try_from(text.to_owned()) {
        same("a network", &text.to_owned(), &String::from(choice));
    }
    if let Ok(choice) = NamespaceChoice::try_from(text.to_owned()) {
        same("a namespace", &text.to_owned(), &String::from(choice));
    }
    // No name of these is a path that leads out, an option, or a line more.
    let is_plain = |name: &str| {
        !name.starts_with(['-', '.', '/']) && !name.chars().any(|c| c.is_control() || c == ' ')
    };
    if let Ok(id) = text.parse::<ContainerId>() {
        assert!(is_plain(text) && !text.contains('/'), "{text:?}");
        assert!(text.starts_with(id.short()));
    }
    for fits in [
        text.parse::<ContainerName>().is_ok(),
        text.parse::<ImageName>().is_ok(),
        text.parse::<Hostname>().is_ok(),
    ] {
        assert!(!fits || is_plain(text), "{text:?}");
    }
}

fn word<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        match written.parse::<T>() {
            Ok(again) => same("a word", &value, &again),
            Err(_) => panic!("{text:?} is written {written:?}, which is none"),
        }
    }
}

/// What is asked of a new container, and what an image wants.
fn spec(bytes: &[u8]) {
    json::<ContainerSpec>(bytes);
    json::<ImageConfig>(bytes);
    if let Ok(spec) = serde_json::from_slice::<ContainerSpec>(bytes)
        && spec.check().is_ok()
    {
        // What is sound stays within what was promised of it.
        assert!(spec.limits.check().is_ok() && spec.check_life().is_ok());
        assert!(spec.publish.len() <= Publish::MOST && spec.labels.len() <= 64);
    }
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        let _ = config.fits();
    }
}

/// Records of a journal's index, of an engine's log, and of the way to an engine.
fn records(bytes: &[u8]) {
    if let Some(first) = bytes.first_chunk()
        && let Some(record) = Record::decode(first)
    {
        same("a record", &Some(record), &Record::decode(&record.encode()));
    }
    if let Some(record) = LogRecord::decode(bytes) {
        let encoded = record.encode();
        same("a log", &Some(record), &LogRecord::decode(&encoded));
    }
    if let Some(answer) = dial::Answer::decode(bytes) {
        assert_eq!(answer.encode(), bytes);
    }
    if let Some(endpoint) = dial::endpoint(bytes) {
        assert_eq!(dial::request(endpoint), bytes);
    }
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
