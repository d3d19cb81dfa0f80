//! The reader is killed in mid-flood, many times, and every byte is there once and in order.
//!
//! This binary is both sides: run with `PORTHOLE_TEST_RELAY` it is the reader.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use porthole_journal::{Pumped, Reader, Relay, Sources, create, open};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

const ROLE: &str = "PORTHOLE_TEST_RELAY";
const KILLS: usize = 40;

/// Not a test: what the tests start. It relays until it is killed.
#[test]
fn relaying_child() {
    let Ok(what) = std::env::var(ROLE) else {
        return;
    };
    let [parent, kind, read, write, out, err, directory] = what
        .split(',')
        .collect::<Vec<_>>()
        .try_into()
        .expect("seven fields");
    // A pipe of another process is opened by its link in /proc; a pty's master is not, so that
    // one is our standard input.
    let link = |number: &str, flags| {
        let path = format!("/proc/{parent}/fd/{number}");
        rustix::fs::open(
            path,
            flags | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .expect("a pipe of the parent")
    };
    let files = open(directory.as_ref()).expect("the journal");
    let sources = if kind == "tty" {
        let master = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned();
        Sources::Tty(master.expect("a descriptor"))
    } else {
        Sources::Pipes {
            stdout: link(out, OFlags::RDONLY),
            stderr: link(err, OFlags::RDONLY),
        }
    };
    let holding = (link(read, OFlags::RDONLY), link(write, OFlags::WRONLY));
    let relay = Relay::take_over(
        sources,
        holding,
        files.journal.into(),
        files.index.into(),
        1,
    );
    let mut relay = relay.expect("taking over");
    let streams: &[Stream] = if kind == "tty" {
        &[Stream::Tty]
    } else {
        &[Stream::Stdout, Stream::Stderr]
    };
    for now_us in 1.. {
        for &stream in streams {
            // As the server does, which leaves more in the pipe than one that pumps.
            relay.gather(stream, now_us).expect("gathering");
        }
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("a pipe")
}

/// Starts the child and kills it at some moment, [`KILLS`] times.
fn torment(what: &str, stdin: &dyn Fn() -> Stdio) {
    // Some moments fall into its start, others into its work.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = Command::new(std::env::current_exe().expect("ourselves"))
            .args(["--exact", "relaying_child", "--nocapture"])
            .env(ROLE, what)
            .stdin(stdin())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        std::thread::sleep(Duration::from_micros(2_000 + random % 20_000));
        child.kill().expect("killing it");
        let status = child.wait().expect("its end");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9),
            "the child ended by itself"
        );
    }
}

/// Lines with numbers, so that a lost or doubled byte shows.
///
/// A thread that a failed test does not wait for.
fn numbers(prefix: &'static str, mut target: File, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let lines: String = (number..number + 50)
                .map(|number| format!("{prefix}{number}\n"))
                .collect();
            target.write_all(lines.as_bytes()).expect("writing");
            number += 50;
        }
        number
    })
}

fn assert_numbers(prefix: &str, bytes: &[u8], count: u64) {
    let text = String::from_utf8(bytes.to_vec()).expect("ASCII");
    let mut lines = text.lines();
    for number in 0..count {
        assert_eq!(lines.next(), Some(format!("{prefix}{number}").as_str()));
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn a_killed_reader_of_a_terminal_loses_no_byte() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let master = master.expect("a pty");
    grantpt(&master).expect("granting");
    unlockpt(&master).expect("unlocking");
    let flags = rustix::fs::fcntl_getfl(&master).expect("flags");
    rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).expect("non-blocking");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let name = name.into_string().expect("ASCII");
    let slave = File::options().read(true).write(true).open(name);
    let slave = slave.expect("the slave");
    let mut raw = tcgetattr(&slave).expect("its attributes");
    raw.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &raw).expect("raw mode");
    let holding = pipe();
    let what = format!(
        "{},tty,{},{},0,0,{}",
        std::process::id(),
        holding.0.as_raw_fd(),
        holding.1.as_raw_fd(),
        directory.path().display()
    );
    let stop = Arc::new(AtomicBool::new(false));
    let writer = numbers("", slave, Arc::clone(&stop));
    torment(&what, &|| master.try_clone().expect("a descriptor").into());
    stop.store(true, Ordering::Relaxed);
    drain(
        Sources::Tty(master.try_clone().expect("a descriptor")),
        holding,
        &files,
        || writer.is_finished(),
    );
    let count = writer.join().expect("the writer");
    assert!(count > 10_000, "only {count} lines were written");
    assert_numbers(
        "",
        &std::fs::read(directory.path().join("output")).expect("it"),
        count,
    );
}

#[test]
fn a_killed_reader_of_pipes_mixes_no_streams() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let (out_read, out_write) = pipe();
    let (err_read, err_write) = pipe();
    let holding = pipe();
    let what = format!(
        "{},pipes,{},{},{},{},{}",
        std::process::id(),
        holding.0.as_raw_fd(),
        holding.1.as_raw_fd(),
        out_read.as_raw_fd(),
        err_read.as_raw_fd(),
        directory.path().display()
    );
    let stop = Arc::new(AtomicBool::new(false));
    let out = numbers("o", out_write.into(), Arc::clone(&stop));
    let err = numbers("e", err_write.into(), Arc::clone(&stop));
    torment(&what, &Stdio::null);
    stop.store(true, Ordering::Relaxed);
    for source in [&out_read, &err_read] {
        rustix::fs::fcntl_setfl(source, OFlags::NONBLOCK).expect("non-blocking");
    }
    let sources = Sources::Pipes {
        stdout: out_read,
        stderr: err_read,
    };
    drain(sources, holding, &files, || {
        out.is_finished() && err.is_finished()
    });
    let (out, err) = (out.join().expect("a writer"), err.join().expect("a writer"));
    let reader = Reader::new(files.journal, files.index);
    let end = reader.end().expect("its end");
    let (mut stdout, mut stderr, mut at) = (Vec::new(), Vec::new(), Seq(0));
    while let Some(run) = reader.run(at, end).expect("a run") {
        let mut bytes = vec![0; usize::try_from(run.to.0 - at.0).expect("a size")];
        reader.read_at(at, &mut bytes).expect("reading");
        match run.stream {
            Stream::Stdout => stdout.extend(bytes),
            Stream::Stderr => stderr.extend(bytes),
            Stream::Tty => panic!("there is no terminal"),
        }
        at = run.to;
    }
    assert_eq!(at, end);
    assert!(out > 10_000 && err > 10_000, "only {out} and {err} lines");
    assert_numbers("o", &stdout, out);
    assert_numbers("e", &stderr, err);
}

/// Takes over for good, until the writers are done and nothing is left.
fn drain(
    sources: Sources,
    holding: (OwnedFd, OwnedFd),
    files: &porthole_journal::Files,
    done: impl Fn() -> bool,
) {
    let streams: &[Stream] = match sources {
        Sources::Tty(_) => &[Stream::Tty],
        Sources::Pipes { .. } => &[Stream::Stdout, Stream::Stderr],
    };
    let files = files.try_clone().expect("more descriptors");
    let relay = Relay::take_over(
        sources,
        holding,
        files.journal.into(),
        files.index.into(),
        1,
    );
    let mut relay = relay.expect("taking over");
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < patience, "the writers are still waiting");
        let finished = done();
        let mut moved = false;
        for &stream in streams {
            while let Pumped::Moved(_) = relay.pump(stream, 1).expect("pumping") {
                moved = true;
            }
        }
        if finished && !moved {
            return;
        }
    }
}
