//! Peers that are programs and nothing else: bubblewrap and runc.

use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use porthole_tests::engines::{Runc, busybox_root};
use porthole_tests::{PATIENCE, host, wait_for};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{MEMORY, PROCESSES, PROCESSORS, Peer};

/// How long a command took that has to succeed; one that hangs is killed.
pub(super) fn timed(mut command: Command) -> anyhow::Result<Duration> {
    let mut said = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?);
    let (tell, told) = channel::<OwnedFd>();
    let watch = std::thread::spawn(move || {
        let Ok(program) = told.recv() else { return };
        if matches!(told.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout)) {
            let _ = pidfd_send_signal(program, Signal::KILL);
        }
    });
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    tell.send(pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?)?;
    let status = child.wait()?;
    let took = begun.elapsed();
    drop(tell);
    let _ = watch.join();
    if !status.success() {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        let last = text.trim().lines().last().unwrap_or_default();
        bail!("{status} after {} s: {last}", took.as_secs());
    }
    Ok(took)
}

/// bubblewrap, with a root directory of its own.
struct Bubblewrap {
    root: TempDir,
    kept: Vec<Child>,
}

pub(super) fn bwrap() -> anyhow::Result<Box<dyn Peer>> {
    let found = Command::new("bwrap").arg("--version").output();
    found.context("bwrap is not here (apt-get install bubblewrap)")?;
    let root = tempfile::tempdir()?;
    busybox_root(root.path())?;
    Ok(Box::new(Bubblewrap {
        root,
        kept: Vec::new(),
    }))
}

impl Bubblewrap {
    fn command(&self, command: &[&str]) -> Command {
        let mut bwrap = Command::new("bwrap");
        bwrap
            .args(["--unshare-all", "--die-with-parent", "--new-session"])
            .args(["--hostname", "peer", "--cap-drop", "ALL", "--bind"])
            .arg(self.root.path())
            .args(["/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"])
            .args(command)
            .stdin(Stdio::null());
        bwrap
    }
}

impl Peer for Bubblewrap {
    fn whole(&mut self) -> anyhow::Result<Duration> {
        timed(self.command(&["/bin/true"]))
    }

    fn exec(&mut self) -> anyhow::Result<Option<Duration>> {
        Ok(None)
    }

    fn keep(&mut self) -> anyhow::Result<Vec<i32>> {
        let mut command = self.command(&["/bin/sleep", "1000000"]);
        let child = command.stdout(Stdio::null()).spawn()?;
        let outer = child.id().cast_signed();
        self.kept.push(child);
        // The second reaps in the container; its child is what was asked for.
        let inner = wait_for("bwrap's container", PATIENCE, || {
            let inner = *host::children(outer).first()?;
            (!host::children(inner).is_empty()).then_some(inner)
        });
        Ok(vec![outer, inner])
    }
}

impl Drop for Bubblewrap {
    fn drop(&mut self) {
        // What is inside dies with its parent.
        for child in &mut self.kept {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// runc, with a bundle of its own for each name.
struct Programs {
    runc: Runc,
    whole: PathBuf,
    kept: usize,
}

pub(super) fn runc() -> anyhow::Result<Box<dyn Peer>> {
    let runc = Runc::start().context("runc is not here (apt-get install runc)")?;
    let whole = runc.bundle("whole", |spec| {
        limited(spec);
        spec["process"]["args"] = json!(["/bin/true"]);
    });
    Ok(Box::new(Programs {
        runc,
        whole,
        kept: 0,
    }))
}

fn limited(spec: &mut Value) {
    let resources = &mut spec["linux"]["resources"];
    resources["memory"] = json!({"limit": MEMORY});
    resources["cpu"] = json!({"quota": (PROCESSORS * 1e5) as u64, "period": 100_000});
    resources["pids"] = json!({"limit": PROCESSES});
}

impl Peer for Programs {
    fn whole(&mut self) -> anyhow::Result<Duration> {
        let mut command = self.runc.command(&["run", "--bundle"]);
        command.arg(&self.whole).arg("whole");
        timed(command)
    }

    fn exec(&mut self) -> anyhow::Result<Option<Duration>> {
        timed(self.runc.command(&["exec", "kept0", "/bin/true"])).map(Some)
    }

    fn keep(&mut self) -> anyhow::Result<Vec<i32>> {
        let first = self.runc.run(&format!("kept{}", self.kept), limited);
        self.kept += 1;
        ensure!(host::runs(first), "its container ended");
        // Nobody stays to watch over it.
        Ok(Vec::new())
    }
}
