//! What is so of a container, name by name.

use askama::Template;
use porthole_protocol::container::{
    Container, ContainerSpec, IdRange, Limits, RestartPolicy, Signal,
};
use porthole_protocol::engines::{EngineContainer, Health, Network, Port};

use super::Scene;
use super::words::{When, bytes, command_line, cores, count, visible};
use crate::actions::containers::STOP_TIMEOUT;
use crate::world::{AnyContainer, World};

/// A fact: its name, its value, whether the value is for machines.
type Fact = (&'static str, String, bool);

/// The facts.
#[derive(Template)]
#[template(path = "partials/facts.html")]
pub(super) struct Facts {
    id: String,
    created: Option<When>,
    started: Option<When>,
    finished: Option<(When, String)>,
    facts: Vec<Fact>,
    /// What its engine has written on it.
    labels: Vec<(String, String)>,
    /// It is nearly as mighty as the machine's root.
    privileged: bool,
}

impl Facts {
    /// Of this container, as far as the reader may know them.
    pub(super) fn of(world: &World, container: &AnyContainer, scene: Scene<'_>) -> Self {
        let mut facts: Vec<Fact> = Vec::new();
        if let Some(image) = container.image() {
            facts.push(("Image", visible(image), true));
        }
        if scene.who.may_look_into_container(container) {
            facts.extend(command(container));
        }
        if let Some(pid) = container.pid() {
            let inside = world.process(pid).and_then(|p| p.pids.last().copied());
            let pids = inside.map_or_else(
                || format!("{pid} on the host"),
                |inside| format!("{pid} on the host, {inside} inside"),
            );
            facts.push(("First process", pids, true));
        }
        let told = match container {
            AnyContainer::Own(own) => {
                facts.extend(asked_for(own));
                None
            }
            AnyContainer::Foreign(foreign) => foreign.told.as_deref(),
        };
        facts.extend(told.into_iter().flat_map(engine_says));
        let (users, groups) = container.id_maps();
        facts.push(("User ids", id_map(users), true));
        if groups != users {
            facts.push(("Group ids", id_map(groups), true));
        }
        if let AnyContainer::Own(own) = container {
            facts.extend(given(own));
        }
        if let Some(cgroup) = container.cgroup() {
            facts.push(("Control group", visible(cgroup), true));
        }
        if let Some(outer) = container.within().and_then(|id| world.any_container(id)) {
            facts.push(("Runs in", visible(outer.name()), true));
        }
        if let Some(group) = container.group() {
            facts.push(("Belongs to", visible(&group.words()), false));
        }
        match container.owner() {
            Some(owner) => facts.push(("Owner", owner.to_string(), false)),
            None => facts.push(("Made by", container.engine().words().to_owned(), false)),
        }
        Self {
            id: container.id().to_string(),
            created: container.created_at().map(When::from),
            started: container.started_at().map(When::from),
            finished: finished(container),
            facts,
            labels: labels(container, scene.who.may_look_into_container(container)),
            privileged: told.is_some_and(|told| told.privileged),
        }
    }
}

/// Another engine's are for who may look inside: passwords are kept in them, such as those of a
/// proxy that is set by labels. Porthole's own are known to be seen by everybody.
fn labels(container: &AnyContainer, looks: bool) -> Vec<(String, String)> {
    let labels = match container {
        AnyContainer::Own(own) => Some(&own.spec.labels),
        AnyContainer::Foreign(foreign) => {
            let told = foreign.told.as_ref().filter(|_| looks);
            told.map(|told| &told.labels)
        }
    };
    let labels = labels.into_iter().flatten();
    labels
        .map(|(name, value)| (visible(name), visible(value)))
        .collect()
}

/// What its engine says of it that nobody could see.
fn engine_says(told: &EngineContainer) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut machine = |name, value: &str| {
        if !value.is_empty() {
            facts.push((name, visible(value), true));
        }
    };
    machine("Image id", &told.image_id);
    machine("Host name", &told.hostname);
    machine(
        "User",
        if told.user.is_empty() {
            "root (0)"
        } else {
            &told.user
        },
    );
    machine("Directory", &told.workdir);
    let mut said =
        |name, value: Option<String>| facts.extend(value.map(|value| (name, value, false)));
    said("Health", told.health.map(health));
    let oom = told
        .oom_killed
        .then(|| "The kernel ended its last run for want of memory.".to_owned());
    said("Memory", oom);
    said("Restarts", Some(restarts(told)));
    said("Ports", list(told.ports.iter().map(port)));
    said("Networks", list(told.networks.iter().map(network)));
    if let Some(compose) = &told.compose {
        let service = compose.service.as_ref().map(|service| visible(service));
        said("Service", service);
    }
    let clipped = told
        .clipped
        .then(|| "Its engine said more than fits; some is left out.".to_owned());
    said("Left out", clipped);
    facts
}

fn health(health: Health) -> String {
    match health {
        Health::Starting => "not known yet: its check has not passed or failed",
        Health::Healthy => "healthy: its check passes",
        Health::Unhealthy => "unhealthy: its check fails",
    }
    .to_owned()
}

fn restarts(told: &EngineContainer) -> String {
    let when = again(told.engine.words(), told.restart_policy);
    match told.restarts {
        0 => when,
        times => format!("{when}; {} so far", count(times as usize, "time", "times")),
    }
}

fn again(engine: &str, policy: RestartPolicy) -> String {
    match policy {
        RestartPolicy::No => format!("{engine} does not start it again by itself"),
        RestartPolicy::Always => format!("{engine} starts it again whenever it ends"),
        RestartPolicy::UnlessStopped => {
            format!("{engine} starts it again whenever it ends, unless somebody stopped it")
        }
        RestartPolicy::OnFailure { most: 0 } => format!("{engine} starts it again when it fails"),
        RestartPolicy::OnFailure { most } => {
            format!(
                "{engine} starts it again when it fails, at most {}",
                count(most as usize, "time", "times")
            )
        }
    }
}

