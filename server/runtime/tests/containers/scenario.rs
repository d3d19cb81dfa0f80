//! The scenarios, by what they are about.

mod confinement;
mod joining;
mod life;
mod rootfs;
mod trouble;

use crate::bench::Bench;

/// A scenario's name and what it does.
pub(crate) type Scenario = (&'static str, fn(&mut Bench));

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    [
        life::ALL,
        joining::ALL,
        confinement::ALL,
        rootfs::ALL,
        trouble::ALL,
    ]
    .concat()
}

/// A container that does nothing.
const SLEEP: &str = r#"{"image":"busybox","init":false,"command":["sleep","1000"]}"#;

/// The same, of the machine's programs.
const HOST_SLEEP: &str = r#"{"image":"host","init":false,"command":["sleep","1000"]}"#;
