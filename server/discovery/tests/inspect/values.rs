//! Names, IPC, users, clocks, numbers, what is not isolated.

use std::os::fd::AsRawFd as _;

use porthole_protocol::id::HostPid;
use porthole_protocol::inspection::{MappedRange, NotIsolated, Seen, Subject, Verdict};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Holder;

use crate::bench::{Room, identity, inode, json, looked_at, ourselves, output, wait_until};

pub(crate) const ALL: &[crate::Scenario] = &[
    ("names_are_those_inside", names),
    ("ipc_is_what_lsipc_shows", ipc),
    ("maps_of_users_go_through_every_level", users),
    ("clocks_differ_by_their_offsets", clocks),
    ("numbers_of_a_pid_namespace", numbers),
    ("what_is_not_isolated", isolation),
    (
        "what_is_not_isolated_of_the_hosts_users",
        isolation_without_users,
    ),
];

fn names() {
    let mut room = Room::full();
    room.sh("hostname inner-name; echo inner.domain > /proc/sys/kernel/domainname");
    let uts = looked_at!(room.subject(), Uts);
    assert_eq!(uts.nodename, "inner-name");
    assert_eq!(uts.domainname, "inner.domain");
    assert_eq!(uts.release, output(&["uname", "-r"]).trim());
    assert_eq!(uts.namespace, inode(room.pid, NamespaceType::Uts));
    let ours = looked_at!(ourselves(), Uts);
    assert_eq!(ours.nodename, output(&["uname", "-n"]).trim());
}

fn ipc() {
    let mut room = Room::new(&["--mount-proc", "--ipc"]);
    room.sh("ipcmk -M 12345 -p 0640 && ipcmk -M 70000 && ipcmk -Q && ipcmk -S 7");
    room.sh("mkdir -p /dev/mqueue; mount -t mqueue none /dev/mqueue; touch /dev/mqueue/letters");
    room.sh("echo 65000 > /proc/sys/kernel/msgmax");
    let ipc = looked_at!(room.subject(), Ipc);
    let pid = room.pid.to_string();
    let theirs = |what: &str| {
        let list = json(&[
            "nsenter",
            "-t",
            &pid,
            "-i",
            "lsipc",
            what,
            "-J",
            "-b",
            "--noheadings",
        ]);
        let first = list.as_object().expect("one list").values().next();
        first.expect("a list").as_array().expect("rows").len()
    };
    assert_eq!(ipc.segments.items.len(), theirs("-m"));
    assert_eq!(ipc.queues.items.len(), theirs("-q"));
    assert_eq!(ipc.semaphores.items.len(), theirs("-s"));
    let segment = ipc.segments.items.iter().find(|one| one.size == 12345);
    let segment = segment.expect("the segment");
    assert_eq!(segment.object.permissions, 0o640);
    assert_eq!(segment.attached, 0);
    let list = room.sh("ipcs -m");
    let row = list
        .lines()
        .find(|line| line.contains("12345"))
        .expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(format!("{:#010x}", segment.object.key), words[0]);
    assert_eq!(segment.object.id.to_string(), words[1]);
    assert_eq!(ipc.semaphores.items[0].semaphores, 7);
    let names: Vec<_> = ipc
        .posix_queues
        .items
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["/letters"], "{:?}", ipc.notes);
    assert_eq!(ipc.posix_queues.items[0].messages, Some(0));
    assert_eq!(ipc.posix_queues.items[0].most_messages, Some(10));
    let limit = |name: &str| {
        let setting = ipc.limits.iter().find(|one| one.name == name);
        setting.expect("a limit").value.clone()
    };
    assert_eq!(limit("kernel.msgmax"), "65000", "this namespace's own");
    for name in ["kernel.shmmax", "kernel.sem", "fs.mqueue.msg_max"] {
        let said = room.sh(&format!("sysctl -n {name}"));
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(limit(name), said);
    }
    assert!(ipc.notes.is_empty(), "{:?}", ipc.notes);
    let host = looked_at!(ourselves(), Ipc);
    assert!(
        host.posix_queues
            .items
            .iter()
            .all(|one| one.name != "/letters")
    );
}

