//! Namespaces that no engine made: unshare(1) and `ip netns`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::Place;
use crate::instance::signal;
use crate::{PATIENCE, host, wait_for};

/// What unshare(1) runs until it is dropped.
#[derive(Debug)]
pub struct Unshared {
    child: Child,
    inner: i32,
}

impl Unshared {
    /// A process that sleeps in namespaces made by these options. With `--fork` among them it is
    /// the child of unshare.
    pub fn start(options: &[&str]) -> Self {
        Self::run(options, &["sleep", "1000000"])
    }

    /// The same with another command, of which the innermost process that sleeps is waited for.
    pub fn run(options: &[&str], command: &[&str]) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(options);
        if options.contains(&"--fork") {
            unshare.arg("--kill-child");
        }
        let child = unshare
            .args(command)
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let outer = child.id().cast_signed();
        let mut unshared = Self { child, inner: 0 };
        unshared.inner = wait_for("a process in namespaces", PATIENCE, || {
            let mut pid = outer;
            while let Some(&inner) = host::children(pid).first() {
                pid = inner;
            }
            let sleeps = host::arguments(pid);
            (sleeps.first().is_some_and(|word| word.ends_with("sleep"))).then_some(pid)
        });
        unshared
    }

    /// The process that was started, which is unshare where that has forked.
    pub fn outer(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The one that sleeps.
    pub const fn init(&self) -> i32 {
        self.inner
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        signal(self.inner, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
        wait_for("the end of what was unshared", PATIENCE, || {
            (!host::runs(self.inner)).then_some(())
        });
    }
}

/// What unshare(1) runs in a control group that somebody has called like a container of Docker's.
#[derive(Debug)]
pub struct Impostor {
    unshared: Unshared,
    _place: Place,
}

impl Impostor {
    /// A process that sleeps in a PID and a mount namespace of its own, and whose group claims to be
    /// that of the container with this identifier.
    pub fn of(id: &str) -> Self {
        let place = Place::new("impostor");
        let unified = Path::new("/sys/fs/cgroup/unified");
        let tree = match unified.is_dir() {
            true => unified,
            false => Path::new("/sys/fs/cgroup"),
        };
        let group = tree.join(&place.group).join(format!("docker-{id}.scope"));
        // 0 is whoever writes it: the shell that becomes what sleeps.
        let script = format!(
            "mkdir -p {group} && echo 0 > {group}/cgroup.procs && exec sleep 1000000",
            group = group.display()
        );
        let options = ["--mount", "--pid", "--fork", "--mount-proc"];
        Self {
            unshared: Unshared::run(&options, &["sh", "-c", &script]),
            _place: place,
        }
    }

    /// Its first process.
    pub const fn init(&self) -> i32 {
        self.unshared.init()
    }
}

/// A network that `ip netns add` made, in a mount namespace of its own: no process is in it, and
/// nobody else sees the file that holds it.
#[derive(Debug)]
pub struct NamedNetwork {
    holder: Unshared,
}

impl NamedNetwork {
    /// Makes one of this name.
    pub fn start(name: &str) -> Self {
        let script =
            format!("mount -t tmpfs none /run && ip netns add {name} && exec sleep 1000000");
        let options = ["--mount", "--propagation", "private"];
        Self {
            holder: Unshared::run(&options, &["sh", "-c", &script]),
        }
    }

    /// The process whose mounts hold it.
    pub const fn holder(&self) -> i32 {
        self.holder.init()
    }

    /// Runs a command where it can be named, and answers what that says.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--target", &self.holder().to_string()])
            .args(["sh", "-c", script])
            .stdin(Stdio::null());
        super::succeed(command)
    }
}
