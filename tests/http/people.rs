//! Accounts, sign-ins, tokens and limits.

use std::time::Duration;

use porthole_tests::events::Events;
use porthole_tests::instance::{ADMIN, PASSWORD, text};
use porthole_tests::terminal::Terminal;
use porthole_tests::{Client, Instance, PATIENCE, wait_for};
use serde_json::{Value, json};

/// How soon what is open ends with the rights to it.
const SOON: Duration = Duration::from_secs(1);

fn spec() -> Value {
    json!({"image": "busybox", "command": ["sleep", "infinity"], "limits": {"memory": 32 << 20}})
}

/// A form as a browser sends it.
fn form(client: &Client, path: &str, fields: &[(&str, &str)]) -> porthole_tests::Answer {
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(' ', "+")))
        .collect();
    client.post_text(path, "application/x-www-form-urlencoded", &body.join("&"))
}

fn revision(admin: &Client, user: &str) -> String {
    text(&admin.get(&format!("/api/v1/users/{user}")).ok()["revision"])
}

#[test]
fn a_role_taken_away_on_the_page_closes_open_sockets() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let bob = porthole.account("bob", "user");
    let id = text(&ann.post("/api/v1/containers", &spec()).ok()["id"]);
    let path = format!("/api/v1/containers/{id}/sessions");
    let session = text(&ann.post(&path, &json!({"command": ["sh"]})).ok()["id"]);
    let mut terminal = Terminal::attach(&ann, &session);
    let others = Events::open(&bob, "/api/v1/events");
    let seen = revision(porthole.admin(), "ann");
    let fields = [("revision", &*seen), ("role", "viewer")];
    let answer = form(porthole.admin(), "/settings/users/ann", &fields);
    assert_eq!(answer.status, 200, "{answer}");
    terminal.closed_within(SOON);
    ann.act(&format!("/api/v1/containers/{id}/stop"))
        .refused(403);
    assert!(!others.ends_within(SOON), "the control: another's go on");
}

#[test]
fn a_disabled_account_is_out_at_once_and_what_it_runs_goes_on() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let id = text(&ann.post("/api/v1/containers", &spec()).ok()["id"]);
    let path = format!("/api/v1/containers/{id}/sessions");
    let session = text(&ann.post(&path, &json!({"command": ["sh"]})).ok()["id"]);
    let mut terminal = Terminal::attach(&ann, &session);
    let token = ann.post("/api/v1/tokens", &json!({"name": "robot"})).ok();
    let robot = porthole.anonymous().with_token(&text(&token["token"]));
    robot.get("/api/v1/account").ok();
    let disable = |on: bool| {
        porthole
            .admin()
            .patch("/api/v1/users/ann", &json!({"disabled": on}))
    };
    assert!(disable(true).ok()["disabled_at"].is_string());
    terminal.closed_within(SOON);
    ann.get("/api/v1/account").refused(401);
    robot.get("/api/v1/account").refused(401);
    let sign_in = |password: &str| {
        let mut again = porthole.anonymous();
        again.sign_in("ann", password)
    };
    sign_in("not the password").refused(401);
    let told = sign_in(PASSWORD).refused(403);
    assert!(text(&told["message"]).contains("disabled"), "{told}");
    assert_eq!(porthole.container(&id)["state"], "running");
    let runs = porthole
        .admin()
        .get(&format!("/api/v1/sessions/{session}"))
        .ok();
    assert_eq!(runs["state"], "running", "{runs}");
    disable(false).ok();
    assert_eq!(sign_in(PASSWORD).status, 204);
    porthole
        .admin()
        .patch("/api/v1/users/admin", &json!({"disabled": true}))
        .refused(409);
}

