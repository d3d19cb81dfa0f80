//! Requests that cannot be done: told in words, and nothing stays.

use std::fs;

use porthole_protocol::keeper::{Failure, FailureCode, Stage};

use porthole_runtime::Swept;

use super::{HOST_SLEEP, SLEEP, Scenario};
use crate::bench::{Bench, wait};

pub(super) const ALL: &[Scenario] = &[
    (
        "a_command_that_cannot_run_is_told",
        a_command_that_cannot_run_is_told,
    ),
    (
        "a_start_that_fails_leaves_nothing",
        a_start_that_fails_leaves_nothing,
    ),
    (
        "limits_that_are_too_small_are_told",
        limits_that_are_too_small_are_told,
    ),
    (
        "groups_that_nobody_removed_are_swept",
        groups_that_nobody_removed_are_swept,
    ),
    (
        "no_account_database_of_a_container_is_asked",
        no_account_database_is_asked,
    ),
];

fn field(failure: &Failure) -> &str {
    failure.field.as_deref().unwrap_or("none")
}

fn a_command_that_cannot_run_is_told(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    bench.run(
        &made,
        &init,
        &[
            "sh",
            "-c",
            "cd /tmp; echo '#!/no/such' > lost; echo x > text; echo '#!/bin/sh' > plain; \
            printf '\\177ELF\\001' > half; chmod 755 lost text half; mkdir dir",
        ],
    );
    for (command, code) in [
        ("no-such-command", FailureCode::CommandNotFound),
        ("/no/such", FailureCode::CommandNotFound),
        ("/tmp/lost", FailureCode::CommandNotFound),
        ("", FailureCode::CommandNotFound),
        ("/tmp/text", FailureCode::NotExecutable),
        ("/tmp/plain", FailureCode::NotExecutable),
        ("/tmp/half", FailureCode::NotExecutable),
        ("/tmp/dir", FailureCode::NotExecutable),
        ("/etc/passwd", FailureCode::NotExecutable),
    ] {
        for tty in [false, true] {
            let spec = serde_json::json!({"tty": tty, "command": [command]});
            let failure = bench
                .try_join(&made, &init, &spec.to_string())
                .err()
                .unwrap_or_else(|| panic!("{command} ran"));
            assert_eq!(failure.code, code, "{command}: {failure}");
            assert_eq!(field(&failure), "command");
            assert_eq!(failure.stage, Some(Stage::Exec));
        }
    }
    for (spec, name) in [
        (
            r#"{"tty":true,"command":["true"],"user":"nobody-here"}"#,
            "user",
        ),
        (
            r#"{"tty":true,"command":["true"],"user":"root:nobodies"}"#,
            "user",
        ),
        (
            r#"{"tty":true,"command":["true"],"workdir":"/no/such"}"#,
            "workdir",
        ),
        (
            r#"{"tty":true,"command":["true"],"workdir":"/etc/passwd"}"#,
            "workdir",
        ),
        (
            r#"{"tty":true,"command":["true"],"workdir":"/root","user":"user"}"#,
            "workdir",
        ),
        (
            r#"{"tty":true,"command":["true"],"workdir":"/proc/self/fd/3"}"#,
            "workdir",
        ),
    ] {
        let failure = bench.try_join(&made, &init, spec).expect_err("refused");
        assert_eq!(failure.code, FailureCode::Invalid, "{spec}: {failure}");
        assert_eq!(field(&failure), name, "{spec}");
    }
    let path = format!("/sys/fs/cgroup/unified{}", bench.cgroups.path(&made.id));
    if let Ok(entries) = fs::read_dir(path) {
        let sessions = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count();
        // The one session that ran has ended, and is its monitor's to remove.
        assert_eq!(sessions, 1, "refused sessions have left groups");
    }
    bench.end(&made, init);
}

