//! The machine's clock is set an hour forward and an hour back, with Porthole started anew after
//! each: what is measured goes by the clock that is never set, and what is told by the new time.

use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use porthole_protocol::container::Timestamp;
use porthole_tests::events::Events;
use porthole_tests::{Terminal, host, wait_for};
use serde_json::{Value, json};

use crate::Check;
use crate::machine::{Machine, read, ready, tell, text};
use crate::waits::Waits;

/// In this order: `forward` makes what the others go on with, and `back` undoes what it did.
pub(crate) const CHECKS: [Check; 3] = [
    ("the_clock_is_set_an_hour_forward", forward),
    ("the_clock_is_set_an_hour_back", back),
    ("what_was_written_down_meanwhile_holds_together", written),
];

const HOUR: i64 = 3600;
const SOON: Duration = Duration::from_secs(60);
/// What the stubborn one gets until it is killed, in seconds.
const TIMEOUT: u64 = 8;
const DAY: f64 = 86_400.0;

fn forward(machine: &mut Machine) {
    let always = json!({
        "name": "failing", "image": "busybox", "restart": "always", "command": ["false"],
    });
    // It may have ended before this is answered.
    assert_eq!(
        machine.admin().post("/api/v1/containers", &always).status,
        201
    );
    machine.create(&json!({
        "name": "ticking", "image": "busybox",
        "command": ["sh", "-c", "while :; do echo tick; sleep 1; done"],
    }));
    machine.create(&json!({
        "name": "elsewhen", "image": "busybox", "command": ["sleep", "infinity"],
        "namespaces": {"time": "own"}, "time_offset": {"monotonic": 0, "boottime": 86_400},
    }));
    set(machine, HOUR);
}

fn back(machine: &mut Machine) {
    set(machine, -HOUR);
    for name in ["failing", "ticking", "elsewhen"] {
        let path = format!("/api/v1/containers/{name}?force=true");
        machine.admin().delete(&path).ok();
    }
}

/// Sets the clock by so many seconds, while `failing` waits for its restart.
fn set(machine: &mut Machine, by: i64) {
    let ran: Vec<Value> = ["long", "ticking", "elsewhen"]
        .map(|name| machine.look(name)["pid"].clone())
        .to_vec();
    let mut terminal = machine.attach();
    terminal.line("before=$((40+1)); echo \"<$before>\"");
    terminal.expect("<41>");
    let mut events = Events::open(machine.admin(), "/api/v1/events");
    let waits = Waits::watch(machine.admin().clone(), "failing");
    // Long enough for all of this to fall into one wait or two.
    let restarts = machine.look("failing")["restarts"].as_u64().max(Some(7));
    next_restart(machine, restarts);
    let stopping = stop(machine);

    let before = now();
    tell(&[
        "date",
        "--set",
        &format!(
            "@{}",
            (before / 1000).checked_add_signed(by).expect("a time")
        ),
    ]);
    let moved = i128::from(now()) - i128::from(before);
    assert!(
        (moved / 1000 - i128::from(by)).abs() < 30,
        "it was set by {moved} ms"
    );
    let set_at = now();

    // Nobody is signed out, and what is open goes on.
    assert_eq!(machine.admin().get("/api/v1/account").status, 200);
    terminal.line("echo \"{$before}\"");
    terminal.expect("{41}");
    events.next(SOON, |event| {
        event.name == "container"
            && event.data.contains("stubborn")
            && event.data.contains("exited")
    });
    let took = stopping.join().expect("it was stopped");
    let limit = Duration::from_secs(TIMEOUT);
    assert!(took >= limit, "it was killed after {took:?}");
    assert!(took < limit + SOON, "it was killed after {took:?}");
    times(machine, set_at);

    drop((terminal, events));
    tell(&["systemctl", "restart", "porthole"]);
    ready();
    assert_eq!(machine.admin().get("/api/v1/account").status, 200);
    machine.same_shell();
    times(machine, set_at);
    // The wait that another keeper has found comes to its end.
    let restarts = machine.look("failing")["restarts"].as_u64();
    next_restart(machine, restarts);
    waits.check();
    for (name, pid) in ["long", "ticking", "elsewhen"].iter().zip(&ran) {
        let container = machine.look(name);
        assert_eq!(container["state"], "running", "{container}");
        assert_eq!(&container["pid"], pid);
    }
    uptime(machine);
    logs(machine);
}

fn next_restart(machine: &mut Machine, after: Option<u64>) {
    wait_for("its next restart", 4 * SOON, || {
        (machine.look("failing")["restarts"].as_u64() > after).then_some(())
    });
}

/// Milliseconds since 1970.
fn now() -> u64 {
    Timestamp::from_system(SystemTime::now()).0
}

/// Begins to stop a container that does not listen, and tells how long it took.
fn stop(machine: &mut Machine) -> JoinHandle<Duration> {
    machine.create(&json!({
        "name": "stubborn", "image": "busybox",
        "command": ["sh", "-c", "trap : TERM; echo trapped; while :; do sleep 1; done"],
    }));
    wait_for("it listens to nothing", SOON, || {
        let logs = machine.admin().get("/api/v1/containers/stubborn/logs");
        logs.body.contains("trapped").then_some(())
    });
    let (client, begun) = (machine.admin().clone(), Instant::now());
    std::thread::spawn(move || {
        let path = "/api/v1/containers/stubborn/stop";
        let stopped = client.post(path, &json!({"timeout": TIMEOUT})).ok();
        assert_eq!(stopped["exit_code"], 137, "{stopped}");
        let took = begun.elapsed();
        client.delete("/api/v1/containers/stubborn").ok();
        took
    })
}

