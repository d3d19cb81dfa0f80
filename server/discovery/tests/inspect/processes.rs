//! Mounts, control groups and processes.

use std::collections::{BTreeMap, BTreeSet};

use porthole_protocol::inspection::{Mount, Mounts, PropagationKind, Subject, What};
use porthole_protocol::namespace::NamespaceType;
use serde_json::Value;

use crate::bench::{Room, identity, inode, json, looked_at, ourselves, try_look};
use crate::values::host_pid;

pub(crate) const ALL: &[crate::Scenario] = &[
    ("mounts_are_what_findmnt_shows", mounts),
    ("mounts_with_strange_names_are_told_apart", strange_names),
    ("peer_groups_name_their_members_elsewhere", peers),
    ("five_thousand_mounts_are_told_or_counted", many_mounts),
    ("a_process_is_what_proc_says", process),
    ("groups_and_limits_are_those_of_the_hierarchies", cgroups),
];

/// A room with a directory of its own for mounts, in its mount namespace only.
fn room() -> Room {
    let mut room = Room::new(&["--mount-proc", "--mount"]);
    room.sh("mount -t tmpfs base /mnt");
    room
}

/// Everything of findmnt's tree, by its number.
fn flat(list: &Value, found: &mut BTreeMap<u64, Value>) {
    for one in list.as_array().into_iter().flatten() {
        found.insert(one["id"].as_u64().expect("a number"), one.clone());
        flat(&one["children"], found);
    }
}

fn mounts() {
    let mut room = room();
    room.sh(
        "cd /mnt; mkdir a a/b c; mount -t tmpfs -o size=1m,nosuid one a; mkdir a/b; mount -t tmpfs two a/b;
         mount -t tmpfs -o ro three a; mount --make-shared c 2>/dev/null || mount --bind c c; mount --make-shared c;
         mkdir d; mount --bind c d; mount --make-slave d; mkdir e; mount -t tmpfs five e; mount --make-unbindable e",
    );
    let pid = room.pid.to_string();
    let path = format!("/proc/{pid}/mountinfo");
    let columns =
        "ID,PARENT,TARGET,SOURCE,FSTYPE,VFS-OPTIONS,FS-OPTIONS,PROPAGATION,MAJ:MIN,FSROOT";
    let found = looked_at!(room.subject(), Mounts);
    let listed = json(&["findmnt", "-F", &path, "-J", "-o", columns]);
    let mut theirs = BTreeMap::new();
    flat(&listed["filesystems"], &mut theirs);
    assert_eq!(found.mounts.left_out, 0);
    let ours: BTreeSet<u64> = found.mounts.items.iter().map(|one| one.id).collect();
    assert_eq!(ours, theirs.keys().copied().collect());
    for one in &found.mounts.items {
        let other = &theirs[&one.id];
        assert_eq!(Some(one.path.as_str()), other["target"].as_str());
        assert_eq!(Some(one.fstype.as_str()), other["fstype"].as_str());
        assert_eq!(Some(one.parent), other["parent"].as_u64());
        assert_eq!(Some(one.device.as_str()), other["maj:min"].as_str());
        assert_eq!(Some(one.root.as_str()), other["fsroot"].as_str());
        assert_eq!(
            Some(one.options.join(",").as_str()),
            other["vfs-options"].as_str()
        );
        assert_eq!(
            Some(one.super_options.join(",").as_str()),
            other["fs-options"].as_str()
        );
        let words = other["propagation"].as_str().expect("a word");
        let kind = match one.propagation.kind {
            PropagationKind::Private => "private",
            PropagationKind::Shared => "shared",
            PropagationKind::Slave => "private,slave",
            PropagationKind::SharedSlave => "shared,slave",
            PropagationKind::Unbindable => "private,unbindable",
        };
        assert_eq!(words, kind, "{}", one.path);
    }
    // Where one stands in the tree.
    let place = |id: u64| found.mounts.items.iter().position(|one| one.id == id);
    for (at, one) in found.mounts.items.iter().enumerate() {
        match place(one.parent) {
            Some(parent) => {
                assert!(parent < at, "{one:?}");
                assert_eq!(one.depth, found.mounts.items[parent].depth + 1);
            }
            None => assert_eq!(one.depth, 0),
        }
    }
    let three = by_source(&found, "three");
    assert_eq!(by_source(&found, "one").hidden_by, Some(three.id));
    assert_eq!(by_source(&found, "two").hidden_by, Some(three.id));
    assert_eq!(three.hidden_by, None);
    assert_eq!(by_source(&found, "base").hidden_by, None);
    // What is hidden cannot be reached: the control.
    assert_eq!(
        room.sh("stat -f -c %T /mnt/a; ls /mnt/a | wc -l"),
        "tmpfs\n0"
    );
    assert_eq!(found.namespace, inode(room.pid, NamespaceType::Mnt));
}

fn by_source<'a>(mounts: &'a Mounts, source: &str) -> &'a Mount {
    let found = mounts.mounts.items.iter().find(|one| one.source == source);
    found.unwrap_or_else(|| panic!("nothing of {source}"))
}

