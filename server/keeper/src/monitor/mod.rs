//! A monitor: one process for each that was started in a container.
//!
//! It is forked by the keeper, starts what it is to watch, and holds its terminal or pipes until
//! everything that came out of them is in the journal. It outlives the keeper and the server, and
//! is found by its socket `RUN/m/<32 digits>`. It reads nothing that a container wrote: output goes
//! from descriptor to descriptor.

mod exit;
mod group;
mod output;
mod watch;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::SigSet;
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid};
use porthole_protocol::journal::Mark;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::monitor::{FromMonitor, Started};
use porthole_protocol::namespace::{NamespaceSet, PerNamespace};
use porthole_protocol::session::{Session, Size, Target};
use porthole_protocol::trace::Actor;
use porthole_runtime::{Cgroups, Console, Images, Join, LastWord, Launch, Recorder};
use porthole_sys::packet::{Listener, Packet};
use porthole_sys::process::{Child, Clone, SingleThreaded, Standard, redirect};
use rustix::process::{DumpableBehavior, set_child_subreaper, set_dumpable_behavior};

use self::group::Group;
use self::output::Output;
use self::watch::{Watch, Watched};
use crate::ledger::{Config, Joining, Run};
use crate::log::log;
use crate::settings::Places;
use crate::{clock, program, store};

/// What monitors stand on; the keeper's.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) places: Places,
    pub(crate) images: Images,
    pub(crate) cgroups: Cgroups,
    /// Sealed copy of this program, which PID 1 of a container runs.
    pub(crate) program: OwnedFd,
}

/// What a monitor is to start.
#[derive(Debug)]
pub(crate) enum Assignment<'a> {
    Container {
        config: &'a Config,
        /// pidfds of the containers whose namespaces it shares.
        shared: PerNamespace<Option<OwnedFd>>,
    },
    Session {
        joining: &'a Joining,
        config: &'a Config,
        run: &'a Run,
    },
}

impl Assignment<'_> {
    fn target(&self) -> Target {
        match self {
            Self::Container { config, .. } => Target::Init(config.id.clone()),
            Self::Session { joining, .. } => Target::Session(joining.session.clone()),
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

/// What was started.
struct Begun {
    pidfd: OwnedFd,
    console: Console,
    started: Started,
    size: Size,
    last_word: Option<LastWord>,
}

fn monitor(
    ground: &Ground,
    assignment: &Assignment<'_>,
    inherited: &Descriptors<'_>,
) -> io::Result<()> {
    let target = assignment.target();
    detach(&ground.places, &target)?;
    let (container, session) = match assignment {
        Assignment::Container { config, .. } => (&config.id, None),
        Assignment::Session {
            joining, config, ..
        } => (&config.id, Some(&joining.session)),
    };
    let group = Group {
        cgroups: &ground.cgroups,
        container,
        session,
    };
    let directory = directory(&ground.places, &target);
    let keeper = Packet::from_fd(inherited.keeper.as_fd().try_clone_to_owned()?)?;
    let listener = Listener::from_fd(inherited.listener.as_fd().try_clone_to_owned()?)?;
    listener.make_own()?;
    let mut trace = Recorder::new(Actor::Monitor);
    let begun = begin(ground, assignment, container, &mut trace);
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
        } = begun;
        let output = output(console, size, inherited.journal, inherited.index)?;
        Ok(Watched {
            target,
            started,
            pidfd,
            last_word,
            output,
            directory: directory.clone(),
            group,
        })
    });
    match watched {
        Ok(watched) => {
            let watch = Watch::new(watched, listener, keeper)?;
            // What starting has taken is not needed for watching, which is most of this
            // process's life. Where the kernel keeps it, that is all.
            let _ = porthole_sys::memory::let_go_of_instructions();
            watch.run()?;
        }
        Err(failure) => {
            let _ = group.kill();
            let failed = FromMonitor::Failed(failure.clone());
            if !watch::send(&keeper, &failed) {
                // The next keeper reads it.
                let _ = store::replace(&directory.join("failure.json"), &failure);
            }
        }
    }
    if let Err(failure) = group.remove() {
        log!("monitor", "{failure}");
    }
    Ok(())
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
        .open(places.keeper().join("monitors.log"))?;
    redirect(&log, Standard::Output)?;
    redirect(&log, Standard::Error)
}

