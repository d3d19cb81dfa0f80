//! Containers that nobody was asked about.

use std::fmt::Write as _;

use porthole_protocol::engine::Engine;
use porthole_protocol::observation::Sighting;

use super::*;

/// `unshare` with these flags, and the sleep that runs in what it made.
fn sleeper(flags: &[&str]) -> Kept {
    let mut args = flags.to_vec();
    args.extend(["--fork", "--kill-child", "sleep", "1000"]);
    spawn("unshare", &args)
}

fn asleep(view: &mut View, top: &Kept) -> HostPid {
    view.until("the sleep runs", |view| {
        view.below(top.pid(), "sleep").is_some()
    });
    view.below(top.pid(), "sleep").expect("told").host_pid
}

#[test]
fn which_bare_namespaces_are_a_container() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    for (flags, is_one) in [
        (&["-mp"][..], true),
        (&["-p", "--mount-proc"], true),
        (&["-muipnCT"], true),
        (&["-Urmp"], true),
        // A browser's sandbox, services of systemd's, `ip netns exec`.
        (&["-Urpn"], false),
        (&["-p"], false),
        (&["-m"], false),
        (&["-mn"], false),
        (&["-muin"], false),
        (&["-Ur"], false),
        (&["-C"], false),
    ] {
        let top = sleeper(flags);
        let sleep = asleep(&mut view, &top);
        let process = view.process(sleep).expect("told");
        let ticks = process.start_ticks;
        let Some(container) = view.container_of(sleep) else {
            assert!(!is_one, "{flags:?} makes none");
            continue;
        };
        assert!(is_one, "{flags:?} makes {container:?}");
        assert_eq!(container.engine, Engine::None);
        assert_eq!(container.id.as_str(), format!("none-{sleep}-{ticks}"));
        assert_eq!((container.init, container.start_ticks), (sleep, ticks));
        assert_eq!(container.namespaces, process.namespaces);
        let id = container.id.clone();
        drop(top);
        view.until("it is gone", |view| !view.containers.contains_key(&id));
    }
}

#[test]
fn three_deep_as_lsns_and_proc_have_it() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let level = ["unshare", "-Urmp", "--fork", "--kill-child"];
    let mut args = vec!["--reuid=301000", "--regid=301000", "--clear-groups"];
    args.extend([level, level, level].concat());
    args.extend(["sleep", "1000"]);
    let top = spawn("setpriv", &args);
    view.until("the innermost is told whole", |view| {
        view.below(top.pid(), "sleep")
            .is_some_and(|p| p.pids.len() == 4 && p.uid_inside == Some(0) && p.container.is_some())
    });
    let sleep = view.below(top.pid(), "sleep").expect("told").clone();
    // Each container is within the next, and knows who is its first process.
    let mut chain: Vec<&Sighting> = Vec::new();
    let mut at = sleep.container.as_ref();
    while let Some(id) = at {
        let container = &view.containers[id];
        at = container.within.as_ref();
        chain.push(container);
    }
    assert_eq!(chain.len(), 3, "{chain:#?}");
    for (depth, container) in chain.iter().rev().enumerate() {
        let init = view.process(container.init).expect("told");
        assert_eq!(init.pids.len(), depth + 2);
        assert_eq!(init.pids.last(), Some(&1));
        assert_eq!(container.uid_map.len(), 1);
        let user = container.namespaces.user.expect("readable");
        assert_eq!(view.namespaces[&user].owner_uid, Some(301_000));
    }
    // lsns in the same moment: owner and parent of each of its namespaces.
    let text = output("lsns", &["-nro", "NS,TYPE,PNS,ONS"]);
    let mut compared = 0;
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Ok(inode), [_, kind, parent, owner]) = (fields[0].parse(), &fields[..]) else {
            continue;
        };
        let inode = porthole_protocol::id::NamespaceInode(inode);
        if !chain
            .iter()
            .any(|c| c.namespaces.iter().any(|(_, found)| *found == Some(inode)))
        {
            continue;
        }
        let found = &view.namespaces[&inode];
        let number =
            |inode: Option<porthole_protocol::id::NamespaceInode>| inode.map_or(0, |i| i.0);
        assert_eq!(found.kind.name(), *kind);
        assert_eq!(number(found.owner).to_string(), *owner, "{line}");
        assert_eq!(number(found.parent).to_string(), *parent, "{line}");
        compared += 1;
    }
    // A mount, a PID and a user namespace each, and the host's others.
    assert!(compared >= 9, "lsns names only {compared} of them:\n{text}");
    // /proc in the same moment.
    for (kind, inode) in sleep.namespaces.iter() {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", sleep.host_pid));
        let expected = format!("{kind}:[{}]", inode.expect("readable"));
        assert_eq!(link.expect("a link").to_string_lossy(), expected);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", sleep.host_pid));
    let status = status.expect("status");
    let security = sleep.security.expect("told");
    let mut lines = String::new();
    let _ = write!(
        lines,
        "CapEff:\t{:016x}\nCapBnd:\t{:016x}\n",
        security.effective, security.bounding
    );
    for line in lines.lines() {
        assert!(status.lines().any(|l| l == line), "{line} in\n{status}");
    }
}

