//! On a kernel that is too old: it is told in words, and nothing is left of the try.

use std::path::Path;
use std::time::Duration;

use porthole_tests::wait_for;

use crate::Check;
use crate::machine::{Machine, property, read, tell};

/// In this order.
pub(crate) const CHECKS: [Check; 2] = [
    ("a_kernel_that_is_too_old_is_refused_in_words", refused),
    ("what_cannot_run_is_purged_all_the_same", purge),
];

/// Whether the machine's kernel is older than README.md says.
pub(crate) fn is_it() -> bool {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found < (6, 1)
}

fn refused(_: &mut Machine) {
    let release = read("/proc/sys/kernel/osrelease");
    println!("Linux {release}");
    // systemd gives it up after some tries.
    wait_for("the service has failed", Duration::from_secs(120), || {
        (property("ActiveState") == "failed").then_some(())
    });
    let log = tell(&["journalctl", "--no-pager", "--unit", "porthole"]);
    let words = format!("Porthole needs Linux 6.1 or newer, this is Linux {release}");
    assert!(log.contains(&words), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(!Path::new("/run/porthole/porthole.sock").exists());
}

fn purge(machine: &mut Machine) {
    crate::after::purge(machine);
}
