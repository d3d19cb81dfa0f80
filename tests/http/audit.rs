//! The audit trail of a real Porthole: what is in it, that it is there in time, and that whoever
//! changes it is found.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use porthole_tests::instance::{PASSWORD, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn database(porthole: &Instance) -> Connection {
    let path = porthole.root().join("server/porthole.db");
    let db = Connection::open(path).expect("the database");
    db.busy_timeout(Duration::from_secs(10)).expect("set");
    db
}

/// What the server's account could do to its own database.
fn tamper(porthole: &Instance, sql: &str) {
    let unlock = "DROP TRIGGER IF EXISTS audit_is_not_changed; DROP TRIGGER IF EXISTS audit_is_not_shortened;";
    database(porthole)
        .execute_batch(&format!("{unlock}{sql}"))
        .expect("done");
    give_back(&porthole.root().join("server/porthole.db"));
}

fn verify(porthole: &Instance, arguments: &[&str]) -> Output {
    Command::new(Instance::program())
        .args(["audit", "verify", "--root"])
        .arg(porthole.root())
        .args(arguments)
        .env_clear()
        .env("PORTHOLE_CONFIG", "/nonexistent")
        .output()
        .expect("it runs")
}

#[track_caller]
fn holds(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("holds"), "{said}");
    said
}

#[track_caller]
fn broken(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains(words), "{words}: {said}");
}

fn entries(porthole: &Instance, query: &str) -> Vec<Value> {
    let list = porthole.admin().get(&format!("/api/v1/audit?{query}")).ok();
    list["items"].as_array().cloned().expect("a list")
}

/// The newest entry of this kind, once its outcome is there.
fn outcome(porthole: &Instance, act: &str) -> Value {
    wait_for(act, PATIENCE, || {
        let entry = entries(porthole, &format!("act={act}&limit=1"))
            .into_iter()
            .next()?;
        (entry["result"] != "asked").then_some(entry)
    })
}

#[test]
fn who_did_what_to_what_from_where_and_how_it_ended() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let container = ann.post(
        "/api/v1/containers",
        &json!({"image": "busybox", "command": ["sleep", "infinity"]}),
    );
    let id = text(&container.ok()["id"]);
    let created = outcome(&porthole, "container_create");
    for (field, value) in [
        ("account", "ann"),
        ("via", "login"),
        ("address", "127.0.0.1"),
        ("result", "done"),
    ] {
        assert_eq!(created[field], value, "{created}");
    }
    let path = format!("/api/v1/containers/{id}/sessions");
    ann.post(&path, &json!({"command": ["/no/such/program"]}))
        .refused(422);
    let refused = outcome(&porthole, "session_open");
    assert_eq!(refused["result"], "refused", "{refused}");
    assert!(text(&refused["why"]).contains("program"), "{refused}");
    porthole
        .anonymous()
        .sign_in("ann", "not the password")
        .refused(401);
    // Some type their password where the name belongs.
    porthole
        .anonymous()
        .sign_in("hunter2 hunter2", PASSWORD)
        .refused(401);
    let wrong = wait_for("both", PATIENCE, || {
        let found = entries(&porthole, "act=sign_in_refused");
        (found.len() == 2).then_some(found)
    });
    assert_eq!(wrong[1]["account"], "ann", "{wrong:?}");
    assert!(!json!(wrong).to_string().contains("hunter2"), "{wrong:?}");
    assert!(!porthole.log().contains("hunter2"));
    // The first by what came of it.
    let about = entries(&porthole, &format!("object={id}"));
    assert_eq!(about.len(), 2, "{about:?}");
    assert_eq!(about[1]["made"], id, "{about:?}");
    assert_eq!(
        entries(&porthole, "account=ann&act=account_created").len(),
        0
    );
    assert_eq!(
        entries(&porthole, "act=account_created&object=ann").len(),
        1
    );
    assert_eq!(entries(&porthole, "until=2020-01-01T00:00:00Z").len(), 0);
    // Page by page.
    let all = entries(&porthole, "");
    let mut paged: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let page = porthole
            .admin()
            .get(&format!("/api/v1/audit?limit=2{after}"))
            .ok();
        paged.extend(page["items"].as_array().cloned().expect("a list"));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged.len(), all.len());
    ann.get("/api/v1/audit").refused(403);
    ann.get("/api/v1/audit/export").refused(403);
    let page = porthole.admin().get("/settings/audit?who=ann");
    assert!(page.body.contains("container create"), "{page}");
}

