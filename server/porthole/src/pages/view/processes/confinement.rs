//! What a process may do, in a few words.

use porthole_protocol::capability::{ALL, DEFAULT, NAMES, names};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Process, Security};

use crate::world::World;

/// What confines a process, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Its capabilities in a word or two; empty where nothing is known.
    pub capabilities: String,
    /// Their names, and where they hold.
    pub title: String,
    /// `off`, `strict`, `filter`; empty where nothing is known.
    pub seccomp: &'static str,
    /// It gains nothing by executing another program; `None` where nothing is known.
    pub no_new_privs: Option<bool>,
}

/// A set that lacks so few is told by what it lacks.
const FEW: u32 = 8;

/// A set of capabilities in a word or two.
pub fn summary(set: u64) -> String {
    let known = set & ALL;
    match known {
        0 => "none".to_owned(),
        ALL => "all".to_owned(),
        DEFAULT => "default".to_owned(),
        // A virtual machine's root often lacks one or two.
        _ if (ALL & !known).count_ones() <= FEW => {
            format!("all but {}", (ALL & !known).count_ones())
        }
        _ if known & DEFAULT == DEFAULT => {
            format!("default + {}", (known & !DEFAULT).count_ones())
        }
        _ => format!("{} of {}", known.count_ones(), NAMES.len()),
    }
}

/// What the mode of seccomp is called.
pub const fn seccomp(mode: u8) -> &'static str {
    match mode {
        0 => "off",
        1 => "strict",
        2 => "filter",
        _ => "unknown",
    }
}

/// Whether it is in the user namespace that the host began with: capabilities hold everywhere then.
pub fn in_hosts_user_namespace(process: &Process, world: &World) -> bool {
    let inode = process.namespaces.get(NamespaceType::User);
    inode.is_none_or(|inode| world.namespace(inode).is_some_and(|n| n.initial))
}

impl Confinement {
    /// Of this process.
    pub fn of(process: &Process, world: &World) -> Self {
        let Some(security) = process.security else {
            return Self {
                capabilities: String::new(),
                title: String::new(),
                seccomp: "",
                no_new_privs: None,
            };
        };
        Self {
            capabilities: summary(security.effective),
            title: title(&security, in_hosts_user_namespace(process, world)),
            seccomp: seccomp(security.seccomp),
            no_new_privs: Some(security.no_new_privs),
        }
    }
}

fn title(security: &Security, on_host: bool) -> String {
    let names = names(security.effective);
    let what = match security.effective & ALL {
        0 => return "No capability".to_owned(),
        ALL => "Every capability".to_owned(),
        DEFAULT => format!("What Docker and Podman leave: {}", names.join(" ")),
        set if (ALL & !set).count_ones() <= FEW => {
            format!("Every capability but {}", lacking(set).join(" "))
        }
        _ => names.join(" "),
    };
    if on_host {
        what
    } else {
        format!("{what}; over its own user namespace and what that owns")
    }
}

/// The names of what a set lacks.
fn lacking(set: u64) -> Vec<String> {
    names(ALL & !set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_a_word() {
        for (set, word) in [
            (0, "none"),
            (ALL, "all"),
            (u64::MAX, "all"),
            (DEFAULT, "default"),
            (DEFAULT | 1 << 21, "default + 1"),
            (ALL & !(1 << 16), "all but 1"),
            (1 << 13, "1 of 41"),
        ] {
            assert_eq!(summary(set), word);
        }
    }
}
