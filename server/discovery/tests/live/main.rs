//! The observer on this very machine, against processes that are really there.
//!
//! Needs root (namespaces, the proc connector). Each test says so and skips itself without.

mod view;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use porthole_discovery::Settings;
use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;
use view::{Kept, PATIENCE, View, program};

/// Skips loudly where this machine cannot do what the test is about.
macro_rules! needs_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {}:{}: it needs root", file!(), line!());
            return;
        }
    };
}

mod containers;
mod holders;
mod networks;
mod trouble;

fn start() -> View {
    View::start(&Settings::new(None))
}

/// One that corrects itself often.
fn often() -> View {
    let mut settings = Settings::new(None);
    settings.correction = Duration::from_millis(500);
    View::start(&settings)
}

/// One that does not correct itself while the test runs.
fn never() -> View {
    let mut settings = Settings::new(None);
    settings.correction = Duration::from_secs(3600);
    View::start(&settings)
}

fn spawn(program: impl AsRef<OsStr>, args: &[&str]) -> Kept {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Kept(command.spawn().expect("spawned"))
}

fn exists(pid: HostPid) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Waits until the observer has told as much as there is.
fn settled(view: &mut View) {
    let me = HostPid(std::process::id().cast_signed());
    view.until("this process is told", |view| view.process(me).is_some());
}

#[test]
fn it_agrees_with_ps() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    all_agree(&mut view, "ps", 6, |view| {
        let text = output("ps", &["-eo", "pid=,ppid=,euid=,egid=,nlwp=,tty=,comm="]);
        let judge = |line: &str| (key(line, 1), agrees(view, line));
        text.lines().map(judge).collect()
    });
}

/// The first so many fields of a line.
fn key(line: &str, fields: usize) -> String {
    let fields: Vec<&str> = line.split_whitespace().take(fields).collect();
    fields.join(" ")
}

/// Another program's list again and again, until each of its lines has agreed with what the
/// observer told, or is no longer in the list: other processes come and go on this machine, so
/// that no one moment need be right for all of them.
fn all_agree(
    view: &mut View,
    program: &str,
    at_least: usize,
    list: impl Fn(&View) -> Vec<(String, bool)>,
) {
    let begun = Instant::now();
    let first = list(view);
    assert!(
        first.len() >= at_least,
        "{program} lists hardly anything: {first:?}"
    );
    let mut open: Vec<String> = first.into_iter().map(|(line, _)| line).collect();
    while !open.is_empty() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{program} and the observer differ on {open:?}; it was told:\n{:#?}",
            open.iter()
                .filter_map(|line| view.process(HostPid(line.parse().ok()?)))
                .collect::<Vec<_>>()
        );
        view.take(Duration::from_millis(60));
        let now = list(view);
        open.retain(|line| now.iter().any(|(other, agrees)| other == line && !agrees));
    }
}

fn agrees(view: &View, line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let pid = HostPid(fields[0].parse().expect("a PID"));
    let Some(process) = view.process(pid) else {
        return false;
    };
    let found = [
        process.parent.map_or(0, |parent| parent.0).to_string(),
        process.uid.to_string(),
        process.gid.to_string(),
        process.threads.to_string(),
        // ps knows only the terminals of this mount namespace; in a container's it sees none.
        match &process.tty {
            Some(tty) if fields[5] != "?" => tty.clone(),
            _ => "?".to_owned(),
        },
    ];
    // A worker of the kernel is named by what it does at the moment, without an event.
    let name = fields[6]
        .split_inclusive("kworker/")
        .next()
        .unwrap_or_default();
    found
        .iter()
        .zip(&fields[1..6])
        .all(|(found, field)| found == field)
        && process.command.starts_with(name)
}

