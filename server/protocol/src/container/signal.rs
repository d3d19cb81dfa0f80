//! Signals by number and by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Names of the signals of Linux on x86-64 and arm64, from 1 on, see signal(7).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// A signal, 1 to 64. In JSON it is its name, or its number where it has none; a number, and a
/// name without `SIG` or in small letters, is understood too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Signal(u8);

/// As somebody may write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Name(String),
}

const WHY: Invalid = Invalid("a signal is a name such as \"SIGHUP\" or a number from 1 to 64");

impl Signal {
    /// Ends a process that has arranged nothing else.
    pub const TERM: Self = Self(15);
    /// Ends every process.
    pub const KILL: Self = Self(9);

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Its name, `SIGHUP`; real-time signals have none.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0) - 1).copied()
    }
}

impl TryFrom<u32> for Signal {
    type Error = Invalid;

    fn try_from(number: u32) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(number @ 1..=64) => Ok(Self(number)),
            _ => Err(WHY),
        }
    }
}

impl FromStr for Signal {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(number) = text.parse::<u32>() {
            return Self::try_from(number);
        }
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let place = NAMES.iter().position(|known| known[3..] == *name);
        place
            .and_then(|place| u8::try_from(place + 1).ok())
            .map(Self)
            .ok_or(WHY)
    }
}

impl TryFrom<Written> for Signal {
    type Error = Invalid;

    fn try_from(written: Written) -> Result<Self, Invalid> {
        match written {
            Written::Number(number) => Self::try_from(number),
            Written::Name(name) => name.parse(),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl From<Signal> for u8 {
    fn from(signal: Signal) -> u8 {
        signal.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        for (text, number) in [
            ("SIGHUP", Some(1)),
            ("hup", Some(1)),
            ("SIGKILL", Some(9)),
            ("TERM", Some(15)),
            ("SIGSYS", Some(31)),
            ("64", Some(64)),
            ("0", None),
            ("65", None),
            ("SIGFOO", None),
            ("SIGSIGHUP", None),
            ("", None),
            ("-9", None),
        ] {
            let parsed = text.parse::<Signal>().ok().map(Signal::get);
            assert_eq!(parsed, number, "{text}");
        }
    }

    #[test]
    fn in_json_it_is_its_name() {
        let read = |text| serde_json::from_str::<Signal>(text);
        let quit = read("3").expect("a number");
        assert_eq!(serde_json::to_string(&quit).expect("json"), "\"SIGQUIT\"");
        assert_eq!(read("\"quit\"").expect("a name"), quit);
        let nameless = read("40").expect("a number");
        let written = serde_json::to_string(&nameless).expect("json");
        assert_eq!(read(&written).expect("the same"), nameless);
        assert!(read("65").is_err() && read("-1").is_err() && read("null").is_err());
    }
}
