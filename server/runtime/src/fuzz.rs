//! Fuzz targets, see `porthole_protocol`'s: each takes any bytes and panics where what it tries
//! does not hold.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target says what it has found"
)]

use porthole_protocol::container::{NameOrId, UserSpec};

use crate::foreign::fuzz::foreign;
use crate::network::fuzz::{names, watch};
use crate::unpack::fuzz::{compressed, image, tar, tree};
use crate::{account, cgroup, program};

#[path = "../../../tests/fuzz/shared.rs"]
pub(crate) mod shared;
use shared::{Input, Target};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("accounts", accounts),
    ("foreign", foreign),
    ("cgroups", cgroup::fuzz::cgroups),
    ("programs", programs),
    ("network", names),
    ("watch", watch),
    ("tar", tar),
    ("compressed", compressed),
    ("image", image),
    ("tree", tree),
];

/// Any `/etc/passwd` and `/etc/group`, and anybody in them: who, the first file, the other.
fn accounts(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (user, passwd, group) = (input.text(), input.text(), input.text());
    let Ok(user) = user.parse::<UserSpec>() else {
        return;
    };
    let Ok(account) = account::resolve(&passwd, &group, Some(&user)) else {
        assert!(
            !matches!(
                user,
                UserSpec {
                    user: NameOrId::Id(_),
                    group: None | Some(NameOrId::Id(_))
                }
            ),
            "numbers need no file"
        );
        return;
    };
    // Nobody gets a number that is none of the container's, or root's where they did not ask for it.
    for id in [account.uid, account.gid].iter().chain(&account.groups) {
        assert!(*id < 65_536);
    }
    if let NameOrId::Id(id) = user.user {
        assert_eq!(account.uid, id);
    }
    if let Some(NameOrId::Id(id)) = user.group {
        assert_eq!(account.gid, id);
        assert!(account.groups.is_empty());
    }
    if let NameOrId::Name(name) = &user.user {
        let line = format!("{name}:");
        assert!(passwd.lines().any(|found| found.starts_with(&line)));
    }
    assert!(account.home.starts_with('/') && !account.home.contains(['\0', '\n']));
    assert!(account.groups.is_sorted());
}

/// Any file that is to be executed.
fn programs(bytes: &[u8]) {
    let mut reads = 0;
    let kind = program::classify(&bytes[..bytes.len().min(4096)], |at, buffer| {
        reads += 1;
        let at = usize::try_from(at).ok()?;
        let rest = bytes.get(at..)?;
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Some(count)
    });
    assert!(reads <= bytes.len() / 56 + 2, "read again and again");
    match kind {
        program::Kind::Script { interpreter } => {
            assert!(!interpreter.is_empty() && bytes.starts_with(b"#!"));
        }
        program::Kind::Loadable { loader } => {
            assert!(bytes.starts_with(b"\x7fELF"));
            assert!(loader.is_none_or(|loader| !loader.contains('\0')));
        }
        program::Kind::Unreadable => panic!("it was read"),
        program::Kind::Foreign(_) => {}
    }
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
