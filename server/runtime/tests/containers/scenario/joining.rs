//! Sessions.

use std::fs;

use porthole_protocol::id::SessionId;
use porthole_protocol::keeper::{FailureCode, Stage};
use porthole_protocol::session::Whose;
use porthole_runtime::Console;

use super::{HOST_SLEEP, SLEEP, Scenario};
use crate::bench::{Bench, kill, master, read_all, read_until, wait, write};

pub(super) const ALL: &[Scenario] = &[
    (
        "a_session_has_the_containers_first_terminal",
        a_session_has_the_first_terminal,
    ),
    (
        "a_session_is_seen_from_both_sides",
        a_session_is_seen_from_both_sides,
    ),
    (
        "pipes_keep_streams_apart_and_end",
        pipes_keep_streams_apart_and_end,
    ),
    ("a_shell_is_looked_for", a_shell_is_looked_for),
    (
        "a_session_has_its_user_workdir_and_environment",
        a_session_has_its_user,
    ),
    (
        "nothing_of_the_machine_is_inherited",
        nothing_of_the_machine_is_inherited,
    ),
    (
        "ending_a_session_ends_what_it_left_behind",
        ending_a_session_ends_all,
    ),
    (
        "a_terminal_more_than_there_are_is_told",
        a_terminal_more_than_there_are_is_told,
    ),
    (
        "a_container_that_has_ended_is_not_entered",
        a_container_that_has_ended_is_not_entered,
    ),
    (
        "some_namespaces_may_be_left_out",
        some_namespaces_may_be_left_out,
    ),
];

