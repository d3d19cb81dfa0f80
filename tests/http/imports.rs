//! Archives on their way: clients that hang up, imports that are ended, and answers to who still sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use porthole_tests::instance::{signal, text};
use porthole_tests::{Client, Instance, PATIENCE, host, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// A request whose body is sent piece by piece.
struct Sending {
    stream: TcpStream,
}

impl Sending {
    /// Sends the head of an import that says how long it is.
    fn begin(client: &Client, query: &str, length: usize, more: &str) -> Self {
        let mut stream = TcpStream::connect(client.address()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let address = client.address();
        let mut head = format!("POST /api/v1/images{query} HTTP/1.1\r\nhost: {address}\r\n");
        for (name, value) in client.headers_for(true) {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {length}\r\nconnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        Self { stream }
    }

    /// Sends so many bytes, be it that nobody reads them.
    fn send(&mut self, count: usize) -> std::io::Result<()> {
        let piece = vec![7; 1 << 16];
        let mut left = count;
        while left > 0 {
            let now = left.min(piece.len());
            self.stream.write_all(&piece[..now])?;
            left -= now;
        }
        Ok(())
    }

    /// The whole answer.
    fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Imports that go on.
fn going_on(porthole: &Instance) -> Vec<Value> {
    let all = porthole.admin().get("/api/v1/imports").ok();
    all["items"].as_array().expect("a list").clone()
}

/// The last import in the audit trail, once it is known how it ended.
fn ended(porthole: &Instance) -> Value {
    wait_for("how it ended", PATIENCE, || {
        let acts = "/api/v1/audit?act=image_import&limit=1";
        let act = porthole.admin().get(acts).ok()["items"][0].clone();
        (act["result"] != "asked" && !act.is_null()).then_some(act)
    })
}

/// An archive that takes the keeper a while, since nothing in it can be made smaller.
fn archive() -> Vec<u8> {
    let mut bytes = vec![0; 48 << 20];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .expect("random bytes");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    tar.append_data(&mut header, "much", &bytes[..])
        .expect("written");
    tar.into_inner().expect("an archive")
}

/// The keeper's child that makes an image, stopped.
fn halted(porthole: &Instance) -> i32 {
    let keeper = porthole.keeper_pid();
    let is_it = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|c| c.trim() == "porthole-images")
    };
    wait_for("the import to be at work", PATIENCE, || {
        let found = host::children(keeper).into_iter().find(is_it)?;
        signal(found, Signal::STOP);
        Some(found)
    })
}

#[test]
fn an_import_whose_client_hangs_up_has_failed_and_says_so() {
    let porthole = Instance::start();
    let mut sending = Sending::begin(porthole.admin(), "?name=cut", 1 << 20, "");
    sending.send(1000).expect("sent");
    wait_for("it to begin", PATIENCE, || {
        (!going_on(&porthole).is_empty()).then_some(())
    });
    drop(sending);
    let act = ended(&porthole);
    assert_eq!(act["result"], "failed", "{act}");
    assert!(act.to_string().contains("did not arrive whole"), "{act}");
    assert_eq!(going_on(&porthole), Vec::<Value>::new());
}

#[test]
fn two_imports_without_a_name_are_two_and_end_one_by_one() {
    let porthole = Instance::start();
    let chosen = "00112233445566778899aabbccddeeff";
    let query = format!("?import={chosen}");
    let mut first = Sending::begin(porthole.admin(), &query, 1 << 20, "");
    first.send(1000).expect("sent");
    wait_for("the first", PATIENCE, || {
        (going_on(&porthole).len() == 1).then_some(())
    });
    // The same once more is none of its own.
    let again = porthole
        .admin()
        .post_bytes(&format!("/api/v1/images{query}"), &b"x"[..]);
    assert_eq!(again.refused(409)["field"], "import");
    let second = Sending::begin(porthole.admin(), "", 1 << 20, "");
    let both = wait_for("both", PATIENCE, || {
        Some(going_on(&porthole)).filter(|all| all.len() == 2)
    });
    let ids: Vec<String> = both.iter().map(|import| text(&import["id"])).collect();
    assert!(
        ids.contains(&chosen.to_owned()) && ids[0] != ids[1],
        "{ids:?}"
    );
    // Not everybody ends one, and none that there is not.
    let ann = porthole.account("ann", "user");
    let one = format!("/api/v1/imports/{chosen}");
    ann.delete(&one).refused(403);
    let none = format!("/api/v1/imports/{}", "f".repeat(32));
    assert_eq!(
        porthole.admin().delete(&none).refused(404)["code"],
        "import_not_found"
    );
    assert_eq!(porthole.admin().delete(&one).status, 204);
    let told = first.answer();
    assert!(
        told.starts_with("HTTP/1.1 409") && told.contains("\"cancelled\""),
        "{told}"
    );
    // The control: the other one goes on.
    let left = going_on(&porthole);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_ne!(left[0]["id"], chosen);
    drop(second);
    wait_for("the end", PATIENCE, || {
        going_on(&porthole).is_empty().then_some(())
    });
}

#[test]
fn an_import_that_the_keeper_is_at_is_ended_and_leaves_nothing() {
    let porthole = Instance::start();
    let archive = archive();
    let id = "ab".repeat(16);
    let path = format!("/api/v1/images?name=much&import={id}");
    let answer = std::thread::scope(|scope| {
        let sent = scope.spawn(|| porthole.admin().post_bytes(&path, &archive[..]));
        halted(&porthole);
        assert_eq!(text(&going_on(&porthole)[0]["id"]), id);
        let one = format!("/api/v1/imports/{id}");
        assert_eq!(porthole.admin().delete(&one).status, 204);
        sent.join().expect("answered")
    });
    assert_eq!(answer.refused(409)["code"], "cancelled");
    assert_eq!(going_on(&porthole), Vec::<Value>::new());
    let act = ended(&porthole);
    assert_eq!(act["result"], "refused", "{act}");
    let cancel = "/api/v1/audit?act=import_cancel&limit=1";
    let act = porthole.admin().get(cancel).ok()["items"][0].clone();
    assert!(text(&act["object"]).starts_with("much"), "{act}");
    let images = porthole.root().join("keeper/images");
    wait_for("what was unpacked to go", PATIENCE, || {
        let empty =
            |name: &str| std::fs::read_dir(images.join(name)).is_ok_and(|all| all.count() == 0);
        (empty("staging") && empty("layers")).then_some(())
    });
    porthole.admin().get("/api/v1/images/much").refused(404);
    // The control: the same, where nobody ends it.
    let imported = porthole
        .admin()
        .post_bytes("/api/v1/images?name=much", &archive[..]);
    assert_eq!(imported.status, 201, "{imported}");
}

#[test]
fn an_import_that_the_keeper_is_at_is_done_without_its_client() {
    let porthole = Instance::start();
    let archive = archive();
    let mut sending = Sending::begin(porthole.admin(), "?name=left", archive.len(), "");
    sending.stream.write_all(&archive).expect("sent");
    let child = halted(&porthole);
    drop(sending);
    signal(child, Signal::CONT);
    let act = ended(&porthole);
    assert_eq!(act["result"], "done", "{act}");
    porthole.admin().get("/api/v1/images/left").ok();
}

#[test]
fn who_is_refused_while_sending_is_told_why() {
    let porthole = Instance::start();
    let ann = porthole.account("ann", "user");
    // Everything is sent before anything is read.
    for client in [ann.clone(), porthole.anonymous()] {
        let mut sending = Sending::begin(&client, "?name=x", 24 << 20, "");
        sending.send(24 << 20).expect("somebody reads it");
        let told = sending.answer();
        let refused = ["HTTP/1.1 403", "HTTP/1.1 401"];
        assert!(
            refused.iter().any(|status| told.starts_with(status)),
            "{told}"
        );
        assert!(told.contains("\"message\""), "{told}");
    }
    // It is bounded.
    let mut endless = Sending::begin(&ann, "?name=x", 1 << 30, "");
    endless.send(1 << 30).expect_err("nobody reads so much");
    // Who asks first is not asked to send.
    let mut asks = Sending::begin(&ann, "?name=x", 24 << 20, "expect: 100-continue\r\n");
    let told = asks.answer();
    assert!(told.starts_with("HTTP/1.1 403"), "{told}");
}
