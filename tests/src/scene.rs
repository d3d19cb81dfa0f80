//! Processes that no program of the distribution starts, made by `tests/scene.c`.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{PATIENCE, host};

/// A running scene; what it has started ends with it.
#[derive(Debug)]
pub struct Scene {
    /// Holds the program.
    _directory: TempDir,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Scene {
    /// Starts one; [`Scene::ready`] waits until it is set.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("scene-").tempdir();
        let directory = directory.expect("a directory");
        let program = directory.path().join("scene");
        let compiled = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-o"])
            .arg(&program)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scene.c"))
            .status();
        assert!(compiled.expect("cc").success(), "cc failed");
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a scene");
        let stdout = child.stdout.take().expect("piped");
        Self {
            _directory: directory,
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// So many sleeping processes, each with PID, mount and UTS namespaces of its own.
    pub fn containers(count: usize) -> Self {
        Self::start(&["containers", &count.to_string()]).ready()
    }

    /// A first process of such namespaces that has this number on the host.
    pub fn init(pid: i32) -> Self {
        Self::start(&["init", &pid.to_string()]).ready()
    }

    /// Waits until it is set.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn ready(mut self) -> Self {
        let mut said = self.lines.by_ref().map_while(Result::ok);
        assert!(said.any(|line| line == "ready"), "the scene is not set");
        self
    }

    /// What it says next.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next()?.ok()
    }

    /// Its own process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Those that it has started.
    pub fn children(&self) -> Vec<i32> {
        host::children(self.pid())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It ends what it has started, and reaps it.
        drop(self.child.stdin.take());
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
