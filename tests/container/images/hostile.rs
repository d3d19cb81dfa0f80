//! Archives that want more than to be an image. Beside each stands what becomes of it where nothing
//! stops it: Python's tarfile extracts what it is told to.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::json;

use super::archive::{Layout, Tape, compressed, config, docker};
use super::{import, stored};

/// Extracts an archive without a thought.
fn naive(archive: &[u8], into: &Path) -> bool {
    let tar = into.with_extension("tar");
    std::fs::write(&tar, archive).expect("written");
    let script = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    Command::new("python3")
        .args(["-W", "ignore", "-c", script])
        .arg(&tar)
        .arg(into)
        .status()
        .is_ok_and(|status| status.success())
}

/// It is refused with these words, and nothing of it stays.
#[track_caller]
fn refused(porthole: &Instance, archive: &[u8], words: &str) {
    let error = import(porthole, "hostile", archive).refused(422);
    let message = text(&error["message"]);
    assert!(message.contains(words), "{message}");
    assert_eq!(error["field"], "archive", "{error}");
    let (layers, staging) = stored(porthole);
    assert!(layers.is_empty(), "{layers:?}");
    assert!(staging.is_empty(), "{staging:?}");
}

#[test]
fn nothing_is_written_outside() {
    let porthole = Instance::start();
    let outside = tempfile::tempdir().expect("directory");
    let place = outside.path().display().to_string();
    let secret = outside.path().join("secret");
    for (tape, words, escaped) in [
        (
            Tape::default().file("../escaped", b"x"),
            "leads out",
            "escaped",
        ),
        (
            Tape::default()
                .directory("a")
                .directory("a/b")
                .file("a/b/../../../escaped", b"x"),
            "leads out",
            "escaped",
        ),
        (
            Tape::default()
                .symlink("out", &place)
                .file("out/escaped", b"x"),
            "symbolic link",
            "escaped",
        ),
        (
            Tape::default()
                .symlink("up", "..")
                .symlink("up2", "up")
                .file("up2/escaped", b"x"),
            "symbolic link",
            "escaped",
        ),
        (
            Tape::default()
                .pax(&[("path", b"../escaped")])
                .file("harmless", b"x"),
            "leads out",
            "escaped",
        ),
        (Tape::default().link("linked", "../secret"), "hard link", ""),
        (
            Tape::default().link("linked", &secret.display().to_string()),
            "hard link",
            "",
        ),
        (
            Tape::default()
                .symlink("s", "../secret")
                .link("linked", "s")
                .file("linked", b"over"),
            "",
            "",
        ),
    ] {
        std::fs::write(&secret, "of the host").expect("written");
        let _ = std::fs::remove_file(outside.path().join("escaped"));
        let archive = tape.directory("d").end();
        if words.is_empty() {
            // A link to a link, and then a file of that name: allowed, and inside.
            let answer = import(&porthole, "inside", &archive);
            assert_eq!(answer.status, 201, "{answer}");
            porthole.admin().delete("/api/v1/images/inside").ok();
            wait_for("the layer to go", PATIENCE, || {
                stored(&porthole).0.is_empty().then_some(())
            });
        } else {
            refused(&porthole, &archive, words);
        }
        assert!(!outside.path().join("escaped").exists());
        assert_eq!(std::fs::read(&secret).expect("there"), b"of the host");
        // The control.
        let into = outside.path().join("naive");
        let _ = std::fs::remove_dir_all(&into);
        std::fs::create_dir(&into).expect("made");
        let extracted = naive(&archive, &into);
        if !escaped.is_empty() {
            assert!(
                outside.path().join(escaped).exists(),
                "the control escapes: {words}"
            );
        } else if extracted && into.join("linked").exists() && !words.is_empty() {
            assert_eq!(
                std::fs::read(into.join("linked")).expect("read"),
                b"of the host"
            );
        }
    }
}

#[test]
fn an_absolute_name_is_one_in_the_images_root() {
    let porthole = Instance::start();
    let outside = tempfile::tempdir().expect("directory");
    let path = outside.path().join("absolute").display().to_string();
    let archive = Tape::root().file(&path, b"inside").end();
    assert_eq!(import(&porthole, "absolute", &archive).status, 201);
    assert!(!Path::new(&path).exists());
    let container = porthole.create(&json!({"image": "absolute", "command": ["sleep", "1000"]}));
    assert_eq!(porthole.sh(&container, &format!("cat {path}")), "inside");
    let into = outside.path().join("naive");
    std::fs::create_dir(&into).expect("made");
    assert!(naive(&Tape::default().file(&path, b"x").end(), &into));
    assert!(Path::new(&path).exists(), "the control");
}

