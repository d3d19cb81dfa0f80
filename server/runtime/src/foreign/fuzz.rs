//! A fuzz target for what is read of other engines' containers.

use porthole_protocol::container::EnvName;
use porthole_sys::seccomp::{Filter, Instruction};

use super::facts::{Status, Variables, id_map};
use super::{danger, disks, filters, limits};
use crate::fuzz::shared::Input;

/// Any files of `/proc/PID` of an init that does not want to be understood, any filter of its.
pub(crate) fn foreign(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Status::parse(&text);
    for range in id_map(&text) {
        let _ = (range.inside(0), range.outside(0), range.inside(u32::MAX));
    }
    let all = limits::parse(&text);
    assert!(all.len() <= limits::ALL.len());
    let _ = disks::device(&text);
    if let Some(name) = danger::listening(&text) {
        assert!(name.starts_with('@') && !name.chars().any(char::is_control));
    }
    let _ = danger::open_settings(&text);
    // Whatever stands before it, a mount that can be written is found.
    let mounts = format!("{text}\n9 1 0:3 / /new/proc rw - proc proc rw");
    assert!(danger::open_settings(&mounts).is_some());

    let variables = Variables::parse(bytes);
    for (name, value) in &variables.values {
        assert!(EnvName::try_from(name.clone()).is_ok() && !value.contains('\0'));
        assert!(!name.chars().any(|c| c.is_control() || c.is_whitespace()));
    }
    let words = bytes.split(|byte| *byte == 0).count();
    assert!(variables.values.len() + variables.dropped <= words);

    let (mut input, mut instructions) = (Input(bytes), Vec::new());
    while !input.is_empty() && instructions.len() < 4096 {
        instructions.push(Instruction {
            code: input.u16(),
            jt: input.u8(),
            jf: input.u8(),
            k: input.u32(),
        });
    }
    let mut filter = Filter {
        log: bytes.len().is_multiple_of(2),
        instructions,
    };
    let stored = serde_json::to_vec(&filters::Stored::from(&filter)).expect("JSON");
    let read: filters::Stored = serde_json::from_slice(&stored).expect("what was written");
    let read = Filter::from(read);
    assert_eq!(format!("{read:?}"), format!("{filter:?}"));
    // Wherever it stands, a call that is handed to a supervisor is found.
    let _ = filters::asks_supervisor(&filter);
    let at = bytes.len() % (filter.instructions.len() + 1);
    filter.instructions.insert(
        at,
        Instruction {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: 0x7fc0_0000 | u32::from(bytes.len() as u16),
        },
    );
    assert!(filters::asks_supervisor(&filter));
}
