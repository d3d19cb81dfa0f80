//! What of a page is rendered anew when something has changed.
//!
//! The stream (`GET /events?at=…`), its pace and its bounds are the server's; what is sent is
//! decided here. One [`Follower`] belongs to one open stream and knows what its page shows.

use std::collections::HashMap;

use porthole_protocol::id::{ContainerId, HostPid};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::view::container::{Tab, region, removed};
use super::view::live::Region;
use super::view::{
    self, Scene, compare, containers, images, namespaces, process, processes, sessions, shell,
};
use crate::AppState;
use crate::access::Identity;
use crate::world::{AnyContainer, Change, World};

/// What a page follows: the query of `/events`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// The page's own path and query below the base path, `/containers?q=web`: filters hold for
    /// what is pushed.
    pub at: String,
    /// What the page showed when it was made, so that it is not sent again. Void for a page that
    /// comes back: it has shown other things since.
    pub have: String,
}

/// One open page: what it follows and what it shows.
#[derive(Debug, Default)]
pub struct Follower {
    subject: Subject,
    shown: Option<Region>,
    /// What each piece about use showed last, by its element.
    usage: HashMap<String, String>,
}

impl Follower {
    /// A page that has just connected.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            shown: None,
            usage: HashMap::new(),
        }
    }

    /// What to send when these changes have happened: HTML for one event without a name, whose
    /// pieces say themselves where they belong. `changes` is `None` for a page that has just
    /// connected or fell behind. `None` is answered where nothing that the page shows has changed.
    ///
    /// Called at most every 100 ms for each open page, with all changes since the last call.
    pub fn render(
        &mut self,
        state: &AppState,
        identity: &Identity,
        changes: Option<&[Change]>,
    ) -> Option<String> {
        let mut html = self.draw(state, identity, changes).unwrap_or_default();
        let looked = |changes: &[Change]| changes.iter().any(|c| matches!(c, Change::Usage));
        if !html.is_empty() || changes.is_none_or(looked) {
            self.draw_usage(&state.world, &mut html);
        }
        (!html.is_empty()).then_some(html)
    }

    /// Adds what containers use, where the page shows it and it looks different, or was put anew
    /// into the page together with the row that it stands in.
    fn draw_usage(&mut self, world: &World, html: &mut String) {
        let put_anew = html.clone();
        let mut add = |id: String, swap: &str, piece: String| {
            let anew = put_anew.contains(&format!("id=\"{id}\""));
            if self.usage.get(&id) != Some(&piece) || anew {
                view::live::write(html, &id, swap, &piece);
                self.usage.insert(id, piece);
            }
        };
        match usage_at(&self.subject.at) {
            Some(UsageAt::List) => {
                let shown = self.shown.iter().flat_map(|region| &region.slots);
                let rows = shown.filter(|slot| slot.id == "rows");
                let ids = rows.flat_map(|slot| &slot.parts).filter_map(|part| {
                    let id: ContainerId = part.id.strip_prefix("c-")?.parse().ok()?;
                    Some(id)
                });
                for id in ids {
                    let usage = world.usage(&id);
                    let piece = view::usage::cell(id.as_str(), usage.as_deref());
                    add(view::usage::cell_id(id.as_str()), "outerMorph", piece);
                }
            }
            Some(UsageAt::One(reference)) => {
                if let Ok(container) = world.find_any(reference) {
                    let usage = world.usage(container.id());
                    let piece = view::usage::panel(usage.as_deref());
                    add("usage".to_owned(), "innerMorph", piece);
                }
            }
            None => {}
        }
    }

    fn draw(
        &mut self,
        state: &AppState,
        identity: &Identity,
        changes: Option<&[Change]>,
    ) -> Option<String> {
        if changes.is_some_and(|changes| !concerns(&state.world, &self.subject.at, changes)) {
            return None;
        }
        let scene = Scene {
            base: &state.settings.base_path,
            who: identity,
        };
        let now = drawn(&state.world, super::visit::host(), scene, &self.subject.at);
        let fresh = self.shown.is_none() && Region::digest([&now]) == self.subject.have;
        let before = self.shown.as_ref().filter(|_| changes.is_some());
        let html = if fresh {
            String::new()
        } else {
            now.changes(before)
        };
        self.shown = Some(now);
        (!html.is_empty()).then_some(html)
    }
}