#[test]
fn an_account_is_deleted_with_its_containers_where_that_is_asked_for() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let bob = porthole.account("bob", "user");
    let anns = text(&ann.post("/api/v1/containers", &spec()).ok()["id"]);
    let bobs = text(&bob.post("/api/v1/containers", &spec()).ok()["id"]);
    let delete = |query: &str| {
        porthole
            .admin()
            .delete(&format!("/api/v1/users/ann{query}"))
    };
    assert_eq!(delete("").refused(409)["code"], "owns_containers");
    ann.get("/api/v1/account").ok();
    // The page asks with what is there, and does not remove what it did not name.
    let question = porthole.admin().get("/settings/users/ann/delete");
    assert!(
        question.body.contains("Delete it and its container"),
        "{question}"
    );
    let none = [("what", "delete"), ("containers", "0")];
    let answer = form(porthole.admin(), "/settings/users/ann/delete", &none);
    assert_eq!(answer.status, 409, "{answer}");
    assert_eq!(porthole.container(&anns)["state"], "running");
    delete("?containers=remove").ok();
    porthole
        .admin()
        .get(&format!("/api/v1/containers/{anns}"))
        .refused(404);
    porthole.admin().get("/api/v1/users/ann").refused(404);
    assert_eq!(
        porthole.container(&bobs)["state"],
        "running",
        "another's stays"
    );
    porthole
        .admin()
        .delete(&format!("/api/v1/users/{ADMIN}"))
        .refused(409);
}

#[test]
fn sign_ins_are_listed_and_ended_one_by_one_and_all_others() {
    let porthole = Instance::start();
    let ann = porthole
        .account("ann", "user")
        .with_header("user-agent", "Firefox on the desk");
    let signed_in = |agent: &str| {
        let mut client = porthole.anonymous().with_header("user-agent", agent);
        client.sign_in("ann", PASSWORD).ok();
        client
    };
    let (phone, laptop) = (signed_in("Phone"), signed_in("Laptop"));
    let list = |client: &Client| {
        let list = client.get("/api/v1/sign-ins").ok();
        list["items"].as_array().cloned().expect("a list")
    };
    let items = list(&ann);
    assert_eq!(items.len(), 3, "{items:?}");
    assert_eq!(items[0]["current"], true, "the one that asks comes first");
    assert!(items[1..].iter().all(|item| item["current"] == false));
    assert!(
        items.iter().all(|item| item["address"] == "127.0.0.1"),
        "{items:?}"
    );
    let id_of = |agent: &str| {
        let item = items.iter().find(|item| item["agent"] == agent);
        text(&item.expect("listed")["id"])
    };
    let events = Events::open(&phone, "/api/v1/events");
    let staying = Events::open(&laptop, "/api/v1/events");
    let path = format!("/api/v1/sign-ins/{}", id_of("Phone"));
    // Another's is not one's own to end.
    porthole.admin().delete(&path).refused(404);
    ann.delete(&path).ok();
    assert!(events.ends_within(SOON), "events go on");
    phone.get("/api/v1/account").refused(401);
    assert!(!staying.ends_within(SOON), "the control: the other goes on");
    ann.delete(&path).refused(404);
    let staying = Events::open(&laptop, "/api/v1/events");
    assert_eq!(ann.delete("/api/v1/sign-ins").ok()["ended"], 1);
    assert!(staying.ends_within(SOON), "events go on");
    laptop.get("/api/v1/account").refused(401);
    assert_eq!(list(&ann).len(), 1);
    // The page shows it, and ends by a form.
    signed_in("<b>Tablet</b>");
    let page = ann.get("/settings");
    assert!(
        page.body.contains("this one") && !page.body.contains("<b>Tablet"),
        "{page}"
    );
    assert_eq!(form(&ann, "/settings/sign-ins/end", &[]).status, 200);
    assert_eq!(list(&ann).len(), 1);
}

#[test]
fn a_token_ends_when_it_was_to_and_its_sockets_with_it() {
    let porthole = Instance::start();
    let made = |body: Value| {
        let made = porthole.admin().post("/api/v1/tokens", &body).ok();
        porthole.anonymous().with_token(&text(&made["token"]))
    };
    let lasting = made(json!({"name": "lasting"}));
    let short = made(json!({"name": "short", "expires_in": 5}));
    short.get("/api/v1/account").ok();
    let events = Events::open(&short, "/api/v1/events");
    let early = Events::open(&short, "/api/v1/events");
    assert!(!early.ends_within(Duration::from_millis(300)), "not yet");
    wait_for("its end", PATIENCE, || {
        (short.get("/api/v1/account").status == 401).then_some(())
    });
    assert!(events.ends_within(SOON), "events go on");
    lasting.get("/api/v1/account").ok();
    let list = porthole.admin().get("/api/v1/tokens").ok();
    assert!(!list.to_string().contains("short"), "{list}");
    for bad in [json!(0), json!(-1), json!(1e12)] {
        let body = json!({"name": "x", "expires_in": bad});
        let refused = porthole.admin().post("/api/v1/tokens", &body).refused(422);
        assert_eq!(refused["field"], "expires_in");
    }
}

