//! Sessions and who reads them.

use std::io::Read;

use porthole_journal::Pumped;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::keeper::{FailureCode, Reply, Request};
use porthole_protocol::observation::Update;
use porthole_protocol::session::{ExitKind, Target};

use crate::place::{IDLE, Place, nothing_left, session, spec, wait_until};

#[test]
fn pipes_keep_streams_apart_and_end_of_input_arrives() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    let script = "cat; echo $? >&2; exit 3";
    let opened = client
        .open(session(&made.id, &["sh", "-c", script], false), 1, &output)
        .expect("opened");
    assert_eq!((opened.tty, &opened.tty_name), (false, &None));
    let mut reader = client.attach(Target::Session(opened.id.clone()));
    reader.write("through and back\n");
    let mut relay = reader.relay();
    wait_until("cat answers", || {
        let _ = relay.pump(Stream::Stdout, 2).expect("pump");
        output.text() == "through and back\n"
    });
    reader.end_input();
    let exit = reader.exited().expect("it was told");
    assert_eq!((exit.code, exit.kind), (3, ExitKind::Exited));
    while relay.pump(Stream::Stderr, 3).expect("pump") != Pumped::EndOfFile {}
    relay.mark(Mark::End(exit.code), 4).expect("mark");
    drop((relay, reader));
    wait_until("its monitor goes", || place.monitors() == 1);
    assert_eq!(output.text(), "through and back\n0\n");
    assert_eq!(output.marks(), [Mark::Start, Mark::End(3)], "marked once");
    let ended = client.sessions().pop().expect("its record is kept");
    assert_eq!(ended.exit, Some(exit));
    let failure = client.failure(Request::Attach {
        target: Target::Session(opened.id.clone()),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    assert_eq!(
        client.ask(Request::ForgetSession {
            session: opened.id.clone()
        }),
        Reply::Done
    );
    let failure = client.failure(Request::ForgetSession { session: opened.id });
    assert_eq!(failure.code, FailureCode::SessionNotFound);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn a_second_reader_cuts_the_first_off() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let first = client.attach(Target::Init(made.id.clone()));
    let second = client.attach(Target::Init(made.id.clone()));
    assert_eq!(first.exited(), None, "it was hung up on");
    client.container(Request::Kill {
        container: made.id.clone(),
        signal: 15,
    });
    assert_eq!(second.exited().map(|exit| exit.code), Some(0));
    drop((first, second));
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn nothing_of_the_monitors_own_state_reaches_what_it_starts() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let look = "umask; grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l; env | grep -c PORTHOLE; echo ready; ";
    let made = client.create(&spec(&format!("{look}{IDLE}")));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    client
        .open(session(&made.id, &["sh", "-c", look], false), 1, &output)
        .expect("opened");
    for journal in [&journal, &output] {
        wait_until("it has looked", || journal.text().contains("ready"));
        let text = journal.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "0022");
        let [blocked, ignored] = [lines[1], lines[2]].map(|line| {
            let (_, mask) = line.split_once('\t').expect("a mask");
            u64::from_str_radix(mask, 16).expect("a mask")
        });
        // Three above 31 belong to the C library, which whoever started this test may have set.
        assert_eq!((blocked, ignored & 0x7fff_ffff), (0, 0), "{text}");
        // Standard input, output and error, and the directory that ls reads.
        assert_eq!(lines[3..6], ["4", "0", "ready"], "{text}");
    }
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn the_observer_sees_containers_and_sessions() {
    let Some(place) = Place::new() else { return };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let number = client.send(Request::Observe, &[]);
    let (reply, mut descriptors) = client.answer(number);
    assert_eq!(reply, Reply::Observing);
    let mut stream = std::os::unix::net::UnixStream::from(descriptors.remove(0));
    let opened = client
        .open(
            session(&made.id, &["sleep", "1000"], false),
            1,
            &place.journal("session"),
        )
        .expect("opened");
    let pid = opened.host_pid.expect("pid");
    let mut first = true;
    wait_until("the session's process is told of", || {
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("length");
        let mut json = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut json).expect("message");
        let update: Update = serde_json::from_slice(&json).expect("json");
        assert_eq!(update.full, std::mem::take(&mut first));
        update.processes.iter().any(|process| {
            process.host_pid == pid
                && process.container.as_ref() == Some(&made.id)
                && process.session.as_ref() == Some(&opened.id)
        })
    });
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}
