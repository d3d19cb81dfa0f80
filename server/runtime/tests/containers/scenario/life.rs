//! Starting, running, ending, starting again.

use std::fs;

use porthole_protocol::namespace::{NamespaceType, PerNamespace};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{HOST_SLEEP, SLEEP, Scenario};
use crate::bench::{Bench, kill, master, read_all, read_until, wait, write};

pub(super) const ALL: &[Scenario] = &[
    (
        "a_command_is_pid_1_and_its_code_arrives",
        a_command_is_pid_1_and_its_code_arrives,
    ),
    (
        "init_reaps_forwards_and_exits_as_the_command",
        init_reaps_forwards_and_exits_as_the_command,
    ),
    (
        "what_a_container_wrote_is_there_when_it_starts_again",
        what_a_container_wrote_is_there,
    ),
    ("all_namespaces_are_its_own", all_namespaces_are_its_own),
    ("clocks_differ_as_asked", clocks_differ_as_asked),
    (
        "namespaces_of_another_container_are_shared",
        namespaces_of_another_container_are_shared,
    ),
    (
        "whoever_shares_without_the_users_sees_nothing_of_the_machine",
        whoever_shares_without_the_users_sees_nothing_of_the_machine,
    ),
    (
        "the_machines_namespaces_are_kept_where_asked",
        the_machines_namespaces_are_kept,
    ),
    (
        "a_terminal_is_controlled_by_the_command",
        a_terminal_is_controlled_by_the_command,
    ),
    ("limits_are_in_force", limits_are_in_force),
    ("a_birth_is_written_down", a_birth_is_written_down),
    ("a_root_directory_is_shared", a_root_directory_is_shared),
];

fn a_command_is_pid_1_and_its_code_arrives(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sh","-c","echo $$ $(hostname) $(id -u); exit 7"]}"#,
    );
    let init = bench.start(&made);
    assert_eq!(read_all(&init.console), "1 test 0\n");
    assert_eq!(wait(&init.pidfd), 7);
    bench.remove(&made);
}

fn init_reaps_forwards_and_exits_as_the_command(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"host","command":["bash","-c",
            "trap 'echo term; exit 9' TERM; (sleep 0.05 & exec sleep 0.01) & wait; ps -eo pid,ppid,stat,comm; echo ready; read x"]}"#,
    );
    let init = bench.start(&made);
    let porthole_runtime::Console::Pipes { stdout, .. } = &init.console else {
        panic!("no terminal was asked for");
    };
    let mut text = String::new();
    read_until(stdout, &mut text, |text| text.contains("ready"));
    assert!(text.contains("porthole-init"), "{text}");
    assert!(text.contains(" bash"), "{text}");
    kill(&init.pidfd, 15);
    read_until(stdout, &mut text, |text| text.contains("term"));
    assert_eq!(wait(&init.pidfd), 9);
    bench.remove(&made);

    let made = bench.create(r#"{"image":"host","command":["bash","-c","kill -KILL $$"]}"#);
    let init = bench.start(&made);
    assert_eq!(wait(&init.pidfd), 137);
    bench.remove(&made);
}

fn what_a_container_wrote_is_there(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"host","init":false,"command":["bash","-c","cat /root/note /usr/note; echo again | tee /root/note > /usr/note"]}"#,
    );
    let first = bench.start(&made);
    let text = read_all(&first.console);
    assert!(text.contains("No such file"), "{text}");
    wait(&first.pidfd);
    let second = bench.start(&made);
    assert_eq!(read_all(&second.console), "again\nagain\n");
    wait(&second.pidfd);
    assert!(!std::path::Path::new("/usr/note").exists());
    bench.remove(&made);
}

