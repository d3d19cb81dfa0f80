//! Namespaces that no process is in.

use porthole_protocol::id::NamespaceInode;
use porthole_protocol::observation::Holder;

use super::*;

fn inode(path: &str) -> NamespaceInode {
    let link = std::fs::read_link(path).expect("a namespace");
    let link = link.to_string_lossy().into_owned();
    let digits = link.split_once('[').expect("a number").1;
    NamespaceInode(digits.trim_end_matches(']').parse().expect("a number"))
}

#[test]
fn a_descriptor_keeps_a_namespace() {
    needs_root!();
    let mut view = often();
    settled(&mut view);
    // A network and a user namespace that belong to a user namespace of another user.
    let flags = ["--reuid=302000", "--regid=302000", "--clear-groups"];
    let mut args = flags.to_vec();
    args.extend(["unshare", "-Ur", "unshare", "-Urn", "sleep", "1000"]);
    let maker = spawn("setpriv", &args);
    let made = maker.pid();
    view.until("it is made", |view| {
        view.process(made).is_some_and(|p| p.command == "sleep")
    });
    let link = |kind| format!("/proc/{made}/ns/{kind}");
    let (net, user) = (inode(&link("net")), inode(&link("user")));
    let script = "exec 8<$0 9<$1; read line; exec sleep 1000";
    let mut command = Command::new("sh");
    command.args(["-c", script, &link("net"), &link("user")]);
    let mut holder = Kept(command.stdin(Stdio::piped()).spawn().expect("spawned"));
    let pid = holder.pid();
    let begun = Instant::now();
    while !Path::new(&format!("/proc/{pid}/fd/9")).exists() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(maker);
    drop(holder.0.stdin.take());
    view.until("it is told as held", |view| {
        view.namespaces
            .get(&net)
            .is_some_and(|n| n.processes == 0 && !n.holders.is_empty())
            && view.namespaces.get(&user).is_some_and(|n| n.processes == 0)
    });
    let found = &view.namespaces[&net];
    assert_eq!(found.holders, [Holder::Descriptor { pid, fd: 8 }]);
    assert_eq!((found.owner, found.leader), (Some(user), None));
    let owner = &view.namespaces[&user];
    assert_eq!(owner.holders, [Holder::Descriptor { pid, fd: 9 }]);
    assert_eq!((owner.owner_uid, owner.children), (Some(302_000), 1));
    // Around it is one that nobody is in and nobody holds.
    let middle = &view.namespaces[&owner.parent.expect("nested")];
    assert_eq!((middle.processes, middle.holders.len()), (0, 0));
    assert_eq!((middle.children, middle.owner_uid), (1, Some(302_000)));
    let middle = middle.inode;
    drop(holder);
    view.until("all of it is gone", |view| {
        [net, user, middle]
            .iter()
            .all(|inode| !view.namespaces.contains_key(inode))
    });
}

#[test]
fn who_has_its_own_host_open_is_told_too() {
    needs_root!();
    let mut view = often();
    settled(&mut view);
    let holder = spawn("sh", &["-c", "exec 9</proc/self/ns/net; exec sleep 1000"]);
    let pid = holder.pid();
    let net = inode("/proc/self/ns/net");
    let holds = |view: &View| {
        let holder = Holder::Descriptor { pid, fd: 9 };
        view.namespaces[&net].holders.contains(&holder)
    };
    view.until("it holds the host's", |view| holds(view));
    drop(holder);
    view.until("it does no more", |view| !holds(view));
}

#[test]
fn a_mount_keeps_a_namespace() {
    needs_root!();
    let mut view = often();
    settled(&mut view);
    // In mounts of its own, so that the host is left alone.
    let script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && \
                  ip netns add porthole-a && exec sleep 1000";
    let place = spawn("unshare", &["--mount", "sh", "-c", script]);
    let pid = place.pid();
    view.until("it is made", |view| {
        view.process(pid).is_some_and(|p| p.command == "sleep")
    });
    let target = pid.to_string();
    let inside = |args: &[&str]| {
        let mut all = vec!["--target", &target, "--mount"];
        all.extend(args);
        output("nsenter", &all)
    };
    let number = inside(&["stat", "--format=%i", "/run/netns/porthole-a"]);
    let net = NamespaceInode(number.trim().parse().expect("an inode"));
    let took = view.until("it is told as mounted", |view| {
        view.namespaces
            .get(&net)
            .is_some_and(|n| !n.holders.is_empty())
    });
    eprintln!("a mounted namespace was told {took:?} after its mount");
    let found = &view.namespaces[&net];
    let path = "/run/netns/porthole-a".to_owned();
    assert_eq!(found.holders, [Holder::Mount { pid, path }]);
    assert_eq!((found.kind, found.processes), (NamespaceType::Net, 0));
    assert_eq!(found.owner, Some(inode("/proc/self/ns/user")));
    assert!(!found.initial);
    // Neither it nor `ip netns exec` makes a container.
    assert_eq!(view.process(pid).expect("told").container, None);
    inside(&["ip", "netns", "del", "porthole-a"]);
    view.until("it is gone", |view| !view.namespaces.contains_key(&net));
}

