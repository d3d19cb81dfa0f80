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
use view::{Kept, PATIENCE, View};

/// Skips loudly where this machine cannot do what the test is about.
macro_rules! needs_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {}:{}: it needs root", file!(), line!());
            return;
        }
    };
}

mod agreement;
mod changes;
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
