//! Porthole's parts are killed, one after the other and all at once: no container and no shell
//! ends, and not a byte of output is missing.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use porthole_tests::instance::{pid, signal, text};
use porthole_tests::terminal::{Attach, Exit};
use porthole_tests::{Client, Instance, PATIENCE, Terminal, host, wait_for};
use rustix::process::Signal;
use serde_json::json;

/// Small and quick: what is random here is only when something is killed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        let seed = u64::from(now.subsec_nanos()) | 1;
        eprintln!("seed {seed}");
        Self(seed)
    }

    fn up_to(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let part = (self.0 >> 11) as f64 / (1u64 << 53) as f64;
        limit.mul_f64(part)
    }
}

/// Whoever comes back further behind than this is given a snapshot, and the journal has the rest.
const SNAPSHOT_BEHIND: u64 = 1024 * 1024;

/// A session's output to its end, over as many connections as it takes.
fn to_the_end(client: &Client, session: &str, mut terminal: Option<Terminal>) -> (Vec<u8>, Exit) {
    let mut whole = Vec::new();
    let mut seq = 0;
    let mut viewer = None;
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        assert!(Instant::now() < end, "no end after {} bytes", whole.len());
        let Some(mut now) = terminal.take() else {
            let from = Attach {
                resume: Some(seq),
                viewer: viewer.clone(),
                watch: false,
            };
            match Terminal::try_attach(client, session, &from) {
                Ok(mut attached) => {
                    if attached.seq > seq + SNAPSHOT_BEHIND {
                        attached.wait("a snapshot", |t| t.snapshots.pop());
                        whole.extend(journal(client, session, seq, attached.seq));
                    } else {
                        assert_eq!(attached.seq, seq, "it goes on where the one before ended");
                    }
                    terminal = Some(attached);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
            continue;
        };
        while now.exit.is_none() && now.receive(PATIENCE) == Ok(true) {}
        assert!(now.snapshots.is_empty(), "a snapshot instead of bytes");
        whole.append(&mut now.output);
        if let Some(exit) = now.exit {
            return (whole, exit);
        }
        seq = now.seq;
        viewer = Some(now.viewer);
    }
}

/// What a session's journal has from one place to another.
fn journal(client: &Client, session: &str, from: u64, to: u64) -> Vec<u8> {
    let raw = client
        .get(&format!("/api/v1/sessions/{session}/journal?format=raw"))
        .body;
    let place = |seq: u64| usize::try_from(seq).expect("a place in memory");
    raw.as_bytes()[place(from)..place(to)].to_vec()
}

const SCRIPT: &str = "read go; seq 1 300000; exit 9";

/// What a terminal shows of [`SCRIPT`]: the echo of the line that started it, then every number.
fn expected() -> Vec<u8> {
    let mut all = b"go\r\n".to_vec();
    for number in 1..=300_000 {
        all.extend_from_slice(format!("{number}\r\n").as_bytes());
    }
    all
}

/// Where the two begin to differ, in words; megabytes in a failure's message help nobody.
fn compare(found: &[u8], expected: &[u8]) {
    if found == expected {
        return;
    }
    let at = found
        .iter()
        .zip(expected)
        .position(|(a, b)| a != b)
        .unwrap_or(found.len().min(expected.len()));
    let around = |bytes: &[u8]| {
        let part = &bytes[at.saturating_sub(30).min(bytes.len())..(at + 30).min(bytes.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    panic!(
        "{} bytes of {}; they differ at {at}: {:?} instead of {:?}",
        found.len(),
        expected.len(),
        around(found),
        around(expected)
    );
}

fn flood(porthole: &Instance, rounds: usize, mut kill: impl FnMut(&Instance)) {
    let container = porthole.sleeper();
    let expected = expected();
    let mut random = Random::new();
    let start = || {
        let session = porthole.session(&container, &json!({"command": ["sh", "-c", SCRIPT]}));
        let id = text(&session["id"]);
        let mut terminal = Terminal::attach(porthole.admin(), &id);
        terminal.input(b"go\n");
        // From here on the program runs, and its input is no part of what is tested.
        terminal.wait("the echo", |t| (t.output.len() >= 4).then_some(()));
        (id, terminal)
    };
    // Undisturbed first: how long it takes, and that the comparison holds.
    let begun = Instant::now();
    let (id, terminal) = start();
    let (found, exit) = to_the_end(porthole.admin(), &id, Some(terminal));
    compare(&found, &expected);
    assert_eq!(exit.code, 9);
    let usual = begun.elapsed();
    for round in 0..rounds {
        let (id, terminal) = start();
        let after = random.up_to(usual);
        let admin = porthole.admin().clone();
        let reader = std::thread::spawn(move || to_the_end(&admin, &id, Some(terminal)));
        std::thread::sleep(after);
        kill(porthole);
        let (found, exit) = reader
            .join()
            .unwrap_or_else(|_| panic!("round {round}, killed after {after:?} of {usual:?}"));
        compare(&found, &expected);
        assert_eq!(exit.code, 9, "round {round}: {exit:?}");
        porthole.wait_ready();
    }
    assert_eq!(
        porthole.container(&text(&container["id"]))["state"],
        "running"
    );
}

#[test]
fn no_byte_is_lost_when_the_server_is_killed() {
    let porthole = Instance::start();
    flood(&porthole, 20, |porthole| {
        let server = porthole.server_pid();
        signal(server, Signal::KILL);
        wait_for("another server", PATIENCE, || {
            (porthole.server_pid() != server).then_some(())
        });
    });
}

#[test]
fn no_byte_is_lost_when_the_keeper_is_killed() {
    let porthole = Instance::start();
    flood(&porthole, 20, |porthole| {
        let begun = Instant::now();
        porthole.kill_keeper();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "whole again after {:?}",
            begun.elapsed()
        );
    });
}

#[test]
fn no_byte_is_lost_when_keeper_and_server_are_killed_together() {
    let porthole = Instance::start();
    flood(&porthole, 5, |porthole| {
        let (keeper, server) = (porthole.keeper_pid(), porthole.server_pid());
        signal(server, Signal::KILL);
        signal(keeper, Signal::KILL);
        wait_for("others", PATIENCE, || {
            (porthole.server_pid() != server && porthole.keeper_pid() != keeper).then_some(())
        });
    });
}

/// Containers and shells go on while `porthole serve` ends as `end` ends it, and are there again
/// after its next start.
fn outlives(mut porthole: Instance, end: impl FnOnce(&mut Instance)) {
    let container = porthole.create(&json!({
        "image": "busybox", "name": "kept", "command": ["sleep", "infinity"],
    }));
    let (session, mut terminal) = porthole.shell(&container);
    terminal.line("x=41");
    terminal.line("echo ready");
    terminal.expect("ready\r\n");
    let (seq, sid) = (terminal.seq, text(&session["id"]));
    let (init, shell) = (pid(&container["pid"]), pid(&session["host_pid"]));
    drop(terminal);
    end(&mut porthole);
    assert!(host::runs(init) && host::runs(shell), "both go on");
    porthole.serve();
    let again = porthole.container("kept");
    assert_eq!(
        (&again["state"], &again["pid"], &again["id"]),
        (&json!("running"), &container["pid"], &container["id"])
    );
    assert_eq!(again["namespaces"], container["namespaces"]);
    let from = Attach {
        resume: Some(seq),
        ..Attach::default()
    };
    let mut terminal = wait_for("the session", PATIENCE, || {
        Terminal::try_attach(porthole.admin(), &sid, &from).ok()
    });
    terminal.line("echo $((x+1))");
    terminal.expect("42\r\n");
    terminal.line("exit 3");
    assert_eq!(terminal.end().code, 3);
}

#[test]
fn containers_and_shells_outlive_a_restart() {
    outlives(Instance::start(), |porthole| {
        assert_eq!(porthole.terminate(), Some(0));
    });
}

#[test]
fn containers_and_shells_outlive_a_killed_serve() {
    outlives(Instance::start(), |porthole| porthole.kill_serve());
}

#[test]
fn an_exit_while_nobody_was_there_is_known_afterwards() {
    let mut porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "name": "brief", "command": ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; echo bye; exit 17"],
    }));
    let init = pid(&container["pid"]);
    porthole.terminate();
    std::fs::write(format!("/proc/{init}/root/go"), "").expect("a file inside");
    wait_for("its end", PATIENCE, || (!host::runs(init)).then_some(()));
    porthole.serve();
    let ended = porthole.wait_state("brief", "exited");
    assert_eq!(ended["exit_code"], 17, "{ended}");
    let logs = porthole.admin().get("/api/v1/containers/brief/logs");
    assert!(logs.body.contains("bye"), "{logs}");
}

