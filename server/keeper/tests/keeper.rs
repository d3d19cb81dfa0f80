//! A real keeper in a root of its own, driven as the server drives it: containers, sessions, the
//! journal, and a keeper that is killed in between. Needs root and busybox; skips loudly without.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use porthole_journal::{Reader, Relay, Sources};
use porthole_protocol::container::{Container, ContainerSpec, ContainerState};
use porthole_protocol::id::{ContainerId, Seq, SessionId};
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::keeper::{
    Envelope, Event, Failure, FailureCode, FromKeeper, MESSAGE_LIMIT, Reply, Request, VERSION,
};
use porthole_protocol::monitor::{FromReader, ToReader};
use porthole_protocol::session::{ExitKind, Session, SessionSpec, Size, Target};
use porthole_sys::packet::Packet;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(40);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A keeper with its root, run directory and policy; whatever it left is removed at the end.
struct Place {
    directory: tempfile::TempDir,
    keeper: Option<Child>,
}

impl Place {
    fn new() -> Option<Self> {
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

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self) {
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

    fn kill(&mut self) {
        let mut keeper = self.keeper.take().expect("it runs");
        keeper.kill().expect("kill");
        keeper.wait().expect("wait");
    }

    fn connect(&self) -> Client {
        let mut client = None;
        wait_until("the keeper listens", || {
            client = Packet::connect(&self.path("run/keeper.sock")).ok();
            client.is_some()
        });
        let packet = client.expect("connected");
        let mut client = Client {
            packet,
            next: 0,
            events: VecDeque::new(),
        };
        match client.ask(Request::Hello { version: VERSION }) {
            Reply::Hello(hello) => assert_eq!(hello.version, VERSION),
            other => panic!("{other:?}"),
        }
        client
    }

    fn journal(&self, name: &str) -> Journal {
        Journal(porthole_journal::create(&self.path("journals").join(name)).expect("journal"))
    }

    fn log(&self) -> String {
        let mut log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let monitors = self.path("root/keeper/monitors.log");
        log.push_str(&std::fs::read_to_string(monitors).unwrap_or_default());
        log
    }

    fn monitors(&self) -> usize {
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
        // Whatever the test left running is removed as its user would.
        let mut client = self.connect();
        for container in client.containers() {
            client.ask(Request::Remove {
                container: container.id,
                force: true,
            });
        }
        self.kill();
    }
}

struct Journal(porthole_journal::Files);

impl Journal {
    fn descriptors(&self) -> [&File; 2] {
        [&self.0.journal, &self.0.index]
    }

    fn reader(&self) -> Reader {
        let files = self.0.try_clone().expect("dup");
        Reader::new(files.journal, files.index)
    }

