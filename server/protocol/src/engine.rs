//! Who makes containers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who made a container. The order is the one in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Porthole itself.
    Porthole,
    /// Docker Engine.
    Docker,
    /// Podman.
    Podman,
    /// containerd, by whatever asks it (Kubernetes' own among them).
    Containerd,
    /// CRI-O.
    #[serde(rename = "cri-o")]
    CriO,
    /// LXC, by itself or as Incus and LXD use it.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// Nobody known: namespaces that unshare(1) or another program made.
    None,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Porthole,
        Self::Docker,
        Self::Podman,
        Self::Containerd,
        Self::CriO,
        Self::Lxc,
        Self::Nspawn,
        Self::None,
    ];

    /// Its word in JSON, in addresses, on screen and in CSS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Porthole => "porthole",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Lxc => "lxc",
            Self::Nspawn => "nspawn",
            Self::None => "none",
        }
    }

    /// As people write it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Porthole => "Porthole",
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Containerd => "containerd",
            Self::CriO => "CRI-O",
            Self::Lxc => "LXC",
            Self::Nspawn => "systemd-nspawn",
            Self::None => "no engine",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_json_is_the_name() {
        for engine in Engine::ALL {
            let json = serde_json::to_string(&engine).expect("json");
            assert_eq!(json, format!("\"{engine}\""));
        }
    }
}
