//! A scenario's own instance: directories, control groups, images; gone when it ends.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use porthole_protocol::container::{ContainerSpec, IdRange};
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::keeper::Failure;
use porthole_protocol::namespace::PerNamespace;
use porthole_protocol::session::{SessionSpec, Size};
use porthole_protocol::trace::{Actor, Trace};
use porthole_runtime::{
    Cgroups, Console, Images, Join, Joined, Launch, Launched, Recorder, allocate_ids, create_root,
    join, launch, remove_root,
};
use porthole_sys::signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, set_child_subreaper, waitid};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Bench {
    pub(crate) directory: PathBuf,
    pub(crate) images: Images,
    pub(crate) cgroups: Cgroups,
    program: OwnedFd,
    pub(crate) trace: Option<Trace>,
    made: RefCell<Vec<ContainerId>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A scenario that failed half-way has not removed its containers.
        for id in self.made.take() {
            let _ = self.cgroups.remove(&id);
        }
    }
}

/// A container that exists.
pub(crate) struct Made {
    pub(crate) id: ContainerId,
    pub(crate) spec: ContainerSpec,
    pub(crate) ids: IdRange,
    pub(crate) directory: PathBuf,
}

/// Runs a scenario, and looks afterwards whether anything was left.
pub(crate) fn with(name: &str, run: impl FnOnce(&mut Bench)) {
    set_child_subreaper(Pid::from_raw(1)).expect("subreaper");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let place = tempfile::Builder::new()
        .prefix("porthole-")
        .tempdir()
        .expect("directory");
    let instance = format!("{:08x}", std::process::id());
    let (cgroups, lacking) = Cgroups::detect(&instance).expect("control groups");
    for sentence in lacking {
        println!("{name}: {sentence}");
    }
    let images = Images::prepare(&place.path().join("images"));
    let mut bench = Bench {
        directory: place.path().to_owned(),
        images,
        cgroups,
        program: porthole_sys::memfd::copy_of_self().expect("memfd"),
        trace: None,
        made: RefCell::default(),
    };
    run(&mut bench);
    drop(bench);
    let after = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert_eq!(mounts, after, "{name} left mounts");
    let left = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("porthole-{instance}")])
        .output()
        .expect("find");
    assert_eq!(
        String::from_utf8_lossy(&left.stdout),
        "",
        "{name} left control groups"
    );
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .expect("random");
    bytes
}

impl Bench {
    pub(crate) fn create(&self, json: &str) -> Made {
        self.try_create(json).expect("a container")
    }

    pub(crate) fn try_create(&self, json: &str) -> Result<Made, Failure> {
        let spec: ContainerSpec = serde_json::from_str(json).expect("a spec");
        let id = ContainerId::from_bytes(random());
        let ids = allocate_ids(&[])?;
        let directory = self.directory.join("containers").join(id.as_str());
        std::fs::create_dir_all(&directory).expect("directory");
        let name = "test".parse().expect("a name");
        create_root(&directory, &id, &name, &spec, ids, &self.images, None)?;
        self.made.borrow_mut().push(id.clone());
        Ok(Made {
            id,
            spec,
            ids,
            directory,
        })
    }

    pub(crate) fn start(&mut self, made: &Made) -> Launched {
        self.try_start(made).expect("a running container")
    }

    pub(crate) fn try_start(&mut self, made: &Made) -> Result<Launched, Failure> {
        self.start_sharing(made, PerNamespace::default())
    }

    pub(crate) fn start_sharing(
        &mut self,
        made: &Made,
        shared: PerNamespace<Option<OwnedFd>>,
    ) -> Result<Launched, Failure> {
        let name = "test".parse().expect("a name");
        self.cgroups.create(&made.id, &made.spec.limits)?;
        let mut trace = Recorder::new(Actor::Monitor);
        let answer = launch(
            &Launch {
                id: &made.id,
                name: &name,
                spec: &made.spec,
                ids: made.ids,
                directory: &made.directory,
                images: &self.images,
                cgroups: &self.cgroups,
                shared,
                program: self.program.as_fd(),
                size: Size::DEFAULT,
                network: None,
            },
            &mut trace,
        );
        self.trace = Some(trace.into_trace());
        answer
    }

    pub(crate) fn join(&mut self, made: &Made, init: &Launched, json: &str) -> Joined {
        self.try_join(made, init, json).expect("a session")
    }

    pub(crate) fn try_join(
        &mut self,
        made: &Made,
        init: &Launched,
        json: &str,
    ) -> Result<Joined, Failure> {
        let session = SessionId::from_bytes(random());
        self.join_as(&session, made, init, json)
    }

