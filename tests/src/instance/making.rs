//! What a test makes in an instance: accounts, containers, sessions.

use serde_json::{Value, json};

use super::{Instance, PASSWORD, text};
use crate::client::Client;
use crate::terminal::{Exit, Terminal};
use crate::{PATIENCE, wait_for};

/// How a command in a container ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its end.
    pub exit: Exit,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Instance {
    /// Makes an account with this role, and signs it in.
    #[track_caller]
    pub fn account(&self, user: &str, role: &str) -> Client {
        let body = json!({"user": user, "password": PASSWORD, "role": role});
        self.admin.post("/api/v1/users", &body).ok();
        let mut client = self.anonymous();
        client.sign_in(user, PASSWORD).ok();
        client
    }

    /// Makes a container by this specification, as the administrator.
    #[track_caller]
    pub fn create(&self, spec: &Value) -> Value {
        let answer = self.admin.post("/api/v1/containers", spec);
        assert_eq!(answer.status, 201, "{answer}");
        let container = answer.json();
        self.remember(&container);
        container
    }

    /// Its groups are looked for when the instance is dropped.
    pub(super) fn remember(&self, container: &Value) {
        let mut groups = self.groups.lock().expect("no test panicked in here");
        groups.push(text(&container["id"]));
        let cgroup = container["cgroup"].as_str().unwrap_or_default();
        groups.extend(
            cgroup
                .split('/')
                .filter(|part| part.starts_with("porthole-"))
                .map(str::to_owned),
        );
    }

    /// Makes a container of the image `busybox` that sleeps.
    #[track_caller]
    pub fn sleeper(&self) -> Value {
        self.create(&json!({"image": "busybox", "command": ["sleep", "infinity"]}))
    }

    /// Removes a container, also while it runs, as the administrator.
    #[track_caller]
    pub fn remove(&self, container: &Value) {
        let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
        self.admin.delete(&path).ok();
    }

    /// A container as it is now.
    #[track_caller]
    pub fn container(&self, reference: &str) -> Value {
        self.admin
            .get(&format!("/api/v1/containers/{reference}"))
            .ok()
    }

    /// Waits until a container's state is this.
    #[track_caller]
    pub fn wait_state(&self, reference: &str, state: &str) -> Value {
        wait_for(&format!("{reference} {state}"), PATIENCE, || {
            Some(self.container(reference)).filter(|container| container["state"] == state)
        })
    }

    /// Opens a session by this specification, as the administrator.
    #[track_caller]
    pub fn session(&self, container: &Value, spec: &Value) -> Value {
        let path = format!("/api/v1/containers/{}/sessions", text(&container["id"]));
        let answer = self.admin.post(&path, spec);
        assert_eq!(answer.status, 201, "{answer}");
        answer.json()
    }

    /// Opens a session with a terminal and attaches to it.
    #[track_caller]
    pub fn shell(&self, container: &Value) -> (Value, Terminal) {
        let session = self.session(container, &json!({"command": ["sh"]}));
        let terminal = Terminal::attach(&self.admin, &text(&session["id"]));
        (session, terminal)
    }

    /// Runs a command in a container, without a terminal, until it ends.
    #[track_caller]
    pub fn exec(&self, container: &Value, command: &[&str]) -> Run {
        self.exec_with(container, &json!({"command": command, "tty": false}))
    }

    /// As [`Instance::exec`], with everything that a session can be asked for.
    #[track_caller]
    pub fn exec_with(&self, container: &Value, spec: &Value) -> Run {
        let session = self.session(container, spec);
        let mut terminal = Terminal::attach(&self.admin, &text(&session["id"]));
        let exit = terminal.end();
        let stderr = String::from_utf8_lossy(&terminal.stderr).into_owned();
        let all = terminal.text();
        // Callers that look at both streams write to one of them at a time.
        let stdout = if stderr.is_empty() {
            all
        } else {
            all.replacen(&stderr, "", 1)
        };
        Run {
            exit,
            stdout,
            stderr,
        }
    }

    /// Runs a shell script in a container and returns what it wrote, without the last line's end.
    #[track_caller]
    pub fn sh(&self, container: &Value, script: &str) -> String {
        let run = self.exec(container, &["sh", "-c", script]);
        format!("{}{}", run.stdout, run.stderr)
            .trim_end()
            .to_owned()
    }
}
