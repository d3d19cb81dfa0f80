//! A container's life: created, running, stopped, started again, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use porthole_protocol::namespace::NamespaceType;
use porthole_tests::instance::{pid, text};
use porthole_tests::{Events, Instance, PATIENCE, host, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn a_running_container_has_the_namespaces_that_the_kernel_says() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "name": "web", "command": ["sleep", "infinity"],
    }));
    assert_eq!(container["state"], "running", "{container}");
    assert_eq!(container["name"], "web");
    let init = pid(&container["pid"]);
    let (inside, ours) = (
        host::namespaces(init),
        host::namespaces(porthole.serve_pid()),
    );
    assert_eq!(inside.len(), 8, "{inside:?}");
    for kind in NamespaceType::ALL {
        let name = kind.name();
        let told = &container["namespaces"][name];
        assert_eq!(told["inode"], inside[name], "{name}: {told}");
        let isolation = if kind == NamespaceType::Time {
            "host"
        } else {
            "own"
        };
        assert_eq!(told["isolation"], isolation, "{name}: {told}");
        assert_eq!(inside[name] == ours[name], isolation == "host", "{name}");
    }
    assert_eq!(host::pids(init).last(), Some(&1), "it is PID 1 inside");

    let map = host::id_map(init, "uid_map");
    assert_eq!(container["uid_map"], json!(map));
    assert_eq!(container["gid_map"], json!(host::id_map(init, "gid_map")));

    // What a shell inside says of its namespaces is what the page says.
    let links = porthole.sh(
        &container,
        "for t in mnt uts ipc pid net user cgroup time; do readlink /proc/self/ns/$t; done",
    );
    for (line, kind) in links.lines().zip(NamespaceType::ALL) {
        assert_eq!(line, format!("{kind}:[{}]", inside[kind.name()]));
    }
    assert_eq!(porthole.sh(&container, "hostname"), "web");
}

#[test]
fn its_processes_are_numbered_from_both_sides() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "command": ["sh", "-c", "sleep 1000 & sleep 2000 & wait"],
    }));
    let id = text(&container["id"]);
    // What has just been forked is not yet the program that it becomes.
    let said = |process: &Value| {
        let number = pid(&process["host_pid"]);
        process["args"] == json!(host::arguments(number))
    };
    let told = wait_for("three processes and init as they are", PATIENCE, || {
        let list = porthole
            .admin()
            .get(&format!("/api/v1/containers/{id}/processes"))
            .ok();
        let items = list["items"].as_array().expect("items").clone();
        (items.len() == 4 && items.iter().all(said)).then_some(items)
    });
    let expected: BTreeSet<i32> = host::processes_in_cgroup(&id).into_iter().collect();
    let listed: BTreeSet<i32> = told
        .iter()
        .map(|process| pid(&process["host_pid"]))
        .collect();
    assert_eq!(listed, expected);
    for process in &told {
        let number = pid(&process["host_pid"]);
        assert_eq!(process["pids"], json!(host::pids(number)), "{process}");
        let uids = host::status(number)["Uid"].clone();
        let uid = uids.split_whitespace().next().expect("a number");
        assert_eq!(process["uid"].to_string(), uid, "{process}");
        assert_eq!(process["uid_inside"], 0, "{process}");
    }
    // Its own ps counts the same processes by the inner numbers.
    let inner: BTreeSet<i64> = told
        .iter()
        .map(|process| {
            process["pids"]
                .as_array()
                .and_then(|p| p.last())
                .and_then(serde_json::Value::as_i64)
                .expect("a number")
        })
        .collect();
    let ps = porthole.sh(
        &container,
        "ps -o pid,args | grep -v 'ps -o' | grep -v 'sh -c ps'",
    );
    let seen: BTreeSet<i64> = ps
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(inner.is_subset(&seen), "{inner:?} in {ps}");
}

