//! Whoever joins a container takes nothing of the host along and trusts nothing that is in there.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, Terminal, host, wait_for};
use serde_json::{Value, json};

#[test]
fn a_session_inherits_nothing_of_the_host() {
    let porthole = Instance::builder()
        .with("HOST_SECRET", "do-not-leak")
        .start();
    let container = porthole.sleeper();
    let environment = porthole.sh(&container, "env");
    for name in [
        "HOST_SECRET",
        "PORTHOLE",
        "LISTEN_FDS",
        "NOTIFY_SOCKET",
        "CARGO",
    ] {
        assert!(!environment.contains(name), "{environment}");
    }
    // ls itself has the directory open as the fourth.
    let descriptors = porthole.sh(&container, "ls /proc/self/fd | tr '\\n' ' '");
    assert_eq!(descriptors.trim(), "0 1 2 3");
    let init = porthole.sh(
        &container,
        "ls /proc/1/fd | tr '\\n' ' '; tr '\\0' '\\n' </proc/1/environ",
    );
    assert!(
        !init.contains("PORTHOLE") && !init.contains("HOST_SECRET"),
        "{init}"
    );
    // The same look at the keeper itself finds the secret.
    let keeper = host::environment(porthole.keeper_pid()).join("\n");
    assert!(
        keeper.contains("PORTHOLE"),
        "the control can see the variables: {keeper}"
    );
}

#[test]
fn a_joining_process_shows_nothing_of_the_host() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    // Something in the container watches every process that turns up, as closely as it can.
    let watcher = "while :; do for p in /proc/[0-9]*; do \
        case $p in /proc/1|/proc/$$) continue;; esac; \
        readlink $p/exe; readlink $p/cwd; readlink $p/root; \
        for f in $p/fd/*; do readlink $f; done; \
        tr '\\0' '\\n' <$p/environ; done; done 2>/dev/null >/tmp/seen";
    let session = porthole.session(
        &container,
        &json!({"command": ["sh", "-c", watcher], "tty": false}),
    );
    for _ in 0..40 {
        assert_eq!(porthole.sh(&container, "echo hello"), "hello");
    }
    porthole
        .admin()
        .delete(&format!("/api/v1/sessions/{}", text(&session["id"])))
        .ok();
    let seen = porthole.sh(&container, "sort -u /tmp/seen");
    assert!(seen.contains("/bin/"), "the watcher saw processes: {seen}");
    for secret in ["memfd", "PORTHOLE", "porthole-", "journal", "/proc/"] {
        let found: Vec<&str> = seen
            .lines()
            .filter(|line| line.contains(secret) && !line.starts_with("pipe:"))
            .collect();
        assert!(found.is_empty(), "{secret}: {found:?}");
    }
}

#[test]
fn a_user_is_looked_up_in_a_plain_small_file_only() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id_of = |user: &str| {
        porthole
            .exec_with(
                &container,
                &json!({"command": ["stat", "-c", "%u", "/proc/self/status"], "tty": false, "user": user}),
            )
            .stdout
    };
    porthole.sh(&container, "cp /etc/passwd /tmp/passwd; echo 'worker:x:1000:1000::/tmp:/bin/sh' >> /etc/passwd; echo '0:x:1001:1001::/:/bin/sh' >> /etc/passwd");
    assert_eq!(
        id_of("worker").trim(),
        "1000",
        "the control: a name that is there"
    );
    assert_eq!(id_of("0").trim(), "0", "digits are never a name");

    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    for (change, what) in [
        (
            "rm /etc/passwd; mkfifo /etc/passwd",
            "a pipe that nobody writes",
        ),
        (
            "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
            "an endless device",
        ),
        (
            "rm /etc/passwd; (cat /tmp/passwd; yes '# padding padding padding' | head -c 2000000; echo 'worker:x:1000:1000::/:/bin/sh') > /etc/passwd",
            "a huge file",
        ),
        ("rm /etc/passwd; mkdir /etc/passwd", "a directory"),
    ] {
        porthole.sh(&container, change);
        let begun = Instant::now();
        let error = porthole
            .admin()
            .post(&path, &json!({"command": ["id"], "user": "worker"}))
            .refused(422);
        assert_eq!(error["field"], "user", "{what}: {error}");
        assert!(begun.elapsed().as_secs() < 5, "{what} kept it waiting");
        // Numbers need no file.
        assert_eq!(id_of("1000").trim(), "1000", "{what}");
        porthole.sh(&container, "rm -rf /etc/passwd; cp /tmp/passwd /etc/passwd");
    }
}

