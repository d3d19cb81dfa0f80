//! The privileged half of Porthole, in one static program with several roles.
//!
//! | Role | What it is |
//! |---|---|
//! | `serve` | opens the listeners, starts and restarts the keeper and the server, adopts what they leave |
//! | `keeper` | the one that is asked: makes, starts and ends containers and sessions |
//! | `init` | PID 1 of a container |
//!
//! Monitors, workers and observers are forks of the keeper that never run another program. The
//! role is chosen before anything else happens: nothing of one role has run when another begins.
#![forbid(unsafe_code)]

mod accounts;
mod broker;
mod clock;
mod ground;
mod ledger;
mod log;
mod monitor;
mod names;
mod policy;
mod poll;
mod program;
mod serve;
mod settings;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

/// What a process exits with that cannot run as it is set up, so that starting it again is of no
/// use: `EX_CONFIG` of sysexits.h.
const CANNOT_RUN: u8 = 78;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    if role == "init" {
        porthole_runtime::init_main(rest);
    }
    let outcome = match role.to_str() {
        Some("serve") if rest.is_empty() => serve::run(),
        Some("keeper") if rest.is_empty() => broker::run().map(|never| match never {}),
        Some("--version") => {
            println!("porthole-keeper {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!(
                "porthole-keeper is started by `porthole serve`; its roles are serve, keeper and init"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("porthole: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}
