//! Capabilities, capabilities(7): the one table of their names.

/// Their names without `CAP_`, by number (`linux/capability.h`).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// All that have a name here.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// What Docker and Podman leave a container that asks for nothing else, and Porthole too.
pub const DEFAULT: u64 = 0xa804_25fb;

/// The name of the capability of this number: `CAP_CHOWN`, and `CAP_41` without a name here.
pub fn name(number: u32) -> String {
    match NAMES.get(number as usize) {
        Some(name) => format!("CAP_{name}"),
        None => format!("CAP_{number}"),
    }
}

/// The names of a set, as `CapEff` of proc_pid_status(5) has it.
pub fn names(set: u64) -> Vec<String> {
    let numbers = 0..u64::BITS;
    numbers
        .filter(|number| set & 1 << number != 0)
        .map(name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_told_by_name() {
        assert_eq!(
            names(1 | 1 << 40 | 1 << 41),
            ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_41"]
        );
        let default = names(DEFAULT);
        assert_eq!(default.len(), 14);
        assert!(default.iter().any(|name| name == "CAP_AUDIT_WRITE"));
        assert!(!default.iter().any(|name| name == "CAP_SYS_ADMIN"));
    }
}
