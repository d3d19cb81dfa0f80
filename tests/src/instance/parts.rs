//! The processes of an instance, and what ends them.

use rustix::process::Signal;

use super::{Instance, signal};
use crate::{PATIENCE, host, wait_for};

impl Instance {
    /// The process that was started as `porthole serve`.
    pub fn serve_pid(&self) -> i32 {
        let id = self.serve.as_ref().expect("serve runs").id();
        i32::try_from(id).expect("a PID")
    }

    fn part(&self, role: &str) -> Option<i32> {
        // What a killed keeper had forked becomes serve's child too. An observer keeps the command
        // line of its keeper, and a monitor has it for its first moments; their names are their own.
        let forked = |pid| {
            host::status(pid)
                .get("Name")
                .is_some_and(|name| name == "porthole-monito" || name == "porthole-watch")
        };
        host::children(self.serve_pid()).into_iter().find(|&pid| {
            host::arguments(pid).get(1).is_some_and(|word| word == role) && !forked(pid)
        })
    }

    /// The keeper; waits until there is one.
    pub fn keeper_pid(&self) -> i32 {
        wait_for("a keeper", PATIENCE, || self.part("keeper"))
    }

    /// The server; waits until there is one.
    pub fn server_pid(&self) -> i32 {
        wait_for("a server", PATIENCE, || self.part("server"))
    }

    /// Waits until it answers that it is ready, after a part of it was killed.
    pub fn wait_ready(&self) {
        wait_for("readiness", PATIENCE, || {
            let answer = self.anonymous().try_send("GET", "/readyz", None);
            answer.ok().filter(|answer| answer.status == 200)
        });
    }

    /// Kills the keeper with SIGKILL, and waits until another one is asked.
    pub fn kill_keeper(&self) {
        let keeper = self.keeper_pid();
        signal(keeper, Signal::KILL);
        wait_for("another keeper", PATIENCE, || {
            (self.keeper_pid() != keeper).then_some(())
        });
        self.wait_ready();
    }

    /// Kills `porthole serve` with SIGKILL, and waits until it is gone.
    pub fn kill_serve(&mut self) {
        if let Some(mut child) = self.serve.take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    /// Ends `porthole serve` by SIGTERM and returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.serve.take()?;
        signal(i32::try_from(child.id()).expect("a PID"), Signal::TERM);
        let status = wait_for("the end of porthole serve", PATIENCE, || {
            child.try_wait().expect("wait")
        });
        status.code()
    }
}