#[test]
fn a_change_is_told_within_200_ms() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let mut slowest = Duration::ZERO;
    for round in 0..5 {
        let begun = Instant::now();
        let name = format!("c{round}");
        porthole
            .create(&json!({"image": "busybox", "name": name, "command": ["sleep", "infinity"]}));
        let created = begun.elapsed();
        events.next(Duration::from_secs(5), |event| {
            event.name == "container"
                && event.data.contains(&name)
                && event.data.contains("running")
        });
        slowest = slowest.max(begun.elapsed().saturating_sub(created));
    }
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");

    // A death that nobody asked for is told as quickly.
    let begun = Instant::now();
    porthole_tests::instance::signal(pid(&container["pid"]), Signal::KILL);
    events.next(Duration::from_secs(5), |event| {
        event.name == "container" && event.data.contains(&id) && event.data.contains("exited")
    });
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn it_stops_by_sigterm_and_by_sigkill_after_the_timeout() {
    let porthole = Instance::start();
    let polite = porthole.create(&json!({
        "image": "busybox",
        "command": ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"],
    }));
    let path = format!("/api/v1/containers/{}/stop", text(&polite["id"]));
    let stopped = porthole.admin().post(&path, &json!({"timeout": 20})).ok();
    assert_eq!(
        (&stopped["state"], &stopped["exit_code"]),
        (&json!("exited"), &json!(7))
    );

    let stubborn = porthole.create(&json!({
        "image": "busybox", "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"],
    }));
    let path = format!("/api/v1/containers/{}/stop", text(&stubborn["id"]));
    let begun = Instant::now();
    let stopped = porthole.admin().post(&path, &json!({"timeout": 0.5})).ok();
    assert_eq!(
        (&stopped["state"], &stopped["exit_code"]),
        (&json!("exited"), &json!(137))
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(500),
        "it was given its time"
    );
    let id = text(&stubborn["id"]);
    wait_for("none of its processes", PATIENCE, || {
        host::processes_in_cgroup(&id).is_empty().then_some(())
    });
}

#[test]
fn it_ends_with_its_commands_code() {
    let porthole = Instance::start();
    for init in [true, false] {
        for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137)] {
            // A signal that PID 1 sends itself is ignored by the kernel unless it has a handler.
            if !init && code == 137 {
                continue;
            }
            let container = porthole.create(&json!({
                "image": "busybox", "init": init, "command": ["sh", "-c", script],
            }));
            let ended = porthole.wait_state(&text(&container["id"]), "exited");
            assert_eq!(ended["exit_code"], code, "init {init}, {script}: {ended}");
            assert!(ended["finished_at"].is_string(), "{ended}");
        }
    }
}

#[test]
fn its_init_reaps_what_nobody_else_does() {
    let porthole = Instance::start();
    let script = "i=0; while [ $i -lt 20 ]; do (sleep 0.01 &); i=$((i+1)); done; sleep infinity";
    let defunct = |init: bool| {
        let container = porthole.create(&json!({
            "image": "busybox", "init": init, "command": ["sh", "-c", format!("exec sh -c '{script}'")],
        }));
        let id = text(&container["id"]);
        // The orphans' parent has ended when the script has come to its last command.
        wait_for("the last command", PATIENCE, || {
            let found = host::processes_in_cgroup(&id);
            found
                .iter()
                .any(|&pid| {
                    host::arguments(pid)
                        .last()
                        .is_some_and(|word| word == "infinity")
                })
                .then_some(())
        });
        std::thread::sleep(Duration::from_millis(300));
        let list = porthole.sh(
            &container,
            "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l",
        );
        list.trim().parse::<u32>().expect("a number")
    };
    assert_eq!(defunct(true), 0);
    assert!(
        defunct(false) > 0,
        "without it they stay, so the test can see them"
    );
}

#[test]
fn it_starts_again_with_its_files_and_new_namespaces() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    porthole.sh(&container, "echo kept > /root/note");
    let first = container["pid"].clone();
    porthole
        .admin()
        .post(
            &format!("/api/v1/containers/{id}/stop"),
            &json!({"timeout": 0}),
        )
        .ok();
    porthole
        .admin()
        .act(&format!("/api/v1/containers/{id}/start"))
        .ok();
    let again = porthole.wait_state(&id, "running");
    // The kernel may give a new namespace the number of one that is gone; a PID comes later again.
    assert_ne!(again["pid"], first);
    assert_eq!(porthole.sh(&again, "cat /root/note"), "kept");
    porthole
        .admin()
        .post(
            &format!("/api/v1/containers/{id}/restart"),
            &json!({"timeout": 0}),
        )
        .ok();
    let again = porthole.wait_state(&id, "running");
    assert_eq!(porthole.sh(&again, "cat /root/note"), "kept");
}

