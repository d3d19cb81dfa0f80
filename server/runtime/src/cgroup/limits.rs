//! A container's limits as the files of its groups have them.

use std::os::fd::OwnedFd;

use porthole_protocol::container::Limits;
use rustix::io::Errno;

use super::{Controller, write};
use crate::step::{Step, StepError};

/// Period of the CPU quota in microseconds, the kernel's default.
const CPU_PERIOD_US: f64 = 100_000.0;

/// The kernel takes no smaller quota.
const CPU_QUOTA_LEAST_US: f64 = 1_000.0;

/// Sets what one controller of the cgroup2 tree limits.
pub(super) fn unified(
    group: &OwnedFd,
    controller: Controller,
    limits: &Limits,
) -> Result<(), StepError> {
    let set = |file, text: String| write(group, file, &text, Step::SetLimit);
    match controller {
        Controller::Memory => {
            set("memory.max", memory(limits).to_string())?;
            // Kernels without swap lack the file.
            absent_is_well(set("memory.swap.max", limits.swap.unwrap_or(0).to_string()))
        }
        Controller::Cpu => set("cpu.max", format!("{} {CPU_PERIOD_US}", quota(limits))),
        Controller::Pids => set("pids.max", pids(limits).to_string()),
    }
}

/// Sets what one controller of a v1 tree limits.
pub(super) fn legacy(
    group: &OwnedFd,
    controller: Controller,
    limits: &Limits,
) -> Result<(), StepError> {
    let set = |file, text: String| write(group, file, &text, Step::SetLimit);
    match controller {
        Controller::Memory => {
            let memory = memory(limits);
            let with_swap = memory.saturating_add(limits.swap.unwrap_or(0)).to_string();
            let memory_first = set("memory.limit_in_bytes", memory.to_string());
            if let Err(error) = &memory_first
                && !error.is(Errno::INVAL)
            {
                return memory_first;
            }
            absent_is_well(set("memory.memsw.limit_in_bytes", with_swap))?;
            // A group that is used again may have had less of both: memory may not exceed the sum.
            match memory_first {
                Err(error) if error.is(Errno::INVAL) => {
                    set("memory.limit_in_bytes", memory.to_string())
                }
                answer => answer,
            }
        }
        Controller::Cpu => {
            set("cpu.cfs_period_us", format!("{CPU_PERIOD_US}"))?;
            set("cpu.cfs_quota_us", quota(limits))
        }
        Controller::Pids => set("pids.max", pids(limits).to_string()),
    }
}

fn absent_is_well(answer: Result<(), StepError>) -> Result<(), StepError> {
    match answer {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

fn memory(limits: &Limits) -> u64 {
    limits.memory.unwrap_or(Limits::DEFAULT_MEMORY)
}

fn quota(limits: &Limits) -> String {
    let cores = limits.cpus.unwrap_or(Limits::DEFAULT_CPUS);
    format!("{:.0}", (cores * CPU_PERIOD_US).max(CPU_QUOTA_LEAST_US))
}

fn pids(limits: &Limits) -> u32 {
    limits.pids.unwrap_or(Limits::DEFAULT_PIDS)
}