fn users() {
    let mut room = Room::new(&["--user"]);
    let map = |pid: i32, name: &str, text: &str| {
        std::fs::write(format!("/proc/{pid}/{name}"), text).expect("a map");
    };
    map(room.pid, "uid_map", "0 0 1\n1 100001 999");
    map(room.pid, "gid_map", "0 0 1\n1 200001 499");
    let user = looked_at!(room.subject(), User);
    assert_eq!(user.level, 1);
    let own = inode(std::process::id().cast_signed(), NamespaceType::User);
    assert_eq!(user.ancestors, [own]);
    let ranges = |map: &[MappedRange]| -> Vec<_> {
        let one = |range: &MappedRange| (range.inside, range.parent, range.outside, range.count);
        map.iter().map(one).collect()
    };
    let expected = [(0, Some(0), 0, 1), (1, Some(100_001), 100_001, 999)];
    assert_eq!(ranges(&user.uid_map), expected);
    assert_eq!(ranges(&user.gid_map)[1], (1, Some(200_001), 200_001, 499));
    assert_eq!((user.owner_uid, user.setgroups), (Some(0), Some(true)));
    // One more below it.
    let inner = room.sh("sh -c 'unshare --user sleep 1000 & echo $!'");
    let inner = host_pid(&room, inner.trim().parse().expect("a number"));
    wait_until("a user namespace of its own", || {
        inode(inner, NamespaceType::User) != inode(room.pid, NamespaceType::User)
    });
    let empty = looked_at!(Subject::Process(identity(inner)), User);
    assert!(empty.uid_map.is_empty(), "not written yet");
    room.sh(&format!("sh -c \"echo '7 10 20' > /proc/{inner}/uid_map\""));
    let user = looked_at!(Subject::Process(identity(inner)), User);
    assert_eq!(user.level, 2);
    assert_eq!(user.ancestors, [inode(room.pid, NamespaceType::User), own]);
    assert_eq!(ranges(&user.uid_map), [(7, Some(10), 100_010, 20)]);
    let initial = looked_at!(ourselves(), User);
    assert_eq!((initial.level, initial.uid_map[0].count), (0, u32::MAX));
    // One that is only held open.
    let path = format!("/proc/{inner}/ns/user");
    let held = std::fs::File::open(path).expect("a namespace");
    let subject = Subject::Namespace {
        kind: NamespaceType::User,
        inode: inode(inner, NamespaceType::User),
        holder: Holder::Descriptor {
            pid: HostPid(std::process::id().cast_signed()),
            fd: held.as_raw_fd(),
        },
    };
    drop(room);
    wait_until("the end of all in it", || {
        !std::path::Path::new(&format!("/proc/{inner}")).exists()
    });
    let held = looked_at!(subject, User);
    assert_eq!(held.level, 2);
    let range = held.uid_map[0];
    assert_eq!((range.inside, range.outside, range.count), (7, 100_010, 20));
    assert_eq!(range.parent, None, "nobody is in the one above any more");
}

/// The number on the host of a process in a room.
pub(crate) fn host_pid(room: &Room, inner: i32) -> i32 {
    let inside = inode(room.pid, NamespaceType::Pid);
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let link = std::fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap_or_default();
            let pids = status.lines().find(|line| line.starts_with("NSpid:"));
            link.to_string_lossy().contains(&inside.to_string())
                && pids.is_some_and(|line| line.ends_with(&format!("\t{inner}")))
        })
        .expect("the process")
}

fn clocks() {
    const SECOND: i64 = 1_000_000_000;
    let room = Room::new(&["--time", "--monotonic", "86400", "--boottime", "-5"]);
    let time = looked_at!(room.subject(), Time);
    assert_eq!(time.namespace, inode(room.pid, NamespaceType::Time));
    assert_eq!(time.monotonic_offset, 86400 * SECOND);
    assert_eq!(time.boottime_offset, -5 * SECOND);
    let near = |difference: i64, offset: i64| (difference - offset).abs() < SECOND;
    assert!(
        near(
            time.inside.monotonic - time.outside.monotonic,
            time.monotonic_offset
        ),
        "{time:?}"
    );
    assert!(
        near(
            time.inside.boottime - time.outside.boottime,
            time.boottime_offset
        ),
        "{time:?}"
    );
    assert!(
        near(time.inside.realtime - time.outside.realtime, 0),
        "{time:?}"
    );
    let ours = looked_at!(ourselves(), Time);
    assert_eq!((ours.monotonic_offset, ours.boottime_offset), (0, 0));
}

