//! nft(8): what the kernel is to filter is told through it, since there is no other interface that
//! is stable.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Where it is looked for: never where PATH says.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/bin/nft"];

/// A thousand containers take 20 ms.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program, if it is there.
pub(super) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// nft at work.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    since: Instant,
}

/// Starts it. It shares `lock`, so that whoever comes next waits for it even where the process that
/// started it is killed.
pub(super) fn start(program: &Path, text: &str, lock: &File) -> io::Result<Running> {
    fcntl_setfd(lock, FdFlags::empty())?;
    let spawned = spawn(program, &["-f", "-"]);
    fcntl_setfd(lock, FdFlags::CLOEXEC)?;
    tell(spawned?, text)
}

/// Has the kernel look whether it could do this, without doing it.
pub(super) fn check(program: &Path, text: &str) -> io::Result<()> {
    tell(spawn(program, &["--check", "-f", "-"])?, text)?.finish()
}

fn spawn(program: &Path, words: &[&str]) -> io::Result<Child> {
    Command::new(program)
        .args(words)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

fn tell(child: Child, text: &str) -> io::Result<Running> {
    let mut running = Running {
        child,
        since: Instant::now(),
    };
    let Some(mut input) = running.child.stdin.take() else {
        return Ok(running);
    };
    // It reads everything before it does anything.
    if let Err(error) = input.write_all(text.as_bytes()) {
        let _ = running.child.kill();
        let _ = running.child.wait();
        return Err(error);
    }
    Ok(running)
}

impl Running {
    /// Waits for its end. What it said where it failed.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let pid = Pid::from_child(&self.child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let left = PATIENCE.saturating_sub(self.since.elapsed());
        let timeout = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut wait = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut wait, Some(&timeout)))? == 0 {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return Err(io::Error::other("nft did not come to an end within 5 s"));
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(errors) = self.child.stderr.take() {
            errors.take(1024).read_to_string(&mut said)?;
        }
        let first = said.lines().next().unwrap_or_default().trim();
        Err(io::Error::other(format!("nft: {first}")))
    }
}