/// Where a page shows what containers use.
enum UsageAt<'a> {
    /// In each row.
    List,
    /// On the page of this one.
    One(&'a str),
}

fn usage_at(at: &str) -> Option<UsageAt<'_>> {
    let path = at.split('?').next().unwrap_or_default();
    let mut parts = path.trim_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("containers"), None, _) => Some(UsageAt::List),
        (Some("containers"), Some(reference), None) => Some(UsageAt::One(reference)),
        _ => None,
    }
}

/// Whether the page at this address shows what containers use.
pub fn shows_usage(at: &str) -> bool {
    usage_at(at).is_some()
}

/// Whether what the page shows can have changed. A busy host starts hundreds of processes a second
/// that no page is about.
fn concerns(world: &World, at: &str, changes: &[Change]) -> bool {
    let path = at.split('?').next().unwrap_or_default();
    let mut parts = path.trim_matches('/').split('/');
    let (section, reference) = (parts.next(), parts.next());
    if section == Some("namespaces") {
        return namespaces::concerns(world, path, changes);
    }
    if let Some("processes" | "compare") = section {
        return changes.iter().any(|change| match change {
            // Of these every list shows something, and nothing of the others.
            Change::Viewers(_) | Change::Image(_) | Change::Engines | Change::Usage => false,
            Change::ImageGone(_) | Change::Importing(_) => false,
            Change::Session(_) | Change::SessionGone(_) | Change::Wires => false,
            _ => true,
        });
    }
    if section == Some("images") {
        return changes.iter().any(|change| match change {
            Change::Image(_) | Change::ImageGone(_) | Change::Importing(_) => true,
            Change::Container(_) | Change::ContainerGone(_) | Change::Keeper => true,
            // How many containers there are stands above each page.
            Change::Foreign(_) | Change::ForeignGone(_) => true,
            _ => false,
        });
    }
    let shown = reference.and_then(|reference| world.find_any(reference).ok());
    changes.iter().any(|change| match change {
        Change::Container(_) | Change::ContainerGone(_) | Change::Keeper => true,
        Change::Foreign(_) | Change::ForeignGone(_) | Change::Engines => true,
        Change::Session(session) | Change::SessionGone(session) => {
            section == Some("sessions")
                || shown.as_ref().is_some_and(|c| *c.id() == session.container)
        }
        Change::Processes {
            containers,
            changed,
            ..
        } => match &shown {
            Some(container) => containers.iter().any(|id| lies_in(world, id, container)),
            // The list shows of processes only how each container numbers its first one.
            None => {
                section == Some("containers")
                    && changed.iter().any(|process| {
                        let container = process.container.as_ref();
                        let container = container.and_then(|id| world.any_container(id));
                        container.is_some_and(|c| c.pid() == Some(process.host_pid))
                    })
            }
        },
        Change::Namespaces { changed, .. } => shown.as_ref().is_some_and(|container| {
            let inodes = container.namespaces().iter().map(|(_, n)| n.inode);
            let mut inodes = inodes.flatten();
            inodes.any(|inode| changed.iter().any(|n| n.inode == inode))
        }),
        Change::Viewers(session) => {
            section == Some("sessions")
                || shown.as_ref().is_some_and(|c| {
                    let session = world.session(session);
                    session.is_some_and(|session| session.container == *c.id())
                })
        }
        Change::Wires => false,
        Change::Image(_) | Change::ImageGone(_) | Change::Importing(_) => false,
        // Drawn by itself.
        Change::Usage => false,
    })
}

/// Whether a container is this one, or lies in it however deep: a map shows those too.
fn lies_in(world: &World, id: &ContainerId, outer: &AnyContainer) -> bool {
    let mut next = Some(id.clone());
    for _ in 0..32 {
        match next {
            Some(id) if id == *outer.id() => return true,
            Some(id) => next = world.any_container(&id).and_then(|c| c.within().cloned()),
            None => return false,
        }
    }
    false
}

