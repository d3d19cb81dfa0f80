//! Images, and root directories that turn against us.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use porthole_protocol::keeper::{FailureCode, Stage};

use super::{HOST_SLEEP, SLEEP, Scenario};
use crate::bench::Bench;

pub(super) const ALL: &[Scenario] = &[
    (
        "what_not_everybody_may_read_is_not_shown",
        what_not_everybody_may_read_is_not_shown,
    ),
    (
        "programs_of_the_machine_find_what_they_load",
        programs_of_the_machine_find_what_they_load,
    ),
    (
        "nothing_secret_of_the_machine_is_there",
        nothing_secret_of_the_machine_is_there,
    ),
    ("images_are_listed_and_kept", images_are_listed_and_kept),
    (
        "an_account_file_that_is_a_trap_is_refused",
        an_account_file_that_is_a_trap_is_refused,
    ),
    (
        "a_mount_point_that_is_a_link_is_refused",
        a_mount_point_that_is_a_link_is_refused,
    ),
];

/// What `sh` says of every program, here or there: those whose libraries are missing, and links
/// that lead nowhere.
const MISSING: &str = "cd /usr/bin; for p in *; do \
    case $(head -c4 $p 2>/dev/null | tr -d '\\0') in *ELF) ldd ./$p 2>/dev/null | grep -q 'not found' && echo lib $p;; esac; \
    [ -e $p ] || echo link $p; done; true";

fn programs_of_the_machine_find_what_they_load(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    // A tenth of them: each takes a process or three.
    let sample = MISSING.replace("for p in *;", "for p in $(ls | awk 'NR % 10 == 0');");
    let here = Command::new("bash")
        .args(["-c", &sample])
        .output()
        .expect("bash");
    let here = String::from_utf8_lossy(&here.stdout).into_owned();
    let (there, code) = bench.run(&made, &init, &["bash", "-c", &sample]);
    assert_eq!(code, 0, "{there}");
    let known: Vec<&str> = here.lines().collect();
    // What lies outside of /usr is not of this image: links into /opt and /var.
    let new: Vec<&str> = there
        .lines()
        .filter(|line| !known.contains(line))
        .filter(|line| {
            line.strip_prefix("link ").is_none_or(|name| {
                fs::canonicalize(Path::new("/usr/bin").join(name))
                    .is_ok_and(|path| path.starts_with("/usr") || path.starts_with("/etc"))
            })
        })
        .collect();
    assert!(new.is_empty(), "{new:?}");
    for line in [
        "awk 'BEGIN { print 1 }'",
        "perl -MPOSIX -e 'print 1'",
        "tput -T xterm-256color colors",
        "id user",
        "getent passwd root",
        "ls /etc/ssl/certs",
        "date",
        "bash -lc true",
    ] {
        let (text, code) = bench.run(&made, &init, &["bash", "-c", line]);
        assert_eq!(code, 0, "{line}: {text}");
    }
    bench.end(&made, init);
}

fn nothing_secret_of_the_machine_is_there(bench: &mut Bench) {
    let secret = Path::new("/usr/local/etc/porthole-test-secret");
    fs::create_dir_all("/usr/local/etc").expect("directory");
    fs::write(secret, "secret").expect("write");
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    let (text, _) = bench.run(
        &made,
        &init,
        &[
            "bash",
            "-c",
            "ls -A /usr/local/etc /root /home /run /var/log /var/lib /mnt /opt /srv; ls /etc; ls /",
        ],
    );
    fs::remove_file(secret).expect("remove");
    assert!(!text.contains("porthole-test-secret"), "{text}");
    for name in [
        "shadow",
        "gshadow",
        "sudoers",
        "machine-id",
        "ssh",
        "hosts.allow",
        "work",
        "farm",
    ] {
        assert!(!text.lines().any(|line| line == name), "{name} in {text}");
    }
    let empty = text
        .split("/var/lib:")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    assert_eq!(empty.map(str::trim), Some(""), "{text}");
    let (text, code) = bench.run(&made, &init, &["cat", "/etc/shadow", "/etc/ssl/private"]);
    assert_ne!(code, 0, "{text}");
    bench.end(&made, init);
}

