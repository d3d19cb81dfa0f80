//! Porthole's keeper and what it forks, stopped by ptrace(2) at one system call of an operation.
//! Everything stands still there, so that what is killed is killed at that very moment.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use porthole_tests::host;

/// How far below the keeper a process is: the keeper itself, what it has forked, what that has.
pub(super) type Depth = usize;
/// The keeper.
pub(super) const KEEPER: Depth = 0;
/// A monitor or a worker.
pub(super) const WORKER: Depth = 1;
/// An init-to-be, a joiner, an unpacker, nft.
pub(super) const HELPER: Depth = 2;

/// A place in an operation: just after this system call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// What has been reached, in a word or two.
    pub(super) stage: &'static str,
    /// Who makes the call.
    pub(super) who: Depth,
    /// Which.
    pub(super) call: libc::c_long,
    /// What is part of a path that it is about.
    pub(super) about: &'static str,
    /// The how manyth of these.
    pub(super) nth: usize,
}

/// Shorthand for a table of them.
pub(super) const fn moment(
    stage: &'static str,
    who: Depth,
    call: libc::c_long,
    about: &'static str,
    nth: usize,
) -> Moment {
    Moment {
        stage,
        who,
        call,
        about,
        nth,
    }
}

/// Who stands still, the latest of each depth.
pub(super) type Standing = BTreeMap<Depth, i32>;

/// Processes that are stopped at a [`Moment`], from that on until they are let go.
#[derive(Debug)]
pub(super) struct Halt {
    keeper: i32,
    reached: Receiver<Option<Standing>>,
    go: Sender<()>,
    thread: JoinHandle<()>,
}

impl Halt {
    /// Begins to watch these processes and whatever they fork.
    pub(super) fn at(moment: Moment, roots: &[(i32, Depth)]) -> Self {
        let (tell, reached) = channel();
        let (go, going) = channel();
        let (attached, ready) = channel();
        let keeper = roots[0].0;
        let roots = roots.to_vec();
        let thread = std::thread::spawn(move || {
            let mut watch = Watch::attach(moment, &roots);
            attached.send(()).expect("somebody waits");
            let standing = watch.run(&going);
            let found = standing.is_some();
            let _ = tell.send(standing);
            if found {
                let _ = going.recv();
            }
            // The kernel lets everything go that a tracing thread leaves behind.
        });
        ready.recv().expect("attached");
        Self {
            keeper,
            reached,
            go,
            thread,
        }
    }

    /// Who stands still, when the moment has come; `None` where it did not while `work` went on.
    pub(super) fn wait<T>(&self, work: &JoinHandle<T>) -> Option<Standing> {
        let begun = Instant::now();
        loop {
            if let Ok(standing) = self.reached.recv_timeout(Duration::from_millis(5)) {
                return standing;
            }
            // What is done after the answer is a part of the operation.
            if work.is_finished() && begun.elapsed() > Duration::from_secs(3) {
                return None;
            }
            assert!(begun.elapsed() < porthole_tests::PATIENCE, "it hangs");
        }
    }

    /// Lets everything go on.
    pub(super) fn release(self) {
        let _ = self.go.send(());
        // Ignored by whoever is not traced, and what wakes the thread that traces.
        porthole_tests::instance::signal(self.keeper, rustix::process::Signal::WINCH);
        self.thread.join().expect("the thread that traces");
    }
}

struct Watch {
    moment: Moment,
    depths: HashMap<Pid, Depth>,
    /// Those that are in a call that is the one, or would be.
    inside: HashMap<Pid, bool>,
    latest: Standing,
    left: usize,
}

impl Watch {
    fn attach(moment: Moment, roots: &[(i32, Depth)]) -> Self {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK;
        let mut watch = Self {
            moment,
            depths: HashMap::new(),
            inside: HashMap::new(),
            latest: Standing::new(),
            left: moment.nth,
        };
        for &(pid, depth) in roots {
            let raw = Pid::from_raw(pid);
            ptrace::seize(raw, options).expect("seize");
            ptrace::interrupt(raw).expect("interrupt");
            watch.depths.insert(raw, depth);
            watch.latest.insert(depth, pid);
        }
        watch
    }

    /// Goes on until the moment has come, nobody is left or nobody wants to know any more.
    fn run(&mut self, going: &Receiver<()>) -> Option<Standing> {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = match waitpid(None, Some(flags)) {
                Err(Errno::ECHILD) => return None,
                Err(Errno::EINTR) => continue,
                status => status.expect("waitpid"),
            };
            let mut signal = None;
            let pid = status.pid().expect("a process");
            match status {
                WaitStatus::PtraceSyscall(_) => {
                    if self.call(pid) {
                        return Some(self.latest.clone());
                    }
                }
                WaitStatus::Stopped(_, Signal::SIGWINCH) if going.try_recv().is_ok() => {
                    return None;
                }
                WaitStatus::Stopped(_, its) => signal = Some(its),
                WaitStatus::PtraceEvent(..) => {
                    self.depth(pid);
                }
                _ => {
                    self.depths.remove(&pid);
                    continue;
                }
            }
            // One that was killed meanwhile is told about next.
            let _ = ptrace::syscall(pid, signal);
        }
    }

    fn depth(&mut self, pid: Pid) -> Depth {
        if let Some(depth) = self.depths.get(&pid) {
            return *depth;
        }
        let parent = host::parent(pid.as_raw()).map(Pid::from_raw);
        let parent = parent.and_then(|parent| self.depths.get(&parent));
        let depth = parent.map_or(HELPER + 1, |depth| depth + 1);
        self.depths.insert(pid, depth);
        self.latest.insert(depth, pid.as_raw());
        depth
    }

    /// Whether the moment has come with this.
    fn call(&mut self, pid: Pid) -> bool {
        let Ok(info) = ptrace::syscall_info(pid) else {
            return false;
        };
        if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            let is = self.is_meant(pid);
            self.inside.insert(pid, is);
            return false;
        }
        if self.inside.remove(&pid) == Some(true) {
            self.left -= 1;
        }
        self.left == 0
    }

    fn is_meant(&mut self, pid: Pid) -> bool {
        if self.depth(pid) != self.moment.who {
            return false;
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let mut words = text.split_whitespace();
        let number = words.next().and_then(|word| word.parse().ok());
        if number != Some(self.moment.call) {
            return false;
        }
        let about = self.moment.about;
        about.is_empty()
            || words
                .take(2)
                .any(|word| string_at(pid, word).contains(about))
    }
}

/// What a process has at this address, up to its first zero.
fn string_at(pid: Pid, address: &str) -> String {
    let address = u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap_or(0);
    let mut bytes = [0; 400];
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"));
    let read = memory.and_then(|memory| memory.read_at(&mut bytes, address));
    let text = &bytes[..read.unwrap_or(0)];
    let end = text.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]).into_owned()
}
