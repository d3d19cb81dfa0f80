//! Making processes and replacing programs, see clone(2) and execveat(2).
//!
//! A process with several threads may do next to nothing between fork and exec; one with a single
//! thread may do anything. [`SingleThreaded`] is the proof that everything here asks for.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The calling process has one thread. Whoever holds it starts none.
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Counts the threads of this process in procfs.
    pub fn verify() -> io::Result<Self> {
        // A directory's link count is 2 and one more for each directory in it: proc(5).
        let threads = std::fs::metadata("/proc/self/task")?
            .nlink()
            .saturating_sub(2);
        if threads == 1 {
            Ok(Self(PhantomData))
        } else {
            Err(io::Error::from(io::ErrorKind::ResourceBusy))
        }
    }
}

/// This process is a child that [`clone`] made: it leaves by exec or exit, never by returning.
#[derive(Debug)]
pub struct Forked(PhantomData<*const ()>);

impl Forked {
    /// A forked child has one thread.
    pub fn single_threaded(&self) -> SingleThreaded {
        SingleThreaded(PhantomData)
    }

    /// Closes every descriptor above the three standard ones but these.
    ///
    /// Values that own the closed ones stay behind, and are never dropped: this process does not
    /// return.
    pub fn close_all_but(&self, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut kept: Vec<u32> = kept
            .iter()
            .map(|fd| fd.as_raw_fd().cast_unsigned())
            .filter(|fd| *fd > 2)
            .collect();
        kept.sort_unstable();
        let mut first = 3;
        for fd in kept {
            if fd > first {
                close_range(first, fd - 1, 0)?;
            }
            first = fd + 1;
        }
        close_range(first, u32::MAX, 0)
    }
}

/// Marks every descriptor above the three standard ones to be closed by exec.
pub fn close_all_on_exec() -> io::Result<()> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: no memory is involved. Descriptors are closed only by `Forked::close_all_but`, in a
    // process that never returns to whoever owns them.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How a child is to be made.
#[derive(Debug, Default, Clone, Copy)]
pub struct Clone<'a> {
    /// `CLONE_NEW*` of the namespaces that it is born into.
    pub namespaces: u64,
    /// The directory of a group of the cgroup2 tree that it is born into.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it is to be a child of the caller's parent.
    pub sibling: bool,
}

/// A child. It stays a zombie until it is waited for.
#[derive(Debug)]
pub struct Child {
    /// Its number in the caller's PID namespace.
    pub pid: i32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
}

/// `struct clone_args` of `linux/sched.h`, version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child that runs `body` on a copy of this process's memory. A panic of it ends the child
/// with status 101.
pub fn clone(
    _alone: SingleThreaded,
    how: &Clone<'_>,
    body: impl FnOnce(Forked) -> Infallible,
) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: how.namespaces | libc::CLONE_PIDFD.cast_unsigned() as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if how.sibling {
        // The kernel takes the caller's own exit signal then, and refuses one given here.
        args.flags |= libc::CLONE_PARENT as u64;
        args.exit_signal = 0;
    }
    if let Some(cgroup) = how.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` and `pidfd` outlive the call. Without CLONE_VM and CLONE_FILES the child has
    // its own copy of memory and descriptors, so that ownership on either side stays whole; with
    // one thread (`SingleThreaded`) no lock is held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        let _ = catch_unwind(AssertUnwindSafe(|| body(Forked(PhantomData))));
        exit(101);
    }
    // SAFETY: clone3 has stored a new descriptor here that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child {
        pid: i32::try_from(pid).unwrap_or(i32::MAX),
        pidfd,
    })
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes a child by fork(2), as [`clone`] does, where a filter refuses clone3(2): in a process
/// that has confined itself. The child is in the PID namespace that the caller's children go to.
pub fn fork(_alone: SingleThreaded, body: impl FnOnce(Forked) -> Infallible) -> io::Result<Child> {
    // SAFETY: with one thread (`SingleThreaded`) the child lacks no thread that holds a lock.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        let _ = catch_unwind(AssertUnwindSafe(|| body(Forked(PhantomData))));
        exit(101);
    }
    // Nobody waits for it meanwhile, so the number is still its own.
    let number = rustix::process::Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())?;
    Ok(Child { pid, pidfd })
}

/// Ends this process at once: no destructor, no buffer is flushed, no handler runs.
pub fn exit(status: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(status) }
}

/// What a program is started with.
#[derive(Debug, Default)]
pub struct Words {
    /// Its arguments, its own name first.
    pub arguments: Vec<CString>,
    /// Its environment, `NAME=value`.
    pub environment: Vec<CString>,
}

impl Words {
    /// Both as the kernel takes them: pointers, valid as long as these words, and a null one behind
    /// them. They are mutable in C's declarations only.
    fn pointers(&self) -> (Vec<*mut libc::c_char>, Vec<*mut libc::c_char>) {
        let pointers = |list: &[CString]| {
            list.iter()
                .map(|word| word.as_ptr().cast_mut())
                .chain([std::ptr::null_mut()])
                .collect()
        };
        (pointers(&self.arguments), pointers(&self.environment))
    }
}

/// Replaces this program by the one that `file` is open on. Answers only where that failed.
///
/// For a script (`#!`) the descriptor may not be close-on-exec, or its interpreter cannot open it.
pub fn execute(file: impl AsFd, words: &Words) -> io::Error {
    let (arguments, environment) = words.pointers();
    // SAFETY: both arrays end with a null pointer, and their strings live in `words` beyond the
    // call; the path is a literal.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Replaces this program by the one at `path`. Answers only where that failed.
pub fn execute_path(path: &std::ffi::CStr, words: &Words) -> io::Error {
    let (arguments, environment) = words.pointers();
    // SAFETY: as in `execute`; `path` ends with a NUL byte and outlives the call.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.as_ptr().cast(),
            environment.as_ptr().cast(),
        );
    }
    io::Error::last_os_error()
}

