//! What `make test-vm` asks inside its machine: Debian with systemd and nothing but cgroup2, Porthole
//! installed from its package. Once after the first start of the machine, then it restarts the
//! machine, asks again, and switches it off; on a kernel that is too old, only that this is told.
//! Runs nowhere else: it takes the whole machine for its own, and sets its clock.
#![forbid(unsafe_code)]

mod after;
mod before;
mod clock;
mod limits;
mod machine;
mod old;
mod waits;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::machine::Machine;

/// What a check is called, and the check.
type Check = (&'static str, fn(&mut Machine));

/// Made by `tests/vm/run` in the machine's own file system.
const MARK: &str = "/etc/porthole-test-machine";
/// On the kernel's command line.
const PARTS: &str = "test-machine.parts=";
/// There after the first part: when the machine was asked to end, in seconds since 1970.
const STAGE: &str = "/var/lib/porthole-test-stage";

/// All, or those of the parts that `PARTS` of `tests/vm/run` names.
fn before_restart() -> Vec<Check> {
    let words = machine::read("/proc/cmdline");
    let named = words.split(' ').find_map(|word| word.strip_prefix(PARTS));
    let mut all = before::FIRST.to_vec();
    for (part, checks) in [
        ("service", &before::CHECKS[..]),
        ("limits", &limits::CHECKS),
        ("clock", &clock::CHECKS),
    ] {
        if named.is_none_or(|named| named.split(',').any(|name| name == part)) {
            all.extend(checks);
        }
    }
    all.extend(before::LEAVE);
    all
}

fn main() -> ExitCode {
    if !Path::new(MARK).exists() {
        eprintln!("this is no machine for tests; run `make test-vm`");
        return ExitCode::FAILURE;
    }
    let first = !Path::new(STAGE).exists();
    let old = old::is_it();
    let (name, checks) = if old {
        ("of an old kernel", old::CHECKS.to_vec())
    } else if first {
        ("before the restart", before_restart())
    } else {
        ("after the restart", after::CHECKS.to_vec())
    };
    println!("\nrunning {} checks {name}", checks.len());
    let mut machine = Machine::default();
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in checks {
        // The message of a failed one is on the console already.
        if catch_unwind(AssertUnwindSafe(|| check(&mut machine))).is_ok() {
            passed += 1;
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED");
        }
    }
    if failed > 0 {
        machine::show_log();
    }
    println!(
        "test result: {}. {passed} passed; {failed} failed",
        if failed == 0 { "ok" } else { "FAILED" }
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs().to_string();
    std::fs::write(STAGE, now).expect("the stage is written down");
    let next = if first && failed == 0 && !old {
        "reboot"
    } else {
        "poweroff"
    };
    let _ = Command::new("systemctl")
        .args(["--no-block", next])
        .status();
    ExitCode::SUCCESS
}
