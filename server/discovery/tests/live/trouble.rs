//! Processes that make it hard to look at them.

use std::io::{BufRead as _, BufReader, Write as _};

use super::*;

/// Compiles what only C can do here; `None` where there is no compiler.
pub(super) fn scene() -> Option<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::tempdir().expect("directory");
    let program = directory.path().join("scene");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/scene.c");
    let compiled = Command::new("cc")
        .args(["-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: cc (apt-get install gcc libc6-dev) does not compile {source}");
        return None;
    }
    Some((directory, program))
}

/// Starts a scene and waits until it is ready; `None` where the kernel does not let it.
pub(super) fn begin(program: &Path, args: &[&str]) -> Option<Kept> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped());
    let mut child = Kept(command.stdout(Stdio::piped()).spawn().expect("spawned"));
    let mut line = String::new();
    let stdout = child.0.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    if line != "ready\n" {
        eprintln!("SKIPPED: the kernel does not do {args:?}");
        return None;
    }
    Some(child)
}

#[test]
fn arguments_that_hang_whoever_reads_them() {
    needs_root!();
    let Some((_directory, program)) = scene() else {
        return;
    };
    let mut view = often();
    settled(&mut view);
    let stuck: Vec<Kept> = (0..3).filter_map(|_| begin(&program, &["stuck"])).collect();
    if stuck.is_empty() {
        return;
    }
    for stuck in &stuck {
        view.until("it is told by its name", |view| {
            view.process(stuck.pid())
                .is_some_and(|p| p.command == "stuck")
        });
    }
    // Everybody else is told as soon as ever, and soon with arguments.
    let others: Vec<Kept> = (0..20).map(|_| spawn("sleep", &["1000"])).collect();
    for other in &others {
        let took = view.until("another is told", |view| {
            view.process(other.pid()).is_some()
        });
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    for other in &others {
        view.until("another is told with its arguments", |view| {
            view.process(other.pid())
                .is_some_and(|p| p.args == ["sleep", "1000"])
        });
    }
    // After some corrections too.
    let later = Instant::now() + Duration::from_secs(4);
    while Instant::now() < later {
        view.take(Duration::from_millis(100));
    }
    let last = spawn("sleep", &["2000"]);
    let took = view.until("a new one is told with its arguments", |view| {
        view.process(last.pid())
            .is_some_and(|p| p.args == ["sleep", "2000"])
    });
    eprintln!("beside {} that hang, told after {took:?}", stuck.len());
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    needs_root!();
    let Some((_directory, program)) = scene() else {
        return;
    };
    let mut view = start();
    settled(&mut view);
    let first = spawn("sleep", &["1000"]);
    let pid = first.pid();
    view.until("the first is told", |view| {
        view.process(pid)
            .is_some_and(|p| p.args == ["sleep", "1000"])
    });
    let ticks = view.process(pid).expect("told").start_ticks;
    // Start times are counted in hundredths of a second.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(30) {
        view.take(Duration::from_millis(10));
    }
    drop(first);
    let Some(second) = begin(&program, &["pid", &pid.to_string()]) else {
        return;
    };
    view.until("the second is told", |view| {
        view.process(pid)
            .is_some_and(|p| p.args == ["sleep", "2000"])
    });
    let found = view.process(pid).expect("told");
    assert_ne!(found.start_ticks, ticks);
    assert_eq!(found.parent, Some(second.pid()));
}

#[test]
fn who_leaves_a_namespace_without_an_event_is_found() {
    needs_root!();
    let Some((_directory, program)) = scene() else {
        return;
    };
    // Nothing but a glance at its links finds it.
    let mut view = never();
    settled(&mut view);
    let Some(mut silent) = begin(&program, &["unshare"]) else {
        return;
    };
    let pid = silent.pid();
    view.until("it is told", |view| view.process(pid).is_some());
    let before = view.process(pid).expect("told").namespaces.uts;
    let mut stdin = silent.0.stdin.take().expect("piped");
    stdin.write_all(b"\n").expect("written");
    let took = view.until("it has another host name", |view| {
        view.process(pid)
            .is_some_and(|p| p.namespaces.uts != before)
    });
    eprintln!("found by a glance after {took:?}");
}
