//! The JSON of containers, sessions and processes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use porthole_protocol::container::{
    AbsolutePath, Argument, Container, ContainerName, ContainerNamespace, ContainerState, EnvName,
    Hostname, IdRange, ImageName, Limits, NetworkChoice, Owner, Publish, RestartPolicy, Signal,
    TimeOffset, Timestamp, UserSpec,
};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid, SessionId};
use porthole_protocol::image::Digest;
use porthole_protocol::namespace::{NamespaceSet, PerNamespace};
use porthole_protocol::observation::Process;
use porthole_protocol::session::{
    Exit, ExitKind, FidelityLine, JoinedNamespace, Session, Target, Tried,
};
use porthole_terminal::{Info, Permission};
use serde::Serialize;
use serde_json::Value;

use crate::access::Identity;
use crate::actions::containers::STOP_TIMEOUT;
use crate::actions::sessions::may_look;
use crate::{AppState, Refusal, hubs};

/// A container, as the API shows it.
#[derive(Debug, Serialize)]
pub struct ContainerView<'a> {
    id: &'a ContainerId,
    name: &'a ContainerName,
    engine: Engine,
    /// This Porthole made it.
    own: bool,
    owner: &'a Owner,
    state: ContainerState,
    error: Option<&'a str>,
    pid: Option<HostPid>,
    exit_code: Option<i32>,
    exit_kind: Option<ExitKind>,
    exit_reason: Option<&'a str>,
    /// Which signal ended it.
    exit_signal: Option<Signal>,
    oom_killed: bool,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    restart: RestartPolicy,
    restarts: u32,
    restart_at: Option<Timestamp>,
    auto_remove: bool,
    stop_signal: Signal,
    stop_timeout: f64,
    image: &'a ImageName,
    /// The imported image that it was made of, whatever has that name by now.
    image_id: Option<&'a Digest>,
    /// This and the next two: `null` for who may not look inside. They often hold secrets.
    command: Option<&'a [Argument]>,
    entrypoint: Option<&'a [Argument]>,
    env: Option<&'a BTreeMap<EnvName, Argument>>,
    workdir: Option<&'a AbsolutePath>,
    user: Option<&'a UserSpec>,
    hostname: Option<&'a Hostname>,
    tty: bool,
    init: bool,
    labels: &'a BTreeMap<String, String>,
    limits: Limits,
    time_offset: Option<TimeOffset>,
    namespaces: &'a PerNamespace<ContainerNamespace>,
    uid_map: &'a [IdRange],
    gid_map: &'a [IdRange],
    cgroup: Option<&'a str>,
    /// What it is connected to; `null` for one that was made before there was a choice.
    network: Option<&'a NetworkChoice>,
    /// Its addresses on the bridge, once it was started.
    addresses: &'a [IpAddr],
    gateway: &'a [IpAddr],
    /// Ports of the machine that lead to it.
    ports: &'a [Publish],
    dns: &'a [IpAddr],
}

/// A container for this reader.
pub fn container<'a>(container: &'a Container, reader: &Identity) -> ContainerView<'a> {
    let spec = &container.spec;
    let inside = reader.may_look_into(&container.owner);
    let network = container.network.as_ref();
    ContainerView {
        id: &container.id,
        name: &container.name,
        engine: container.engine,
        own: true,
        owner: &container.owner,
        state: container.state,
        error: container.error.as_deref(),
        pid: container.pid,
        exit_code: container.exit.as_ref().map(|exit| exit.code),
        exit_kind: container.exit.as_ref().map(|exit| exit.kind),
        exit_reason: container.exit.as_ref().map(|exit| exit.reason.as_str()),
        exit_signal: container.exit.as_ref().and_then(signal_of),
        oom_killed: container.exit.as_ref().is_some_and(|exit| exit.oom_killed),
        created_at: container.created_at,
        started_at: container.started_at,
        finished_at: container.finished_at,
        restart: spec.restart,
        restarts: container.restarts,
        restart_at: container.restart_at,
        auto_remove: spec.auto_remove,
        stop_signal: spec.stop_signal.unwrap_or(Signal::TERM),
        stop_timeout: spec.stop_timeout.unwrap_or(STOP_TIMEOUT.as_secs_f64()),
        image: &spec.image,
        image_id: container.image_id.as_ref(),
        command: inside.then_some(&spec.command),
        entrypoint: inside.then_some(&spec.entrypoint),
        env: inside.then_some(&spec.env),
        workdir: spec.workdir.as_ref(),
        user: spec.user.as_ref(),
        hostname: spec.hostname.as_ref(),
        tty: spec.tty,
        init: spec.init,
        labels: &spec.labels,
        limits: spec.limits,
        time_offset: spec.time_offset,
        namespaces: &container.namespaces,
        uid_map: &container.uid_map,
        gid_map: &container.gid_map,
        cgroup: container.cgroup.as_deref(),
        network: spec.network.as_ref(),
        addresses: network.map_or(&[], |network| &network.addresses),
        gateway: network.map_or(&[], |network| &network.gateway),
        ports: &spec.publish,
        dns: &spec.dns,
    }
}

