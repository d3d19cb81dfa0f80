//! The first start.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use porthole_tests::instance::{ADMIN, PASSWORD};
use porthole_tests::{Instance, PATIENCE, wait_for};
use serde_json::json;

fn code(porthole: &Instance) -> String {
    let path = porthole.run().join("setup-code");
    let text = wait_for("the code's file", PATIENCE, || {
        fs::read_to_string(&path)
            .ok()
            .filter(|t| !t.trim().is_empty())
    });
    let mode = fs::metadata(&path).expect("its mode").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "only its owner reads it");
    text.trim().to_owned()
}

#[test]
fn the_code_makes_the_first_administrator_once() {
    let porthole = Instance::builder().without_account().start();
    let mut person = porthole.anonymous();
    let code = code(&porthole);
    let page = person.get("/containers");
    assert!([302, 303, 307].contains(&page.status), "{page}");
    assert!(
        page.header("location")
            .is_some_and(|l| l.starts_with("/setup")),
        "{page:?}"
    );

    let body = |code: &str| json!({"code": code, "user": ADMIN, "password": PASSWORD});
    let wrong = person.post("/api/v1/setup", &body("0000-0000-0000"));
    assert!([401, 403, 422].contains(&wrong.status), "{wrong}");
    wrong.refused(wrong.status);
    person.get("/api/v1/containers").refused(401);

    let answer = person.post("/api/v1/setup", &body(&code));
    answer.ok();
    person.keep_cookie(&answer);
    if person.get("/api/v1/containers").status == 401 {
        person.sign_in(ADMIN, PASSWORD).ok();
    }
    person.get("/api/v1/containers").ok();

    // Neither the code nor the page makes a second one.
    let again = porthole.anonymous().post(
        "/api/v1/setup",
        &json!({"code": code, "user": "second", "password": PASSWORD}),
    );
    assert!((400..500).contains(&again.status), "{again}");
    let users = person.get("/api/v1/users").ok();
    assert_eq!(users["items"].as_array().map(Vec::len), Some(1), "{users}");
    assert!(!porthole.log().contains(&code), "the code is in the log");
    let left = fs::read_to_string(porthole.run().join("setup-code")).unwrap_or_default();
    assert_eq!(left, "", "the code is gone after use");
}

#[test]
fn a_weak_password_or_name_is_refused_with_its_field() {
    let porthole = Instance::builder().without_account().start();
    let code = code(&porthole);
    let person = porthole.anonymous();
    for (user, password, field) in [
        ("admin", "", "password"),
        ("admin", "short", "password"),
        ("", PASSWORD, "user"),
        ("../x", PASSWORD, "user"),
        (&"a".repeat(300), PASSWORD, "user"),
        ("a\u{7}b", PASSWORD, "user"),
    ] {
        let body = json!({"code": code, "user": user, "password": password});
        let error = person.post("/api/v1/setup", &body).refused(422);
        assert_eq!(error["field"], field, "{user:?} {password:?}: {error}");
    }
    // It cost no attempt: the code still works.
    person
        .post(
            "/api/v1/setup",
            &json!({"code": code, "user": ADMIN, "password": PASSWORD}),
        )
        .ok();
}

#[test]
fn state_is_kept_where_only_its_owner_reads_it() {
    let porthole = Instance::start();
    let mode = |path: &str| {
        fs::metadata(porthole.root().join(path)).map(|m| (m.mode() & 0o7777, m.uid() == 0))
    };
    assert_eq!(mode("").expect("root"), (0o711, true));
    assert_eq!(mode("keeper").expect("keeper"), (0o700, true));
    assert_eq!(mode("server").expect("server"), (0o700, false));
    let socket = fs::metadata(porthole.run().join("porthole.sock")).expect("socket");
    assert_eq!(socket.mode() & 0o777, 0o660);
}
