//! LXC, with containers in a directory of a test's own.

use std::fs;
use std::process::{Command, Stdio};

use super::{Place, busybox_root, program, succeed};

/// LXC with containers of a test's own; it has no daemon.
#[derive(Debug)]
pub struct Lxc {
    place: Place,
}

impl Lxc {
    /// `None`, said on standard error, where this machine has no LXC.
    pub fn start() -> Option<Self> {
        program("LXC", &["/usr/bin/lxc-start"])?;
        let place = Place::new("lxc");
        fs::create_dir(place.path("lxc")).expect("a directory");
        fs::write(place.path("ids"), "root:0:4294967295\n").expect("a file");
        Some(Self { place })
    }

    /// One of LXC's programs for one of the containers.
    pub fn command(&self, program: &str, name: &str) -> Command {
        // What it locks is in /run, where nobody else is to see it. Where there is a newuidmap(1),
        // LXC asks that, and it refuses root too what subuid(5) does not say.
        let script = "mount -t tmpfs none /run; ids=$1; shift
            for file in /etc/subuid /etc/subgid; do [ ! -e $file ] || mount --bind \"$ids\" $file; done
            exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-ec",
                script,
                "sh",
            ])
            .arg(self.place.path("ids"))
            .arg(program)
            .arg("--lxcpath")
            .arg(self.place.path("lxc"))
            .args(["--name", name])
            .stdin(Stdio::null());
        command
    }

    /// What one of LXC's programs answers.
    ///
    /// # Panics
    /// When it fails.
    pub fn lxc(&self, program: &str, name: &str, arguments: &[&str]) -> String {
        let mut command = self.command(program, name);
        command.args(arguments);
        succeed(command)
    }

    /// Starts a container of busybox that sleeps, with these lines more of lxc.container.conf(5).
    /// Answers its first process on the host.
    pub fn run(&self, name: &str, lines: &[&str]) -> i32 {
        let directory = self.place.path("lxc").join(name);
        busybox_root(&directory.join("rootfs")).expect("a root directory");
        let group = &self.place.group;
        let mut config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.uts.name = in-{name}\nlxc.net.0.type = empty\n\
             lxc.init.cmd = /bin/sleep 1000000\nlxc.mount.auto = proc:mixed sys:ro\nlxc.pty.max = 64\n\
             lxc.cgroup.dir.container = {group}/lxc.payload.{name}\n\
             lxc.cgroup.dir.monitor = {group}/lxc.monitor.{name}\n\
             lxc.cgroup.dir.monitor.pivot = {group}/lxc.pivot\n",
            directory.join("rootfs").display()
        );
        for line in lines {
            config.push_str(line);
            config.push('\n');
        }
        fs::write(directory.join("config"), config).expect("a configuration");
        let log = self.place.path("log");
        let mut start = self.command("lxc-start", name);
        // It goes into the background with the pipes that it was given.
        start.arg("--logfile").arg(&log).stdout(Stdio::null());
        let status = start.stderr(Stdio::null()).status().expect("lxc-start");
        let log = fs::read_to_string(log).unwrap_or_default();
        assert!(status.success(), "{start:?}: {log}");
        let pid = self.lxc("lxc-info", name, &["--pid", "--no-humanize"]);
        pid.parse().expect("a PID")
    }
}

impl Drop for Lxc {
    fn drop(&mut self) {
        let all = fs::read_dir(self.place.path("lxc"));
        for container in all.into_iter().flatten().flatten() {
            let name = container.file_name().to_string_lossy().into_owned();
            let _ = self.command("lxc-unfreeze", &name).output();
            let _ = self.command("lxc-stop", &name).arg("--kill").output();
        }
    }
}