#[test]
fn whoever_changes_the_trail_is_found() {
    let mut porthole = Instance::start();
    let container = porthole.sleeper();
    let session = text(&porthole.session(&container, &json!({"command": ["sleep", "1000"]}))["id"]);
    outcome(&porthole, "session_open");
    let answer = porthole.admin().act("/api/v1/audit/verify").ok();
    assert_eq!(answer["holds"], true, "{answer}");
    let export = porthole.admin().get("/api/v1/audit/export");
    assert_eq!(export.status, 200);
    let directory = tempfile::tempdir().expect("a directory");
    let (lines, log) = (
        directory.path().join("export"),
        directory.path().join("log"),
    );
    std::fs::write(&lines, &export.body).expect("written");
    std::fs::write(&log, porthole.log()).expect("written");
    let against = ["--against", log.to_str().expect("text")];
    let count = export.body.lines().count();

    // The control: untouched, while it runs; with the log; the export by itself.
    let said = holds(&verify(&porthole, &against));
    assert!(
        said.contains("1 sessions that the keeper has records of"),
        "{said}"
    );
    holds(&verify(&porthole, &[lines.to_str().expect("text")]));
    let changed = export.body.replacen("\"busybox\"", "\"another\"", 1);
    assert_ne!(changed, export.body);
    std::fs::write(&lines, changed).expect("written");
    broken(
        &verify(&porthole, &[lines.to_str().expect("text")]),
        "was changed",
    );
    let mut fewer: Vec<&str> = export.body.lines().collect();
    fewer.remove(1);
    std::fs::write(&lines, fewer.join("\n")).expect("written");
    broken(
        &verify(&porthole, &[lines.to_str().expect("text")]),
        "Entry 2 ",
    );

    let kept = directory.path().join("kept");
    let path = porthole.root().join("server/porthole.db");
    copy(&path, &kept);
    let last = format!("Entry {count} ");
    for (sql, without, with_log) in [
        (
            "UPDATE audit SET account = 'eve' WHERE number = 3".to_owned(),
            Some("Entry 3 "),
            "Entry 3 ",
        ),
        (
            "DELETE FROM audit WHERE number = 2".to_owned(),
            Some("Entry 2 "),
            "Entry 2 ",
        ),
        // The tail by itself nobody can miss but who knows it.
        (
            format!("DELETE FROM audit WHERE number = {count}"),
            None,
            &*last,
        ),
    ] {
        porthole.terminate();
        tamper(&porthole, &sql);
        match without {
            Some(words) => broken(&verify(&porthole, &[]), words),
            None => {
                holds(&verify(&porthole, &[]));
            }
        }
        broken(&verify(&porthole, &against), with_log);
        copy(&kept, &path);
        holds(&verify(&porthole, &against));
        porthole.serve();
    }
    // All of it: the keeper's own record tells of a session that the trail does not.
    porthole.terminate();
    tamper(&porthole, "DELETE FROM audit");
    broken(&verify(&porthole, &[]), &session);
    copy(&kept, &path);
    porthole.serve();
    let answer = porthole.admin().act("/api/v1/audit/verify").ok();
    assert_eq!(answer["holds"], true, "{answer}");
}

/// Database and log together, as whoever stopped the server copies them.
fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let with = |path: &Path| std::path::PathBuf::from(format!("{}{end}", path.display()));
        match std::fs::read(with(from)) {
            // What is there keeps its owner.
            Ok(bytes) => std::fs::write(with(to), bytes).expect("written"),
            Err(_) => {
                let _ = std::fs::remove_file(with(to));
            }
        }
    }
    give_back(to);
}

/// The database's files to whose it is: the server could open none that root has made.
fn give_back(database: &Path) {
    let owner = std::fs::metadata(database).expect("there");
    for end in ["-wal", "-shm"] {
        let path = std::path::PathBuf::from(format!("{}{end}", database.display()));
        if path.exists() {
            let (uid, gid) = (Some(owner.uid()), Some(owner.gid()));
            std::os::unix::fs::chown(path, uid, gid).expect("given");
        }
    }
}

