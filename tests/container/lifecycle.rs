//! Pausing, restart policies, renaming, limits of what runs, and being removed at the end.

use std::fs;
use std::time::Duration;

use porthole_protocol::container::Timestamp;
use porthole_tests::instance::{pid, signal, text};
use porthole_tests::{Events, Instance, PATIENCE, host, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

fn act(porthole: &Instance, id: &str, verb: &str) -> Value {
    let path = format!("/api/v1/containers/{id}/{verb}");
    porthole.admin().act(&path).ok()
}

fn refused(porthole: &Instance, id: &str, verb: &str) -> Value {
    let path = format!("/api/v1/containers/{id}/{verb}");
    porthole.admin().act(&path).refused(409)
}

/// A container that counts in a file of its root directory as fast as it can.
fn counting(porthole: &Instance) -> Value {
    porthole.create(&json!({
        "image": "busybox",
        "command": ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /n; done"],
    }))
}

/// What it has counted to, as its own root directory shows it on the host; nothing while it writes.
fn counted(container: &Value) -> String {
    let path = format!("/proc/{}/root/n", pid(&container["pid"]));
    fs::read_to_string(path).unwrap_or_default()
}

fn goes_on(container: &Value) {
    let numbers = || counted(container).trim().parse::<u64>().ok();
    let before = wait_for("a number", PATIENCE, numbers);
    wait_for("it counts", PATIENCE, || {
        (numbers()? > before).then_some(())
    });
}

fn unified(id: &str, file: &str) -> String {
    let groups = host::cgroups(id);
    let found = groups
        .iter()
        .find_map(|group| fs::read_to_string(group.join(file)).ok());
    found.expect("a file of the cgroup2 tree")
}

#[test]
fn a_paused_container_stands_still_until_it_is_unpaused() {
    let porthole = Instance::start();
    let container = counting(&porthole);
    let id = text(&container["id"]);
    goes_on(&container);
    let session = porthole.session(
        &container,
        &json!({"command": ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /m; done"], "tty": false}),
    );
    assert_eq!(act(&porthole, &id, "pause")["state"], "paused");
    assert!(unified(&id, "cgroup.events").contains("frozen 1"));
    // Answered when everything stands still, the session's processes too.
    let of_session = format!("/proc/{}/root/m", pid(&session["host_pid"]));
    let seen = || {
        (
            counted(&container),
            fs::read_to_string(&of_session).expect("read"),
        )
    };
    let before = seen();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(seen(), before);
    let error = refused(&porthole, &id, "sessions");
    assert!(text(&error["message"]).contains("paused"), "{error}");
    assert!(text(&refused(&porthole, &id, "pause")["message"]).contains("paused already"));
    refused(&porthole, &id, "start");

    // A keeper that is killed leaves it as it is, and the next one knows.
    porthole.kill_keeper();
    assert_eq!(porthole.container(&id)["state"], "paused");
    assert_eq!(seen(), before);

    assert_eq!(act(&porthole, &id, "unpause")["state"], "running");
    goes_on(&container);
    refused(&porthole, &id, "unpause");
    assert_eq!(porthole.sh(&container, "echo in"), "in");
}

#[test]
fn a_paused_container_can_be_stopped_killed_and_removed() {
    let porthole = Instance::start();
    let polite = || {
        porthole.create(&json!({
            "image": "busybox",
            "command": ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"],
        }))
    };
    // It gets the chance to end by itself.
    let stopped = polite();
    let id = text(&stopped["id"]);
    act(&porthole, &id, "pause");
    let now = act(&porthole, &id, "stop");
    assert_eq!(
        (&now["state"], &now["exit_code"]),
        (&json!("exited"), &json!(7)),
        "{now}"
    );
    let killed = polite();
    let id = text(&killed["id"]);
    act(&porthole, &id, "pause");
    act(&porthole, &id, "kill");
    assert_eq!(porthole.wait_state(&id, "exited")["exit_code"], 137);
    let removed = polite();
    let id = text(&removed["id"]);
    act(&porthole, &id, "pause");
    let path = format!("/api/v1/containers/{id}");
    porthole.admin().delete(&path).refused(409);
    porthole.admin().delete(&format!("{path}?force=true")).ok();
    assert!(host::processes_in_cgroup(&id).is_empty());
}

/// The moments at which a container was started, as the keeper saw them, in milliseconds.
fn starts(events: &mut Events, id: &str, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        events.next(PATIENCE, |event| {
            if event.name != "container" || !event.data.contains(id) {
                return false;
            }
            let container: Value = serde_json::from_str(&event.data).expect("json");
            // It has none before its first start.
            let at = Timestamp::try_from(text(&container["started_at"]));
            let new = at.ok().filter(|at| seen.last() != Some(&at.0));
            seen.extend(new.map(|at| at.0));
            new.is_some()
        });
    }
    seen
}

#[test]
fn a_container_that_fails_is_started_again_ever_later() {
    let porthole = Instance::start();
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let container = porthole.create(&json!({
        "image": "busybox", "command": ["false"], "restart": "on-failure:4",
    }));
    let id = text(&container["id"]);
    let at = starts(&mut events, &id, 5);
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Beyond the wait a start takes its time; both moments are rounded.
    for (gap, least) in gaps.iter().zip([100, 200, 400, 800]) {
        assert!(gap + 2 > least, "{gaps:?}");
    }
    // Four times were asked for.
    let over = wait_for("its last end", PATIENCE, || {
        let now = porthole.container(&id);
        (now["state"] == "exited" && now["restarts"] == 4 && now["restart_at"].is_null())
            .then_some(now)
    });
    assert_eq!(over["exit_code"], 1, "{over}");
    // Whatever it wrote each time is in one journal, read whether a server started it or not.
    let again = act(&porthole, &id, "start");
    assert_eq!(again["restarts"], 0, "{again}");
}

#[test]
fn a_wait_outlives_the_keeper_and_the_server() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "restart": "always",
        "command": ["sh", "-c", "echo run >> /runs; [ $(wc -l < /runs) -ge 6 ] && exec sleep 1000; exit 3"],
    }));
    let id = text(&container["id"]);
    // The fifth wait has 1.6 seconds: time enough to kill somebody in it.
    wait_for("a long wait", PATIENCE, || {
        let now = porthole.container(&id);
        (now["restarts"] == 5 && !now["restart_at"].is_null()).then_some(())
    });
    signal(porthole.keeper_pid(), Signal::KILL);
    signal(porthole.server_pid(), Signal::KILL);
    porthole.wait_ready();
    let runs = porthole.wait_state(&id, "running");
    assert_eq!(runs["restarts"], 5, "{runs}");
    assert!(runs["restart_at"].is_null(), "{runs}");
    assert_eq!(porthole.sh(&runs, "wc -l < /runs"), "6");
}

