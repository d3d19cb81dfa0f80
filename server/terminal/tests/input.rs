//! Input, and who may give it.

mod session;

use std::io::Read;
use std::time::Duration;

use porthole_protocol::frame::ClientFrame;
use porthole_protocol::id::Seq;
use porthole_protocol::session::Size;
use porthole_terminal::{Close, Permission, notice};
use session::{Piece, Session, eventually, exit, joined, numbers, read_exactly, write_all};

#[tokio::test]
async fn what_is_typed_arrives_and_is_counted() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    client.type_text(0, "ls").await;
    client.type_text(2, "\n").await;
    client
        .until("acceptance", |client| client.accepted == 3)
        .await;
    assert_eq!(joined(read_exactly(slave, 3)).await, b"ls\n");
}

#[tokio::test]
async fn a_long_paste_over_dropped_connections_arrives_once() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let text = numbers(0, 180_000);
    assert!(text.len() > 1_000_000);
    let reader = read_exactly(slave, text.len());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut drops = 0;
    while (client.accepted as usize) < text.len() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // What was on its way when the connection was lost is sent again, from what the server
        // says that it has accepted.
        let mut sent = usize::try_from(client.accepted).expect("a size");
        for _ in 0..1 + random % 12 {
            if (client.accepted as usize) < text.len() {
                sent = client.type_from(&text, 0, sent).await;
                let before = client.accepted;
                client
                    .until("acceptance", |client| client.accepted > before)
                    .await;
            }
        }
        let id = client.id.clone();
        client = session.again(client).await;
        assert_eq!(client.id, id);
        drops += 1;
    }
    assert!(drops > 3, "only {drops} drops");
    let read = joined(reader).await;
    assert!(read == text, "{} bytes", read.len());
}

#[tokio::test]
async fn a_full_terminal_stops_nothing_else() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    // Nobody reads it.
    let text = vec![b'x'; 64 * 1024];
    client.type_from(&text, 0, 0).await;
    client.send(ClientFrame::Heartbeat(1)).await;
    client
        .until("an answer", |client| client.heartbeats == [1])
        .await;
    assert!(client.accepted < text.len() as u64, "it is full");
    let output = numbers(0, 100_000);
    let writer = write_all(slave.try_clone().expect("a descriptor"), output.clone());
    let end = output.len() as u64;
    client
        .until("all output", |client| client.received == end)
        .await;
    joined(writer).await;
    client
        .send(ClientFrame::Resize { cols: 99, rows: 33 })
        .await;
    let size = Size { cols: 99, rows: 33 };
    client
        .until("the size", |client| {
            client.pieces.last() == Some(&Piece::Size(size))
        })
        .await;
    let reader = read_exactly(slave, text.len());
    let all = text.len() as u64;
    client
        .until("all input", |client| client.accepted == all)
        .await;
    assert!(joined(reader).await == text);
}

