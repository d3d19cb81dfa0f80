//! Output on its way to viewers.

mod session;

use std::io::Write;
use std::time::Duration;

use porthole_journal::Limit;
use porthole_protocol::frame::{ClientFrame, OUTPUT_WINDOW};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use porthole_protocol::session::{ExitKind, Size};
use porthole_terminal::{Close, Permission, notice};
use session::{Piece, Session, eventually, exit, joined, numbers, write_all};

#[tokio::test]
async fn what_is_written_arrives() {
    let (session, mut slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    slave.write_all(b"hello").expect("writing");
    client
        .until("output", |client| client.output == b"hello")
        .await;
    let flags = client.flags();
    assert!(flags.write && flags.drives && flags.recorded && flags.tty);
    assert_eq!(
        client.viewers,
        r#"[{"drives":true,"mode":"write","user":"ada"}]"#
    );
    assert_eq!(session.content(), b"hello");
    let info = session.hub.info();
    assert_eq!(info.seq, Seq(5));
    assert!(info.attached && info.viewers[0].drives);
}

#[tokio::test]
async fn a_flood_reaches_a_slow_viewer_whole() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    client.answers = false;
    let text = numbers(0, 300_000);
    let writer = write_all(slave, text.clone());
    let mut turn = 0_u64;
    while client.received < text.len() as u64 {
        let full = client.received - client.acked == OUTPUT_WINDOW;
        if full || turn.is_multiple_of(7) {
            // It parses a little, late.
            tokio::task::yield_now().await;
            client.acked += (client.received - client.acked).div_ceil(2);
            let seq = Seq(client.acked);
            client.send(ClientFrame::Acknowledge(seq)).await;
        }
        turn += 1;
        assert!(client.step().await);
    }
    joined(writer).await;
    assert_eq!(
        client.snapshots, 1,
        "a viewer that answers gets output, not snapshots"
    );
    assert!(client.output == text);
}

#[tokio::test]
async fn a_connection_dropped_at_any_moment_gives_every_byte_once() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let text = numbers(0, 200_000);
    let writer = write_all(slave, text.clone());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut drops = 0;
    while client.received < text.len() as u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        for _ in 0..random % 12 {
            if client.received < text.len() as u64 {
                assert!(client.step().await);
            }
        }
        client = session.again(client).await;
        drops += 1;
    }
    joined(writer).await;
    assert!(drops > 5, "only {drops} drops");
    assert_eq!(client.snapshots, 0);
    assert!(client.output == text);
}

#[tokio::test]
async fn two_viewers_see_the_same() {
    let (session, slave) = Session::tty().await;
    let mut ada = session.writer("ada").await;
    let mut bob = session.watcher("bob").await;
    let text = numbers(0, 20_000);
    let length = text.len() as u64;
    let writer = write_all(slave, text.clone());
    tokio::join!(
        ada.until("all of it", |client| client.received == length),
        bob.until("all of it", |client| client.received == length),
    );
    joined(writer).await;
    assert!(ada.output == text && bob.output == text);
    assert!(!bob.flags().write && !bob.flags().drives);
}

#[tokio::test]
async fn a_watcher_never_holds_the_program() {
    let (session, slave) = Session::tty().await;
    let mut watcher = session.watcher("bob").await;
    watcher.answers = false;
    let text = numbers(0, 400_000);
    let began = std::time::Instant::now();
    let writer = write_all(slave, text.clone());
    // It does not even read.
    eventually("the end of the flood", || {
        session.hub.info().seq.0 == text.len() as u64
    })
    .await;
    joined(writer).await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(session.content() == text);
    // When it answers again it gets a snapshot, not megabytes.
    watcher.answers = true;
    watcher.send(ClientFrame::Heartbeat(1)).await;
    watcher
        .until("the newest", |client| client.received == text.len() as u64)
        .await;
    assert!(watcher.snapshots >= 2);
    let (_, _, dump) = watcher.snapshot.expect("a snapshot");
    assert!(String::from_utf8_lossy(&dump).contains("399999"));
}

