//! The pages that hold a terminal, and the choice of how it joins.

use askama::Template;
use porthole_protocol::namespace::{Isolation, NamespaceType};
use porthole_protocol::observation::Process;

use super::Scene;
use super::container::{Head, Tab, region};
use super::live::Region;
use super::shell::Shell;
use super::words::visible;
use crate::access::Identity;
use crate::actions::sessions::beside;
use crate::world::{AnyContainer, World};

/// One of the eight, to be joined or left out.
struct Choice {
    kind: NamespaceType,
    /// Whose it is: one that is the host's is the same either way.
    whose: &'static str,
    /// There is something to join.
    own: bool,
}

/// The dialog in which an administrator chooses how a terminal joins.
struct Opener {
    choices: Vec<Choice>,
    /// Images whose tools can be taken along; none for Porthole's own containers.
    tools: Vec<String>,
    /// Root's policy keeps sessions from leaving a namespace out.
    all_only: bool,
    /// Root's policy keeps sessions out of what Porthole did not make.
    closed: bool,
}

impl Opener {
    fn new(
        world: &World,
        who: &Identity,
        own: bool,
        whose: impl Fn(NamespaceType) -> Isolation,
    ) -> Option<Self> {
        let policy = world
            .keeper()
            .hello
            .map(|hello| hello.policy)
            .unwrap_or_default();
        who.is_admin().then(|| Self {
            choices: NamespaceType::ALL
                .into_iter()
                .map(|kind| Choice {
                    kind,
                    whose: match whose(kind) {
                        Isolation::Own => "its own",
                        Isolation::Shared => "shared with others",
                        Isolation::Host => "the host's",
                    },
                    own: whose(kind) != Isolation::Host,
                })
                .collect(),
            tools: match own {
                true => Vec::new(),
                false => tools(world),
            },
            all_only: !policy.host_namespaces,
            closed: !own && !policy.join_foreign,
        })
    }
}

fn tools(world: &World) -> Vec<String> {
    let images = world.images();
    let usable = images.iter().filter(|image| image.unavailable.is_none());
    usable.map(|image| image.name.to_string()).collect()
}

/// What the script of a terminal is told.
struct Place {
    /// What sessions are kept by.
    container: String,
    name: String,
    /// The session to show first.
    session: String,
    /// Where sessions are opened, below `/api/v1`.
    open: String,
    /// Where the page goes when its last tab was closed, below the base path.
    home: String,
}

/// The page that holds a container's terminals.
#[derive(Template)]
#[template(path = "terminal.html")]
pub struct TerminalPage {
    shell: Shell,
    head: Head,
    region: Region,
    place: Place,
    opener: Option<Opener>,
}

impl TerminalPage {
    /// The page, showing this session first where one is given.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        container: &AnyContainer,
        session: &str,
        shell: Shell,
    ) -> Self {
        let region = region(world, scene, container, Tab::Terminal);
        let may_open = scene.who.may_change_any(container);
        let whose = |kind| container.namespaces().get(kind).isolation;
        let opener = Opener::new(world, scene.who, container.own().is_some(), whose);
        Self {
            head: Head::new(world, container, scene, Tab::Terminal),
            shell: shell.around(&region),
            region,
            place: Place {
                container: container.id().to_string(),
                name: visible(container.name()),
                session: session.to_owned(),
                open: format!("/containers/{}/sessions", container.id()),
                home: format!("/containers/{}", super::reference(world, container)),
            },
            opener: opener.filter(|_| may_open),
        }
    }
}

/// The page that holds terminals beside a process.
#[derive(Template)]
#[template(path = "process_terminal.html")]
pub struct ProcessTerminalPage {
    shell: Shell,
    place: Place,
    opener: Option<Opener>,
}

impl ProcessTerminalPage {
    /// The page, showing this session first where one is given.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        process: &Process,
        session: &str,
        shell: Shell,
    ) -> Self {
        let whose = |kind| {
            let inode = *process.namespaces.get(kind);
            let initial = |inode| world.namespace(inode).is_some_and(|n| n.initial);
            match inode.is_none_or(initial) {
                true => Isolation::Host,
                false => Isolation::Own,
            }
        };
        let pid = process.host_pid;
        Self {
            shell,
            place: Place {
                container: process
                    .container
                    .as_ref()
                    .map_or_else(|| beside(process), ToString::to_string),
                name: format!("{pid} {}", visible(&process.command)),
                session: session.to_owned(),
                open: format!(
                    "/processes/{pid}/sessions?start_ticks={}",
                    process.start_ticks
                ),
                home: format!("/processes/{pid}"),
            },
            opener: Opener::new(world, scene.who, false, whose),
        }
    }
}
