//! What a container's processes may not do. Each refusal has a control beside it that is seen to
//! answer otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use porthole_protocol::id::HostPid;

use super::{HOST_SLEEP, SLEEP, Scenario};
use crate::bench::{Bench, Made};
use porthole_runtime::Launched;

pub(super) const ALL: &[Scenario] = &[
    (
        "a_session_is_as_confined_as_init",
        a_session_is_as_confined_as_init,
    ),
    ("calls_are_refused", calls_are_refused),
    (
        "the_machine_is_not_written_to",
        the_machine_is_not_written_to,
    ),
    (
        "ids_outside_are_the_containers_own",
        ids_outside_are_the_containers_own,
    ),
    (
        "set_user_id_programs_gain_nothing",
        set_user_id_programs_gain_nothing,
    ),
];

/// Fields of `/proc/PID/status` that say what a process may do.
fn security(pid: HostPid) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let fields = [
        "Umask",
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
        "Speculation_Store_Bypass",
        "SpeculationIndirectBranch",
        "SigIgn",
        "SigCgt",
        "SigBlk",
        "Cpus_allowed",
        "Mems_allowed",
    ];
    let mut found: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(":\t"))
        .filter(|(name, _)| fields.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    found.insert("limits".to_owned(), limits);
    for file in [
        "oom_score_adj",
        "timerslack_ns",
        "uid_map",
        "gid_map",
        "setgroups",
    ] {
        let value = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        found.insert(file.to_owned(), value);
    }
    found
}

/// The command, where init is the role of ours: its only child.
fn command_of(init: &Launched) -> HostPid {
    let path = format!("/proc/{0}/task/{0}/children", init.host_pid);
    let text = fs::read_to_string(path).expect("children");
    text.trim().parse().map_or(init.host_pid, HostPid)
}

fn a_session_is_as_confined_as_init(bench: &mut Bench) {
    for user in ["root", "user", "1234:4321"] {
        for role in [false, true] {
            let made = bench.create(&format!(
                r#"{{"image":"host","init":{role},"user":"{user}","command":["sleep","1000"]}}"#
            ));
            let init = bench.start(&made);
            let reference = security(command_of(&init));
            for tty in [false, true] {
                let spec = format!(r#"{{"tty":{tty},"command":["sleep","1000"]}}"#);
                let session = bench.join(&made, &init, &spec);
                assert_eq!(security(session.host_pid), reference, "{user} {role} {tty}");
            }
            assert_eq!(reference["NoNewPrivs"], "1");
            assert_eq!(reference["Seccomp"], "2");
            assert_eq!(reference["CapBnd"], "00000000a80425fb");
            assert_eq!(reference["CapInh"], "0000000000000000");
            assert_eq!(reference["CapAmb"], "0000000000000000");
            if role {
                let own = security(init.host_pid);
                for field in [
                    "Uid",
                    "CapEff",
                    "CapBnd",
                    "NoNewPrivs",
                    "Seccomp",
                    "Seccomp_filters",
                ] {
                    assert_eq!(own[field], reference[field], "init's {field}");
                }
            }
            let own = security(HostPid(std::process::id().cast_signed()));
            assert_ne!(own["CapBnd"], reference["CapBnd"], "the control");
            bench.end(&made, init);
        }
    }
}

/// What a system call answers, made by perl: 0 or an errno.
fn probe(call: &str) -> [String; 3] {
    let text = format!("$! = 0; my $r = {call}; print $r == -1 ? $!+0 : 0");
    ["perl".to_owned(), "-e".to_owned(), text]
}

const EPERM: &str = "1";
const ENOSYS: &str = "38";

/// Calls with what a container is answered.
const REFUSED: [(&str, &str, &str); 19] = [
    (
        "TIOCSTI",
        "do { my $c = 'x'; ioctl(STDIN, 0x5412, $c) ? 0 : -1 }",
        EPERM,
    ),
    ("keyctl", "syscall(250, 0, -3, 0)", EPERM),
    ("add_key", "syscall(248, 0, 0, 0, 0, 0)", EPERM),
    ("bpf", "syscall(321, 0, 0, 0)", EPERM),
    ("userfaultfd", "syscall(323, -1)", EPERM),
    ("io_uring_setup", "syscall(425, 0, 0)", EPERM),
    ("unshare(NEWUSER)", "syscall(272, 0x10000000)", EPERM),
    ("unshare(NEWNET)", "syscall(272, 0x40000000)", EPERM),
    (
        "clone(NEWUSER)",
        "do { my $p = syscall(56, 0x10000011, 0, 0, 0, 0); exit 0 if $p == 0; $p }",
        EPERM,
    ),
    ("clone3", "syscall(435, 0, 0)", ENOSYS),
    ("socket(AF_ALG)", "syscall(41, 38, 5, 0)", EPERM),
    ("socket(AF_VSOCK)", "syscall(41, 40, 1, 99)", EPERM),
    ("settimeofday", "syscall(164, -1, 0)", EPERM),
    ("mount", "syscall(165, 0, 0, 0, 0, 0)", EPERM),
    ("setns", "syscall(308, -1, 0)", EPERM),
    ("perf_event_open", "syscall(298, 0, 0, 0, 0, 0)", EPERM),
    ("open_by_handle_at", "syscall(304, -1, 0, 0)", EPERM),
    ("pivot_root", "syscall(155, 0, 0)", EPERM),
    ("a call of the future", "syscall(999)", ENOSYS),
];

fn calls_are_refused(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    for (name, call, expected) in REFUSED {
        let words = probe(call);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (answer, _) = bench.run(&made, &init, &words);
        assert_eq!(answer, expected, "{name} in the container");
        let outside = Command::new("perl")
            .args(&words[1..])
            .output()
            .expect("perl");
        let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
        if name != "a call of the future" {
            assert_ne!(outside, expected, "{name} outside: the control");
        }
    }
    for (name, call) in [
        ("getpid", "syscall(39) > 0 ? 0 : -1"),
        ("socket(AF_INET)", "syscall(41, 2, 1, 0)"),
        ("socket(AF_UNIX)", "syscall(41, 1, 1, 0)"),
        ("unshare(FILES)", "syscall(272, 0x400)"),
        ("personality", "syscall(135, 0xffffffff)"),
    ] {
        let words = probe(call);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(bench.run(&made, &init, &words).0, "0", "{name} is allowed");
    }
    bench.end(&made, init);
}

fn succeeds(bench: &mut Bench, made: &Made, init: &Launched, line: &str) -> bool {
    bench.run(made, init, &["sh", "-c", line]).1 == 0
}

fn the_machine_is_not_written_to(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    for (refused, control) in [
        ("echo 1 > /proc/sys/kernel/panic", "echo 1 > /tmp/panic"),
        ("echo b > /proc/sysrq-trigger", "echo b > /dev/null"),
        ("echo x > /sys/kernel/uevent_helper", "echo x > /run/x"),
        ("mkdir /sys/fs/cgroup/x", "mkdir /run/y"),
        ("grep . /proc/kcore", "grep . /proc/version"),
        ("grep . /proc/keys", "grep . /proc/self/status"),
        ("grep . /proc/timer_list", "grep . /proc/uptime"),
        ("ls /sys/firmware | grep .", "ls /sys/kernel | grep ."),
        ("mknod /tmp/d b 8 0", "mkfifo /tmp/f"),
        ("umount /proc", "true"),
        ("chown 70000 /tmp", "chown 7 /tmp/f"),
        ("hostname other", "hostname"),
        (
            "echo 0 > /proc/1/oom_score_adj; echo -1000 > /proc/self/oom_score_adj",
            "echo 500 > /proc/self/oom_score_adj",
        ),
        (
            "echo x > /dev/shm/s && chmod +x /dev/shm/s && /dev/shm/s",
            "echo x > /dev/shm/s",
        ),
    ] {
        assert!(!succeeds(bench, &made, &init, refused), "{refused}");
        assert!(
            succeeds(bench, &made, &init, control),
            "{control}: the control"
        );
    }
    let (text, _) = bench.run(
        &made,
        &init,
        &[
            "sh",
            "-c",
            "ls /dev; ls -l /dev/null; df -k /dev/shm | tail -1",
        ],
    );
    let names: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("cr"))
        .collect();
    assert_eq!(
        names,
        [
            "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr",
            "stdin", "stdout", "tty", "urandom", "zero"
        ]
    );
    assert!(text.contains("1,   3") && text.contains("65536"), "{text}");
    bench.end(&made, init);
}