/// What is live of the page at this address, for who may see it.
fn drawn(world: &World, host: &shell::Host, scene: Scene<'_>, at: &str) -> Region {
    let (path, query) = at.split_once('?').unwrap_or((at, ""));
    let mut parts = path.trim_matches('/').split('/');
    let mut all = shell::region(world, host, scene);
    let page = match (parts.next(), parts.next(), parts.next()) {
        (Some("containers"), None, _) => containers::region(world, scene, &listing(query)),
        (Some("containers"), Some(reference), tab) => {
            of_container(world, scene, reference, tab.unwrap_or_default())
        }
        (Some("namespaces"), kind, inode) => namespaces::region(world, scene, (kind, inode), query),
        (Some("processes"), None, _) => processes::region(world, scene, &listing(query)),
        (Some("processes"), Some(pid), None) => of_process(world, scene, pid, query),
        (Some("compare"), None, _) => compare::region(world, scene, query),
        (Some("images"), None, _) => images::region(world, scene, &listing(query)),
        (Some("images"), Some(part), None) => images::one::region(world, scene, part),
        (Some("sessions"), None, _) => sessions::region(world, scene, &listing(query)),
        _ => Region::default(),
    };
    all.slots.extend(page.slots);
    all
}

fn listing<T: DeserializeOwned + Default>(query: &str) -> T {
    serde_urlencoded::from_str(query).unwrap_or_default()
}

/// The process that the page began with: the address that it follows says its start too.
fn of_process(world: &World, scene: Scene<'_>, pid: &str, query: &str) -> Region {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Which {
        start: Option<u64>,
    }
    let Which { start } = listing(query);
    match pid.parse() {
        Ok(pid) => process::region(world, scene, HostPid(pid), start),
        Err(_) => Region::default(),
    }
}

