//! What is left of an instance: a test that leaves anything fails.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Instance, signal, text};
use crate::{PATIENCE, host};

impl Instance {
    /// Everything of it that is still there; each with what it is.
    fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self
            .processes()
            .into_iter()
            .map(|pid| format!("process {pid}: {:?}", host::arguments(pid)))
            .collect();
        left.extend(host::mounts_below(self.path()));
        for group in self.groups.lock().expect("groups").iter() {
            let groups = host::cgroups(group);
            left.extend(groups.iter().map(|path| path.display().to_string()));
        }
        for kept in [
            "root/keeper/containers",
            "root/keeper/sessions",
            "root/server/journals",
            "run/m",
        ] {
            let entries = fs::read_dir(self.path().join(kept));
            left.extend(
                entries
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|e| e.path().display().to_string()),
            );
        }
        left
    }

    /// Its own processes, and those in its containers.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("PORTHOLE_RUN={}", self.run().display());
        let mut found: Vec<i32> = host::processes()
            .into_iter()
            .filter(|&pid| host::environment(pid).contains(&mark))
            .collect();
        for group in self.groups.lock().expect("groups").iter() {
            found.extend(host::processes_in_cgroup(group));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn remove_containers(&self) {
        if !self.builder.account {
            return;
        }
        let Ok(answer) = self
            .admin
            .try_send("GET", "/api/v1/containers?own=true&limit=1000", None)
        else {
            return;
        };
        let Ok(list) = serde_json::from_str::<Value>(&answer.body) else {
            return;
        };
        for container in list["items"].as_array().into_iter().flatten() {
            self.remember(container);
            let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
            let _ = self.admin.try_send("DELETE", &path, None);
        }
    }

    /// What no test should need: whatever is left goes.
    fn sweep(&mut self) {
        self.kill_serve();
        for _ in 0..5 {
            for pid in self.processes() {
                signal(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for group in self.groups.lock().expect("groups").iter() {
            for path in host::cgroups(group) {
                let _ = fs::remove_dir(path);
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
            if self.serve.is_some() {
                self.remove_containers();
            }
            self.sweep();
            return;
        }
        if self.serve.is_none() {
            self.serve();
        }
        self.remove_containers();
        let code = self.terminate();
        let deadline = std::time::Instant::now() + PATIENCE / 3;
        while !self.leftovers().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = self.leftovers();
        let log = self.log();
        self.sweep();
        let directory = self.directory.take().expect("dropped once");
        directory.close().expect("its directory can be removed");
        assert_eq!(
            code,
            Some(0),
            "porthole serve ends with 0 after SIGTERM\n{log}"
        );
        assert!(left.is_empty(), "left behind: {left:#?}\n{log}");
    }
}
