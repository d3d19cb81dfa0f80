//! Engines of other makes, each run for one test with directories of its own and gone after it:
//! Docker, Podman, runc, LXC, systemd-nspawn, and namespaces of nobody's. Nothing of the machine's own
//! engines is touched.
//!
//! No registry is reachable, so their one image is made here, from busybox. Where a machine lacks
//! an engine, `start` says so on standard error and answers `None`: the test that needs it ends there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{PATIENCE, host, wait_for};

mod bare;
mod lxc;
mod nspawn;

pub use bare::{Impostor, NamedNetwork, Unshared};
pub use lxc::Lxc;
pub use nspawn::Nspawn;

/// The image that every engine here has: busybox and a few accounts.
pub const IMAGE: &str = "porthole-test";

const APPLETS: [&str; 26] = [
    "sh", "ash", "sleep", "cat", "id", "ps", "ls", "echo", "env", "hostname", "stat", "mount",
    "ip", "true", "false", "pwd", "head", "tail", "grep", "touch", "rm", "kill", "tty", "mkdir",
    "readlink", "nc",
];

/// A Docker daemon of a test's own.
#[derive(Debug)]
pub struct DockerDaemon {
    place: Place,
    dockerd: PathBuf,
    driver: &'static str,
    daemon: Child,
}

/// Podman with storage of a test's own; it has no daemon.
#[derive(Debug)]
pub struct Podman {
    place: Place,
    driver: &'static str,
}

/// runc with state of a test's own.
#[derive(Debug)]
pub struct Runc {
    place: Place,
}

/// A directory and a control group, both gone when it is dropped.
#[derive(Debug)]
struct Place {
    directory: TempDir,
    group: String,
}

