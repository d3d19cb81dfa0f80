//! Filters of system calls: loading them, and reading another process's, see seccomp(2) and
//! ptrace(2).

use std::io;

use crate::process::Forked;

/// One instruction of a filter: `struct sock_filter` of `linux/filter.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How far it jumps where its comparison holds.
    pub jt: u8,
    /// How far where it does not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// A filter as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its instructions, at most 4096.
    pub instructions: Vec<Instruction>,
    /// Whether what it refuses is logged (`SECCOMP_FILTER_FLAG_LOG`).
    pub log: bool,
}

/// `struct sock_fprog` of `linux/filter.h`.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    filter: *const Instruction,
}

/// The most instructions that a filter has (`BPF_MAXINSNS`).
const INSTRUCTIONS: usize = 4096;

const FLAG_LOG: u64 = 1 << 1;

/// `PTRACE_*` of `linux/ptrace.h`: libcs differ in their type.
#[derive(Debug, Clone, Copy)]
enum Request {
    Detach = 17,
    Seize = 0x4206,
    Interrupt = 0x4207,
    GetFilter = 0x420c,
    GetMetadata = 0x420d,
}

/// What every confined process of one thread may call: what uses memory and descriptors that it has,
/// tells the time, handles signals and ends it, and opens and looks at files, as far as its root and
/// its other rights let it. Neither clone nor exec, no socket, no namespace, no mount.
pub const BASIC: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
];

/// Loads a filter into this thread for good, on top of those that it has. EACCES without both
/// no_new_privs and CAP_SYS_ADMIN in the own user namespace.
pub fn load(filter: &Filter) -> io::Result<()> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    let length = filter.instructions.len();
    if length > INSTRUCTIONS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let program = Program {
        length: u16::try_from(length).unwrap_or(u16::MAX),
        filter: filter.instructions.as_ptr(),
    };
    let flags = if filter.log { FLAG_LOG } else { 0 };
    // SAFETY: `program` and the instructions, as many as it says, outlive the call, which copies
    // them; `Instruction` has the layout of `sock_filter`.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A process that is traced and stands still until this is dropped, or this process ends.
#[derive(Debug)]
pub struct Stopped {
    pid: libc::pid_t,
    /// A signal that was on its way to it, and has to go on.
    signal: libc::c_int,
}

impl Stopped {
    /// Stops a process for a moment (PTRACE_SEIZE and PTRACE_INTERRUPT: it gets no signal, and its
    /// system call is restarted wherever signal(7) says so). Waits without limit where the
    /// process is frozen by a v1 freezer: only in a child that somebody else kills after a while.
    pub fn at(_forked: &Forked, pid: i32) -> io::Result<Self> {
        request(Request::Seize, pid, 0, 0)?;
        let mut stopped = Self { pid, signal: 0 };
        request(Request::Interrupt, pid, 0, 0)?;
        let mut status = 0;
        loop {
            // SAFETY: `status` outlives the call.
            let answer = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
            if answer == pid {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // Any other stop than the one that was asked for is a signal's delivery.
        if status >> 16 != libc::PTRACE_EVENT_STOP {
            stopped.signal = libc::WSTOPSIG(status);
        }
        Ok(stopped)
    }

    /// Its filter with this number, the oldest being 0; `None` beyond the last. EACCES without
    /// CAP_SYS_ADMIN in the initial user namespace, or from a process that has filters itself.
    pub fn filter(&self, number: usize) -> io::Result<Option<Filter>> {
        let nothing = Instruction {
            code: 0,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let mut instructions = vec![nothing; INSTRUCTIONS];
        let answer = request(
            Request::GetFilter,
            self.pid,
            number,
            // The kernel writes at most BPF_MAXINSNS instructions, which is as many as there are.
            instructions.as_mut_ptr() as usize,
        );
        let length = match answer {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        instructions.truncate(length);
        let mut metadata = [number as u64, 0];
        request(
            Request::GetMetadata,
            self.pid,
            size_of_val(&metadata),
            (&raw mut metadata) as usize,
        )?;
        Ok(Some(Filter {
            instructions,
            log: metadata[1] & FLAG_LOG != 0,
        }))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let signal = usize::try_from(self.signal).unwrap_or(0);
        let _ = request(Request::Detach, self.pid, 0, signal);
    }
}

/// ptrace(2), for the requests above only: `data` is a number, or the address of a buffer that has
/// room for all that the request writes and outlives the call.
fn request(request: Request, pid: libc::pid_t, address: usize, data: usize) -> io::Result<usize> {
    // SAFETY: the callers, all above, keep to what is said there; nothing else is read or written.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            request as libc::c_long,
            pid,
            address,
            data,
        )
    };
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}
