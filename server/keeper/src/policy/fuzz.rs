//! A fuzz target, see `porthole_protocol`'s. This program is no library: `tests/fuzz` includes the
//! policy's file as it is.
#![allow(
    clippy::panic,
    reason = "a panic is how a target says what it has found"
)]

use super::parse;

#[path = "../../../../tests/fuzz/shared.rs"]
mod shared;
use shared::Target;

/// The targets of this crate.
pub(crate) const TARGETS: &[Target] = &[("policy", policy)];

/// Any policy: what it allows is what a file of root's could have said, and nothing by itself.
fn policy(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let (rules, engines) = match parse(text) {
        Ok(parsed) => parsed,
        Err(why) => {
            assert!(!why.is_empty());
            return;
        }
    };
    // Each permission stands there by its name.
    for (given, name) in [
        (rules.policy.host_namespaces, "host_namespaces"),
        (rules.policy.join_foreign, "join_foreign"),
        (rules.policy.join_privileged, "join_privileged"),
        (rules.network.bridge, "bridge"),
        (rules.network.publish_anywhere, "anywhere"),
        (engines.manage, "manage"),
        (!engines.endpoints.is_empty(), "engines"),
    ] {
        // An escape in a key or a text may write its letters in another way.
        assert!(
            !given || text.contains(name) || text.contains('\\'),
            "{name}"
        );
    }
    for endpoint in &engines.endpoints {
        assert!(endpoint.socket.starts_with('/') && endpoint.socket.len() <= 107);
        assert!(endpoint.socket.split('/').all(|part| part != ".."));
        assert!(!endpoint.socket.contains('\0'), "{:?}", endpoint.socket);
    }
    let again = parse(text).unwrap_or_else(|why| panic!("it was taken before: {why}"));
    assert!(again == (rules, engines));
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