fn ids_outside_are_the_containers_own(bench: &mut Bench) {
    let (one, two) = (bench.create(SLEEP), bench.create(SLEEP));
    let (first, second) = (bench.start(&one), bench.start(&two));
    let apart = one.ids.1.abs_diff(two.ids.1) >= 65_536;
    assert!(apart, "{:?} {:?}", one.ids, two.ids);
    bench.run(&one, &first, &["touch", "/mine"]);
    use std::os::unix::fs::MetadataExt;
    let status = fs::metadata(one.directory.join("upper/root/mine")).expect("the file");
    assert_eq!((status.uid(), status.gid()), (one.ids.1, one.ids.1));
    let status = fs::read_to_string(format!("/proc/{}/status", first.host_pid)).expect("status");
    assert!(
        status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", one.ids.1)),
        "{status}"
    );
    assert!(
        status.contains("Groups:\t \n") || status.contains("Groups:\t\n"),
        "{status}"
    );
    let third = porthole_runtime::allocate_ids(&[one.ids, two.ids]).expect("ids");
    assert!(![one.ids, two.ids].contains(&third));
    bench.end(&one, first);
    bench.end(&two, second);
}

fn set_user_id_programs_gain_nothing(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    bench.run(
        &made,
        &init,
        &[
            "bash",
            "-c",
            "cp /usr/bin/id /usr/bin/rise; chmod 4755 /usr/bin/rise",
        ],
    );
    let (text, _) = bench.run_as(&made, &init, Some("user"), &["rise", "-u"]);
    assert_eq!(text, "1000\n");
    bench.end(&made, init);

    let copy = bench.directory.join("rise");
    fs::copy("/usr/bin/id", &copy).expect("copy");
    fs::set_permissions(&bench.directory, PermissionsExt::from_mode(0o755)).expect("mode");
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o4755)).expect("mode");
    let outside = Command::new(&copy)
        .arg("-u")
        .uid(1000)
        .gid(1000)
        .output()
        .expect("id");
    assert_eq!(
        String::from_utf8_lossy(&outside.stdout),
        "0\n",
        "the control"
    );
}