#[test]
fn it_agrees_with_lsns() {
    needs_root!();
    let _boxes: Vec<Kept> = (0..3)
        .map(|_| {
            spawn(
                "unshare",
                &["-muipnCT", "--fork", "--kill-child", "sleep", "1000"],
            )
        })
        .collect();
    let mut view = start();
    settled(&mut view);
    all_agree(&mut view, "lsns", 20, |view| {
        let text = output("lsns", &["-nro", "NS,TYPE,NPROCS,PID"]);
        text.lines()
            .map(|line| (line, line.split_whitespace().collect::<Vec<_>>()))
            // One that only a file keeps has no process.
            .filter(|(_, fields)| fields.len() == 4 && fields[2] != "0")
            .map(|(line, fields)| (key(line, 2), same_namespace(view, &fields)))
            .collect()
    });
}

fn same_namespace(view: &View, fields: &[&str]) -> bool {
    view.namespaces.values().any(|namespace| {
        // The numbers of the host's change with every process on this machine.
        let counted = namespace.initial
            || (namespace.processes.to_string() == fields[2]
                && namespace
                    .leader
                    .is_some_and(|leader| leader.to_string() == fields[3]));
        namespace.inode.to_string() == fields[0] && namespace.kind.name() == fields[1] && counted
    })
}

#[test]
fn a_container_is_seen_from_both_sides() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let mut args = vec!["--reuid=300000", "--regid=300000", "--clear-groups"];
    let own = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
    ];
    args.extend(own);
    args.extend(["--net", "--time"]);
    args.extend(own);
    args.extend(["sleep", "1000"]);
    let top = spawn("setpriv", &args);
    let is_whole = |view: &View| {
        view.below(top.pid(), "sleep")
            .is_some_and(|sleep| sleep.pids.len() == 3 && sleep.uid_inside.is_some())
    };
    let took = view.until("the innermost process is told", is_whole);
    eprintln!("a container in a container was told after {took:?}");

    let sleep = view.below(top.pid(), "sleep").expect("told");
    assert_eq!(sleep.pids[0], sleep.host_pid.0);
    assert_eq!(sleep.pids[2], 1);
    assert_eq!((sleep.uid, sleep.gid), (300_000, 300_000));
    assert_eq!((sleep.uid_inside, sleep.gid_inside), (Some(0), Some(0)));
    assert_eq!(sleep.args, ["sleep", "1000"]);
    assert!(sleep.start_ticks > 0);

    let of = |kind: NamespaceType| {
        let inode = sleep.namespaces.get(kind).expect("readable");
        &view.namespaces[&inode]
    };
    let user = of(NamespaceType::User);
    let middle = &view.namespaces[&user.parent.expect("nested")];
    let host = &view.namespaces[&middle.parent.expect("nested")];
    assert_eq!(
        (user.owner, host.initial, host.owner),
        (Some(middle.inode), true, None)
    );
    let pid = of(NamespaceType::Pid);
    assert_eq!((pid.owner, pid.processes), (Some(user.inode), 1));
    assert_eq!(pid.leader, Some(sleep.host_pid));
    let above = &view.namespaces[&pid.parent.expect("nested")];
    assert_eq!(above.owner, Some(middle.inode));
    assert!(view.namespaces[&above.parent.expect("nested")].initial);
    let net = of(NamespaceType::Net);
    assert_eq!((net.owner, net.initial), (Some(middle.inode), false));
    assert!(of(NamespaceType::Uts).initial);

    let (pid, inode) = (sleep.host_pid, user.inode);
    drop(top);
    view.until("all of it is gone", |view| {
        view.process(pid).is_none() && !view.namespaces.contains_key(&inode)
    });
}

#[test]
fn five_thousand_short_processes_leave_no_ghost() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let script = "i=0; while [ $i -lt 5000 ]; do /bin/true; i=$((i+1)); done; exec sleep 1000";
    let mut shell = spawn("sh", &["-c", script]);
    let pid = shell.pid();
    view.until("the shell is done", |view| {
        view.process(pid)
            .is_some_and(|process| process.command == "sleep")
    });
    assert!(shell.0.try_wait().expect("waited").is_none());
    let ghosts = |view: &View| {
        let gone = |pid: &&HostPid| !exists(**pid);
        view.processes.keys().filter(gone).count()
    };
    let took = view.until("no ghost is left", |view| ghosts(view) == 0);
    eprintln!("the last ghost was gone {took:?} after the last process");
    assert!(took < Duration::from_secs(2), "ghosts stay for {took:?}");
    let children = |view: &View| {
        view.processes
            .values()
            .filter(|p| p.parent == Some(pid))
            .count()
    };
    assert_eq!(children(&view), 0);
}

