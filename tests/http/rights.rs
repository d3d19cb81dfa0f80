//! What accounts may ask for beyond their roles, on a real keeper that root's policy lets do more.

use std::time::Duration;

use porthole_tests::instance::{PASSWORD, text};
use porthole_tests::terminal::{Attach, upgrade};
use porthole_tests::{Events, Instance, PATIENCE, Terminal, wait_for};
use serde_json::json;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Sockets of somebody who may no longer have them close within this time.
const SOON: Duration = Duration::from_secs(1);

fn with_the_hosts_namespaces() -> Instance {
    let mut porthole = Instance::start();
    porthole.terminate();
    std::fs::write(porthole.policy_path(), "host_namespaces = true\n").expect("a policy");
    porthole.serve();
    porthole
}

#[test]
fn a_user_stays_in_the_containers_namespaces_whatever_is_joined() {
    let porthole = with_the_hosts_namespaces();
    let ann = porthole.account("ann", "user");
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let id = text(&ann.post("/api/v1/containers", &spec).ok()["id"]);
    let path = format!("/api/v1/containers/{id}/sessions");
    let but_net =
        json!({"command": ["true"], "join": ["mnt", "uts", "ipc", "pid", "user", "cgroup"]});
    let refused = ann.post(&path, &but_net).refused(403);
    assert_eq!(refused["field"], "join");
    ann.post(&path, &json!({"join": []})).refused(403);
    porthole.admin().post(&path, &but_net).ok();
    ann.post(&path, &json!({"command": ["true"]})).ok();
}

#[test]
fn who_was_an_administrator_does_not_come_back_into_the_hosts_namespaces() {
    let porthole = with_the_hosts_namespaces();
    let ann = porthole.account("ann", "admin");
    let spec = json!({"image": "busybox", "command": ["sleep", "infinity"], "namespaces": {"net": "host"}});
    let id = text(&ann.post("/api/v1/containers", &spec).ok()["id"]);
    let beside = json!({"image": "busybox", "command": ["sleep", "infinity"],
        "namespaces": {"net": format!("container:{id}")}});
    let beside = text(&ann.post("/api/v1/containers", &beside).ok()["id"]);
    let open = |id: &str| {
        let path = format!("/api/v1/containers/{id}/sessions");
        ann.post(&path, &json!({"command": ["sh"]}))
    };
    let session = text(&open(&beside).ok()["id"]);
    // A session that left the container's own network out, in a container that has one.
    let plain = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let plain = text(&ann.post("/api/v1/containers", &plain).ok()["id"]);
    let path = format!("/api/v1/containers/{plain}/sessions");
    let join = ["mnt", "uts", "ipc", "pid", "user", "cgroup"];
    let outside = ann.post(&path, &json!({"command": ["sh"], "join": join}));
    let outside = text(&outside.ok()["id"]);
    let inside = text(&ann.post(&path, &json!({"command": ["sh"]})).ok()["id"]);
    assert!(Terminal::attach(&ann, &outside).flags.write, "the control");
    wait_for("processes of both to be seen", PATIENCE, || {
        let seen = porthole.admin().get("/api/v1/processes").ok().to_string();
        (seen.contains(&outside) && seen.contains(&inside)).then_some(())
    });
    porthole
        .admin()
        .patch("/api/v1/users/ann", &json!({"role": "user"}))
        .ok();
    for id in [&id, &beside] {
        assert_eq!(open(id).refused(403)["field"], "namespaces.net");
        ann.act(&format!("/api/v1/containers/{id}/restart"))
            .refused(403);
        assert_eq!(porthole.container(id)["state"], "running", "it goes on");
    }
    let attach = |session: &str| Terminal::try_attach(&ann, session, &Attach::default());
    let refused = |session: &str| attach(session).err() == Some(4403);
    assert!(refused(&outside), "what it shows may be the host's");
    // What is on its way in may have been seen before it was there.
    wait_for("the control", PATIENCE, || {
        attach(&inside)
            .is_ok_and(|terminal| terminal.flags.write)
            .then_some(())
    });
    assert!(refused(&session), "what it shows may be the host's");
    // What it came through may be gone: what it is in stays the host's.
    ann.delete(&format!("/api/v1/containers/{id}?force=true"))
        .ok();
    open(&beside).refused(403);
    let own = json!({"image": "busybox", "command": ["sleep", "infinity"]});
    let own = text(&ann.post("/api/v1/containers", &own).ok()["id"]);
    open(&own).ok();
}

#[test]
fn an_account_made_anew_has_nothing_of_the_old_one() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "admin");
    let container = porthole.sleeper();
    let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
    let open = |command: &str| {
        let session = ann.post(&path, &json!({"command": ["sh", "-c", command]}));
        text(&session.ok()["id"])
    };
    let (runs, ended) = (open("sleep 1000"), open("echo secret"));
    let others = text(&porthole.session(&container, &json!({"command": ["sh"]}))["id"]);
    let journals = porthole.root().join("server/journals");
    assert!(journals.join(&ended).exists(), "the control");
    porthole.admin().delete("/api/v1/users/ann").ok();
    for id in [&runs, &ended] {
        let path = format!("/api/v1/sessions/{id}");
        porthole.admin().get(&path).refused(404);
        assert!(!journals.join(id).exists(), "its output is deleted");
    }
    porthole
        .admin()
        .get(&format!("/api/v1/sessions/{others}"))
        .ok();
    let body = json!({"user": "ann", "password": PASSWORD, "role": "user"});
    porthole.admin().post("/api/v1/users", &body).ok();
}

#[test]
fn a_password_reset_ends_tokens_and_their_sockets() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let made = ann.post("/api/v1/tokens", &json!({"name": "robot"})).ok();
    let robot = porthole.anonymous().with_token(&text(&made["token"]));
    robot.get("/api/v1/containers").ok();
    let events = Events::open(&robot, "/api/v1/events");
    let new = json!({"password": "another fine long password"});
    porthole.admin().patch("/api/v1/users/ann", &new).ok();
    assert!(events.ends_within(SOON), "events go on");
    robot.get("/api/v1/containers").refused(401);
}

#[test]
fn a_message_of_more_than_256_kib_is_not_gathered() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let session = porthole.session(&container, &json!({"command": ["sh"]}));
    let path = format!("/api/v1/sessions/{}/attach", text(&session["id"]));
    // One message in frames of 60 KiB, that is never finished: who gathers it says nothing.
    let answered = |frames: usize| {
        let mut socket = upgrade(porthole.admin(), &path).expect("an upgrade");
        for number in 0..frames {
            let kind = if number == 0 {
                Data::Binary
            } else {
                Data::Continue
            };
            let frame = Frame::message(vec![0; 60 * 1024], OpCode::Data(kind), false);
            if socket.send(Message::Frame(frame)).is_err() {
                return false;
            }
        }
        let _ = socket.send(Message::Ping(b"there?".to_vec().into()));
        loop {
            match socket.read() {
                Ok(Message::Pong(bytes)) if &bytes[..] == b"there?" => return true,
                Ok(Message::Close(_)) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    };
    assert!(answered(4), "the control: 240 KiB are waited for");
    assert!(!answered(5), "300 KiB");
}
