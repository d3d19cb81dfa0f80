//! A session with both of its ends in the test: the program's, and the viewers'.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use porthole_journal::{Files, Limit, Reader, create};
use porthole_protocol::container::Timestamp;
use porthole_protocol::frame::{ClientFrame, Flags, OUTPUT_WINDOW, ServerFrame};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use porthole_protocol::session::{Exit, ExitKind, Size};
use porthole_terminal::{
    Close, Descriptors, Hub, HubHandle, Message, Opening, Permission, Subscription, SystemClock,
    Viewer,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("a pipe")
}

pub(crate) fn non_blocking(fd: &OwnedFd) {
    let flags = fcntl_getfl(fd).expect("flags");
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).expect("non-blocking");
}

/// What a monitor keeps: descriptors to hand out, again and again.
pub(crate) struct Monitor {
    tty: bool,
    fds: Vec<OwnedFd>,
}

impl Monitor {
    pub(crate) fn descriptors(&self) -> Descriptors {
        let fds = self.fds.iter();
        Descriptors {
            tty: self.tty,
            fds: fds
                .map(|fd| fd.try_clone().expect("a descriptor"))
                .collect(),
        }
    }
}

/// A session whose program is the test.
pub(crate) struct Session {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) files: Files,
    pub(crate) hub: HubHandle,
    pub(crate) monitor: Monitor,
}

/// A pty with its slave in raw mode.
pub(crate) fn pty() -> (OwnedFd, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let master = master.expect("a pty");
    grantpt(&master).expect("granting");
    unlockpt(&master).expect("unlocking");
    non_blocking(&master);
    let name = ptsname(&master, Vec::new()).expect("its name");
    let slave = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("ASCII"))
        .expect("the slave");
    let mut raw = tcgetattr(&slave).expect("its attributes");
    raw.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &raw).expect("raw mode");
    (master, slave)
}

impl Session {
    async fn new(tty: bool, mut fds: Vec<OwnedFd>, limit: Limit) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = create(directory.path()).expect("a journal");
        let (read, write) = pipe();
        non_blocking(&read);
        let clone = files.try_clone().expect("more descriptors");
        fds.extend([read, write, clone.journal.into(), clone.index.into()]);
        let hub = Self::open(&files, tty, limit, None);
        let monitor = Monitor { tty, fds };
        hub.attach(monitor.descriptors()).await.expect("attaching");
        Self {
            directory,
            files,
            hub,
            monitor,
        }
    }

    pub(crate) fn open(files: &Files, tty: bool, limit: Limit, exit: Option<Exit>) -> HubHandle {
        Hub::spawn(Opening {
            files: files.try_clone().expect("more descriptors"),
            screen: None,
            tty,
            size: Size::DEFAULT,
            recorded: true,
            exit,
            limit,
            clock: Arc::new(SystemClock),
        })
        .expect("a hub")
    }

    pub(crate) async fn tty() -> (Self, File) {
        Self::tty_with(Limit::default()).await
    }

    pub(crate) async fn tty_with(limit: Limit) -> (Self, File) {
        let (master, slave) = pty();
        (Self::new(true, vec![master], limit).await, slave)
    }

    /// Without a terminal: standard input, output and error.
    pub(crate) async fn pipes() -> (Self, File, File, File) {
        let (stdin, write) = pipe();
        let (out_read, stdout) = pipe();
        let (err_read, stderr) = pipe();
        for fd in [&write, &out_read, &err_read] {
            non_blocking(fd);
        }
        let session = Self::new(false, vec![write, out_read, err_read], Limit::default()).await;
        (session, stdin.into(), stdout.into(), stderr.into())
    }

    pub(crate) fn reader(&self) -> Reader {
        let files = self.files.try_clone().expect("more descriptors");
        Reader::new(files.journal, files.index)
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("output")).expect("the output")
    }

    pub(crate) async fn writer(&self, user: &str) -> Client {
        self.attach(user, None, None, Permission::Write).await
    }

    pub(crate) async fn watcher(&self, user: &str) -> Client {
        self.attach(user, None, None, Permission::Watch).await
    }

    pub(crate) async fn attach(
        &self,
        user: &str,
        id: Option<String>,
        resume: Option<u64>,
        permission: Permission,
    ) -> Client {
        let viewer = Viewer {
            user: user.to_owned(),
            id,
            resume: resume.map(Seq),
            permission,
        };
        let subscription = self.hub.subscribe(viewer).await.expect("subscribing");
        let mut client = Client::new(user, permission, subscription);
        let begun =
            |client: &Client| client.hello.is_some() && (client.snapshots > 0 || resume.is_some());
        client.until("its beginning", begun).await;
        client
    }

    /// The same viewer on another connection, from where it is.
    pub(crate) async fn again(&self, client: Client) -> Client {
        let resume = Some(client.received);
        let id = Some(client.id.clone());
        let (user, permission, output) = (client.user.clone(), client.permission, client.output);
        drop(client.subscription);
        let mut again = self.attach(&user, id, resume, permission).await;
        if again.snapshots == 0 {
            let new = std::mem::take(&mut again.output);
            again.output = output;
            again.output.extend(new);
        }
        again
    }
}

