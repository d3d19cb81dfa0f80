//! The keeper's part, and processes in namespaces of their own to look into.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{Document, Inspected, ProcessIdentity, Subject, What};
use porthole_protocol::keeper::Failure;
use porthole_protocol::namespace::NamespaceType;
use porthole_sys::process::{Clone, SingleThreaded, clone, exit};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Longer than any inspection may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a look, and how long it took.
pub(crate) struct Looked {
    pub(crate) document: Option<Document>,
    pub(crate) took: Duration,
    pub(crate) bytes: usize,
}

/// Forks a child that inspects, as the keeper does.
pub(crate) fn try_look(subject: &Subject, what: What) -> Looked {
    let alone = SingleThreaded::verify().expect("one thread");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let since = Instant::now();
    let child = clone(alone, &Clone::default(), |forked| {
        forked.close_all_but(&[write.as_fd()]).expect("close_range");
        let all = porthole_discovery::inspect::Variables::All;
        porthole_discovery::inspect::run(&forked, (subject, what), &all, &write);
        exit(0)
    })
    .expect("a child");
    drop(write);
    let mut bytes = Vec::new();
    let mut file = std::fs::File::from(read);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut fds = [PollFd::new(&file, PollFlags::IN)];
        let left = deadline.saturating_duration_since(Instant::now());
        let left = rustix::event::Timespec::try_from(left).expect("a time");
        assert_ne!(
            poll(&mut fds, Some(&left)),
            Ok(0),
            "an inspection that hangs"
        );
        let mut chunk = [0; 65536];
        match file.read(&mut chunk).expect("a pipe") {
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    let took = since.elapsed();
    let _ = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    Looked {
        document: serde_json::from_slice(&bytes).ok(),
        took,
        bytes: bytes.len(),
    }
}

/// What was read; panics where it was not.
#[track_caller]
pub(crate) fn look(subject: &Subject, what: What) -> Inspected {
    match try_look(subject, what).document {
        Some(Document::Inspected(inspected)) => *inspected,
        Some(Document::Failed(failure)) => panic!("{what:?} of {subject:?}: {failure}"),
        None => panic!("{what:?} of {subject:?}: no document"),
    }
}

/// Why nothing was read.
#[track_caller]
pub(crate) fn refused(subject: &Subject, what: What) -> Failure {
    match try_look(subject, what).document {
        Some(Document::Failed(failure)) => failure,
        other => panic!("{what:?} of {subject:?}: {other:?}"),
    }
}

macro_rules! looked_at {
    ($subject:expr, $variant:ident) => {
        looked_at!(
            $subject,
            porthole_protocol::inspection::What::$variant,
            $variant
        )
    };
    ($subject:expr, $what:expr, $variant:ident) => {
        match $crate::bench::look(&$subject, $what) {
            porthole_protocol::inspection::Inspected::$variant(found) => found,
            other => panic!("{other:?}"),
        }
    };
}
pub(crate) use looked_at;

/// A process's number and when it was started.
pub(crate) fn identity(pid: i32) -> ProcessIdentity {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let ticks = rest.split_ascii_whitespace().nth(19).expect("a time");
    ProcessIdentity {
        pid: HostPid(pid),
        start_ticks: ticks.parse().expect("a number"),
    }
}

/// This process.
pub(crate) fn ourselves() -> Subject {
    Subject::Process(identity(std::process::id().cast_signed()))
}

/// The namespace of a process.
pub(crate) fn inode(pid: i32, kind: NamespaceType) -> NamespaceInode {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    let text = link.to_string_lossy().into_owned();
    let digits = text.split_once('[').expect("a number").1;
    NamespaceInode(digits.trim_end_matches(']').parse().expect("a number"))
}

/// What a command writes; panics where it fails.
#[track_caller]
pub(crate) fn output(words: &[&str]) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same, read as JSON.
#[track_caller]
pub(crate) fn json(words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&output(words)).expect("JSON")
}

/// A shell in new namespaces. It is killed, and with it everything in its PID namespace, when this
/// is dropped.
pub(crate) struct Room {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The shell on the host.
    pub(crate) pid: i32,
}

impl Room {
    /// A shell that these options of unshare(1) make; a PID namespace is always new.
    pub(crate) fn new(options: &[&str]) -> Self {
        let mut child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child"])
            .args(options)
            .args(["--", "sh", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut room = Self {
            child,
            stdin,
            stdout,
            pid: 0,
        };
        room.sh("true");
        let parent = room.child.id();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let text = std::fs::read_to_string(children).expect("children");
        room.pid = text.trim().parse().expect("one child");
        room
    }

    /// Everything of its own, with its own `/proc`.
    pub(crate) fn full() -> Self {
        Self::new(&[
            "--mount-proc",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
            "--user",
            "--map-root-user",
        ])
    }

    /// Runs a script in it to its end; what it wrote.
    #[track_caller]
    pub(crate) fn sh(&mut self, script: &str) -> String {
        const END: &str = "=== end of the script ===";
        writeln!(self.stdin, "{{ {script}\n}} 2>&1; echo; echo '{END}' $?").expect("a shell");
        let mut text = String::new();
        loop {
            let mut line = String::new();
            let count = self.stdout.read_line(&mut line).expect("a shell");
            assert_ne!(count, 0, "the shell has ended: {text}");
            if let Some(status) = line.strip_prefix(END) {
                assert_eq!(status.trim(), "0", "{script}: {text}");
                return text.trim_end().to_owned();
            }
            text.push_str(&line);
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::Process(identity(self.pid))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its shell is ended by the kernel, and whatever is in there before that.
        let there = format!("/proc/{}/ns/pid", self.pid);
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_link(&there).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