#[test]
fn a_change_is_told_at_once() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    view.until("the kernel has answered", |view| view.notice.is_none());
    let mut born = Vec::new();
    let mut died = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        let sleep = spawn("sleep", &["1000"]);
        let pid = sleep.pid();
        view.until("it runs", |view| {
            view.process(pid).is_some_and(|p| p.command == "sleep")
        });
        born.push(begun.elapsed());
        let begun = Instant::now();
        drop(sleep);
        view.until("it is gone", |view| view.process(pid).is_none());
        died.push(begun.elapsed());
    }
    born.sort();
    died.sort();
    eprintln!(
        "start to update {:?} (median), end to update {:?}",
        born[5], died[5]
    );
    assert!(born[5] < Duration::from_millis(200), "{born:?}");
    assert!(died[5] < Duration::from_millis(200), "{died:?}");
}

#[test]
fn strange_names_and_arguments() {
    needs_root!();
    let directory = tempfile::tempdir().expect("directory");
    let mut view = start();
    settled(&mut view);
    let long = "y".repeat(4000);
    for (name, shown) in [
        (b") R (".as_slice(), ") R ("),
        (b"a\nb", "a\u{fffd}b"),
        (b"\xff\xfe<b>", "\u{fffd}\u{fffd}<b>"),
        ("käse".as_bytes(), "käse"),
    ] {
        let program = directory.path().join(OsStr::from_bytes(name));
        std::fs::copy(which("sleep"), &program).expect("copied");
        let process = spawn(&program, &["1000", &format!("0{}", "0".repeat(400))]);
        let pid = process.pid();
        view.until(shown, |view| {
            view.process(pid).is_some_and(|p| p.command == shown)
        });
        let args = &view.process(pid).expect("told").args;
        assert_eq!(args[1], "1000");
    }
    let shell = spawn("sh", &["-c", "kill -STOP $$", &long, &long]);
    let pid = shell.pid();
    view.until("it is told", |view| {
        view.process(pid).is_some_and(|p| p.args.len() == 5)
    });
    let args = &view.process(pid).expect("told").args;
    assert!(args.iter().map(String::len).sum::<usize>() <= 4096);
    assert_eq!(args[3], long);
}

#[test]
fn a_zombie_is_one_until_its_parent_asks() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let parent = spawn("sh", &["-c", "sleep 0.2 & exec sleep 1000"]);
    let pid = parent.pid();
    let zombie = |view: &View| {
        let found = view
            .processes
            .values()
            .find(|p| p.parent == Some(pid) && p.state == 'Z');
        found.map(|process| process.host_pid)
    };
    view.until("its child is a zombie", |view| zombie(view).is_some());
    let child = zombie(&view).expect("told");
    drop(parent);
    view.until("both are gone", |view| {
        view.process(pid).is_none() && (view.process(child).is_none() || exists(child))
    });
}

#[test]
fn an_orphan_has_another_parent() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let mut parent = spawn("sh", &["-c", "sleep 1000 & echo; wait"]);
    let pid = parent.pid();
    view.until("its child runs", |view| view.below(pid, "sleep").is_some());
    let child = view.below(pid, "sleep").expect("told").host_pid;
    parent.0.kill().expect("killed");
    parent.0.wait().expect("reaped");
    view.until("the child has another parent", |view| {
        view.process(child)
            .is_some_and(|process| process.parent != Some(pid))
    });
    let child = rustix::process::Pid::from_raw(child.0).expect("a PID");
    rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("killed");
}

