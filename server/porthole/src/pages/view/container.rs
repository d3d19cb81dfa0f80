//! A container's own pages: their common head, the overview, and what inspect shows.

use askama::Template;
use porthole_protocol::container::{Container, Limits};

use super::actions::Actions;
use super::containers::StateView;
use super::fingerprint::Fingerprint;
use super::live::{Region, Slot};
use super::pid_map::PidMap;
use super::shell::Shell;
use super::words::{When, bytes, command_line, count, sentence, visible, visible_lines};
use super::{Scene, html, namespaces, processes, sessions};
use crate::api::view as api;
use crate::world::World;

/// One of a container's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// Key facts, the two-sided map, sessions.
    Overview,
    /// The tree.
    Processes,
    /// The eight.
    Namespaces,
    /// A shell.
    Terminal,
    /// What its command wrote.
    Logs,
    /// Everything as JSON.
    Inspect,
}

impl Tab {
    /// All, in their order.
    pub const ALL: [Self; 6] = [
        Self::Overview,
        Self::Processes,
        Self::Namespaces,
        Self::Terminal,
        Self::Logs,
        Self::Inspect,
    ];

    /// The last part of its address; the overview has none.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "",
            Self::Processes => "processes",
            Self::Namespaces => "namespaces",
            Self::Terminal => "terminal",
            Self::Logs => "logs",
            Self::Inspect => "inspect",
        }
    }

    /// Its word on screen.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Processes => "Processes",
            Self::Namespaces => "Namespaces",
            Self::Terminal => "Terminal",
            Self::Logs => "Logs",
            Self::Inspect => "Inspect",
        }
    }

    /// Whether it shows what happens inside, which not everybody may see.
    pub const fn looks_into(self) -> bool {
        !matches!(self, Self::Overview | Self::Namespaces)
    }

    /// The key that opens it.
    const fn key(self) -> &'static str {
        match self {
            Self::Terminal => "e",
            Self::Logs => "l",
            _ => "",
        }
    }
}

/// A tab's link.
#[derive(Debug, Clone)]
pub struct TabLink {
    address: String,
    title: &'static str,
    key: &'static str,
    now: bool,
}

/// What stands above every page of a container.
pub struct Head {
    /// What addresses begin with.
    pub base: String,
    /// Its name.
    pub name: String,
    /// The tabs.
    pub tabs: Vec<TabLink>,
}

impl Head {
    fn new(container: &Container, scene: Scene<'_>, now: Tab) -> Self {
        let name = visible(container.name.as_str());
        let at = super::reference(container);
        let looks = scene.who.may_look_into(&container.owner);
        let tabs = Tab::ALL
            .into_iter()
            .filter(|tab| looks || !tab.looks_into())
            .map(|tab| TabLink {
                address: match tab.path() {
                    "" => format!("{}/containers/{at}", scene.base),
                    path => format!("{}/containers/{at}/{path}", scene.base),
                },
                title: tab.title(),
                key: tab.key(),
                now: tab == now,
            })
            .collect();
        Self {
            base: scene.base.to_owned(),
            name,
            tabs,
        }
    }
}

#[derive(Template)]
#[template(path = "partials/container_head.html")]
struct LiveHead {
    state: StateView,
    fingerprint: Option<Fingerprint>,
    actions: Actions,
}

#[derive(Template)]
#[template(path = "partials/container_failed.html")]
struct Failed {
    error: String,
}

