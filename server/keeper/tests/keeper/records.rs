//! Records that cannot be read: another version's, or damaged ones. What they are of is left alone.

use porthole_protocol::container::ContainerState;

use crate::place::{IDLE, Place, alive, nothing_left, session, spec, wait_until};

#[test]
fn what_has_a_record_that_cannot_be_read_is_neither_deleted_nor_ended() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journals = ["runs", "stopped"].map(|name| place.journal(name));
    let mut start = |first: &str, journal| {
        let made = client.create(&spec(&format!("echo kept > /kept; {first}{IDLE}")));
        client.start(&made.id, journal)
    };
    let runs = start("", &journals[0]);
    let stopped = start("exit 0; ", &journals[1]);
    let pid = runs.pid.expect("it runs").0;
    wait_until("one has ended", || {
        client.look(&stopped.id).state == ContainerState::Exited
    });
    let sessions = [1, 2].map(|number| {
        let journal = place.journal(&format!("session{number}"));
        let spec = session(&runs.id, &["sleep", "1000"], false);
        client.open(spec, number, &journal).expect("opened")
    });
    wait_until("only what runs has monitors", || place.monitors() == 3);
    drop(client);
    place.kill();

    let keeper = place.path("root/keeper");
    let directory = |id: &str| keeper.join("containers").join(id);
    let record = keeper
        .join("sessions")
        .join(sessions[0].id.as_str())
        .join("session.json");
    let records = [
        directory(runs.id.as_str()).join("config.json"),
        directory(stopped.id.as_str()).join("config.json"),
        record,
    ];
    let good = records
        .each_ref()
        .map(|path| std::fs::read(path).expect("a record"));
    // One of a version that knows more, one that a disk has lost, one that it has damaged.
    let text = String::from_utf8(good[0].clone()).expect("text");
    let newer = text.replacen("\"spec\":{", "\"spec\":{\"of_a_newer_version\":1,", 1);
    assert_ne!(newer, text);
    for (path, bad) in records.iter().zip([newer.as_str(), "", "{\"boot\":"]) {
        std::fs::write(path, bad).expect("written");
    }

    place.start();
    let mut client = place.connect();
    assert_eq!(client.containers(), []);
    // What is made meanwhile has ids of its own.
    let other = client.create(&spec(IDLE));
    client.remove(&other.id);
    for ids in [&runs, &stopped].map(|container| container.uid_map[0]) {
        let gap = other.uid_map[0].1.abs_diff(ids.1);
        assert!(gap >= 65_536, "{ids:?} {:?}", other.uid_map);
    }
    wait_until("what was to be deleted is", || {
        !directory(other.id.as_str()).exists()
    });
    drop(client);
    place.kill();
    assert!(alive(pid));
    for session in &sessions {
        assert!(alive(session.host_pid.expect("pid").0));
    }
    for container in [&runs, &stopped] {
        let kept = directory(container.id.as_str()).join("upper/root/kept");
        assert_eq!(std::fs::read_to_string(kept).expect("its file"), "kept\n");
    }

    // The version that wrote them, and whoever mended the disk.
    for (path, bytes) in records.iter().zip(&good) {
        std::fs::write(path, bytes).expect("written");
    }
    place.start();
    let mut client = place.connect();
    wait_until("it is taken over", || {
        client.look(&runs.id).state == ContainerState::Running
            && client
                .sessions()
                .iter()
                .filter(|one| one.exit.is_none())
                .count()
                == 2
    });
    assert_eq!(client.look(&runs.id).pid.expect("the same").0, pid);
    client.start(&stopped.id, &journals[1]);
    client.remove(&stopped.id);
    client.remove(&runs.id);
    nothing_left(&place, &runs.id);
}