#[test]
fn a_server_that_stays_away_for_a_minute_stalls_no_output() {
    let mut porthole = Instance::start();
    // A pipe holds 64 KiB and so would fill within a second, if nobody read.
    let script = "line=$(head -c 1000 /dev/zero | tr '\\0' x); i=0; \
        while :; do echo $i $line; i=$((i+1)); echo $i > /progress; usleep 5000; done";
    let mut watched = Vec::new();
    let container = porthole
        .create(&json!({"image": "busybox", "name": "talker", "command": ["sh", "-c", script]}));
    let root = PathBuf::from(format!("/proc/{}/root", container["pid"]));
    watched.push(root.join("progress"));
    let shell = porthole.session(
        &container,
        &json!({"command": ["sh", "-c", script.replace("/progress", "/progress-of-shell")]}),
    );
    watched.push(root.join("progress-of-shell"));
    // The shell empties the file before it writes: a look in between sees nothing.
    let read = |path: &PathBuf| {
        (0..100).find_map(|_| {
            let number = std::fs::read_to_string(path)
                .ok()
                .and_then(|n| n.trim().parse::<u64>().ok());
            if number.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            number
        })
    };
    for path in &watched {
        wait_for("its first line", PATIENCE, || {
            read(path).filter(|&n| n > 10)
        });
    }
    let parts = [porthole.server_pid(), porthole.keeper_pid()];
    porthole.kill_serve();
    for process in parts {
        signal(process, Signal::KILL);
    }
    let away = Instant::now();
    // A program that waits for a reader waits for the whole minute; one that a busy disk holds up
    // for a moment does not.
    let mut last = vec![(0, away); watched.len()];
    while away.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(500));
        for (path, (number, advanced)) in watched.iter().zip(&mut last) {
            match read(path) {
                Some(now) if now > *number => (*number, *advanced) = (now, Instant::now()),
                _ => assert!(
                    advanced.elapsed() < Duration::from_secs(10),
                    "{} stands at {number} after {:?}",
                    path.display(),
                    away.elapsed()
                ),
            }
        }
    }
    let (written, _) = last[1];
    porthole.serve();
    // And all of it is there: every line once and in order.
    let (container, session) = (porthole.container("talker"), text(&shell["id"]));
    porthole
        .admin()
        .post(
            &format!("/api/v1/containers/{}/stop", text(&container["id"])),
            &json!({"timeout": 0}),
        )
        .ok();
    let raw = porthole
        .admin()
        .get(&format!("/api/v1/sessions/{session}/journal?format=raw"))
        .body;
    let numbers: Vec<u64> = raw
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    assert!(
        numbers.len() as u64 >= written,
        "{} lines of {written}",
        numbers.len()
    );
    assert!(
        numbers
            .iter()
            .enumerate()
            .all(|(at, &number)| at as u64 == number),
        "every line once and in order"
    );
}