impl Place {
    fn new(engine: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket in it has a limit of 108 bytes.
        let directory = tempfile::Builder::new()
            .prefix("engine-")
            .tempdir()
            .expect("a directory");
        // The users of a container with ids of its own must get to its root directory.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("a mode");
        Self {
            directory,
            group: format!("porthole-test-{engine}-{}-{number}", std::process::id()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The image's files as a tar.
    fn image(&self) -> PathBuf {
        let root = self.path("image");
        busybox_root(&root).expect("an image's files");
        let tar = self.path("image.tar");
        let mut command = Command::new("tar");
        command.arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".");
        succeed(command);
        tar
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What an engine has left mounted would keep its directory.
        let prefix = self.directory.path().to_string_lossy().into_owned();
        let mounted = host::mounts_below(self.directory.path());
        let points = mounted.iter().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| point.starts_with(&prefix)).rev() {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
        for group in host::cgroups(&self.group) {
            remove_group(&group);
        }
    }
}

/// Removes a control group with those below it, after killing what is in them.
fn remove_group(group: &Path) {
    let _ = fs::write(group.join("freezer.state"), "THAWED");
    let _ = fs::write(group.join("cgroup.kill"), "1");
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    for pid in fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    let begun = std::time::Instant::now();
    while fs::remove_dir(group).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        && begun.elapsed() < PATIENCE / 10
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Fills a directory with busybox, the users `root` and `worker` (1000, also in the groups 2000 and
/// 2001) and the usual empty directories.
///
/// # Errors
/// Where busybox is missing, or a file cannot be written.
pub fn busybox_root(root: &Path) -> io::Result<()> {
    for directory in [
        "bin",
        "etc",
        "proc",
        "sys",
        "dev",
        "tmp",
        "root",
        "home/worker",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000:worker:/home/worker:/bin/sh\n",
    )?;
    fs::write(
        root.join("etc/group"),
        "root:x:0:\nworker:x:1000:\nmore:x:2000:worker\nother:x:2001:root,worker\n",
    )
}

/// The first of these programs that there is. Says which are not, where there is none.
fn program(engine: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        eprintln!(
            "SKIPPED: this machine has no {engine} ({} not found); `make setup-test` installs it",
            paths.join(", ")
        );
    }
    found
}

fn succeed(mut command: Command) -> String {
    let output = command.output().expect("a program that runs");
    assert!(
        output.status.success(),
        "{command:?}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

impl DockerDaemon {
    /// Starts one and waits until it answers; it has [`IMAGE`]. `None`, said on standard error, where
    /// this machine has no Docker.
    pub fn start() -> Option<Self> {
        Self::start_on("vfs")
    }

    /// The same with another storage driver than the one that works everywhere and copies everything.
    pub fn start_on(driver: &'static str) -> Option<Self> {
        program("Docker", &["/usr/bin/docker"])?;
        let dockerd = program("Docker daemon", &["/usr/sbin/dockerd", "/usr/bin/dockerd"])?;
        let place = Place::new("docker");
        let daemon = Self::daemon(&dockerd, &place, driver);
        let docker = Self {
            place,
            dockerd,
            driver,
            daemon,
        };
        docker.wait_ready();
        let image = docker.place.image();
        docker.docker(&["import", &image.to_string_lossy(), IMAGE]);
        Some(docker)
    }

    fn daemon(dockerd: &Path, place: &Place, driver: &str) -> Child {
        let log = fs::File::create(place.path("log")).expect("a log");
        // It mounts its directory over itself: where nobody else sees it, and for as long as it runs.
        Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(dockerd)
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--storage-driver", driver])
            .arg("--data-root")
            .arg(place.path("data"))
            .arg("--exec-root")
            .arg(place.path("exec"))
            .arg("--pidfile")
            .arg(place.path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", place.path("docker.sock").display()))
            .arg("--cgroup-parent")
            .arg(format!("/{}", place.group))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("dockerd")
    }

    fn wait_ready(&self) {
        wait_for("Docker answers", PATIENCE, || {
            let answers = self.try_docker(&["version"]).status.success();
            answers.then_some(())
        });
    }

    /// Ends the daemon, and with it what runs in its containers.
    pub fn stop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.pid()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = std::time::Instant::now();
        while matches!(self.daemon.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }

    /// Starts it again after [`DockerDaemon::stop`], and waits until it answers.
    pub fn start_again(&mut self) {
        self.daemon = Self::daemon(&self.dockerd, &self.place, self.driver);
        self.wait_ready();
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.place.path("docker.sock")
    }

    /// The daemon's process.
    pub fn pid(&self) -> i32 {
        self.daemon.id().cast_signed()
    }

    /// The name of the control group below which its containers' are.
    pub fn group(&self) -> &str {
        &self.place.group
    }

    /// What `docker` answers.
    ///
    /// # Panics
    /// When it fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        succeed(self.command(arguments))
    }

    /// The same where it may fail.
    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("docker")
    }

    /// `docker` with these arguments, for this daemon.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .env("DOCKER_CONFIG", self.place.path("config"))
            .stdin(Stdio::null());
        command
    }

    /// Starts a container in the background: its id. Without a network unless the options name one.
    pub fn run(&self, options: &[&str], command: &[&str]) -> String {
        let mut arguments = vec!["run", "--detach"];
        if !options.iter().any(|option| option.starts_with("--net")) {
            arguments.extend(["--network", "none"]);
        }
        arguments.extend(options);
        // An image of the options' own choice is named as `--image=NAME`.
        let image = options.iter().find_map(|o| o.strip_prefix("--image="));
        arguments.retain(|option| !option.starts_with("--image="));
        arguments.push(image.unwrap_or(IMAGE));
        arguments.extend(command);
        self.docker(&arguments)
    }

    /// The first process of a container, on the host.
    pub fn init(&self, container: &str) -> i32 {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        pid.parse().expect("a PID")
    }

    /// Makes an image of these files, by their paths in it.
    pub fn import(&self, name: &str, files: &[(&str, &Path)]) {
        let root = self.place.path(&format!("files-{name}"));
        for (path, source) in files {
            let path = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::copy(source, path).expect("a file");
        }
        let tar = self.place.path(&format!("{name}.tar"));
        let mut command = Command::new("tar");
        command.arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".");
        succeed(command);
        self.docker(&["import", &tar.to_string_lossy(), name]);
    }
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        let all = self.try_docker(&["ps", "--all", "--quiet", "--no-trunc"]);
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        for container in all.lines() {
            self.try_docker(&["unpause", container]);
            self.try_docker(&["rm", "--force", "--volumes", container]);
        }
        self.stop();
    }
}

impl Podman {
    /// Prepares its storage with [`IMAGE`]. `None`, said on standard error, where this machine has no
    /// Podman.
    pub fn start() -> Option<Self> {
        Self::start_on("vfs")
    }

    /// The same with another storage driver, as [`DockerDaemon::start_on`].
    pub fn start_on(driver: &'static str) -> Option<Self> {
        program("Podman", &["/usr/bin/podman"])?;
        // crun refuses machines that have both cgroup versions.
        program("runc", &["/usr/sbin/runc", "/usr/bin/runc"])?;
        let podman = Self {
            place: Place::new("podman"),
            driver,
        };
        // Its defaults are more than a machine without CAP_SYS_RESOURCE may set.
        let limits =
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
        fs::write(podman.configuration(), limits).expect("a configuration");
        let image = podman.place.image();
        podman.podman(&["import", &image.to_string_lossy(), IMAGE]);
        Some(podman)
    }

    fn configuration(&self) -> PathBuf {
        self.place.path("containers.conf")
    }

