//! Screens of large journals: after a restart, and several at once.

mod session;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use porthole_journal::{Files, Limit, create};
use porthole_protocol::session::Size;
use porthole_terminal::{Close, Hub, HubHandle, Opening, Permission, SystemClock, Viewer};
use session::{Session, eventually, joined, numbers, write_all};

fn open(files: &Files, screen: Option<PathBuf>) -> HubHandle {
    Hub::spawn(Opening {
        files: files.try_clone().expect("more descriptors"),
        screen,
        tty: true,
        size: Size::DEFAULT,
        recorded: true,
        exit: None,
        limit: Limit::default(),
        clock: Arc::new(SystemClock),
    })
    .expect("a hub")
}

/// The screen's text is asked for as a viewer asks: somebody waits.
async fn text(hub: &HubHandle) -> String {
    hub.screen().await.expect("a screen")
}

/// A session whose hub keeps its screen beside the journal.
async fn keeping() -> (Session, File, PathBuf) {
    let (mut session, slave) = Session::tty().await;
    let close = Close::new(Close::GOING_AWAY, "another one takes over");
    session.hub.close(close).await.expect("closing");
    let screen = session.directory.path().join("screen");
    session.hub = open(&session.files, Some(screen.clone()));
    let attached = session.hub.attach(session.monitor.descriptors()).await;
    attached.expect("attaching");
    (session, slave, screen)
}

/// Whether a checkpoint lies on the disk that is as far as that, or nearly.
fn is_near(screen: &Path, end: u64) -> bool {
    let place = std::fs::read(screen)
        .ok()
        .and_then(|bytes| Some(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)));
    place.is_some_and(|place| place + 256 * 1024 > end)
}

#[tokio::test]
async fn a_quiet_sessions_screen_is_on_the_disk() {
    let (session, mut slave, screen) = keeping().await;
    let lines = numbers(0, 500_000);
    let end = lines.len() as u64;
    joined(write_all(slave.try_clone().expect("another"), lines)).await;
    eventually("a checkpoint", || is_near(&screen, end)).await;
    slave.write_all(b"and on\r\n").expect("writing");
    eventually("the rest", || session.hub.info().seq.0 == end + 8).await;
    let (with, without) = (
        open(&session.files, Some(screen)),
        open(&session.files, None),
    );
    let seen = text(&with).await;
    assert!(
        seen.contains("499999") && seen.contains("and on"),
        "{seen:?}"
    );
    assert_eq!(seen, text(&without).await);
}

/// A little all the time is quiet enough: it must not keep a screen from ever being brought up.
#[tokio::test]
async fn a_session_that_is_never_silent_is_brought_up_too() {
    let (session, mut slave, screen) = keeping().await;
    let lines = numbers(0, 300_000);
    let end = lines.len() as u64;
    joined(write_all(slave.try_clone().expect("another"), lines)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&stop);
    let ticks = std::thread::spawn(move || {
        while !goes_on.load(Ordering::Relaxed) {
            slave.write_all(b"tick\r\n").expect("writing");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    eventually("a checkpoint", || is_near(&screen, end)).await;
    stop.store(true, Ordering::Relaxed);
    joined(ticks).await;
    drop(session);
}

/// Somebody who looks at a small session does not wait for another's large one.
#[tokio::test]
async fn a_small_screen_does_not_wait_for_a_large_one() {
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let journal = |at: usize, lines| {
        let files = create(directories[at].path()).expect("a journal");
        let written = files.journal.write_all_at(&numbers(0, lines), 0);
        written.expect("writing");
        files
    };
    let (large, small) = (journal(0, 3_000_000), journal(1, 20_000));
    let large = open(&large, None);
    let viewer = Viewer {
        user: "ada".to_owned(),
        id: None,
        resume: None,
        permission: Permission::Watch,
    };
    let _waits = large.subscribe(viewer).await.expect("subscribing");
    let of_large = tokio::spawn(async move { text(&large).await });
    // It draws by now.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let small = open(&small, None);
    assert!(text(&small).await.ends_with("19999\n"));
    assert!(!of_large.is_finished(), "the small one was there first");
    assert!(of_large.await.expect("a text").ends_with("2999999\n"));
}
