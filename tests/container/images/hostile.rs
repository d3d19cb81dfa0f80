//! Archives that want more than to be an image. Beside each stands what becomes of it where nothing
//! stops it: Python's tarfile extracts what it is told to.

mod meaning;
mod places;
mod unpacker;

use std::path::Path;
use std::process::Command;

use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, wait_for};
use serde_json::json;

use super::archive::Tape;
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
