//! Sessions: a shell or command in a container, with a terminal or with pipes.

use std::time::{Duration, Instant};

use porthole_protocol::frame::ClientFrame;
use porthole_protocol::session::ExitKind;
use porthole_tests::instance::{pid, text};
use porthole_tests::terminal::Attach;
use porthole_tests::{Instance, PATIENCE, Terminal, host, wait_for};
use serde_json::json;

#[test]
fn a_shell_says_what_the_page_and_the_host_say() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "name": "web", "command": ["sleep", "infinity"],
    }));
    let (session, mut terminal) = porthole.shell(&container);
    let shell = pid(&session["host_pid"]);
    let inner = *host::pids(shell).last().expect("a PID");
    assert_eq!(session["container_pid"], inner);
    // However often the line itself is echoed, it says $$ and not the number.
    terminal.line("echo pid=$$ host=$(hostname) user=$(id -u) tty=$(tty) term=$TERM.");
    terminal.expect(&format!(
        "pid={inner} host=web user=0 tty=/dev/pts/0 term=xterm-256color."
    ));
    assert_eq!(
        host::namespaces(shell),
        host::namespaces(pid(&container["pid"]))
    );
    let process = wait_for("the shell among the processes", PATIENCE, || {
        let list = porthole
            .admin()
            .get(&format!("/api/v1/processes?host_pid={shell}"))
            .ok();
        let process = list["items"].get(0)?.clone();
        (process["tty"] == "pts/0").then_some(process)
    });
    assert_eq!(process["session"], session["id"], "{process}");

    terminal.line("stty size");
    terminal.expect("24 80");
    terminal.send(&ClientFrame::Resize {
        cols: 132,
        rows: 43,
    });
    terminal.wait("the new size", |t| (t.size.cols == 132).then_some(()));
    terminal.line("stty size");
    terminal.expect("43 132");

    terminal.line("exit 5");
    let exit = terminal.end();
    assert_eq!((exit.code, exit.kind), (5, ExitKind::Exited));
    let ended = porthole
        .admin()
        .get(&format!("/api/v1/sessions/{}", text(&session["id"])))
        .ok();
    assert_eq!(
        (&ended["state"], &ended["exit_code"]),
        (&json!("exited"), &json!(5))
    );
}

#[test]
fn colours_and_utf_8_and_control_keys_go_through() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let (_, mut terminal) = porthole.shell(&container);
    terminal.line("printf '\\033[31mrot\\033[0m \\342\\202\\254 \\360\\237\\220\\263\\n'");
    terminal.expect("\u{1b}[31mrot\u{1b}[0m € 🐳\r\n");
    terminal.line("sleep 1000; echo $?");
    terminal.expect("echo $?");
    std::thread::sleep(Duration::from_millis(200));
    terminal.input(b"\x03");
    terminal.line("echo after");
    terminal.expect("after\r\n");
    terminal.line("exit");
    terminal.end();
}

#[test]
fn pipes_keep_streams_apart_and_carry_the_end_of_input() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let run = porthole.exec(
        &container,
        &["sh", "-c", "echo out; sleep 0.1; echo err >&2; exit 3"],
    );
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str(), run.exit.code),
        ("out\n", "err\n", 3)
    );

    let session = porthole.session(&container, &json!({"command": ["md5sum"], "tty": false}));
    let mut terminal = Terminal::attach(porthole.admin(), &text(&session["id"]));
    assert!(!terminal.flags.tty);
    terminal.input(b"hello");
    terminal.send(&ClientFrame::EndOfInput);
    assert_eq!(terminal.end().code, 0);
    assert!(
        terminal
            .text()
            .starts_with("5d41402abc4b2a76b9719d911017c592"),
        "{}",
        terminal.text()
    );
}

#[test]
fn a_megabyte_pasted_arrives_whole() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(&container, &json!({"command": ["wc", "-c"], "tty": false}));
    let mut terminal = Terminal::attach(porthole.admin(), &text(&session["id"]));
    terminal.input(&vec![b'x'; 1 << 20]);
    terminal.wait("all of it accepted", |t| {
        (t.accepted == 1 << 20).then_some(())
    });
    terminal.send(&ClientFrame::EndOfInput);
    terminal.end();
    assert_eq!(terminal.text().trim(), "1048576");
}