fn listen(socket: &Path) -> io::Result<Listener> {
    // A monitor that was killed leaves its socket; none is started while another lives.
    let _ = std::fs::remove_file(socket);
    Listener::bind(socket)
}

fn begin(
    ground: &Ground,
    assignment: &Assignment<'_>,
    container: &ContainerId,
    trace: &mut Recorder,
) -> Result<Begun, Failure> {
    match assignment {
        Assignment::Container { config, shared } => {
            ground.cgroups.create(container, &config.spec.limits)?;
            launch(ground, config, shared, trace)
        }
        Assignment::Session {
            joining,
            config,
            run,
        } => {
            ground.cgroups.create_session(container, &joining.session)?;
            join(ground, joining, config, run, trace)
        }
    }
}

fn launch(
    ground: &Ground,
    config: &Config,
    shared: &PerNamespace<Option<OwnedFd>>,
    trace: &mut Recorder,
) -> Result<Begun, Failure> {
    let mut copies = PerNamespace::build(|_| None);
    for (kind, fd) in shared.iter() {
        if let Some(fd) = fd {
            let copy = fd
                .try_clone()
                .map_err(|error| io_failure(&error, "a descriptor cannot be copied"))?;
            *copies.get_mut(kind) = Some(copy);
        }
    }
    let directory = directory(&ground.places, &Target::Init(config.id.clone()));
    let launched = porthole_runtime::launch(
        &Launch {
            id: &config.id,
            name: &config.name,
            spec: &config.spec,
            ids: config.ids,
            directory: &directory,
            images: &ground.images,
            cgroups: &ground.cgroups,
            shared: copies,
            program: ground.program.as_fd(),
            size: Size::DEFAULT,
        },
        trace,
    )?;
    Ok(Begun {
        started: Started {
            host_pid: launched.host_pid,
            container_pid: innermost_pid(launched.host_pid),
            start_ticks: launched.start_ticks,
            tty_name: launched.tty_name,
            namespaces: launched.namespaces,
            session: None,
        },
        pidfd: launched.pidfd,
        console: launched.console,
        size: Size::DEFAULT,
        last_word: launched.last_word,
    })
}

fn join(
    ground: &Ground,
    joining: &Joining,
    config: &Config,
    run: &Run,
    trace: &mut Recorder,
) -> Result<Begun, Failure> {
    let joined = porthole_runtime::join(
        &Join {
            session: &joining.session,
            spec: &joining.spec,
            container: &config.spec,
            id: &config.id,
            ids: config.ids,
            host_pid: run.host_pid,
            start_ticks: run.start_ticks,
            namespaces: &run.namespaces,
            cgroups: &ground.cgroups,
            images: &ground.images,
        },
        trace,
    )?;
    let session = Session {
        id: joining.session.clone(),
        container: config.id.clone(),
        owner: joining.owner.clone(),
        command: joined.command,
        tty: joining.spec.tty,
        size: joining.spec.size,
        exit: None,
        host_pid: Some(joined.host_pid),
        container_pid: Some(joined.container_pid),
        tty_name: joined.tty_name.clone(),
        started_at: clock::wall(),
        tried: joined.tried,
        joined: None,
        fidelity: Vec::new(),
    };
    Ok(Begun {
        started: Started {
            host_pid: joined.host_pid,
            container_pid: joined.container_pid,
            start_ticks: joined.start_ticks,
            tty_name: joined.tty_name,
            namespaces: NamespaceSet::default(),
            session: Some(Box::new(session)),
        },
        pidfd: joined.pidfd,
        console: joined.console,
        size: joining.spec.size,
        last_word: None,
    })
}

fn output(
    console: Console,
    size: Size,
    journal: &OwnedFd,
    index: &OwnedFd,
) -> Result<Output, Failure> {
    let begin = || {
        let mut output = Output::new(console, journal.try_clone()?, index.try_clone()?)?;
        output.mark(Mark::Start, clock::wall_us())?;
        if output.has_tty() {
            output.mark(Mark::Resize(size), clock::wall_us())?;
        }
        Ok(output)
    };
    begin().map_err(|error: io::Error| io_failure(&error, "the journal cannot be written"))
}

/// A process's number in its own PID namespace.
fn innermost_pid(pid: HostPid) -> ContainerPid {
    let number = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("NSpid:"))?;
            line.split_whitespace().last()?.parse().ok()
        });
    ContainerPid(number.unwrap_or(1))
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
