//! What is killed, and what that costs.

use porthole_protocol::container::ContainerState;
use porthole_protocol::id::ContainerId;
use porthole_protocol::journal::{Mark, Stream};
use porthole_protocol::keeper::{Reply, Request};
use porthole_protocol::session::{ExitKind, Target};

use crate::place::{
    self, IDLE, Place, alive, kill_process, nothing_left, session, spec, wait_until,
};

#[test]
fn every_line_arrives_once_while_keepers_and_readers_come_and_go() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    let output = place.journal("session");
    let opened = client
        .open(
            session(&made.id, &["sh", "-c", "seq 1 300000"], false),
            1,
            &output,
        )
        .expect("opened");
    let target = Target::Session(opened.id.clone());
    for turn in 0..8 {
        let number = client.send(
            Request::Attach {
                target: target.clone(),
            },
            &[],
        );
        let (reply, mut descriptors) = client.answer(number);
        if reply != Reply::Attached {
            break;
        }
        let reader = place::Attached::new(
            porthole_sys::packet::Packet::from_fd(descriptors.remove(0)).expect("packet"),
        );
        let mut relay = reader.relay();
        for _ in 0..turn * 3 {
            let _ = relay.pump(Stream::Stdout, 2).expect("pump");
        }
        if turn % 3 == 1 {
            drop(client);
            place.kill();
            place.start();
            client = place.connect();
            wait_until("the session is adopted", || {
                client.sessions().iter().any(|s| s.id == opened.id)
            });
        }
        drop((relay, reader));
    }
    wait_until("everything is in the journal", || {
        output.marks().last() == Some(&Mark::End(0))
    });
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(output.text() == expected, "a byte is missing or doubled");
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn a_killed_monitor_costs_what_it_watched_and_no_more() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    let running = client.start(&made.id, &journal);
    let pid = running.pid.expect("pid").0;
    let open = |client: &mut place::Client, number: u8, place: &Place| {
        client
            .open(
                session(&made.id, &["sleep", "1000"], false),
                number,
                &place.journal(&format!("session{number}")),
            )
            .expect("opened")
    };
    let lost = open(&mut client, 1, &place);
    let other = open(&mut client, 2, &place);
    kill_process(place.monitor(&Target::Session(lost.id.clone())));
    wait_until("the session is lost", || {
        client.sessions().iter().any(|session| {
            session.id == lost.id
                && session
                    .exit
                    .as_ref()
                    .is_some_and(|exit| exit.kind == ExitKind::Lost)
        })
    });
    wait_until("its process is ended", || {
        !alive(lost.host_pid.expect("pid").0)
    });
    assert!(alive(pid) && alive(other.host_pid.expect("pid").0));
    // The container's own, while there is no keeper.
    drop(client);
    place.kill();
    kill_process(place.monitor(&Target::Init(made.id.clone())));
    place.start();
    let mut client = place.connect();
    wait_until("the container is lost", || {
        client.look(&made.id).state == ContainerState::Exited
    });
    let exit = client.look(&made.id).exit.expect("exit");
    assert_eq!((exit.kind, exit.code), (ExitKind::Lost, 137));
    wait_until("its processes are ended", || !alive(pid));
    wait_until("so is its session", || {
        client
            .sessions()
            .iter()
            .all(|session| session.exit.is_some())
    });
    // It can run again.
    client.start(&made.id, &journal);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

#[test]
fn a_monitor_that_nobody_will_ask_for_waits_for_no_keeper() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let start = |client: &mut place::Client, name: &str| {
        let made = client.create(&spec(IDLE));
        client.start(&made.id, &place.journal(name));
        client.look(&made.id)
    };
    let forgotten = start(&mut client, "forgotten");
    let unfindable = start(&mut client, "unfindable");
    let kept = start(&mut client, "kept");
    drop(client);
    place.kill();
    // What uninstalling does, to one of them, and removing the program alone, to another.
    let directory = |id: &ContainerId| place.path("root/keeper/containers").join(id.as_str());
    std::fs::remove_dir_all(directory(&forgotten.id)).expect("removed");
    let all = [&forgotten, &unfindable, &kept];
    let monitors = all.map(|container| monitor_of(container.pid.expect("pid").0));
    for container in all {
        kill_process(container.pid.expect("pid").0);
    }
    wait_until("the others have written the end down", || {
        [&unfindable, &kept]
            .iter()
            .all(|container| directory(&container.id).join("exit.json").exists())
    });
    let socket = &unfindable.id.as_str()[..32];
    std::fs::remove_file(place.path("run/m").join(socket)).expect("removed");
    wait_until("those that nobody will ask for go", || {
        monitors.map(alive) == [false, false, true]
    });
    place.start();
    let mut client = place.connect();
    for container in [&unfindable, &kept] {
        wait_until("the end is told", || {
            client.look(&container.id).state == ContainerState::Exited
        });
        client.remove(&container.id);
    }
    nothing_left(&place, &kept.id);
}

