//! A real keeper in a root of its own, and a server's side of the protocol.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use porthole_journal::{Reader, Relay, Sources};
use porthole_protocol::container::{Container, ContainerSpec};
use porthole_protocol::id::{ContainerId, Seq, SessionId};
use porthole_protocol::journal::Mark;
use porthole_protocol::keeper::{
    Envelope, Event, Failure, FromKeeper, MESSAGE_LIMIT, Reply, Request, VERSION,
};
use porthole_protocol::monitor::{FromReader, ToReader};
use porthole_protocol::session::{Exit, Session, SessionSpec, Size, Target};
use porthole_sys::packet::Packet;

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

/// Connects to the keeper that listens here, or is about to.
pub(crate) fn connect(socket: &Path) -> Client {
    let mut greeted = None;
    wait_until("the keeper answers", || {
        let Ok(packet) = Packet::connect(socket) else {
            return false;
        };
        let mut client = Client {
            packet,
            next: 0,
            events: VecDeque::new(),
            answers: HashMap::new(),
        };
        let hello = Envelope {
            id: 0,
            request: Request::Hello { version: VERSION },
        };
        let hello = serde_json::to_vec(&hello).expect("json");
        // One that is killed just now, or has not started yet, is asked again.
        let answered = client.packet.send(&hello, &[]).is_ok()
            && matches!(client.packet.receive(MESSAGE_LIMIT), Ok(Some(_)));
        client.next = 1;
        greeted = answered.then_some(client);
        greeted.is_some()
    });
    greeted.expect("greeted")
}

/// A server.
pub(crate) struct Client {
    packet: Packet,
    next: u64,
    events: VecDeque<Event>,
    answers: HashMap<u64, (Reply, Vec<OwnedFd>)>,
}

impl Client {
    pub(crate) fn send(&mut self, request: Request, descriptors: &[&File]) -> u64 {
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

    pub(crate) fn receive(&mut self) -> (FromKeeper, Vec<OwnedFd>) {
        let (bytes, descriptors) = self
            .packet
            .receive(MESSAGE_LIMIT)
            .expect("receive")
            .expect("a message");
        (serde_json::from_slice(&bytes).expect("json"), descriptors)
    }

    pub(crate) fn answer(&mut self, number: u64) -> (Reply, Vec<OwnedFd>) {
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

    /// The same where others may be answered before, which are then looked up.
    pub(crate) fn answer_among(&mut self, number: u64) -> (Reply, Vec<OwnedFd>) {
        loop {
            if let Some(answer) = self.answers.remove(&number) {
                return answer;
            }
            match self.receive() {
                (FromKeeper::Reply { id, reply }, descriptors) => {
                    self.answers.insert(id, (*reply, descriptors));
                }
                (FromKeeper::Event(event), _) => self.events.push_back(*event),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let number = self.send(request, &[]);
        self.answer(number).0
    }

    pub(crate) fn failure(&mut self, request: Request) -> Failure {
        match self.ask(request) {
            Reply::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn container(&mut self, request: Request) -> Container {
        match self.ask(request) {
            Reply::Container(container) => *container,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn create(&mut self, spec: &str) -> Container {
        let spec: ContainerSpec = serde_json::from_str(spec).expect("spec");
        self.container(Request::Create {
            spec: Box::new(spec),
            owner: "admin".parse().expect("owner"),
        })
    }

    pub(crate) fn try_start(
        &mut self,
        id: &ContainerId,
        journal: &Journal,
    ) -> Result<Container, Failure> {
        let request = Request::Start {
            container: id.clone(),
        };
        let number = self.send(request, &journal.descriptors());
        match self.answer(number).0 {
            Reply::Container(container) => Ok(*container),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start(&mut self, id: &ContainerId, journal: &Journal) -> Container {
        self.try_start(id, journal).expect("started")
    }

    /// The container as it is now.
    pub(crate) fn look(&mut self, id: &ContainerId) -> Container {
        self.containers()
            .into_iter()
            .find(|container| container.id == *id)
            .expect("it is there")
    }

    pub(crate) fn open(
        &mut self,
        spec: SessionSpec,
        id: u8,
        journal: &Journal,
    ) -> Result<Session, Failure> {
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

    pub(crate) fn attach(&mut self, target: Target) -> Attached {
        let number = self.send(Request::Attach { target }, &[]);
        let (reply, mut descriptors) = self.answer(number);
        assert_eq!(reply, Reply::Attached);
        assert_eq!(descriptors.len(), 1);
        Attached::new(Packet::from_fd(descriptors.remove(0)).expect("a packet socket"))
    }

    /// Everything there is, as somebody sees it who begins to watch.
    pub(crate) fn everything(&mut self) -> Vec<Event> {
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

    pub(crate) fn containers(&mut self) -> Vec<Container> {
        self.everything()
            .into_iter()
            .filter_map(|event| match event {
                Event::Container(container) => Some(*container),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn sessions(&mut self) -> Vec<Session> {
        self.everything()
            .into_iter()
            .filter_map(|event| match event {
                Event::Session(session) => Some(*session),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn remove(&mut self, id: &ContainerId) {
        let reply = self.ask(Request::Remove {
            container: id.clone(),
            force: true,
        });
        assert_eq!(reply, Reply::Done);
    }
}

/// The reader of a target.
pub(crate) struct Attached {
    pub(crate) packet: Packet,
    pub(crate) tty: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Attached {
    pub(crate) fn new(packet: Packet) -> Self {
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

    pub(crate) fn input(&self) -> &OwnedFd {
        &self.descriptors[0]
    }

    pub(crate) fn write(&self, text: &str) {
        assert_eq!(
            rustix::io::write(self.input(), text.as_bytes()),
            Ok(text.len())
        );
    }

    /// Closes this side's input and has the monitor close its own.
    pub(crate) fn end_input(&mut self) {
        drop(self.descriptors.remove(0));
        self.descriptors
            .insert(0, File::open("/dev/null").expect("open").into());
        let message = serde_json::to_vec(&FromReader::EndOfInput).expect("json");
        self.packet.send(&message, &[]).expect("send");
    }

    /// Waits until the monitor says how it ended; `None` where it was cut off.
    pub(crate) fn exited(&self) -> Option<Exit> {
        let (bytes, _) = self.packet.receive(65536).expect("receive")?;
        match serde_json::from_slice(&bytes).expect("json") {
            ToReader::Exited(exit) => Some(exit),
            other @ ToReader::Reader { .. } => panic!("{other:?}"),
        }
    }

    pub(crate) fn relay(&self) -> Relay {
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
