//! What comes and goes while somebody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use porthole_tests::engines::{DockerDaemon, Unshared};
use porthole_tests::instance::{pid, signal, text};
use porthole_tests::{Events, Instance, PATIENCE, Scene, Terminal, host, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{containers, items, open_host, told};

/// Each time two are born: one ends at once, one lives long enough to be missed by nobody.
const PAIRS: usize = 2500;
const LIVES_MS: u64 = 400;

#[test]
fn five_thousand_short_processes_leave_no_ghost_and_none_that_lived_is_missed() {
    let porthole = Instance::start();
    // A page of processes is open all the while.
    let _page = Events::open(porthole.admin(), "/events?at=/processes");
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let mut scene = Scene::start(&["born", &PAIRS.to_string(), &LIVES_MS.to_string()]);
    let parent = scene.pid();
    let listener = std::thread::spawn(move || {
        let mut seen: BTreeMap<i32, u32> = BTreeMap::new();
        let mut gone: BTreeMap<i32, u32> = BTreeMap::new();
        let last = events.next(PATIENCE * 3, |event| {
            if event.name == "resync" {
                return true;
            }
            if event.name != "process" {
                return false;
            }
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            for process in data["changed"].as_array().expect("a list") {
                if process["parent"] == parent {
                    *seen.entry(pid(&process["host_pid"])).or_default() += 1;
                }
            }
            let ended: BTreeSet<i32> = data["gone"]
                .as_array()
                .expect("a list")
                .iter()
                .map(pid)
                .collect();
            ended
                .iter()
                .for_each(|pid| *gone.entry(*pid).or_default() += 1);
            ended.contains(&parent)
        });
        assert_ne!(last.name, "resync", "nobody who reads is told to read anew");
        (seen, gone)
    });
    let mut born = BTreeSet::new();
    while let Some(line) = scene.line() {
        match line.strip_prefix("born ") {
            Some(number) => born.insert(number.parse::<i32>().expect("a PID")),
            None => break,
        };
    }
    assert_eq!(born.len(), PAIRS);
    drop(scene);
    let (seen, gone) = listener.join().expect("it listened");
    let missed: Vec<_> = born.iter().filter(|pid| !seen.contains_key(pid)).collect();
    assert!(missed.is_empty(), "{} missed: {missed:?}", missed.len());
    let kept: Vec<_> = seen.keys().filter(|pid| !gone.contains_key(pid)).collect();
    assert!(kept.is_empty(), "their end was not told: {kept:?}");
    wait_for("no ghost", PATIENCE, || {
        let list = porthole.admin().get("/api/v1/processes?limit=5000").ok();
        let ghosts = items(&list).iter().filter(|one| {
            !host::runs(pid(&one["host_pid"])) && {
                !std::path::Path::new(&format!("/proc/{}", one["host_pid"])).exists()
            }
        });
        (ghosts.count() == 0).then_some(())
    });
}

#[test]
fn a_number_that_is_used_again_is_neither_shown_nor_entered_as_what_had_it() {
    let porthole = open_host();
    let first = Scene::init(0);
    let number = first.children()[0];
    let old = told(&porthole, number);
    let old_id = text(&old["id"]);
    let ticks: u64 = old_id
        .rsplit('-')
        .next()
        .expect("ticks")
        .parse()
        .expect("ticks");
    // The observer sleeps: for the server the first one is still there.
    let observer = observer_of(&porthole);
    signal(observer, Signal::STOP);
    let begun = Instant::now();
    drop(first);
    // Start times are counted in hundredths of a second.
    std::thread::sleep(Duration::from_millis(30).saturating_sub(begun.elapsed()));
    let second = Scene::init(number);
    assert_eq!(second.children(), [number]);
    let still = porthole.container(&old_id);
    assert_eq!(still["state"], "running", "the server does not know yet");
    let spec = json!({"command": ["true"]});
    for path in [
        format!("/api/v1/containers/{old_id}/sessions"),
        format!("/api/v1/processes/{number}/sessions?start_ticks={ticks}"),
    ] {
        let answer = porthole.admin().post(&path, &spec);
        assert!((400..500).contains(&answer.status), "{answer}");
        let error = answer.refused(answer.status);
        assert!(!text(&error["message"]).is_empty(), "{error}");
    }
    assert_eq!(host::children(number), [0; 0], "nobody entered it");
    signal(observer, Signal::CONT);
    // Even its namespaces may have the same inodes: the kernel gives those again, too.
    wait_for("the second", PATIENCE, || {
        (told(&porthole, number)["id"] != old["id"]).then_some(())
    });
    assert!(
        containers(&porthole)
            .iter()
            .all(|one| one["id"] != old["id"])
    );
    porthole
        .admin()
        .get(&format!("/api/v1/containers/{old_id}"))
        .refused(404);
    let path = format!("/api/v1/processes/{number}/sessions?start_ticks={ticks}");
    porthole.admin().post(&path, &spec).refused(404);
    drop(second);
}

/// The keeper's child that watches the host.
fn observer_of(porthole: &Instance) -> i32 {
    let watches = |pid: &i32| {
        host::status(*pid)
            .get("Name")
            .is_some_and(|n| n == "porthole-watch")
    };
    let keeper = porthole.keeper_pid();
    wait_for("an observer", PATIENCE, || {
        host::children(keeper).into_iter().find(watches)
    })
}

#[test]
fn a_container_that_dies_while_one_looks() {
    let porthole = open_host();
    let bare = Unshared::start(&["--mount", "--pid", "--uts", "--fork", "--mount-proc"]);
    let container = told(&porthole, bare.init());
    let id = text(&container["id"]);
    let visitor = porthole.account("visitor", "admin");
    let path = format!("/api/v1/containers/{id}/sessions");
    let session = visitor.post(&path, &json!({"command": ["sh"]})).ok();
    let session_id = text(&session["id"]);
    let mut terminal = Terminal::attach(&visitor, &session_id);
    terminal.line("echo in''side");
    terminal.expect("inside");
    let mut page = Events::open(&visitor, &format!("/events?at=/containers/{id}"));
    let mut events = Events::open(&visitor, "/api/v1/events");
    signal(bare.init(), Signal::KILL);
    events.next(Duration::from_secs(5), |event| {
        event.name == "container" && event.data.contains(&id) && !event.data.contains("running")
    });
    page.next(Duration::from_secs(5), |event| {
        event.data.contains("was removed") || event.data.contains("has ended")
    });
    // Its PID namespace went with it, and the shell with that.
    let exit = terminal.end();
    assert_eq!(exit.code, 137, "{exit:?}");
    let ended = wait_for("the session's end", PATIENCE, || {
        let now = visitor.get(&format!("/api/v1/sessions/{session_id}")).ok();
        (now["state"] == "exited").then_some(now)
    });
    assert_eq!(ended["exit_code"], 137, "{ended}");
    let late = visitor.post(&path, &json!({"command": ["sh"]}));
    assert!(matches!(late.status, 404 | 409), "{late}");
    late.refused(late.status);
    let answer = visitor.get(&format!("/containers/{id}"));
    assert!(matches!(answer.status, 200 | 404), "{answer}");
    assert!(answer.body.contains("<html"), "a page says it");
    porthole.admin().delete("/api/v1/users/visitor").ok();
}

#[test]
fn an_engine_that_stops_while_its_page_is_open() {
    let Some(mut docker) = DockerDaemon::start() else {
        return;
    };
    let policy = format!("[engines]\ndocker = {:?}\n", docker.socket());
    let porthole = Instance::builder().with_policy(&policy).start();
    let id = docker.run(&["--name=web"], &["sleep", "1000000"]);
    let container = wait_for("what Docker says of it", PATIENCE, || {
        let container = told(&porthole, docker.init(&id));
        container["image"].is_string().then_some(container)
    });
    let mut page = Events::open(porthole.admin(), "/events?at=/containers");
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let daemon = docker.pid();
    // It answers nobody, and its containers run on.
    signal(daemon, Signal::STOP);
    let begun = Instant::now();
    let list = porthole.admin().get("/containers");
    assert_eq!(list.status, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "no page waits for an engine"
    );
    assert!(list.body.contains("web"));
    signal(daemon, Signal::CONT);
    docker.stop();
    events.next(PATIENCE, |event| event.name == "engines");
    page.next(PATIENCE, |event| event.data.contains("docker.sock"));
    let list = porthole.admin().get("/containers");
    assert_eq!(list.status, 200);
    assert!(
        list.body.contains("docker.sock"),
        "a line says which engine does not answer"
    );
    // Nothing of it runs, whatever the engine said last.
    let path = format!("/api/v1/containers/{}", text(&container["id"]));
    wait_for("its end", PATIENCE / 3, || {
        let now = porthole.admin().get(&path).ok();
        matches!(now["state"].as_str(), Some("unknown" | "exited")).then_some(())
    });
    docker.start_again();
    wait_for("what it says again", PATIENCE, || {
        let now = porthole.admin().get(&format!("/api/v1/containers/{id}"));
        (now.status == 200 && now.json()["state"] == "exited").then_some(())
    });
}
