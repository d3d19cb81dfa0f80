//! What a receiver of the observer's updates knows: the observer's counterpart in the tests.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use porthole_discovery::Settings;
use porthole_protocol::id::{ContainerId, HostPid, NamespaceInode};
use porthole_protocol::observation::{MESSAGE_LIMIT, Namespace, Process, Sighting, Update};

/// How long anything may take before a test fails. Long, for machines under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running observer and everything that it has told.
pub(crate) struct View {
    stream: Option<UnixStream>,
    observer: Kept,
    bytes: Vec<u8>,
    pub(crate) processes: BTreeMap<HostPid, Process>,
    pub(crate) namespaces: BTreeMap<NamespaceInode, Namespace>,
    pub(crate) containers: BTreeMap<ContainerId, Sighting>,
    pub(crate) notice: Option<String>,
    /// How many times it was told that wires have changed.
    pub(crate) wires: usize,
}

impl View {
    /// Starts an observer: a process of its own, as the keeper has one, so that arguments are read
    /// by its helper.
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::start_by(std::process::Command::new(program("observe")), settings)
    }

    /// Starts one by a command that ends in the observer's program.
    pub(crate) fn start_by(mut command: std::process::Command, settings: &Settings) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("socketpair");
        command.arg("--stdin");
        command.arg(settings.correction.as_millis().to_string());
        command.args(&settings.cgroup_base);
        command.stdin(std::os::fd::OwnedFd::from(theirs));
        Self {
            stream: Some(ours),
            observer: Kept(command.spawn().expect("spawned")),
            bytes: Vec::new(),
            processes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            containers: BTreeMap::new(),
            notice: None,
            wires: 0,
        }
    }

    /// The observer's own process.
    pub(crate) fn observer(&self) -> HostPid {
        self.observer.pid()
    }

    /// Takes updates until `condition` holds of what is known, and answers how long that took.
    pub(crate) fn until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Duration {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < PATIENCE, "it never came to pass: {what}");
            self.take(Duration::from_millis(100));
        }
        begun.elapsed()
    }

    /// Takes what comes within this time.
    pub(crate) fn take(&mut self, within: Duration) {
        let mut stream = self.stream.as_ref().expect("running");
        stream.set_read_timeout(Some(within)).expect("timeout");
        let mut buffer = [0; 64 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the observer hung up"),
            Ok(length) => self.bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the stream broke: {error}"),
        }
        while let Some(header) = self.bytes.first_chunk() {
            let length = u32::from_le_bytes(*header) as usize;
            assert!(length <= MESSAGE_LIMIT);
            let Some(message) = self.bytes.get(4..4 + length) else {
                break;
            };
            let update: Update = serde_json::from_slice(message).expect("an update");
            self.bytes.drain(..4 + length);
            self.apply(update);
        }
    }

    fn apply(&mut self, update: Update) {
        self.wires += usize::from(update.wires);
        if update.full {
            self.processes.clear();
            self.namespaces.clear();
            self.containers.clear();
        }
        for pid in update.processes_gone {
            assert!(
                self.processes.remove(&pid).is_some(),
                "{pid} was never told"
            );
        }
        for inode in update.namespaces_gone {
            assert!(
                self.namespaces.remove(&inode).is_some(),
                "{inode} was never told"
            );
        }
        for id in update.containers_gone {
            assert!(self.containers.remove(&id).is_some(), "{id} was never told");
        }
        self.containers
            .extend(update.containers.into_iter().map(|c| (c.id.clone(), c)));
        self.processes
            .extend(update.processes.into_iter().map(|p| (p.host_pid, p)));
        self.namespaces
            .extend(update.namespaces.into_iter().map(|n| (n.inode, n)));
        self.notice = update.notice;
    }

    /// A process.
    pub(crate) fn process(&self, pid: HostPid) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// The container that a process is in, as it was told.
    pub(crate) fn container_of(&self, pid: HostPid) -> Option<&Sighting> {
        self.containers.get(self.process(pid)?.container.as_ref()?)
    }

    /// The first of these arguments' processes below this one, itself included.
    pub(crate) fn below(&self, top: HostPid, command: &str) -> Option<&Process> {
        self.processes.values().find(|process| {
            let mut at = Some(process.host_pid);
            process.command == command
                && std::iter::from_fn(|| {
                    let pid = at?;
                    at = self.processes.get(&pid).and_then(|p| p.parent);
                    Some(pid)
                })
                .take(64)
                .any(|pid| pid == top)
        })
    }

    /// Hangs up; the observer must then end by itself.
    pub(crate) fn end(mut self) -> std::io::Result<std::process::ExitStatus> {
        self.stream = None;
        self.observer.0.wait()
    }
}

/// An example of this crate, which cargo builds with the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    let target = test.ancestors().nth(2).expect("target");
    target.join("examples").join(name)
}

/// A process that ends with the test.
pub(crate) struct Kept(pub(crate) Child);

impl Kept {
    /// Its PID.
    pub(crate) fn pid(&self) -> HostPid {
        HostPid(self.0.id().try_into().expect("a PID"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