#[tokio::test]
async fn what_came_already_is_not_typed_again() {
    let (session, slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    client.type_text(0, "abc").await;
    client.type_text(0, "abc").await;
    client.type_text(1, "bcd").await;
    client
        .until("acceptance", |client| client.accepted == 4)
        .await;
    client.type_text(4, "!").await;
    assert_eq!(joined(read_exactly(slave, 5)).await, b"abcd!");
}

#[tokio::test]
async fn what_no_client_sends_closes_the_connection() {
    let (session, _slave) = Session::tty().await;
    let input = |seq, bytes| ClientFrame::Input { seq, bytes }.encode();
    for (bytes, why) in [
        (vec![0x7f], "an unknown tag"),
        (vec![], "an empty message"),
        (vec![0x03, 1], "a frame cut short"),
        (input(1, b"x"), "a gap"),
        (
            ClientFrame::Acknowledge(Seq(1)).encode(),
            "an acknowledgement of what was never sent",
        ),
    ] {
        let mut client = session.writer("ada").await;
        client.raw(bytes).await;
        client.finish().await;
        assert_eq!(
            client.close.expect("a close").code,
            Close::PROTOCOL,
            "{why}"
        );
    }
    // Of one viewer this is; the session goes on.
    let client = session.writer("ada").await;
    assert!(client.flags().drives);
}

#[tokio::test]
async fn more_than_the_window_closes_the_connection() {
    let (session, _slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let bytes = vec![b'x'; 32 * 1024];
    for piece in 0..10 {
        let seq = piece * bytes.len() as u64;
        client.send(ClientFrame::Input { seq, bytes: &bytes }).await;
    }
    client.finish().await;
    assert_eq!(client.close.expect("a close").code, Close::PROTOCOL);
}

#[tokio::test]
async fn who_watches_types_nothing_and_drives_nothing() {
    let (session, slave) = Session::tty().await;
    let mut ada = session.writer("ada").await;
    let mut bob = session.watcher("bob").await;
    bob.type_text(0, "rm").await;
    bob.send(ClientFrame::Drive(true)).await;
    bob.send(ClientFrame::Resize { cols: 9, rows: 9 }).await;
    bob.until("two notices", |client| client.notices.len() == 2)
        .await;
    assert!(bob.notices.iter().all(|(code, _)| *code == notice::REFUSED));
    bob.until("its count", |client| client.accepted == 2).await;
    ada.type_text(0, "ls").await;
    ada.until("acceptance", |client| client.accepted == 2).await;
    assert_eq!(joined(read_exactly(slave, 2)).await, b"ls");
    assert_eq!(session.hub.info().size, Size::DEFAULT);
}

#[tokio::test]
async fn driving_is_taken_given_and_inherited() {
    let (session, _slave) = Session::tty().await;
    let mut ada = session.writer("ada").await;
    let mut bob = session.writer("bob").await;
    assert!(ada.flags().drives && !bob.flags().drives);
    ada.send(ClientFrame::Resize { cols: 90, rows: 20 }).await;
    bob.send(ClientFrame::Resize { cols: 70, rows: 20 }).await;
    let size = |cols| Piece::Size(Size { cols, rows: 20 });
    bob.until("the driver's size", |client| client.pieces == [size(90)])
        .await;
    bob.send(ClientFrame::Drive(true)).await;
    bob.until("driving", |client| client.flags().drives).await;
    ada.until("not driving", |client| !client.flags().drives)
        .await;
    ada.until("the new size", |client| {
        client.pieces == [size(90), size(70)]
    })
    .await;
    bob.send(ClientFrame::Drive(false)).await;
    ada.until("driving", |client| client.flags().drives).await;
    ada.until("its own size", |client| {
        client.pieces.last() == Some(&size(90))
    })
    .await;
    drop(ada.subscription);
    bob.until("inheriting", |client| client.flags().drives)
        .await;
    bob.until("being alone", |client| !client.viewers.contains("ada"))
        .await;
}

#[tokio::test]
async fn who_drove_drives_again_after_a_dropped_connection() {
    let (session, _slave) = Session::tty().await;
    let ada = session.writer("ada").await;
    let mut bob = session.writer("bob").await;
    let id = ada.id.clone();
    drop(ada);
    bob.until("inheriting", |client| client.flags().drives)
        .await;
    let mut ada = session
        .attach("ada", Some(id), Some(0), Permission::Write)
        .await;
    ada.until("driving", |client| client.flags().drives).await;
    bob.until("not driving", |client| !client.flags().drives)
        .await;
}

#[tokio::test]
async fn a_right_taken_away_is_gone_at_once() {
    let (session, slave) = Session::tty().await;
    let mut ada = session.writer("ada").await;
    let mut bob = session.writer("bob").await;
    // The terminal is full, so that some of it waits.
    let text = vec![b'x'; 64 * 1024];
    ada.type_from(&text, 0, 0).await;
    ada.send(ClientFrame::Heartbeat(1)).await;
    ada.until("an answer", |client| client.heartbeats == [1])
        .await;
    session
        .hub
        .permit("ada", Some(Permission::Watch))
        .await
        .expect("permitting");
    ada.until("the new flags", |client| !client.flags().write)
        .await;
    ada.until("the rest to be refused", |client| {
        client.accepted == text.len() as u64
    })
    .await;
    bob.until("driving", |client| client.flags().drives).await;
    bob.type_text(0, "!").await;
    let reader = std::thread::spawn(move || {
        let (mut slave, mut read, mut byte) = (slave, 0, [0]);
        while byte != *b"!" {
            slave.read_exact(&mut byte).expect("reading");
            read += 1;
        }
        read
    });
    bob.until("acceptance", |client| client.accepted == 1).await;
    assert!(joined(reader).await < text.len());
    session.hub.permit("ada", None).await.expect("permitting");
    ada.finish().await;
    assert_eq!(ada.close.expect("a close").code, Close::FORBIDDEN);
    eventually("one viewer", || session.hub.info().viewers.len() == 1).await;
}

#[tokio::test]
async fn a_stuck_socket_learns_that_it_is_closed() {
    let (session, slave) = Session::tty().await;
    let mut client = session.watcher("ada").await;
    client.answers = false;
    let writer = write_all(slave, numbers(0, 50_000));
    eventually("a flood", || session.hub.info().seq.0 > 200_000).await;
    let revoked = client.subscription.outgoing.revoked();
    session.hub.permit("ada", None).await.expect("permitting");
    tokio::time::timeout(Duration::from_secs(1), revoked)
        .await
        .expect("within a second");
    // Before anything that still waits.
    assert!(client.step().await);
    assert_eq!(client.close.expect("a close").code, Close::FORBIDDEN);
    joined(writer).await;
}

#[tokio::test]
async fn a_viewers_id_is_its_accounts_own() {
    let (session, _slave) = Session::tty().await;
    let mut ada = session.writer("ada").await;
    ada.type_text(0, "abc").await;
    ada.until("acceptance", |client| client.accepted == 3).await;
    let id = Some(ada.id.clone());
    let eve = session
        .attach("eve", id.clone(), None, Permission::Write)
        .await;
    assert_ne!(eve.id, ada.id);
    assert_eq!(eve.accepted, 0);
    let unknown = session
        .attach("ada", Some("0".repeat(32)), None, Permission::Write)
        .await;
    assert_eq!(unknown.accepted, 0);
    // The same again replaces the first.
    let again = session.attach("ada", id, Some(0), Permission::Write).await;
    assert_eq!((&again.id, again.accepted), (&ada.id, 3));
    ada.finish().await;
    assert_eq!(ada.close.expect("a close").code, Close::REPLACED);
}

#[tokio::test]
async fn the_end_of_input_closes_it() {
    let (session, mut stdin, _stdout, _stderr) = Session::pipes().await;
    let mut client = session.writer("ada").await;
    client.type_text(0, "all").await;
    client.send(ClientFrame::EndOfInput).await;
    eventually("the end of input", || session.hub.info().input_ended).await;
    // The monitor's copy is the other one that keeps it open.
    let mut session = session;
    session.monitor = session.monitor.without_input();
    let mut text = String::new();
    stdin.read_to_string(&mut text).expect("reading");
    assert_eq!(text, "all");
    client.type_text(3, "more").await;
    client
        .until("a notice", |client| !client.notices.is_empty())
        .await;
    client
        .until("its count", |client| client.accepted == 7)
        .await;
}

#[tokio::test]
async fn a_terminal_has_no_end_of_input() {
    let (session, _slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    client.send(ClientFrame::EndOfInput).await;
    client
        .until("a notice", |client| !client.notices.is_empty())
        .await;
    assert_eq!(client.notices[0].0, notice::UNFIT);
}

#[tokio::test]
async fn a_closed_input_is_told() {
    let (session, stdin, _stdout, _stderr) = Session::pipes().await;
    let mut client = session.writer("ada").await;
    drop(stdin);
    client.type_text(0, "hello?").await;
    client
        .until("a notice", |client| !client.notices.is_empty())
        .await;
    client
        .until("its count", |client| client.accepted == 6)
        .await;
}

#[tokio::test]
async fn a_hub_that_is_closed_says_why() {
    let (session, _slave) = Session::tty().await;
    let mut client = session.writer("ada").await;
    let close = Close::new(Close::GOING_AWAY, "the server stops");
    session.hub.close(close.clone()).await.expect("closing");
    client.finish().await;
    assert_eq!(client.close, Some(close));
    eventually("its end", || session.hub.watch().has_changed().is_err()).await;
}

#[tokio::test]
async fn a_screen_is_text_too() {
    let (session, mut slave) = Session::tty().await;
    std::io::Write::write_all(&mut slave, b"\x1b[31mred\x1b[m\r\nplain").expect("writing");
    eventually("it", || session.hub.info().seq.0 > 15).await;
    assert_eq!(
        session.hub.screen().await.expect("a screen"),
        "red\nplain\n"
    );
    session.hub.exited(exit(0)).await.expect("the end");
    assert_eq!(
        session.hub.screen().await.expect("a screen"),
        "red\nplain\n"
    );
}
