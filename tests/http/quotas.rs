//! What accounts may have in all, while containers are being changed.

use std::fs;
use std::time::Duration;

use porthole_tests::instance::text;
use porthole_tests::{Client, Instance, host, wait_for};
use serde_json::{Value, json};

fn give(porthole: &Instance, limits: &Value) {
    let body = json!({"limits": limits});
    porthole.admin().patch("/api/v1/users/ann", &body).ok();
}

fn spec(limits: &Value) -> Value {
    json!({"image": "busybox", "command": ["sleep", "infinity"], "limits": limits})
}

#[test]
fn what_may_be_swapped_out_counts_as_memory() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    give(&porthole, &json!({"memory": 64 << 20}));
    let asks = |swap: u64| {
        let limits = json!({"memory": 32 << 20, "swap": swap});
        ann.post("/api/v1/containers", &spec(&limits))
    };
    let told = asks(33 << 20).refused(422);
    assert_eq!(
        (&told["field"], &told["code"]),
        (&json!("limits.memory"), &json!("too_much"))
    );
    assert!(text(&told["message"]).contains("memory and swap"), "{told}");
    // The control: what fits, to the last byte.
    let id = text(&asks(32 << 20).ok()["id"]);
    let usage = &ann.get("/api/v1/account").ok()["usage"];
    assert_eq!(usage["memory"]["used"], 64 << 20);
    let path = format!("/api/v1/containers/{id}");
    let swap = |swap: u64| ann.patch(&path, &json!({"limits": {"swap": swap}}));
    assert_eq!(swap(33 << 20).refused(429)["field"], "limits.memory");
    swap(0).ok();
    let usage = &ann.get("/api/v1/account").ok()["usage"];
    assert_eq!(usage["memory"]["used"], 32 << 20);
    swap(32 << 20).ok();
}

/// What the kernel lets a container use: bytes of memory, bytes of memory and swap, processes.
fn in_force(id: &str) -> (u64, Option<u64>, u64) {
    let groups = host::cgroups(id);
    let read = |name: &str| {
        let path = groups.iter().map(|group| group.join(name));
        let text = path.into_iter().find_map(|p| fs::read_to_string(p).ok())?;
        text.trim().parse::<u64>().ok()
    };
    let (memory, all) = match read("memory.max") {
        Some(memory) => (memory, read("memory.swap.max").map(|swap| memory + swap)),
        None => (
            read("memory.limit_in_bytes").expect("a limit"),
            read("memory.memsw.limit_in_bytes"),
        ),
    };
    (memory, all, read("pids.max").expect("a limit"))
}

/// What the keeper has written down of a container's limits.
fn written_down(porthole: &Instance, id: &str) -> Value {
    let path = porthole.root().join("keeper/containers").join(id);
    let text = fs::read_to_string(path.join("config.json")).expect("its record");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    record["spec"]["limits"].clone()
}

#[test]
fn of_changes_of_limits_at_once_the_last_one_is_in_force_whole() {
    let porthole = Instance::start();
    let id = text(&porthole.create(&spec(&json!({})))["id"]);
    let path = format!("/api/v1/containers/{id}");
    let sets: Vec<Value> = (1..=8_u64)
        .map(|n| json!({"memory": (40 + n) << 20, "swap": n << 20, "pids": 100 + n}))
        .collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let change = |set| porthole.admin().patch(&path, &json!({"limits": set}));
        let asked: Vec<_> = sets
            .iter()
            .map(|set| scope.spawn(move || change(set)))
            .collect();
        asked
            .into_iter()
            .map(|a| a.join().expect("asked"))
            .collect()
    });
    for (answer, set) in answers.iter().zip(&sets) {
        // Each was put into force, whole, and none was sent away because of another.
        let limits = &answer.ok()["limits"];
        for name in ["memory", "swap", "pids"] {
            assert_eq!(limits[name], set[name], "{answer}");
        }
    }
    let now = porthole.container(&id)["limits"].clone();
    let last = sets.iter().find(|set| set["pids"] == now["pids"]);
    let last = last.expect("one of them");
    assert_eq!(written_down(&porthole, &id), now);
    let number = |name: &str| last[name].as_u64().expect("a number");
    let (memory, all, pids) = in_force(&id);
    assert_eq!((memory, pids), (number("memory"), number("pids")));
    if let Some(all) = all {
        assert_eq!(all, number("memory") + number("swap"));
    }
}

#[test]
fn a_change_whose_client_has_hung_up_is_still_counted_and_told() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    give(&porthole, &json!({"memory": 96 << 20}));
    let made = ann.post("/api/v1/containers", &spec(&json!({"memory": 32 << 20})));
    let path = format!("/api/v1/containers/{}", text(&made.ok()["id"]));
    // Many who do not wait for the answer.
    for pids in 1..=20_u32 {
        send_and_leave(&ann, &path, &json!({"limits": {"pids": 100 + pids}}));
    }
    let acts = || {
        let query = "/api/v1/audit?act=container_change&limit=100";
        porthole.admin().get(query).ok()["items"].clone()
    };
    let all_ended = || {
        let acts = acts();
        let acts = acts.as_array().expect("a list").clone();
        let ended = |act: &Value| act["result"] != "asked";
        (!acts.is_empty() && acts.iter().all(ended)).then_some(acts)
    };
    let ended = wait_for("all to be told", Duration::from_secs(60), all_ended);
    assert!(ended.iter().any(|act| act["result"] == "done"), "{ended:?}");
    // And nothing is left in the way of the next.
    ann.patch(&path, &json!({"limits": {"memory": 64 << 20}}))
        .ok();
}

/// Sends a change and hangs up at once.
fn send_and_leave(client: &Client, path: &str, body: &Value) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(client.address()).expect("connected");
    let body = body.to_string();
    let mut head = format!("PATCH {path} HTTP/1.1\r\nhost: {}\r\n", client.address());
    for (name, value) in client.headers_for(true) {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!(
        "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
}

#[test]
fn an_account_has_fifty_tokens_at_most() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    let make = |client: &Client, name: &str| client.post("/api/v1/tokens", &json!({"name": name}));
    let made: Vec<Value> = (0..50)
        .map(|n| make(&ann, &format!("robot {n}")).ok())
        .collect();
    let told = make(&ann, "one more").refused(409);
    assert_eq!(told["code"], "too_many_tokens");
    assert!(text(&told["message"]).contains("Delete one"), "{told}");
    // A page says so too, and keeps what was typed.
    let form = "name=one+more&life=";
    let page = ann.post_text(
        "/settings/tokens",
        "application/x-www-form-urlencoded",
        form,
    );
    assert_eq!(page.status, 409, "{page}");
    for there in ["You have 50 tokens already", "value=\"one more\""] {
        assert!(page.body.contains(there), "{there}: {page}");
    }
    // The controls: others have their own, and one that is gone makes room.
    make(porthole.admin(), "another's").ok();
    ann.delete(&format!("/api/v1/tokens/{}", made[7]["id"]))
        .ok();
    make(&ann, "in its place").ok();
    make(&ann, "one too many").refused(409);
}
