//! Where everything is. `porthole serve` has resolved flags, environment and files before this
//! program starts, and passes the outcome as `PORTHOLE_*`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The places of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// `PORTHOLE_ROOT`: state.
    pub(crate) root: PathBuf,
    /// `PORTHOLE_RUN`: sockets.
    pub(crate) run: PathBuf,
    /// `PORTHOLE_POLICY`: what root allows.
    pub(crate) policy: PathBuf,
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{variable} must be an absolute path without '..', it is {value:?}")]
    NotAbsolute {
        variable: &'static str,
        value: OsString,
    },
    #[error(
        "PORTHOLE_RUN is too long: with the sockets' names in it, {path} has more than the {} bytes that a socket's path may have; choose a shorter one",
        Places::SOCKET_PATH_LIMIT
    )]
    TooLong { path: PathBuf },
}

impl Places {
    /// Bytes in `sockaddr_un.sun_path` without the NUL, see unix(7).
    pub(crate) const SOCKET_PATH_LIMIT: usize = 107;

    /// Takes them from the environment.
    pub(crate) fn from_environment() -> Result<Self, PlaceError> {
        Self::resolve(|name| std::env::var_os(name))
    }

    fn resolve(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, PlaceError> {
        let path = |name: &'static str, default: &str| {
            let value = variable(name)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.into());
            let path = PathBuf::from(&value);
            let plain = path
                .components()
                .all(|part| !matches!(part, std::path::Component::ParentDir));
            if path.is_absolute() && plain {
                Ok(path)
            } else {
                Err(PlaceError::NotAbsolute {
                    variable: name,
                    value,
                })
            }
        };
        let places = Self {
            root: path("PORTHOLE_ROOT", "/var/lib/porthole")?,
            run: path("PORTHOLE_RUN", "/run/porthole")?,
            policy: path("PORTHOLE_POLICY", crate::policy::PATH)?,
        };
        let longest = places.monitors().join("0".repeat(32));
        if longest.as_os_str().len() > Self::SOCKET_PATH_LIMIT {
            return Err(PlaceError::TooLong { path: longest });
        }
        Ok(places)
    }

    /// What only root may see.
    pub(crate) fn keeper(&self) -> PathBuf {
        self.root.join("keeper")
    }

    /// Containers, each in a directory of its id.
    pub(crate) fn containers(&self) -> PathBuf {
        self.keeper().join("containers")
    }

    /// Sessions, each in a directory of its id.
    pub(crate) fn sessions(&self) -> PathBuf {
        self.keeper().join("sessions")
    }

    /// What is the server's own.
    pub(crate) fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    /// Where monitors listen.
    pub(crate) fn monitors(&self) -> PathBuf {
        self.run.join("m")
    }

    /// What monitors write down for whoever runs Porthole.
    pub(crate) fn monitors_log(&self) -> PathBuf {
        self.keeper().join("monitors.log")
    }

    /// Where the keeper listens.
    pub(crate) fn keeper_socket(&self) -> PathBuf {
        self.run.join("keeper.sock")
    }

    /// Where the engines broker listens.
    pub(crate) fn engines_socket(&self) -> PathBuf {
        self.run.join("engines.sock")
    }

    /// Eight digits that tell instances on one machine apart.
    pub(crate) fn instance(&self) -> String {
        instance(&self.root)
    }
}

/// FNV-1a of the path: it keeps instances apart and protects nothing.
fn instance(root: &Path) -> String {
    let hash = root
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_defaults_and_are_absolute() {
        let none = Places::resolve(|_| None).expect("defaults");
        assert_eq!(none.root, Path::new("/var/lib/porthole"));
        assert_eq!(none.keeper_socket(), Path::new("/run/porthole/keeper.sock"));
        assert_eq!(none.policy, Path::new("/etc/porthole/policy.toml"));
        for bad in ["var/lib", "/var/../etc", "."] {
            let only_root = |name: &str| (name == "PORTHOLE_ROOT").then(|| bad.into());
            assert!(Places::resolve(only_root).is_err(), "{bad}");
        }
        let long = |name: &str| (name == "PORTHOLE_RUN").then(|| format!("/{:90}", 1).into());
        assert!(matches!(
            Places::resolve(long),
            Err(PlaceError::TooLong { .. })
        ));
    }

    #[test]
    fn instances_differ() {
        let one = instance(Path::new("/var/lib/porthole"));
        assert_eq!(one.len(), 8);
        assert_ne!(one, instance(Path::new("/var/lib/porthole2")));
    }
}