#[test]
fn a_group_of_ours_is_recognised() {
    needs_root!();
    let Some(tree) = cgroup2_tree() else {
        eprintln!("SKIPPED: no cgroup2 tree is mounted");
        return;
    };
    let base = format!("porthole-discovery-test-{}", std::process::id());
    let (container, session) = ("ab".repeat(32), "cd".repeat(16));
    let path = tree.join(&base).join(&container).join(&session);
    if let Err(error) = std::fs::create_dir_all(&path) {
        eprintln!(
            "SKIPPED: no group can be made in {}: {error}",
            tree.display()
        );
        return;
    }
    let _groups = Groups(path.clone());
    let mut view = View::start(&Settings::new(Some(format!("/{base}"))));
    settled(&mut view);
    let script = format!("echo 0 > {}/cgroup.procs; exec sleep 1000", path.display());
    let process = spawn("sh", &["-c", &script]);
    let pid = process.pid();
    view.until("it is in the session", |view| {
        view.process(pid)
            .is_some_and(|p| p.session.as_ref().is_some_and(|s| s.as_str() == session))
    });
    let found = view.process(pid).expect("told").container.as_ref();
    assert_eq!(found.expect("in a container").as_str(), container);
    let me = view.process(HostPid(std::process::id().cast_signed()));
    assert_eq!(me.expect("told").container, None);
}

/// Groups that are removed with the test, from the innermost on.
struct Groups(PathBuf);

impl Drop for Groups {
    fn drop(&mut self) {
        let ours = self.0.ancestors().take(3);
        for group in ours {
            let begun = Instant::now();
            while std::fs::remove_dir(group).is_err() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

#[test]
fn who_does_not_read_loses_nothing() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    let script = "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done";
    for _ in 0..2 {
        assert!(
            spawn("sh", &["-c", script])
                .0
                .wait()
                .expect("ran")
                .success()
        );
    }
    let last = spawn("sleep", &["1000"]);
    view.until("the last one is told", |view| {
        view.process(last.pid()).is_some()
    });
    view.until("no ghost is left", |view| {
        view.processes.keys().all(|pid| exists(*pid))
    });
}

#[test]
fn it_ends_when_the_receiver_hangs_up() {
    let mut view = start();
    settled(&mut view);
    let begun = Instant::now();
    assert!(view.end().is_ok_and(|status| status.success()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Also with more to tell than the socket holds.
    assert!(start().end().is_ok_and(|status| status.success()));
}

#[test]
fn without_events_it_looks_every_second_and_says_so() {
    needs_root!();
    let mut command = Command::new("unshare");
    command
        .arg("--net")
        .arg(program("observe"))
        .stdout(Stdio::piped());
    let mut observer = Kept(command.spawn().expect("spawned"));
    let lines = std::io::BufReader::new(observer.0.stdout.take().expect("piped"));
    let (sender, updates) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(lines).map_while(Result::ok) {
            let update: porthole_protocol::observation::Update =
                serde_json::from_str(&line).expect("an update");
            if sender.send(update).is_err() {
                break;
            }
        }
    });
    let first = updates.recv_timeout(PATIENCE).expect("an update");
    assert!(
        first.full
            && first
                .notice
                .is_some_and(|notice| notice.contains("every 1 seconds"))
    );
    let sleep = spawn("sleep", &["1000"]);
    let begun = Instant::now();
    while !updates
        .recv_timeout(PATIENCE)
        .expect("an update")
        .processes
        .iter()
        .any(|process| process.host_pid == sleep.pid())
    {
        assert!(begun.elapsed() < PATIENCE);
    }
    eprintln!("found by looking after {:?}", begun.elapsed());
}

fn output(program: &str, args: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let output = Command::new(program).args(args).output().expect("ran");
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        // lsns gives up without a word where a process ends while it reads.
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(begun.elapsed() < PATIENCE, "{program}: {words}");
    }
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH");
    let found = std::env::split_paths(&path).map(|directory| directory.join(program));
    found
        .into_iter()
        .find(|path| path.exists())
        .expect("installed")
}

fn cgroup2_tree() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    line.split(' ').nth(1).map(PathBuf::from)
}