/// What each of these answered, all asked at once.
fn at_once(clients: &[Client], path: &str, body: &Value) -> Vec<porthole_tests::Answer> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = clients
            .iter()
            .map(|client| scope.spawn(move || client.post(path, body)))
            .collect();
        asked
            .into_iter()
            .map(|asked| asked.join().expect("answered"))
            .collect()
    })
}

#[test]
fn of_two_who_ask_at_once_for_the_last_place_one_gets_it() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let limits = |limits: Value| {
        porthole
            .admin()
            .patch("/api/v1/users/ann", &json!({"limits": limits}))
            .ok();
    };
    limits(json!({"containers": 1}));
    let eight: Vec<_> = std::iter::repeat_n(ann.clone(), 8).collect();
    let answers = at_once(&eight, "/api/v1/containers", &spec());
    let made: Vec<_> = answers.iter().filter(|a| a.status == 201).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    let id = text(&made[0].json()["id"]);
    for refused in answers.iter().filter(|a| a.status != 201) {
        let told = refused.refused(429);
        assert!(
            text(&told["message"]).contains("1 containers that you may have"),
            "{told}"
        );
        assert!(refused.header("retry-after").is_some());
    }
    // By memory, with room for one more of two.
    limits(json!({"containers": null, "memory": 80 << 20}));
    let answers = at_once(&eight[..2], "/api/v1/containers", &spec());
    let mut statuses: Vec<_> = answers.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 429], "{answers:?}");
    let refused = answers.iter().find(|a| a.status == 429).expect("one");
    let told = refused.refused(429);
    assert_eq!(told["field"], "limits.memory");
    for words in [
        "80 MiB of memory",
        "have 64 MiB",
        "asks for 32 MiB",
        "16 MiB are left",
    ] {
        assert!(text(&told["message"]).contains(words), "{words}: {told}");
    }
    let huge = json!({"image": "busybox", "limits": {"memory": 100 << 20}});
    let told = ann.post("/api/v1/containers", &huge).refused(422);
    assert_eq!(told["code"], "too_much", "{told}");
    // Sessions.
    limits(json!({"sessions": 2}));
    let path = format!("/api/v1/containers/{id}/sessions");
    let answers = at_once(&eight, &path, &json!({"command": ["sleep", "1000"]}));
    assert_eq!(
        answers.iter().filter(|a| a.status == 201).count(),
        2,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|a| a.status == 429).count(),
        6,
        "{answers:?}"
    );
    let account = ann.get("/api/v1/account").ok();
    assert_eq!(account["usage"]["sessions"], json!({"used": 2, "limit": 2}));
    assert_eq!(
        account["usage"]["containers"],
        json!({"used": 2, "limit": 64})
    );
    assert_eq!(
        account["usage"]["memory"],
        json!({"used": 64 << 20, "limit": 80 << 20})
    );
    for path in ["/settings", "/containers/new"] {
        let page = ann.get(path);
        assert!(page.body.contains("of 80 MiB"), "{page}");
    }
    // The control: an administrator has no such limit.
    porthole.create(&spec());
    // What is freed is had again.
    ann.delete(&format!("/api/v1/containers/{id}?force=true"))
        .ok();
    ann.post("/api/v1/containers", &spec()).ok();
}

#[test]
fn limits_of_a_running_container_grow_within_its_owners() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    porthole
        .admin()
        .patch(
            "/api/v1/users/ann",
            &json!({"limits": {"memory": 64 << 20}}),
        )
        .ok();
    let id = text(&ann.post("/api/v1/containers", &spec()).ok()["id"]);
    let grow = |to: u64| {
        ann.patch(
            &format!("/api/v1/containers/{id}"),
            &json!({"limits": {"memory": to}}),
        )
    };
    let told = grow(65 << 20).refused(429);
    assert_eq!(told["field"], "limits.memory", "{told}");
    grow(64 << 20).ok();
}

