//! More than usual: of what there is, of what a container has made.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use porthole_protocol::container::{Change, Limits};
use porthole_protocol::id::SessionId;
use porthole_protocol::keeper::{Event, Reply, Request};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::process::{Pid, Signal};

use crate::place::{IDLE, Place, nothing_left, session, spec, wait_until};

#[test]
fn whoever_begins_to_watch_is_told_of_everything_however_much_it_is() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    let opened = client
        .open(session(&made.id, &["true"], false), 1, &output)
        .expect("opened");
    let record = place.path("root/keeper/sessions").join(opened.id.as_str());
    wait_until("its end is written down", || {
        std::fs::read_to_string(record.join("session.json"))
            .is_ok_and(|text| text.contains("\"code\":0"))
    });
    drop(client);
    place.kill();
    // As many as are kept, each with as long a command as there may be: what one user can have done.
    let text = std::fs::read_to_string(record.join("session.json")).expect("a record");
    let long = text.replace(
        "[\"true\"]",
        &format!("[\"true\",\"{}\"]", "x".repeat(49_000)),
    );
    assert!(long.len() > 49_000);
    let mut ids: BTreeSet<SessionId> = BTreeSet::from([opened.id.clone()]);
    for number in 2..=200 {
        let id = SessionId::from_bytes([number; 16]);
        let directory = record.with_file_name(id.as_str());
        std::fs::create_dir(&directory).expect("made");
        let text = long.replace(opened.id.as_str(), id.as_str());
        std::fs::write(directory.join("session.json"), text).expect("written");
        ids.insert(id);
    }
    place.start();
    let mut client = place.connect();
    for _ in 0..2 {
        let told = client.everything();
        let sessions = told.iter().filter_map(|event| match event {
            Event::Session(session) => Some(session.id.clone()),
            _ => None,
        });
        assert_eq!(sessions.collect::<BTreeSet<_>>(), ids);
        assert!(matches!(told.last(), Some(Event::Synced)));
    }
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

/// Directories in directories.
fn nest(at: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut inner: OwnedFd = File::open(at).expect("open").into();
    for _ in 0..depth {
        mkdirat(&inner, "d", Mode::RWXU).expect("made");
        inner = openat(&inner, "d", flags, Mode::empty()).expect("open");
    }
}

#[test]
fn a_container_that_nests_directories_without_end_can_be_removed() {
    let Some(place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let made = client.create(&spec(IDLE));
    let directory = place.path("root/keeper/containers").join(made.id.as_str());
    // As its `mkdir d; cd d` would, again and again.
    nest(&directory.join("upper/root"), 12_000);
    client.remove(&made.id);
    assert!(!directory.exists());
    nothing_left(&place, &made.id);
}

#[test]
fn a_change_whose_worker_is_killed_is_made_all_the_same() {
    let Some(place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let keeper = place.keeper();
    let worker = || {
        let children = format!("/proc/{keeper}/task/{keeper}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let is_worker = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()))
                .is_ok_and(|name| name == "porthole-worker\n")
        };
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
            .find(is_worker)
    };
    let record = place
        .path("root/keeper/containers")
        .join(made.id.as_str())
        .join("config.json");
    let mut killed = 0;
    for number in 0..40 {
        let change = Change {
            name: Some(format!("name-{number}").parse().expect("a name")),
            limits: Limits {
                pids: Some(100 + number),
                ..Limits::default()
            },
            ..Change::default()
        };
        let request = Request::Change {
            container: made.id.clone(),
            change,
        };
        let number = client.send(request, &[]);
        // It may have done its work already.
        if let Some(pid) = (0..200).find_map(|_| worker()) {
            killed += i32::from(rustix::process::kill_process(pid, Signal::KILL).is_ok());
        }
        match client.answer(number).0 {
            Reply::Container(container) => {
                let written = std::fs::read_to_string(&record).expect("a record");
                assert!(written.contains(&format!("\"name\":\"{}\"", container.name)));
            }
            other => panic!("{other:?} after {killed}"),
        }
    }
    assert!(killed > 0);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}