fn numbers() {
    let mut room = Room::full();
    room.sh("sleep 1000 & sleep 1000 &");
    let pid = looked_at!(room.subject(), Pid);
    assert_eq!(pid.level, 1);
    assert_eq!(pid.init.map(|pid| pid.0), Some(room.pid));
    assert_eq!(pid.processes, 3);
    let said: u32 = room
        .sh("cat /proc/sys/kernel/pid_max")
        .trim()
        .parse()
        .expect("a number");
    assert_eq!(pid.pid_max, Some(said), "{:?}", pid.notes);
    let last = pid.last_pid.expect("the last number");
    let next: i32 = room.sh("sh -c 'echo $$'").trim().parse().expect("a number");
    assert!(last < next && next < last + 10, "{last}, then {next}");
    let host = looked_at!(ourselves(), Pid);
    let said = output(&["sysctl", "-n", "kernel.pid_max"]);
    assert_eq!(host.pid_max, said.trim().parse().ok());
    assert_eq!((host.level, host.init.map(|pid| pid.0)), (0, Some(1)));
}

fn value(seen: &Seen) -> &str {
    match seen {
        Seen::Value(text) | Seen::Not(text) => text,
    }
}

fn isolation() {
    let mut room = Room::new(&[
        "--mount-proc",
        "--uts",
        "--ipc",
        "--net",
        "--user",
        "--map-root-user",
        "--time",
        "--boottime",
        "1000000",
    ]);
    room.sh("hostname somewhere-else");
    let found = looked_at!(room.subject(), Isolation);
    let fact = |name| {
        found
            .facts
            .iter()
            .find(|fact| fact.name == name)
            .expect("a fact")
    };
    for name in NotIsolated::ALL {
        let file = format!("/proc/{}", name.file());
        assert_eq!(fact(name).file, file);
    }
    for (name, verdict) in [
        (NotIsolated::KernelRelease, Verdict::Same),
        (NotIsolated::BootId, Verdict::Same),
        (NotIsolated::Load, Verdict::Same),
        (NotIsolated::Memory, Verdict::Same),
        (NotIsolated::Cpus, Verdict::Same),
        (NotIsolated::Uptime, Verdict::Different),
        (NotIsolated::Hostname, Verdict::Different),
    ] {
        assert_eq!(fact(name).verdict, verdict, "{:?}", fact(name));
    }
    let modules = fact(NotIsolated::Modules);
    let has_modules = std::path::Path::new("/proc/modules").exists();
    assert_eq!(modules.verdict == Verdict::Same, has_modules, "{modules:?}");
    let memory = room.sh("grep MemTotal /proc/meminfo | tr -dc 0-9");
    let memory: u64 = memory.parse().expect("a number");
    assert_eq!(
        value(&fact(NotIsolated::Memory).inside),
        (memory * 1024).to_string()
    );
    assert_eq!(value(&fact(NotIsolated::Hostname).inside), "somewhere-else");
    let cpus = room.sh("grep -c '^cpu[0-9]' /proc/stat");
    assert_eq!(value(&fact(NotIsolated::Cpus).inside), cpus);
    let shift = found.inside.boottime - found.outside.boottime;
    assert!((shift / 1_000_000_000 - 1_000_000).abs() <= 1, "{shift}");
    // Root of a user namespace cannot set the machine's clock.
    assert!(!found.set_clock.allowed, "{:?}", found.set_clock);
    assert!(
        !found.read_kernel_log.allowed || dmesg_for_all(),
        "{:?}",
        found.read_kernel_log
    );
}

fn dmesg_for_all() -> bool {
    output(&["sysctl", "-n", "kernel.dmesg_restrict"]).trim() == "0"
}

fn isolation_without_users() {
    let mut room = Room::new(&["--mount-proc", "--uts"]);
    room.sh("mount --bind /dev/null /proc/keys");
    let found = looked_at!(room.subject(), Isolation);
    // The control: with the host's users and all capabilities it could, and nothing was set.
    assert!(found.set_clock.allowed, "{:?}", found.set_clock);
    let keys = found
        .facts
        .iter()
        .find(|fact| fact.name == NotIsolated::Keys)
        .expect("keys");
    assert_eq!(keys.verdict, Verdict::Unknown);
    assert!(
        matches!(&keys.inside, Seen::Not(why) if why.contains("masked")),
        "{keys:?}"
    );
    assert!(keys.through.is_some());
    let uptime = found
        .facts
        .iter()
        .find(|fact| fact.name == NotIsolated::Uptime)
        .expect("uptime");
    assert_eq!(uptime.verdict, Verdict::Same, "{uptime:?}");
}
