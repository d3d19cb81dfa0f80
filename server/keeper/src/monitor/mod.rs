//! A monitor: one process for each that was started in a container.
//!
//! It is forked by the keeper, starts what it is to watch, and holds its terminal or pipes until
//! everything that came out of them is in the journal. It outlives the keeper and the server, and
//! is found by its socket `RUN/m/<32 digits>`. It reads nothing that a container wrote: output goes
//! from descriptor to descriptor.

mod begin;
mod exit;
pub(crate) mod foreign;
mod group;
mod output;
mod watch;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::SigSet;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::monitor::FromMonitor;
use porthole_protocol::namespace::PerNamespace;
use porthole_protocol::session::{Foreign, Target};
use porthole_protocol::trace::Actor;
use porthole_runtime::{Bridge, Cgroups, Images, Recorder};
use porthole_sys::packet::{Listener, Packet};
use porthole_sys::process::{Child, Clone, SingleThreaded, Standard, redirect};
use rustix::process::{DumpableBehavior, set_child_subreaper, set_dumpable_behavior};

use self::begin::{Begun, begin, output};
use self::watch::{Watch, Watched};
use crate::ledger::{Config, Joining, Run};
use crate::log::log;
use crate::settings::Places;
use crate::{program, store};

/// What monitors stand on; the keeper's.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) places: Places,
    pub(crate) images: Images,
    pub(crate) cgroups: Cgroups,
    /// Sealed copy of this program, which PID 1 of a container runs.
    pub(crate) program: OwnedFd,
    /// What containers can be connected to.
    pub(crate) bridge: Option<Bridge>,
}

/// What a monitor is to start.
#[derive(Debug)]
pub(crate) enum Assignment<'a> {
    Container {
        config: &'a Config,
        /// pidfds of the containers whose namespaces it shares.
        shared: PerNamespace<Option<OwnedFd>>,
        /// Its number on the bridge, where it is to be connected.
        network: Option<u32>,
    },
    Session {
        joining: &'a Joining,
        config: &'a Config,
        run: &'a Run,
    },
    /// A session in another engine's container.
    Foreign {
        joining: &'a Joining,
        foreign: &'a Foreign,
        /// Whether policy allows one that holds hardly anything back.
        privileged: bool,
    },
}

impl Assignment<'_> {
    fn target(&self) -> Target {
        match self {
            Self::Container { config, .. } => Target::Init(config.id.clone()),
            Self::Session { joining, .. } | Self::Foreign { joining, .. } => {
                Target::Session(joining.session.clone())
            }
        }
    }
}

/// The name of a monitor's socket below `RUN/m`.
pub(crate) fn socket_name(target: &Target) -> &str {
    match target {
        Target::Init(id) => &id.as_str()[..32],
        Target::Session(id) => id.as_str(),
    }
}

/// Where a monitor listens.
pub(crate) fn socket(places: &Places, target: &Target) -> PathBuf {
    places.monitors().join(socket_name(target))
}

/// Where a target's records are.
pub(crate) fn directory(places: &Places, target: &Target) -> PathBuf {
    match target {
        Target::Init(id) => places.containers().join(id.as_str()),
        Target::Session(id) => places.sessions().join(id.as_str()),
    }
}

/// Forks a monitor. The answer is the connection to it, and the process.
pub(crate) fn fork(
    ground: &Ground,
    assignment: &Assignment<'_>,
    journal: &OwnedFd,
    index: &OwnedFd,
) -> io::Result<(Packet, Child)> {
    let alone = SingleThreaded::verify()?;
    let (ours, its) = Packet::pair(true)?;
    // Before it is forked: from its first moment on another keeper would find it.
    let socket = socket(&ground.places, &assignment.target());
    let listener = listen(&socket)?;
    let child = porthole_sys::process::clone(alone, &Clone::default(), |forked| {
        let mut kept = vec![
            its.as_fd(),
            listener.as_fd(),
            journal.as_fd(),
            index.as_fd(),
            ground.program.as_fd(),
        ];
        kept.extend(ground.cgroups.descriptors());
        if let Assignment::Container { shared, .. } = assignment {
            kept.extend(
                shared
                    .iter()
                    .filter_map(|(_, fd)| fd.as_ref().map(AsFd::as_fd)),
            );
        }
        let descriptors = Descriptors {
            keeper: &its,
            listener: &listener,
            journal,
            index,
        };
        let outcome = forked
            .close_all_but(&kept)
            .and_then(|()| monitor(ground, assignment, &descriptors));
        // Nobody may find it once the keeper takes note of this process's end.
        let _ = std::fs::remove_file(&socket);
        if let Err(error) = &outcome {
            log!("monitor", "{error}");
        }
        porthole_sys::process::exit(i32::from(outcome.is_err()))
    });
    if child.is_err() {
        let _ = std::fs::remove_file(&socket);
    }
    Ok((ours, child?))
}

