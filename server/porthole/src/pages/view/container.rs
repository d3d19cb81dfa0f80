//! A container's own pages: their common head, the overview, and what inspect shows.

use askama::Template;
use porthole_protocol::engine::Engine;

use super::actions::{self, Actions};
use super::containers::StateView;
use super::facts::Facts;
use super::fingerprint::Fingerprint;
use super::live::{Region, Slot};
use super::pid_map::PidMap;
use super::shell::Shell;
use super::tabs::Piece;
use super::words::{count, sentence, visible, visible_lines};
use super::{Scene, html, namespaces, processes, sessions};
use crate::api::foreign as api;
use crate::world::{AnyContainer, Unmanaged, World};

/// One of a container's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// Key facts, the two-sided map, sessions.
    Overview,
    /// The tree.
    Processes,
    /// The eight.
    Namespaces,
    /// What it sees mounted.
    Mounts,
    /// Interfaces, routes, ports.
    Network,
    /// What it may do.
    Security,
    /// A shell.
    Terminal,
    /// What its command wrote.
    Logs,
    /// Everything as JSON.
    Inspect,
}

impl Tab {
    /// All, in their order.
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Processes,
        Self::Namespaces,
        Self::Mounts,
        Self::Network,
        Self::Security,
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
            Self::Mounts => "mounts",
            Self::Network => "network",
            Self::Security => "security",
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
            Self::Mounts => "Mounts",
            Self::Network => "Network",
            Self::Security => "Security",
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
    /// Where it leads.
    pub address: String,
    /// Its word.
    pub title: &'static str,
    /// The key that opens it.
    pub key: &'static str,
    /// It is this page.
    pub now: bool,
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
    /// Above this page of the container.
    pub fn new(world: &World, container: &AnyContainer, scene: Scene<'_>, now: Tab) -> Self {
        let name = visible(container.name());
        let at = super::reference(world, container);
        let looks = scene.who.may_look_into_container(container);
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
#[template(path = "partials/container_unmanaged.html")]
struct NoButtons {
    why: Option<String>,
}

#[derive(Template)]
#[template(path = "partials/container_failed.html")]
struct Failed {
    error: String,
}

/// One that was to be removed when it ended, and is still there.
#[derive(Template)]
#[template(path = "partials/container_stays.html")]
struct Stays;

#[derive(Template)]
#[template(path = "partials/container_claimed.html")]
struct Claimed {
    words: String,
}

/// That it is not what its control group is called, where that is so.
fn claimed(container: &AnyContainer) -> String {
    let claim = match container {
        AnyContainer::Own(_) => None,
        AnyContainer::Foreign(foreign) => foreign.claim.as_ref(),
    };
    claim.map_or_else(String::new, |claim| {
        html(&Claimed {
            words: visible(&claim.words()),
        })
    })
}

/// What of a container's page is live. Whoever calls has checked that the reader may look into the
/// container where the tab does.
pub fn region(world: &World, scene: Scene<'_>, container: &AnyContainer, tab: Tab) -> Region {
    let head = LiveHead {
        state: StateView::of(container),
        fingerprint: Fingerprint::of(container, true),
        actions: Actions::of(world, container, scene, false),
    };
    let mut failed = container.error().map_or_else(String::new, |error| {
        html(&Failed {
            error: sentence(error),
        })
    }) + &claimed(container);
    if super::containers::stays(container) {
        failed.push_str(&html(&Stays));
    }
    let mut slots = vec![
        Slot::whole("head", html(&head)),
        Slot::whole("failed", failed),
    ];
    match tab {
        Tab::Overview => {
            let why = actions::unmanaged(world, container, scene);
            slots.push(Slot::whole("unmanaged", html(&NoButtons { why })));
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
            let (rows, number) = processes::of_container(container, world, scene);
            slots.push(Slot::whole("count", count(number, "process", "processes")));
            let empty = if number == 0 {
                html(&NoProcesses {
                    running: container.pid().is_some(),
                })
            } else {
                String::new()
            };
            slots.push(Slot::whole("empty", empty));
            slots.extend(rows);
        }
        Tab::Namespaces => slots.push(namespaces::slot(container, world, scene)),
        Tab::Inspect => slots.push(Slot::whole("json", html(&Json::of(container, scene)))),
        Tab::Terminal => slots.extend(processes::of_sessions::slots(container, world, scene)),
        Tab::Logs | Tab::Mounts | Tab::Network | Tab::Security => {}
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

fn map(world: &World, container: &AnyContainer, scene: Scene<'_>) -> String {
    let may_look = scene.who.may_look_into_container(container);
    match PidMap::of(container, world, scene) {
        Some(map) if may_look => html(&map),
        _ => html(&NoMap {
            running: container.pid().is_some(),
            may_look,
        }),
    }
}

#[derive(Template)]
#[template(path = "partials/json.html")]
struct Json {
    text: String,
}

impl Json {
    fn of(container: &AnyContainer, scene: Scene<'_>) -> Self {
        let shown = api::any(container, scene.who).unwrap_or_default();
        let text = serde_json::to_string_pretty(&shown).unwrap_or_default();
        Self {
            text: visible_lines(&text),
        }
    }
}

/// A page of a container: overview, processes, namespaces, inspect.
#[derive(Template)]
#[template(path = "container.html")]
pub struct ContainerPage {
    shell: Shell,
    head: Head,
    tab: Tab,
    region: Region,
    /// What its pieces' addresses begin with.
    at: String,
    /// Who looks may see what happens inside.
    may_look: bool,
    /// The form that changes it, for who may.
    change: Option<String>,
    /// A piece that is in the page already; the others are loaded by it.
    held: Option<(Piece, String)>,
}

impl ContainerPage {
    /// The page of this tab.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        container: &AnyContainer,
        tab: Tab,
        shell: Shell,
    ) -> Self {
        let region = region(world, scene, container, tab);
        Self {
            head: Head::new(world, container, scene, tab),
            tab,
            shell: shell.around(&region),
            region,
            at: format!(
                "{}/containers/{}",
                scene.base,
                super::reference(world, container)
            ),
            may_look: scene.who.may_look_into_container(container),
            change: super::change::form(container, scene),
            held: None,
        }
    }

    /// The same with this piece in it.
    #[must_use]
    pub fn holding(mut self, piece: Piece, drawn: String) -> Self {
        self.held = Some((piece, drawn));
        self
    }

    /// Whether what is in a namespace is drawn on it.
    fn draws_namespaces(&self) -> bool {
        matches!(self.tab, Tab::Mounts | Tab::Network | Tab::Security)
    }

    /// The element of a piece: what it holds, or what has the page load it.
    fn piece(&self, piece: Piece) -> String {
        let held = self.held.as_ref().filter(|(held, _)| *held == piece);
        html(&PieceSlot {
            piece,
            address: format!("{}/{}", self.at, piece.path()),
            held: held.map(|(_, drawn)| drawn.as_str()),
        })
    }
}

#[derive(Template)]
#[template(path = "partials/piece.html")]
struct PieceSlot<'a> {
    piece: Piece,
    address: String,
    held: Option<&'a str>,
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
    /// Why what it wrote cannot be shown, where nobody keeps it who can be asked.
    nowhere: Option<String>,
}

impl LogsPage {
    /// The page.
    pub fn new(world: &World, scene: Scene<'_>, container: &AnyContainer, shell: Shell) -> Self {
        let region = region(world, scene, container, Tab::Logs);
        Self {
            head: Head::new(world, container, scene, Tab::Logs),
            shell: shell.around(&region),
            region,
            id: container.id().to_string(),
            tty: match container {
                AnyContainer::Own(own) => own.spec.tty,
                AnyContainer::Foreign(other) => other.told.as_ref().is_some_and(|told| told.tty),
            },
            nowhere: nowhere(world, container),
        }
    }
}

/// Why there are no logs to be shown. An engine that does not answer now may do so in a moment: that
/// it does not is said in the log's place.
fn nowhere(world: &World, container: &AnyContainer) -> Option<String> {
    let AnyContainer::Foreign(foreign) = container else {
        return None;
    };
    match world.known_to_engine(foreign) {
        Ok(_) | Err(Unmanaged::Trouble(..) | Unmanaged::Unconfirmed(_)) => None,
        Err(Unmanaged::NoEngine(engine)) => Some(match engine {
            Engine::None => {
                "Nobody keeps what it writes: no engine made it. A terminal shows what it does."
                    .to_owned()
            }
            engine => format!(
                "{} keeps what it writes, and has no socket that Porthole asks.",
                engine.words()
            ),
        }),
        Err(why @ (Unmanaged::NotAsked(..) | Unmanaged::LookOnly(_) | Unmanaged::Unknown(_))) => {
            Some(visible(&why.to_string()))
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