#[test]
fn a_name_is_taken_once() {
    let porthole = Instance::start();
    porthole.create(&json!({"image": "busybox", "name": "one", "command": ["sleep", "infinity"]}));
    let error = porthole
        .admin()
        .post(
            "/api/v1/containers",
            &json!({"image": "busybox", "name": "one"}),
        )
        .refused(409);
    assert!(
        error["message"].as_str().is_some_and(|m| m.contains("one")),
        "{error}"
    );
    let list = porthole.admin().get("/api/v1/containers?own=true").ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn a_running_one_is_removed_only_by_force() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    porthole
        .admin()
        .delete(&format!("/api/v1/containers/{id}"))
        .refused(409);
    assert_eq!(porthole.container(&id)["state"], "running");
    porthole
        .admin()
        .delete(&format!("/api/v1/containers/{id}?force=true"))
        .ok();
    porthole
        .admin()
        .get(&format!("/api/v1/containers/{id}"))
        .refused(404);
    assert!(!porthole.root().join("keeper/containers").join(&id).exists());
    wait_for("no process of it", PATIENCE, || {
        host::processes_in_cgroup(&id).is_empty().then_some(())
    });
}

#[test]
fn it_is_found_by_id_name_and_the_beginning_of_its_id() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({"image": "busybox", "name": "found", "start": false}));
    assert_eq!(container["state"], "created", "{container}");
    let id = text(&container["id"]);
    for reference in [id.as_str(), "found", &id[..12], &id[..4]] {
        assert_eq!(
            porthole.container(reference)["id"],
            container["id"],
            "{reference}"
        );
    }
    porthole
        .admin()
        .get("/api/v1/containers/nobody")
        .refused(404);
}

#[test]
fn clocks_differ_in_a_time_namespace_of_its_own() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "command": ["sleep", "infinity"],
        "time_offset": {"monotonic": 0, "boottime": 864_000},
    }));
    assert_eq!(container["namespaces"]["time"]["isolation"], "own");
    let uptime = |text: String| {
        text.split('.')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .expect("seconds")
    };
    let inside = uptime(porthole.sh(&container, "cat /proc/uptime"));
    let outside = uptime(std::fs::read_to_string("/proc/uptime").expect("uptime"));
    assert!(
        (863_900..864_100).contains(&(inside - outside)),
        "{inside} and {outside}"
    );
}

#[test]
fn a_failed_start_says_why_and_leaves_nothing_running() {
    let porthole = Instance::start();
    let cases = [
        (
            json!({"image": "busybox", "command": ["no-such-command"]}),
            "no-such-command",
        ),
        (
            json!({"image": "busybox", "command": ["/etc/passwd"]}),
            "/etc/passwd",
        ),
        (
            json!({"image": "busybox", "command": ["true"], "user": "nobody-like-this"}),
            "nobody-like-this",
        ),
        (
            json!({"image": "busybox", "command": ["true"], "workdir": "/no/such/place"}),
            "/no/such/place",
        ),
    ];
    for (spec, named) in cases {
        let container = porthole.create(&spec);
        assert_eq!(container["state"], "created", "{container}");
        let error = container["error"].as_str().expect("it says why");
        assert!(error.contains(named), "{error}");
        let id = text(&container["id"]);
        assert_eq!(host::processes_in_cgroup(&id), Vec::<i32>::new());
        porthole
            .admin()
            .delete(&format!("/api/v1/containers/{id}"))
            .ok();
        assert!(!porthole.root().join("keeper/containers").join(&id).exists());
    }
}

#[test]
fn it_can_share_anothers_network() {
    let porthole = Instance::start();
    let first = porthole
        .create(&json!({"image": "busybox", "name": "first", "command": ["sleep", "infinity"]}));
    let second = porthole.create(&json!({
        "image": "busybox", "command": ["sleep", "infinity"],
        "namespaces": {"net": "container:first", "user": "container:first"},
    }));
    assert_eq!(second["state"], "running", "{second}");
    assert_eq!(
        second["namespaces"]["net"]["inode"],
        first["namespaces"]["net"]["inode"]
    );
    assert_eq!(second["namespaces"]["net"]["isolation"], "shared");
    assert_eq!(
        second["namespaces"]["net"]["shared_with"],
        json!([first["id"]])
    );
    assert_ne!(
        second["namespaces"]["pid"]["inode"],
        first["namespaces"]["pid"]["inode"]
    );
    wait_for("the first to be told with whom it shares", PATIENCE, || {
        let first = porthole.container("first");
        (first["namespaces"]["net"]["shared_with"] == json!([second["id"]])).then_some(())
    });
}

