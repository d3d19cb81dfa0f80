//! systemd-nspawn, without a systemd that registers its containers.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{Place, busybox_root, program};
use crate::instance::signal;
use crate::{PATIENCE, host, wait_for};

/// A container of systemd-nspawn's.
#[derive(Debug)]
pub struct Nspawn {
    place: Place,
    supervisor: Child,
    init: i32,
}

impl Nspawn {
    /// Starts one of this name that sleeps. `None`, said on standard error, where this machine has no
    /// systemd-nspawn.
    pub fn start(machine: &str, options: &[&str]) -> Option<Self> {
        program("systemd-nspawn", &["/usr/bin/systemd-nspawn"])?;
        let place = Place::new("nspawn");
        let root = place.path("root");
        busybox_root(&root).expect("a root directory");
        // It wants to see that this is a system's root.
        for directory in ["usr", "run", "var"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        fs::write(root.join("etc/os-release"), "ID=test\n").expect("a file");
        let log = fs::File::create(place.path("log")).expect("a log");
        // What it leaves in /run is nobody else's. It makes groups below its own in the cgroup2 tree.
        let script = "mount -t tmpfs none /run; for tree in /sys/fs/cgroup/unified /sys/fs/cgroup; do \
            [ -e $tree/cgroup.procs ] && mkdir $tree/$0 && echo $$ > $tree/$0/cgroup.procs && break; \
            done; exec systemd-nspawn \"$@\"";
        let supervisor = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                &place.group,
            ])
            // There may be no systemd to be asked for a group.
            .args([
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--quiet",
            ])
            .args(["--console=pipe", "--settings=no", "--timezone=off"])
            .arg(format!("--machine={machine}"))
            .arg("--directory")
            .arg(&root)
            .args(options)
            .args(["/bin/sleep", "1000000"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("unshare");
        let mut nspawn = Self {
            place,
            supervisor,
            init: 0,
        };
        nspawn.init = wait_for("a container of systemd-nspawn", PATIENCE, || {
            let ended = nspawn.supervisor.try_wait().expect("wait");
            assert!(ended.is_none(), "{ended:?}: {}", nspawn.log());
            let inner = host::children(nspawn.pid()).into_iter();
            inner.into_iter().find(|&pid| {
                host::pids(pid).last() == Some(&1)
                    && host::arguments(pid)
                        .first()
                        .is_some_and(|word| word == "/bin/sleep")
            })
        });
        Some(nspawn)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path("log")).unwrap_or_default()
    }

    /// The process that looks after it.
    pub fn pid(&self) -> i32 {
        self.supervisor.id().cast_signed()
    }

    /// Its first process on the host.
    pub const fn init(&self) -> i32 {
        self.init
    }

    /// Ends it.
    pub fn stop(&mut self) {
        signal(self.init, Signal::KILL);
        let begun = std::time::Instant::now();
        while matches!(self.supervisor.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE / 3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

impl Drop for Nspawn {
    fn drop(&mut self) {
        self.stop();
    }
}
