//! What a container's processes are confined by, and that a session is confined as its init is.
//! Each refusal stands beside the same attempt made where nothing confines it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use porthole_tests::instance::pid;
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use serde_json::{Value, json};

/// Docker's default set of capabilities.
const DOCKERS: u64 = 0x0000_0000_a804_25fb;

/// What a process may do, of `/proc/PID/status`.
const SECURITY_FIELDS: [&str; 12] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Umask",
];

fn security(pid: i32) -> BTreeMap<&'static str, String> {
    let status = host::status(pid);
    SECURITY_FIELDS
        .into_iter()
        .map(|field| (field, status.get(field).cloned().unwrap_or_default()))
        .collect()
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("hexadecimal")
}

fn machine(porthole: &Instance) -> Value {
    porthole.create(&json!({"image": "host", "command": ["sleep", "infinity"]}))
}

#[test]
fn init_has_at_most_dockers_capabilities_no_new_privileges_and_a_filter() {
    let porthole = Instance::start();
    for init in [true, false] {
        let container = porthole.create(&json!({
            "image": "busybox", "init": init, "command": ["sleep", "infinity"],
        }));
        let number = pid(&container["pid"]);
        let held = security(number);
        assert_eq!(
            hex(&held["CapBnd"]) & !DOCKERS,
            0,
            "bounding set {}",
            held["CapBnd"]
        );
        assert_eq!(
            hex(&held["CapEff"]) & !DOCKERS,
            0,
            "effective {}",
            held["CapEff"]
        );
        assert_eq!((hex(&held["CapInh"]), hex(&held["CapAmb"])), (0, 0));
        assert_eq!(held["NoNewPrivs"], "1");
        assert_eq!(held["Seccomp"], "2");
        assert_eq!(held["Groups"], "", "groups of the host");
    }
    // The same look at this test, which runs unconfined.
    let own = security(i32::try_from(std::process::id()).expect("a PID"));
    assert_ne!(
        hex(&own["CapBnd"]) & !DOCKERS,
        0,
        "the control can see more capabilities"
    );
    assert_eq!(
        (own["NoNewPrivs"].as_str(), own["Seccomp"].as_str()),
        ("0", "0")
    );
}

#[test]
fn a_session_is_as_confined_as_init() {
    let porthole = Instance::start();
    for user in ["0", "65534"] {
        let container = porthole.create(&json!({
            "image": "busybox", "init": false, "user": user, "command": ["sleep", "infinity"],
        }));
        let init = pid(&container["pid"]);
        for tty in [true, false] {
            let session = porthole.session(
                &container,
                &json!({
                    "command": ["sleep", "infinity"], "tty": tty,
                }),
            );
            let shell = pid(&session["host_pid"]);
            assert_eq!(security(shell), security(init), "user {user}, tty {tty}");
            assert_eq!(host::namespaces(shell), host::namespaces(init));
            let cgroup =
                |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
            let unified = |text: &str| {
                text.lines()
                    .find_map(|l| l.strip_prefix("0::"))
                    .map(str::to_owned)
                    .expect("cgroup2")
            };
            let (of_init, of_shell) = (unified(&cgroup(init)), unified(&cgroup(shell)));
            assert!(
                of_shell.starts_with(&format!("{of_init}/")),
                "{of_shell} below {of_init}"
            );
            // Its limits hold it too: where v1 has the controllers, they know the container's group.
            let others = |text: &str| {
                text.lines()
                    .filter(|l| !l.starts_with("0::") && l.contains("porthole-"))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(others(&cgroup(shell)), others(&cgroup(init)));
        }
    }
}

/// Calls that no container may make, as a Perl program that prints each with its errno.
const CALLS: &str = r#"
sub try_call { my ($name, $number, @arguments) = @_; $! = 0;
    my $result = syscall($number, @arguments);
    printf "%s %d\n", $name, $result == -1 ? $!+0 : 0; }
my $empty = "\0" x 512;
try_call("add_key", 248, "no-such-type", "porthole", "x", 1, -3);
try_call("bpf", 321, 999, $empty, 8);
try_call("clone3", 435, $empty, 0);
try_call("init_module", 175, $empty, 0, "");
try_call("io_uring_setup", 425, 0, $empty);
try_call("keyctl", 250, 999, 0, 0, 0, 0);
try_call("mount", 165, "none", "/tmp", "tmpfs", 1 << 20, 0);
try_call("open_by_handle_at", 304, -1, $empty, 0);
try_call("perf_event_open", 298, $empty, 0, -1, -1, 0);
try_call("pivot_root", 155, "/nowhere", "/nowhere");
try_call("reboot", 169, 0, 0, 0, 0);
try_call("setns", 308, -1, 0);
try_call("settimeofday", 164, 0, 0);
try_call("swapon", 167, "/nowhere", 0);
try_call("tiocsti", 16, 0, 0x5412, "x");
try_call("userfaultfd", 323, 0);
try_call("af_alg", 41, 38, 5, 0);
try_call("af_vsock", 41, 40, 1, 0);
try_call("unshare_user", 272, 0x10000000);
"#;

#[test]
fn calls_that_no_container_may_make_are_refused() {
    let porthole = Instance::start();
    let container = machine(&porthole);
    let answers = |text: &str| -> BTreeMap<String, i32> {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(name, errno)| Some((name.to_owned(), errno.parse().ok()?)))
            .collect()
    };
    let inside = answers(&porthole.sh(&container, &format!("perl -e '{CALLS}'")));
    let control = Command::new("perl")
        .args(["-e", CALLS])
        .output()
        .expect("perl");
    let outside = answers(&String::from_utf8_lossy(&control.stdout));
    assert_eq!(inside.len(), 19, "{inside:?}");
    let (eperm, enosys, eacces) = (1, 38, 13);
    for (name, errno) in &inside {
        if name == "clone3" {
            assert_eq!(*errno, enosys, "so that a C library takes clone instead");
        } else {
            assert!(
                [eperm, enosys, eacces].contains(errno),
                "{name}: errno {errno}"
            );
        }
        // Outside each is allowed, or fails by its bad arguments.
        if outside[name] == enosys {
            eprintln!("{name}: this kernel does not have it; the refusal says nothing here");
        } else {
            assert_ne!(outside[name], *errno, "{name} is refused outside too");
        }
    }
}