#[test]
fn the_host_image_runs_the_machines_programs() {
    let porthole = Instance::start();
    let container = porthole
        .create(&json!({"image": "host", "name": "machine", "command": ["sleep", "infinity"]}));
    assert_eq!(container["state"], "running", "{container}");
    // Every program of /usr/bin resolves: a link that dangles inside dangles outside too.
    let dangling = |path: &str| format!("cd {path}; for f in *; do [ -e $f ] || echo $f; done");
    let outside = std::process::Command::new("sh")
        .args(["-c", &dangling("/usr/bin")])
        .output()
        .expect("sh");
    let inside = porthole.sh(&container, &dangling("/usr/bin"));
    assert_eq!(inside, String::from_utf8_lossy(&outside.stdout).trim_end());
    for (script, answer) in [
        ("awk 'BEGIN{print 6*7}'", "42"),
        ("perl -e 'print 6*7'", "42"),
        ("id -un", "root"),
        ("TERM=xterm-256color infocmp >/dev/null && echo yes", "yes"),
        ("echo new > /usr/bin/new && cat /usr/bin/new", "new"),
        ("pwd", "/"),
    ] {
        assert_eq!(porthole.sh(&container, script), answer, "{script}");
    }
    assert!(
        !std::path::Path::new("/usr/bin/new").exists(),
        "the machine's /usr is not written"
    );
    // Nothing of the machine's own data.
    let listed = porthole.sh(&container, "ls -A /root /home /usr/local/etc /etc/shadow /etc/ssh /etc/porthole 2>/dev/null; ls -A /var /run");
    let secrets = ["id_rsa", ".ssh", ".cargo", "authorized_keys", "ssh_host"];
    assert!(
        !secrets.iter().any(|secret| listed.contains(secret)),
        "{listed}"
    );
    let shadow = std::fs::read_to_string("/etc/shadow").unwrap_or_default();
    let inside = porthole.sh(&container, "cat /etc/shadow 2>/dev/null; true");
    for line in shadow.lines().filter(|line| line.contains('$')) {
        assert!(
            !inside.contains(line),
            "a password of the machine's is inside"
        );
    }
    let homes: BTreeMap<String, ()> = std::fs::read_dir("/root")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), ()))
        .collect();
    let root = porthole.sh(&container, "ls -A /root");
    for name in root.lines() {
        assert!(
            !homes.contains_key(name) || name == ".profile" || name == ".bashrc",
            "/root/{name} is the machine's"
        );
    }
}

#[test]
fn a_keeper_that_dies_while_creating_leaves_nothing_half_made() {
    let porthole = Instance::start();
    for round in 0..8u64 {
        let keeper = porthole.keeper_pid();
        let admin = porthole.admin().clone();
        let name = format!("half{round}");
        let creating = std::thread::spawn(move || {
            let body = json!({"image": "busybox", "name": name, "command": ["sleep", "infinity"]});
            admin.try_send(
                "POST",
                "/api/v1/containers",
                Some(("application/json", body.to_string())),
            )
        });
        std::thread::sleep(Duration::from_micros(700 * round));
        porthole_tests::instance::signal(keeper, Signal::KILL);
        let _ = creating.join().expect("no panic");
        wait_for("another keeper", PATIENCE, || {
            (porthole.keeper_pid() != keeper).then_some(())
        });
        porthole.wait_ready();
    }
    // Whatever it says is there can be removed, and the harness sees that nothing else is.
    let list = wait_for("a list", PATIENCE, || {
        let answer = porthole.admin().get("/api/v1/containers?own=true");
        (answer.status == 200).then(|| answer.json())
    });
    for container in list["items"].as_array().expect("items") {
        let id = text(&container["id"]);
        assert!(
            ["running", "created", "exited"]
                .contains(&container["state"].as_str().unwrap_or_default()),
            "{container}"
        );
        porthole
            .admin()
            .delete(&format!("/api/v1/containers/{id}?force=true"))
            .ok();
    }
    let kept = std::fs::read_dir(porthole.root().join("keeper/containers"))
        .expect("a directory")
        .count();
    assert_eq!(kept, 0, "directories of containers that nobody lists");
}