    /// `podman` with these arguments, in this storage.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/podman");
        command.env("CONTAINERS_CONF", self.configuration());
        for (option, name) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(option).arg(self.place.path(name));
        }
        command
            .args(["--storage-driver", self.driver])
            .args(["--events-backend", "file"])
            .args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// What `podman` answers.
    ///
    /// # Panics
    /// When it fails.
    pub fn podman(&self, arguments: &[&str]) -> String {
        succeed(self.command(arguments))
    }

    /// Starts a container in the background: its id.
    pub fn run(&self, options: &[&str], command: &[&str]) -> String {
        succeed(self.running(&[&["--detach"], options].concat(), command))
    }

    /// The command that starts a container with these options.
    pub fn running(&self, options: &[&str], command: &[&str]) -> Command {
        let group = format!("/{}", self.place.group);
        let mut arguments = vec!["run", "--network", "none", "--cgroup-parent", &group];
        arguments.extend(options);
        arguments.push(IMAGE);
        arguments.extend(command);
        self.command(&arguments)
    }

    /// Makes a pod of this name, whose first container is of [`IMAGE`] too: its id.
    pub fn pod(&self, name: &str) -> String {
        let group = format!("/{}", self.place.group);
        let name = format!("--name={name}");
        let infra = ["--infra-command=/bin/sleep 1000000", "--network=none"];
        let image = format!("--infra-image=localhost/{IMAGE}");
        let mut arguments = vec!["pod", "create", "--cgroup-parent", &group, &name, &image];
        arguments.extend(infra);
        self.podman(&arguments)
    }

    /// Starts a container in a pod: its id.
    pub fn run_in(&self, pod: &str, name: &str, command: &[&str]) -> String {
        let mut arguments = vec!["run", "--detach", "--pod", pod, "--name", name, IMAGE];
        arguments.extend(command);
        self.podman(&arguments)
    }

    /// The first process of a container, on the host.
    pub fn init(&self, container: &str) -> i32 {
        let pid = self.podman(&["inspect", "--format", "{{.State.Pid}}", container]);
        pid.parse().expect("a PID")
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for all in [&["pod", "rm"][..], &["rm"]] {
            let mut command = self.command(all);
            let _ = command.args(["--all", "--force", "--time", "0"]).output();
        }
    }
}

impl Runc {
    /// `None`, said on standard error, where this machine has no runc.
    pub fn start() -> Option<Self> {
        program("runc", &["/usr/sbin/runc", "/usr/bin/runc"])?;
        Some(Self {
            place: Place::new("runc"),
        })
    }

    /// `runc` with these arguments, with this state.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(self.place.path("state"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// What `runc` answers.
    ///
    /// # Panics
    /// When it fails.
    pub fn runc(&self, arguments: &[&str]) -> String {
        succeed(self.command(arguments))
    }

    /// Starts a container of busybox: runc's own specification, as `change` has changed it. Answers
    /// its first process on the host.
    pub fn run(&self, name: &str, change: impl FnOnce(&mut serde_json::Value)) -> i32 {
        let bundle = self.bundle(name, change);
        let mut command = self.command(&["run", "--detach", "--bundle"]);
        // Its process would hold pipes open for as long as it runs.
        let log = fs::File::create(bundle.join("log")).expect("a log");
        command
            .arg(&bundle)
            .arg("--pid-file")
            .arg(bundle.join("pid"))
            .arg(name)
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        let status = command.status().expect("runc");
        let log = fs::read_to_string(bundle.join("log")).unwrap_or_default();
        assert!(status.success(), "{command:?}: {log}");
        let pid = fs::read_to_string(bundle.join("pid")).expect("a PID");
        pid.trim().parse().expect("a PID")
    }

    /// What [`Runc::run`] runs: a directory with busybox and the specification.
    pub fn bundle(&self, name: &str, change: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
        let bundle = self.place.path(name);
        busybox_root(&bundle.join("rootfs")).expect("a root directory");
        let mut command = self.command(&["spec", "--bundle"]);
        command.arg(&bundle);
        succeed(command);
        let path = bundle.join("config.json");
        let text = fs::read(&path).expect("a specification");
        let mut spec: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = serde_json::json!(["/bin/sleep", "1000000"]);
        spec["linux"]["cgroupsPath"] = format!("/{}/{name}", self.place.group).into();
        change(&mut spec);
        fs::write(&path, spec.to_string()).expect("a specification");
        bundle
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        let all = self.command(&["list", "--quiet"]).output();
        let all = all.map(|output| output.stdout).unwrap_or_default();
        for container in String::from_utf8_lossy(&all).lines() {
            let _ = self.command(&["resume", container]).output();
            let _ = self.command(&["delete", "--force", container]).output();
        }
    }
}