#[test]
fn dev_proc_and_sys_are_its_own_and_guarded() {
    let porthole = Instance::start();
    let container = machine(&porthole);
    let mounts = porthole.sh(&container, "cat /proc/self/mountinfo");
    let mount = |path: &str| -> Vec<&str> {
        mounts
            .lines()
            .filter(|line| line.split(' ').nth(4) == Some(path))
            .collect()
    };
    assert!(mount("/")[0].contains(" - overlay "), "{mounts}");
    assert!(mount("/dev")[0].contains(" - tmpfs "), "{mounts}");
    assert!(mount("/dev/pts")[0].contains(" - devpts "), "{mounts}");
    assert!(mount("/dev/pts")[0].contains("max=16"), "{mounts}");
    assert!(mount("/dev/shm")[0].contains("size=65536k"), "{mounts}");
    assert!(mount("/proc")[0].contains(" - proc "), "{mounts}");
    let sys = mount("/sys");
    assert!(
        sys[0]
            .split(' ')
            .nth(5)
            .is_some_and(|options| options.split(',').any(|o| o == "ro")),
        "{mounts}"
    );
    for line in mounts.lines() {
        for hidden in ["/work/", "/home", "/root/", "keeper/"] {
            let root = line.split(' ').nth(3).unwrap_or_default();
            assert!(!root.starts_with(hidden), "{line}");
        }
    }

    let attempts = [
        (
            "echo 1 > /proc/sys/kernel/dmesg_restrict",
            "a setting of the host's kernel",
        ),
        ("echo h > /proc/sysrq-trigger", "the magic key"),
        ("echo 1 > /sys/kernel/mm/ksm/run", "/sys"),
        (
            "dd if=/proc/kcore of=/dev/null bs=1 count=1 2>/dev/null",
            "the kernel's memory",
        ),
        ("cat /proc/keys | grep .", "keys"),
        ("cat /proc/timer_list | grep .", "timers"),
        ("ls /sys/firmware | grep .", "firmware"),
        ("mknod /tmp/disk b 254 0", "a disk"),
        ("mount -t tmpfs none /mnt", "a mount"),
        ("mount -o remount,rw /sys", "a remount"),
        ("umount /proc/keys", "taking a mask away"),
    ];
    for (attempt, what) in attempts {
        let answer = porthole.sh(
            &container,
            &format!("({attempt}) 2>/dev/null && echo done || echo refused"),
        );
        assert!(answer.ends_with("refused"), "{what}: {attempt}: {answer}");
    }
    // Outside the same look finds something, for what this machine has at all.
    for path in ["/proc/keys", "/proc/timer_list"] {
        if let Ok(text) = fs::read_to_string(path) {
            assert!(!text.is_empty(), "{path} outside");
        }
    }
    // What covers a path is the real null device.
    let null = porthole.sh(
        &container,
        "stat -c '%t:%T %F' /dev/null /proc/keys | sort -u",
    );
    assert_eq!(null, "1:3 character special file");
    // Its devices are those that every container has, and no other.
    let devices = porthole.sh(
        &container,
        "find /dev -type b; find /dev -type c -not -path '/dev/pts/*' | sort | tr '\\n' ' '",
    );
    let allowed = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/dev/console",
    ];
    for device in devices.split_whitespace() {
        assert!(allowed.contains(&device), "{devices}");
    }
}