#[test]
fn what_confines_a_process_is_told() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let plain = spawn("sleep", &["1000"]);
    let confined = spawn(
        "setpriv",
        &["--no-new-privs", "--bounding-set=-all", "sleep", "1000"],
    );
    for child in [&plain, &confined] {
        view.until("it is told", |view| {
            view.process(child.pid())
                .is_some_and(|p| p.command == "sleep")
        });
    }
    let of = |child: &Kept| {
        view.process(child.pid())
            .expect("told")
            .security
            .expect("told")
    };
    assert!(!of(&plain).no_new_privs && of(&plain).bounding != 0);
    assert!(of(&confined).no_new_privs && of(&confined).bounding == 0);
}

/// A group in the cgroup2 tree, removed with the test.
struct Group(PathBuf);

impl Group {
    fn make(path: &str) -> Option<Self> {
        let Some(tree) = cgroup2_tree() else {
            eprintln!("SKIPPED: no cgroup2 tree is mounted");
            return None;
        };
        let group = tree.join(path);
        match std::fs::create_dir_all(&group) {
            Ok(()) => Some(Self(group)),
            Err(error) => {
                eprintln!("SKIPPED: {}: {error}", group.display());
                None
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let begun = Instant::now();
        while std::fs::remove_dir(&self.0).is_err_and(|e| e.raw_os_error() != Some(2))
            && begun.elapsed() < PATIENCE
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        // The engine's own, unless somebody else is in it.
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}

/// 64 digits that no other test has.
fn digits(mark: u32) -> String {
    format!("{:056x}{mark:08x}", std::process::id())
}

/// Runs `unshare` with these flags in this group.
fn inside(group: &Group, flags: &str) -> Kept {
    let script = format!(
        "echo 0 > {}/cgroup.procs; exec unshare {flags} --fork --kill-child sleep 1000",
        group.0.display()
    );
    spawn("sh", &["-c", &script])
}

#[test]
fn an_engines_group_is_a_container_that_can_be_paused() {
    needs_root!();
    let id = digits(1);
    let Some(group) = Group::make(&format!("docker/{id}")) else {
        return;
    };
    let inner_id = digits(2);
    let Some(inner) = Group::make(&format!("docker/{id}/libpod-{inner_id}.scope")) else {
        return;
    };
    let mut view = often();
    settled(&mut view);
    let top = inside(&group, "-mp");
    let key = id.parse().expect("an id");
    view.until("it is told", |view| {
        view.containers
            .get(&key)
            .is_some_and(|c| view.process(c.init).is_some_and(|p| p.command == "sleep"))
    });
    let found = &view.containers[&key];
    assert_eq!(found.engine, Engine::Docker);
    assert_eq!(found.cgroup, Some(format!("/docker/{id}")));
    assert_eq!(found.within, None);
    // The one that put itself there is not the first, for it has left nothing.
    assert_ne!(found.init, top.pid());
    // Another engine's in it, which shares its processes.
    let nested = inside(&inner, "-m");
    let inner_key = inner_id.parse().expect("an id");
    view.until("the inner one is told", |view| {
        view.containers.get(&inner_key).is_some_and(|c| {
            // Its eldest: without a PID namespace there is no other first one.
            view.process(c.init).is_some_and(|p| p.command == "unshare")
                && view
                    .below(c.init, "sleep")
                    .is_some_and(|sleep| sleep.container.as_ref() == Some(&inner_key))
        })
    });
    let within = view.containers[&inner_key].within.clone();
    assert_eq!(within, Some(key.clone()));
    drop(nested);
    view.until("the inner one is gone", |view| {
        !view.containers.contains_key(&inner_key)
    });
    std::fs::write(group.0.join("cgroup.freeze"), "1").expect("frozen");
    view.until("it is paused", |view| view.containers[&key].paused);
    std::fs::write(group.0.join("cgroup.freeze"), "0").expect("thawed");
    view.until("it runs again", |view| !view.containers[&key].paused);
    // It dies while it is looked at.
    let init = view.containers[&key].init;
    let pid = rustix::process::Pid::from_raw(init.0).expect("a PID");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    drop(top);
    let took = view.until("it is gone", |view| !view.containers.contains_key(&key));
    eprintln!("a dead container was gone {took:?} later");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn two_thousand_containers() {
    needs_root!();
    let count = 2000;
    let parent = format!("porthole-crowd-{}", std::process::id());
    let Some(top) = Group::make(&parent) else {
        return;
    };
    let names: Vec<String> = (0..count).map(|n| digits(0x1000 + n)).collect();
    let groups: Vec<Group> = names
        .iter()
        .filter_map(|name| Group::make(&format!("{parent}/docker-{name}.scope")))
        .collect();
    assert_eq!(groups.len(), names.len());
    let mut view = often();
    settled(&mut view);
    let script = format!(
        "for g in {}/docker-*; do (echo 0 > $g/cgroup.procs; exec sleep 1000) & done; echo 0 > {0}/cgroup.procs; exec sleep 1000",
        top.0.display()
    );
    let crowd = spawn("sh", &["-c", &script]);
    let all = |view: &View| {
        let ours = |c: &&Sighting| c.cgroup.as_ref().is_some_and(|g| g.contains(&parent));
        view.containers.values().filter(ours).count()
    };
    let took = view.until("all are told", |view| all(view) == names.len());
    eprintln!("{count} containers were told after {took:?}");
    std::fs::write(top.0.join("cgroup.kill"), "1").expect("killed");
    let took = view.until("all are gone", |view| all(view) == 0);
    eprintln!("they were gone after {took:?}");
    drop(crowd);
    drop(groups);
}
