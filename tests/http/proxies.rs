//! Whose word counts for where a request comes from.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, wait_for};
use serde_json::{Value, json};

/// An account that no proxy of these tests runs as.
const NOBODY: u32 = 65534;

/// Tries a password as a program of this account would, which says that somebody else is meant; the
/// answer's status.
fn try_as(porthole: &Instance, uid: u32, user: &str, forwarded: &str) -> u16 {
    let address = porthole.anonymous().address();
    let output = Command::new("curl")
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--header", &format!("x-forwarded-for: {forwarded}")])
        .args([
            "--json",
            &json!({"user": user, "password": "wrong password"}).to_string(),
        ])
        .arg(format!("http://{address}/api/v1/login"))
        .current_dir("/")
        .env("HOME", "/nonexistent")
        .uid(uid)
        .gid(uid)
        .output()
        .expect("curl");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.parse().unwrap_or_else(|_| panic!("{output:?}"))
}

/// The address of the last refused sign-in, once so many are written down.
fn noted(porthole: &Instance, count: usize) -> String {
    wait_for("it to be written down", PATIENCE, || {
        let acts = porthole
            .admin()
            .get("/api/v1/audit?act=sign_in_refused")
            .ok();
        let acts = acts["items"].as_array()?;
        (acts.len() == count).then(|| text(&acts[0]["address"]))
    })
}

#[test]
fn only_the_proxy_that_is_named_says_for_whom_it_sends() {
    let porthole = Instance::builder()
        .with("PORTHOLE_TRUSTED_PROXY", "root")
        .start();
    // The control: the proxy, of which the last word counts.
    assert_eq!(
        try_as(&porthole, 0, "ann", "198.51.100.1, 203.0.113.7"),
        401
    );
    assert_eq!(noted(&porthole, 1), "203.0.113.7");
    // Another program of this machine.
    assert_eq!(try_as(&porthole, NOBODY, "bob", "203.0.113.8"), 401);
    assert_eq!(noted(&porthole, 2), "127.0.0.1");
    // Nor is it a way around the delays, each try as from another place at another account.
    let tries = |uid: u32, network: &str| -> Vec<u16> {
        (1..=9)
            .map(|n| {
                try_as(
                    &porthole,
                    uid,
                    &format!("{network}-{n}"),
                    &format!("{network}.{n}"),
                )
            })
            .collect()
    };
    let forged = tries(NOBODY, "192.0.2");
    assert!(forged.contains(&429), "{forged:?}");
    let told = tries(0, "198.51.100");
    assert_eq!(told, [401; 9], "the control: those are different people");
}

#[test]
fn where_no_proxy_is_named_nobody_says_for_whom_it_sends() {
    let porthole = Instance::builder()
        .with("PORTHOLE_PUBLIC_URL", "http://porthole.example/")
        .start();
    assert_eq!(try_as(&porthole, 0, "ann", "203.0.113.7"), 401);
    assert_eq!(noted(&porthole, 1), "127.0.0.1");
    wait_for("it to be told", PATIENCE, || {
        porthole
            .log()
            .contains("X-Forwarded-For is not believed")
            .then_some(())
    });
    let account: Value = porthole.admin().get("/api/v1/account").ok();
    assert_eq!(account["role"], "admin");
}