#[test]
fn who_stops_it_ends_the_restarting() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "command": ["false"], "restart": "unless-stopped",
    }));
    let id = text(&container["id"]);
    wait_for("a wait", PATIENCE, || {
        (!porthole.container(&id)["restart_at"].is_null()).then_some(())
    });
    act(&porthole, &id, "stop");
    let stopped = porthole.wait_state(&id, "exited");
    assert!(stopped["restart_at"].is_null(), "{stopped}");
    let restarts = stopped["restarts"].clone();
    // Another keeper does not begin anew with it.
    porthole.kill_keeper();
    std::thread::sleep(Duration::from_millis(500));
    let now = porthole.container(&id);
    assert_eq!(
        (&now["state"], &now["restarts"]),
        (&json!("exited"), &restarts)
    );
}

#[test]
fn a_restart_stops_by_the_stop_signal_and_starts() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "auto_remove": true, "stop_signal": "SIGUSR1", "stop_timeout": 20,
        "command": ["sh", "-c", "trap 'echo asked > /asked; exit 0' USR1; while :; do sleep 0.05; done"],
    }));
    let id = text(&container["id"]);
    assert_eq!(container["stop_signal"], "SIGUSR1");
    // The trap has to be set: a shell that has forked once has set it.
    wait_for("its loop", PATIENCE, || {
        (host::processes_in_cgroup(&id).len() >= 3).then_some(())
    });
    let before = pid(&container["pid"]);
    let now = act(&porthole, &id, "restart");
    assert_eq!(now["state"], "running", "{now}");
    assert_ne!(pid(&now["pid"]), before);
    assert_eq!(porthole.sh(&now, "cat /asked"), "asked");
}