#[test]
fn a_command_that_cannot_run_is_refused_with_126_or_127() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    porthole.sh(
        &container,
        "echo '#!/no/such/interpreter' > /bad; chmod +x /bad; echo text > /plain; mkdir /directory",
    );
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    for tty in [true, false] {
        for (command, code) in [
            ("no-such-command", 127),
            ("/no/such/path", 127),
            ("/plain", 126),
            ("/directory", 126),
            ("/bad", 127),
        ] {
            let error = porthole
                .admin()
                .post(&path, &json!({"command": [command], "tty": tty}))
                .refused(422);
            let told = error["exit_code"].as_i64();
            // Shells disagree whether a missing interpreter is "not found"; both are an answer.
            assert!(
                told == Some(code) || (command == "/bad" && told == Some(126)),
                "{command}: {error}"
            );
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|m| m.contains(command)),
                "{error}"
            );
        }
    }
    assert_eq!(porthole.sh(&container, "echo control"), "control");
}

#[test]
fn user_directory_and_environment_are_as_asked() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "command": ["sleep", "infinity"],
        "env": {"COLOUR": "green", "SHAPE": "round"}, "workdir": "/etc",
    }));
    let run = |spec: serde_json::Value| {
        let mut spec = spec;
        spec["command"] = json!([
            "sh",
            "-c",
            "echo $(id -u):$(id -g) $(pwd) $COLOUR $SHAPE $HOME"
        ]);
        spec["tty"] = json!(false);
        porthole
            .exec_with(&container, &spec)
            .stdout
            .trim()
            .to_owned()
    };
    assert!(run(json!({})).starts_with("0:0 /etc green round /"));
    assert!(run(json!({"env": {"SHAPE": "square"}})).starts_with("0:0 /etc green square"));
    assert!(run(json!({"user": "1234:99", "workdir": "/"})).starts_with("1234:99 / green round"));
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    for (spec, field) in [
        (
            json!({"command": ["true"], "user": "nobody-like-this"}),
            "user",
        ),
        (
            json!({"command": ["true"], "workdir": "/no/such/place"}),
            "workdir",
        ),
        (
            json!({"command": ["true"], "workdir": "/etc/passwd"}),
            "workdir",
        ),
    ] {
        let error = porthole.admin().post(&path, &spec).refused(422);
        assert_eq!(error["field"], field, "{error}");
    }
}

#[test]
fn the_shell_is_found_and_where_there_is_none_it_says_what_was_tried() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(&container, &json!({}));
    let command = text(&session["command"][0]);
    assert!(command.ends_with("sh"), "{session}");
    porthole
        .admin()
        .delete(&format!("/api/v1/sessions/{}", text(&session["id"])))
        .ok();

    porthole.sh(&container, "rm -f /bin/sh /bin/ash /bin/bash /usr/bin/sh");
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let error = porthole.admin().post(&path, &json!({})).refused(422);
    let tried: Vec<String> = error["tried"]
        .as_array()
        .expect("what was tried")
        .iter()
        .map(|t| text(&t["path"]))
        .collect();
    assert!(
        tried.iter().any(|path| path.ends_with("bash"))
            && tried.iter().any(|path| path.ends_with("/sh")),
        "{error}"
    );
}

#[test]
fn ending_a_session_leaves_no_process_of_it() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    let before = host::processes_in_cgroup(&id).len();
    let script = "trap '' TERM HUP; (trap '' TERM HUP; setsid sleep 1000 &) ; setsid sh -c 'sleep 1001 & sleep 1002' & sleep 1003";
    let session = porthole.session(&container, &json!({"command": ["sh", "-c", script]}));
    let sid = text(&session["id"]);
    wait_for("everything that it started", PATIENCE, || {
        (host::processes_in_cgroup(&id).len() == before + 4).then_some(())
    });
    let mut terminal = Terminal::attach(porthole.admin(), &sid);
    porthole
        .admin()
        .delete(&format!("/api/v1/sessions/{sid}"))
        .ok();
    let exit = terminal.end();
    assert_eq!(exit.kind, ExitKind::Ended);
    wait_for("no process of it", PATIENCE, || {
        (host::processes_in_cgroup(&id).len() == before).then_some(())
    });
    wait_for("the end of the session's group", PATIENCE, || {
        host::cgroups(&sid).is_empty().then_some(())
    });
    assert_eq!(porthole.container(&id)["state"], "running");
}