/// The signal that ended it, where one did.
fn signal_of(exit: &Exit) -> Option<Signal> {
    let number = u32::try_from(exit.code).ok()?.checked_sub(128)?;
    (exit.kind == ExitKind::Signal).then_some(())?;
    number.try_into().ok()
}

/// Somebody who is at a session.
#[derive(Debug, Serialize)]
pub struct ViewerView {
    user: String,
    mode: &'static str,
    drives: bool,
}

/// A session, as the API shows it.
#[derive(Debug, Serialize)]
pub struct SessionView<'a> {
    id: &'a SessionId,
    container: &'a ContainerId,
    owner: &'a Owner,
    /// `null` for who may not look inside.
    command: Option<&'a [String]>,
    tty: bool,
    tty_name: Option<&'a str>,
    state: &'static str,
    exit_code: Option<i32>,
    exit_kind: Option<ExitKind>,
    reason: Option<&'a str>,
    host_pid: Option<HostPid>,
    container_pid: Option<ContainerPid>,
    cols: u16,
    rows: u16,
    seq: u64,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    viewers: Vec<ViewerView>,
    tried: &'a [Tried],
    /// The eight that it is in, each with whose it is.
    joined: Option<&'a PerNamespace<JoinedNamespace>>,
    /// How it compares with the first process of its container; `null` for who may not look inside.
    fidelity: Option<&'a [FidelityLine]>,
}

/// A session, for this reader.
pub fn session<'a>(state: &AppState, session: &'a Session, reader: &Identity) -> SessionView<'a> {
    let target = Target::Session(session.id.clone());
    let info: Option<Info> = state.hubs.info(&target);
    let seq = info.as_ref().map(|info| info.seq.0);
    let size = info.as_ref().map_or(session.size, |info| info.size);
    let exit: Option<&Exit> = session.exit.as_ref();
    let looks = may_look(&state.world, reader, session);
    SessionView {
        id: &session.id,
        container: &session.container,
        owner: &session.owner,
        command: looks.then_some(&session.command),
        tty: session.tty,
        tty_name: session.tty_name.as_deref(),
        state: if exit.is_none() { "running" } else { "exited" },
        exit_code: exit.map(|exit| exit.code),
        exit_kind: exit.map(|exit| exit.kind),
        reason: exit.map(|exit| exit.reason.as_str()),
        host_pid: session.host_pid,
        container_pid: session.container_pid,
        cols: size.cols,
        rows: size.rows,
        seq: seq.unwrap_or_else(|| hubs::journal_length(state, &target)),
        started_at: session.started_at,
        ended_at: exit.map(|exit| exit.at),
        viewers: info.map_or_else(Vec::new, |info| {
            info.viewers
                .into_iter()
                .map(|viewer| ViewerView {
                    user: viewer.user,
                    mode: match viewer.permission {
                        Permission::Write => "write",
                        Permission::Watch => "watch",
                    },
                    drives: viewer.drives,
                })
                .collect()
        }),
        tried: &session.tried,
        joined: session.joined.as_ref(),
        fidelity: looks.then_some(&session.fidelity),
    }
}

/// A process, as the API shows it.
#[derive(Debug, Serialize)]
pub struct ProcessView<'a> {
    host_pid: HostPid,
    pids: &'a [i32],
    parent: Option<HostPid>,
    uid: u32,
    uid_inside: Option<u32>,
    gid: u32,
    gid_inside: Option<u32>,
    command: &'a str,
    /// `null` for who may not look inside.
    args: Option<&'a [String]>,
    tty: Option<&'a str>,
    state: char,
    started_at: Timestamp,
    threads: u32,
    rss: u64,
    container: Option<&'a ContainerId>,
    session: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<NamespaceSet>,
}

/// A process, for this reader; with its eight namespaces where they are asked for.
pub fn process<'a>(
    state: &AppState,
    process: &'a Process,
    reader: &Identity,
    namespaces: bool,
) -> ProcessView<'a> {
    let inside = crate::compare::may_look(&state.world, process, reader);
    ProcessView {
        host_pid: process.host_pid,
        pids: &process.pids,
        parent: process.parent,
        uid: process.uid,
        uid_inside: process.uid_inside,
        gid: process.gid,
        gid_inside: process.gid_inside,
        command: &process.command,
        args: inside.then_some(&process.args),
        tty: process.tty.as_deref(),
        state: process.state,
        started_at: process.started_at,
        threads: process.threads,
        rss: process.rss,
        container: process.container.as_ref(),
        session: process.session.as_ref(),
        namespaces: namespaces.then_some(process.namespaces),
    }
}

/// The JSON of a view, to be filtered and sorted.
pub fn value(view: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(view).map_err(|error| {
        tracing::error!(%error, "something cannot be written as JSON");
        Refusal::internal()
    })
}