#[tokio::test]
async fn a_writer_holds_the_program_for_five_seconds_at_most() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    client.answers = false;
    let text = numbers(0, 200_000);
    let end = text.len() as u64;
    let writer = write_all(slave, text);
    eventually("a full window", || {
        session.hub.info().seq.0 >= OUTPUT_WINDOW
    })
    .await;
    let stuck = session.hub.info().seq.0;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        session.hub.info().seq.0,
        stuck,
        "the program waits for who can type"
    );
    tokio::time::advance(Duration::from_secs(3)).await;
    eventually("the end", || session.hub.info().seq.0 == end).await;
    joined(writer).await;
}

#[tokio::test]
async fn with_nobody_there_output_is_drained() {
    let (session, slave) = Session::tty().await;
    let text = numbers(0, 100_000);
    joined(write_all(slave, text.clone())).await;
    eventually("all of it", || {
        session.hub.info().seq.0 == text.len() as u64
    })
    .await;
    assert!(session.content() == text);
    let mut client = session
        .attach("ada", None, Some(0), Permission::Watch)
        .await;
    client
        .until("all from the beginning", |client| {
            client.received == text.len() as u64
        })
        .await;
    assert!(client.output == text);
    assert_eq!(client.snapshots, 0);
}

#[tokio::test]
async fn where_one_begins_depends_on_how_far_it_was() {
    let (session, slave) = Session::tty().await;
    let text = numbers(0, 400_000);
    joined(write_all(slave, text.clone())).await;
    let end = text.len() as u64;
    eventually("all of it", || session.hub.info().seq.0 == end).await;
    for (resume, snapshots) in [
        (None, 1),
        (Some(end), 0),
        (Some(end - 1000), 0),
        (Some(10), 1),
        (Some(end + 1), 1),
    ] {
        let mut client = session.attach("ada", None, resume, Permission::Watch).await;
        client
            .until("the end", |client| {
                client.received == end && client.snapshots >= snapshots
            })
            .await;
        assert_eq!(client.snapshots, snapshots, "{resume:?}");
        if let Some(resume) = resume.filter(|_| snapshots == 0) {
            assert!(client.output == text[usize::try_from(resume).expect("a size")..]);
        }
    }
}

#[tokio::test]
async fn each_stream_keeps_its_name() {
    let (session, _stdin, mut stdout, mut stderr) = Session::pipes().await;
    let mut client = session.writer("ada").await;
    let mut expected = Vec::new();
    for (file, stream, text) in [
        (&mut stdout, Stream::Stdout, "one"),
        (&mut stderr, Stream::Stderr, "two"),
    ] {
        file.write_all(text.as_bytes()).expect("writing");
        expected.push(Piece::Output(stream, text.as_bytes().to_vec()));
        let length = expected.len();
        client
            .until("it", |client| client.pieces.len() == length)
            .await;
    }
    assert_eq!(client.pieces, expected);
    // Again, read back from the journal.
    let mut late = session
        .attach("bob", None, Some(0), Permission::Watch)
        .await;
    late.until("both", |client| client.received == 6).await;
    assert_eq!(late.pieces, expected);
}