#[test]
fn a_shell_that_exits_leaves_what_it_put_in_the_background_until_the_session_is_ended() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    let session = porthole.session(&container, &json!({"command": ["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & exit 0"], "tty": false}));
    let sid = text(&session["id"]);
    let mut terminal = Terminal::attach(porthole.admin(), &sid);
    let end = terminal.end();
    assert_eq!(
        (end.code, end.reason.as_str()),
        (
            0,
            "exited with code 0; one process goes on in the background"
        )
    );
    let sleeps = || {
        host::processes_in_cgroup(&id)
            .into_iter()
            .filter(|&p| host::arguments(p).last().is_some_and(|a| a == "1000"))
            .count()
    };
    assert_eq!(sleeps(), 1);
    porthole
        .admin()
        .delete(&format!("/api/v1/sessions/{sid}"))
        .ok();
    wait_for("the background process's end", PATIENCE, || {
        (sleeps() == 0).then_some(())
    });
}

#[test]
fn an_ended_session_can_be_read_to_its_last_byte() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(
        &container,
        &json!({"command": ["seq", "1", "5000"], "tty": false}),
    );
    let id = text(&session["id"]);
    let whole: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    for _ in 0..2 {
        let mut terminal = Terminal::attach(porthole.admin(), &id);
        assert_eq!(terminal.end().code, 0);
        assert_eq!(terminal.text(), whole);
    }
    let raw = porthole
        .admin()
        .get(&format!("/api/v1/sessions/{id}/journal?format=raw"));
    assert_eq!(raw.status, 200, "{raw}");
    assert_eq!(raw.body, whole);
    let absent = "0".repeat(32);
    assert_eq!(
        Terminal::try_attach(porthole.admin(), &absent, &Attach::default())
            .err()
            .map(|status| status % 4000),
        Some(404)
    );
}

#[test]
fn when_devpts_is_full_the_answer_says_so() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let mut open = Vec::new();
    let refused = loop {
        let answer = porthole
            .admin()
            .post(&path, &json!({"command": ["sleep", "1000"]}));
        if answer.status != 201 {
            break answer;
        }
        open.push(text(&answer.json()["id"]));
        assert!(open.len() <= 16, "more terminals than its devpts has");
    };
    let error = refused.refused(429);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("terminal")),
        "{error}"
    );
    assert!(open.len() >= 15, "{} terminals", open.len());
    // One that ends makes room; pipes need none.
    assert_eq!(porthole.sh(&container, "echo fine"), "fine");
    porthole
        .admin()
        .delete(&format!("/api/v1/sessions/{}", open[0]))
        .ok();
    wait_for("room for another", PATIENCE, || {
        (porthole
            .admin()
            .post(&path, &json!({"command": ["sleep", "1000"]}))
            .status
            == 201)
            .then_some(())
    });
}

#[test]
fn a_watcher_types_nothing() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let (session, mut driver) = porthole.shell(&container);
    let id = text(&session["id"]);
    let watch = Attach {
        resume: Some(0),
        watch: true,
        ..Attach::default()
    };
    let mut watcher = Terminal::try_attach(porthole.admin(), &id, &watch).expect("attached");
    assert!(driver.flags.write && !watcher.flags.write);
    watcher.send(&ClientFrame::Input {
        seq: 0,
        bytes: b"echo intruder\n",
    });
    driver.line("echo one");
    driver.expect("one\r\n");
    watcher.expect("one\r\n");
    assert!(!driver.text().contains("intruder"), "{}", driver.text());
}

