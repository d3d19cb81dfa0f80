//! Lines for whoever runs Porthole, on standard error.
//!
//! Not `eprintln!`, which panics where nobody reads any more: a closed terminal must end nothing.

use std::fmt::Arguments;
use std::io::Write;

/// Writes one line.
pub(crate) fn line(role: &str, text: Arguments<'_>) {
    let mut line = format!("porthole-keeper[{role}]: {text}").replace('\n', " ");
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// `log!("keeper", "{n} containers")`
macro_rules! log {
    ($role:literal, $($text:tt)*) => {
        $crate::log::line($role, format_args!($($text)*))
    };
}
pub(crate) use log;