#[test]
fn a_terminal_is_opened_on_a_real_devpts_only() {
    let porthole = Instance::start();
    for (change, what) in [
        (
            "rm -f /dev/ptmx; ln -s /dev/null /dev/ptmx",
            "another device",
        ),
        ("rm -f /dev/ptmx; mkfifo /dev/ptmx", "a pipe"),
        ("rm -f /dev/ptmx; touch /dev/ptmx", "a file"),
    ] {
        let container = porthole.sleeper();
        let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
        let control = porthole.session(&container, &json!({"command": ["tty"]}));
        assert!(control["id"].is_string());
        porthole.sh(&container, change);
        let begun = Instant::now();
        let answer = porthole.admin().post(&path, &json!({"command": ["tty"]}));
        assert!(begun.elapsed().as_secs() < 10, "{what} kept it waiting");
        let error = answer.refused(422);
        assert_eq!(error["stage"], "terminal", "{what}: {error}");
        assert!(text(&error["message"]).contains("/dev/ptmx"), "{error}");
        // Without a terminal it still works.
        assert_eq!(porthole.sh(&container, "echo fine"), "fine");
    }
}

/// A program that takes a lease on a file (F_SETLEASE, F_WRLCK: fcntl(2)) and does not give it up:
/// the kernel lets everyone else who opens the file wait for `fs.lease-break-time`, 45 seconds.
const HOLD: &str = r#"$SIG{IO} = "IGNORE"; open(F, "+<", $ARGV[0]) or die; fcntl(F, 1024, 1) or die "$!"; $| = 1; print "held\n"; sleep 1000"#;

/// Makes a file of a container one that cannot be opened for a while.
fn hold(porthole: &Instance, container: &Value, file: &str) -> Value {
    let spec = json!({"command": ["perl", "-e", HOLD, file], "tty": false});
    let session = porthole.session(container, &spec);
    let mut terminal = Terminal::attach(porthole.admin(), &text(&session["id"]));
    terminal.expect("held");
    session
}

#[test]
fn a_terminal_that_does_not_open_is_given_up_in_words() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({"image": "host", "command": ["sleep", "infinity"]}));
    porthole.sh(&container, "rm -f /dev/ptmx; touch /dev/ptmx");
    hold(&porthole, &container, "/dev/ptmx");
    let control = porthole.sh(&container, "timeout 1 sh -c ': <>/dev/ptmx'; echo $?");
    assert_eq!(control, "124", "the control: opening it waits");
    let id = text(&container["id"]);
    let before = host::processes_in_cgroup(&id);
    let path = format!("/api/v1/containers/{id}/sessions");
    let begun = Instant::now();
    let refused = thread::scope(|scope| {
        let asked = scope.spawn(|| porthole.admin().post(&path, &json!({"command": ["tty"]})));
        wait_for("a joiner that waits", PATIENCE, || {
            (host::processes_in_cgroup(&id).len() > before.len()).then_some(())
        });
        // Nobody else waits with it.
        assert_eq!(porthole.sh(&container, "echo fine"), "fine");
        assert!(!asked.is_finished(), "it waits");
        asked.join().expect("an answer")
    });
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    let error = refused.refused(422);
    assert_eq!(error["stage"], "terminal", "{error}");
    assert!(text(&error["message"]).contains("/dev/ptmx"), "{error}");
    wait_for("the end of its joiner", PATIENCE, || {
        (host::processes_in_cgroup(&id) == before).then_some(())
    });
}

/// Opening a terminal is given five seconds; some more for a machine that has much to do.
const DEADLINE: Duration = Duration::from_secs(15);

/// What can be seen of a process by its number, a word each: one that is dumpable, of the same
/// user, shows everything.
fn look(porthole: &Instance, container: &Value, number: i32) -> String {
    let script = format!(
        "cd /proc/{number} && for f in exe cwd root fd/0; do readlink $f >/dev/null && echo $f; done; \
        for f in environ maps auxv; do cat $f >/dev/null && echo $f; done"
    );
    porthole
        .exec(container, &["sh", "-c", &script])
        .stdout
        .replace('\n', " ")
}

