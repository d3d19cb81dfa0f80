//! Processes that come, change and go, and how that is told.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Update;

use super::view::{Kept, PATIENCE, View, program};
use super::{exists, settled, spawn, start};

#[test]
fn five_thousand_short_processes_leave_no_ghost() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let script = "i=0; while [ $i -lt 5000 ]; do /bin/true; i=$((i+1)); done; exec sleep 1000";
    let mut shell = spawn("sh", &["-c", script]);
    let pid = shell.pid();
    view.until("the shell is done", |view| {
        view.process(pid)
            .is_some_and(|process| process.command == "sleep")
    });
    assert!(shell.0.try_wait().expect("waited").is_none());
    let ghosts = |view: &View| {
        let gone = |pid: &&HostPid| !exists(**pid);
        view.processes.keys().filter(gone).count()
    };
    let took = view.until("no ghost is left", |view| ghosts(view) == 0);
    eprintln!("the last ghost was gone {took:?} after the last process");
    assert!(took < Duration::from_secs(2), "ghosts stay for {took:?}");
    let children = |view: &View| {
        view.processes
            .values()
            .filter(|p| p.parent == Some(pid))
            .count()
    };
    assert_eq!(children(&view), 0);
}

#[test]
fn a_change_is_told_at_once() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    view.until("the kernel has answered", |view| view.notice.is_none());
    let mut born = Vec::new();
    let mut died = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        let sleep = spawn("sleep", &["1000"]);
        let pid = sleep.pid();
        view.until("it runs", |view| {
            view.process(pid).is_some_and(|p| p.command == "sleep")
        });
        born.push(begun.elapsed());
        let begun = Instant::now();
        drop(sleep);
        view.until("it is gone", |view| view.process(pid).is_none());
        died.push(begun.elapsed());
    }
    born.sort();
    died.sort();
    eprintln!(
        "start to update {:?} (median), end to update {:?}",
        born[5], died[5]
    );
    assert!(born[5] < Duration::from_millis(200), "{born:?}");
    assert!(died[5] < Duration::from_millis(200), "{died:?}");
}

#[test]
fn a_zombie_is_one_until_its_parent_asks() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let parent = spawn("sh", &["-c", "sleep 0.2 & exec sleep 1000"]);
    let pid = parent.pid();
    let zombie = |view: &View| {
        let found = view
            .processes
            .values()
            .find(|p| p.parent == Some(pid) && p.state == 'Z');
        found.map(|process| process.host_pid)
    };
    view.until("its child is a zombie", |view| zombie(view).is_some());
    let child = zombie(&view).expect("told");
    drop(parent);
    view.until("both are gone", |view| {
        view.process(pid).is_none() && (view.process(child).is_none() || exists(child))
    });
}

#[test]
fn an_orphan_has_another_parent() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let mut parent = spawn("sh", &["-c", "sleep 1000 & echo; wait"]);
    let pid = parent.pid();
    view.until("its child runs", |view| view.below(pid, "sleep").is_some());
    let child = view.below(pid, "sleep").expect("told").host_pid;
    parent.0.kill().expect("killed");
    parent.0.wait().expect("reaped");
    view.until("the child has another parent", |view| {
        view.process(child)
            .is_some_and(|process| process.parent != Some(pid))
    });
    let child = rustix::process::Pid::from_raw(child.0).expect("a PID");
    rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("killed");
}

#[test]
fn who_does_not_read_loses_nothing() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let script = "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done";
    for _ in 0..2 {
        assert!(
            spawn("sh", &["-c", script])
                .0
                .wait()
                .expect("ran")
                .success()
        );
    }
    let last = spawn("sleep", &["1000"]);
    view.until("the last one is told", |view| {
        view.process(last.pid()).is_some()
    });
    view.until("no ghost is left", |view| {
        view.processes.keys().all(|pid| exists(*pid))
    });
}

#[test]
fn it_ends_when_the_receiver_hangs_up() {
    let mut view = start();
    settled(&mut view);
    let begun = Instant::now();
    assert!(view.end().is_ok_and(|status| status.success()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Also with more to tell than the socket holds.
    assert!(start().end().is_ok_and(|status| status.success()));
}

#[test]
fn without_events_it_looks_every_second_and_says_so() {
    needs_root!();
    let mut command = Command::new("unshare");
    command
        .arg("--net")
        .arg(program("observe"))
        .stdout(Stdio::piped());
    let mut observer = Kept(command.spawn().expect("spawned"));
    let lines = std::io::BufReader::new(observer.0.stdout.take().expect("piped"));
    let (sender, updates) = channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(lines).map_while(Result::ok) {
            let update: Update = serde_json::from_str(&line).expect("an update");
            if sender.send(update).is_err() {
                break;
            }
        }
    });
    let first = updates.recv_timeout(PATIENCE).expect("an update");
    assert!(
        first.full
            && first
                .notice
                .is_some_and(|notice| notice.contains("every 1 seconds"))
    );
    let sleep = spawn("sleep", &["1000"]);
    let begun = Instant::now();
    while !updates
        .recv_timeout(PATIENCE)
        .expect("an update")
        .processes
        .iter()
        .any(|process| process.host_pid == sleep.pid())
    {
        assert!(begun.elapsed() < PATIENCE);
    }
    eprintln!("found by looking after {:?}", begun.elapsed());
}