/// Starts the program at `path` as leader of a session of processes of its own, with this process's
/// standard descriptors, by posix_spawn(3): no memory is copied. Answers its PID, or why the kernel
/// did not execute it.
pub fn spawn_leader(path: &std::ffi::CStr, words: &Words) -> io::Result<i32> {
    /// Neither libc crate nor headers of all versions have it; both glibc and musl do.
    const POSIX_SPAWN_SETSID: libc::c_short = 0x80;
    let (arguments, environment) = words.pointers();
    let mut attributes = std::mem::MaybeUninit::<libc::posix_spawnattr_t>::uninit();
    let mut pid = 0;
    // SAFETY: `attributes` is initialised before anything reads it and destroyed once; both arrays
    // end with a null pointer, and their strings, which are not written to, live in `words` beyond
    // the call, as does `path`.
    let error = unsafe {
        match libc::posix_spawnattr_init(attributes.as_mut_ptr()) {
            0 => {
                libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), POSIX_SPAWN_SETSID);
                let error = libc::posix_spawn(
                    &raw mut pid,
                    path.as_ptr(),
                    std::ptr::null(),
                    attributes.as_ptr(),
                    arguments.as_ptr(),
                    environment.as_ptr(),
                );
                libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
                error
            }
            error => error,
        }
    };
    match error {
        0 => Ok(pid),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Leaves the session keyring that was inherited for a new, empty one, see keyctl(2).
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no other memory is involved.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes `fd` the standard descriptor `standard` (0, 1 or 2), which stays open over exec.
pub fn redirect(fd: impl AsFd, standard: Standard) -> io::Result<()> {
    match standard {
        Standard::Input => rustix::stdio::dup2_stdin(fd)?,
        Standard::Output => rustix::stdio::dup2_stdout(fd)?,
        Standard::Error => rustix::stdio::dup2_stderr(fd)?,
    }
    Ok(())
}

/// One of the three descriptors that every program expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// 0
    Input,
    /// 1
    Output,
    /// 2
    Error,
}

/// Takes the descriptor with this number, which an earlier program of this process has left open
/// for this one.
///
/// Answers `None` where nothing is open there. Each number may be taken once, at the start of a
/// program: that it is nobody else's is what the caller's command line promises.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: the number is only asked about, and the borrow ends here.
    let open = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).is_ok();
    // SAFETY: it is open, and by the contract above this is the only one who takes it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_told() {
        // libtest runs each test in a thread of its own.
        assert!(SingleThreaded::verify().is_err());
    }

    #[test]
    fn nothing_is_inherited_at_a_closed_number() {
        assert!(inherited(9999).is_none());
        assert!(inherited(1).is_none());
    }
}
