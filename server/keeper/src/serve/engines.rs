//! What the engines broker is given: the places that root's policy names, and connections to them.
//!
//! The broker has an account of its own that no socket of an engine lets in. It asks here for each
//! connection, by one byte, and gets it connected: so it needs no group, reaches a socket that is
//! root's alone as Podman's is, and one that is made anew by another group, and nothing that the
//! policy does not name. See `porthole_protocol::engines::dial`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::engines::dial::{Answer, endpoint};
use porthole_protocol::engines::{EndpointId, Setting};
use porthole_sys::packet::Packet;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::accounts::{self, Account};
use crate::log::log;
use crate::policy;

/// Whether there is a broker, and what it may reach.
pub(super) struct Engines {
    setting: Setting,
    /// The setting as broker and server are told it.
    pub(super) told: String,
    /// Whom the broker runs as; `None` where there is to be none.
    pub(super) account: Option<Account>,
}

impl Engines {
    /// What becomes of what the policy says, on this machine. Told in a line.
    pub(super) fn settle(
        rules: policy::Engines,
        server: &Account,
        account: Option<Account>,
    ) -> anyhow::Result<Self> {
        let enabled = !rules.endpoints.is_empty();
        let account = account.filter(|_| enabled);
        let trouble = (enabled && account.is_none()).then(|| {
            format!(
                "There is no account '{name}' for the engines broker to run as, so no engine is asked; make it and start Porthole again: useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {name}",
                name = accounts::ENGINES
            )
        });
        match &trouble {
            Some(trouble) => log!("serve", "{trouble}"),
            None if enabled => {
                let places: Vec<_> = rules
                    .endpoints
                    .iter()
                    .map(|at| format!("{} at {}", at.engine, at.socket))
                    .collect();
                log!(
                    "serve",
                    "root's policy lets Porthole {} the containers of {}",
                    if rules.manage {
                        "look at and change"
                    } else {
                        "look at"
                    },
                    places.join(", ")
                );
            }
            None => {}
        }
        let setting = Setting {
            engines: rules.endpoints,
            manage: rules.manage,
            server: server.uid,
            trouble,
        };
        Ok(Self {
            told: serde_json::to_string(&setting)?,
            setting,
            account,
        })
    }

    /// Takes one request from the broker and answers it. Answers whether it may ask again.
    pub(super) fn answer(&self, dial: &Packet) -> bool {
        let message = match dial.receive(1) {
            Ok(Some((message, descriptors))) if descriptors.is_empty() => message,
            Err(error) if error.is_would_block() => return true,
            _ => return false,
        };
        let Some(wanted) = endpoint(&message) else {
            return false;
        };
        let sent = match self.connect(wanted) {
            Ok(socket) => dial.send(&Answer::Connected.encode(), &[socket.as_fd()]),
            Err(errno) => {
                let errno = errno.raw_os_error();
                dial.send(&Answer::Failed { errno }.encode(), &[])
            }
        };
        match sent {
            Ok(()) => true,
            // Whoever does not take its answers asks for nothing more.
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// Never waits: where too many wait to be accepted already, connect(2) says EAGAIN.
    fn connect(&self, wanted: EndpointId) -> Result<OwnedFd, Errno> {
        let place = self.setting.engines.get(usize::from(wanted.0));
        let address = SocketAddrUnix::new(place.ok_or(Errno::INVAL)?.socket.as_str())?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        connect(&socket, &address)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use porthole_protocol::engine::Engine;
    use porthole_protocol::engines::Endpoint;
    use porthole_protocol::engines::dial::request;
    use std::os::unix::net::UnixListener;

    fn engines(sockets: &[&std::path::Path]) -> Engines {
        let setting = Setting {
            engines: sockets
                .iter()
                .map(|socket| Endpoint {
                    engine: Engine::Docker,
                    socket: socket.display().to_string(),
                })
                .collect(),
            ..Setting::default()
        };
        Engines {
            told: String::new(),
            setting,
            account: None,
        }
    }

    #[test]
    fn there_is_a_broker_only_where_engines_are_enabled_and_it_has_an_account() {
        let account = |uid| Account { uid, gid: uid };
        let settle = |enabled: bool, own| {
            let endpoints = enabled.then(|| Endpoint {
                engine: Engine::Docker,
                socket: "/run/docker.sock".to_owned(),
            });
            let rules = policy::Engines {
                endpoints: endpoints.into_iter().collect(),
                manage: false,
            };
            Engines::settle(rules, &account(7), own).expect("settled")
        };
        let there = settle(true, Some(account(8)));
        assert_eq!(
            (there.account, there.setting.trouble),
            (Some(account(8)), None)
        );
        let off = settle(false, Some(account(8)));
        assert_eq!((off.account, off.setting.trouble), (None, None));
        let none = settle(true, None);
        assert_eq!(none.account, None, "not as the server's account instead");
        let told: Setting = serde_json::from_str(&none.told).expect("a setting");
        let trouble = told.trouble.expect("a sentence");
        assert!(trouble.contains("useradd") && trouble.contains("porthole-engines"));
        assert_eq!(told.server, 7);
    }

    #[test]
    fn a_connection_is_given_to_what_the_policy_names_and_to_nothing_else() {
        let directory = tempfile::tempdir().expect("directory");
        let (there, missing) = (directory.path().join("a"), directory.path().join("b"));
        let listener = UnixListener::bind(&there).expect("bind");
        let engines = engines(&[&there, &missing]);
        let (broker, serve) = Packet::pair(false).expect("pair");
        let ask = |number| {
            broker
                .send(&request(EndpointId(number)), &[])
                .expect("send");
            assert!(engines.answer(&serve));
            let (bytes, descriptors) = broker.receive(8).expect("receive").expect("an answer");
            (
                Answer::decode(&bytes).expect("an answer"),
                descriptors.len(),
            )
        };
        assert_eq!(ask(0), (Answer::Connected, 1));
        listener.accept().expect("it was connected");
        let failed = |errno: Errno| Answer::Failed {
            errno: errno.raw_os_error(),
        };
        assert_eq!(ask(1), (failed(Errno::NOENT), 0));
        assert_eq!(ask(2), (failed(Errno::INVAL), 0));
    }

    #[test]
    fn a_listener_with_a_full_queue_stops_nothing() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a");
        let _listener = UnixListener::bind(&path).expect("bind");
        let engines = engines(&[&path]);
        let held: Vec<_> = (0..10_000)
            .map_while(|_| engines.connect(EndpointId(0)).ok())
            .collect();
        assert!(!held.is_empty());
        assert_eq!(
            engines.connect(EndpointId(0)).map(drop),
            Err(Errno::AGAIN),
            "after {}",
            held.len()
        );
    }

    #[test]
    fn whoever_asks_for_anything_else_is_not_listened_to() {
        let engines = engines(&[]);
        let (broker, serve) = Packet::pair(false).expect("pair");
        broker.send(b"/etc/passwd", &[]).expect("send");
        assert!(!engines.answer(&serve));
        drop(broker);
        assert!(!engines.answer(&serve), "it has hung up");
    }
}