/// Every time that is told is one that the clock has shown, and a page shows it.
fn times(machine: &mut Machine, set_at: u64) {
    let session = machine.admin().post(
        "/api/v1/containers/long/sessions",
        &json!({"command": ["sleep", "1000"], "tty": false}),
    );
    let session = session.ok();
    let started = moment(&session["started_at"]);
    assert!((set_at..=now()).contains(&started), "{session}");
    let id = text(&session["id"]);
    // Processes are told by the clock as it is: none is to start yet, the new one has just done so.
    let below = format!(
        "/sys/fs/cgroup{}/{id}/cgroup.procs",
        text(&machine.container["cgroup"])
    );
    let pid = read(&below);
    wait_for("processes by the new clock", SOON, || {
        let new = machine.admin().get(&format!("/api/v1/processes/{pid}"));
        let started = (new.status == 200).then(|| moment(&new.json()["started_at"]))?;
        if !(set_at - 2000..=now() + 2000).contains(&started) {
            return None;
        }
        let all = machine.admin().get("/api/v1/processes?limit=1000").ok();
        let items = all["items"].as_array().expect("a list");
        let boot = moment(&items.iter().find(|p| p["host_pid"] == 1)?["started_at"]);
        let since: f64 = read("/proc/uptime").split(' ').next()?.parse().ok()?;
        let since = u64::try_from(Duration::from_secs_f64(since).as_millis()).ok()?;
        let uptime = now().abs_diff(boot).abs_diff(since);
        let future = items
            .iter()
            .any(|p| moment(&p["started_at"]) > now() + 2000);
        (!future && uptime < 10_000).then_some(())
    });
    for page in [
        "/containers",
        "/containers/long",
        "/containers/failing",
        "/processes",
        &format!("/processes/{pid}"),
        "/sessions",
        "/containers/ticking/logs",
        "/settings",
        "/settings/audit",
    ] {
        let answer = machine
            .admin()
            .clone()
            .with_header("accept", "text/html")
            .get(page);
        assert_eq!(answer.status, 200, "{page}: {answer}");
    }
    machine
        .admin()
        .delete(&format!("/api/v1/sessions/{id}"))
        .ok();
    // Whose clock it is: something happens and is told.
    let stats = machine.admin().get("/api/v1/containers/long/stats").ok();
    let percent = stats["cpu"]["percent"].as_f64().expect("a number");
    assert!((0.0..1000.0).contains(&percent), "{stats}");
    assert!((set_at..=now()).contains(&moment(&stats["at"])), "{stats}");
}

#[track_caller]
fn moment(value: &Value) -> u64 {
    Timestamp::try_from(text(value))
        .unwrap_or_else(|error| panic!("{value}: {error}"))
        .0
}

/// Clocks since boot are no business of whoever sets the other one.
fn uptime(machine: &mut Machine) {
    let host: f64 = read("/proc/uptime")
        .split(' ')
        .next()
        .expect("a word")
        .parse()
        .expect("a number");
    let (inside, code) = machine.run("elsewhen", &["cut", "-d", " ", "-f", "1", "/proc/uptime"]);
    assert_eq!(code, 0, "{inside}");
    let inside: f64 = inside.trim().parse().expect("a number");
    let apart = inside - host - DAY;
    assert!(
        (0.0..60.0).contains(&apart),
        "{inside} inside, {host} outside"
    );
}

/// What was output after the clock was set is among what is asked for since then.
fn logs(machine: &mut Machine) {
    let path = "/api/v1/containers/ticking/logs";
    let lines = |machine: &mut Machine, since: &str| {
        let answer = machine.admin().get(&format!("{path}{since}"));
        assert_eq!(answer.status, 200, "{answer}");
        answer.body.lines().count()
    };
    let (since, all) = (Timestamp(now()), lines(machine, ""));
    wait_for("more ticks", SOON, || {
        (lines(machine, "") > all + 2).then_some(())
    });
    let later = lines(machine, &format!("?since={since}"));
    assert!(later >= 2, "{later} lines since {since}");
}

fn written(machine: &mut Machine) {
    let trail = machine.admin().act("/api/v1/audit/verify").ok();
    assert_eq!(trail["holds"], true, "{trail}");
    tell(&["porthole", "audit", "verify"]);
    tell(&[
        "sh",
        "-c",
        "journalctl --unit porthole --output cat | porthole audit verify --against -",
    ]);
    // Sessions and containers whose end is by the clock before their beginning are shown as any.
    for path in [
        "/api/v1/sessions",
        "/api/v1/containers",
        "/api/v1/audit?limit=1000",
    ] {
        let list = machine.admin().get(path).ok();
        assert!(
            list["items"]
                .as_array()
                .is_some_and(|items| !items.is_empty()),
            "{path}"
        );
    }
    let terminal: Terminal = machine.attach();
    drop(terminal);
    assert!(host::runs(machine.shell));
    let log = tell(&["journalctl", "--no-pager", "--unit", "porthole"]);
    assert!(!log.contains("panicked"), "{log}");
}