#[test]
fn what_was_written_stays_however_long_ago_it_began_and_what_is_nobodys_goes() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let (session, mut terminal) = porthole.shell(&container);
    terminal.line("echo $((6*7)) kept");
    terminal.expect("42 kept\r\n");
    drop(terminal);
    let journals = porthole.root().join("server/journals");
    let nobodys = journals.join("0123456789abcdef".repeat(2));
    std::fs::create_dir(&nobodys).expect("a directory");
    for name in [
        &session["id"],
        &container["id"],
        &json!("0123456789abcdef".repeat(2)),
    ] {
        let directory = std::fs::File::open(journals.join(text(name))).expect("a journal");
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        directory.set_modified(hour_ago).expect("made old");
    }
    let another_server = || {
        let server = porthole.server_pid();
        signal(server, Signal::KILL);
        wait_for("another server", PATIENCE, || {
            (porthole.server_pid() != server).then_some(())
        });
        porthole.wait_ready();
    };
    another_server();
    wait_for("the end of what is nobody's", PATIENCE, || {
        (!nobodys.exists()).then_some(())
    });
    // The first one may have it open although it has deleted it.
    another_server();
    let mut terminal = Terminal::attach(porthole.admin(), &text(&session["id"]));
    terminal.expect("42 kept\r\n");
    assert!(journals.join(text(&container["id"])).exists());
}

#[test]
fn the_exit_code_of_a_killed_monitor_is_lost_and_nothing_else() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let (one, mut first) = porthole.shell(&container);
    let (_, mut second) = porthole.shell(&container);
    let monitor = host::parent(pid(&one["host_pid"])).expect("a monitor");
    signal(monitor, Signal::KILL);
    let exit = first.end();
    assert_eq!(
        exit.kind,
        porthole_protocol::session::ExitKind::Lost,
        "{exit:?}"
    );
    second.line("echo alive");
    second.expect("alive\r\n");
    assert_eq!(
        porthole.container(&text(&container["id"]))["state"],
        "running"
    );
}