/// What of a container's page is live. Whoever calls has checked that the reader may look into the
/// container where the tab does.
pub fn region(world: &World, scene: Scene<'_>, container: &Container, tab: Tab) -> Region {
    let head = LiveHead {
        state: StateView::of(container),
        fingerprint: Fingerprint::of(container, true),
        actions: Actions::of(container, scene, false),
    };
    let failed = container
        .error
        .as_deref()
        .map_or_else(String::new, |error| {
            html(&Failed {
                error: sentence(error),
            })
        });
    let mut slots = vec![
        Slot::whole("head", html(&head)),
        Slot::whole("failed", failed),
    ];
    match tab {
        Tab::Overview => {
            slots.push(Slot::whole(
                "facts",
                html(&Facts::of(world, container, scene)),
            ));
            slots.push(Slot::whole("map", map(world, container, scene)));
            slots.push(Slot::whole(
                "sessions",
                sessions::table_of(world, container, scene),
            ));
        }
        Tab::Processes => {
            let rows = processes::slot(container, world, scene);
            let number = count(rows.parts.len(), "process", "processes");
            slots.push(Slot::whole("count", number));
            let empty = if rows.parts.is_empty() {
                html(&NoProcesses {
                    running: container.pid.is_some(),
                })
            } else {
                String::new()
            };
            slots.push(Slot::whole("empty", empty));
            slots.push(rows);
        }
        Tab::Namespaces => slots.push(namespaces::slot(container, world, scene)),
        Tab::Inspect => slots.push(Slot::whole("json", html(&Json::of(container, scene)))),
        Tab::Terminal | Tab::Logs => {}
    }
    Region { slots }
}

#[derive(Template)]
#[template(path = "partials/processes_empty.html")]
struct NoProcesses {
    running: bool,
}

#[derive(Template)]
#[template(path = "partials/map_empty.html")]
struct NoMap {
    running: bool,
    may_look: bool,
}

fn map(world: &World, container: &Container, scene: Scene<'_>) -> String {
    let may_look = scene.who.may_look_into(&container.owner);
    match PidMap::of(container, world) {
        Some(map) if may_look => html(&map),
        _ => html(&NoMap {
            running: container.pid.is_some(),
            may_look,
        }),
    }
}