    pub(crate) fn join_as(
        &mut self,
        session: &SessionId,
        made: &Made,
        init: &Launched,
        json: &str,
    ) -> Result<Joined, Failure> {
        let mut value: serde_json::Value = serde_json::from_str(json).expect("json");
        value["container"] = made.id.as_str().into();
        value["size"] = serde_json::json!({"cols": 80, "rows": 24});
        let spec: SessionSpec = serde_json::from_value(value).expect("a session's spec");
        let mut trace = Recorder::new(Actor::Monitor);
        let answer = join(
            &Join {
                session,
                spec: &spec,
                container: &made.spec,
                id: &made.id,
                ids: made.ids,
                host_pid: init.host_pid,
                start_ticks: init.start_ticks,
                namespaces: &init.namespaces,
                cgroups: &self.cgroups,
                images: &self.images,
            },
            &mut trace,
        );
        self.trace = Some(trace.into_trace());
        answer
    }

    /// Runs a command in a container to its end; its output and exit code.
    pub(crate) fn run(&mut self, made: &Made, init: &Launched, command: &[&str]) -> (String, i32) {
        self.run_as(made, init, None, command)
    }

    pub(crate) fn run_as(
        &mut self,
        made: &Made,
        init: &Launched,
        user: Option<&str>,
        command: &[&str],
    ) -> (String, i32) {
        let spec = serde_json::json!({"command": command, "tty": false, "user": user});
        let joined = self.join(made, init, &spec.to_string());
        let output = read_all(&joined.console);
        (output, wait(&joined.pidfd))
    }

    pub(crate) fn end(&self, made: &Made, init: Launched) {
        self.kill(made, &init);
        drop(init);
        self.remove(made);
    }

    /// Kills a container with its sessions, and reaps them all: an init ends only after everything
    /// in its PID namespace has been reaped.
    pub(crate) fn kill(&self, made: &Made, init: &Launched) {
        self.cgroups.kill(&made.id).expect("kill");
        let begun = Instant::now();
        loop {
            match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
                Ok(Some((pid, _))) if pid.as_raw_nonzero().get() == init.host_pid.0 => return,
                Ok(Some(_)) => {}
                Ok(None) => std::thread::yield_now(),
                Err(errno) => panic!("init is not among the children: {errno}"),
            }
            assert!(begun.elapsed() < PATIENCE, "init does not end");
        }
    }

    pub(crate) fn remove(&self, made: &Made) {
        self.cgroups.remove(&made.id).expect("no group");
        remove_root(&made.directory).expect("no root");
        let left: Vec<_> = std::fs::read_dir(&made.directory)
            .expect("directory")
            .collect();
        assert!(left.is_empty(), "{left:?}");
        // Sessions that were killed with it are ours to reap.
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    }
}

/// Waits for a child to end; its code as a shell has it.
pub(crate) fn wait(pidfd: &OwnedFd) -> i32 {
    let ready = poll_until(pidfd, PollFlags::IN, Instant::now() + PATIENCE);
    assert!(ready, "a process that was to end did not");
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .expect("waitid")
        .expect("status");
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (_, Some(signal)) => 128 + signal,
        _ => -1,
    }
}

fn poll_until(fd: impl AsFd, flags: PollFlags, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    poll(&mut [PollFd::new(&fd, flags)], Some(&timeout)).expect("poll") > 0
}

/// Everything that a process writes until its end.
pub(crate) fn read_all(console: &Console) -> String {
    let mut text = String::new();
    match console {
        Console::Tty { master } => read_until(master, &mut text, |_| false),
        Console::Pipes { stdout, stderr, .. } => {
            read_until(stdout, &mut text, |_| false);
            read_until(stderr, &mut text, |_| false);
        }
    }
    text
}

/// Reads until what has come satisfies a condition, or the end.
pub(crate) fn read_until(fd: &OwnedFd, text: &mut String, enough: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    while !enough(text) {
        assert!(
            poll_until(fd, PollFlags::IN, deadline),
            "nothing more after {text:?}"
        );
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => return,
            Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
            Err(rustix::io::Errno::AGAIN) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// Types into a terminal or pipe.
pub(crate) fn write(console: &Console, text: &str) {
    let fd = match console {
        Console::Tty { master } => master,
        Console::Pipes { stdin, .. } => stdin,
    };
    File::from(fd.try_clone().expect("dup"))
        .write_all(text.as_bytes())
        .expect("write");
}

pub(crate) fn master(console: &Console) -> &OwnedFd {
    match console {
        Console::Tty { master } => master,
        Console::Pipes { .. } => panic!("no terminal"),
    }
}

pub(crate) fn kill(pidfd: &OwnedFd, signal: i32) {
    signals::send(pidfd, signal).expect("a signal");
}