#[test]
fn roots_settings_say_what_accounts_may_have_by_default() {
    let limits = "containers = 1, memory = 67108864, cpus = 1.5, pids = \"unlimited\"";
    let porthole = Instance::builder()
        .with("PORTHOLE_USER_LIMITS", limits)
        .start();
    let ann = porthole.account("ann", "user");
    let usage = &ann.get("/api/v1/account").ok()["usage"];
    assert_eq!(usage["containers"]["limit"], 1);
    assert_eq!(usage["cpus"]["limit"], 1.5);
    assert_eq!(usage["pids"]["limit"], Value::Null);
    ann.post("/api/v1/containers", &spec()).ok();
    ann.post("/api/v1/containers", &spec()).refused(429);
    let own = json!({"limits": {"containers": "unlimited", "memory": 96 << 20}});
    porthole.admin().patch("/api/v1/users/ann", &own).ok();
    ann.post(
        "/api/v1/containers",
        &json!({"image": "busybox", "limits": {"memory": 32 << 20, "cpus": 0.5}}),
    )
    .ok();
}

#[test]
fn of_two_administrators_the_second_is_told_and_loses_nothing() {
    let porthole = Instance::start();
    porthole.account("ann", "user");
    let admin = porthole.admin();
    let looked_at = admin.get("/api/v1/users/ann");
    let tag = looked_at.header("etag").expect("a tag").to_owned();
    let seen = revision(admin, "ann");
    let first = [("revision", &*seen), ("role", "user"), ("containers", "3")];
    assert_eq!(form(admin, "/settings/users/ann", &first).status, 200);
    // By the API.
    let late = admin.clone().with_header("if-match", &tag);
    let refused = late
        .patch("/api/v1/users/ann", &json!({"role": "admin"}))
        .refused(412);
    assert_eq!(refused["code"], "changed_meanwhile");
    // By the form: everything that was typed is still there, and what is so beside it.
    let second = [
        ("revision", &*seen),
        ("role", "viewer"),
        ("containers", "7"),
        ("memory", "1 GiB"),
    ];
    let answer = form(admin, "/settings/users/ann", &second);
    assert_eq!(answer.status, 412, "{answer}");
    for there in [
        "Somebody else has changed",
        "value=\"7\"",
        "value=\"1 GiB\"",
        "<option value=\"viewer\" selected>",
        "now: user",
        "now set: 3",
    ] {
        assert!(answer.body.contains(there), "{there}: {answer}");
    }
    let account = admin.get("/api/v1/users/ann").ok();
    assert_eq!(
        (&account["role"], &account["limits"]),
        (&json!("user"), &json!({"containers": 3}))
    );
    // What is wrong loses nothing either, and changes nothing.
    let now = revision(admin, "ann");
    let wrong = [
        ("revision", &*now),
        ("role", "viewer"),
        ("containers", "7"),
        ("memory", "much"),
    ];
    let answer = form(admin, "/settings/users/ann", &wrong);
    assert_eq!(answer.status, 422, "{answer}");
    assert!(answer.body.contains("value=\"much\"") && answer.body.contains("value=\"7\""));
    assert_eq!(admin.get("/api/v1/users/ann").ok()["role"], "user");
    // Sent again with what was seen meanwhile.
    let again = [("revision", &*now), ("role", "viewer"), ("containers", "7")];
    assert_eq!(form(admin, "/settings/users/ann", &again).status, 200);
    assert_eq!(
        admin.get("/api/v1/users/ann").ok()["limits"],
        json!({"containers": 7})
    );
    let fresh = revision(admin, "ann");
    let match_now = admin
        .clone()
        .with_header("if-match", &format!("\"{fresh}\""));
    match_now
        .patch("/api/v1/users/ann", &json!({"role": "user"}))
        .ok();
    let bad = json!({"limits": {"disk": 1}});
    let refused = admin.patch("/api/v1/users/ann", &bad).refused(422);
    assert!(text(&refused["field"]).starts_with("limits"), "{refused}");
}
