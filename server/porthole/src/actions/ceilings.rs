//! How much an account may ask for, for one container. Administrators have no ceiling here; root's
//! policy sets the keeper's own. What an account may have in all is in [`limits`](super::limits).

use std::sync::LazyLock;

use porthole_protocol::container::Limits;

use crate::Refusal;
use crate::access::Identity;

/// Processes of one container.
pub const PIDS: u32 = 4096;

/// The most that one container of a user may have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ceilings {
    /// Bytes of memory, and of swap.
    memory: u64,
    /// Cores.
    cpus: f64,
}

/// Half of the machine's memory and all its cores, as they were when this was first asked.
static CEILINGS: LazyLock<Ceilings> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ceilings {
        // Where nothing is known, what everybody gets unasked.
        memory: machine_memory().map_or(Limits::DEFAULT_MEMORY, |total| total / 2),
        cpus: u32::try_from(cores).unwrap_or(u32::MAX).into(),
    }
});

/// Bytes of memory that the machine has, as it was when this was first asked.
pub(super) fn machine_memory() -> Option<u64> {
    static MEMORY: LazyLock<Option<u64>> = LazyLock::new(|| {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        total_memory(&text)
    });
    *MEMORY
}

/// Bytes of memory that `/proc/meminfo`, see proc_meminfo(5), says the machine has.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Refuses what is more than this account may give one container.
pub(super) fn check(identity: &Identity, limits: &Limits) -> Result<(), Refusal> {
    if identity.is_admin() {
        return Ok(());
    }
    CEILINGS.check(limits)
}

impl Ceilings {
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let refused = |field: &str, most: String| {
            Err(Refusal::unusable(
                field,
                format!("Without an administrator's rights a container has at most {most}."),
            ))
        };
        let mebibytes = self.memory >> 20;
        if limits.memory.is_some_and(|asked| asked > self.memory) {
            return refused(
                "limits.memory",
                format!(
                    "half of the machine's memory, {mebibytes} MiB ({} bytes)",
                    self.memory
                ),
            );
        }
        if limits.swap.is_some_and(|asked| asked > self.memory) {
            return refused(
                "limits.swap",
                format!("{mebibytes} MiB of swap ({} bytes)", self.memory),
            );
        }
        if limits.cpus.is_some_and(|asked| asked > self.cpus) {
            return refused("limits.cpus", format!("the machine's {} cores", self.cpus));
        }
        if limits.pids.is_some_and(|asked| asked > PIDS) {
            return refused("limits.pids", format!("{PIDS} processes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemTotal:       16384000 kB\nMemFree:         1 kB\n";
        assert_eq!(total_memory(text), Some(16_384_000 * 1024));
        for text in ["", "MemTotal:", "MemTotal: x kB", "MemTotal: 5"] {
            assert_eq!(total_memory(text), None, "{text}");
        }
    }

    #[test]
    fn a_ceiling_is_reached_and_not_passed() {
        let ceilings = Ceilings {
            memory: 1 << 30,
            cpus: 2.0,
        };
        let at = Limits {
            memory: Some(1 << 30),
            swap: Some(1 << 30),
            cpus: Some(2.0),
            pids: Some(PIDS),
        };
        assert_eq!(ceilings.check(&at), Ok(()));
        for (field, beyond) in [
            (
                "limits.memory",
                Limits {
                    memory: Some((1 << 30) + 1),
                    ..at
                },
            ),
            (
                "limits.swap",
                Limits {
                    swap: Some((1 << 30) + 1),
                    ..at
                },
            ),
            (
                "limits.cpus",
                Limits {
                    cpus: Some(2.1),
                    ..at
                },
            ),
            (
                "limits.pids",
                Limits {
                    pids: Some(PIDS + 1),
                    ..at
                },
            ),
        ] {
            let refusal = ceilings.check(&beyond).expect_err(field);
            assert_eq!(refusal.field.as_deref(), Some(field));
        }
    }
}
