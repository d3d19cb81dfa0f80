//! A running Porthole of a test's own.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::terminal::{Exit, Terminal};
use crate::{PATIENCE, host, wait_for};

/// The administrator of every instance that was not started without one.
pub const ADMIN: &str = "admin";
/// The password of every account that a test makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// How an instance is to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    account: bool,
    small_disk: bool,
    hidden: Option<String>,
    policy: Option<String>,
    environment: Vec<(String, String)>,
}

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

impl Builder {
    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Instance {
        let directory = tempfile::Builder::new()
            .prefix("porthole-")
            .tempdir()
            .expect("a directory");
        // The server's own account must get through to its part of the state.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("mode");
        let address = free_address();
        let mut instance = Instance {
            builder: self,
            directory: Some(directory),
            address,
            serve: None,
            admin: Client::anonymous(address),
            groups: Mutex::default(),
        };
        if let Some(policy) = &instance.builder.policy {
            fs::write(instance.policy_path(), policy).expect("a policy");
        }
        instance.serve();
        if instance.builder.account {
            instance.admin.sign_in(ADMIN, PASSWORD).ok();
        }
        instance
    }

    /// Without an account, as after an installation.
    #[must_use]
    pub fn without_account(mut self) -> Self {
        self.account = false;
        self
    }

    /// With its state on a disk of a few megabytes, which only its own processes see.
    #[must_use]
    pub fn on_small_disk(mut self) -> Self {
        self.small_disk = true;
        self
    }

    /// Without this program of the machine's, which is hidden from its own processes alone.
    #[must_use]
    pub fn without(mut self, program: &str) -> Self {
        self.hidden = Some(program.to_owned());
        self
    }

    /// With this policy of root's.
    #[must_use]
    pub fn with_policy(mut self, policy: &str) -> Self {
        self.policy = Some(policy.to_owned());
        self
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Instance {
    /// What can be said before it starts.
    pub fn builder() -> Builder {
        Builder {
            account: true,
            small_disk: false,
            hidden: None,
            policy: None,
            environment: Vec::new(),
        }
    }

    /// One with an administrator who is signed in.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The built program: `PORTHOLE_BIN`, or what `make build-debug` built.
    pub fn program() -> PathBuf {
        let built = || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("the workspace")
                .join("target/product/debug/porthole")
        };
        let program = std::env::var_os("PORTHOLE_BIN").map_or_else(built, PathBuf::from);
        assert!(
            program.is_file(),
            "{} is not there: run `make build-debug` first, as `make test` does",
            program.display()
        );
        program
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = if self.builder.small_disk {
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .arg("mkdir -p \"$1\" && mount -t tmpfs -o size=6m,mode=0711 none \"$1\" && exec \"$0\" serve")
                .arg(Self::program())
                .arg(self.root());
            command
        } else if let Some(hidden) = &self.builder.hidden {
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .arg("mount --bind /dev/null \"$1\" && exec \"$0\" serve")
                .arg(Self::program())
                .arg(hidden);
            command
        } else {
            let mut command = Command::new(Self::program());
            command.arg("serve");
            command
        };
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PORTHOLE_LISTEN", self.address.to_string())
            .env("PORTHOLE_ROOT", self.root())
            .env("PORTHOLE_RUN", self.run())
            .env("PORTHOLE_SOCKET", self.run().join("porthole.sock"))
            // What the machine's own Porthole is told is not for this one.
            .env("PORTHOLE_CONFIG", self.path().join("config.toml"))
            .env("PORTHOLE_POLICY", self.policy_path())
            .stdin(Stdio::null());
        if self.builder.account {
            command.env("PORTHOLE_ADMIN_PASSWORD", PASSWORD);
        }
        for (name, value) in &self.builder.environment {
            command.env(name, value);
        }
        command
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

    fn remember(&self, container: &Value) {
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

/// An address that nobody listens on. Its port lies below those that the kernel gives to clients,
/// so that none of them takes it meanwhile.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 100).expect("below 100") * 100;
    loop {
        let port = 20_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
