//! Network namespaces: what they are called, and that wires between them have changed.

use super::view::program;
use super::*;

/// NETNSID of each network namespace with a process, as lsns(8) says it of where the observer is.
fn by_lsns(observer: HostPid) -> Vec<(u64, Option<i32>)> {
    let target = observer.to_string();
    let list = output(
        "nsenter",
        &[
            "--target",
            &target,
            "--net",
            "lsns",
            "--list",
            "--noheadings",
            "--type",
            "net",
            "--output",
            "NS,NETNSID",
        ],
    );
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let inode = words.next().expect("an inode").parse().expect("a number");
        (inode, words.next().and_then(|id| id.parse().ok()))
    };
    list.lines().map(row).collect()
}

/// Waits until all that has happened was told, and answers how often something was.
fn quiet(view: &mut View) -> usize {
    loop {
        let before = view.wires;
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until {
            view.take(Duration::from_millis(100));
        }
        if view.wires == before {
            return before;
        }
    }
}

#[test]
fn they_are_called_what_lsns_says_and_their_wires_are_heard() {
    needs_root!();
    // In a network of its own, so that the host's is left alone.
    let mut command = Command::new("unshare");
    command.arg("--net").arg(program("observe"));
    let mut view = View::start_by(command, &Settings::new(None));
    settled(&mut view);
    let other = spawn("unshare", &["--net", "sleep", "1000"]);
    let pid = other.pid();
    view.until("it is told", |view| {
        view.process(pid).is_some_and(|p| p.command == "sleep")
    });
    let net = view
        .process(pid)
        .expect("told")
        .namespaces
        .net
        .expect("read");
    assert_eq!(
        view.namespaces[&net].netnsid, None,
        "no wire leads there yet"
    );
    let (before, target) = (view.wires, view.observer().to_string());
    let inside = |words: &str| {
        let all = ["--target", &target, "--net", "sh", "-c", words];
        output("nsenter", &all)
    };
    inside(&format!(
        "ip link add left type veth peer name right netns {pid}"
    ));
    let took = view.until("its wire is heard and it has a number", |view| {
        view.wires > before && view.namespaces[&net].netnsid.is_some()
    });
    eprintln!("a wire was told after {took:?}");
    view.until("all are called as lsns calls them", |view| {
        let theirs = by_lsns(view.observer());
        theirs
            .iter()
            .any(|(inode, id)| *inode == net.0 && id.is_some())
            && theirs.iter().all(|(inode, id)| {
                let inode = porthole_protocol::id::NamespaceInode(*inode);
                view.namespaces.get(&inode).is_none_or(|n| n.netnsid == *id)
            })
    });
    // What happens at the far end is heard too, since it has a number here now.
    let before = quiet(&mut view);
    let far = pid.to_string();
    output(
        "nsenter",
        &[
            "--target",
            &far,
            "--net",
            "ip",
            "addr",
            "add",
            "10.9.8.7/24",
            "dev",
            "right",
        ],
    );
    view.until("an address at the far end is heard", |view| {
        view.wires > before
    });
    let before = quiet(&mut view);
    inside("ip link del left");
    view.until("its end is heard", |view| view.wires > before);
}
