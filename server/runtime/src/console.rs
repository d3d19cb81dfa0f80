//! What a program reads and writes: a terminal of the container's own devpts, or three pipes.

use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::session::Size;
use porthole_sys::process::{Standard, redirect};
use rustix::fs::{
    FileType, Gid, Mode, OFlags, Uid, fchown, fcntl_setfl, fstat, major, minor, openat,
};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Console;
use crate::account::Account;
use crate::filesystem::is_terminals;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// The far ends: the program's standard descriptors.
#[derive(Debug)]
pub(crate) struct Far {
    input: OwnedFd,
    output: OwnedFd,
    error: OwnedFd,
}

impl Far {
    /// Makes them this process's standard descriptors.
    pub(crate) fn redirect(&self, trace: &mut Recorder) -> Result<(), StepError> {
        trace.step(
            Step::Redirect,
            "dup2(…, 0), dup2(…, 1), dup2(…, 2)",
            || {
                redirect(&self.input, Standard::Input)?;
                redirect(&self.output, Standard::Output)?;
                redirect(&self.error, Standard::Error)
            },
        )
    }
}

/// Both sides of what a program reads and writes.
#[derive(Debug)]
pub(crate) struct Both {
    pub(crate) near: Console,
    pub(crate) far: Far,
    pub(crate) tty_name: Option<String>,
}

/// A terminal of this devpts, opened by descriptor, for this user.
pub(crate) fn terminal(
    terminals: &OwnedFd,
    size: Size,
    account: &Account,
    trace: &mut Recorder,
) -> Result<Both, StepError> {
    let master = trace.step(
        (Step::OpenTerminal, "/dev/pts/ptmx"),
        "openat(devpts, \"ptmx\", O_RDWR|O_NOCTTY|O_NOFOLLOW)",
        || {
            openat(
                terminals,
                "ptmx",
                OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
        },
    )?;
    check_master(&master)?;
    unlockpt(&master).map_err(|errno| StepError::new(Step::OpenTerminal, errno))?;
    let slave = peer(&master, trace)?;
    own(&slave, account, trace)?;
    let window = Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    trace.step(
        Step::ResizeTerminal,
        format!("ioctl(TIOCSWINSZ, {}×{})", size.cols, size.rows),
        || tcsetwinsize(&master, window),
    )?;
    let name =
        ptsname(&master, Vec::new()).map_err(|errno| StepError::new(Step::OpenTerminal, errno))?;
    not_waiting(&master)?;
    let copy = |fd: &OwnedFd| {
        fd.try_clone()
            .map_err(|error| StepError::new(Step::Redirect, error))
    };
    Ok(Both {
        near: Console::Tty { master },
        far: Far {
            output: copy(&slave)?,
            error: copy(&slave)?,
            input: slave,
        },
        tty_name: Some(name.to_string_lossy().into_owned()),
    })
}

/// A master is a character device 5:2 on a devpts, and nothing else is taken for one.
pub(crate) fn check_master(master: &OwnedFd) -> Result<(), StepError> {
    check_device(master)?;
    check_terminals(master)
}

/// Where a devpts is not asked to have its own `ptmx`, as on the machine itself and in containers
/// of other engines, the master may lie outside: the kernel takes the devpts beside it then. Its
/// slave lies on that one.
pub(crate) fn check_pair(master: &OwnedFd, slave: &OwnedFd) -> Result<(), StepError> {
    check_device(master)?;
    check_terminals(slave)
}

fn check_terminals(fd: &OwnedFd) -> Result<(), StepError> {
    match is_terminals(fd) {
        true => Ok(()),
        false => Err(StepError::new(
            (Step::CheckTerminal, "/dev/ptmx"),
            Errno::NXIO,
        )),
    }
}

fn check_device(master: &OwnedFd) -> Result<(), StepError> {
    let refused = |errno| StepError::new((Step::CheckTerminal, "/dev/ptmx"), errno);
    let status = fstat(master).map_err(refused)?;
    let is_ptmx = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && major(status.st_rdev) == 5
        && minor(status.st_rdev) == 2;
    if is_ptmx {
        Ok(())
    } else {
        Err(refused(Errno::NXIO))
    }
}

/// The slave of a master, reached by no path.
pub(crate) fn peer(master: &OwnedFd, trace: &mut Recorder) -> Result<OwnedFd, StepError> {
    trace.step(Step::OpenTerminal, "ioctl(TIOCGPTPEER)", || {
        ioctl_tiocgptpeer(
            master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )
    })
}

/// Gives a terminal or pipe to the user, so that the program may open it by its name again.
pub(crate) fn own(fd: impl AsFd, account: &Account, trace: &mut Recorder) -> Result<(), StepError> {
    if account.uid == 0 {
        return Ok(());
    }
    trace.step(
        Step::OwnTerminal,
        format!("fchown(…, {}, -1)", account.uid),
        || fchown(fd, Some(Uid::from_raw(account.uid)), None::<Gid>),
    )
}

/// Our ends never wait: they are read and written by event loops.
pub(crate) fn not_waiting(fd: impl AsFd) -> Result<(), StepError> {
    let flags =
        rustix::fs::fcntl_getfl(&fd).map_err(|errno| StepError::new(Step::MakePipe, errno))?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
        .map_err(|errno| StepError::new(Step::MakePipe, errno))
}

/// Three pipes for this user.
pub(crate) fn pipes(account: &Account, trace: &mut Recorder) -> Result<Both, StepError> {
    let mut make = |name: &str| {
        let ends = trace.step(
            Step::MakePipe,
            format!("pipe2(O_CLOEXEC) for {name}"),
            || pipe_with(PipeFlags::CLOEXEC),
        )?;
        own(&ends.0, account, trace)?;
        Ok::<_, StepError>(ends)
    };
    let (input, stdin) = make("standard input")?;
    let (stdout, output) = make("standard output")?;
    let (stderr, error) = make("standard error")?;
    for near in [&stdin, &stdout, &stderr] {
        not_waiting(near)?;
    }
    Ok(Both {
        near: Console::Pipes {
            stdin,
            stdout,
            stderr,
        },
        far: Far {
            input,
            output,
            error,
        },
        tty_name: None,
    })
}