/// `8080 → 80/tcp`, and a port that nobody outside reaches as it is.
fn port(port: &Port) -> String {
    let inside = format!("{}/{}", port.container, visible(&port.protocol));
    match &port.host {
        None => format!("{inside}, not published"),
        Some(host) if host.address.is_empty() => format!("{} → {inside}", host.port),
        Some(host) if host.address.contains(':') => {
            format!("[{}]:{} → {inside}", visible(&host.address), host.port)
        }
        Some(host) => format!("{}:{} → {inside}", visible(&host.address), host.port),
    }
}

fn network(network: &Network) -> String {
    let name = visible(&network.name);
    match network.addresses.is_empty() {
        true => name,
        false => format!("{name} ({})", visible(&network.addresses.join(", "))),
    }
}

fn list(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| items.join("; "))
}

fn command(container: &AnyContainer) -> Option<Fact> {
    let words = container.command();
    match (words.is_empty(), container) {
        (false, _) => Some(("Command", command_line(&words), true)),
        (true, AnyContainer::Own(_)) => Some(("Command", "the image's".to_owned(), true)),
        // Nobody has told it; its processes show it.
        (true, AnyContainer::Foreign(_)) => None,
    }
}

fn finished(container: &AnyContainer) -> Option<(When, String)> {
    if container.pid().is_some() {
        return None;
    }
    match container {
        AnyContainer::Own(own) => own.exit.as_ref().map(|exit| {
            let how = format!("{} ({})", visible(&exit.reason), exit.code);
            (exit.at.into(), how)
        }),
        AnyContainer::Foreign(foreign) => {
            let how = match foreign.exit_code() {
                Some(code) => format!("exited ({code})"),
                None => "ended".to_owned(),
            };
            Some((foreign.finished_at()?.into(), how))
        }
    }
}

/// What was asked for when it was made.
fn asked_for(container: &Container) -> Vec<Fact> {
    let spec = &container.spec;
    let mut facts = vec![
        (
            "Host name",
            spec.hostname
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            true,
        ),
        (
            "User",
            spec.user
                .as_ref()
                .map_or_else(|| "root (0)".to_owned(), ToString::to_string),
            true,
        ),
    ];
    if let Some(workdir) = &spec.workdir {
        facts.push(("Directory", visible(workdir.as_str()), true));
    }
    facts
}

/// What it was given.
fn given(container: &Container) -> Vec<Fact> {
    let spec = &container.spec;
    let mut facts = vec![
        ("Limits", limits(&spec.limits), false),
        ("Process 1", first(spec.init, spec.tty), false),
        ("When it ends", at_its_end(container), false),
        ("Stopped by", stopped_by(spec), false),
    ];
    facts.extend(super::connection::facts(container));
    if let Some(offset) = spec.time_offset {
        let text = format!(
            "monotonic {:+} s, since boot {:+} s",
            offset.monotonic, offset.boottime
        );
        facts.push(("Clocks", text, false));
    }
    facts
}

/// Whether it is started again, and has been.
fn at_its_end(container: &Container) -> String {
    let spec = &container.spec;
    let when = match spec.restart {
        RestartPolicy::No if spec.auto_remove => "it is removed".to_owned(),
        RestartPolicy::No => "it stays as it is".to_owned(),
        policy => again("Porthole", policy),
    };
    let mut text = match container.restarts {
        0 => when,
        times => format!("{when}; {} so far", count(times as usize, "time", "times")),
    };
    if let Some(at) = container.restart_at {
        text.push_str(&format!("; the next time at {}", When::from(at).text));
    }
    text
}

fn stopped_by(spec: &ContainerSpec) -> String {
    let signal = spec.stop_signal.unwrap_or(Signal::TERM);
    let seconds = spec
        .stop_timeout
        .unwrap_or_else(|| STOP_TIMEOUT.as_secs_f64());
    format!("{signal}, and SIGKILL after {seconds} s")
}

/// So many ids there are; -1 is none.
const EVERYBODY: u32 = u32::MAX;

fn id_map(ranges: &[IdRange]) -> String {
    if let [] | [IdRange(0, 0, EVERYBODY)] = ranges {
        return "the host's".to_owned();
    }
    let lines: Vec<_> = ranges
        .iter()
        .map(|range| {
            let end = |first: u32| first + range.2.saturating_sub(1);
            format!(
                "{}–{} are {}–{} on the host",
                range.0,
                end(range.0),
                range.1,
                end(range.1)
            )
        })
        .collect();
    lines.join(", ")
}

fn limits(limits: &Limits) -> String {
    let cpus = limits.cpus.unwrap_or(Limits::DEFAULT_CPUS);
    let mut text = format!(
        "{} of memory, {}, {}",
        bytes(limits.memory.unwrap_or(Limits::DEFAULT_MEMORY)),
        cores(cpus),
        count(
            usize::try_from(limits.pids.unwrap_or(Limits::DEFAULT_PIDS)).unwrap_or(usize::MAX),
            "process",
            "processes"
        )
    );
    if let Some(swap) = limits.swap.filter(|swap| *swap > 0) {
        text.push_str(&format!(", {} of swap", bytes(swap)));
    }
    text
}

fn first(init: bool, tty: bool) -> String {
    let init = if init {
        "a small init that reaps"
    } else {
        "the command itself"
    };
    let tty = if tty {
        "with a terminal"
    } else {
        "without a terminal"
    };
    format!("{init}, {tty}")
}
