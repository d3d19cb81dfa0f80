//! What root allows the server to ask for.
//!
//! The file is optional, and without it nothing is allowed, and no container gets more than the
//! machine has. One that somebody other than root
//! could have written is not believed, and one that cannot be understood is not guessed at: both
//! keep the keeper from starting, with words that say what to do.

mod engines;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod network;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use porthole_protocol::container::Limits;
use porthole_protocol::image::ImageBounds;
use porthole_protocol::keeper::Policy;
use serde::Deserialize;

pub(crate) use engines::Engines;
pub(crate) use network::NetworkRules;

/// Where it is unless `PORTHOLE_POLICY` names another place.
pub(crate) const PATH: &str = "/etc/porthole/policy.toml";

/// More than a policy can need.
const SIZE_LIMIT: u64 = 64 * 1024;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rules {
    /// What may be asked for at all.
    pub(crate) policy: Policy,
    /// How much of it.
    pub(crate) ceilings: Ceilings,
    /// What containers may be connected to.
    pub(crate) network: NetworkRules,
}

/// The most that one container may be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ceilings {
    /// Bytes.
    pub(crate) memory: u64,
    /// Cores.
    pub(crate) cpus: f64,
    /// Processes and threads.
    pub(crate) pids: u32,
}

impl Default for Ceilings {
    /// All memory and cores of the machine, and a quarter of the processes that it can have.
    fn default() -> Self {
        let memory = rustix::system::sysinfo();
        let unit = u64::from(memory.mem_unit).max(1);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let processes = std::fs::read_to_string("/proc/sys/kernel/pid_max")
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok())
            .map_or(PIDS, |most| (most / 4).min(PIDS));
        Self {
            memory: memory.totalram.saturating_mul(unit),
            cpus: u32::try_from(cores).map_or(1.0, f64::from),
            pids: processes,
        }
    }
}

/// Processes of one container, on a machine that can have four times as many.
const PIDS: u32 = 32_768;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    host_namespaces: bool,
    join_foreign: bool,
    join_privileged: bool,
    limits: WrittenLimits,
    images: ImageBounds,
    engines: engines::Written,
    network: network::Written,
}

/// Its table `limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    memory: Option<u64>,
    cpus: Option<f64>,
    pids: Option<u32>,
}

/// Why the policy is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("cannot read the policy {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the policy {path} is not believed: it must be a regular file that belongs to root and that only root can write (chown root {path}; chmod go-w {path})"
    )]
    Writable { path: PathBuf },
    #[error("the policy {path} cannot be understood: {why}")]
    Malformed { path: PathBuf, why: String },
}

/// Reads what the policy at this path says to the keeper.
pub(crate) fn read(path: &Path) -> Result<Rules, PolicyError> {
    Ok(read_all(path)?.0)
}

/// Reads what it says of other engines, which is `serve`'s to follow.
pub(crate) fn read_engines(path: &Path) -> Result<Engines, PolicyError> {
    Ok(read_all(path)?.1)
}

fn read_all(path: &Path) -> Result<(Rules, Engines), PolicyError> {
    let failed = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(failed(error)),
    };
    // Asked of the open file, so that it is the one that is then read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(PolicyError::Writable {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    file.take(SIZE_LIMIT)
        .read_to_string(&mut text)
        .map_err(failed)?;
    parse(&text).map_err(|why| PolicyError::Malformed {
        path: path.to_owned(),
        why,
    })
}

fn parse(text: &str) -> Result<(Rules, Engines), String> {
    let written: Written =
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let machine = Ceilings::default();
    let ceilings = Ceilings {
        memory: written.limits.memory.unwrap_or(machine.memory),
        cpus: written.limits.cpus.unwrap_or(machine.cpus),
        pids: written.limits.pids.unwrap_or(machine.pids),
    };
    // What could not be given to any container is a slip of the pen.
    let limits = Limits {
        memory: Some(ceilings.memory),
        swap: None,
        cpus: Some(ceilings.cpus),
        pids: Some(ceilings.pids),
    };
    limits
        .check()
        .map_err(|(field, why)| format!("{field}: {why}"))?;
    let rules = Rules {
        policy: Policy {
            host_namespaces: written.host_namespaces,
            join_foreign: written.join_foreign,
            join_privileged: written.join_privileged,
            // Whether the machine has what that takes is found out later.
            bridge: false,
            publish_anywhere: false,
            images: written.images,
        },
        ceilings,
        network: written.network.resolve()?,
    };
    Ok((rules, written.engines.resolve()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_not_said_is_not_allowed() {
        assert_eq!(parse(""), Ok(Default::default()));
        assert!(!Policy::default().host_namespaces && !Policy::default().join_foreign);
        let (Rules { policy, .. }, _) = parse("# root's\nhost_namespaces = true\n").expect("valid");
        assert!(policy.host_namespaces && !policy.join_foreign);
    }

    #[test]
    fn a_word_that_it_does_not_know_is_named() {
        let why = parse("host_namespace = true").expect_err("refused");
        assert!(why.contains("host_namespace"), "{why}");
        assert!(parse("host_namespaces = \"yes\"").is_err());
        assert!(parse("host_namespaces").is_err());
    }

    #[test]
    fn ceilings_are_the_machines_unless_root_sets_others() {
        let machine = Ceilings::default();
        assert!(machine.memory > 64 << 20 && machine.cpus >= 1.0);
        assert!((256..=PIDS).contains(&machine.pids), "{machine:?}");
        let (rules, _) = parse("[limits]\nmemory = 1073741824\ncpus = 1.5").expect("valid");
        assert_eq!(
            rules.ceilings,
            Ceilings {
                memory: 1 << 30,
                cpus: 1.5,
                ..machine
            }
        );
        assert!(
            parse("[limits]\nmemory = 1")
                .expect_err("too little")
                .contains("limits.memory")
        );
        for bad in [
            "memory = -1",
            "pids = 0",
            "cpus = 0",
            "disk = 1",
            "memory = \"1G\"",
        ] {
            assert!(parse(&format!("[limits]\n{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_not_believed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("policy.toml");
        assert_eq!(read(&path).expect("no file"), Rules::default());
        std::fs::write(&path, "join_foreign = true\n").expect("write");
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        };
        mode(0o644);
        if !rustix::process::geteuid().is_root() {
            assert!(matches!(read(&path), Err(PolicyError::Writable { .. })));
            return;
        }
        assert!(read(&path).expect("root's").policy.join_foreign, "control");
        for bad in [0o664, 0o646, 0o666] {
            mode(bad);
            let why = read(&path).expect_err("refused").to_string();
            assert!(why.contains("chmod go-w"), "{why}");
        }
        mode(0o644);
        std::os::unix::fs::chown(&path, Some(1), None).expect("chown");
        assert!(matches!(read(&path), Err(PolicyError::Writable { .. })));
        assert!(matches!(
            read(directory.path()),
            Err(PolicyError::Writable { .. } | PolicyError::Read { .. })
        ));
    }
}