pub(crate) fn exit(code: i32) -> Exit {
    Exit {
        code,
        kind: ExitKind::Exited,
        reason: format!("it exited with {code}"),
        at: Timestamp::from_system(std::time::SystemTime::now()),
        oom_killed: false,
    }
}

/// What a frame of output brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Output(Stream, Vec<u8>),
    Size(Size),
}

/// A browser, as far as the protocol goes.
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) permission: Permission,
    pub(crate) id: String,
    pub(crate) subscription: Subscription,
    pub(crate) hello: Option<(Seq, Size, Flags, u64)>,
    /// Output since the last snapshot, or since it attached.
    pub(crate) output: Vec<u8>,
    /// The same with its streams, and sizes in between.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) snapshot: Option<(Seq, Size, Vec<u8>)>,
    pub(crate) snapshots: usize,
    pub(crate) received: u64,
    pub(crate) acked: u64,
    /// Whether it acknowledges what it gets.
    pub(crate) answers: bool,
    pub(crate) accepted: u64,
    pub(crate) viewers: String,
    pub(crate) notices: Vec<(u16, String)>,
    pub(crate) heartbeats: Vec<u64>,
    pub(crate) exit: Option<(i32, ExitKind, String)>,
    pub(crate) close: Option<Close>,
}

impl Client {
    fn new(user: &str, permission: Permission, subscription: Subscription) -> Self {
        Self {
            user: user.to_owned(),
            permission,
            id: subscription.id.clone(),
            subscription,
            hello: None,
            output: Vec::new(),
            pieces: Vec::new(),
            snapshot: None,
            snapshots: 0,
            received: 0,
            acked: 0,
            answers: true,
            accepted: 0,
            viewers: String::new(),
            notices: Vec::new(),
            heartbeats: Vec::new(),
            exit: None,
            close: None,
        }
    }

    pub(crate) fn flags(&self) -> Flags {
        self.hello.expect("a hello").2
    }

    pub(crate) async fn send(&self, frame: ClientFrame<'_>) {
        self.raw(frame.encode()).await;
    }

    pub(crate) async fn raw(&self, bytes: Vec<u8>) {
        let sent = self.subscription.incoming.send(Bytes::from(bytes)).await;
        sent.expect("the hub is there");
    }