#[test]
fn no_two_containers_share_an_id_of_the_host() {
    let (one, two) = (Instance::start(), Instance::start());
    let containers = [one.sleeper(), one.sleeper(), two.sleeper(), two.sleeper()];
    let mut ranges = Vec::new();
    for container in &containers {
        for which in ["uid_map", "gid_map"] {
            let map = host::id_map(pid(&container["pid"]), which);
            assert_eq!(map.len(), 1, "{map:?}");
            assert_eq!((map[0][0], map[0][2]), (0, 65_536), "{map:?}");
        }
        let map = host::id_map(pid(&container["pid"]), "uid_map")[0];
        ranges.push((u64::from(map[1]), u64::from(map[1]) + u64::from(map[2])));
    }
    for line in fs::read_to_string("/etc/subuid")
        .unwrap_or_default()
        .lines()
    {
        let mut fields = line
            .split(':')
            .skip(1)
            .filter_map(|n| n.parse::<u64>().ok());
        if let (Some(first), Some(count)) = (fields.next(), fields.next()) {
            ranges.push((first, first + count));
        }
    }
    for line in fs::read_to_string("/etc/passwd").expect("passwd").lines() {
        if let Some(uid) = line.split(':').nth(2).and_then(|n| n.parse::<u64>().ok()) {
            for container in &ranges[..containers.len()] {
                assert!(
                    !(container.0..container.1).contains(&uid),
                    "{line} in {container:?}"
                );
            }
        }
    }
    ranges[..].sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{pair:?}");
    }
}

#[test]
fn its_network_is_a_loopback_that_is_up() {
    let porthole = Instance::start();
    let container = machine(&porthole);
    assert_eq!(porthole.sh(&container, "ls /sys/class/net 2>/dev/null || cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '"), "lo");
    let state = porthole.sh(&container, "cat /proc/net/fib_trie | grep -c 127.0.0.1");
    assert_ne!(state, "0", "loopback has its address");
    // A server on the host's loopback is not there inside.
    let port = porthole.address().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let run = porthole.exec(&container, &["bash", "-c", &script]);
    assert_ne!(run.exit.code, 0, "the host's loopback is inside");
    let control = Command::new("bash")
        .args(["-c", &script])
        .status()
        .expect("bash");
    assert!(control.success(), "outside it answers");
}

#[test]
fn init_is_not_overwritten_through_proc() {
    let porthole = Instance::start();
    let container = porthole.sleeper();
    let script = "(cat /bin/busybox > /proc/1/exe) 2>/dev/null && echo written || echo refused";
    assert_eq!(porthole.sh(&container, script), "refused");
    // A container still starts from the same program.
    assert_eq!(porthole.sleeper()["state"], "running");
}

#[test]
fn the_server_holds_no_privilege() {
    let porthole = Instance::start();
    let server = porthole.server_pid();
    let held = security(server);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(hex(&held[set]), 0, "{set} of the server");
    }
    assert_eq!(held["NoNewPrivs"], "1");
    assert!(
        !held["Uid"].split_whitespace().any(|uid| uid == "0"),
        "{}",
        held["Uid"]
    );
    assert!(
        !held["Groups"].split_whitespace().any(|gid| gid == "0"),
        "{}",
        held["Groups"]
    );
    let keeper = security(porthole.keeper_pid());
    assert_ne!(
        hex(&keeper["CapEff"]),
        0,
        "the control: the keeper has them"
    );
    let program = fs::read_link(format!("/proc/{}/exe", porthole.keeper_pid())).expect("exe");
    assert!(
        program.to_string_lossy().contains("memfd:"),
        "the keeper runs from memory: {}",
        program.display()
    );
    // What the keeper keeps cannot be read by the server's account.
    let keeper = porthole.root().join("keeper");
    let denied = Command::new("setpriv")
        .args([
            "--reuid=porthole",
            "--regid=porthole",
            "--clear-groups",
            "ls",
        ])
        .arg(&keeper)
        .output()
        .expect("setpriv");
    assert!(!denied.status.success(), "{denied:?}");
    assert!(
        Command::new("ls")
            .arg(&keeper)
            .output()
            .expect("ls")
            .status
            .success()
    );
    wait_for("one thread", PATIENCE, || {
        (host::status(porthole.keeper_pid())["Threads"] == "1").then_some(())
    });
}
