//! Who may do what, and how somebody proves who they are.

use std::time::Duration;

use porthole_tests::instance::{ADMIN, PASSWORD, text};
use porthole_tests::terminal::{Attach, upgrade};
use porthole_tests::{Client, Events, Instance, Terminal};
use serde_json::{Value, json};

/// Sockets of somebody who may no longer have them close within this time.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn nobody_sees_anything_without_signing_in() {
    let porthole = Instance::start();
    let nobody = porthole.anonymous();
    for path in [
        "/api/v1/containers",
        "/api/v1/sessions",
        "/api/v1/users",
        "/api/v1/processes",
        "/api/v1/namespaces",
        "/api/v1/events",
        "/api/v1/images",
    ] {
        nobody.get(path).refused(401);
    }
    for path in ["/containers", "/containers/new"] {
        let answer = nobody.get(path);
        assert!([302, 303, 307].contains(&answer.status), "{answer}");
        assert!(
            answer
                .header("location")
                .is_some_and(|to| to.starts_with("/login")),
            "{answer:?}"
        );
    }
    nobody.get("/healthz").ok_text();
    nobody
        .with_token("no-such-token")
        .get("/api/v1/containers")
        .refused(401);
}

trait Plain {
    fn ok_text(&self);
}

impl Plain for porthole_tests::Answer {
    #[track_caller]
    fn ok_text(&self) {
        assert_eq!(self.status, 200, "{self}");
    }
}

#[test]
fn the_cookie_is_guarded_and_ends_with_the_sign_out() {
    let porthole = Instance::start();
    let mut person = porthole.anonymous();
    let answer = person.sign_in(ADMIN, PASSWORD);
    assert_eq!(answer.status, 204, "{answer}");
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    for attribute in [
        "__Host-",
        "; HttpOnly",
        "; Secure",
        "; SameSite=Lax",
        "; Path=/",
    ] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    person.get("/api/v1/containers").ok();
    let stale = person.clone();
    person.act("/api/v1/logout").ok();
    stale.get("/api/v1/containers").refused(401);
    let (first, second) = (
        porthole.anonymous().sign_in(ADMIN, PASSWORD),
        porthole.anonymous().sign_in(ADMIN, PASSWORD),
    );
    assert_ne!(
        first.header("set-cookie"),
        second.header("set-cookie"),
        "each sign-in has its own"
    );
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_answered_alike_and_slower_each_time() {
    let porthole = Instance::start();
    let mut person = porthole.anonymous();
    let wrong = person.sign_in(ADMIN, "wrong wrong wrong");
    let unknown = person.sign_in("nobody", "wrong wrong wrong");
    let (wrong, unknown) = (wrong.refused(401), unknown.refused(401));
    assert_eq!(wrong["message"], unknown["message"]);
    let delayed = (0..30)
        .map(|_| person.sign_in(ADMIN, "wrong wrong wrong"))
        .find(|a| a.status == 429);
    let delayed = delayed.expect("thirty wrong passwords are slowed down");
    let seconds: u64 = delayed
        .header("retry-after")
        .and_then(|s| s.parse().ok())
        .expect("Retry-After");
    assert!((1..=60).contains(&seconds), "{delayed:?}");
}

#[test]
fn a_change_by_cookie_needs_the_pages_own_origin() {
    let porthole = Instance::start();
    let spec = json!({"image": "busybox", "start": false});
    let with_origin = |origin: &str| porthole.admin().clone().with_header("origin", origin);
    for origin in [
        "",
        "null",
        "http://evil.example",
        "https://127.0.0.1",
        &format!("https://{}", porthole.address()),
        "http://127.0.0.1:1",
    ] {
        with_origin(origin)
            .post("/api/v1/containers", &spec)
            .refused(403);
    }
    let own = format!("http://{}", porthole.address());
    with_origin(&own).post("/api/v1/containers", &spec).ok();
    // Reading needs none; a token may go without, and not with another's.
    with_origin("http://evil.example")
        .get("/api/v1/containers")
        .ok();
    let token = token(porthole.admin());
    let machine = porthole.anonymous().with_token(&token);
    machine.post("/api/v1/containers", &spec).ok();
    machine
        .with_header("origin", "http://evil.example")
        .post("/api/v1/containers", &spec)
        .refused(403);
    let list = porthole.admin().get("/api/v1/containers?own=true").ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
}

#[test]
fn an_upgrade_needs_the_pages_own_origin_too() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(&container, &json!({"command": ["sh"]}));
    let path = format!("/api/v1/sessions/{}/attach?resume=0", text(&session["id"]));
    for origin in ["", "null", "http://evil.example"] {
        let client = porthole.admin().clone().with_header("origin", origin);
        assert_eq!(upgrade(&client, &path).err(), Some(403), "{origin:?}");
    }
    assert_eq!(upgrade(&porthole.anonymous(), &path).err(), Some(401));
    assert!(upgrade(porthole.admin(), &path).is_ok(), "the control");
}

