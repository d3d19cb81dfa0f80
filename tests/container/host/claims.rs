//! Control groups that are called like a container of an engine's, and are not that container's.

use porthole_tests::engines::{DockerDaemon, Impostor};
use porthole_tests::instance::{pid, text};
use porthole_tests::{Answer, Client, Instance, PATIENCE, host, wait_for};
use serde_json::{Value, json};

use super::containers;

fn of_first(porthole: &Instance, init: i32) -> Option<Value> {
    let mut all = containers(porthole).into_iter();
    all.find(|one| one["pid"] == init)
}

fn open(visitor: &Client, reference: &str) -> Answer {
    let path = format!("/api/v1/containers/{reference}/sessions");
    let body = json!({"command": ["/bin/sh", "-c", "echo 0$SECRET"], "tty": false});
    visitor.post(&path, &body)
}

fn written(porthole: &Instance, session: &Value) -> String {
    let path = format!(
        "/api/v1/sessions/{}/journal?format=text",
        text(&session["id"])
    );
    wait_for("what it wrote", PATIENCE, || {
        let text = porthole.admin().get(&path).body;
        text.contains('0').then_some(text)
    })
}

#[test]
fn a_group_that_is_called_like_a_container_is_not_it() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let policy = format!(
        "join_foreign = true\njoin_privileged = true\n[engines]\ndocker = {:?}\nmanage = true\n",
        docker.socket()
    );
    let porthole = Instance::builder().with_policy(&policy).start();
    // What it opens goes with it.
    let visitor = porthole.account("visitor", "admin");
    let id = docker.run(
        &["--name=db", "--env=SECRET=hunter2"],
        &["sleep", "1000000"],
    );
    let init = docker.init(&id);
    let db = || porthole.admin().get("/api/v1/containers/db").json();
    wait_for("Docker's container", PATIENCE, || {
        (db()["pid"] == init).then_some(())
    });
    // The control: what Docker made is entered by its name, with what is configured.
    let session = open(&visitor, "db").ok();
    assert!(written(&porthole, &session).contains("0hunter2"));
    assert_eq!(db()["claim"], Value::Null);
    docker.docker(&["kill", "db"]);
    wait_for("its end", PATIENCE, || {
        (db()["state"] == "exited").then_some(())
    });

    let impostor = Impostor::of(&id);
    wait_for("the impostor", PATIENCE, || {
        of_first(&porthole, impostor.init())
    });
    // Nobody gets into it by the engine's name, from the first moment on.
    open(&visitor, "db").refused(409);
    let other = wait_for("it stands apart", PATIENCE, || {
        of_first(&porthole, impostor.init()).filter(|one| one["name"] != "db")
    });
    assert_eq!(other["engine"], "none", "{other}");
    assert_eq!(other["image"], Value::Null, "{other}");
    assert_eq!(other["claim"]["id"], id, "{other}");
    assert_eq!(other["claim"]["name"], "db", "{other}");
    let now = db();
    assert_eq!((&now["id"], &now["state"]), (&json!(id), &json!("exited")));
    assert_eq!(
        (&now["pid"], &now["engine"]),
        (&Value::Null, &json!("docker"))
    );
    let processes = porthole.admin().get("/api/v1/containers/db/processes").ok();
    assert_eq!(processes["items"], json!([]));
    open(&visitor, "db").refused(409);

    // By its own identifier it is entered, and gets nothing that Docker configured; Docker is asked
    // for nothing.
    let own = &text(&other["id"]);
    let session = open(&visitor, own).ok();
    assert!(!written(&porthole, &session).contains("hunter2"));
    for verb in ["stop", "kill", "start", "pause", "restart"] {
        let path = format!("/api/v1/containers/{own}/{verb}");
        porthole.admin().post(&path, &json!({})).refused(409);
    }
    assert!(host::runs(impostor.init()));
    let state = docker.docker(&["inspect", "--format={{.State.Status}}", "db"]);
    assert_eq!(state, "exited");
    let page = porthole.admin().get(&format!("/containers/{own}"));
    assert!(
        page.body.contains("Docker says that this one is exited"),
        "{}",
        page.body
    );

    // Docker's own starts beside it, by its name.
    let path = "/api/v1/containers/db/start";
    porthole.admin().post(path, &json!({})).ok();
    let again = docker.init(&id);
    wait_for("Docker's is told again", PATIENCE, || {
        (db()["pid"] == again && db()["state"] == "running").then_some(())
    });
    let other = of_first(&porthole, impostor.init()).expect("it is there");
    assert_ne!(other["id"], json!(id));
    let session = open(&visitor, "db").ok();
    assert!(written(&porthole, &session).contains("0hunter2"));
    assert_ne!(pid(&db()["pid"]), impostor.init());
    porthole.admin().delete("/api/v1/users/visitor").ok();
}
