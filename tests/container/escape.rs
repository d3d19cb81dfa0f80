//! Files that a container arranged to lead outside lead nowhere.

use porthole_tests::instance::text;
use porthole_tests::{Instance, host};
use serde_json::json;

/// What openat2(2) answers to a magic link that it may not follow.
const ELOOP: i32 = 40;

#[test]
fn a_workdir_that_is_a_link_stays_inside() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    porthole.sh(&container, "mkdir /real; ln -s /real /good; ln -s ../../../../../../ /up; ln -s /proc/1/root/etc /magic");
    let inside = |workdir: &str| {
        porthole
            .exec_with(
                &container,
                &json!({
                    "command": ["sh", "-c", "pwd -P; ls"], "tty": false, "workdir": workdir,
                }),
            )
            .stdout
    };
    assert_eq!(inside("/good").lines().next(), Some("/real"));
    let up = inside("/up");
    assert_eq!(up.lines().next(), Some("/"), "{up}");
    assert!(
        up.lines().any(|line| line == "good"),
        "the container's own root: {up}"
    );
    // A magic link is not followed at all, although it leads somewhere for who does follow it.
    assert_eq!(
        porthole.sh(&container, "cd /magic && pwd -P"),
        "/etc",
        "the control"
    );
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    for tty in [true, false] {
        let spec = json!({"command": ["pwd"], "workdir": "/magic", "tty": tty});
        let error = porthole.admin().post(&path, &spec).refused(422);
        assert_eq!(error["field"], "workdir", "{error}");
        assert_eq!(error["errno"], ELOOP, "{error}");
    }
}

#[test]
fn a_root_that_a_container_rearranged_is_still_its_own_after_a_start() {
    let porthole = Instance::start();
    let secret = porthole.root().join("secret");
    std::fs::write(&secret, "of the host").expect("a file");
    let container = porthole.sleeper();
    let id = text(&container["id"]);
    // Where mounts will go on the next start, links now lead elsewhere.
    for (change, what) in [
        (
            "rm -rf /etc/hostname /etc/hosts /etc/resolv.conf; ln -s /proc/self/root/../../../etc/shadow /etc/hostname; ln -s /proc/1/cwd /etc/hosts",
            "files of /etc",
        ),
        ("rm -rf /tmp; ln -s / /tmp", "a directory"),
    ] {
        porthole.sh(&container, change);
        porthole
            .admin()
            .post(
                &format!("/api/v1/containers/{id}/restart"),
                &json!({"timeout": 0}),
            )
            .ok();
        let again = porthole.wait_state(&id, "running");
        let find = format!(
            "cat {} /tmp{} /proc/1/root{} 2>/dev/null; true",
            secret.display(),
            secret.display(),
            secret.display()
        );
        assert_eq!(porthole.sh(&again, &find), "", "{what}");
        assert_eq!(
            host::mounts_below(&porthole.root()),
            Vec::<String>::new(),
            "no mount shows on the host"
        );
    }
    assert_eq!(
        std::fs::read_to_string(&secret).expect("control"),
        "of the host"
    );
    std::fs::remove_file(secret).expect("removed");
}

#[test]
fn it_sees_and_signals_only_its_own_processes() {
    let porthole = Instance::start();
    let (one, two) = (porthole.sleeper(), porthole.sleeper());
    let list = porthole.sh(&one, "ls -d /proc/[0-9]* | wc -l");
    assert!(list.parse::<u32>().expect("a number") < 12, "{list}");
    let own = std::process::id();
    let killed = porthole.sh(
        &one,
        &format!("kill -0 {own} 2>/dev/null && echo there || echo nobody"),
    );
    assert_eq!(killed, "nobody");
    porthole.sh(&one, "kill -9 -1");
    assert_eq!(porthole.container(&text(&two["id"]))["state"], "running");
    assert!(host::runs(porthole.keeper_pid()));
}

#[test]
fn no_mount_of_a_container_shows_on_the_host() {
    let overlays = || {
        std::fs::read_to_string("/proc/self/mountinfo")
            .expect("mounts")
            .lines()
            .filter(|line| line.contains(" - overlay "))
            .count()
    };
    let before = overlays();
    let porthole = Instance::start();
    let container = porthole.sleeper();
    porthole.sh(&container, "true");
    assert_eq!(host::mounts_below(&porthole.root()), Vec::<String>::new());
    assert_eq!(overlays(), before);
    let inside =
        std::fs::read_to_string(format!("/proc/{}/mountinfo", container["pid"])).expect("mounts");
    assert!(
        inside.contains("overlay"),
        "the control: inside there are some"
    );
}