/// A fact: its name, its value, whether the value is for machines.
type Fact = (&'static str, String, bool);

#[derive(Template)]
#[template(path = "partials/facts.html")]
struct Facts {
    id: String,
    created: When,
    started: Option<When>,
    finished: Option<(When, String)>,
    facts: Vec<Fact>,
}

impl Facts {
    fn of(world: &World, container: &Container, scene: Scene<'_>) -> Self {
        let spec = &container.spec;
        let mut facts: Vec<Fact> = Vec::new();
        let looks = scene.who.may_look_into(&container.owner);
        facts.push(("Image", visible(spec.image.as_str()), true));
        if looks {
            let words: Vec<_> = spec
                .entrypoint
                .iter()
                .chain(&spec.command)
                .map(|w| w.as_str())
                .collect();
            let command = if words.is_empty() {
                "the image's".to_owned()
            } else {
                command_line(&words)
            };
            facts.push(("Command", command, true));
        }
        if let Some(pid) = container.pid {
            let inside = world.process(pid).and_then(|p| p.pids.last().copied());
            let pids = inside.map_or_else(
                || format!("{pid} on the host"),
                |inside| format!("{pid} on the host, {inside} inside"),
            );
            facts.push(("First process", pids, true));
        }
        facts.push((
            "Host name",
            spec.hostname
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            true,
        ));
        facts.push((
            "User",
            spec.user
                .as_ref()
                .map_or_else(|| "root (0)".to_owned(), ToString::to_string),
            true,
        ));
        if let Some(workdir) = &spec.workdir {
            facts.push(("Directory", visible(workdir.as_str()), true));
        }
        facts.push(("User ids", id_map(&container.uid_map), true));
        if container.gid_map != container.uid_map {
            facts.push(("Group ids", id_map(&container.gid_map), true));
        }
        facts.push(("Limits", limits(&spec.limits), false));
        facts.push(("Process 1", first(spec.init, spec.tty), false));
        if let Some(offset) = spec.time_offset {
            let text = format!(
                "monotonic {:+} s, since boot {:+} s",
                offset.monotonic, offset.boottime
            );
            facts.push(("Clocks", text, false));
        }
        if let Some(cgroup) = &container.cgroup {
            facts.push(("Control group", visible(cgroup), true));
        }
        facts.push(("Owner", container.owner.to_string(), false));
        let finished = match (&container.exit, container.pid) {
            (Some(exit), None) => Some((
                exit.at.into(),
                format!("{} ({})", visible(&exit.reason), exit.code),
            )),
            _ => None,
        };
        Self {
            id: container.id.to_string(),
            created: container.created_at.into(),
            started: container.started_at.map(When::from),
            finished,
            facts,
        }
    }
}

fn id_map(ranges: &[porthole_protocol::container::IdRange]) -> String {
    if ranges.is_empty() {
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
    let cores = if (cpus - 1.0).abs() < f64::EPSILON {
        "1 core".to_owned()
    } else {
        format!("{cpus} cores")
    };
    let mut text = format!(
        "{} of memory, {cores}, {}",
        bytes(limits.memory.unwrap_or(Limits::DEFAULT_MEMORY)),
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

#[derive(Template)]
#[template(path = "partials/json.html")]
struct Json {
    text: String,
}

impl Json {
    fn of(container: &Container, scene: Scene<'_>) -> Self {
        let shown = api::container(container, scene.who);
        let text = serde_json::to_string_pretty(&shown).unwrap_or_default();
        Self {
            text: visible_lines(&text),
        }
    }
}

/// A command that does the same: what it does, and the command.
type Equal = (&'static str, String);

/// The commands for what this page's buttons do.
fn equals(container: &Container, origin: &str) -> Vec<Equal> {
    let name = container.name.as_str();
    let post = |verb: &str| {
        format!(
            "curl -X POST -H \"Authorization: Bearer $TOKEN\" {origin}/api/v1/containers/{name}/{verb}"
        )
    };
    vec![
        ("Start", post("start")),
        ("Stop", post("stop")),
        (
            "Kill",
            format!("{} --json '{{\"signal\":\"SIGKILL\"}}'", post("kill")),
        ),
        (
            "Remove",
            format!(
                "curl -X DELETE -H \"Authorization: Bearer $TOKEN\" '{origin}/api/v1/containers/{name}?force=true'"
            ),
        ),
    ]
}

/// A page of a container: overview, processes, namespaces, inspect.
#[derive(Template)]
#[template(path = "container.html")]
pub struct ContainerPage {
    shell: Shell,
    head: Head,
    tab: Tab,
    region: Region,
    equals: Vec<Equal>,
}

impl ContainerPage {
    /// The page of this tab.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        container: &Container,
        tab: Tab,
        shell: Shell,
    ) -> Self {
        Self {
            head: Head::new(container, scene, tab),
            tab,
            region: region(world, scene, container, tab),
            equals: equals(container, &shell.origin),
            shell,
        }
    }
}

/// The page that holds a terminal.
#[derive(Template)]
#[template(path = "terminal.html")]
pub struct TerminalPage {
    shell: Shell,
    head: Head,
    region: Region,
    id: String,
    session: String,
}

impl TerminalPage {
    /// The page, showing this session first where one is given.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        container: &Container,
        session: &str,
        shell: Shell,
    ) -> Self {
        Self {
            head: Head::new(container, scene, Tab::Terminal),
            region: region(world, scene, container, Tab::Terminal),
            id: container.id.to_string(),
            session: session.to_owned(),
            shell,
        }
    }
}

/// The page that shows what a container's command wrote.
#[derive(Template)]
#[template(path = "logs.html")]
pub struct LogsPage {
    shell: Shell,
    head: Head,
    region: Region,
    id: String,
    tty: bool,
}

impl LogsPage {
    /// The page.
    pub fn new(world: &World, scene: Scene<'_>, container: &Container, shell: Shell) -> Self {
        Self {
            head: Head::new(container, scene, Tab::Logs),
            region: region(world, scene, container, Tab::Logs),
            id: container.id.to_string(),
            tty: container.spec.tty,
            shell,
        }
    }
}

/// What stays of the page of a container that was removed while it was looked at.
pub fn removed() -> Region {
    let gone = "<div class=\"notice warn\"><strong>It was removed.</strong> What you see is what was last known of it.</div>";
    Region {
        slots: vec![
            Slot::whole("head", String::new()),
            Slot::whole("failed", gone.to_owned()),
        ],
    }
}
