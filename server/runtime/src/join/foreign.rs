//! Joining a container that Porthole did not make: what its own engine's exec would do.

use std::os::fd::OwnedFd;
use std::path::Path;

use porthole_protocol::id::{HostPid, SessionId};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::{NamespaceSet, NamespaceType};
use porthole_protocol::session::{Aspect, FidelityLine, Foreign, SessionSpec};
use porthole_protocol::trace::Actor;
use porthole_sys::process::SingleThreaded;
use porthole_sys::seccomp::Filter;
use porthole_sys::signals;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::joiner::{Abroad, Whose};
use super::{Identity, Joined, Place, Visit, gone, identify, joins_nothing, start};
use crate::foreign::danger::{Directory, Guard, Machine};
use crate::foreign::facts::Facts;
use crate::foreign::fidelity::Comparison;
use crate::foreign::filters::{self, Cache, Unread};
use crate::foreign::manner::{Manner, Own};
use crate::foreign::{danger, toolbox};
use crate::step::{Step, StepError};
use crate::{ForeignGroup, Images, Recorder, observe};

/// What is needed to run something in a container that Porthole did not make.
#[derive(Debug)]
pub struct JoinForeign<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// What to run.
    pub spec: &'a SessionSpec,
    /// The container.
    pub foreign: &'a Foreign,
    /// Its group there, which is made here and must be removed by the caller, also after a failure.
    pub group: &'a ForeignGroup,
    /// Whether a container that holds hardly anything back may be joined.
    pub privileged: bool,
    /// The images, for a toolbox.
    pub images: &'a Images,
    /// The session's own directory, which exists.
    pub directory: &'a Path,
    /// Where filters that have been read are kept: a directory of root's that is made if it is not
    /// there, and emptied at boot.
    pub cache: &'a Path,
}

/// What was read of init.
struct Read {
    facts: Facts,
    filters: Result<Vec<Filter>, Unread>,
    own: Facts,
    host: NamespaceSet,
    /// Its mounts.
    mounts: String,
}

/// Runs a command in another engine's container. Called in the session's monitor, as
/// [`join`](super::join).
pub fn join_foreign(join: &JoinForeign<'_>, trace: &mut Recorder) -> Result<Joined, Failure> {
    crate::confinement::prepare();
    let alone =
        SingleThreaded::verify().map_err(|error| StepError::new(Step::CountThreads, error))?;
    check_frozen(join.group)?;
    let pid = join.foreign.pid;
    let identity = Identity {
        host_pid: pid,
        start_ticks: join.foreign.start_ticks,
        namespaces: &join.foreign.namespaces,
    };
    let target = identify(identity, trace)?;
    let root = open_root(pid, trace)?;
    let read = read(join, alone, trace)?;
    // What was opened and read was this process's if it is there still.
    let again = observe::namespaces(pid).ok();
    let there =
        signals::send(&target, 0).is_ok() && again.as_ref() == Some(&join.foreign.namespaces);
    if !there {
        return Err(gone("its init has ended"));
    }
    if !join.group.holds(pid) {
        return Err(Failure::new(
            FailureCode::WrongState,
            "the container's first process was moved to other control groups meanwhile; try again",
        )
        .stage(Stage::Identity));
    }
    let place = Place {
        spec: join.spec,
        namespaces: &join.foreign.namespaces,
    };
    let left_out = place.left_out(&read.host);
    let (guard, open) = check_danger(join, &read, &root, &left_out, trace)?;
    let manner = Manner::of(
        &read.facts,
        &read.filters,
        join.spec,
        left_out,
        &Own::of(&read.own),
    );
    let fidelity = compare(join, &read, &manner, open.as_deref())?;
    let mut home = None;
    let mut overlays = None;
    if let Some(wanted) = &join.foreign.toolbox {
        let own_users = join.foreign.namespaces.user != read.host.user;
        let made = toolbox::make(
            alone,
            &wanted.image,
            join.images,
            join.directory,
            (pid, &read.facts),
            own_users,
            trace,
        )?;
        overlays = Some(made.0);
        home = Some(made.1);
    }
    // Back to the machine's mounts: the joiner begins there.
    drop(home);
    let abroad = Abroad {
        manner,
        root,
        guard,
        overlays,
    };
    join.group.create()?;
    let entrance = join.group.entrance()?;
    let visit = Visit {
        place,
        whose: Whose::Foreign(&abroad),
    };
    let mut joined = start(&visit, &entrance, alone, target, trace)?;
    joined.fidelity = fidelity;
    Ok(joined)
}

fn check_frozen(group: &ForeignGroup) -> Result<(), Failure> {
    if group.is_frozen() {
        return Err(Failure::new(
            FailureCode::WrongState,
            "the container is paused: a process that joins it would stand still too, and what filters its system calls cannot be read; unpause it first",
        )
        .stage(Stage::Identity));
    }
    Ok(())
}

/// A process that is ending has no root directory, no groups and no limits any more.
fn of_init(error: StepError) -> Failure {
    if error.is(Errno::NOENT) || error.is(Errno::SRCH) {
        gone("its init is ending")
    } else {
        error.into()
    }
}

