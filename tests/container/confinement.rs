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

/// Fields of `/proc/PID/status` that say more of what a process may do.
const MORE: [&str; 7] = [
    "Speculation_Store_Bypass",
    "SpeculationIndirectBranch",
    "SigIgn",
    "SigCgt",
    "SigBlk",
    "Cpus_allowed",
    "Mems_allowed",
];

/// Files of `/proc/PID` that say it.
const FILES: [&str; 6] = [
    "limits",
    "oom_score_adj",
    "timerslack_ns",
    "uid_map",
    "gid_map",
    "setgroups",
];

fn security(pid: i32) -> BTreeMap<&'static str, String> {
    let status = host::status(pid);
    let fields = host::CONFINEMENT
        .into_iter()
        .chain(MORE)
        .map(|field| (field, status.get(field).cloned().unwrap_or_default()));
    let files = FILES.into_iter().map(|file| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}"));
        (file, text.unwrap_or_default())
    });
    fields.chain(files).collect()
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

/// The groups of a process: its own in the cgroup2 tree, and those of Porthole's in the others.
fn groups(pid: i32) -> (String, Vec<String>) {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let others = text
        .lines()
        .filter(|line| !line.starts_with("0::") && line.contains("porthole-"));
    (
        unified.expect("cgroup2").to_owned(),
        others.map(str::to_owned).collect(),
    )
}

#[test]
fn a_session_is_as_confined_as_init() {
    let porthole = Instance::start();
    for (user, init) in [
        ("root", true),
        ("root", false),
        ("user", true),
        ("1234:4321", false),
    ] {
        let container = porthole.create(&json!({
            "image": "host", "init": init, "user": user, "command": ["sleep", "infinity"],
        }));
        let first = pid(&container["pid"]);
        let command = wait_for("the command", PATIENCE, || {
            let of_ours = || host::children(first).first().copied();
            let command = if init { of_ours()? } else { first };
            (host::arguments(command).first()? == "sleep").then_some(command)
        });
        let reference = security(command);
        if init {
            // PID 1 handles signals otherwise, and nothing else.
            let mut own = security(first);
            for signals in ["SigIgn", "SigCgt", "SigBlk"] {
                own.insert(signals, reference[signals].clone());
            }
            assert_eq!(own, reference, "our init, user {user}");
        }
        for tty in [true, false] {
            let spec = json!({"command": ["sleep", "infinity"], "tty": tty});
            let session = porthole.session(&container, &spec);
            let shell = pid(&session["host_pid"]);
            assert_eq!(security(shell), reference, "user {user}, tty {tty}");
            assert_eq!(host::namespaces(shell), host::namespaces(first));
            let (of_init, of_shell) = (groups(first), groups(shell));
            assert!(
                of_shell.0.starts_with(&format!("{}/", of_init.0)),
                "{of_shell:?} below {of_init:?}"
            );
            // Its limits hold it too: where v1 has the controllers, they know the container's group.
            assert_eq!(of_shell.1, of_init.1);
        }
    }
}

/// What a container may not do to the machine, each beside something alike that it may do.
const GUARDED: [(&str, &str); 18] = [
    ("echo 1 > /proc/sys/kernel/panic", "echo 1 > /tmp/panic"),
    (
        "echo 1 > /proc/sys/kernel/dmesg_restrict",
        "cat /proc/sys/kernel/dmesg_restrict",
    ),
    ("echo h > /proc/sysrq-trigger", "echo h > /dev/null"),
    ("echo x > /sys/kernel/uevent_helper", "echo x > /run/x"),
    ("echo 1 > /sys/kernel/mm/ksm/run", "ls /sys/kernel/mm"),
    ("mkdir /sys/fs/cgroup/x", "mkdir /run/y"),
    ("head -c 1 /proc/kcore | grep -c .", "grep . /proc/version"),
    ("grep . /proc/keys", "grep . /proc/self/status"),
    ("grep . /proc/timer_list", "grep . /proc/uptime"),
    ("ls /sys/firmware | grep .", "ls /sys/kernel | grep ."),
    ("mknod /tmp/d b 254 0", "mkfifo /tmp/f"),
    ("chown 70000 /tmp/f", "chown 7 /tmp/f"),
    ("hostname other", "hostname"),
    ("mount -t tmpfs none /mnt", "ls /mnt"),
    ("mount -o remount,rw /sys; touch /sys/x", "touch /run/z"),
    ("umount /proc/keys", "ls /proc/keys"),
    (
        "echo -1000 > /proc/self/oom_score_adj",
        "echo 500 > /proc/self/oom_score_adj",
    ),
    (
        "echo x > /dev/shm/s && chmod +x /dev/shm/s && /dev/shm/s",
        "echo true > /tmp/s && chmod +x /tmp/s && /tmp/s",
    ),
];

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

    for (refused, control) in GUARDED {
        let done = |attempt: &str| {
            let script = format!("({attempt}) >/dev/null 2>&1 && echo done || echo refused");
            porthole.sh(&container, &script)
        };
        assert_eq!(done(refused), "refused", "{refused}");
        assert_eq!(done(control), "done", "the control: {control}");
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