fn of_container(world: &World, scene: Scene<'_>, reference: &str, path: &str) -> Region {
    let tab = Tab::ALL.into_iter().find(|tab| tab.path() == path);
    match (world.find_any(reference), tab) {
        (Ok(container), Some(tab))
            if !tab.looks_into() || scene.who.may_look_into_container(&container) =>
        {
            region(world, scene, &container, tab)
        }
        (Err(_), Some(_)) => removed(),
        _ => Region::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::sample;
    use super::*;
    use crate::access::Role;
    use porthole_protocol::keeper::Event;

    fn region_at(world: &World, who: &Identity, at: &str) -> Region {
        drawn(world, &shell::Host::default(), Scene { base: "", who }, at)
    }

    #[test]
    fn a_stopped_container_changes_its_row_alone() {
        let world = sample::world();
        let who = sample::admin();
        let before = region_at(&world, &who, "/containers");
        let mut web = (*world.find("web").expect("there")).clone();
        web.pid = None;
        web.state = porthole_protocol::container::ContainerState::Exited;
        world.apply(Event::Container(Box::new(web)));
        let changes = region_at(&world, &who, "/containers").changes(Some(&before));
        let row = format!("#c-{}", sample::id(1));
        assert!(changes.contains(&row), "{changes}");
        assert_eq!(changes.matches("<hx-partial").count(), 1, "{changes}");
    }

    #[test]
    fn a_process_elsewhere_concerns_no_page() {
        let world = sample::world();
        let change = |container: Option<porthole_protocol::id::ContainerId>, pid| {
            let mut process = sample::process(pid, 1, &[pid], "a");
            process.container.clone_from(&container);
            [Change::Processes {
                containers: std::sync::Arc::new(container.into_iter().collect()),
                changed: std::sync::Arc::new(vec![std::sync::Arc::new(process)]),
                gone: std::sync::Arc::default(),
            }]
        };
        let elsewhere = change(None, 9);
        let of_web = change(Some(sample::id(1)), 7561);
        let first_of_web = change(Some(sample::id(1)), 7548);
        for (at, changes, concerned) in [
            ("/containers", &elsewhere, false),
            ("/containers", &of_web, false),
            ("/containers", &first_of_web, true),
            ("/containers/web", &elsewhere, false),
            ("/containers/web/processes", &of_web, true),
            ("/containers/sidecar", &of_web, false),
        ] {
            assert_eq!(concerns(&world, at, changes), concerned, "{at} {changes:?}");
        }
    }

    #[test]
    fn a_filter_holds_for_what_is_pushed() {
        let world = sample::world();
        let who = sample::admin();
        let rows = region_at(&world, &who, "/containers?q=side").slot("rows");
        assert!(rows.contains("sidecar") && !rows.contains(sample::id(1).as_str()));
    }

    #[test]
    fn another_persons_processes_are_not_pushed() {
        let world = sample::world();
        let stranger = sample::identity("ada", Role::User);
        let processes = region_at(&world, &stranger, "/containers/web/processes");
        assert_eq!(processes.slot("rows"), "");
        let overview = region_at(&world, &stranger, "/containers/web");
        assert!(!overview.slot("map").contains("nginx"));
        assert!(!overview.slot("facts").contains("nginx"));
        let own = region_at(&world, &sample::admin(), "/containers/web");
        assert!(own.slot("map").contains("nginx"), "the control");
    }

    /// A host with three thousand processes of which twenty change within a tenth of a second: what
    /// each open page costs. A debug build is some ten times slower than what is delivered.
    #[test]
    fn a_change_among_three_thousand_processes_is_drawn_in_milliseconds() {
        let world = sample::nested();
        sample::fill_with(&world, 3000, 1);
        let who = sample::admin();
        for at in [
            "/processes",
            "/processes?view=tree",
            "/processes?q=orders",
            "/processes/20000?start=1",
        ] {
            let mut before = region_at(&world, &who, at);
            let mut best = std::time::Duration::MAX;
            for round in 0..5 {
                let processes = (0..20)
                    .map(|n| {
                        let mut process =
                            (*world.process(HostPid(20_000 + n * 7)).expect("there")).clone();
                        process.rss += (round + 1) << 20;
                        process
                    })
                    .collect();
                world.observe(porthole_protocol::observation::Update {
                    processes,
                    ..Default::default()
                });
                let began = std::time::Instant::now();
                let now = region_at(&world, &who, at);
                let html = now.changes(Some(&before));
                best = best.min(began.elapsed());
                // Only rows that have changed are sent, however many there are.
                assert!(html.len() < 80_000, "{at}: {}", html.len());
                assert!(
                    html.contains("outerMorph") || at.contains("start"),
                    "{at}: {html}"
                );
                before = now;
            }
            eprintln!("{at}: {best:?}");
            let most = if cfg!(debug_assertions) { 150 } else { 10 };
            assert!(best.as_millis() < most, "{at}: {best:?}");
        }
    }

    #[test]
    fn two_thousand_containers_cost_no_more() {
        let world = sample::nested();
        sample::fill_with_containers(&world, 2000);
        let who = sample::admin();
        for at in [
            "/processes",
            "/processes?view=tree&q=sleep",
            "/processes?view=map",
            "/processes/40000?start=1",
            "/compare?a=40000&b=40001",
            "/containers/web",
        ] {
            let best = (0..3).map(|_| {
                let began = std::time::Instant::now();
                let region = region_at(&world, &who, at);
                assert!(!region.changes(None).is_empty());
                began.elapsed()
            });
            let best = best.min().expect("three");
            eprintln!("{at}: {best:?}");
            let most = if cfg!(debug_assertions) { 300 } else { 20 };
            assert!(best.as_millis() < most, "{at}: {best:?}");
        }
    }

    #[test]
    fn another_persons_command_lines_are_not_pushed() {
        let world = sample::nested();
        let stranger = sample::identity("ada", Role::User);
        for at in [
            "/processes",
            "/processes?view=tree",
            "/processes?view=map",
            "/processes/7561?start=1",
            "/compare?a=web&b=7563",
        ] {
            let all = |who| -> String {
                let region = region_at(&world, who, at);
                let parts = region.slots.iter().flat_map(|slot| &slot.parts);
                parts.map(|part| part.html.as_str()).collect()
            };
            let (theirs, own) = (all(&stranger), all(&sample::admin()));
            for secret in ["daemon off", "worker process", "1d"] {
                assert!(!theirs.contains(secret), "{at}: {secret} in {theirs}");
            }
            assert!(
                at.contains("compare") || own.contains("daemon off"),
                "the control: {at}"
            );
        }
    }

    #[test]
    fn a_removed_container_says_so() {
        let world = sample::world();
        let who = sample::admin();
        world.apply(Event::ContainerGone(sample::id(1)));
        let gone = region_at(&world, &who, "/containers/web");
        assert!(gone.slot("failed").contains("removed"));
    }
}
