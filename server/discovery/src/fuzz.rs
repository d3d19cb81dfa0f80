//! Fuzz targets, see `porthole_protocol`'s: each takes any bytes and panics where what it tries
//! does not hold.
#![allow(
    clippy::expect_used,
    reason = "a panic is how a target says what it has found"
)]

use porthole_protocol::id::{ContainerId, SessionId};

use crate::inspect::fuzz::{mountinfo, netlink, tables};
use crate::{arguments, events, parse, printable, recognise};

#[path = "../../../tests/fuzz/shared.rs"]
pub(crate) mod shared;
use shared::{Input, Target};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("processes", processes),
    ("groups", groups),
    ("mountinfo", mountinfo),
    ("tables", tables),
    ("netlink", netlink),
];

/// No control character, nothing that turns what stands beside it.
pub(crate) fn is_one_line(text: &str) {
    let turns = |c: char| ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(
        !text.chars().any(|c| c.is_control() || turns(c)),
        "{text:?}"
    );
}

/// Any files of `/proc/PID`, any command line, any event.
fn processes(bytes: &[u8]) {
    if let Some(stat) = parse::stat(bytes) {
        assert!(stat.command.len() <= bytes.len() && stat.state.is_ascii_alphabetic());
        let _ = parse::tty(stat.tty);
    }
    // Whatever a process calls itself, the fields behind its name stay its fields.
    let mut input = Input(bytes);
    let (parent, threads, ticks) = (input.u16(), input.u16(), input.u64());
    let mut file = b"7 (".to_vec();
    file.extend(input.0);
    let fields = format!(
        ") S {parent} 1 1 34816 1 4194304 0 0 0 0 0 0 0 0 20 0 {threads} 0 {ticks} 4096 12 0 0\n"
    );
    file.extend(fields.as_bytes());
    let stat = parse::stat(&file).expect("what the kernel writes");
    assert_eq!(stat.command, input.0);
    assert_eq!((stat.parent, stat.threads), (parent.into(), threads.into()));
    assert_eq!((stat.start_ticks, stat.rss_pages), (ticks, 12));

    let _ = parse::status(bytes);
    if let Some(map) = parse::id_map(bytes) {
        for range in map.iter() {
            let _ = range.outside(range.0);
        }
        let _ = (
            parse::inside(&map, ticks as u32),
            parse::inside(&map, u32::MAX),
        );
    }
    if let Some(inode) = parse::namespace(bytes) {
        assert!(inode.0.to_string().len() <= bytes.len());
    }
    let _ = (parse::namespace_name(bytes), parse::descriptor(bytes));
    if let Some(pid) = parse::pid(bytes) {
        assert_eq!(pid.to_string().as_bytes(), bytes);
    }

    is_one_line(&printable::line(bytes));
    let args = printable::args(bytes);
    assert!(args.len() <= printable::ARGS_COUNT);
    assert!(args.iter().map(String::len).sum::<usize>() <= printable::ARGS_BYTES);
    args.iter().for_each(|arg| is_one_line(arg));
    for command in ["conmon", "systemd-nspawn", "containerd-shim", "lxc-start"] {
        let _ = recognise::supervisor(command, &args);
    }
    let _ = events::event(bytes);
    let mut rest = bytes;
    while let Some((length, _)) = arguments::parsed(rest) {
        assert!(length > 0, "it would be read for ever");
        rest = rest.get(length..).expect("as much as is there");
    }
}

/// Any control group: its path's base, then what `/proc/PID/cgroup` says.
fn groups(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (base, file) = (input.text(), input.0);
    let group = recognise::group(file, Some(&base));
    group.path.as_deref().inspect(|path| is_one_line(path));
    for level in &group.levels {
        is_one_line(&level.group);
        assert!(level.id.as_str().parse::<ContainerId>().is_ok());
    }
    for claim in &group.claims {
        assert!(claim.group.len() <= file.len());
    }
    // Our own groups are ours, whatever is below them.
    let (id, session) = (
        ContainerId::from_bytes([7; 32]),
        SessionId::from_bytes([9; 16]),
    );
    let base = format!("/base{}", base.replace(['\n', '/'], "_"));
    let mut path = format!("0::{base}/{id}/{session}/").into_bytes();
    path.extend(file.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let group = recognise::group(&path, Some(&base));
    assert_eq!(group.session, Some(session));
    let own = group.levels.iter().find(|level| level.own);
    assert_eq!(own.map(|level| &level.id), Some(&id));
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