#[test]
fn other_names_for_the_host_are_refused() {
    let porthole = Instance::start();
    let port = porthole.address().port();
    let with_host = |host: &str| {
        porthole
            .admin()
            .clone()
            .with_header("host", host)
            .get("/api/v1/containers")
    };
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "localhost".to_owned(),
        "localhost:9999".to_owned(),
        "[::1]:80".to_owned(),
    ] {
        assert_eq!(with_host(&host).status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
    ] {
        let answer = with_host(host);
        assert!([400, 403, 421].contains(&answer.status), "{host}: {answer}");
    }
}

/// The HTTP status that attaching is refused with, before the upgrade or by its close code after.
#[track_caller]
fn attach_refused(client: &Client, session: &str) -> u16 {
    let refused = Terminal::try_attach(client, session, &Attach::default());
    refused.expect_err("refused") % 4000
}

fn token(client: &Client) -> String {
    let answer = client.post("/api/v1/tokens", &json!({"name": "test"})).ok();
    text(&answer["token"])
}

#[test]
fn a_token_is_shown_once_and_can_be_taken_back() {
    let porthole = Instance::start();
    let made = porthole
        .admin()
        .post("/api/v1/tokens", &json!({"name": "robot"}))
        .ok();
    let secret = text(&made["token"]);
    let robot = porthole.anonymous().with_token(&secret);
    robot.get("/api/v1/containers").ok();
    let list = porthole.admin().get("/api/v1/tokens").ok();
    assert!(
        list.to_string().contains("robot") && !list.to_string().contains(&secret),
        "{list}"
    );
    let id = text(&made["id"]);
    porthole
        .admin()
        .delete(&format!("/api/v1/tokens/{id}"))
        .ok();
    robot.get("/api/v1/containers").refused(401);
    assert!(!porthole.log().contains(&secret), "a token is in the log");
}

#[test]
fn roles_and_owners_decide() {
    let porthole = Instance::start();
    let (ann, bob, vic) = (
        porthole.account("ann", "user"),
        porthole.account("bob", "user"),
        porthole.account("vic", "viewer"),
    );
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let anns = ann.post("/api/v1/containers", &spec).ok();
    let id = text(&anns["id"]);
    assert_eq!(anns["owner"], "ann");
    vic.post("/api/v1/containers", &spec).refused(403);
    let session = ann
        .post(
            &format!("/api/v1/containers/{id}/sessions"),
            &json!({"command": ["sh"]}),
        )
        .ok();
    let sid = text(&session["id"]);

    for other in [&bob, &vic] {
        other.get(&format!("/api/v1/containers/{id}")).ok();
        other
            .act(&format!("/api/v1/containers/{id}/stop"))
            .refused(403);
        other
            .act(&format!("/api/v1/containers/{id}/kill"))
            .refused(403);
        other
            .delete(&format!("/api/v1/containers/{id}?force=true"))
            .refused(403);
        other
            .post(&format!("/api/v1/containers/{id}/sessions"), &json!({}))
            .refused(403);
        other
            .delete(&format!("/api/v1/sessions/{sid}"))
            .refused(403);
        other
            .post(
                "/api/v1/users",
                &json!({"user": "eve", "password": PASSWORD, "role": "admin"}),
            )
            .refused(403);
        other.get("/api/v1/users").refused(403);
    }
    // A user does not see what happens in another's session; a viewer watches and cannot type.
    assert_eq!(attach_refused(&bob, &sid), 403);
    bob.get(&format!("/api/v1/sessions/{sid}/journal?format=raw"))
        .refused(403);
    let mut viewer = Terminal::attach(&vic, &sid);
    assert!(!viewer.flags.write);
    viewer.send(&porthole_protocol::frame::ClientFrame::Input {
        seq: 0,
        bytes: b"echo intruder\n",
    });
    let mut own = Terminal::attach(&ann, &sid);
    own.line("echo mine");
    own.expect("mine\r\n");
    assert!(!own.text().contains("intruder"));
    // Namespaces of the host are for administrators, and then only where root's policy allows it.
    let host = json!({"image": "busybox", "command": ["true"], "namespaces": {"net": "host"}});
    ann.post("/api/v1/containers", &host).refused(403);
    porthole
        .admin()
        .delete(&format!("/api/v1/containers/{id}?force=true"))
        .ok();
}

#[test]
fn sockets_close_within_a_second_of_the_sign_out() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = text(&porthole.session(&container, &json!({"command": ["sh"]}))["id"]);
    let mut person = porthole.anonymous();
    person.sign_in(ADMIN, PASSWORD);
    let mut terminal = Terminal::attach(&person, &session);
    let events = Events::open(&person, "/api/v1/events");
    let mut staying = Terminal::attach(porthole.admin(), &session);
    person.act("/api/v1/logout").ok();
    terminal.closed_within(SOON);
    assert!(events.ends_within(SOON), "events go on");
    staying.line("echo here");
    staying.expect("here\r\n");
}

