//! The table `[engines]`: which engines the broker may reach, and whether it may change anything.
//!
//! ```toml
//! [engines]
//! docker = true                                    # at /run/docker.sock
//! podman = ["/run/podman/podman.sock", "/run/user/1000/podman/podman.sock"]
//! manage = true                                    # start, stop, remove; else only look
//! ```

use std::path::{Component, Path};

use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{ENGINES, Endpoint};
use serde::Deserialize;
use toml::Value;

use crate::settings::Places;

/// What the table says. Nothing unless enabled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Engines {
    /// Whom the broker may ask.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether it may do more than look.
    pub(crate) manage: bool,
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    docker: Option<Value>,
    podman: Option<Value>,
    manage: bool,
}

/// Where each listens unless told otherwise.
const PLACES: [(Engine, &str); 2] = [
    (Engine::Docker, "/run/docker.sock"),
    (Engine::Podman, "/run/podman/podman.sock"),
];

impl Written {
    /// What it means.
    pub(super) fn resolve(self) -> Result<Engines, String> {
        let mut endpoints = Vec::new();
        for ((engine, usual), value) in PLACES.into_iter().zip([self.docker, self.podman]) {
            for socket in sockets(value, usual).map_err(|why| format!("engines.{engine}: {why}"))? {
                endpoints.push(Endpoint { engine, socket });
            }
        }
        if endpoints.len() > ENGINES {
            return Err(format!("engines: at most {ENGINES} sockets"));
        }
        Ok(Engines {
            endpoints,
            manage: self.manage,
        })
    }
}

fn sockets(value: Option<Value>, usual: &str) -> Result<Vec<String>, String> {
    let wrong = "it is true, false, the path of a socket, or a list of paths";
    let listed = match value {
        None | Some(Value::Boolean(false)) => Vec::new(),
        Some(Value::Boolean(true)) => vec![Value::from(usual)],
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    listed
        .into_iter()
        .map(|path| match path {
            Value::String(path) => check(&path).map(|()| path),
            _ => Err(wrong.to_owned()),
        })
        .collect()
}

fn check(path: &str) -> Result<(), String> {
    let plain = Path::new(path)
        .components()
        .all(|part| !matches!(part, Component::ParentDir));
    if !path.starts_with('/') || !plain || path.contains('\0') {
        Err(format!("{path:?} is no absolute path without \"..\""))
    } else if path.len() > Places::SOCKET_PATH_LIMIT {
        Err(format!(
            "{path:?} has more than the {} bytes that a socket's path may have",
            Places::SOCKET_PATH_LIMIT
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Engines, String> {
        toml::from_str::<Written>(text)
            .map_err(|error| error.to_string())?
            .resolve()
    }

    #[test]
    fn nothing_is_asked_unless_enabled() {
        for off in ["", "docker = false", "podman = []"] {
            assert_eq!(read(off), Ok(Engines::default()), "{off}");
        }
        assert!(!read("docker = true").expect("valid").manage);
    }

    #[test]
    fn an_engine_is_enabled_where_it_usually_is_at_a_path_or_at_several() {
        let engines =
            read("docker = true\npodman = [\"/run/a\", \"/run/b\"]\nmanage = true").expect("valid");
        let found: Vec<_> = engines
            .endpoints
            .iter()
            .map(|e| (e.engine.name(), e.socket.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("docker", "/run/docker.sock"),
                ("podman", "/run/a"),
                ("podman", "/run/b")
            ]
        );
        assert!(engines.manage);
        assert_eq!(read("docker = \"/x\"").expect("valid").endpoints.len(), 1);
    }

    #[test]
    fn what_is_no_place_is_refused_by_name() {
        for bad in [
            "docker = 1",
            "docker = \"docker.sock\"",
            "docker = \"/run/../etc\"",
            "docker = [true]",
            "docker = \"\"",
        ] {
            let why = read(bad).expect_err(bad);
            assert!(why.contains("engines.docker"), "{why}");
        }
        assert!(read(&format!("podman = \"/{:200}\"", 1)).is_err());
        assert!(read("lxc = true").is_err());
        assert!(read("manage = \"yes\"").is_err());
        let many = vec!["\"/a\""; ENGINES + 1].join(",");
        assert!(read(&format!("docker = [{many}]")).is_err());
    }
}
