//! The environment of a container's processes: nothing of ours, everything that was asked for.

use std::collections::BTreeMap;
use std::ffi::CString;

use porthole_protocol::container::{Argument, EnvName};

use crate::account::Account;
use crate::program::c_word;

/// Where commands are looked for unless asked otherwise: Docker's.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the browser's terminal understands.
const TERMINAL: &str = "xterm-256color";

/// Variables by name.
#[derive(Debug, Clone)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// For a process of `account` in the caller's UTS namespace. What is in a later one of `asked`
    /// replaces what is in an earlier one.
    pub(crate) fn new(
        account: &Account,
        tty: bool,
        asked: &[&BTreeMap<EnvName, Argument>],
    ) -> Self {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: &str| {
            variables.insert(name.to_owned(), value.to_owned());
        };
        set("PATH", SEARCH_PATH);
        set("LANG", "C.UTF-8");
        set("HOME", &account.home);
        set(
            "HOSTNAME",
            &rustix::system::uname().nodename().to_string_lossy(),
        );
        if let Some(shell) = &account.shell {
            set("SHELL", shell);
        }
        if tty {
            set("TERM", TERMINAL);
            set("COLORTERM", "truecolor");
        }
        for (name, value) in asked.iter().copied().flatten() {
            set(name.as_str(), value.as_str());
        }
        Self(variables)
    }

    /// For a process of `account` in another engine's container: `container` are the container's own
    /// variables. `configured`: they are as an engine has them in its configuration, to which it
    /// adds some, and where HOME holds for every user; else, as its init began with them.
    pub(crate) fn foreign(
        account: &Account,
        tty: bool,
        container: &BTreeMap<String, String>,
        configured: bool,
        asked: &BTreeMap<EnvName, Argument>,
    ) -> Self {
        let mut variables = container.clone();
        if configured {
            let mut default = |name: &str, value: &str| {
                variables
                    .entry(name.to_owned())
                    .or_insert_with(|| value.to_owned());
            };
            default("PATH", SEARCH_PATH);
            default(
                "HOSTNAME",
                &rustix::system::uname().nodename().to_string_lossy(),
            );
            default("HOME", &account.home);
        } else {
            variables.insert("HOME".to_owned(), account.home.clone());
        }
        if tty {
            variables.insert("TERM".to_owned(), TERMINAL.to_owned());
        }
        for (name, value) in asked {
            variables.insert(name.as_str().to_owned(), value.as_str().to_owned());
        }
        Self(variables)
    }

    /// Where its commands are looked for.
    pub(crate) fn search_path(&self) -> &str {
        self.0.get("PATH").map_or(SEARCH_PATH, String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As execve(2) takes it.
    pub(crate) fn words(&self) -> Vec<CString> {
        self.iter()
            .map(|(name, value)| c_word(&format!("{name}={value}")))
            .collect()
    }
}