fn all_namespaces_are_its_own(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"namespaces":{"time":"own"}}"#,
    );
    let init = bench.start(&made);
    for (kind, inode) in init.namespaces.iter() {
        let of = |who: &str| {
            fs::read_link(format!("/proc/{who}/ns/{}", kind.name()))
                .expect("a namespace")
                .to_string_lossy()
                .into_owned()
        };
        let inode = inode.expect("a number");
        assert_eq!(of(&init.host_pid.to_string()), format!("{kind}:[{inode}]"));
        assert_ne!(of("self"), of(&init.host_pid.to_string()), "{kind}");
    }
    let map = fs::read_to_string(format!("/proc/{}/uid_map", init.host_pid)).expect("map");
    let numbers: Vec<u32> = map
        .split_whitespace()
        .map(|n| n.parse().expect("number"))
        .collect();
    assert_eq!(numbers, [0, made.ids.1, 65_536]);
    let (text, _) = bench.run(&made, &init, &["cat", "/proc/self/cgroup"]);
    assert!(
        text.lines()
            .any(|line| line == "0::/" || line.starts_with("0::/")),
        "{text}"
    );
    assert!(
        !text.contains("porthole-"),
        "its groups are seen from its own: {text}"
    );
    let (text, _) = bench.run(&made, &init, &["ip", "addr"]);
    assert!(text.contains("127.0.0.1") && text.contains("UP"), "{text}");
    bench.end(&made, init);
}

fn clocks_differ_as_asked(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"time_offset":{"monotonic":5000,"boottime":1000000}}"#,
    );
    let init = bench.start(&made);
    let uptime = |text: &str| -> f64 {
        text.split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .expect("seconds")
    };
    let outside = uptime(&fs::read_to_string("/proc/uptime").expect("uptime"));
    let (text, _) = bench.run(&made, &init, &["cat", "/proc/uptime"]);
    let difference = uptime(&text) - outside;
    assert!(
        (999_990.0..1_000_060.0).contains(&difference),
        "{difference}"
    );
    let offsets =
        fs::read_to_string(format!("/proc/{}/timens_offsets", init.host_pid)).expect("offsets");
    assert!(
        offsets.contains("5000") && offsets.contains("1000000"),
        "{offsets}"
    );
    assert_eq!(
        fs::read_link("/proc/self/ns/time_for_children").expect("own"),
        fs::read_link("/proc/self/ns/time").expect("own"),
        "the monitor stays where it is"
    );
    bench.end(&made, init);
}

/// Who does not own the namespace may mount neither its procfs nor its sysfs. The machine's are no
/// way out: they show every process of the machine.
fn whoever_shares_without_the_users_sees_nothing_of_the_machine(bench: &mut Bench) {
    let first = bench.create(SLEEP);
    let one = bench.start(&first);
    let pidfd = || {
        pidfd_open(
            Pid::from_raw(one.host_pid.0).expect("pid"),
            PidfdFlags::empty(),
        )
        .ok()
    };
    let processes = bench.create(
        r#"{"image":"busybox","init":false,"command":["sh","-c","cat /proc/[0-9]*/cmdline"],
            "namespaces":{"pid":"container:a"}}"#,
    );
    let shared = PerNamespace {
        pid: pidfd(),
        ..PerNamespace::default()
    };
    match bench.start_sharing(&processes, shared) {
        Ok(init) => panic!("it sees {:?}", read_all(&init.console)),
        Err(failure) => assert_eq!(failure.errno, Some(1), "{failure}"),
    }
    bench.remove(&processes);
    let network = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],
            "namespaces":{"net":"container:a"}}"#,
    );
    let shared = PerNamespace {
        net: pidfd(),
        ..PerNamespace::default()
    };
    let two = bench
        .start_sharing(&network, shared)
        .expect("a container beside the first");
    assert_eq!(two.namespaces.net, one.namespaces.net);
    let look = [
        "sh",
        "-c",
        "ls /sys /sys/fs; ls /sys/fs/cgroup | grep procs$; mkdir /sys/x",
    ];
    let (text, code) = bench.run(&network, &two, &look);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("/sys:\nfs\n\n/sys/fs:\ncgroup\ncgroup.procs\n")
            && text.contains("Read-only"),
        "{text}"
    );
    let (text, code) = bench.run(&network, &two, &["ip", "link", "show", "lo"]);
    assert_eq!(code, 0, "{text}");
    // Control: whose network is its own sees a sysfs.
    let (text, _) = bench.run(&first, &one, &["ls", "/sys/class/net"]);
    assert!(text.contains("lo"), "{text}");
    bench.end(&network, two);
    bench.end(&first, one);
}

