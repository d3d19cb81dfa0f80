//! Containers that have something of the machine's: its disks, its network.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::{place, refusal, run, spec};
use crate::place::{Client, Place};
use porthole_protocol::keeper::FailureCode;
use porthole_protocol::session::Aspect;
use porthole_tests::engines::DockerDaemon;

/// A disk of the machine that is a file of the test's.
struct Disk {
    node: String,
    major: u32,
    minor: u32,
    _file: tempfile::NamedTempFile,
}

/// What is on it.
const WRITTEN: &str = "what is on the disk";

impl Disk {
    fn new() -> Option<Self> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut bytes = WRITTEN.as_bytes().to_vec();
        bytes.resize(64 * 1024, b'\n');
        std::fs::write(file.path(), bytes).expect("written");
        let made = std::process::Command::new("losetup")
            .args(["--find", "--show", "--read-only"])
            .arg(file.path())
            .output()
            .expect("losetup");
        if !made.status.success() {
            eprintln!("SKIPPED: this test needs a loop device: {made:?}");
            return None;
        }
        let node = String::from_utf8(made.stdout)
            .expect("text")
            .trim()
            .to_owned();
        let numbers = format!("/sys/class/block/{}/dev", node.trim_start_matches("/dev/"));
        let numbers = std::fs::read_to_string(numbers).expect("numbers");
        let (major, minor) = numbers.trim().split_once(':').expect("two");
        Some(Self {
            node,
            major: major.parse().expect("a number"),
            minor: minor.parse().expect("a number"),
            _file: file,
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup")
            .args(["--detach", &self.node])
            .status();
    }
}

/// The same keeper with root's word.
fn with_roots_word(place: &mut Place) -> Client {
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        "join_foreign = true\njoin_privileged = true\n",
    )
    .expect("policy");
    place.start();
    place.connect()
}

#[test]
fn who_can_open_a_disk_of_the_machine_needs_roots_word() {
    let (Some((mut place, mut client)), Some(docker), Some(disk)) =
        (place(""), DockerDaemon::start(), Disk::new())
    else {
        return;
    };
    let sleep = &["sleep", "1000000"];
    let (major, minor) = (disk.major, disk.minor);
    let rule = format!("b {major}:{minor} rm");
    // Docker's own capabilities and filter, and one line more in its group of devices.
    let open = docker.init(&docker.run(&["--device-cgroup-rule", &rule], sleep));
    let read = format!("mknod /tmp/disk b {major} {minor} && head -n 1 /tmp/disk; rm /tmp/disk");
    let read = ["sh", "-c", &read];
    let failure = refusal(&place, &mut client, spec(open, &read), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    let message = &failure.message;
    assert!(message.contains("join_privileged"), "{failure}");
    let name = disk.node.trim_start_matches("/dev/");
    assert!(message.contains(&format!("disk {name}")), "{failure}");
    // Control: by default its group lets it open none.
    let usual = docker.init(&docker.run(&[], sleep));
    let (_, text) = run(&place, &mut client, spec(usual, &read), 2);
    assert!(!text.contains(WRITTEN), "{text}");

    // A node that is there needs no capability.
    let dropped = ["--cap-drop", "MKNOD", "--device-cgroup-rule", &rule];
    let device = format!("{}:/dev/mapper/store:r", disk.node);
    let given = [&dropped[..], &["--device", &device]].concat();
    let given = docker.init(&docker.run(&given, sleep));
    let look = ["head", "-n", "1", "/dev/mapper/store"];
    let failure = refusal(&place, &mut client, spec(given, &look), 3);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("/dev/mapper/store"), "{failure}");
    // Control: what it may open, nothing in it leads to.
    let none = docker.init(&docker.run(&dropped, sleep));
    let (_, text) = run(&place, &mut client, spec(none, &read), 4);
    assert!(!text.contains(WRITTEN), "{text}");

    let mut client = with_roots_word(&mut place);
    for (number, init, look) in [(5, open, &read[..]), (6, given, &look)] {
        let (_, text) = run(&place, &mut client, spec(init, look), number);
        assert!(text.contains(WRITTEN), "why it is refused: {text}");
    }
}

#[test]
fn root_in_the_machines_network_needs_roots_word() {
    let (Some((mut place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let sleep = &["sleep", "1000000"];
    let plain = docker.init(&docker.run(&["--network", "host"], sleep));
    let look = ["cat", "/proc/net/unix"];
    let failure = refusal(&place, &mut client, spec(plain, &look), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("join_privileged"), "{failure}");
    assert!(failure.message.contains("CAP_NET_RAW"), "{failure}");

    // Somebody listens there by a name alone, as containerd's shims did.
    let name = format!("porthole-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("it listens");
    let options = ["--network", "host", "--cap-drop", "NET_RAW"];
    let quiet = docker.init(&docker.run(&options, sleep));
    let failure = refusal(&place, &mut client, spec(quiet, &look), 2);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("such as @"), "{failure}");

    // Control: in a network of its own none of that is there.
    let own = docker.init(&docker.run(&[], sleep));
    let (_, text) = run(&place, &mut client, spec(own, &look), 3);
    assert!(text.contains("Path") && !text.contains(&name), "{text}");
    let mut client = with_roots_word(&mut place);
    let (opened, text) = run(&place, &mut client, spec(quiet, &look), 4);
    assert!(text.contains(&name), "why it is refused: {text}");
    let mut lines = opened.fidelity.iter();
    let line = lines.find(|line| line.aspect == Aspect::Namespaces);
    let words = &line.expect("a line").words;
    assert!(words.contains("hardly anything back"), "{words}");
}
