//! The way from the machine into a container, as far as its init and whoever joins it later go it
//! alike.

use std::os::fd::{BorrowedFd, OwnedFd};

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_sys::process::{Forked, new_session_keyring};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};

use crate::cgroup::Entrance;
use crate::program;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// Gives up what is the machine's: comes first, before any namespace is entered.
pub(crate) fn leave_the_machine(
    entrance: &Entrance,
    kept: &[BorrowedFd<'_>],
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<(), StepError> {
    not_dumpable(trace)?;
    trace.step(
        Step::NewKeyring,
        "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)",
        || match new_session_keyring() {
            // A kernel without keys has none to inherit.
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => Ok(()),
            answer => answer,
        },
    )?;
    join_groups(entrance, trace)?;
    trace.step(Step::CloseInherited, "close_range(3, ~0, 0)", || {
        forked.close_all_but(kept)
    })
}

/// Nobody whose PID namespace it comes into may look into it before it runs the command
/// (CVE-2016-9962).
///
/// Again after each change of ids, and after entering a user namespace: the kernel then sets what
/// `fs.suid_dumpable` says (commit_creds() in kernel/cred.c), which may be 1.
pub(crate) fn not_dumpable(trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(Step::NotDumpable, "prctl(PR_SET_DUMPABLE, 0)", || {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
    })
}

/// Joins the v1 groups: of the cgroup2 tree's it has been born into its own.
fn join_groups(entrance: &Entrance, trace: &mut Recorder) -> Result<(), StepError> {
    for (path, tasks) in &entrance.tasks {
        trace.step(
            (Step::JoinCgroup, path),
            format!("write({path:?}, \"0\")"),
            || rustix::io::write(tasks, b"0"),
        )?;
    }
    Ok(())
}

/// Is in none of the machine's groups any more.
pub(crate) fn clear_groups(trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(Step::ClearGroups, "setgroups([])", || {
        rustix::thread::set_thread_groups(&[])
    })
}

/// Becomes the first ids of the container's map: those outside it mean nothing in there.
pub(crate) fn become_root(trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(Step::BecomeRoot, "setresgid(0, 0, 0)", || {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
    })?;
    trace.step(Step::BecomeRoot, "setresuid(0, 0, 0)", || {
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
    })?;
    not_dumpable(trace)
}

/// Makes a directory that an image names as its working directory, with those that lead there, where
/// they are missing. As the container's root, in the container's own root directory: a link leads to
/// what it leads to in there.
pub(crate) fn make_workdir(
    root: &OwnedFd,
    path: &str,
    trace: &mut Recorder,
) -> Result<(), Failure> {
    // Not the keeper's own, which lets nobody else in.
    rustix::process::umask(Mode::from_bits_truncate(0o022));
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut parent = openat2(root, ".", directory, Mode::empty(), resolve)
        .map_err(|errno| StepError::new((Step::OpenWorkdir, "/"), errno))?;
    let mut reached = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        reached.push('/');
        reached.push_str(name);
        let open = || openat2(root, reached.as_str(), directory, Mode::empty(), resolve);
        parent = match open() {
            Ok(found) => found,
            Err(Errno::NOENT) => {
                trace.step(
                    (Step::MakeWorkdir, &reached),
                    format!("mkdirat(…, {name:?}, 0755)"),
                    || mkdirat(&parent, name, Mode::from_bits_truncate(0o755)),
                )?;
                open().map_err(|errno| StepError::new((Step::OpenWorkdir, &reached), errno))?
            }
            // What is there instead is told when it is entered.
            Err(_) => return Ok(()),
        };
    }
    Ok(())
}

/// Enters the working directory as the user who is going to work there.
pub(crate) fn enter_workdir(
    root: &OwnedFd,
    path: Option<&str>,
    trace: &mut Recorder,
) -> Result<(), Failure> {
    let path = path.unwrap_or("/");
    let entered = trace
        .step(
            (Step::OpenWorkdir, path),
            format!(
                "openat2(root, {path:?}, O_PATH|O_DIRECTORY, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS)"
            ),
            || program::open_directory(root, path),
        )
        .and_then(|directory| {
            trace.step((Step::EnterWorkdir, path), "fchdir(workdir)", || {
                rustix::process::fchdir(&directory)
            })
        });
    entered.map_err(|error| {
        let errno = Errno::from_raw_os_error(error.errno);
        let what = match errno {
            Errno::NOENT => "does not exist in the container".to_owned(),
            Errno::NOTDIR => "is no directory".to_owned(),
            Errno::ACCESS => "may not be entered by this user".to_owned(),
            errno => format!("cannot be entered: {errno}"),
        };
        Failure::new(
            FailureCode::Invalid,
            format!("the working directory {path} {what}"),
        )
        .field("workdir")
        .stage(Stage::Exec)
        .errno(error.errno)
    })
}
