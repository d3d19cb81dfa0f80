//! The supervisor with a stand-in for the server: this very program, run as `server`.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use porthole_protocol::container::ContainerState;

use crate::place::{Client, Journal, alive, connect, spec, wait_until};

/// Set for the stand-in: where it writes what it has found.
const REPORT: &str = "PORTHOLE_TEST_REPORT";

/// The stand-in. The supervisor runs this program with the one argument `server`, of which the
/// test runner makes a filter that only this test's name fits; without the variable it is empty.
#[test]
fn stand_in_for_the_server() {
    let Some(report) = std::env::var_os(REPORT) else {
        return;
    };
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
    let run = PathBuf::from(std::env::var_os("PORTHOLE_RUN").expect("PORTHOLE_RUN"));
    let passed: Vec<_> = [3, 4, 5]
        .iter()
        .map(|number| {
            std::fs::read_link(format!("/proc/self/fd/{number}"))
                .is_ok_and(|path| path.to_string_lossy().starts_with("socket:"))
        })
        .collect();
    let keeper = porthole_sys::packet::Packet::connect(&run.join("keeper.sock"));
    let namespace = unshares();
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let text = format!(
        "{status}Namespace:\t{namespace}\nFiles:\t{}\nPid:\t{}\nPassed:\t{passed:?}\nNames:\t{}\nKeeper:\t{}\nDirectory:\t{}\nRoot:\t{}\n",
        files.unwrap_or(u64::MAX),
        std::process::id(),
        std::env::var("LISTEN_FDNAMES").unwrap_or_default(),
        keeper.is_ok(),
        std::env::current_dir().expect("directory").display(),
        std::fs::read_dir("/root").is_ok(),
    );
    let beside = Path::new(&report).with_extension("new");
    std::fs::write(&beside, text).expect("report");
    std::fs::rename(&beside, &report).expect("rename");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

/// Whether a child of this process may become root of a user namespace and mount there.
fn unshares() -> bool {
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .stderr(Stdio::null())
        .status()
        .expect("unshare of util-linux")
        .success()
}

struct Instance {
    directory: tempfile::TempDir,
    port: u16,
    serve: Option<Child>,
}

impl Instance {
    fn new() -> Option<Self> {
        let known = std::fs::read_to_string("/etc/passwd")
            .is_ok_and(|text| text.lines().any(|line| line.starts_with("porthole:")));
        if !rustix::process::geteuid().is_root() || !known {
            eprintln!("SKIPPED: this test needs root and the account porthole (make setup)");
            return None;
        }
        let directory = tempfile::tempdir().expect("directory");
        // Everything above ROOT and the report must let the server's account pass.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open).expect("mode");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a free port")
            .local_addr()
            .expect("address")
            .port();
        Some(Self {
            directory,
            port,
            serve: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self) -> Command {
        // As systemd starts services, with few open files until they ask for more.
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -S -n 1024; exec \"$0\" serve"])
            .arg(env!("CARGO_BIN_EXE_porthole-keeper"))
            .env("PORTHOLE_ROOT", self.path("root"))
            .env("PORTHOLE_RUN", self.path("run"))
            .env("PORTHOLE_POLICY", self.path("policy.toml"))
            .env("PORTHOLE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env(
                "PORTHOLE_SERVER_EXE",
                std::env::current_exe().expect("this program"),
            )
            .env(REPORT, self.path("report"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    fn start(&mut self) {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.path("log"))
            .expect("log");
        self.serve = Some(self.command().stderr(log).spawn().expect("serve"));
    }

    /// A start that is refused.
    fn refused(&self) -> Output {
        let output = self.command().stderr(Stdio::piped()).output();
        let output = output.expect("serve");
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        output
    }

    fn stop(&mut self) {
        let mut serve = self.serve.take().expect("it runs");
        signal(serve.id().cast_signed(), rustix::process::Signal::TERM);
        let status = serve.wait().expect("wait");
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What the stand-in has found, once it has another PID than this.
    fn report(&self, but: i32) -> BTreeMap<String, String> {
        let mut report = BTreeMap::new();
        wait_until("the server reports", || {
            let text = std::fs::read_to_string(self.path("report")).unwrap_or_default();
            report = text
                .lines()
                .filter_map(|line| line.split_once(":\t"))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect();
            report
                .get("Pid")
                .is_some_and(|pid| pid.parse::<i32>().is_ok_and(|pid| pid != but))
        });
        report
    }

    fn client(&self) -> Client {
        connect(&self.path("run/keeper.sock"))
    }

    fn children(&self) -> Vec<i32> {
        let pid = self.serve.as_ref().expect("it runs").id();
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .expect("children")
            .split_whitespace()
            .map(|pid| pid.parse().expect("pid"))
            .collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if let Some(mut serve) = self.serve.take() {
            let _ = serve.kill();
            let _ = serve.wait();
        }
    }
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("pid");
    rustix::process::kill_process(pid, signal).expect("kill");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("metadata").mode() & 0o777
}

#[test]
fn one_child_has_no_rights_and_both_are_started_again() {
    let Some(mut instance) = Instance::new() else {
        return;
    };
    instance.start();
    let report = instance.report(0);
    let zero = "0000000000000000";
    for (field, expected) in [
        ("CapEff", zero),
        ("CapPrm", zero),
        ("CapInh", zero),
        ("CapBnd", zero),
        ("CapAmb", zero),
        ("NoNewPrivs", "1"),
        ("Groups", ""),
        ("Umask", "0077"),
        ("SigBlk", zero),
        ("Passed", "[true, true, false]"),
        ("Names", "http:api:tls"),
        ("Keeper", "true"),
        ("Directory", "/"),
        ("Root", "false"),
        ("Namespace", "false"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(
            report.get(field).map(String::as_str),
            Some(expected),
            "{field}"
        );
    }
    assert!(!report["Uid"].starts_with('0'));
    // Control: the same account may, where there is no filter.
    let free = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .uid(
            report["Uid"]
                .split_whitespace()
                .next()
                .and_then(|uid| uid.parse().ok())
                .expect("uid"),
        )
        .status()
        .expect("unshare of util-linux");
    assert!(free.success(), "control");
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let files: u64 = report["Files"].parse().expect("a number");
    assert!(
        files >= most.unwrap_or(u64::MAX).min(65_536),
        "{files} of {most:?}"
    );
    for (path, expected) in [
        ("root", 0o711),
        ("root/keeper", 0o700),
        ("root/server", 0o700),
        ("run", 0o755),
        ("run/m", 0o700),
        ("run/keeper.sock", 0o660),
        ("run/porthole.sock", 0o660),
        ("run/setup-code", 0o600),
    ] {
        assert_eq!(mode(&instance.path(path)), expected, "{path}");
    }
    let mut client = instance.client();
    let journal = Journal(porthole_journal::create(&instance.path("journal")).expect("journal"));
    let made = client.create(&spec("trap 'exit 0' TERM; while :; do sleep 1; done"));
    let pid = client.start(&made.id, &journal).pid.expect("pid").0;
    // Each is killed, and there again.
    let server: i32 = report["Pid"].parse().expect("pid");
    signal(server, rustix::process::Signal::KILL);
    instance.report(server);
    let keeper = instance
        .children()
        .into_iter()
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "porthole-keeper")
        })
        .expect("the keeper");
    signal(keeper, rustix::process::Signal::KILL);
    let mut client = instance.client();
    assert_eq!(client.look(&made.id).state, ContainerState::Running);
    wait_until("the monitor is the supervisor's", || {
        instance.children().len() == 3
    });
    // Told to stop, and killed: the container lives on, and no child of it does.
    for hard in [false, true] {
        let children = instance.children();
        if hard {
            let mut serve = instance.serve.take().expect("it runs");
            serve.kill().expect("kill");
            serve.wait().expect("wait");
        } else {
            instance.stop();
            assert!(!instance.path("run/keeper.sock").exists());
        }
        wait_until("only the monitor is left", || {
            children.iter().filter(|pid| alive(**pid)).count() <= 1
        });
        assert!(alive(pid));
        instance.start();
        let mut client = instance.client();
        assert_eq!(client.look(&made.id).pid.expect("pid").0, pid);
    }
    let mut client = instance.client();
    client.remove(&made.id);
    assert!(!alive(pid));
    let server: i32 = instance.report(server)["Pid"].parse().expect("pid");
    instance.stop();
    assert!(!alive(server));
}

#[test]
fn what_keeps_it_from_starting_is_said_in_words() {
    let Some(mut instance) = Instance::new() else {
        return;
    };
    let says = |output: &Output, words: &[&str]| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
    };
    // The port.
    let taken = std::net::TcpListener::bind(("127.0.0.1", instance.port)).expect("bind");
    let address = format!("127.0.0.1:{}", instance.port);
    says(
        &instance.refused(),
        &[&address, "in use", "--listen", "PORTHOLE_LISTEN"],
    );
    assert!(!instance.path("run/keeper.sock").exists());
    drop(taken);
    // Not root.
    let output = instance
        .command()
        .uid(65534)
        .stderr(Stdio::piped())
        .output()
        .expect("serve");
    says(&output, &["as root"]);
    // A policy that anybody can write.
    std::fs::write(instance.path("policy.toml"), "host_namespaces = true\n").expect("policy");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(instance.path("policy.toml"), open).expect("mode");
    says(
        &instance.refused(),
        &["policy.toml", "is not believed", "chmod go-w"],
    );
    std::fs::remove_file(instance.path("policy.toml")).expect("remove");
    // A second one of the same root.
    instance.start();
    drop(instance.client());
    let first = instance.port;
    instance.port = 0;
    says(&instance.refused(), &["runs already", "PORTHOLE_ROOT"]);
    instance.port = first;
    instance.stop();
    // A root that a newer one has written.
    std::fs::write(instance.path("root/keeper/version"), "99\n").expect("version");
    says(&instance.refused(), &["newer Porthole", "99"]);
}