/// The processes with this word among their arguments.
fn with_argument(word: &str) -> Vec<i32> {
    let has = |pid: &i32| host::arguments(*pid).iter().any(|a| a == word);
    host::processes().into_iter().filter(has).collect()
}

#[test]
fn without_a_trail_no_shell_is_started() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let open = |word: &str| {
        porthole
            .admin()
            .post(&path, &json!({"command": ["sleep", word], "tty": false}))
    };
    open("86471.5").ok();
    wait_for("the control: a shell", PATIENCE, || {
        (!with_argument("86471.5").is_empty()).then_some(())
    });
    database(&porthole)
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
        )
        .expect("a trail that takes nothing");
    let sessions = porthole.admin().get("/api/v1/sessions").ok();
    open("86472.5").refused(500);
    assert!(
        with_argument("86472.5").is_empty(),
        "a shell that nobody knows of"
    );
    assert_eq!(porthole.admin().get("/api/v1/sessions").ok(), sessions);
    // Nor anything else.
    let create = json!({"image": "busybox", "command": ["sleep", "86473.5"]});
    porthole
        .admin()
        .post("/api/v1/containers", &create)
        .refused(500);
    assert!(with_argument("86473.5").is_empty());
    database(&porthole)
        .execute_batch("DROP TRIGGER full")
        .expect("as it was");
    open("86474.5").ok();
    wait_for("a shell again", PATIENCE, || {
        (!with_argument("86474.5").is_empty()).then_some(())
    });
}

#[test]
fn a_session_is_in_the_trail_when_its_shell_shows_first_signs() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    for round in 0..3 {
        let word = format!("8648{round}.25");
        let server = porthole.server_pid();
        let (client, body) = (
            porthole.admin().clone(),
            json!({"command": ["sleep", word], "tty": false}),
        );
        let path = path.clone();
        let asked = std::thread::spawn(move || {
            let body = ("application/json", body.to_string());
            // The server is killed before it can answer, most times.
            let _ = client.try_send("POST", &path, Some(body));
        });
        wait_for("the first sign of a shell", PATIENCE, || {
            (!with_argument(&word).is_empty()).then_some(())
        });
        let victim = Pid::from_raw(server).expect("a PID");
        kill_process(victim, Signal::KILL).expect("killed");
        asked.join().expect("no panic");
        let written: i64 = database(&porthole)
            .query_row(
                "SELECT count(*) FROM audit WHERE act = 'session_open' AND of = 0 AND detail LIKE '%' || ?1 || '%'",
                [&word],
                |row| row.get(0),
            )
            .expect("read");
        assert_eq!(written, 1, "round {round}");
        porthole.wait_ready();
        holds(&verify(&porthole, &[]));
    }
    // Records of the keeper are compared with it: every one is there.
    assert!(holds(&verify(&porthole, &[])).contains("3 sessions that the keeper has records of"));
}

#[test]
fn old_entries_go_into_files_and_nothing_is_lost() {
    let mut porthole = Instance::builder()
        .with("PORTHOLE_AUDIT_KEEP", "10")
        .start();
    let made: Vec<_> = (0..30)
        .map(|number| {
            porthole
                .admin()
                .post("/api/v1/tokens", &json!({"name": format!("t{number}")}))
                .ok()
        })
        .collect();
    assert_eq!(made.len(), 30);
    porthole.terminate();
    porthole.serve();
    let archive = porthole.root().join("server/audit");
    wait_for("a file", PATIENCE, || {
        let found = std::fs::read_dir(&archive).ok()?;
        found
            .flatten()
            .find(|e| e.path().extension().is_some_and(|e| e == "jsonl"))
    });
    wait_for("a checkpoint", PATIENCE, || {
        let found = entries(&porthole, "act=checkpoint");
        found
            .first()
            .map(|entry| assert_eq!(entry["via"], "server"))
    });
    let said = holds(&verify(&porthole, &[]));
    assert!(!said.contains("not here"), "{said}");
    std::fs::remove_dir_all(&archive).expect("taken away");
    let said = holds(&verify(&porthole, &[]));
    assert!(
        said.contains("are not here; a checkpoint has closed them"),
        "{said}"
    );
}