fn namespaces_of_another_container_are_shared(bench: &mut Bench) {
    let first = bench.create(SLEEP);
    let one = bench.start(&first);
    let mut second = bench.create(
        r#"{"image":"busybox","init":false,"command":["sh","-c","echo $$; exec sleep 1000"],
            "namespaces":{"net":"container:a","ipc":"container:a","user":"container:a","pid":"container:a"}}"#,
    );
    // Whoever shares a user namespace has its ids.
    porthole_runtime::remove_root(&second.directory).expect("remove");
    second.ids = first.ids;
    porthole_runtime::create_root(
        &second.directory,
        &second.id,
        &"second".parse().expect("name"),
        &second.spec,
        second.ids,
        &bench.images,
        None,
    )
    .expect("a root");
    let pidfd = || {
        pidfd_open(
            Pid::from_raw(one.host_pid.0).expect("pid"),
            PidfdFlags::empty(),
        )
        .ok()
    };
    let shared = PerNamespace {
        net: pidfd(),
        ipc: pidfd(),
        user: pidfd(),
        pid: pidfd(),
        ..PerNamespace::default()
    };
    let two = bench.start_sharing(&second, shared).expect("a container");
    for (kind, inode) in two.namespaces.iter() {
        let same = one.namespaces.get(kind) == inode;
        let expected = matches!(
            kind,
            NamespaceType::Net
                | NamespaceType::Ipc
                | NamespaceType::User
                | NamespaceType::Pid
                | NamespaceType::Time
        );
        assert_eq!(same, expected, "{kind}");
    }
    let (text, code) = bench.run(&second, &two, &["ps"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.matches("sleep 1000").count() == 2,
        "one PID namespace: {text}"
    );
    bench.end(&second, two);
    bench.end(&first, one);
}

fn the_machines_namespaces_are_kept(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"namespaces":{"net":"host","uts":"host","pid":"host","ipc":"host"}}"#,
    );
    let init = bench.start(&made);
    let (text, _) = bench.run(&made, &init, &["hostname"]);
    let own = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    assert_eq!(text.trim(), own);
    let (text, code) = bench.run(&made, &init, &["ps"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("containers"), "this process is seen: {text}");
    for (refused, control) in [
        ("mount -t tmpfs x /mnt", "ls /mnt"),
        (
            "mknod /tmp/n c 1 3 && echo x > /tmp/n",
            "echo x > /dev/null",
        ),
        (
            "mknod /dev/n c 1 3 && echo x > /dev/n",
            "echo x > /dev/zero",
        ),
        (
            "mknod /dev/shm/n c 1 3 && echo x > /dev/shm/n",
            "mkfifo /dev/shm/m",
        ),
        (
            "echo 1 > /proc/sys/kernel/panic",
            "cat /proc/sys/kernel/panic",
        ),
    ] {
        let (text, code) = bench.run(&made, &init, &["sh", "-c", refused]);
        assert_ne!(code, 0, "{refused}: {text}");
        let (text, code) = bench.run(&made, &init, &["sh", "-c", control]);
        assert_eq!(code, 0, "{control}: {text}");
    }
    bench.end(&made, init);

    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"namespaces":{"user":"host"}}"#,
    );
    porthole_runtime::remove_root(&made.directory).expect("remove");
    porthole_runtime::create_root(
        &made.directory,
        &made.id,
        &"test".parse().expect("name"),
        &made.spec,
        porthole_protocol::container::IdRange(0, 0, u32::MAX),
        &bench.images,
        None,
    )
    .expect("a root");
    let init = bench.start(&made);
    let (text, _) = bench.run(&made, &init, &["grep", "CapEff", "/proc/self/status"]);
    assert_eq!(
        text.trim(),
        "CapEff:\t00000000a80425fb",
        "the machine's root, but no more than others"
    );
    let (text, code) = bench.run(&made, &init, &["mount", "-t", "tmpfs", "x", "/mnt"]);
    assert_ne!(code, 0, "{text}");
    bench.end(&made, init);
}