#[test]
fn a_role_taken_away_closes_open_sockets() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let id = text(&ann.post("/api/v1/containers", &spec).ok()["id"]);
    let open = || {
        text(
            &ann.post(
                &format!("/api/v1/containers/{id}/sessions"),
                &json!({"command": ["sh"]}),
            )
            .ok()["id"],
        )
    };
    let mut terminal = Terminal::attach(&ann, &open());
    porthole
        .admin()
        .patch("/api/v1/users/ann", &json!({"role": "viewer"}))
        .ok();
    terminal.closed_within(SOON);
    let answer = ann.act(&format!("/api/v1/containers/{id}/stop"));
    assert!([401, 403].contains(&answer.status), "{answer}");

    let bob = porthole.account("bob", "viewer");
    let events = Events::open(&bob, "/api/v1/events");
    porthole.admin().delete("/api/v1/users/bob").ok();
    assert!(events.ends_within(SOON), "events go on");
    bob.get("/api/v1/containers").refused(401);
}

#[test]
fn the_last_administrator_stays() {
    let porthole = Instance::start();
    let demote = porthole
        .admin()
        .patch(&format!("/api/v1/users/{ADMIN}"), &json!({"role": "user"}));
    assert!([409, 422].contains(&demote.status), "{demote}");
    let delete = porthole.admin().delete(&format!("/api/v1/users/{ADMIN}"));
    assert!([409, 422].contains(&delete.status), "{delete}");
    porthole.admin().get("/api/v1/users").ok();
}

#[test]
fn a_new_password_ends_every_other_sign_in() {
    let porthole = Instance::start();
    let mut ann = porthole.account("ann", "user");
    let mut elsewhere = porthole.anonymous();
    elsewhere.sign_in("ann", PASSWORD).ok();
    let new = "another fine long password";
    for body in [
        json!({"old": "wrong", "new": new}),
        json!({"current": "wrong", "new": new}),
    ] {
        let answer = ann.post("/api/v1/password", &body);
        assert!((400..500).contains(&answer.status), "{answer}");
    }
    let answer = ann.post(
        "/api/v1/password",
        &json!({"current": PASSWORD, "new": new}),
    );
    answer.ok();
    ann.keep_cookie(&answer);
    elsewhere.get("/api/v1/containers").refused(401);
    assert_eq!(porthole.anonymous().sign_in("ann", PASSWORD).status, 401);
    assert_eq!(porthole.anonymous().sign_in("ann", new).status, 204);
}

#[test]
fn pages_carry_a_policy_without_inline_scripts() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    for path in [
        "/containers",
        "/containers/new",
        "/login",
        &format!("/containers/{id}"),
        &format!("/containers/{id}/terminal"),
    ] {
        let page = porthole.admin().get(path);
        if [302, 303, 307].contains(&page.status) {
            continue;
        }
        assert_eq!(page.status, 200, "{path}");
        let policy = page.header("content-security-policy").unwrap_or_default();
        let scripts = policy
            .split(';')
            .map(str::trim)
            .find(|d| d.starts_with("script-src") || d.starts_with("default-src"));
        assert!(
            scripts.is_some_and(|s| !s.contains("unsafe")),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors"), "{path}: {policy}");
        assert_eq!(
            page.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert!(
            !page.body.contains("onclick=") && !page.body.contains("<script>"),
            "{path}"
        );
        for script in page.body.split("<script").skip(1) {
            assert!(
                script
                    .split('>')
                    .next()
                    .is_some_and(|tag| tag.contains("src=")),
                "{path}: an inline script"
            );
        }
    }
}

#[test]
fn a_name_is_text_and_never_markup() {
    let porthole = Instance::start();
    let marked = "<img src=x onerror=alert(1)>";
    let container = porthole.create(&json!({
        "image": "busybox", "command": ["sleep", "infinity"], "labels": {"note": marked}, "env": {"X": marked},
    }));
    let id = text(&container["id"]);
    porthole.session(
        &container,
        &json!({"command": ["sh", "-c", format!("sleep 1000 # {marked}")]}),
    );
    for path in [
        "/containers",
        &format!("/containers/{id}"),
        &format!("/containers/{id}/processes"),
        &format!("/containers/{id}/inspect"),
    ] {
        let page = porthole.admin().get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains(marked), "{path}");
    }
    let told: Value = porthole.container(&id);
    assert_eq!(
        told["labels"]["note"], marked,
        "the control: the API has it as it is"
    );
}

#[test]
fn the_policy_of_root_opens_the_hosts_namespaces_to_administrators() {
    let mut porthole = Instance::start();
    let host = json!({"image": "busybox", "command": ["sleep", "infinity"], "namespaces": {"net": "host", "uts": "host"}});
    porthole
        .admin()
        .post("/api/v1/containers", &host)
        .refused(403);
    porthole.terminate();
    std::fs::write(porthole.policy_path(), "host_namespaces = true\n").expect("a policy");
    porthole.serve();
    let container = porthole.create(&host);
    assert_eq!(container["state"], "running", "{container}");
    for kind in ["net", "uts"] {
        assert_eq!(
            container["namespaces"][kind]["isolation"], "host",
            "{container}"
        );
    }
    assert_eq!(
        container["namespaces"]["pid"]["isolation"], "own",
        "{container}"
    );
    let ann = porthole.account("ann", "user");
    ann.post("/api/v1/containers", &host).refused(403);
}