#[test]
fn nobody_looks_into_a_joining_process_before_it_runs_the_command() {
    let porthole = Instance::builder()
        .with_policy("host_namespaces = true\n")
        .start();
    // As the machine's own root, so that neither another user nor fewer capabilities guard it.
    let container = porthole.create(&json!({
        "image": "host", "command": ["sleep", "infinity"], "namespaces": {"user": "host"},
    }));
    let id = text(&container["id"]);
    for tty in [false, true] {
        // What runs cannot be held a second time (ETXTBSY).
        let held = format!("/tmp/held-{tty}");
        porthole.sh(&container, &format!("cp /bin/sleep {held}"));
        let holder = hold(&porthole, &container, &held);
        let path = format!("/api/v1/containers/{id}/sessions");
        let release = format!("/api/v1/sessions/{}", text(&holder["id"]));
        let spec = json!({"command": [held, "1000"], "tty": tty});
        let session = thread::scope(|scope| {
            let asked = scope.spawn(|| porthole.admin().post(&path, &spec));
            // The kernel opens the command, and waits: confined already, and not executed yet.
            let (outer, inner) = wait_for("a process before its exec", PATIENCE, || {
                host::processes_in_cgroup(&id)
                    .into_iter()
                    .filter(|&pid| {
                        fs::read_link(format!("/proc/{pid}/exe"))
                            .is_ok_and(|exe| exe.to_string_lossy().contains("memfd:"))
                    })
                    .map(|pid| (pid, host::pids(pid)))
                    .find(|(_, pids)| pids.len() == 2 && pids[1] != 1)
                    .map(|(pid, pids)| (pid, pids[1]))
            });
            assert_eq!(look(&porthole, &container, inner), "", "tty {tty}");
            assert!(
                fs::read_link(format!("/proc/{outer}/exe"))
                    .is_ok_and(|exe| exe.to_string_lossy().contains("memfd:")),
                "it has waited all the while"
            );
            porthole.admin().delete(&release).ok();
            wait_for("its exec", PATIENCE, || {
                (host::arguments(outer).first()? == &held).then_some(())
            });
            assert_eq!(
                look(&porthole, &container, inner),
                "exe cwd root fd/0 environ maps auxv ",
                "the control: the same look at the command, tty {tty}"
            );
            asked.join().expect("an answer").ok()
        });
        // It was so before it entered the first namespace.
        let trace = porthole
            .admin()
            .get(&format!("/api/v1/sessions/{}/trace", text(&session["id"])))
            .ok();
        let steps = trace["steps"].as_array().expect("steps");
        let place = |beginning: &str| {
            steps
                .iter()
                .position(|step| {
                    step["actor"] == "joiner" && text(&step["call"]).starts_with(beginning)
                })
                .unwrap_or_else(|| panic!("{beginning} in {trace}"))
        };
        assert!(place("prctl(PR_SET_DUMPABLE, 0)") < place("setns("));
    }
}

#[test]
fn after_every_change_of_ids_nobody_looks_into_a_joining_process() {
    // Why: the kernel then sets what this says, whatever was set before.
    let script = "import ctypes, os; prctl = ctypes.CDLL(None).prctl; prctl(4, 1, 0, 0, 0); \
        os.setresuid(1000, 1000, 1000); print(prctl(3, 0, 0, 0, 0))";
    let shown = std::process::Command::new("python3")
        .args(["-c", script])
        .output()
        .expect("python3");
    let system = fs::read_to_string("/proc/sys/fs/suid_dumpable").expect("procfs");
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), system.trim());

    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    let mut traces = vec![format!("/api/v1/containers/{id}/trace")];
    for tty in [false, true] {
        let spec = json!({"command": ["true"], "user": "1000", "tty": tty});
        let session = porthole.session(&container, &spec);
        traces.push(format!("/api/v1/sessions/{}/trace", text(&session["id"])));
    }
    for trace in traces {
        let trace = porthole.admin().get(&trace).ok();
        let calls: Vec<String> = trace["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .filter(|step| step["actor"] == "joiner" || step["actor"] == "init")
            .map(|step| text(&step["call"]))
            .collect();
        let changes = calls.iter().enumerate().filter(|(_, call)| {
            call.starts_with("setresuid(")
                || call.starts_with("setns(") && call.contains("CLONE_NEWUSER")
        });
        let mut count = 0;
        for (place, call) in changes {
            let next = calls.get(place + 1).map(String::as_str);
            assert_eq!(next, Some("prctl(PR_SET_DUMPABLE, 0)"), "after {call}");
            count += 1;
        }
        assert!(count >= 2, "{calls:?}");
    }
}
