//! Images whose files are where Porthole mounts, executes or reads something.

use std::process::Command;

use porthole_tests::Instance;
use porthole_tests::instance::text;
use serde_json::json;

use super::super::archive::{Tape, compressed, names_below};
use super::super::import;

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
            let files = names_below(&directory);
            assert_eq!(files, ["file"], "{place} {kind}");
            assert_eq!(
                std::fs::read(directory.join("file")).expect("there"),
                b"untouched"
            );
            porthole.remove(&container);
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