#[test]
fn devices_are_left_out_and_set_user_id_is_the_containers_own() {
    let porthole = Instance::start();
    let archive = Tape::root()
        .entry(b'3', "./null", "", (0o666, 0), b"")
        .entry(b'4', "./disk", "", (0o666, 0), b"")
        .entry(b'0', "./suid", "", (0o6755, 0), b"#!/bin/sh\nid -u\n")
        .entry(b'6', "./pipe", "", (0o600, 7), b"")
        .end();
    let told = import(&porthole, "devices", &archive).ok();
    assert_eq!(told["devices_left_out"], 2, "{told}");
    let container = porthole.create(&json!({"image": "devices", "command": ["sleep", "1000"]}));
    let seen = "ls /null /disk 2>/dev/null; stat -c '%F %u' /pipe; stat -c '%a %u' /suid; grep NoNewPrivs /proc/self/status";
    let answer = porthole.sh(&container, seen);
    assert_eq!(answer, "fifo 7\n6755 0\nNoNewPrivs:\t1", "{answer}");
    let into = tempfile::tempdir().expect("directory");
    let inner = into.path().join("naive");
    std::fs::create_dir(&inner).expect("made");
    assert!(naive(&archive, &inner));
    let kind = std::fs::symlink_metadata(inner.join("null"))
        .expect("there")
        .file_type();
    assert!(
        std::os::unix::fs::FileTypeExt::is_char_device(&kind),
        "the control"
    );
}