fn what_not_everybody_may_read_is_not_shown(bench: &mut Bench) {
    let place = tempfile::Builder::new()
        .prefix("porthole-test-")
        .tempdir_in("/usr/local/lib")
        .expect("directory");
    let file = |name: &str, mode| {
        let path = place.path().join(name);
        fs::write(&path, name).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    };
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::create_dir(place.path().join("closed")).expect("directory");
    file("key", 0o600);
    file("group", 0o640);
    file("open", 0o644);
    file("closed/key", 0o644);
    let closed = fs::Permissions::from_mode(0o750);
    fs::set_permissions(place.path().join("closed"), closed).expect("mode");
    // As the keeper does it.
    let before = rustix::process::umask(rustix::fs::Mode::from_bits_retain(0o077));
    bench.images = porthole_runtime::Images::prepare(&bench.directory.join("anew"));
    rustix::process::umask(before);
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    let look = ["ls", "-A", place.path().to_str().expect("a path")];
    let (text, code) = bench.run(&made, &init, &look);
    assert_eq!((text.as_str(), code), ("open\n", 0));
    // Control: what is left may be read by everybody, as on the machine.
    let open = place.path().join("open");
    let look = ["cat", open.to_str().expect("a path")];
    let (text, code) = bench.run_as(&made, &init, Some("user"), &look);
    assert_eq!((text.as_str(), code), ("open", 0));
    bench.end(&made, init);
}

fn images_are_listed_and_kept(bench: &mut Bench) {
    let names: Vec<String> = bench
        .images
        .list()
        .iter()
        .map(|image| image.name.to_string())
        .collect();
    assert_eq!(names, ["host", "busybox"]);
    for image in bench.images.list() {
        assert_eq!(image.unavailable, None, "{}", image.name);
    }
    let made = bench.create(SLEEP);
    let directory = bench.directory.join("images");
    let layers = |prefix: &str| -> Vec<String> {
        fs::read_dir(&directory)
            .expect("images")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(prefix))
            .collect()
    };
    let kept = layers("busybox-");
    assert_eq!(kept.len(), 1);
    fs::create_dir(directory.join("busybox-0000000000000000")).expect("an old one");
    fs::create_dir(directory.join("host-0000000000000000.part")).expect("a half-made one");
    bench.images = porthole_runtime::Images::prepare(&directory);
    assert_eq!(layers("busybox-"), kept, "made once, old ones deleted");
    assert_eq!(layers("host-").len(), 1);
    let failure = bench
        .try_create(r#"{"image":"debian"}"#)
        .err()
        .expect("no such image");
    assert_eq!(
        (failure.code, failure.stage),
        (FailureCode::ImageNotFound, Some(Stage::Image))
    );
    let init = bench.start(&made);
    bench.end(&made, init);
}

fn an_account_file_that_is_a_trap_is_refused(bench: &mut Bench) {
    for trap in [
        "ln -s /proc/self/environ /etc/passwd",
        "ln -s group /etc/passwd",
        "mkfifo /etc/passwd",
        "mkdir /etc/passwd",
        "head -c 2000000 /dev/zero > /etc/passwd",
    ] {
        let made = bench.create(SLEEP);
        let init = bench.start(&made);
        let line = format!("rm /etc/passwd; {trap}");
        bench.run(&made, &init, &["sh", "-c", &line]);
        for tty in [false, true] {
            let spec = format!(r#"{{"tty":{tty},"command":["true"],"user":"root"}}"#);
            let failure = bench.try_join(&made, &init, &spec).expect_err("refused");
            assert_eq!(failure.code, FailureCode::Invalid, "{trap}: {failure}");
            assert_eq!(failure.field.as_deref(), Some("user"), "{trap}");
            assert!(failure.message.contains("/etc/passwd"), "{failure}");
        }
        // A number needs no file, and nothing is read through the trap.
        let (text, code) = bench.run_as(&made, &init, Some("0"), &["sh", "-c", "echo $HOME"]);
        assert_eq!((text.as_str(), code), ("/\n", 0), "{trap}");
        bench.kill(&made, &init);
        let init = bench.start(&made);
        bench.end(&made, init);
    }
}

fn a_mount_point_that_is_a_link_is_refused(bench: &mut Bench) {
    for (name, target) in [
        ("dev", "/etc"),
        ("proc", "/etc"),
        ("sys", "tmp"),
        ("usr", "/home"),
    ] {
        let made = bench.create(HOST_SLEEP);
        // As if the container had done it: a link in its own writable layer.
        let link = made.directory.join("upper/root").join(name);
        std::os::unix::fs::symlink(target, &link).expect("link");
        let failure = bench.try_start(&made).expect_err("refused");
        assert_eq!(failure.stage, Some(Stage::Mounts), "{name}: {failure:?}");
        assert!(failure.message.contains(name), "{failure}");
        fs::remove_file(&link).expect("remove");
        let init = bench.start(&made);
        bench.end(&made, init);
    }
}