/// What a monitor inherits.
struct Descriptors<'a> {
    keeper: &'a Packet,
    listener: &'a Listener,
    journal: &'a OwnedFd,
    index: &'a OwnedFd,
}

/// Answers what has to stay open until this process ends.
fn monitor(
    ground: &Ground,
    assignment: &Assignment<'_>,
    inherited: &Descriptors<'_>,
) -> io::Result<Option<Packet>> {
    let target = assignment.target();
    detach(&ground.places, &target)?;
    let directory = directory(&ground.places, &target);
    let keeper = Packet::from_fd(inherited.keeper.as_fd().try_clone_to_owned()?)?;
    let listener = Listener::from_fd(inherited.listener.as_fd().try_clone_to_owned()?)?;
    listener.make_own()?;
    let mut trace = Recorder::new(Actor::Monitor);
    let found = foreign::find_group(ground, assignment, &directory);
    let of_foreign = found.as_ref().ok().and_then(Option::as_ref);
    let group = foreign::group_of(ground, assignment, of_foreign);
    let begun = match &found {
        Ok(found) => begin(ground, assignment, found.as_ref(), &mut trace),
        Err(failure) => Err(failure.clone()),
    };
    // Without it only a page is empty.
    if let Err(error) = store::replace(&directory.join("trace.json"), &trace.into_trace()) {
        log!("monitor", "trace.json: {error}");
    }
    let watched = begun.and_then(|begun| {
        let Begun {
            pidfd,
            console,
            started,
            size,
            last_word,
            container,
            attached,
        } = begun;
        let output = output(console, size, inherited.journal, inherited.index)?;
        Ok(Watched {
            socket: socket(&ground.places, &target),
            target,
            started,
            pidfd,
            last_word,
            container,
            attached,
            output,
            directory: directory.clone(),
            group,
        })
    });
    let keeper = match watched {
        Ok(watched) => Watch::new(watched, listener, keeper)?.run()?,
        Err(failure) => {
            let _ = group.kill();
            let failed = FromMonitor::Failed(failure.clone());
            if !watch::send(&keeper, &failed) {
                // The next keeper reads it.
                let _ = store::replace(&directory.join("failure.json"), &failure);
            }
            Some(keeper)
        }
    };
    if group.left_behind() == 0 {
        porthole_runtime::remove_toolbox(&directory);
    }
    if let Err(failure) = group.remove() {
        log!("monitor", "{failure}");
    }
    Ok(keeper)
}

/// Becomes a process of its own: neither a terminal's end nor a keeper's reaches it.
fn detach(places: &Places, target: &Target) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::thread::set_name(c"porthole-monitor")?;
    // With as much of the target's id as fits over the keeper's command line.
    // Where that cannot be done, a page shows another word.
    let _ = program::rename(&["porthole-monitor", &socket_name(target)[..5]]);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // What the joiner starts is left to us.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::umask(rustix::fs::Mode::from_bits_retain(0o077));
    SigSet::empty().thread_set_mask()?;
    let nothing = std::fs::File::open("/dev/null")?;
    redirect(&nothing, Standard::Input)?;
    // Not the keeper's standard error, which would stay open for as long as a container runs.
    use std::os::unix::fs::OpenOptionsExt;
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(places.monitors_log())?;
    redirect(&log, Standard::Output)?;
    redirect(&log, Standard::Error)
}

fn listen(socket: &Path) -> io::Result<Listener> {
    // A monitor that was killed leaves its socket; none is started while another lives.
    let _ = std::fs::remove_file(socket);
    Listener::bind(socket)
}

/// A failure of this program's own input and output.
pub(crate) fn io_failure(error: &io::Error, what: &str) -> Failure {
    use rustix::io::Errno;
    let errno = error.raw_os_error();
    let is = |known: &[Errno]| {
        errno.is_some_and(|errno| known.contains(&Errno::from_raw_os_error(errno)))
    };
    let code = if is(&[Errno::NOSPC, Errno::DQUOT, Errno::ROFS]) {
        FailureCode::Storage
    } else if is(&[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN]) {
        FailureCode::Exhausted
    } else {
        FailureCode::Internal
    };
    let mut failure = Failure::new(code, format!("{what}: {error}")).stage(Stage::Monitor);
    failure.errno = errno;
    failure
}
