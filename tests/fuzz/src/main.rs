//! One program for all fuzz targets: which one, the variable `TARGET` says. `tests/fuzz/run`
//! builds it and starts it, once a target.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The keeper is a program and no library: what reads its policy is built here as it is.
#[path = "../../../server/keeper/src"]
mod keeper {
    #[allow(dead_code, reason = "nothing here reads the file")]
    pub(crate) mod policy;
}

mod settings {
    pub(crate) struct Places;

    impl Places {
        pub(crate) const SOCKET_PATH_LIMIT: usize = 107;
    }
}

type Target = (&'static str, fn(&[u8]));

const CRATES: [&[Target]; 8] = [
    porthole_protocol::fuzz::TARGETS,
    porthole_journal::fuzz::TARGETS,
    porthole_terminal::fuzz::TARGETS,
    porthole_discovery::fuzz::TARGETS,
    porthole_runtime::fuzz::TARGETS,
    keeper::policy::fuzz::TARGETS,
    porthole_engines::fuzz::TARGETS,
    porthole::fuzz::TARGETS,
];

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("TARGET").unwrap_or_default();
    let mut all = CRATES.iter().copied().flatten();
    match all.find(|(name, _)| *name == wanted) {
        Some((_, target)) => *target,
        None => {
            let names = CRATES.iter().copied().flatten().map(|(name, _)| *name);
            println!("{}", names.collect::<Vec<_>>().join("\n"));
            std::process::exit(if wanted.is_empty() { 0 } else { 2 });
        }
    }
});

fuzz_target!(init: { LazyLock::force(&TARGET); }, |data: &[u8]| TARGET(data));
