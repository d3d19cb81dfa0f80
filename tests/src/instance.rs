//! A running Porthole of a test's own.

mod builder;
mod making;
mod parts;
mod remains;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::{PATIENCE, wait_for};

pub use builder::Builder;
pub use making::Run;

/// The administrator of every instance that was not started without one.
pub const ADMIN: &str = "admin";
/// The password of every account that a test makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running Porthole with state, sockets and port of its own.
#[derive(Debug)]
pub struct Instance {
    builder: Builder,
    directory: Option<TempDir>,
    address: SocketAddr,
    serve: Option<Child>,
    admin: Client,
    /// Groups of the cgroup tree that belong to it, by their names.
    groups: Mutex<Vec<String>>,
}

impl Instance {
    /// One with an administrator who is signed in.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts `porthole serve`, the first time or again, and waits until it is ready.
    pub fn serve(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log");
        let child = self
            .command()
            .stdout(log.try_clone().expect("a second descriptor"))
            .stderr(log)
            .spawn()
            .expect("porthole serve starts");
        self.serve = Some(child);
        wait_for("readiness", PATIENCE, || {
            let ended = self
                .serve
                .as_mut()
                .and_then(|child| child.try_wait().expect("wait"));
            assert!(
                ended.is_none(),
                "porthole serve ended, {ended:?}:\n{}",
                self.log()
            );
            self.is_ready().then_some(())
        });
    }

    /// Whether it says that it is. By the socket of local users, which never speaks TLS.
    fn is_ready(&self) -> bool {
        let ask = || {
            let mut socket = UnixStream::connect(self.run().join("porthole.sock"))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(
                b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn path(&self) -> &Path {
        self.directory.as_ref().expect("not dropped yet").path()
    }

    /// Its state.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Its sockets.
    pub fn run(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Its policy; there is no file unless a test asked for one or writes one.
    pub fn policy_path(&self) -> PathBuf {
        self.path().join("policy.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("log")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Prints the end of the log without what asking for readiness left in it.
    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains("/readyz"))
            .collect();
        eprintln!("--- the log ends with:");
        for line in &lines[lines.len().saturating_sub(25)..] {
            let short: String = line.chars().take(600).collect();
            eprintln!("{short}");
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Someone who has not signed in.
    pub fn anonymous(&self) -> Client {
        Client::anonymous(self.address)
    }

    /// The administrator.
    pub const fn admin(&self) -> &Client {
        &self.admin
    }
}

/// The text of a JSON string; of anything else its JSON.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A number of JSON that is a PID.
#[track_caller]
pub fn pid(value: &Value) -> i32 {
    value
        .as_i64()
        .and_then(|n| i32::try_from(n).ok())
        .unwrap_or_else(|| panic!("{value} is a PID"))
}

/// Sends one process a signal; one that is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
