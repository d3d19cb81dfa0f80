//! Limits of resources of another process: `/proc/PID/limits`, see proc_pid_limits(5).

use rustix::process::{Resource, Rlimit};

/// A limit of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: Resource,
    /// As getrlimit(2) calls it.
    pub(crate) name: &'static str,
    pub(crate) value: Rlimit,
}

/// All of them as the kernel writes them there, and as getrlimit(2) calls them.
pub(crate) const ALL: [(&str, Resource, &str); 16] = [
    ("Max cpu time", Resource::Cpu, "cpu"),
    ("Max file size", Resource::Fsize, "fsize"),
    ("Max data size", Resource::Data, "data"),
    ("Max stack size", Resource::Stack, "stack"),
    ("Max core file size", Resource::Core, "core"),
    ("Max resident set", Resource::Rss, "rss"),
    ("Max processes", Resource::Nproc, "nproc"),
    ("Max open files", Resource::Nofile, "nofile"),
    ("Max locked memory", Resource::Memlock, "memlock"),
    ("Max address space", Resource::As, "as"),
    ("Max file locks", Resource::Locks, "locks"),
    ("Max pending signals", Resource::Sigpending, "sigpending"),
    ("Max msgqueue size", Resource::Msgqueue, "msgqueue"),
    ("Max nice priority", Resource::Nice, "nice"),
    ("Max realtime priority", Resource::Rtprio, "rtprio"),
    ("Max realtime timeout", Resource::Rttime, "rttime"),
];

/// The limits that the text tells of.
pub(crate) fn parse(text: &str) -> Vec<Limit> {
    let value = |word: &str| match word {
        "unlimited" => Some(None),
        number => number.parse::<u64>().ok().map(Some),
    };
    ALL.iter()
        .filter_map(|(label, resource, name)| {
            let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
            let mut words = rest.split_ascii_whitespace();
            Some(Limit {
                resource: *resource,
                name,
                value: Rlimit {
                    current: value(words.next()?)?,
                    maximum: value(words.next()?)?,
                },
            })
        })
        .collect()
}

/// The lower of two limits; `None` is none.
fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What a process that has the limits `own` can give itself of `wanted`: all of it with
/// CAP_SYS_RESOURCE, else not more than its own hard limit.
pub(crate) fn attainable(wanted: &Limit, own: Rlimit, may_raise: bool) -> Limit {
    if may_raise {
        return wanted.clone();
    }
    let maximum = lower(wanted.value.maximum, own.maximum);
    Limit {
        value: Rlimit {
            current: lower(wanted.value.current, maximum),
            maximum,
        },
        ..wanted.clone()
    }
}

/// How a limit is written: `soft:hard`.
pub(crate) fn words(limit: &Limit) -> String {
    let word = |value: Option<u64>| value.map_or("unlimited".to_owned(), |n| n.to_string());
    format!(
        "{}={}:{}",
        limit.name,
        word(limit.value.current),
        word(limit.value.maximum)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max cpu time              unlimited            unlimited            seconds   \n\
        Max open files            1024                 20000                files     \n";

    #[test]
    fn limits_are_read() {
        let limits = parse(TEXT);
        assert_eq!(limits.len(), 2);
        assert_eq!(words(&limits[0]), "cpu=unlimited:unlimited");
        assert_eq!(words(&limits[1]), "nofile=1024:20000");
        assert!(parse("Max open files many more").is_empty());
    }

    #[test]
    fn this_process_has_all_of_them() {
        let text = std::fs::read_to_string("/proc/self/limits").expect("limits");
        let limits = parse(&text);
        assert_eq!(limits.len(), ALL.len());
        for limit in limits {
            let own = rustix::process::getrlimit(limit.resource);
            assert_eq!(limit.value, own, "{}", limit.name);
        }
    }

    #[test]
    fn nobody_without_the_right_gets_more_than_they_have() {
        let wanted = &parse(TEXT)[1];
        let own = Rlimit {
            current: Some(256),
            maximum: Some(512),
        };
        assert_eq!(attainable(wanted, own, true), *wanted);
        assert_eq!(words(&attainable(wanted, own, false)), "nofile=512:512");
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        assert_eq!(attainable(wanted, unlimited, false), *wanted);
    }
}