#[test]
fn after_a_restart_of_the_machine_nothing_is_taken_for_running() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    let pid = client.start(&made.id, &journal).pid.expect("pid").0;
    let opened = client
        .open(
            session(&made.id, &["sleep", "1000"], false),
            1,
            &place.journal("session"),
        )
        .expect("opened");
    let keeper = place.path("root/keeper");
    let records = [
        keeper
            .join("containers")
            .join(made.id.as_str())
            .join("state.json"),
        keeper
            .join("sessions")
            .join(opened.id.as_str())
            .join("session.json"),
    ];
    wait_until("what runs is written down", || {
        records.iter().all(|path| {
            std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"host_pid\":"))
        })
    });
    drop(client);
    place.kill();
    // What a power cut would leave: records of another boot, dead sockets, a half-made container.
    for target in [
        Target::Session(opened.id.clone()),
        Target::Init(made.id.clone()),
    ] {
        kill_process(place.monitor(&target));
    }
    kill_process(pid);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    for path in &records {
        let text = std::fs::read_to_string(path).expect("record");
        assert!(text.contains(boot.trim()));
        std::fs::write(path, text.replace(boot.trim(), "another")).expect("write");
    }
    let half = keeper
        .join("containers")
        .join(ContainerId::from_bytes([7; 32]).as_str());
    std::fs::create_dir_all(half.join("upper/etc")).expect("half made");
    assert_eq!(place.monitors(), 2, "sockets at which nobody listens");
    place.start();
    let mut client = place.connect();
    let found = client.look(&made.id);
    assert_eq!(found.state, ContainerState::Exited);
    assert_eq!(found.exit.expect("exit").kind, ExitKind::Lost);
    let found = client.sessions().pop().expect("session");
    assert_eq!(found.exit.expect("exit").kind, ExitKind::Lost);
    assert_eq!(place.monitors(), 0);
    wait_until("the half-made container is deleted", || !half.exists());
    client.start(&made.id, &journal);
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}

/// The monitor of a process that it has started. Whoever connects to a monitor would be its keeper
/// from then on.
fn monitor_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a state");
    let parent = rest.split(' ').nth(1).expect("a parent");
    parent.parse().expect("a number")
}

#[test]
fn what_follows_an_adopted_monitor_waits_for_its_last_deed() {
    let Some(mut place) = Place::new() else {
        return;
    };
    let mut client = place.connect();
    let journal = place.journal("container");
    let made = client.create(&spec(IDLE));
    client.start(&made.id, &journal);
    for _ in 0..10 {
        // From now on its monitor is connected by its socket.
        drop(client);
        place.kill();
        place.start();
        client = place.connect();
        let mut first = None;
        wait_until("its monitor has said that it runs", || {
            first = client.look(&made.id).pid;
            first.is_some()
        });
        let old = monitor_of(first.expect("it runs").0);
        let request = Request::Restart {
            container: made.id.clone(),
            timeout_ms: 0,
        };
        let number = client.send(request, &journal.descriptors());
        let pid = match client.answer(number).0 {
            Reply::Container(container) => container.pid.expect("it runs").0,
            other => panic!("{other:?}"),
        };
        // Whoever it was left to may be slow to reap it.
        let stat = format!("/proc/{old}/stat");
        wait_until("the last run's monitor is gone", || {
            std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
        });
        assert!(alive(pid), "it has ended what came after it");
        assert_ne!(monitor_of(pid), old);
    }
    client.remove(&made.id);
    nothing_left(&place, &made.id);
}
