//! Time namespaces.

use porthole_protocol::inspection::{Clocks, Time};
use porthole_protocol::namespace::NamespaceType;
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::time::{ClockId, clock_gettime};

use rustix::fd::AsFd;

use super::target::{Target, enter};
use super::{Step, Trouble, scan};

pub(super) fn read(target: &Target) -> Result<Time, Trouble> {
    let own = open(
        "/proc/self/ns/time",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Trouble::at(Step::OpenNamespace, "/proc/self/ns/time"))?;
    let (namespace, open) = target.namespace(NamespaceType::Time)?;
    enter(NamespaceType::Time, open.as_fd())?;
    // Its offsets are shown as those of whoever is in it; before it has been entered for the first
    // time as those of whoever has it for its children.
    let offsets = scan::whole(CWD, "/proc/self/timens_offsets", 4096)
        .map_err(Trouble::at(Step::Read, "/proc/self/timens_offsets"))?;
    let inside = now();
    enter(NamespaceType::Time, own.as_fd())?;
    let outside = now();
    let text = String::from_utf8_lossy(&offsets).into_owned();
    Ok(Time {
        namespace,
        monotonic_offset: offset(&text, "monotonic").unwrap_or(0),
        boottime_offset: offset(&text, "boottime").unwrap_or(0),
        inside,
        outside,
    })
}

/// The clocks as this process reads them.
pub(super) fn now() -> Clocks {
    let read = |clock| {
        let time = clock_gettime(clock);
        nanoseconds(time.tv_sec, time.tv_nsec)
    };
    Clocks {
        realtime: read(ClockId::Realtime),
        monotonic: read(ClockId::Monotonic),
        boottime: read(ClockId::Boottime),
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// `monotonic  -5  999999999`: seconds, and nanoseconds that are never negative.
pub(super) fn offset(text: &str, clock: &str) -> Option<i64> {
    let line = text.lines().find(|line| line.starts_with(clock))?;
    let mut words = line.split_ascii_whitespace().skip(1);
    let seconds = words.next()?.parse().ok()?;
    Some(nanoseconds(seconds, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_both_ways() {
        let text = "monotonic          -5 999999999\nboottime     86400         0\n";
        assert_eq!(offset(text, "monotonic"), Some(-4_000_000_001));
        assert_eq!(offset(text, "boottime"), Some(86_400_000_000_000));
        assert_eq!(offset("", "boottime"), None);
    }
}