#[test]
fn names_owners_and_sizes_mean_one_thing_only() {
    let porthole = Instance::start();
    for (tape, words) in [
        (Tape::default().file(".wh.", b""), "no name"),
        (Tape::default().file(".wh..", b""), "no name"),
        (Tape::default().file("d/.wh...", b""), "no name"),
        (
            Tape::default().file("f", b"x").file("f/below", b"x"),
            "no directory",
        ),
        (
            Tape::default().file(".wh.x", b"").file("x/below", b"x"),
            "no directory",
        ),
        (
            Tape::default().file(".wh.x", b"").link("y", "x"),
            "hard link",
        ),
        (
            Tape::default().file("d/x", b"").file("d", b"x"),
            "takes the place",
        ),
        (
            Tape::default().entry(b'0', "f", "", (0o644, 65_536), b""),
            "0 to 65535",
        ),
        (
            Tape::default()
                .pax(&[("uid", b"4294967296")])
                .file("f", b""),
            "0 to 65535",
        ),
        (
            Tape::default().pax(&[("size", b"9")]).file("f", b"four"),
            "two places",
        ),
        (
            Tape::default().pax(&[("size", b"-1")]).file("f", b"four"),
            "cannot be understood",
        ),
        (
            Tape::default()
                .pax(&[("size", b"4"), ("size", b"5")])
                .file("f", b"four"),
            "cannot be understood",
        ),
        (
            Tape::default()
                .pax(&[("GNU.sparse.major", b"1")])
                .file("f", b"four"),
            "sparse",
        ),
        (
            Tape::default().entry(b'S', "f", "", (0o644, 0), b""),
            "sparse",
        ),
        (
            Tape::default().entry(b'M', "f", "", (0o644, 0), b""),
            "of a kind",
        ),
        (
            Tape::default()
                .entry(b'x', "pax", "", (0o644, 0), b"")
                .lying_about_size(1 << 33),
            "longer than",
        ),
        (
            Tape::default()
                .entry(b'L', "name", "", (0o644, 0), b"")
                .lying_about_size(1 << 40),
            "longer than",
        ),
        (
            Tape::default().file("f", b"").lying_about_size(1 << 33),
            "in the middle",
        ),
        (
            Tape::default()
                .file("f", b"")
                .lying_about_size(u64::MAX >> 2),
            "in the middle",
        ),
        (Tape::default(), "no file"),
    ] {
        let whole = Tape::default().directory("first");
        let archive = if words == "no file" {
            tape.end()
        } else {
            [&whole.end()[..512], &tape.end()].concat()
        };
        refused(&porthole, &archive, words);
    }
    refused(&porthole, b"", "no file");
    refused(&porthole, &[b'x'; 4096], "neither a tar");
    refused(&porthole, b"BZh91AY&SY", "bzip2");
    assert_eq!(
        import(
            &porthole,
            "control",
            &Tape::default().file("f", b"four").end()
        )
        .status,
        201
    );
}

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
fn what_was_cut_off_is_told_and_leaves_nothing() {
    let porthole = Instance::start();
    let noise: Vec<u8> = (0..9_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let plain = Tape::default()
        .directory("d")
        .file("d/f", &noise[..7_000])
        .file("g", b"g")
        .end();
    let layers = vec![plain.clone()];
    let archives = [
        ("plain", plain.clone()),
        ("gzip", compressed("gzip", &plain).expect("gzip")),
        ("zstd", compressed("zstd", &plain).expect("zstd")),
        ("xz", compressed("xz", &plain).expect("xz")),
        (
            "docker",
            docker("x:1", &layers, &config(&layers, &json!({}))),
        ),
    ];
    for (name, whole) in archives {
        // What ends a tar is 1,024 bytes of nothing.
        let content = if ["plain", "docker"].contains(&name) {
            whole.len() - 1024
        } else {
            whole.len() - 1
        };
        for cut in (1024..content).step_by(1024).chain([content]) {
            let answer = import(&porthole, "cut", &whole[..cut]);
            let error = answer.refused(422);
            assert_eq!(error["field"], "archive", "{name} cut at {cut}: {error}");
        }
        let (layers, staging) = stored(&porthole);
        assert!(
            layers.is_empty() && staging.is_empty(),
            "{layers:?} {staging:?}"
        );
    }
    assert_eq!(import(&porthole, "control", &plain).status, 201);
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let porthole = Instance::start();
    let layers = vec![Tape::root().end()];
    let wanted = json!({"Cmd": ["/bin/sleep", "1000"]});
    let layout = Layout::new(layers.clone(), &wanted);
    let other = Tape::root().file("other", b"").end();
    // The configuration speaks of another layer, the manifest of another blob, and so on.
    let mut wrong = layout.manifest();
    wrong["layers"][0]["digest"] = json!(super::digest(&other));
    refused(&porthole, &layout.write(&wrong), "is not in it");
    let mut exchanged = Layout::new(layers.clone(), &wanted);
    exchanged.layers = vec![other.clone()];
    refused(
        &porthole,
        &exchanged.write(&exchanged.manifest()),
        "has the digest",
    );
    refused(
        &porthole,
        &docker(
            "x:1",
            std::slice::from_ref(&other),
            &config(&layers, &wanted),
        ),
        "has the digest",
    );
    // A blob that is not what its name says.
    let whole = layout.write(&layout.manifest());
    let at = whole
        .windows(6)
        .rposition(|w| w == b"/bin/s")
        .expect("the configuration's command");
    let mut damaged = whole.clone();
    damaged[at] = b'.';
    refused(&porthole, &damaged, "has the digest");
    let mut typed = layout.manifest();
    typed["layers"][0]["mediaType"] = json!("application/x-executable");
    refused(&porthole, &layout.write(&typed), "application/x-executable");
    let mut foreign = layout.manifest();
    foreign["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    refused(&porthole, &layout.write(&foreign), "foreign");
    let mut none = layout.manifest();
    none["layers"] = json!([]);
    refused(&porthole, &layout.write(&none), "0 layers");
    let text = String::from_utf8(config(&layers, &wanted)).expect("text");
    for (from, to, words) in [
        ("\"linux\"", "\"windows\"", "windows"),
        ("amd64", "s390x", "s390x"),
        ("\"layers\"", "\"other\"", "other"),
        ("sha256:", "sha512:", "sha512"),
    ] {
        let changed = text.replace(from, to).into_bytes();
        if changed != text.as_bytes() {
            refused(&porthole, &docker("x:1", &layers, &changed), words);
        }
    }
    for user in ["4294967296", "0 ", "-1", "0:65536"] {
        let config = config(&layers, &json!({"User": user}));
        refused(&porthole, &docker("x:1", &layers, &config), "User");
        let spec = json!({"image": "busybox", "user": user});
        porthole
            .admin()
            .post("/api/v1/containers", &spec)
            .refused(422);
    }
    assert_eq!(import(&porthole, "control", &whole).status, 201);
}

#[test]
fn programs_and_libraries_of_an_image_run_nowhere_but_in_its_containers() {
    let porthole = Instance::start();
    let outside = tempfile::tempdir().expect("directory");
    let mark = outside.path().join("mark");
    let script = format!("#!/bin/sh\necho ran >{}\n", mark.display());
    let mut tape = Tape::root();
    for place in [
        "bin/xz",
        "usr/bin/xz",
        "usr/bin/zstd",
        "usr/bin/gzip",
        "usr/bin/tar",
        "sbin/modprobe",
    ] {
        tape = tape.program(&format!("./{place}"), script.as_bytes());
    }
    for place in [
        "lib/libnss_files.so.2",
        "usr/lib/x86_64-linux-gnu/libnss_files.so.2",
        "lib/ld-musl-x86_64.so.1",
    ] {
        tape = tape.program(&format!("./{place}"), b"\x7fELF planted");
    }
    let tape = tape
        .file("./etc/nsswitch.conf", b"passwd: planted files\n")
        .file("./etc/ld.so.preload", b"/lib/libnss_files.so.2\n");
    let archive = compressed("xz", &tape.end()).expect("xz");
    assert_eq!(import(&porthole, "planted", &archive).status, 201);
    let container =
        porthole.create(&json!({"image": "planted", "command": ["sleep", "1000"], "user": "app"}));
    assert_eq!(container["state"], "running", "{container}");
    assert_eq!(porthole.sh(&container, "id -u"), "1234");
    assert!(!mark.exists());
    // Inside they run, where there is no such place.
    porthole.sh(&container, "/usr/bin/xz");
    assert!(!mark.exists());
    let planted = outside.path().join("xz");
    std::fs::write(&planted, &script).expect("written");
    assert!(
        Command::new("sh")
            .arg(&planted)
            .status()
            .is_ok_and(|s| s.success())
    );
    assert!(mark.exists(), "the control");
}

#[test]
fn places_that_mounts_go_to_may_be_anything() {
    let porthole = Instance::start();
    let outside = tempfile::tempdir().expect("directory");
    let directory = outside.path().join("of-the-host");
    std::fs::create_dir(&directory).expect("made");
    std::fs::write(directory.join("file"), "untouched").expect("written");
    let target = directory.display().to_string();
    let mut number = 0;
    for place in [
        "dev",
        "dev/null",
        "dev/console",
        "dev/pts",
        "proc",
        "sys",
        "etc/passwd",
        "etc/group",
        "etc/resolv.conf",
        "etc/hosts",
        "etc/hostname",
        "etc",
    ] {
        for kind in ["link", "up", "fifo", "file"] {
            number += 1;
            let name = format!("odd:{number}");
            let path = format!("./{place}");
            let mut tape = Tape::default();
            // Without /etc's own files, so that the place is free.
            let whole = Tape::root();
            if place.starts_with("etc") {
                tape = bare();
            } else {
                tape.clone_from(&whole);
            }
            let tape = match kind {
                "link" => tape.symlink(&path, &target),
                "up" => tape.symlink(&path, "../../../../../../../proc/self/root"),
                "fifo" => tape.entry(b'6', &path, "", (0o666, 0), b""),
                _ => tape.file(&path, b"a file"),
            };
            assert_eq!(
                import(&porthole, &name, &tape.end()).status,
                201,
                "{place} {kind}"
            );
            let container = porthole.create(&json!({"image": name, "command": ["sleep", "1000"]}));
            if container["state"] == "running" {
                let seen =
                    "stat -c '%F %t:%T' /dev/null; stat -f -c %T /proc /sys /dev; ls /dev/pts/ptmx";
                assert_eq!(
                    porthole.sh(&container, seen),
                    "character special file 1:3\nproc\nsysfs\ntmpfs\n/dev/pts/ptmx",
                    "{place} {kind}"
                );
            } else {
                let why = text(&container["error"]);
                assert!(
                    !why.is_empty() && why.contains(place.split('/').next().expect("one")),
                    "{place} {kind}: {why}"
                );
            }
            let files = super::names_below(&directory);
            assert_eq!(files, ["file"], "{place} {kind}");
            assert_eq!(
                std::fs::read(directory.join("file")).expect("there"),
                b"untouched"
            );
            porthole
                .admin()
                .delete(&format!(
                    "/api/v1/containers/{}?force=true",
                    text(&container["id"])
                ))
                .ok();
        }
    }
    // Users are asked of files that are files, and short ones.
    let long: Vec<u8> = b"x:x:1:1::/:/bin/sh\n".repeat(100_000);
    let tape = bare().directory("./etc").file("./etc/passwd", &long);
    assert_eq!(import(&porthole, "long", &tape.end()).status, 201);
    let container =
        porthole.create(&json!({"image": "long", "command": ["sleep", "1000"], "user": "app"}));
    assert!(
        text(&container["error"]).contains("too long"),
        "{container}"
    );
}

/// A root file system without `/etc`.
fn bare() -> Tape {
    let busybox = std::fs::read("/bin/busybox").expect("busybox");
    let mut tape = Tape::default().program("./bin/busybox", &busybox);
    for applet in ["sh", "sleep", "stat", "ls", "cat"] {
        tape = tape.symlink(&format!("./bin/{applet}"), "busybox");
    }
    tape
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
    let root = super::names_below(Path::new(&format!("/proc/{found}/root")));
    assert!(root.iter().all(|name| name == "0"), "{root:?}");
    let files = super::names_below(Path::new(&format!("/proc/{found}/fd")));
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
    porthole_tests::instance::signal(found, rustix::process::Signal::KILL);
    let error = thread.join().expect("a thread").refused(422);
    assert!(text(&error["message"]).contains("memory"), "{error}");
    wait_for("nothing to be left", PATIENCE, || {
        stored(&porthole).1.is_empty().then_some(())
    });
    assert_eq!(host::cgroups(&group), Vec::<std::path::PathBuf>::new());
}