    fn bytes(&self) -> Vec<u8> {
        let reader = self.reader();
        let mut bytes = vec![0; reader.end().expect("end").0 as usize];
        let count = reader.read_at(Seq(0), &mut bytes).expect("read");
        bytes.truncate(count);
        bytes
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn marks(&self) -> Vec<Mark> {
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

/// A server.
struct Client {
    packet: Packet,
    next: u64,
    events: VecDeque<Event>,
}

impl Client {
    fn send(&mut self, request: Request, descriptors: &[&File]) -> u64 {
        self.next += 1;
        let envelope = Envelope {
            id: self.next,
            request,
        };
        let bytes = serde_json::to_vec(&envelope).expect("json");
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.packet.send(&bytes, &descriptors).expect("send");
        self.next
    }

    fn receive(&mut self) -> (FromKeeper, Vec<OwnedFd>) {
        let (bytes, descriptors) = self
            .packet
            .receive(MESSAGE_LIMIT)
            .expect("receive")
            .expect("a message");
        (serde_json::from_slice(&bytes).expect("json"), descriptors)
    }

    fn answer(&mut self, number: u64) -> (Reply, Vec<OwnedFd>) {
        loop {
            match self.receive() {
                (FromKeeper::Reply { id, reply }, descriptors) if id == number => {
                    return (*reply, descriptors);
                }
                (FromKeeper::Event(event), _) => self.events.push_back(*event),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    fn ask(&mut self, request: Request) -> Reply {
        let number = self.send(request, &[]);
        self.answer(number).0
    }

    fn failure(&mut self, request: Request) -> Failure {
        match self.ask(request) {
            Reply::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    fn container(&mut self, request: Request) -> Container {
        match self.ask(request) {
            Reply::Container(container) => *container,
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, spec: &str) -> Container {
        let spec: ContainerSpec = serde_json::from_str(spec).expect("spec");
        self.container(Request::Create {
            spec: Box::new(spec),
            owner: "admin".parse().expect("owner"),
        })
    }

    fn start(&mut self, id: &ContainerId, journal: &Journal) -> Container {
        let request = Request::Start {
            container: id.clone(),
        };
        let number = self.send(request, &journal.descriptors());
        match self.answer(number).0 {
            Reply::Container(container) => *container,
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, spec: SessionSpec, id: u8, journal: &Journal) -> Result<Session, Failure> {
        let request = Request::OpenSession {
            session: session_id(id),
            spec: Box::new(spec),
            owner: "admin".parse().expect("owner"),
        };
        let number = self.send(request, &journal.descriptors());
        match self.answer(number).0 {
            Reply::Session(session) => Ok(*session),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    fn attach(&mut self, target: Target) -> Attached {
        let number = self.send(Request::Attach { target }, &[]);
        let (reply, mut descriptors) = self.answer(number);
        assert_eq!(reply, Reply::Attached);
        assert_eq!(descriptors.len(), 1);
        Attached::new(Packet::from_fd(descriptors.remove(0)).expect("a packet socket"))
    }

    /// Everything there is, as somebody sees it who begins to watch.
    fn everything(&mut self) -> Vec<Event> {
        assert_eq!(self.ask(Request::Watch), Reply::Done);
        // Told before, and perhaps not true any more.
        self.events.clear();
        let mut all = Vec::new();
        while all.last() != Some(&Event::Synced) {
            match self.receive().0 {
                FromKeeper::Event(event) => all.push(*event),
                FromKeeper::Reply { .. } => {}
            }
        }
        all
    }

    fn containers(&mut self) -> Vec<Container> {
        self.everything()
            .into_iter()
            .filter_map(|event| match event {
                Event::Container(container) => Some(*container),
                _ => None,
            })
            .collect()
    }

    fn sessions(&mut self) -> Vec<Session> {
        self.everything()
            .into_iter()
            .filter_map(|event| match event {
                Event::Session(session) => Some(*session),
                _ => None,
            })
            .collect()
    }

    fn remove(&mut self, id: &ContainerId) {
        let reply = self.ask(Request::Remove {
            container: id.clone(),
            force: true,
        });
        assert_eq!(reply, Reply::Done);
    }
}

/// The reader of a target.
struct Attached {
    packet: Packet,
    tty: bool,
    descriptors: Vec<OwnedFd>,
}

impl Attached {
    fn new(packet: Packet) -> Self {
        packet.set_nonblocking(false).expect("blocking");
        let (bytes, descriptors) = packet.receive(65536).expect("receive").expect("message");
        match serde_json::from_slice(&bytes).expect("json") {
            ToReader::Reader { tty } => {
                assert_eq!(descriptors.len(), if tty { 5 } else { 7 });
                Self {
                    packet,
                    tty,
                    descriptors,
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn input(&self) -> &OwnedFd {
        &self.descriptors[0]
    }

    fn write(&self, text: &str) {
        assert_eq!(
            rustix::io::write(self.input(), text.as_bytes()),
            Ok(text.len())
        );
    }

    fn relay(&self) -> Relay {
        let copy = |index: usize| self.descriptors[index].try_clone().expect("dup");
        let (sources, rest) = if self.tty {
            (Sources::Tty(copy(0)), 1)
        } else {
            (
                Sources::Pipes {
                    stdout: copy(1),
                    stderr: copy(2),
                },
                3,
            )
        };
        Relay::take_over(
            sources,
            (copy(rest), copy(rest + 1)),
            copy(rest + 2),
            copy(rest + 3),
            1,
        )
        .expect("relay")
    }
}

fn session_id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn session(container: &ContainerId, command: &[&str], tty: bool) -> SessionSpec {
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
    }
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// PID 1 of a container is this program, which must then need nothing that a container lacks.
fn init() -> bool {
    let program = std::fs::read(env!("CARGO_BIN_EXE_porthole-keeper")).expect("program");
    let interpreter = b"/lib64/ld-linux";
    !program
        .windows(interpreter.len())
        .any(|window| window == interpreter)
}

fn spec(script: &str) -> String {
    serde_json::json!({
        "image": "busybox",
        "command": ["sh", "-c", script],
        "init": init(),
    })
    .to_string()
}

/// `sleep` as PID 1 would not heed SIGTERM.
const IDLE: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1; done";

#[test]
fn a_container_lives_through_a_killed_keeper_and_leaves_nothing() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    assert_eq!(made.state, ContainerState::Created);
    let running = client.start(&made.id, &journal);
    assert_eq!(running.state, ContainerState::Running);
    let pid = running.pid.expect("pid");
    assert!(alive(pid.0));
    wait_until("its output is in the journal with nobody attached", || {
        journal.text().contains("ready")
    });
    // A session with a terminal.
    let session_journal = place.journal("session");
    let opened = client
        .open(session(&made.id, &["sh"], true), 1, &session_journal)
        .expect("opened");
    assert_eq!(opened.tty_name.as_deref(), Some("/dev/pts/0"));
    let reader = client.attach(Target::Session(opened.id.clone()));
    assert!(reader.tty);
    reader.write("echo 6*7=$((6*7)); tty\n");
    let mut relay = reader.relay();
    wait_until("the shell answers its reader", || {
        let _ = relay.pump(Stream::Tty, 2).expect("pump");
        session_journal.text().contains("6*7=42")
    });
    drop((relay, reader));
    // The keeper is killed; what runs is not touched, and its output still drained.
    drop(client);
    place.kill();
    assert!(alive(pid.0));
    place.start();
    let mut client = place.connect();
    let mut adopted = None;
    wait_until("the container is adopted", || {
        adopted = client.containers().pop();
        adopted
            .as_ref()
            .is_some_and(|c| c.state == ContainerState::Running)
    });
    let adopted = adopted.expect("adopted");
    assert_eq!(adopted, running);
    assert_eq!(client.sessions(), vec![opened.clone()]);
    let reader = client.attach(Target::Session(opened.id.clone()));
    reader.write("echo after-$((1+1))\n");
    drop(reader);
    wait_until("the monitor reads when its reader has hung up", || {
        session_journal.text().contains("after-2")
    });
    // Ending.
    match client.ask(Request::EndSession {
        session: opened.id.clone(),
    }) {
        Reply::Session(ended) => {
            let exit = ended.exit.expect("ended");
            assert_eq!((exit.kind, exit.code), (ExitKind::Ended, 137));
        }
        other => panic!("{other:?}"),
    }
    let stopped = client.container(Request::Stop {
        container: made.id.clone(),
        timeout_ms: 10_000,
    });
    assert_eq!(stopped.state, ContainerState::Exited);
    assert_eq!(stopped.exit.expect("exit").code, 0);
    wait_until("the journals say how it ended", || {
        journal.marks().last() == Some(&Mark::End(0))
            && session_journal.marks().last() == Some(&Mark::End(137))
    });
    // It can run again, with the same journal.
    let again = client.start(&made.id, &journal);
    assert_eq!(again.state, ContainerState::Running);
    let failure = client.failure(Request::Remove {
        container: made.id.clone(),
        force: false,
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let pid = again.pid.expect("pid");
    client.remove(&made.id);
    assert!(!alive(pid.0));
    assert!(client.containers().is_empty());
    assert!(client.sessions().is_empty());
    nothing_left(&place, &made.id);
}

fn nothing_left(place: &Place, id: &ContainerId) {
    wait_until("no monitor is left", || place.monitors() == 0);
    for directory in ["root/keeper/containers", "root/keeper/sessions"] {
        let count = std::fs::read_dir(place.path(directory))
            .expect("directory")
            .count();
        assert_eq!(count, 0, "{directory}");
    }
    let groups = Command::new("find")
        .args(["/sys/fs/cgroup", "-name", id.as_str()])
        .output()
        .expect("find");
    assert_eq!(String::from_utf8_lossy(&groups.stdout), "");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(id.as_str()));
}
