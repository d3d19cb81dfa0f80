//! Starting where an earlier keeper left off.
//!
//! Records say what there was, sockets which monitors live. What is half made is deleted.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use porthole_protocol::id::{ContainerId, HostPid, SessionId};
use porthole_protocol::monitor::{ToMonitor, VERSION};
use porthole_protocol::session::Target;
use porthole_sys::packet::Packet;

use super::Broker;
use super::worker::{Attempt, Work};
use crate::ledger::{Aside, Config, Found, FoundSession, State, StoredSession};
use crate::log::log;
use crate::{monitor, store};

impl Broker {
    /// Takes over everything that is there.
    pub(super) fn take_over(&mut self) -> io::Result<()> {
        let mut live = live_monitors(&self.ground.places.monitors())?;
        self.take_over_images();
        self.take_over_containers(&mut live)?;
        self.take_over_sessions(&mut live)?;
        // Whatever is left watches something that was removed since.
        for (name, packet) in live {
            log!(
                "keeper",
                "monitor {name} watches nothing that is known: it is let go"
            );
            for message in [ToMonitor::End, ToMonitor::Release] {
                let _ = serde_json::to_vec(&message)
                    .map_err(io::Error::from)
                    .and_then(|bytes| packet.send(&bytes, &[]));
            }
        }
        Ok(())
    }

    fn take_over_containers(&mut self, live: &mut HashMap<String, Packet>) -> io::Result<()> {
        for name in names(&self.ground.places.containers())? {
            let Some(id) = name.parse().ok().filter(ContainerId::is_digits) else {
                log!(
                    "keeper",
                    "{name} is no container's directory: it is left alone"
                );
                continue;
            };
            let directory = self.ground.places.containers().join(&name);
            let config = match store::read::<Config>(&directory.join("config.json")) {
                Ok(Some(config)) if config.id == id => config,
                Ok(None) => {
                    log!(
                        "keeper",
                        "container {} is half made: it is deleted",
                        id.short()
                    );
                    self.work(Work::Unmake(id, Attempt::First));
                    continue;
                }
                // Another version's, or the disk's fault: neither is a reason to delete what
                // somebody has in there, nor to end what runs.
                unreadable => {
                    let why = match unreadable {
                        Err(error) => error.to_string(),
                        Ok(_) => "it is another container's".to_owned(),
                    };
                    log!(
                        "keeper",
                        "the record of the container {} cannot be used ({why}): it is left alone, with all that belongs to it",
                        id.short()
                    );
                    live.remove(monitor::socket_name(&Target::Init(id.clone())));
                    self.ledger.leave_alone(aside(id, &directory));
                    continue;
                }
            };
            let frozen = self.ground.cgroups.is_frozen(&id);
            let target = Target::Init(id);
            let monitor = live.remove(monitor::socket_name(&target));
            let found = Found {
                config,
                state: read(&directory.join("state.json")),
                monitor: monitor.is_some(),
                exit: read(&directory.join("exit.json")),
                failure: read(&directory.join("failure.json")),
                frozen,
            };
            let effects = self.ledger.recover(found, Self::now());
            self.perform(effects);
            if let Some(packet) = monitor {
                self.adopt(target, packet)?;
            }
        }
        Ok(())
    }

    fn take_over_sessions(&mut self, live: &mut HashMap<String, Packet>) -> io::Result<()> {
        for name in names(&self.ground.places.sessions())? {
            let Ok(id) = name.parse::<SessionId>() else {
                log!(
                    "keeper",
                    "{name} is no session's directory: it is left alone"
                );
                continue;
            };
            let directory = self.ground.places.sessions().join(&name);
            let target = Target::Session(id.clone());
            let monitor = live.remove(monitor::socket_name(&target));
            let stored = store::read::<StoredSession>(&directory.join("session.json"));
            let stored = match stored {
                // As its container.
                Ok(Some(stored)) if self.ledger.is_left_alone(&stored.session.container) => {
                    continue;
                }
                Ok(stored) => stored,
                Err(error) => {
                    log!(
                        "keeper",
                        "the record of the session {} cannot be used ({error}): it is left alone",
                        id.short()
                    );
                    continue;
                }
            };
            let found = FoundSession {
                id,
                stored,
                monitor: monitor.is_some(),
                exit: read(&directory.join("exit.json")),
            };
            let effects = self.ledger.recover_session(found, Self::now());
            self.perform(effects);
            if let Some(packet) = monitor {
                self.adopt(target, packet)?;
            }
        }
        let effects = self.ledger.drop_oldest();
        self.perform(effects);
        Ok(())
    }

    /// Asks a monitor what became of what it watches; the answer is heard like any other message.
    fn adopt(&mut self, target: Target, packet: Packet) -> io::Result<()> {
        packet.set_nonblocking(true)?;
        let process = packet
            .credentials()
            .ok()
            .and_then(|who| pidfd(HostPid(who.pid)));
        let hello = serde_json::to_vec(&ToMonitor::Hello { version: VERSION })?;
        // One that has just gone is noticed by its connection's end.
        let _ = packet.send(&hello, &[]);
        // Until it says otherwise it is taken for one of ours: what is sent to it waits there.
        self.link(target, packet, process)
    }
}

/// What a container keeps to itself whose record cannot be read: its ids, by whom its files belong
/// to, and its number on the bridge.
fn aside(id: ContainerId, directory: &Path) -> Aside {
    let upper = std::fs::metadata(directory.join("upper/root"));
    let state = read::<State>(&directory.join("state.json"));
    Aside {
        id,
        first_id: upper.ok().map(|found| found.uid()),
        network: state.and_then(|state| state.network),
    }
}

fn pidfd(pid: HostPid) -> Option<std::os::fd::OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid.0)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// Those whose monitor listens, by the socket's name. Sockets at which nobody does are deleted.
fn live_monitors(directory: &Path) -> io::Result<HashMap<String, Packet>> {
    let mut live = HashMap::new();
    for name in names(directory)? {
        let path = directory.join(&name);
        match Packet::connect(&path) {
            Ok(packet) => {
                live.insert(name, packet);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(&path);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Without its socket what it watches would be taken for lost, and killed.
            Err(error) => return Err(error),
        }
    }
    Ok(live)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        // Nothing of ours has a name that is no text.
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// A record, or `None` with a line in the log where it is none.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    store::read(path).unwrap_or_else(|error| {
        log!("keeper", "{}: {error}", path.display());
        None
    })
}