fn a_terminal_is_controlled_by_the_command(bench: &mut Bench) {
    for init_role in [false, true] {
        let made = bench.create(&format!(
            r#"{{"image":"host","tty":true,"init":{init_role},"command":["bash","--norc"]}}"#
        ));
        let init = bench.start(&made);
        assert_eq!(init.tty_name.as_deref(), Some("/dev/pts/0"));
        write(&init.console, "stty size; tty; echo jobs=$-; exit 3\n");
        let mut text = String::new();
        read_until(master(&init.console), &mut text, |_| false);
        assert!(
            text.contains("24 80") && text.contains("/dev/pts/0"),
            "{text}"
        );
        assert!(!text.contains("no job control"), "{text}");
        assert_eq!(wait(&init.pidfd), 3);
        bench.remove(&made);
    }
}

fn limits_are_in_force(bench: &mut Bench) {
    let made = bench.create(
        r#"{"image":"busybox","init":false,"command":["sleep","1000"],"limits":{"pids":12}}"#,
    );
    let init = bench.start(&made);
    let (text, _) = bench.run(&made, &init, &["sh", "-c", "ulimit -n; ulimit -c"]);
    assert_eq!(text, "1024\n0\n");
    let (text, code) = bench.run(
        &made,
        &init,
        &[
            "sh",
            "-c",
            "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all",
        ],
    );
    assert!(
        !text.contains("all") || text.contains("fork"),
        "forty children: {text} {code}"
    );
    bench.end(&made, init);

    for (bytes, fits) in [(64_000_000, false), (1_000_000, true)] {
        let line = format!("head -c {bytes} /dev/zero | tail -c {bytes} | wc -c");
        let made = bench.create(
            &serde_json::json!({
                "image": "busybox", "init": false, "command": ["sh", "-c", line],
                "limits": {"memory": 16 << 20}
            })
            .to_string(),
        );
        let init = bench.start(&made);
        let text = read_all(&init.console);
        wait(&init.pidfd);
        assert_eq!(
            text.contains(&bytes.to_string()),
            fits,
            "{bytes} in 16 MiB: {text}"
        );
        bench.remove(&made);
    }
}

fn a_birth_is_written_down(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    let trace = bench.trace.take().expect("a trace");
    let has = |part: &str| trace.steps.iter().any(|step| step.call.contains(part));
    for call in [
        "clone3(CLONE_NEWNS|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWPID|CLONE_NEWNET|CLONE_NEWUSER",
        "uid_map",
        "unshare(CLONE_NEWCGROUP)",
        "pivot_root",
        "seccomp",
        "execve(\"/usr/bin/sleep\")",
    ] {
        assert!(has(call), "{call}");
    }
    assert!(trace.steps.is_sorted_by_key(|step| step.at_us));
    assert!(trace.steps.iter().all(|step| step.pid.is_some()));
    bench.join(&made, &init, r#"{"tty":false,"command":["true"]}"#);
    let trace = bench.trace.take().expect("a trace");
    let entered = trace
        .steps
        .iter()
        .find(|step| step.call.starts_with("setns"))
        .expect("setns");
    assert_eq!(entered.entered.len(), 7);
    bench.end(&made, init);
}

fn a_root_directory_is_shared(bench: &mut Bench) {
    let first = bench.create(SLEEP);
    let one = bench.start(&first);
    let mut second = bench.create(
        r#"{"image":"busybox","init":false,"tty":true,"command":["sh","-c","echo there > /tmp/note; tty; exec sleep 1000"],
            "namespaces":{"mnt":"container:a","user":"container:a"}}"#,
    );
    second.ids = first.ids;
    let pidfd = || {
        pidfd_open(
            Pid::from_raw(one.host_pid.0).expect("pid"),
            PidfdFlags::empty(),
        )
        .ok()
    };
    let shared = PerNamespace {
        mnt: pidfd(),
        user: pidfd(),
        ..PerNamespace::default()
    };
    let two = bench.start_sharing(&second, shared).expect("a container");
    let mut text = String::new();
    read_until(master(&two.console), &mut text, |text| {
        text.contains("/dev/pts/0")
    });
    assert_eq!(bench.run(&first, &one, &["cat", "/tmp/note"]).0, "there\n");
    assert_eq!(bench.run(&second, &two, &["cat", "/tmp/note"]).0, "there\n");
    bench.end(&second, two);
    bench.end(&first, one);
}