fn a_start_that_fails_leaves_nothing(bench: &mut Bench) {
    for (json, name) in [
        (
            r#"{"image":"busybox","init":false,"command":["no-such"]}"#,
            "command",
        ),
        (r#"{"image":"host","command":["no-such"]}"#, "command"),
        (
            r#"{"image":"busybox","command":["true"],"init":false,"user":"who"}"#,
            "user",
        ),
        (
            r#"{"image":"busybox","command":["true"],"init":false,"workdir":"/no"}"#,
            "workdir",
        ),
    ] {
        let made = bench.create(json);
        let failure = bench.try_start(&made).expect_err("refused");
        assert_eq!(field(&failure), name, "{json}: {failure}");
        let waited = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        assert!(
            matches!(waited, Err(rustix::io::Errno::CHILD)),
            "a child is left: {waited:?}"
        );
        bench.remove(&made);
    }
}

fn limits_that_are_too_small_are_told(bench: &mut Bench) {
    let made = bench.create(r#"{"image":"host","command":["true"],"limits":{"pids":1}}"#);
    let failure = bench
        .try_start(&made)
        .expect_err("init and its command are two");
    assert_eq!(failure.code, FailureCode::Exhausted, "{failure:?}");
    bench.remove(&made);

    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"limits":{"pids":2}}"#,
    );
    let init = bench.start(&made);
    for tty in [false, true] {
        let spec = format!(r#"{{"tty":{tty},"command":["true"]}}"#);
        let failure = bench.try_join(&made, &init, &spec).expect_err("a third");
        assert_eq!(failure.code, FailureCode::Exhausted, "{failure:?}");
        assert!(failure.message.contains("limit of processes"), "{failure}");
    }
    bench.end(&made, init);
}

/// libc's account functions would load what `/etc/nsswitch.conf` names, as the machine's root.
/// Reading it here means waiting for ever.
fn no_account_database_is_asked(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    bench.run(
        &made,
        &init,
        &["bash", "-c", "echo 'x:x:77:77::/nowhere:/no/shell' >> /etc/passwd; rm /etc/nsswitch.conf; mkfifo /etc/nsswitch.conf"],
    );
    let (_, code) = bench.run(&made, &init, &["timeout", "0.3", "getent", "passwd", "x"]);
    assert_eq!(code, 124, "the control waits");
    for user in ["x", "0", "4242"] {
        let spec = format!(r#"{{"tty":true,"user":"{user}","command":["/bin/true"]}}"#);
        let session = bench.join(&made, &init, &spec);
        assert_eq!(wait(&session.pidfd), 0, "{user}");
    }
    bench.end(&made, init);
}

fn groups_that_nobody_removed_are_swept(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let session = "11111111111111111111111111111111".parse().expect("an id");
    bench
        .cgroups
        .create_session(&made.id, &session)
        .expect("a group");
    let find = |name: &str| {
        let found = std::process::Command::new("find")
            .args(["/sys/fs/cgroup", "-name", name])
            .output()
            .expect("find");
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    // While somebody looks after them.
    bench.cgroups.sweep(|_| true).expect("swept");
    assert_ne!(find(session.as_str()), "");
    // A session's goes once its records have, and nothing is in it.
    let known = |group: Swept<'_>| matches!(group, Swept::Container(_));
    bench.cgroups.sweep(known).expect("swept");
    assert_eq!(find(session.as_str()), "");
    assert_ne!(find(made.id.as_str()), "");
    // What runs is not ended, whoever knows of it.
    bench.cgroups.sweep(|_| false).expect("swept");
    assert_ne!(find(made.id.as_str()), "");
    assert!(fs::exists(format!("/proc/{}/exe", init.host_pid)).expect("procfs"));
    // As whoever is killed leaves them.
    bench.kill(&made, &init);
    let other = bench.create(SLEEP);
    bench
        .cgroups
        .create(&other.id, &other.spec.limits)
        .expect("groups");
    bench.cgroups.sweep(|_| false).expect("swept");
    for id in [&made.id, &other.id] {
        assert_eq!(find(id.as_str()), "");
    }
    // Nothing is left to be removed, the instance's own group neither.
    bench.cgroups.sweep(|_| false).expect("swept");
    bench.remove(&made);
    bench.remove(&other);
}