#[test]
fn what_is_removed_at_its_end_leaves_nothing() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "busybox", "name": "brief", "auto_remove": true, "command": ["sleep", "1000"],
    }));
    let id = text(&container["id"]);
    porthole.sh(&container, "true");
    let admin = porthole.admin();
    let waited = std::thread::scope(|scope| {
        let path = format!("/api/v1/containers/{id}/wait");
        let waits = scope.spawn(move || admin.act(&path).ok());
        porthole.exec(&container, &["kill", "-TERM", "1"]);
        waits.join().expect("an answer")
    });
    assert_eq!(waited["exit_code"], 143, "{waited}");
    let left = || {
        let mut left = Vec::new();
        for directory in ["keeper/containers", "server/journals"] {
            let path = porthole.root().join(directory).join(&id);
            if path.exists() {
                left.push(path);
            }
        }
        left.extend(host::cgroups(&id));
        left
    };
    wait_for("nothing left", PATIENCE, || left().is_empty().then_some(()));
    porthole
        .admin()
        .get(&format!("/api/v1/containers/{id}"))
        .refused(404);
    // Its name is free.
    porthole.create(&json!({"image": "busybox", "name": "brief", "command": ["true"]}));
}

#[test]
fn want_of_memory_is_told() {
    let porthole = Instance::start();
    let spec = |memory: u64| {
        json!({
            "image": "host", "limits": {"memory": memory},
            "command": ["perl", "-e", "my $x = 'x' x (150 << 20); print length $x"],
        })
    };
    let end = |spec: &Value| {
        let container = porthole.create(spec);
        porthole.wait_state(&text(&container["id"]), "exited")
    };
    let fits = end(&spec(512 << 20));
    assert_eq!(fits["oom_killed"], false, "the control: {fits}");
    assert_eq!(fits["exit_code"], 0, "{fits}");
    let killed = end(&spec(64 << 20));
    assert_eq!(killed["oom_killed"], true, "{killed}");
    assert_eq!(killed["exit_reason"], "ended: out of memory (limit 64 MiB)");
    assert_eq!(killed["exit_signal"], "SIGKILL", "{killed}");
    // Started again with enough, it is a story of the past.
    let id = text(&killed["id"]);
    let path = format!("/api/v1/containers/{id}");
    let more = json!({"limits": {"memory": 512 << 20}});
    porthole.admin().patch(&path, &more).ok();
    act(&porthole, &id, "start");
    let well = porthole.wait_state(&id, "exited");
    assert_eq!(
        (&well["exit_code"], &well["oom_killed"]),
        (&json!(0), &json!(false))
    );
}

#[test]
fn a_name_is_changed_while_it_runs_and_is_unique() {
    let porthole = Instance::start();
    let one =
        porthole.create(&json!({"image": "busybox", "name": "one", "command": ["sleep", "1000"]}));
    porthole.create(&json!({"image": "busybox", "name": "two", "command": ["sleep", "1000"]}));
    let id = text(&one["id"]);
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let rename = |name: &str| {
        let path = format!("/api/v1/containers/{id}/rename");
        porthole.admin().post(&path, &json!({"name": name}))
    };
    assert_eq!(rename("two").refused(409)["field"], "name");
    rename("a/b").refused(422);
    assert_eq!(rename("three").ok()["name"], "three");
    events.next(PATIENCE, |event| {
        event.name == "container" && event.data.contains("\"three\"")
    });
    porthole.admin().get("/api/v1/containers/one").refused(404);
    assert_eq!(porthole.container("three")["pid"], one["pid"], "it runs on");
    let user = porthole.account("ann", "user");
    let path = format!("/api/v1/containers/{id}/rename");
    user.post(&path, &json!({"name": "mine"})).refused(403);
    // On disk: another keeper knows it too.
    porthole.kill_keeper();
    assert_eq!(text(&porthole.container("three")["id"]), id);
}