#[test]
fn a_thread_that_is_elsewhere_keeps_a_namespace() {
    needs_root!();
    let Some((_directory, program)) = super::trouble::scene() else {
        return;
    };
    let mut view = often();
    settled(&mut view);
    let Some(mut apart) = super::trouble::begin(&program, &["thread"]) else {
        return;
    };
    let pid = apart.pid();
    view.until("it is told with its threads", |view| {
        view.process(pid).is_some_and(|p| p.threads == 2)
    });
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let numbers = threads.map(|one| one.expect("a name").file_name().into_string());
    let mut numbers = numbers.map(|name| name.expect("text").parse().expect("a number"));
    let tid: i32 = numbers.find(|tid| *tid != pid.0).expect("another");
    let link = format!("/proc/{pid}/task/{tid}/ns/net");
    let own = inode(&format!("/proc/{pid}/ns/net"));
    assert_eq!(inode(&link), own, "it has not left yet");
    let stdin = apart.0.stdin.as_mut().expect("piped");
    std::io::Write::write_all(stdin, b"\n").expect("written");
    let begun = Instant::now();
    while inode(&link) == own {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let net = inode(&link);
    let took = view.until("it is told as held by the thread", |view| {
        view.namespaces
            .get(&net)
            .is_some_and(|n| n.holders == [Holder::Thread { pid, tid }])
    });
    eprintln!("a thread that left was told after {took:?}");
    let found = &view.namespaces[&net];
    assert_eq!((found.processes, found.leader), (0, None));
    assert_eq!(found.owner, Some(inode("/proc/self/ns/user")));
    // Its process has stayed where it was.
    assert_eq!(view.process(pid).expect("told").namespaces.net, Some(own));
    let stdin = apart.0.stdin.as_mut().expect("piped");
    std::io::Write::write_all(stdin, b"\n").expect("written");
    view.until("it is gone", |view| !view.namespaces.contains_key(&net));
}

#[test]
fn what_only_children_will_be_in_is_kept_by_their_parent() {
    needs_root!();
    let mut view = often();
    settled(&mut view);
    let parent = spawn(
        "unshare",
        &["--pid", "--fork", "--kill-child", "sleep", "1000"],
    );
    let pid = parent.pid();
    view.until("its child is told", |view| {
        view.below(pid, "sleep").is_some()
    });
    let child = view.below(pid, "sleep").expect("told").host_pid;
    let made = inode(&format!("/proc/{child}/ns/pid"));
    assert_ne!(inode(&format!("/proc/{pid}/ns/pid")), made);
    let is_for_children = |view: &View| {
        view.namespaces[&made]
            .holders
            .contains(&Holder::Children { pid })
    };
    view.until("the parent holds it", |view| {
        view.namespaces.contains_key(&made) && is_for_children(view)
    });
    assert_eq!(view.namespaces[&made].processes, 1);
    // Who has not unshared holds nothing for its children.
    let me = HostPid(std::process::id().cast_signed());
    let all = view.namespaces.values().flat_map(|n| &n.holders);
    assert!(!all.into_iter().any(|h| *h == Holder::Children { pid: me }));

    let Some((_directory, program)) = super::trouble::scene() else {
        return;
    };
    let Some(mut waits) = super::trouble::begin(&program, &["children"]) else {
        return;
    };
    let pid = waits.pid();
    let stdin = waits.0.stdin.as_mut().expect("piped");
    std::io::Write::write_all(stdin, b"\n").expect("written");
    view.until("a time namespace that nobody is in yet", |view| {
        let mut all = view.namespaces.values();
        all.any(|n| {
            n.kind == NamespaceType::Time
                && n.processes == 0
                && n.holders == [Holder::Children { pid }]
        })
    });
}
