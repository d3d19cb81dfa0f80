//! Sessions: of a container, and all of them.

use std::sync::Arc;

use askama::Template;
use porthole_protocol::session::{ExitKind, Session};
use serde::{Deserialize, Serialize};

use super::list::{self, Choice};
use super::live::{Part, Region};
use super::shell::Shell;
use super::words::{When, command_line, visible, watching};
use super::{Scene, html};
use crate::access::Identity;
use crate::actions::sessions::{beside_whom, in_place_of_command, may_look};
use crate::world::{AnyContainer, World};

/// A session's row.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/session_row.html")]
struct SessionRow {
    base: String,
    id: String,
    short: String,
    /// Where it runs, below the base path.
    place: String,
    /// What that is called; nothing where it is gone.
    container: Option<String>,
    in_list: bool,
    command: String,
    owner: String,
    running: bool,
    class: &'static str,
    state: String,
    reason: String,
    host_pid: Option<i32>,
    container_pid: Option<i32>,
    tty: String,
    watching: Option<String>,
    started: When,
    ended: Option<When>,
    may_open: bool,
    may_end: bool,
}

impl SessionRow {
    fn of(session: &Session, world: &World, scene: Scene<'_>, in_list: bool) -> Self {
        let container = world.any_container(&session.container);
        let beside = beside_whom(&session.container).filter(|pid| world.process(*pid).is_some());
        let (place, container) = match (container, beside) {
            (Some(container), _) => (
                format!("/containers/{}", super::reference(world, &container)),
                Some(visible(container.name())),
            ),
            (None, Some(pid)) => (format!("/processes/{pid}"), Some(format!("process {pid}"))),
            (None, None) => (String::new(), None),
        };
        let looks = may_look(world, scene.who, session);
        let state = match &session.exit {
            None => "running".to_owned(),
            Some(exit) => match exit.kind {
                ExitKind::Exited => format!("exited ({})", exit.code),
                ExitKind::Signal => format!("killed ({})", exit.code),
                ExitKind::Ended => "ended".to_owned(),
                ExitKind::Lost => "lost".to_owned(),
            },
        };
        Self {
            base: scene.base.to_owned(),
            id: session.id.to_string(),
            short: session.id.short().to_owned(),
            place,
            container,
            in_list,
            command: if looks {
                command_line(&session.command)
            } else {
                in_place_of_command(session).to_owned()
            },
            owner: session.owner.to_string(),
            running: session.exit.is_none(),
            class: match &session.exit {
                None => "running",
                Some(exit) if exit.kind == ExitKind::Lost => "unknown",
                Some(_) => "exited",
            },
            state,
            reason: session
                .exit
                .as_ref()
                .map_or_else(String::new, |exit| visible(&exit.reason)),
            host_pid: session.host_pid.map(|pid| pid.0),
            container_pid: session.container_pid.map(|pid| pid.0),
            tty: match (&session.tty_name, session.tty) {
                (Some(name), _) => visible(name.trim_start_matches("/dev/")),
                (None, true) => "terminal".to_owned(),
                (None, false) => "pipes".to_owned(),
            },
            watching: watching(&world.watched(&session.id)),
            started: session.started_at.into(),
            ended: session.exit.as_ref().map(|exit| exit.at.into()),
            may_open: looks,
            may_end: scene.who.may_change_session(session),
        }
    }
}

#[derive(Template)]
#[template(path = "partials/session_table.html")]
struct SessionTable {
    rows: Vec<SessionRow>,
    base: String,
    at: String,
    running: bool,
    may_open: bool,
}

/// A container's sessions as a table.
pub fn table_of(world: &World, container: &AnyContainer, scene: Scene<'_>) -> String {
    let mut rows: Vec<_> = world
        .sessions_of(container.id())
        .iter()
        .map(|session| SessionRow::of(session, world, scene, false))
        .collect();
    // The running ones first, each half the newest first as it came.
    rows.sort_by_key(|row| !row.running);
    rows.truncate(20);
    html(&SessionTable {
        rows,
        base: scene.base.to_owned(),
        at: super::reference(world, container),
        running: container.pid().is_some(),
        may_open: scene.who.may_change_any(container),
    })
}

/// What the address of the list says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// Words that container, command, owner or id hold.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub q: String,
    /// `running`, `ended` or all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
}

/// What a list can be narrowed to.
const STATES: [(&str, &str); 3] = [("All", ""), ("Running", "running"), ("Ended", "ended")];

impl Listing {
    fn with_state(&self, state: &str) -> String {
        let other = Self {
            q: self.q.clone(),
            state: state.to_owned(),
        };
        list::query(&other)
    }

    fn holds(&self, session: &Session, world: &World, who: &Identity) -> bool {
        let state = match self.state.as_str() {
            "running" => session.exit.is_none(),
            "ended" => session.exit.is_some(),
            _ => true,
        };
        state && {
            let container = world.any_container(&session.container);
            let text = format!(
                "{} {} {} {}",
                container.as_ref().map_or("", AnyContainer::name),
                if may_look(world, who, session) {
                    session.command.join(" ")
                } else {
                    String::new()
                },
                session.owner,
                session.id
            )
            .to_lowercase();
            self.q
                .to_lowercase()
                .split_whitespace()
                .all(|word| text.contains(word))
        }
    }

    fn select(&self, world: &World, who: &Identity) -> Vec<Arc<Session>> {
        let mut all = world.sessions();
        all.retain(|session| self.holds(session, world, who));
        all.sort_by_key(|s| (s.exit.is_some(), std::cmp::Reverse(s.started_at)));
        all
    }
}

/// The page.
#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionsPage {
    shell: Shell,
    listing: Listing,
    states: Vec<Choice>,
    region: Region,
}

impl SessionsPage {
    /// The page for this list.
    pub fn new(world: &World, scene: Scene<'_>, listing: &Listing, shell: Shell) -> Self {
        let states = Choice::of_states(&STATES, &listing.state, |s| listing.with_state(s));
        let region = region(world, scene, listing);
        Self {
            shell: shell.around(&region),
            listing: listing.clone(),
            states,
            region,
        }
    }
}

#[derive(Template)]
#[template(path = "partials/sessions_empty.html")]
struct Empty {
    base: String,
    any: bool,
}

/// What of the list is live.
pub fn region(world: &World, scene: Scene<'_>, listing: &Listing) -> Region {
    let total = world.sessions().len();
    let parts: Vec<_> = listing
        .select(world, scene.who)
        .iter()
        .map(|session| Part {
            id: format!("s-{}", session.id),
            html: html(&SessionRow::of(session, world, scene, true)),
        })
        .collect();
    let counts = (parts.len(), total);
    list::region(parts, counts, ("session", "sessions"), || {
        html(&Empty {
            base: scene.base.to_owned(),
            any: total > 0,
        })
    })
}