#[test]
fn limits_change_while_it_runs() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({
        "image": "host", "command": ["sleep", "1000"], "limits": {"memory": 512 << 20},
    }));
    let id = text(&container["id"]);
    let path = format!("/api/v1/containers/{id}");
    let file = |names: &[&str]| {
        let groups = host::cgroups(&id);
        let paths = groups
            .iter()
            .flat_map(|g| names.iter().map(move |n| g.join(n)));
        let mut texts = paths.filter_map(|path| fs::read_to_string(path).ok());
        texts.next().expect("a file").trim().to_owned()
    };
    let memory = ["memory.limit_in_bytes", "memory.max"];
    let take = |mib: u32| {
        let script = format!("my $x = 'x' x ({mib} << 20); print 'fits'");
        porthole.exec(&container, &["perl", "-e", &script])
    };
    assert_eq!(take(100).stdout, "fits", "the control: there is room");
    let less =
        json!({"limits": {"memory": 64 << 20, "pids": 20, "cpus": 0.5}, "restart": "always"});
    let now = porthole.admin().patch(&path, &less).ok();
    assert_eq!(now["limits"]["memory"], 64 << 20, "{now}");
    assert_eq!(now["restart"], "always", "{now}");
    assert_eq!(file(&memory), (64 << 20).to_string());
    assert_eq!(file(&["pids.max"]), "20");
    assert_eq!(take(100).exit.code, 137, "it is in force");
    // Up again, swap and all.
    let more = json!({"limits": {"memory": 256 << 20}});
    porthole.admin().patch(&path, &more).ok();
    assert_eq!(file(&memory), (256 << 20).to_string());
    assert_eq!(take(100).stdout, "fits");
    assert_eq!(file(&["pids.max"]), "20", "what is not named stays");

    // Less than is used is refused in words, and nothing is killed.
    let mut hog = porthole.session(
        &container,
        &json!({"command": ["perl", "-e", "my $x = 'x' x (80 << 20); sleep 1000"], "tty": false}),
    );
    wait_for("it has taken its memory", PATIENCE, || {
        let stats = porthole.admin().get(&format!("{path}/stats")).ok();
        (stats["memory"]["used"].as_u64()? > 80 << 20).then_some(())
    });
    let too_little = json!({"limits": {"memory": 32 << 20, "pids": 30}});
    let error = porthole.admin().patch(&path, &too_little).refused(422);
    assert_eq!(error["field"], "limits.memory", "{error}");
    assert!(
        text(&error["message"]).contains("MiB of memory now"),
        "{error}"
    );
    assert_eq!(file(&memory), (256 << 20).to_string());
    assert_eq!(file(&["pids.max"]), "20", "all or nothing");
    hog = porthole
        .admin()
        .get(&format!("/api/v1/sessions/{}", text(&hog["id"])))
        .ok();
    assert_eq!(hog["state"], "running", "{hog}");
    // Above what may be given it is refused too.
    let too_much = json!({"limits": {"memory": 1_u64 << 49}});
    porthole.admin().patch(&path, &too_much).refused(422);
    porthole
        .admin()
        .patch(&path, &json!({"image": "busybox"}))
        .refused(422);
}

#[test]
fn what_it_uses_is_told_as_the_kernel_counts_it() {
    let porthole = Instance::start();
    let busy = porthole.create(&json!({
        "image": "busybox", "command": ["sh", "-c", "while :; do :; done"],
        "limits": {"cpus": 0.2, "memory": 64 << 20, "pids": 17},
    }));
    let id = text(&busy["id"]);
    let path = format!("/api/v1/containers/{id}/stats");
    let stats = wait_for("it is held back", PATIENCE, || {
        let stats = porthole.admin().get(&path).ok();
        (stats["cpu"]["throttled_ns"].as_u64()? > 0).then_some(stats)
    });
    let percent = stats["cpu"]["percent"].as_f64().expect("a number");
    assert!((2.0..60.0).contains(&percent), "{stats}");
    assert!((stats["cpu"]["limit_cpus"].as_f64().expect("a number") - 0.2).abs() < 0.01);
    assert_eq!(stats["memory"]["limit"], 64 << 20, "{stats}");
    let used = stats["memory"]["used"].as_u64().expect("a number");
    let peak = stats["memory"]["peak"].as_u64().expect("a number");
    assert!(used > 0 && peak >= used, "{stats}");
    assert_eq!(
        (&stats["pids"]["count"], &stats["pids"]["limit"]),
        (&json!(2), &json!(17))
    );
    // Followed, until it ends.
    let mut events = Events::open(
        &porthole
            .admin()
            .clone()
            .with_header("accept", "text/event-stream"),
        &path,
    );
    for _ in 0..2 {
        let event = events.next(PATIENCE, |event| event.name == "stats");
        let told: Value = serde_json::from_str(&event.data).expect("json");
        assert!(told["cpu"]["usage_ns"].as_u64() > stats["cpu"]["usage_ns"].as_u64());
    }
    act(&porthole, &id, "kill");
    assert!(events.ends_within(PATIENCE));
    porthole.wait_state(&id, "exited");
    porthole.admin().get(&path).refused(409);
}
