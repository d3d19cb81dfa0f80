//! A real keeper in a root of its own, and a server's side of the protocol.

mod attached;
mod client;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use porthole_journal::Reader;
use porthole_protocol::id::{ContainerId, Seq, SessionId};
use porthole_protocol::journal::Mark;
use porthole_protocol::keeper::Request;
use porthole_protocol::session::{SessionSpec, Size, Target};
use porthole_sys::packet::Packet;

pub(crate) use attached::Attached;
pub(crate) use client::{Client, connect};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A keeper with its root, run directory and policy; whatever it left is removed at the end.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    keeper: Option<Child>,
}

impl Place {
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
            eprintln!(
                "SKIPPED: this test needs root and /bin/busybox (apt install busybox-static)"
            );
            return None;
        }
        let directory = tempfile::tempdir().expect("directory");
        let mut place = Self {
            directory,
            keeper: None,
        };
        place.start();
        Some(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn start(&mut self) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.path("log"))
            .expect("log");
        let keeper = Command::new(env!("CARGO_BIN_EXE_porthole-keeper"))
            .arg("keeper")
            .env("PORTHOLE_ROOT", self.path("root"))
            .env("PORTHOLE_RUN", self.path("run"))
            .env("PORTHOLE_POLICY", self.path("policy.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("keeper");
        self.keeper = Some(keeper);
    }

    pub(crate) fn keeper(&self) -> i32 {
        self.keeper.as_ref().expect("it runs").id().cast_signed()
    }

    pub(crate) fn kill(&mut self) {
        let mut keeper = self.keeper.take().expect("it runs");
        keeper.kill().expect("kill");
        keeper.wait().expect("wait");
    }

    pub(crate) fn connect(&self) -> Client {
        connect(&self.path("run/keeper.sock"))
    }

    pub(crate) fn journal(&self, name: &str) -> Journal {
        Journal(porthole_journal::create(&self.path("journals").join(name)).expect("journal"))
    }

    pub(crate) fn log(&self) -> String {
        let mut log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let monitors = self.path("root/keeper/monitors.log");
        log.push_str(&std::fs::read_to_string(monitors).unwrap_or_default());
        log
    }

    /// The process of a target's monitor.
    pub(crate) fn monitor(&self, target: &Target) -> i32 {
        let name = match target {
            Target::Init(id) => &id.as_str()[..32],
            Target::Session(id) => id.as_str(),
        };
        let packet = Packet::connect(&self.path("run/m").join(name)).expect("connect");
        packet.credentials().expect("credentials").pid
    }

    pub(crate) fn monitors(&self) -> usize {
        std::fs::read_dir(self.path("run/m")).map_or(0, Iterator::count)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if self.keeper.is_none() {
            self.start();
        }
        if !std::thread::panicking() {
            self.kill();
            return;
        }
        // Whatever the test left running is removed as its user would; a second panic would end
        // the whole run.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut client = self.connect();
            for container in client.containers() {
                client.ask(Request::Remove {
                    container: container.id,
                    force: true,
                });
            }
        }));
        self.kill();
    }
}

pub(crate) struct Journal(pub(crate) porthole_journal::Files);

impl Journal {
    pub(crate) fn descriptors(&self) -> [&File; 2] {
        [&self.0.journal, &self.0.index]
    }

    pub(crate) fn reader(&self) -> Reader {
        let files = self.0.try_clone().expect("dup");
        Reader::new(files.journal, files.index)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let reader = self.reader();
        let mut bytes = vec![0; reader.end().expect("end").0 as usize];
        let count = reader.read_at(Seq(0), &mut bytes).expect("read");
        bytes.truncate(count);
        bytes
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub(crate) fn marks(&self) -> Vec<Mark> {
        let reader = self.reader();
        let mut cursor = reader.cursor(Seq(0)).expect("cursor");
        let mut marks = Vec::new();
        while let Some(record) = reader.next(&mut cursor).expect("record") {
            if !matches!(record.mark, Mark::Output(_)) {
                marks.push(record.mark);
            }
        }
        marks
    }
}

pub(crate) fn session_id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

pub(crate) fn session(container: &ContainerId, command: &[&str], tty: bool) -> SessionSpec {
    SessionSpec {
        container: container.clone(),
        command: command
            .iter()
            .map(|word| word.parse().expect("word"))
            .collect(),
        tty,
        size: Size::DEFAULT,
        user: None,
        workdir: None,
        env: [].into(),
        join: None,
        foreign: None,
    }
}

pub(crate) fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// PID 1 of a container is this program, which must then need nothing that a container lacks.
pub(crate) fn init() -> bool {
    let mut beginning = [0; 4096];
    std::io::Read::read_exact(
        &mut File::open(env!("CARGO_BIN_EXE_porthole-keeper")).expect("program"),
        &mut beginning,
    )
    .expect("program");
    // The name of the loader stands at a dynamic program's beginning.
    let interpreter = b"/lib64/ld-linux";
    !beginning
        .windows(interpreter.len())
        .any(|window| window == interpreter)
}

pub(crate) fn spec(script: &str) -> String {
    serde_json::json!({
        "image": "busybox",
        "command": ["sh", "-c", script],
        "init": init(),
    })
    .to_string()
}

/// `sleep` as PID 1 would not heed SIGTERM.
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1; done";

pub(crate) fn nothing_left(place: &Place, id: &ContainerId) {
    wait_until("no monitor is left", || place.monitors() == 0);
    nothing_left_of(place, id);
    for directory in ["root/keeper/containers", "root/keeper/sessions"] {
        let count = std::fs::read_dir(place.path(directory))
            .expect("directory")
            .count();
        assert_eq!(count, 0, "{directory}");
    }
}

pub(crate) fn nothing_left_of(place: &Place, id: &ContainerId) {
    let directory = place.path("root/keeper/containers").join(id.as_str());
    assert!(!directory.exists());
    let groups = Command::new("find")
        .args(["/sys/fs/cgroup", "-name", id.as_str()])
        .output()
        .expect("find");
    assert_eq!(String::from_utf8_lossy(&groups.stdout), "");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(id.as_str()));
}

pub(crate) fn kill_process(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
}
