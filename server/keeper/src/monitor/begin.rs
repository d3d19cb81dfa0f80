//! Starting what is to be watched: a container, or a session in one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::id::{ContainerPid, HostPid};
use porthole_protocol::journal::Mark;
use porthole_protocol::keeper::{Failure, FailureCode};
use porthole_protocol::monitor::Started;
use porthole_protocol::namespace::{NamespaceSet, PerNamespace};
use porthole_protocol::session::{Session, Size, Target};
use porthole_runtime::{
    Attached, Attaching, Attachment, Console, ForeignGroup, Join, Joined, LastWord, Launch,
    Recorder,
};

use super::output::Output;
use super::{Assignment, Ground, directory, foreign, io_failure};
use crate::clock;
use crate::ledger::{Config, Joining, Run};

/// What was started.
pub(super) struct Begun {
    pub(super) pidfd: OwnedFd,
    pub(super) console: Console,
    pub(super) started: Started,
    pub(super) size: Size,
    pub(super) last_word: Option<LastWord>,
    /// For a session in another engine's container: that container's init.
    pub(super) container: Option<OwnedFd>,
    /// Its place on the bridge.
    pub(super) attached: Option<Attached>,
}

pub(super) fn begin(
    ground: &Ground,
    assignment: &Assignment<'_>,
    found: Option<&ForeignGroup>,
    trace: &mut Recorder,
) -> Result<Begun, Failure> {
    match assignment {
        Assignment::Container {
            config,
            shared,
            network,
        } => {
            ground.cgroups.create(&config.id, &config.spec.limits)?;
            launch(ground, config, shared, *network, trace)
        }
        Assignment::Session {
            joining,
            config,
            run,
        } => {
            ground
                .cgroups
                .create_session(&config.id, &joining.session)?;
            join(ground, joining, config, run, trace)
        }
        Assignment::Foreign {
            joining,
            foreign,
            privileged,
        } => match found {
            Some(group) => foreign::begin(ground, (joining, foreign, *privileged), group, trace),
            None => Err(Failure::new(
                FailureCode::Internal,
                "the session's group was not looked for",
            )),
        },
    }
}

fn launch(
    ground: &Ground,
    config: &Config,
    shared: &PerNamespace<Option<OwnedFd>>,
    network: Option<u32>,
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
            network: attaching(ground, config, network),
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
        container: None,
        attached: launched.attached,
    })
}

/// How it is connected, where it has a number.
fn attaching<'a>(
    ground: &'a Ground,
    config: &'a Config,
    network: Option<u32>,
) -> Option<Attaching<'a>> {
    Some(Attaching {
        bridge: ground.bridge.as_ref()?,
        attachment: Attachment {
            id: config.id.clone(),
            name: config.name.clone(),
            hostname: porthole_runtime::root::hostname(&config.id, &config.name, &config.spec),
            owner: config.owner.clone(),
            number: network?,
            publish: config.spec.publish.clone(),
        },
        dns: &config.spec.dns,
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
    Ok(session(joining, joined))
}

/// What a joiner has started, as it is told.
pub(super) fn session(joining: &Joining, joined: Joined) -> Begun {
    let session = Session {
        id: joining.session.clone(),
        container: joining.spec.container.clone(),
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
        joined: Some(joined.joined),
        fidelity: joined.fidelity,
    };
    let foreign = joining.spec.foreign.is_some();
    Begun {
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
        container: foreign.then_some(joined.target),
        attached: None,
    }
}

pub(super) fn output(
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