#[tokio::test]
async fn two_floods_of_one_program_are_not_mixed_up() {
    let (session, _stdin, stdout, stderr) = Session::pipes().await;
    let mut client = session.writer("ada").await;
    let text = numbers(0, 100_000);
    let writers = [
        write_all(stdout, text.clone()),
        write_all(stderr, text.clone()),
    ];
    let length = 2 * text.len() as u64;
    client
        .until("both", |client| client.received == length)
        .await;
    for writer in writers {
        joined(writer).await;
    }
    for stream in [Stream::Stdout, Stream::Stderr] {
        let bytes: Vec<u8> = client
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Output(of, bytes) if *of == stream => Some(bytes.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        assert!(bytes == text, "{stream:?}");
    }
}

#[tokio::test]
async fn a_size_keeps_its_place_among_the_bytes() {
    let (session, mut slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let (wide, narrow) = (
        Size {
            cols: 132,
            rows: 50,
        },
        Size { cols: 40, rows: 10 },
    );
    let mut expected = Vec::new();
    for (text, size) in [("before", wide), ("between", narrow), ("after", wide)] {
        slave.write_all(text.as_bytes()).expect("writing");
        expected.push(Piece::Output(Stream::Tty, text.as_bytes().to_vec()));
        let length = expected.len();
        client
            .until("output", |client| client.pieces.len() == length)
            .await;
        let Size { cols, rows } = size;
        client.send(ClientFrame::Resize { cols, rows }).await;
        expected.push(Piece::Size(size));
        let length = expected.len();
        client
            .until("the size", |client| client.pieces.len() == length)
            .await;
        let now = rustix::termios::tcgetwinsize(&slave).expect("a size");
        assert_eq!((now.ws_col, now.ws_row), (cols, rows));
        // Twenty a second are let through.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(client.pieces, expected);
    let mut late = session
        .attach("bob", None, Some(0), Permission::Watch)
        .await;
    let length = expected.len();
    late.until("all of it", |client| client.pieces.len() >= length)
        .await;
    assert_eq!(late.pieces, expected);
}

#[tokio::test]
async fn too_many_sizes_end_in_the_last_one() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    for cols in 100..=300 {
        client.send(ClientFrame::Resize { cols, rows: 30 }).await;
    }
    let last = Size {
        cols: 300,
        rows: 30,
    };
    client
        .until("the last size", |client| {
            client.pieces.last() == Some(&Piece::Size(last))
        })
        .await;
    assert!(client.pieces.len() < 10, "{} sizes", client.pieces.len());
    assert_eq!(
        rustix::termios::tcgetwinsize(&slave)
            .expect("a size")
            .ws_col,
        300
    );
    for (cols, rows) in [(0, 0), (1001, 1), (80, 0)] {
        client.send(ClientFrame::Resize { cols, rows }).await;
    }
    client
        .until("three notices", |client| client.notices.len() == 3)
        .await;
    assert!(
        client
            .notices
            .iter()
            .all(|(code, _)| *code == notice::UNFIT)
    );
    assert_eq!(session.hub.info().size, last);
}

#[tokio::test]
async fn the_end_comes_after_all_output() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    // Too much for the window, and nothing of it is acknowledged yet.
    client.answers = false;
    let text = numbers(0, 100_000);
    let writer = write_all(slave, text.clone());
    eventually("a full window", || {
        session.hub.info().seq.0 >= OUTPUT_WINDOW
    })
    .await;
    let exited = session.hub.exited(exit(3));
    exited.await.expect("the end");
    joined(writer).await;
    assert!(session.content() == text, "{}", session.content().len());
    assert_eq!(session.hub.info().exit.expect("its exit").code, 3);
    client.answers = true;
    client.send(ClientFrame::Acknowledge(Seq(0))).await;
    while client.close.is_none() {
        if client.received > client.acked {
            client.acked = client.received;
            client
                .send(ClientFrame::Acknowledge(Seq(client.acked)))
                .await;
        }
        assert!(client.step().await);
    }
    assert!(client.output == text);
    let (code, kind, reason) = client.exit.expect("an exit");
    assert_eq!((code, kind), (3, ExitKind::Exited));
    assert_eq!(reason, "it exited with 3");
    assert_eq!(client.close.expect("a close").code, Close::NORMAL);
    // Who comes later is told the same.
    let mut late = session
        .attach("bob", None, Some(0), Permission::Write)
        .await;
    late.finish().await;
    assert!(late.output == text && late.exit.is_some());
}

/// A process in the background holds the terminal after the shell is gone.
#[tokio::test(start_paused = true)]
async fn an_end_does_not_wait_for_who_stays_in_the_background() {
    let (session, mut slave) = Session::tty().await;
    slave.write_all(b"last words").expect("writing");
    let began = tokio::time::Instant::now();
    session.hub.exited(exit(0)).await.expect("the end");
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(session.content(), b"last words");
    drop(slave);
}

#[tokio::test]
async fn the_reader_may_go_and_come_back() {
    let (session, mut slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    slave.write_all(b"one ").expect("writing");
    client.until("one", |client| client.output == b"one ").await;
    session.hub.detach().await.expect("detaching");
    slave.write_all(b"two ").expect("writing");
    client.type_text(0, "typed").await;
    client.send(ClientFrame::Heartbeat(9)).await;
    client
        .until("an answer", |client| client.heartbeats == [9])
        .await;
    assert!(!session.hub.info().attached);
    assert_eq!(client.accepted, 0, "nobody can take it");
    let attached = session.hub.attach(session.monitor.descriptors()).await;
    attached.expect("attaching");
    client
        .until("two", |client| client.output == b"one two ")
        .await;
    client
        .until("acceptance", |client| client.accepted == 5)
        .await;
    let typed = joined(session::read_exactly(slave, 5)).await;
    assert_eq!(typed, b"typed");
}

#[tokio::test]
async fn wrong_descriptors_are_refused() {
    let (session, _slave) = Session::tty().await;
    let mut descriptors = session.monitor.descriptors();
    descriptors.fds.pop();
    assert!(session.hub.attach(descriptors).await.is_err());
    let mut descriptors = session.monitor.descriptors();
    descriptors.tty = false;
    assert!(session.hub.attach(descriptors).await.is_err());
}

#[tokio::test]
async fn beyond_its_limit_a_journal_says_so() {
    let (session, slave) = Session::tty_with(Limit::of_content(1024 * 1024)).await;
    let mut client = session.watcher("ada").await;
    let text = numbers(0, 600_000);
    let end = text.len() as u64;
    let writer = write_all(slave, text);
    client
        .until("the end", |client| client.received == end)
        .await;
    joined(writer).await;
    let dropped = client
        .notices
        .iter()
        .filter(|(code, _)| *code == notice::DROPPED);
    assert_eq!(dropped.count(), 1);
    let info = session.hub.info();
    assert!(info.kept_from.0 > 0 && end - info.kept_from.0 <= 1024 * 1024);
    let mut late = session
        .attach("bob", None, Some(0), Permission::Watch)
        .await;
    late.until("a snapshot", |client| client.snapshots == 1)
        .await;
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_is_told_and_loses_nothing() {
    let (session, mut slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let mut descriptors = session.monitor.descriptors();
    // Like a full disk: the journal cannot be written.
    let path = session.directory.path().join("output");
    descriptors.fds[3] = std::fs::File::open(path).expect("the journal").into();
    session.hub.attach(descriptors).await.expect("attaching");
    slave.write_all(b"kept").expect("writing");
    client
        .until("a notice", |client| {
            client.notices.iter().any(|(code, _)| *code == notice::FULL)
        })
        .await;
    let attached = session.hub.attach(session.monitor.descriptors()).await;
    attached.expect("attaching");
    client.until("it", |client| client.output == b"kept").await;
}

/// As after a restart of the server, many times in the middle of a flood.
#[tokio::test]
async fn a_new_hub_goes_on_where_the_old_one_was() {
    let (mut session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let text = numbers(0, 300_000);
    let end = text.len() as u64;
    let writer = write_all(slave, text.clone());
    let mut restarts = 0;
    while client.received < end {
        for _ in 0..15 {
            if client.received < end {
                assert!(client.step().await);
            }
        }
        let close = Close::new(Close::GOING_AWAY, "the server stops");
        session.hub.close(close).await.expect("closing");
        eventually("its end", || session.hub.watch().has_changed().is_err()).await;
        session.hub = Session::open(&session.files, true, Limit::default(), None);
        let (received, output) = (client.received, client.output);
        let id = Some(client.id);
        client = session
            .attach("ada", id, Some(received), Permission::Write)
            .await;
        let attached = session.hub.attach(session.monitor.descriptors()).await;
        attached.expect("attaching");
        client.output.splice(0..0, output);
        restarts += 1;
    }
    joined(writer).await;
    assert!(restarts > 5, "only {restarts} restarts");
    assert!(client.output == text);
    assert_eq!(client.snapshots, 0);
}