fn a_session_has_the_first_terminal(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let session = bench.join(&made, &init, r#"{"tty":true}"#);
    assert_eq!(session.tty_name.as_deref(), Some("/dev/pts/0"));
    write(&session.console, "tty; echo en''ded\n");
    let mut text = String::new();
    read_until(master(&session.console), &mut text, |text| {
        text.contains("ended")
    });
    assert!(text.contains("/dev/pts/0"), "{text}");
    kill(&session.pidfd, 9);
    assert_eq!(wait(&session.pidfd), 137);
    bench.end(&made, init);
}

fn a_session_is_seen_from_both_sides(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let session = bench.join(&made, &init, r#"{"tty":true,"command":["sh"]}"#);
    write(&session.console, "echo pid=$$.\n");
    let expected = format!("pid={}.", session.container_pid);
    let mut text = String::new();
    read_until(master(&session.console), &mut text, |text| {
        text.contains(&expected)
    });
    let status = fs::read_to_string(format!("/proc/{}/status", session.host_pid)).expect("status");
    let own = std::process::id();
    assert!(
        status.contains(&format!("PPid:\t{own}\n")),
        "the monitor is its parent: {status}"
    );
    for kind in porthole_protocol::namespace::NamespaceType::ALL {
        let of = |pid| fs::read_link(format!("/proc/{pid}/ns/{}", kind.name())).expect("namespace");
        assert_eq!(of(session.host_pid), of(init.host_pid), "{kind}");
    }
    let group = fs::read_to_string(format!("/proc/{}/cgroup", session.host_pid)).expect("cgroup");
    let below = format!("0::{}/", bench.cgroups.path(&made.id));
    assert!(
        group.lines().any(|line| line.starts_with(&below)),
        "{group}"
    );
    bench.end(&made, init);
}

fn pipes_keep_streams_apart_and_end(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let session = bench.join(
        &made,
        &init,
        r#"{"tty":false,"command":["sh","-c","cat; echo lost >&2; exit 5"]}"#,
    );
    let Console::Pipes {
        stdin,
        stdout,
        stderr,
    } = session.console
    else {
        panic!("no terminal was asked for");
    };
    rustix::io::write(&stdin, b"through").expect("write");
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    read_until(&stdout, &mut out, |_| false);
    read_until(&stderr, &mut err, |_| false);
    assert_eq!((out.as_str(), err.as_str()), ("through", "lost\n"));
    assert_eq!(wait(&session.pidfd), 5);
    bench.end(&made, init);
}

fn a_shell_is_looked_for(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    bench.run(
        &made,
        &init,
        &[
            "sed",
            "-i",
            "s,^root.*,root:x:0:0::/root:/bin/zsh,",
            "/etc/passwd",
        ],
    );
    let session = bench.join(&made, &init, r#"{"tty":true}"#);
    let tried: Vec<&str> = session.tried.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(tried, ["/bin/zsh", "bash"]);
    assert_eq!(session.command, ["/bin/ash"]);
    bench.run(&made, &init, &["rm", "/bin/sh", "/bin/ash"]);
    let failure = bench
        .try_join(&made, &init, r#"{"tty":true}"#)
        .expect_err("no shell");
    assert_eq!(failure.code, FailureCode::CommandNotFound);
    let tried: Vec<&str> = failure.tried.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(tried, ["/bin/zsh", "bash", "ash", "sh"]);
    bench.end(&made, init);
}

fn a_session_has_its_user(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"env":{"A":"1","B":"1"}}"#,
    );
    let init = bench.start(&made);
    for tty in [false, true] {
        let session = bench.join(
            &made,
            &init,
            &format!(
                r#"{{"tty":{tty},"user":"user","workdir":"/tmp","env":{{"B":"2"}},
                    "command":["sh","-c","id; pwd; echo $A$B $HOME $PATH; echo x > mine; echo again > /dev/stdout"]}}"#
            ),
        );
        let text = read_all(&session.console);
        for part in [
            "uid=1000(user) gid=1000(user) groups=100(users)",
            "/tmp",
            "12 /home/user /usr/local/sbin:",
            "again",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(wait(&session.pidfd), 0, "{text}");
    }
    let (text, _) = bench.run(&made, &init, &["stat", "-c", "%u", "/tmp/mine"]);
    assert_eq!(text, "1000\n");
    bench.end(&made, init);
}

fn nothing_of_the_machine_is_inherited(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    for tty in [false, true] {
        let spec = format!(
            r#"{{"tty":{tty},"command":["bash","-c","env | sort; pwd; ls -l /proc/self/fd; cat /proc/self/mountinfo; cat /proc/keys | wc -l"]}}"#
        );
        let session = bench.join(&made, &init, &spec);
        let text = read_all(&session.console);
        wait(&session.pidfd);
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim_end().split_once('=').map(|(name, _)| name))
            .filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
            .collect();
        for name in &names {
            let known = [
                "COLORTERM",
                "HOME",
                "HOSTNAME",
                "LANG",
                "PATH",
                "PWD",
                "SHELL",
                "SHLVL",
                "TERM",
                "_",
            ];
            assert!(known.contains(name), "{name} in {text}");
        }
        let links = text.lines().filter(|line| line.contains(" -> ")).count();
        // Three, and the directory that ls reads.
        assert_eq!(links, 4, "{text}");
        assert!(
            !text.contains("/tmp/porthole"),
            "no path of the machine: {text}"
        );
    }
    let links = fs::read_dir(format!("/proc/{}/fd", init.host_pid))
        .expect("fd")
        .count();
    assert_eq!(links, 3, "init's descriptors");
    bench.end(&made, init);
}

