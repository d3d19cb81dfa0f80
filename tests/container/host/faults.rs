//! A Porthole that may see only part: it says so, tells what it can, and nothing breaks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use porthole_tests::engines::Unshared;
use porthole_tests::instance::signal;
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A Porthole that another program starts, asked over its unix socket.
struct Confined {
    directory: TempDir,
    child: Child,
}

impl Confined {
    /// `words` end in what executes the command that follows them.
    fn start(words: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("porthole-").tempdir();
        let directory = directory.expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let path = |name: &str| directory.path().join(name);
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(Instance::program())
            .arg("serve")
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PORTHOLE_LISTEN", "127.0.0.1:0")
            .env("PORTHOLE_ROOT", path("root"))
            .env("PORTHOLE_RUN", path("run"))
            .env("PORTHOLE_SOCKET", path("run/porthole.sock"))
            .env("PORTHOLE_CONFIG", path("config.toml"))
            .env("PORTHOLE_POLICY", path("policy.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("porthole serve");
        let mut confined = Self { directory, child };
        wait_for("readiness", PATIENCE, || {
            let ended = confined.child.try_wait().expect("wait");
            assert!(ended.is_none(), "{ended:?}: {}", confined.log());
            confined.get("/readyz").filter(|(status, _)| *status == 200)
        });
        confined
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/porthole.sock")
    }

    /// Status and body, as root, who needs no account there.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    #[track_caller]
    fn page(&self, path: &str) -> String {
        let (status, body) = self.get(path).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path)).expect("JSON")
    }

    fn processes(&self) -> Vec<i32> {
        let mark = format!(
            "PORTHOLE_RUN={}",
            self.directory.path().join("run").display()
        );
        let ours = |pid: &i32| host::environment(*pid).contains(&mark);
        host::processes().into_iter().filter(ours).collect()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        for pid in self.processes() {
            // The wrapper is not serve, which ends by itself when its parent does or is asked.
            signal(pid, Signal::TERM);
        }
        let begun = std::time::Instant::now();
        while !self.processes().is_empty() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for pid in self.processes() {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- its log:\n{}", self.log());
        }
    }
}

const PAGES: [&str; 5] = [
    "/containers",
    "/namespaces",
    "/processes",
    "/sessions",
    "/settings",
];

#[test]
fn without_the_proc_connector_it_says_so_and_looks_again_and_again() {
    // The connector is in the first network namespace only.
    let script = "ip link set lo up; mount -t proc proc /proc; exec \"$@\"";
    let porthole = Confined::start(&[
        "unshare",
        "--net",
        "--pid",
        "--mount",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    wait_for("what it says", PATIENCE, || {
        let page = porthole.page("/containers");
        page.contains("looked for every").then_some(page)
    });
    for path in PAGES {
        porthole.page(path);
    }
    // What happens is found all the same: a process in its PID namespace.
    let serve = porthole
        .processes()
        .into_iter()
        .find(|&pid| host::pids(pid).last() == Some(&1));
    let inside = serve
        .or_else(|| porthole.processes().first().copied())
        .expect("it runs");
    let mut sleeper = Command::new("nsenter")
        .args(["--pid", "--mount", "--target", &inside.to_string()])
        .args(["sleep", "1000077"])
        .stdin(Stdio::null())
        .spawn()
        .expect("nsenter");
    let has = || {
        let list = porthole.json("/api/v1/processes?limit=5000");
        let all = list["items"].as_array().expect("a list");
        all.iter().any(|one| one["args"][1] == "1000077")
    };
    wait_for("a new process", PATIENCE, || has().then_some(()));
    for child in host::children(sleeper.id().cast_signed()) {
        signal(child, Signal::KILL);
    }
    sleeper.kill().ok();
    sleeper.wait().expect("wait");
    wait_for("its end", PATIENCE, || (!has()).then_some(()));
}

#[test]
fn namespaces_that_may_not_be_read_are_told_as_that() {
    // Without it a process that has more capabilities keeps its /proc/PID/ns closed, ptrace(2).
    let porthole = Confined::start(&["setpriv", "--bounding-set", "-sys_ptrace"]);
    let bare = Unshared::start(&["--mount", "--uts", "--pid", "--fork"]);
    let pid = bare.init();
    let found = wait_for("the process", PATIENCE, || {
        let (status, body) = porthole.get(&format!("/api/v1/processes/{pid}"))?;
        let body: Value = serde_json::from_str(&body).ok()?;
        (status == 200 && body["command"] == "sleep").then_some(body)
    });
    // Control: it is the missing right that closes them.
    assert!(Path::new(&format!("/proc/{pid}/ns/uts")).exists());
    assert_eq!(host::namespaces(pid).len(), 8);
    assert_eq!(found["namespaces"]["uts"], Value::Null, "{found}");
    assert_eq!(
        found["pids"].as_array().map(Vec::len),
        Some(2),
        "its numbers are no secret: {found}"
    );
    for path in PAGES {
        porthole.page(path);
    }
    porthole.page(&format!("/processes/{pid}"));
    porthole.page("/api/v1/containers");
    porthole.page("/api/v1/namespaces");
}

#[test]
fn a_port_that_the_kernel_chose_is_the_one_that_is_told() {
    let porthole = Confined::start(&["env"]);
    let said = wait_for("where it is", PATIENCE, || {
        let log = porthole.log();
        let line = log.lines().find(|line| line.contains("Porthole is at "))?;
        Some(line.to_owned())
    });
    let address = said.rsplit_once("http://").expect("an address").1;
    assert!(!address.ends_with(":0"), "{said}");
    let mut stream = TcpStream::connect(address).expect("it listens there");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    write!(stream, "GET /healthz HTTP/1.0\r\nhost: {address}\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

#[test]
fn networks_are_called_what_lsns_calls_them_there() {
    // In a network of its own, so that the host's is left alone.
    let porthole = Confined::start(&["unshare", "--net"]);
    let other = Unshared::start(&["--net"]);
    let inner = other.init();
    let net = host::namespaces(inner)["net"];
    let serve = porthole.processes()[0].to_string();
    let there = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &serve]).args(words);
        let output = command.stdin(Stdio::null()).output().expect("nsenter");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let path = format!("/api/v1/namespaces/net/{net}");
    let netnsid = || {
        let (status, body) = porthole.get(&path)?;
        let body: Value = serde_json::from_str(&body).ok()?;
        (status == 200).then(|| body["netnsid"].clone())
    };
    let before = wait_for("the network", PATIENCE, netnsid);
    assert_eq!(before, Value::Null, "no wire leads there yet");
    let peer = inner.to_string();
    let made = there(&[
        "ip", "link", "add", "left", "type", "veth", "peer", "right", "netns", &peer,
    ]);
    assert!(made.is_some(), "ip link add");
    wait_for("what lsns says", PATIENCE, || {
        let said = there(&["lsns", "--json", "--type", "net", "--output", "NS,NETNSID"])?;
        let list: Value = serde_json::from_str(&said).ok()?;
        let rows = list["namespaces"].as_array().expect("a list").iter();
        let row = rows
            .clone()
            .find(|row| row["ns"].to_string().contains(&net.to_string()))?;
        let theirs: u64 = row["netnsid"].to_string().trim_matches('"').parse().ok()?;
        (netnsid()?.as_u64() == Some(theirs)).then_some(())
    });
    let page = porthole.page(&format!("/namespaces/net/{net}"));
    assert!(page.contains("Net ID"), "{page}");
}
