//! What a terminal shows at once when somebody comes to a session that has written very much.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use porthole_tests::instance::{signal, text};
use porthole_tests::terminal::Attach;
use porthole_tests::{Instance, PATIENCE, Terminal, wait_for};
use rustix::process::Signal;
use serde_json::json;

/// Drawing of all of it by an unoptimised server, beside other tests.
const LONG: Duration = Duration::from_secs(300);

/// Some twenty megabytes of lines in colours.
const SCRIPT: &str = "awk 'BEGIN { for (i = 1; i <= 500000; i++) \
    printf \"\\033[%dm%d\\033[m some words of a log\\033[K\\n\", 31 + i % 7, i }'; \
    printf '\\033]0;at the end\\007\\033[?2004h\\033[5;7Hhere'; exec sleep infinity";

fn kill_server(porthole: &Instance) {
    let server = porthole.server_pid();
    signal(server, Signal::KILL);
    wait_for("another server", PATIENCE, || {
        (porthole.server_pid() != server).then_some(())
    });
    porthole.wait_ready();
}

/// The first snapshot, its place, and how long it took.
fn first_snapshot(porthole: &Instance, session: &str) -> (Vec<u8>, u64, Duration) {
    let begun = Instant::now();
    let mut terminal = wait_for("the session", PATIENCE, || {
        Terminal::try_attach(porthole.admin(), session, &Attach::default()).ok()
    });
    terminal.wait_within("a snapshot", LONG, |t| {
        (!t.snapshots.is_empty()).then_some(())
    });
    let seq = terminal.seq;
    (terminal.snapshots.remove(0), seq, begun.elapsed())
}

/// The place in the output that a checkpoint on the disk has.
fn place(screen: &Path) -> Option<u64> {
    let bytes = std::fs::read(screen).ok()?;
    Some(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?))
}

#[test]
fn after_a_restart_a_long_journal_is_not_drawn_again() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(&container, &json!({"command": ["sh", "-c", SCRIPT]}));
    let id = text(&session["id"]);
    let screen: PathBuf = porthole
        .root()
        .join("server/journals")
        .join(&id)
        .join("screen");
    let path = format!("/api/v1/sessions/{id}");
    let length = || porthole.admin().get(&path).ok()["seq"].as_u64();
    let mut last = None;
    let end = wait_for("the end of the output", LONG, || {
        std::thread::sleep(Duration::from_millis(500));
        let now = length();
        (std::mem::replace(&mut last, now) == now && now > Some(15_000_000)).then_some(now?)
    });
    // The rest is drawn from there: at most what is between two that are kept.
    wait_for("a checkpoint", LONG, || {
        place(&screen).filter(|place| end - place < 1024 * 1024)
    });
    kill_server(&porthole);
    let (kept, seq, quick) = first_snapshot(&porthole, &id);
    assert_eq!(seq, end);
    let shown = String::from_utf8_lossy(&kept);
    for part in ["here", "500000", "\u{1b}[?2004h", "at the end"] {
        assert!(shown.contains(part), "{part:?}");
    }
    // The same without it: the whole journal is drawn.
    std::fs::remove_file(&screen).expect("a checkpoint");
    kill_server(&porthole);
    let (whole, seq, slow) = first_snapshot(&porthole, &id);
    assert_eq!(seq, end);
    assert!(kept == whole, "the snapshot is that of a full replay");
    eprintln!("{end} bytes: first snapshot after {quick:?}, by a full replay after {slow:?}");
    assert!(quick < slow / 5, "{quick:?} against {slow:?}");
}