#[test]
fn a_dropped_connection_is_resumed_without_a_gap() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let (session, mut terminal) = porthole.shell(&container);
    let id = text(&session["id"]);
    // The quotes keep the echo of what is typed apart from what it outputs.
    terminal.line("echo fi''rst");
    terminal.expect("first\r\n");
    let (seq, viewer, mut whole) = (
        terminal.seq,
        terminal.viewer.clone(),
        terminal.output.clone(),
    );
    drop(terminal);
    let again = Attach {
        resume: Some(seq),
        viewer: Some(viewer.clone()),
        watch: false,
    };
    let mut terminal = Terminal::try_attach(porthole.admin(), &id, &again).expect("attached");
    assert_eq!(terminal.viewer, viewer, "the same viewer");
    assert_eq!(terminal.accepted, 13, "its input is known");
    terminal.line("echo sec''ond");
    terminal.expect("second\r\n");
    whole.extend(&terminal.output);
    // Input that is sent again from before what was accepted is not typed twice.
    terminal.send(&ClientFrame::Input {
        seq: 0,
        bytes: b"echo fi''rst\n",
    });
    terminal.line("echo th''ird");
    terminal.expect("third\r\n");
    assert_eq!(
        terminal.text().matches("first").count(),
        0,
        "{}",
        terminal.text()
    );

    let mut fresh =
        Terminal::try_attach(porthole.admin(), &id, &Attach::default()).expect("attached");
    fresh.wait("a snapshot", |t| t.snapshots.first().cloned());
    assert!(String::from_utf8_lossy(&fresh.snapshots[0]).contains("second"));
}

#[test]
fn a_viewer_that_does_not_read_holds_up_nobody_for_long() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(
        &container,
        &json!({"command": ["sh", "-c", "read x; seq 1 300000; echo finished"], "tty": true}),
    );
    let id = text(&session["id"]);
    let mut idle = Terminal::attach(porthole.admin(), &id);
    idle.acknowledges = false;
    let mut eager = Terminal::attach(porthole.admin(), &id);
    eager.line("");
    let begun = Instant::now();
    eager.expect("finished");
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    // The idle one still is connected, and gets at the end what it had missed.
    idle.acknowledges = true;
    idle.acknowledge();
    idle.end();
}

#[test]
fn bad_frames_and_sizes_are_answered_and_end_nothing() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let (session, mut terminal) = porthole.shell(&container);
    for (cols, rows) in [(0, 0), (70_000u32 as u16, 24), (u16::MAX, u16::MAX)] {
        terminal.send(&ClientFrame::Resize { cols, rows });
    }
    terminal.line("stty size");
    let answer = terminal.expect("\r\n");
    assert!(!answer.contains("65535"), "{answer}");
    terminal.send(&ClientFrame::Heartbeat(77));
    terminal.wait("the heartbeat's answer", |t| {
        t.heartbeats.contains(&77).then_some(())
    });
    terminal.send_bytes(vec![0x7f, 1, 2, 3]);
    assert_eq!(terminal.closed_within(PATIENCE), Some(1002));
    let mut again = Terminal::attach(porthole.admin(), &text(&session["id"]));
    again.send_bytes(vec![1; 100 * 1024]);
    assert!(matches!(
        again.closed_within(PATIENCE),
        Some(1002 | 1009) | None
    ));
    let mut again = Terminal::attach(porthole.admin(), &text(&session["id"]));
    again.line("echo alive");
    again.expect("alive\r\n");
}

#[test]
fn what_was_called_is_kept_with_its_times() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let birth = porthole
        .admin()
        .get(&format!(
            "/api/v1/containers/{}/trace",
            text(&container["id"])
        ))
        .ok();
    let calls = birth["steps"].to_string();
    for call in ["clone3", "pivot_root", "uid_map", "seccomp", "exec"] {
        assert!(calls.contains(call), "{call} in a birth: {calls}");
    }
    let (session, _terminal) = porthole.shell(&container);
    let join = porthole
        .admin()
        .get(&format!("/api/v1/sessions/{}/trace", text(&session["id"])))
        .ok();
    let steps = join["steps"].as_array().expect("steps");
    let calls = join["steps"].to_string();
    for call in ["setns", "seccomp", "exec"] {
        assert!(calls.contains(call), "{call} in a join: {calls}");
    }
    let times: Vec<u64> = steps
        .iter()
        .filter_map(|step| step["at_us"].as_u64())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}