fn ending_a_session_ends_all(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let session = SessionId::from_bytes([7; 16]);
    let joined = bench
        .join_as(
            &session,
            &made,
            &init,
            r#"{"tty":false,"command":["sh","-c","setsid sleep 4242 > /dev/null 2>&1 & exit 0"]}"#,
        )
        .expect("a session");
    assert_eq!(wait(&joined.pidfd), 0);
    let (text, _) = bench.run(&made, &init, &["ps"]);
    assert!(text.contains("sleep 4242"), "it goes on: {text}");
    assert!(
        !bench
            .cgroups
            .remove_session(&made.id, &session)
            .expect("looked at")
    );
    bench
        .cgroups
        .kill_session(&made.id, &session)
        .expect("killed");
    let begun = std::time::Instant::now();
    while !bench
        .cgroups
        .remove_session(&made.id, &session)
        .expect("looked at")
    {
        assert!(
            begun.elapsed() < crate::bench::PATIENCE,
            "the group stays full"
        );
        std::thread::yield_now();
    }
    let (text, _) = bench.run(&made, &init, &["ps"]);
    assert!(!text.contains("sleep 4242"), "{text}");
    assert!(text.contains("sleep 1000"), "its neighbour lives: {text}");
    bench.end(&made, init);
}

fn a_terminal_more_than_there_are_is_told(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let mut sessions = Vec::new();
    let failure = loop {
        match bench.try_join(&made, &init, r#"{"tty":true,"command":["sleep","1000"]}"#) {
            Ok(session) => sessions.push(session),
            Err(failure) => break failure,
        }
        assert!(sessions.len() <= 16, "there are but sixteen");
    };
    assert_eq!(sessions.len(), 16);
    assert_eq!(failure.code, FailureCode::Exhausted, "{failure:?}");
    assert_eq!(failure.stage, Some(Stage::Terminal));
    assert!(
        failure.message.contains("terminals are in use"),
        "{failure}"
    );
    let (text, _) = bench.run(&made, &init, &["echo", "pipes"]);
    assert_eq!(text, "pipes\n", "without a terminal there is room");
    bench.end(&made, init);
}

fn a_container_that_has_ended_is_not_entered(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let mut init = bench.start(&made);
    init.start_ticks += 1;
    let failure = bench.try_join(&made, &init, r#"{"tty":false,"command":["true"]}"#);
    assert_eq!(
        failure.expect_err("another process").code,
        FailureCode::WrongState
    );
    init.start_ticks -= 1;
    let net = init.namespaces.net.take();
    init.namespaces.net = Some(porthole_protocol::id::NamespaceInode(1));
    let failure = bench.try_join(&made, &init, r#"{"tty":false,"command":["true"]}"#);
    assert_eq!(
        failure.expect_err("other namespaces").code,
        FailureCode::WrongState
    );
    init.namespaces.net = net;
    bench.run(&made, &init, &["true"]);
    bench.kill(&made, &init);
    let failure = bench.try_join(&made, &init, r#"{"tty":false,"command":["true"]}"#);
    assert_eq!(
        failure.expect_err("it has ended").code,
        FailureCode::WrongState
    );
    bench.remove(&made);
}

fn some_namespaces_may_be_left_out(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let join =
        r#"{"tty":false,"command":["hostname"],"join":["mnt","ipc","pid","net","user","cgroup"]}"#;
    let session = bench.join(&made, &init, join);
    let own = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    assert_eq!(read_all(&session.console).trim(), own);
    wait(&session.pidfd);
    // With the machine's files, processes and users: what it may do is as little as ever.
    let spec = r#"{"tty":false,"command":["/bin/cat","/proc/self/status"],"join":["net"]}"#;
    let session = bench.join(&made, &init, spec);
    let status = read_all(&session.console);
    wait(&session.pidfd);
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t00000000a80425fb"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    for (kind, namespace) in session.joined.iter() {
        let own = kind == porthole_protocol::namespace::NamespaceType::Net;
        let whose = if own { Whose::Container } else { Whose::Host };
        assert_eq!(namespace.whose, whose, "{kind}");
    }
    // None of the container's own makes no session in it.
    for join in ["[]", r#"["time"]"#] {
        let spec = format!(r#"{{"tty":false,"command":["true"],"join":{join}}}"#);
        let failure = bench.try_join(&made, &init, &spec).expect_err("refused");
        assert_eq!(failure.field.as_deref(), Some("join"), "{join}");
    }
    bench.end(&made, init);
}
