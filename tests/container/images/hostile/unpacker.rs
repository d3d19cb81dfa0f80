//! Who unpacks an archive: how much it takes, and what it could do if an archive made it.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use porthole_tests::instance::{signal, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::json;

use super::super::archive::{Layout, Tape, compressed, names_below};
use super::super::{import, stored};
use super::refused;

/// A tar of empty files that is made while it is read.
struct Many(std::iter::Take<std::ops::RangeFrom<u64>>, Vec<u8>);

impl Read for Many {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.1.len() < buffer.len() {
            match self.0.next() {
                Some(number) => {
                    let entry = Tape::default().file(&format!("{number}"), b"");
                    self.1.extend_from_slice(&entry.end()[..512]);
                }
                None => break,
            }
        }
        let count = buffer.len().min(self.1.len());
        buffer[..count].copy_from_slice(&self.1[..count]);
        self.1.drain(..count);
        Ok(count)
    }
}

#[test]
fn what_would_fill_a_disk_is_bounded() {
    let porthole = Instance::builder()
        .with_policy("[images]\narchive = 700_000_000\nunpacked = 100_000_000\n")
        .start();
    // A million files.
    let many = Many((0..).take(1_000_000), Vec::new());
    let error = porthole
        .admin()
        .post_bytes("/api/v1/images?name=many", many)
        .refused(422);
    assert!(text(&error["message"]).contains("500000"), "{error}");
    // A thousandfold, and more than root allows in all.
    let zeros = Tape::default().file("zeros", &vec![0; 300 << 20]).end();
    let bomb = compressed("gzip", &zeros).expect("gzip");
    assert!(bomb.len() < 1 << 20);
    refused(&porthole, &bomb, "100000000 bytes");
    let two = vec![0; 60_000_000];
    refused(
        &porthole,
        &Tape::default().file("a", &two).file("b", &two).end(),
        "100000000 bytes",
    );
    let layers = vec![
        Tape::default().file("a", &two).end(),
        Tape::default().file("b", &two).end(),
    ];
    let squeezed: Vec<_> = layers
        .iter()
        .map(|l| compressed("gzip", l).expect("gzip"))
        .collect();
    let mut layout = Layout::new(layers, &json!({}));
    layout.layers = squeezed;
    refused(
        &porthole,
        &layout.write(&layout.manifest()),
        "100000000 bytes",
    );
    // A longer archive is not even received.
    let mut stream = std::net::TcpStream::connect(porthole.admin().address()).expect("connected");
    let mut head = format!(
        "POST /api/v1/images?name=long HTTP/1.1\r\nHost: {}\r\nContent-Length: 700000001\r\n",
        porthole.admin().address()
    );
    for (name, value) in porthole.admin().headers_for(true) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    std::io::Write::write_all(&mut stream, format!("{head}\r\n").as_bytes()).expect("sent");
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // What is zero takes no disk, however long it is.
    let one = Tape::default().file("a", &two).end();
    let told = import(&porthole, "control", &one).ok();
    assert!(told["size"].as_u64() < Some(1 << 20), "{told}");

    let generous = Instance::start();
    refused(&generous, &bomb, "times its size");
}

#[test]
fn who_unpacks_can_do_nothing_else() {
    let porthole = Instance::start();
    let sender = porthole.admin().clone();
    let thread = std::thread::spawn(move || {
        let many = Many((0..).take(200_000), Vec::new());
        let end = std::io::Cursor::new(vec![0; 1024]);
        sender.post_bytes("/api/v1/images?name=slow", many.chain(end))
    });
    let keeper = porthole.keeper_pid();
    let own = host::namespaces(keeper);
    let found = wait_for("the unpacker at work", PATIENCE * 4, || {
        host::processes().into_iter().find(|pid| {
            let status = host::status(*pid);
            let importer = host::parent(*pid).unwrap_or(0);
            status
                .get("Name")
                .is_some_and(|name| name == "porthole-unpack")
                && status.get("Seccomp").is_some_and(|mode| mode == "2")
                && host::parent(importer) == Some(keeper)
        })
    });
    let status = host::status(found);
    assert_eq!(status["NoNewPrivs"], "1");
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID and SETFCAP, in a user namespace of its own.
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(
            u64::from_str_radix(&status[set], 16),
            Ok(0x8000_001b),
            "{set}"
        );
    }
    for set in ["CapBnd", "CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set}");
    }
    let uid: u32 = status["Uid"]
        .split_whitespace()
        .next()
        .expect("one")
        .parse()
        .expect("a number");
    assert!(uid >= 524_288, "{uid}");
    assert_eq!(status.get("Groups").map(|groups| groups.trim()), Some(""));
    let namespaces = host::namespaces(found);
    for kind in ["user", "mnt", "net", "ipc", "uts", "cgroup"] {
        assert_ne!(namespaces[kind], own[kind], "{kind}");
    }
    // Its root holds what it unpacks and nothing else, and it has that, the archive and its channel.
    let root = names_below(Path::new(&format!("/proc/{found}/root")));
    assert!(root.iter().all(|name| name == "0"), "{root:?}");
    let files = names_below(Path::new(&format!("/proc/{found}/fd")));
    assert!(files.len() <= 9, "{files:?}");
    let group = std::fs::read_to_string(format!("/proc/{found}/cgroup")).expect("its groups");
    let group = group
        .split(['/', '\n'])
        .find(|part| part.starts_with("import-"))
        .expect("its own")
        .to_owned();
    assert!(!host::cgroups(&group).is_empty());
    let answer = thread.join().expect("a thread");
    assert_eq!(answer.status, 201, "{answer}");
    // Killed in the middle, it takes everything with it, and says so.
    let sender = porthole.admin().clone();
    let thread = std::thread::spawn(move || {
        let many = Many((1_000_000..).take(200_000), Vec::new());
        let end = std::io::Cursor::new(vec![0; 1024]);
        sender.post_bytes("/api/v1/images?name=killed", many.chain(end))
    });
    let found = wait_for("the second unpacker", PATIENCE * 4, || {
        host::processes().into_iter().find(|pid| {
            let importer = host::parent(*pid).unwrap_or(0);
            host::status(*pid)
                .get("Name")
                .is_some_and(|name| name == "porthole-unpack")
                && host::parent(importer) == Some(keeper)
        })
    });
    std::thread::sleep(Duration::from_millis(200));
    signal(found, rustix::process::Signal::KILL);
    let error = thread.join().expect("a thread").refused(422);
    assert!(text(&error["message"]).contains("memory"), "{error}");
    wait_for("nothing to be left", PATIENCE, || {
        stored(&porthole).1.is_empty().then_some(())
    });
    assert_eq!(host::cgroups(&group), Vec::<std::path::PathBuf>::new());
}
