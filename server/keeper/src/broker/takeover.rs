//! Starting where an earlier keeper left off.
//!
//! Records say what there was, sockets which monitors live. What is half made is deleted.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use porthole_protocol::id::{ContainerId, HostPid, SessionId};
use porthole_protocol::monitor::{ToMonitor, VERSION};
use porthole_protocol::session::Target;
use porthole_sys::packet::Packet;

use super::Broker;
use super::worker::{Attempt, Work};
use crate::ledger::{Config, Found, FoundSession};
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
            let config = read::<Config>(&directory.join("config.json"));
            let Some(config) = config.filter(|config| config.id == id) else {
                log!(
                    "keeper",
                    "container {} is half made: it is deleted",
                    id.short()
                );
                self.work(Work::Unmake(id, Attempt::First));
                continue;
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
            let found = FoundSession {
                id,
                stored: read(&directory.join("session.json")),
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
            Err(_) => {
                let _ = std::fs::remove_file(&path);
            }
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
