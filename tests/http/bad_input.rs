//! Every kind of bad input is answered in words that name the field, and changes nothing.

use porthole_tests::instance::text;
use porthole_tests::terminal::Attach;
use porthole_tests::{Instance, Terminal};
use serde_json::{Value, json};

fn containers(porthole: &Instance) -> usize {
    let list = porthole.admin().get("/api/v1/containers?own=true").ok();
    list["items"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_container_that_cannot_be_is_refused_with_the_fields_name() {
    let porthole = Instance::start();
    let long = "x".repeat(300);
    let cases: Vec<(Value, &str)> = vec![
        (
            json!({"image": "busybox", "privileged": true}),
            "privileged",
        ),
        (json!({"image": "busybox", "limits": {"disk": 1}}), "disk"),
        (json!({}), "image"),
        (json!({"image": 7}), "image"),
        (json!({"image": ""}), "image"),
        (json!({"image": "../x"}), "image"),
        (json!({"image": "no-such-image"}), "image"),
        (json!({"image": "busybox", "name": ""}), "name"),
        (json!({"image": "busybox", "name": long}), "name"),
        (json!({"image": "busybox", "name": "../x"}), "name"),
        (json!({"image": "busybox", "name": "a\u{0}b"}), "name"),
        (json!({"image": "busybox", "name": "a\nb"}), "name"),
        (json!({"image": "busybox", "name": "é"}), "name"),
        (json!({"image": "busybox", "name": ["a"]}), "name"),
        (json!({"image": "busybox", "command": "sleep 1"}), "command"),
        (
            json!({"image": "busybox", "command": ["a\u{0}b"]}),
            "command",
        ),
        (
            json!({"image": "busybox", "command": ["x".repeat(60_000)]}),
            "command",
        ),
        (json!({"image": "busybox", "env": {"A=B": "1"}}), "env"),
        (json!({"image": "busybox", "env": {"": "1"}}), "env"),
        (json!({"image": "busybox", "env": {"A": "b\u{0}"}}), "env"),
        (
            json!({"image": "busybox", "workdir": "relative"}),
            "workdir",
        ),
        (json!({"image": "busybox", "workdir": ""}), "workdir"),
        (json!({"image": "busybox", "user": "a b"}), "user"),
        (json!({"image": "busybox", "user": "-1"}), "user"),
        (json!({"image": "busybox", "user": "4294967296"}), "user"),
        (json!({"image": "busybox", "user": "0:"}), "user"),
        (json!({"image": "busybox", "hostname": "-x"}), "hostname"),
        (
            json!({"image": "busybox", "hostname": "a".repeat(300)}),
            "hostname",
        ),
        (json!({"image": "busybox", "tty": "yes"}), "tty"),
        (
            json!({"image": "busybox", "limits": {"memory": -1}}),
            "limits.memory",
        ),
        (
            json!({"image": "busybox", "limits": {"memory": 1}}),
            "limits.memory",
        ),
        (
            json!({"image": "busybox", "limits": {"memory": "1g"}}),
            "limits.memory",
        ),
        (
            json!({"image": "busybox", "limits": {"cpus": 0}}),
            "limits.cpus",
        ),
        (
            json!({"image": "busybox", "limits": {"cpus": 1e9}}),
            "limits.cpus",
        ),
        (
            json!({"image": "busybox", "limits": {"pids": 0}}),
            "limits.pids",
        ),
        (
            json!({"image": "busybox", "namespaces": {"network": "own"}}),
            "namespaces",
        ),
        (
            json!({"image": "busybox", "namespaces": {"net": "bridge"}}),
            "namespaces",
        ),
        (
            json!({"image": "busybox", "namespaces": {"net": "container:nobody"}}),
            "namespaces.net",
        ),
        (
            json!({"image": "busybox", "time_offset": {"monotonic": 1.5}}),
            "time_offset",
        ),
        (
            json!({"image": "busybox", "time_offset": {}, "namespaces": {"time": "host"}}),
            "time_offset",
        ),
        (json!({"image": "busybox", "labels": {"": "x"}}), "labels"),
        (json!({"image": "busybox", "labels": {"x": 1}}), "labels"),
    ];
    let mut wrong = Vec::new();
    for (spec, field) in cases {
        let answer = porthole.admin().post("/api/v1/containers", &spec);
        let short: String = spec.to_string().chars().take(120).collect();
        if !(400..500).contains(&answer.status) || answer.status == 401 {
            wrong.push(format!("{short}: {answer}"));
            continue;
        }
        let error = answer.refused(answer.status);
        let named = error["field"].as_str().unwrap_or_default();
        let message = error["message"].as_str().unwrap_or_default();
        if !(named.starts_with(field)
            || named.is_empty() && message.contains(field)
            || named.ends_with(field))
        {
            wrong.push(format!("{short}: field {field} in {error}"));
        }
        if message.contains('\0') || message.contains("x".repeat(300).as_str()) {
            wrong.push(format!(
                "{short}: the message repeats what was sent: {error}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(containers(&porthole), 0, "nothing was made");
    porthole.create(&json!({"image": "busybox", "name": "x".repeat(63), "start": false}));
}

#[test]
fn a_session_that_cannot_be_is_refused_with_the_fields_name() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let cases: Vec<(Value, &str)> = vec![
        (json!({"shell": "sh"}), "shell"),
        (json!({"command": "sh"}), "command"),
        (json!({"command": [""]}), "command"),
        (json!({"cols": 0, "rows": 0}), "cols"),
        (json!({"cols": 70_000}), "cols"),
        (json!({"cols": 1001}), "cols"),
        (json!({"rows": 0}), "rows"),
        (json!({"rows": -1}), "rows"),
        (json!({"user": "../x"}), "user"),
        (
            json!({"user": "nobody-like-this", "command": ["true"]}),
            "user",
        ),
        (json!({"workdir": "x", "command": ["true"]}), "workdir"),
        (
            json!({"workdir": "/no/such", "command": ["true"]}),
            "workdir",
        ),
        (json!({"env": {"A=": "x"}}), "env"),
        (json!({"join": ["network"]}), "join"),
        (json!({"tty": 1}), "tty"),
    ];
    let mut wrong = Vec::new();
    for (spec, field) in cases {
        let answer = porthole.admin().post(&path, &spec);
        if ![400, 422].contains(&answer.status) {
            wrong.push(format!("{spec}: {answer}"));
            continue;
        }
        let error = answer.refused(answer.status);
        let named = error["field"].as_str().unwrap_or_default();
        let message = error["message"].as_str().unwrap_or_default();
        if !(named.starts_with(field)
            || message.contains(field)
            || field == "cols" && named == "rows")
        {
            wrong.push(format!("{spec}: field {field} in {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let list = porthole.admin().get("/api/v1/sessions").ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{list}");
}

#[test]
fn what_is_no_json_is_malformed() {
    let porthole = Instance::start();
    let admin = porthole.admin();
    let path = "/api/v1/containers";
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"image\":\"busybox\",}",
        "{\"image\":\"busybox\"} {}",
    ] {
        let answer = admin.post_text(path, "application/json", body);
        assert!([400, 422].contains(&answer.status), "{body:?}: {answer}");
        answer.refused(answer.status);
    }
    let answer = admin.post_text(path, "text/plain", "{\"image\":\"busybox\"}");
    answer.refused(415);
    let huge = format!(
        "{{\"image\":\"busybox\",\"name\":\"{}\"}}",
        "x".repeat(8 << 20)
    );
    let answer = admin.try_send("POST", path, Some(("application/json", huge)));
    // A server may answer and close before everything was sent.
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 413, "{answer}");
    }
    assert_eq!(containers(&porthole), 0);
}

#[test]
fn references_that_name_nothing_are_not_found() {
    let porthole = Instance::start();
    porthole.sleeper();
    let admin = porthole.admin();
    for reference in [
        "nobody",
        "..%2fx",
        "%2e%2e",
        "%00",
        "a%0ab",
        &"f".repeat(64),
        &"x".repeat(300),
        "%ff",
    ] {
        for path in ["", "/processes", "/logs", "/trace"] {
            let answer = admin.get(&format!("/api/v1/containers/{reference}{path}"));
            assert!([400, 404].contains(&answer.status), "{answer}");
            answer.refused(answer.status);
        }
        let answer = admin.delete(&format!("/api/v1/containers/{reference}?force=true"));
        assert!([400, 404].contains(&answer.status), "{answer}");
    }
    for id in ["nobody", "..%2fx", &"0".repeat(32), &"F".repeat(32)] {
        let answer = admin.get(&format!("/api/v1/sessions/{id}"));
        assert!([400, 404].contains(&answer.status), "{answer}");
    }
    assert_eq!(containers(&porthole), 1);
    admin.get("/api/v1/no-such-thing").refused(404);
}

#[test]
fn actions_in_the_wrong_state_say_so() {
    let porthole = Instance::start();
    let admin = porthole.admin();
    let stopped = porthole
        .create(&json!({"image": "busybox", "command": ["sleep", "infinity"], "start": false}));
    let path = |container: &Value, verb: &str| {
        format!("/api/v1/containers/{}/{verb}", text(&container["id"]))
    };
    admin
        .post(&path(&stopped, "sessions"), &json!({"command": ["true"]}))
        .refused(409);
    // Stopping what does not run changes nothing, and so is no error.
    assert_eq!(admin.act(&path(&stopped, "stop")).ok()["state"], "created");
    admin.act(&path(&stopped, "kill")).refused(409);
    let running = porthole.sleeper();
    admin.act(&path(&running, "start")).refused(409);
    admin
        .delete(&format!("/api/v1/containers/{}", text(&running["id"])))
        .refused(409);
    for body in [
        json!({"signal": "SIGNOTHING"}),
        json!({"signal": 0}),
        json!({"signal": 65}),
        json!({"signal": -1}),
    ] {
        let answer = admin.post(&path(&running, "kill"), &body);
        assert!([400, 422].contains(&answer.status), "{body}: {answer}");
        assert!(
            answer.refused(answer.status)["message"]
                .as_str()
                .is_some_and(|m| m.contains("signal")),
            "{answer}"
        );
    }
    for body in [
        json!({"timeout": -1}),
        json!({"timeout": "soon"}),
        json!({"timeout": 1e12}),
        json!({"time": 1}),
    ] {
        let answer = admin.post(&path(&running, "stop"), &body);
        assert!([400, 422].contains(&answer.status), "{body}: {answer}");
    }
    assert_eq!(
        porthole.container(&text(&running["id"]))["state"],
        "running"
    );
    admin
        .post(&path(&running, "kill"), &json!({"signal": "SIGKILL"}))
        .ok();
    porthole.wait_state(&text(&running["id"]), "exited");
}

#[test]
fn an_ended_session_is_shown_and_cannot_be_typed_into() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(&container, &json!({"command": ["echo", "done"]}));
    let id = text(&session["id"]);
    Terminal::attach(porthole.admin(), &id).end();
    let mut again = Terminal::try_attach(
        porthole.admin(),
        &id,
        &Attach {
            resume: Some(0),
            ..Attach::default()
        },
    )
    .expect("shown");
    again.send(&porthole_protocol::frame::ClientFrame::Input {
        seq: 0,
        bytes: b"echo more\n",
    });
    assert_eq!(again.end().code, 0);
    assert_eq!(again.text(), "done\r\n");
    // A place beyond the end is answered by a snapshot, never by a gap.
    let beyond = Attach {
        resume: Some(1 << 40),
        ..Attach::default()
    };
    let mut beyond = Terminal::try_attach(porthole.admin(), &id, &beyond).expect("shown");
    beyond.end();
    assert_eq!(beyond.snapshots.len(), 1);
}

#[test]
fn queries_that_mean_nothing_are_refused() {
    let porthole = Instance::start();
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "sort=nothing",
        "after=%00",
        "colour=red",
        "state=flying",
    ] {
        let answer = porthole.admin().get(&format!("/api/v1/containers?{query}"));
        // Where a query is no error it must at least not be one of ours.
        assert!(
            [200, 400, 422].contains(&answer.status),
            "{query}: {answer}"
        );
        if answer.status != 200 {
            answer.refused(answer.status);
        }
    }
    porthole
        .admin()
        .get("/api/v1/containers?sort=-created_at&limit=5")
        .ok();
}