    /// Takes frames until this holds.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let patience = std::time::Instant::now() + PATIENCE;
        while !done(self) {
            let waiting = tokio::time::timeout(PATIENCE, self.step()).await;
            assert!(
                waiting.unwrap_or(false) && std::time::Instant::now() < patience,
                "waited in vain for {what}: {:?} {:?}",
                self.close,
                self.notices
            );
        }
    }

    /// Takes one message; `false` behind the last.
    pub(crate) async fn step(&mut self) -> bool {
        match self.subscription.outgoing.next().await {
            Some(Message::Frame(bytes)) => {
                self.take(&bytes);
                if self.answers && self.received > self.acked {
                    self.acked = self.received;
                    let seq = Seq(self.received);
                    // The hub may be gone by now.
                    let frame = ClientFrame::Acknowledge(seq).encode().into();
                    let _ = self.subscription.incoming.send(frame).await;
                }
                true
            }
            Some(Message::Close(close)) => {
                self.close = Some(close);
                true
            }
            None => false,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        match ServerFrame::decode(bytes).expect("a frame") {
            ServerFrame::Hello {
                seq,
                size,
                flags,
                accepted,
                viewer,
            } => {
                assert_eq!(viewer, self.id);
                if self.hello.is_none() {
                    self.received = seq.0;
                    self.acked = seq.0;
                }
                self.accepted = accepted;
                self.hello = Some((seq, size, flags, accepted));
            }
            ServerFrame::Output { seq, stream, bytes } => {
                assert_eq!(seq.0, self.received, "output has a gap or comes twice");
                self.received += bytes.len() as u64;
                assert!(
                    self.received - self.acked <= OUTPUT_WINDOW,
                    "more than the window is unacknowledged"
                );
                self.output.extend_from_slice(bytes);
                match self.pieces.last_mut() {
                    Some(Piece::Output(last, all)) if *last == stream => all.extend(bytes),
                    _ => self.pieces.push(Piece::Output(stream, bytes.to_vec())),
                }
            }
            ServerFrame::Snapshot { seq, size, bytes } => {
                self.snapshot = Some((seq, size, bytes.to_vec()));
                self.snapshots += 1;
                self.received = seq.0;
                self.acked = seq.0.saturating_sub(1);
                self.output.clear();
                self.pieces.clear();
            }
            ServerFrame::Size(size) => self.pieces.push(Piece::Size(size)),
            ServerFrame::Exit { code, kind, reason } => {
                self.exit = Some((code, kind, reason.to_owned()));
            }
            ServerFrame::Viewers(json) => self.viewers = json.to_owned(),
            ServerFrame::Accepted(accepted) => self.accepted = accepted,
            ServerFrame::Notice { code, text } => self.notices.push((code, text.to_owned())),
            ServerFrame::Heartbeat(value) => self.heartbeats.push(value),
        }
    }

    /// Types all of it, keeping to the window, and waits until it is accepted.
    pub(crate) async fn type_all(&mut self, text: &[u8]) {
        let begin = self.accepted;
        let mut sent = 0;
        while ((self.accepted - begin) as usize) < text.len() {
            sent = self.type_from(text, begin, sent).await;
            let before = self.accepted;
            self.until("acceptance", |client| client.accepted > before)
                .await;
        }
    }

    /// Types what the window allows; the answer is how far.
    pub(crate) async fn type_from(&self, text: &[u8], begin: u64, mut sent: usize) -> usize {
        let accepted = usize::try_from(self.accepted - begin).expect("a size");
        while sent < text.len() && sent - accepted < 64 * 1024 {
            let end = (accepted + 64 * 1024).min(text.len()).min(sent + 8 * 1024);
            self.send(ClientFrame::Input {
                seq: begin + sent as u64,
                bytes: &text[sent..end],
            })
            .await;
            sent = end;
        }
        sent
    }

    pub(crate) async fn type_text(&self, seq: u64, text: &str) {
        let bytes = text.as_bytes();
        self.send(ClientFrame::Input { seq, bytes }).await;
    }

    /// Everything that still comes.
    pub(crate) async fn finish(&mut self) {
        self.until("the end", |client| client.close.is_some()).await;
    }
}

/// Lines with numbers, so that a lost or doubled byte shows.
pub(crate) fn numbers(from: u64, to: u64) -> Vec<u8> {
    let lines: String = (from..to).map(|number| format!("{number}\n")).collect();
    lines.into_bytes()
}

/// Writes all of it on a thread that a failed test does not wait for.
pub(crate) fn write_all(mut file: File, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || file.write_all(&bytes).expect("writing"))
}

/// Reads on a thread until so many bytes are there.
pub(crate) fn read_exactly(mut file: File, length: usize) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).expect("reading");
        bytes
    })
}

/// Waits for something that no frame tells.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let patience = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(
            std::time::Instant::now() < patience,
            "waited in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Monitor {
    /// The same after it was told that input has ended.
    pub(crate) fn without_input(self) -> Self {
        let mut fds = self.fds;
        fds.remove(0);
        Self { tty: self.tty, fds }
    }
}

/// What a thread came to; the hub goes on meanwhile.
pub(crate) async fn joined<T>(thread: std::thread::JoinHandle<T>) -> T {
    eventually("a thread", || thread.is_finished()).await;
    thread.join().expect("a thread")
}