fn open_root(pid: HostPid, trace: &mut Recorder) -> Result<OwnedFd, Failure> {
    let path = format!("/proc/{pid}/root");
    let opened = trace.step(
        (Step::OpenRoot, &path),
        format!("open({path:?}, O_PATH|O_DIRECTORY)"),
        || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            open(path.as_str(), flags, Mode::empty())
        },
    );
    opened.map_err(of_init)
}

fn read(
    join: &JoinForeign<'_>,
    alone: SingleThreaded,
    trace: &mut Recorder,
) -> Result<Read, Failure> {
    let pid = join.foreign.pid;
    let facts = Facts::read(pid).map_err(of_init)?;
    let filters = match facts.status.seccomp {
        2 => filters::read(
            alone,
            pid,
            join.foreign.start_ticks,
            facts.status.filters,
            Cache(join.cache),
        ),
        _ => Ok(Vec::new()),
    };
    let own_pid = HostPid(std::process::id().cast_signed());
    trace.seen(
        Actor::Monitor,
        Some(own_pid),
        format!("read(\"/proc/{pid}/…\"): status, limits, environ, id maps, label"),
        0,
    );
    if let Ok(filters) = &filters
        && !filters.is_empty()
    {
        trace.seen(
            Actor::Monitor,
            Some(own_pid),
            format!("ptrace(PTRACE_SECCOMP_GET_FILTER, {pid}), or as read before"),
            i64::try_from(filters.len()).unwrap_or(i64::MAX),
        );
    }
    let file = format!("/proc/{pid}/mountinfo");
    let mounts = std::fs::read(&file)
        .map_err(|error| of_init(StepError::new((Step::ReadProcess, file), error)))?;
    Ok(Read {
        facts,
        filters,
        mounts: String::from_utf8_lossy(&mounts).into_owned(),
        own: Facts::read(own_pid)?,
        host: observe::namespaces(own_pid)?,
    })
}

/// Answers what is still to be looked at in the container itself, `None` where everything may be; and
/// where root allows it, why the container holds hardly anything back.
fn check_danger(
    join: &JoinForeign<'_>,
    read: &Read,
    root: &OwnedFd,
    left_out: &[NamespaceType],
    trace: &mut Recorder,
) -> Result<(Option<Guard>, Option<String>), Failure> {
    let namespaces = &join.foreign.namespaces;
    if namespaces == &read.host {
        return Err(Failure::new(
            FailureCode::Forbidden,
            "this process is in none but the machine's own namespaces: a session there would be a shell of the machine's",
        )
        .stage(Stage::Identity));
    }
    let own = NamespaceType::ALL
        .into_iter()
        .filter(|kind| namespaces.get(*kind) != read.host.get(*kind))
        .count();
    if own == left_out.len() {
        return Err(joins_nothing());
    }
    // Whoever leaves some of its own out is confined by Porthole's own measure.
    if !left_out.is_empty() {
        return Ok((None, None));
    }
    let failed = |errno| StepError::new((Step::OpenRoot, "/"), errno);
    let machines = Directory::root().map_err(failed)?;
    let sockets = match namespaces.net == read.host.net {
        true => unix_sockets()?,
        false => String::new(),
    };
    let machine = Machine {
        // Be it in a mount namespace of somebody's own.
        shares_root: Directory::of(root).map_err(failed)? == machines,
        sockets: &sockets,
    };
    let (facts, host) = (&read.facts, &read.host);
    match danger::reason(facts, namespaces, host, &machine, &read.mounts) {
        why if join.privileged => Ok((None, why)),
        None => {
            let is_root = danger::is_machines_root(facts, namespaces, host);
            let guard = Guard::new(machines, facts, is_root, trace)?;
            Ok((Some(guard), None))
        }
        Some(why) => Err(danger::refusal(&why)),
    }
}

/// Those of the network namespace that Porthole is in, as proc_pid_net(5) has them.
fn unix_sockets() -> Result<String, StepError> {
    let file = "/proc/self/net/unix";
    let bytes =
        std::fs::read(file).map_err(|error| StepError::new((Step::ReadProcess, file), error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines, where nothing in them is refused.
fn compare(
    join: &JoinForeign<'_>,
    read: &Read,
    manner: &Manner,
    open: Option<&str>,
) -> Result<Vec<FidelityLine>, Failure> {
    let comparison = Comparison {
        facts: &read.facts,
        filters: &read.filters,
        manner,
        spec: join.spec,
        missing: join.group.missing(),
        cgroup: join.group.container_path(),
        open,
    };
    let lines = comparison.lines();
    let refused = comparison.refused(&lines);
    if refused.is_empty() {
        return Ok(lines);
    }
    let names: Vec<_> = refused.into_iter().map(Aspect::name).collect();
    let names = names.join(", ");
    let mut failure = Failure::new(
        FailureCode::LessConfined,
        format!(
            "the session would be, or may be, less confined than its container: {names}; see the lines, and ask again with what you accept"
        ),
    )
    .field("accept")
    .stage(Stage::Confine);
    failure.fidelity = lines.into();
    Err(failure)
}
