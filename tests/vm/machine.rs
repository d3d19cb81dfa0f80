//! The machine, its Porthole, and what one check leaves for the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use porthole_tests::instance::{ADMIN, PASSWORD};
use porthole_tests::{Client, Terminal, host, wait_for};
use serde_json::{Value, json};

/// Starting, stopping and restarting a service may take this long.
const SERVICE: Duration = Duration::from_secs(60);
/// Where the package listens.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7678);

/// What one check leaves for the next.
#[derive(Default)]
pub(crate) struct Machine {
    admin: Option<Client>,
    /// The container `long`, and a shell in it.
    pub(crate) container: Value,
    pub(crate) session: String,
    /// The shell's PID on the machine.
    pub(crate) shell: i32,
    /// What other groups than Porthole's had before limits were changed.
    pub(crate) others: BTreeMap<String, String>,
}

/// Somebody whom nobody knows.
pub(crate) fn anybody() -> Client {
    Client::anonymous(ADDRESS)
}

impl Machine {
    /// The administrator.
    #[track_caller]
    pub(crate) fn admin(&mut self) -> &Client {
        self.admin.get_or_insert_with(|| {
            let mut client = anybody();
            client.sign_in(ADMIN, PASSWORD).ok();
            client
        })
    }

    /// A container by this specification, running.
    #[track_caller]
    pub(crate) fn create(&mut self, spec: &Value) -> Value {
        let answer = self.admin().post("/api/v1/containers", spec);
        assert_eq!(answer.status, 201, "{answer}");
        let container = answer.json();
        assert_eq!(container["state"], "running", "{container}");
        container
    }

    /// A container as it is now.
    #[track_caller]
    pub(crate) fn look(&mut self, name: &str) -> Value {
        self.admin().get(&format!("/api/v1/containers/{name}")).ok()
    }

    /// The shell's terminal, from its first byte on.
    #[track_caller]
    pub(crate) fn attach(&mut self) -> Terminal {
        let session = self.session.clone();
        Terminal::attach(self.admin(), &session)
    }

    /// The same shell, asked what it was told before.
    #[track_caller]
    pub(crate) fn same_shell(&mut self) {
        assert!(host::runs(self.shell), "the shell has ended");
        let mut terminal = self.attach();
        terminal.line("echo \"[$kept]\"");
        terminal.expect("[42]");
    }

    /// What a command in a container has written, and its exit code.
    #[track_caller]
    pub(crate) fn run(&mut self, name: &str, command: &[&str]) -> (String, i32) {
        let path = format!("/api/v1/containers/{name}/sessions");
        let answer = self
            .admin()
            .post(&path, &json!({"command": command, "tty": false}));
        assert_eq!(answer.status, 201, "{answer}");
        let id = text(&answer.json()["id"]);
        let mut terminal = Terminal::attach(self.admin(), &id);
        let exit = terminal.end();
        (terminal.text(), exit.code)
    }
}

/// A JSON string's text.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// A container's group as a directory.
#[track_caller]
pub(crate) fn group(container: &Value) -> String {
    format!("/sys/fs/cgroup{}", text(&container["cgroup"]))
}

/// A file's text without the last line's end.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .trim_end()
        .to_owned()
}

/// What a program of the machine has answered; it must succeed.
#[track_caller]
pub(crate) fn tell(words: &[&str]) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let all = [output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all).trim_end().to_owned();
    assert!(
        output.status.success(),
        "{words:?}: {}\n{all}",
        output.status
    );
    all
}

/// What systemd says of the service.
#[track_caller]
pub(crate) fn property(name: &str) -> String {
    tell(&[
        "systemctl",
        "show",
        "--value",
        "--property",
        name,
        "porthole",
    ])
}

/// Waits until Porthole answers that it can work.
#[track_caller]
pub(crate) fn ready() {
    wait_for("readiness", SERVICE, || {
        let answer = anybody().try_send("GET", "/readyz", None);
        answer.ok().filter(|answer| answer.status == 200)
    });
}

/// The last of what service and kernel have written.
pub(crate) fn show_log() {
    println!("--- the journal ends with:");
    let _ = Command::new("journalctl")
        .args([
            "--no-pager",
            "--lines",
            "80",
            "--unit",
            "porthole",
            "--unit",
            "init.scope",
        ])
        .status();
}