fn strange_names() {
    let mut room = room();
    room.sh(
        r#"cd /mnt; for name in 'a b' "$(printf 'tab\there')" "$(printf 'new\nline')" 'back\slash' "$(printf 'esc\033[31m')" "$(printf 'bad\377')" 'äß#'; do
             mkdir "$name"; mount -t tmpfs strange "$name"; done"#,
    );
    let found = looked_at!(room.subject(), Mounts);
    let mut names: Vec<(&str, Option<&str>)> = found
        .mounts
        .items
        .iter()
        .filter(|one| one.source == "strange")
        .map(|one| (one.path.as_str(), one.path_raw.as_deref()))
        .collect();
    names.sort_unstable();
    let mut expected = [
        ("/mnt/a b", None),
        ("/mnt/tab\u{fffd}here", Some(r"/mnt/tab\011here")),
        ("/mnt/new\u{fffd}line", Some(r"/mnt/new\012line")),
        (r"/mnt/back\slash", None),
        ("/mnt/esc\u{fffd}[31m", Some("/mnt/esc\u{fffd}[31m")),
        ("/mnt/bad\u{fffd}", Some("/mnt/bad\u{fffd}")),
        ("/mnt/äß#", None),
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
}

fn peers() {
    let mut room = room();
    room.sh("cd /mnt; mkdir shared; mount -t tmpfs letters shared; mount --make-shared shared");
    let inner = room.sh("unshare --mount --propagation unchanged sleep 1000 & echo $!");
    let peer = host_pid(&room, inner.trim().parse().expect("a number"));
    let inner = room.sh("unshare --mount --propagation slave sleep 1000 & echo $!");
    let slave = host_pid(&room, inner.trim().parse().expect("a number"));
    let own = inode(room.pid, NamespaceType::Mnt);
    for pid in [peer, slave] {
        crate::bench::wait_until("its own mounts", || {
            let list =
                std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            inode(pid, NamespaceType::Mnt) != own
                && (pid == peer
                    || list
                        .lines()
                        .any(|line| line.contains("letters") && line.contains("master:")))
        });
    }
    let found = looked_at!(room.subject(), Mounts);
    let letters = by_source(&found, "letters");
    assert_eq!(letters.propagation.kind, PropagationKind::Shared);
    let group = letters.propagation.group.expect("a group");
    let group = found
        .groups
        .items
        .iter()
        .find(|one| one.id == group)
        .expect("the group");
    let mut members: Vec<_> = group
        .members
        .items
        .iter()
        .map(|one| (one.process.0, one.path.as_str(), one.receives))
        .collect();
    members.sort_unstable();
    let mut expected = [(peer, "/mnt/shared", false), (slave, "/mnt/shared", true)];
    expected.sort_unstable();
    assert_eq!(members, expected);
    assert_eq!(
        group.members.items[0].namespace,
        inode(group.members.items[0].process.0, NamespaceType::Mnt)
    );
    assert!(found.searched >= 2);
    let below = looked_at!(Subject::Process(identity(slave)), Mounts);
    let letters = by_source(&below, "letters");
    assert_eq!(
        (letters.propagation.kind, letters.propagation.master),
        (PropagationKind::Slave, Some(group.id))
    );
}

fn many_mounts() {
    let mut room = room();
    room.sh("cd /mnt; mkdir one; for n in $(seq 5000); do mkdir $n; mount --bind one $n; done");
    let looked = try_look(&room.subject(), What::Mounts);
    assert!(looked.took.as_secs() < 3, "{:?}", looked.took);
    assert!(looked.bytes <= porthole_protocol::inspection::DOCUMENT_LIMIT);
    let found = looked_at!(room.subject(), Mounts);
    let told = found.mounts.items.len() as u64;
    let lines = std::fs::read_to_string(format!("/proc/{}/mountinfo", room.pid)).expect("mounts");
    assert_eq!(told + found.mounts.left_out, lines.lines().count() as u64);
    assert!(told > 3000, "{told}");
    // Each in a group of its own, with a peer elsewhere.
    room.sh("mount --make-rshared /mnt; unshare --mount --propagation unchanged sleep 1000 &");
    let looked = try_look(&room.subject(), What::Mounts);
    assert!(looked.bytes <= porthole_protocol::inspection::DOCUMENT_LIMIT);
    let found = looked_at!(room.subject(), Mounts);
    let groups = found.groups.items.len() as u64 + found.groups.left_out;
    assert_eq!(groups, 5001, "those of /mnt and of all on it");
}

fn process() {
    let mut room = Room::full();
    let inner = room.sh("cd /usr; NAME='a value' setpriv --no-new-privs --bounding-set -all,+chown sleep 1000 & echo $!");
    let pid = host_pid(&room, inner.trim().parse().expect("a number"));
    crate::bench::wait_until("the program", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), "123").expect("an adjustment");
    let subject = Subject::Process(identity(pid));
    let found = looked_at!(subject, What::Process { environment: true }, Process);
    assert_eq!(found.process.pid.0, pid);
    assert_eq!(found.capabilities.bounding, ["CAP_CHOWN"]);
    assert!(found.capabilities.ambient.is_empty());
    assert_eq!((found.no_new_privs, found.seccomp), (Some(true), Some(0)));
    assert_eq!(found.oom_score_adj, Some(123));
    assert_eq!(found.cwd.as_deref(), Some("/usr"));
    assert_eq!(found.root.as_deref(), Some("/"));
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).expect("a program");
    assert_eq!(found.exe.as_deref(), exe.to_str());
    let environment = found.environment.expect("an environment");
    assert!(environment.items.contains(&"NAME=a value".to_owned()));
    let count = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("files")
        .count();
    assert_eq!(found.open_files, u32::try_from(count).ok());
    let files = found
        .limits
        .iter()
        .find(|one| one.name == "Max open files")
        .expect("a limit");
    let said = crate::bench::output(&[
        "prlimit",
        "-p",
        &pid.to_string(),
        "-n",
        "-o",
        "SOFT,HARD",
        "--noheadings",
        "--raw",
    ]);
    let said: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(
        (files.soft, files.hard),
        (said[0].parse().ok(), said[1].parse().ok())
    );
    assert_eq!(found.namespaces.len(), 10);
    for file in &found.namespaces {
        let link = std::fs::read_link(&file.path).expect("a namespace");
        let inode = file.inode.expect("an inode");
        assert_eq!(
            link.to_string_lossy(),
            format!("{}:[{inode}]", file.kind.name())
        );
    }
    let without = looked_at!(subject, What::Process { environment: false }, Process);
    assert_eq!(without.environment, None);
}

fn cgroups() {
    let found = looked_at!(ourselves(), Cgroup);
    let text = std::fs::read_to_string("/proc/self/cgroup").expect("groups");
    assert_eq!(found.groups.len(), text.lines().count());
    for group in &found.groups {
        assert!(
            text.lines()
                .any(|line| line.ends_with(&format!(":{}", group.path)))
        );
        let Some(directory) = &group.directory else {
            continue;
        };
        let procs =
            std::fs::read_to_string(format!("{directory}/cgroup.procs")).expect("its processes");
        let own = std::process::id().to_string();
        assert!(procs.lines().any(|line| line == own), "{group:?}");
    }
    limits();
}

/// Groups of v1 hierarchies that are removed again.
struct Groups(Vec<std::path::PathBuf>);

impl Drop for Groups {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_dir(path);
        }
    }
}

fn limits() {
    let name = format!("porthole-inspect-{}", std::process::id());
    let path =
        |controller: &str| std::path::PathBuf::from(format!("/sys/fs/cgroup/{controller}/{name}"));
    let controllers = ["memory", "cpu", "cpuacct", "pids", "freezer"];
    if !controllers
        .iter()
        .all(|one| std::path::Path::new("/sys/fs/cgroup").join(one).is_dir())
    {
        println!("SKIPPED: limits of v1 hierarchies: this machine has none of these");
        return;
    }
    let groups = Groups(controllers.map(path).to_vec());
    let room = Room::new(&["--mount-proc"]);
    for group in &groups.0 {
        std::fs::create_dir(group).expect("a group");
    }
    let write = |controller: &str, file: &str, value: &str| {
        let file = path(controller).join(file);
        std::fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    };
    write("memory", "memory.limit_in_bytes", "67108864");
    write("cpu", "cpu.cfs_quota_us", "150000");
    write("pids", "pids.max", "77");
    for controller in controllers {
        write(controller, "cgroup.procs", &room.pid.to_string());
    }
    let found = looked_at!(room.subject(), Cgroup);
    let memory = found.memory.expect("memory");
    assert_eq!(memory.max, Some(64 << 20));
    assert!(
        memory.peak.is_some_and(|peak| peak >= memory.current),
        "{memory:?}"
    );
    let cpu = found.cpu.expect("processors");
    assert_eq!(cpu.cpus, Some(1.5));
    let pids = found.pids.expect("processes");
    assert_eq!((pids.current, pids.max), (1, Some(77)));
    assert_eq!(found.frozen, Some(false));
    let group = found
        .groups
        .iter()
        .find(|one| one.controllers == ["memory"])
        .expect("the group");
    assert_eq!(group.directory.as_deref(), path("memory").to_str());
    // Frozen, it answers nothing itself; what is said of it is not its to say.
    write("freezer", "freezer.state", "FROZEN");
    crate::bench::wait_until("it is frozen", || {
        std::fs::read_to_string(path("freezer").join("freezer.state"))
            .is_ok_and(|state| state == "FROZEN\n")
    });
    let frozen = looked_at!(room.subject(), Cgroup);
    assert_eq!(frozen.frozen, Some(true));
    let _ = looked_at!(room.subject(), What::Process { environment: true }, Process);
    let _ = looked_at!(room.subject(), Isolation);
    let _ = looked_at!(room.subject(), Network);
    write("freezer", "freezer.state", "THAWED");
    drop(room);
}
