//! The commands that do what a page's buttons do: curl(1) against the API, and, where the kernel
//! can be asked without Porthole, its own tools.
//!
//! Whatever names an object is quoted for a shell. No command holds a secret: the token is a
//! variable of the reader's shell, a password lies in a file.

mod namespaces;

use askama::Template;
use porthole_protocol::container::{ContainerSpec, ContainerState};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{HostPid, SessionId};
use porthole_protocol::namespace::{Isolation, NamespaceType};

use super::shell::Shell;
use super::words::visible_lines;
use super::{Scene, containers, html, processes, sessions};
use crate::world::{AnyContainer, World};

/// A command: what it does, the command, and what has to be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equal {
    does: &'static str,
    command: String,
    note: &'static str,
}

/// The commands of a page, for its dialog.
#[derive(Template)]
#[template(path = "partials/commands.html")]
pub struct Commands {
    base: String,
    rows: Vec<Equal>,
}

/// The same as a page of its own.
#[derive(Template)]
#[template(path = "commands.html")]
pub struct CommandsPage {
    shell: Shell,
    commands: String,
}

impl CommandsPage {
    /// The page.
    pub fn new(shell: Shell, commands: &Commands) -> Self {
        Self {
            shell,
            commands: html(commands),
        }
    }
}

/// What nsenter(1) calls a type.
const fn nsenter_flag(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Mnt => "--mount",
        NamespaceType::Uts => "--uts",
        NamespaceType::Ipc => "--ipc",
        NamespaceType::Pid => "--pid",
        NamespaceType::Net => "--net",
        NamespaceType::User => "--user",
        NamespaceType::Cgroup => "--cgroup",
        NamespaceType::Time => "--time",
    }
}

/// Enters these namespaces of a process.
pub fn nsenter(pid: HostPid, kinds: impl IntoIterator<Item = NamespaceType>) -> String {
    kinds
        .into_iter()
        .fold(format!("nsenter --target {pid}"), |line, kind| {
            line + " " + nsenter_flag(kind)
        })
}

/// Enters a namespace by a file that leads to it: a mount, an open descriptor.
pub fn nsenter_file(kind: NamespaceType, path: &str) -> String {
    format!(
        "nsenter {}={}",
        nsenter_flag(kind),
        shell_words::quote(path)
    )
}

/// Shows a process from every side that ps(1) knows.
pub fn ps(pid: HostPid) -> String {
    format!("ps -o pid,ppid,uid,gid,tty,stat,nlwp,rss,lstart,pidns,userns,cgroup,args -p {pid}")
}

/// Lists one namespace of a process, or all of them.
pub fn lsns(pid: HostPid, kind: Option<NamespaceType>) -> String {
    match kind {
        Some(kind) => format!("lsns --type {kind} --task {pid}"),
        None => format!("lsns --task {pid}"),
    }
}

/// Makes a container of this specification.
pub fn create(spec: &ContainerSpec, origin: &str) -> String {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    leave_out_defaults(&mut value);
    let body = serde_json::to_string(&value).unwrap_or_default();
    Api(origin).with("POST", "/containers", &shell_words::quote(&body))
}

/// Without what is so anyway.
fn leave_out_defaults(spec: &mut serde_json::Value) {
    let Some(fields) = spec.as_object_mut() else {
        return;
    };
    if let Some(limits) = fields.get_mut("limits").and_then(|l| l.as_object_mut()) {
        limits.retain(|_, v| !v.is_null());
    }
    fields.retain(|name, value| match name.as_str() {
        "init" | "start" => value == false,
        "tty" => value == true,
        _ => match value {
            serde_json::Value::Null => false,
            serde_json::Value::Array(items) => !items.is_empty(),
            serde_json::Value::Object(items) => !items.is_empty(),
            _ => true,
        },
    });
}

/// Where the API is.
struct Api<'a>(&'a str);

impl Api<'_> {
    fn get(&self, path: &str) -> String {
        let address = format!("{}/api/v1{path}", self.0);
        // A variable of the reader's shell stays one; it stands in our own words only.
        let ours = |b: u8| b.is_ascii_alphanumeric() || b"/:._-?=$[]".contains(&b);
        let address = if path.contains('$') && address.bytes().all(ours) {
            format!("\"{address}\"").into()
        } else {
            shell_words::quote(&address)
        };
        format!("curl -H \"Authorization: Bearer $TOKEN\" {address}")
    }

    fn send(&self, method: &str, path: &str) -> String {
        self.get(path)
            .replacen("curl ", &format!("curl -X {method} "), 1)
    }

    /// With a body of JSON, quoted already; `--json` makes a POST by itself.
    fn with(&self, method: &str, path: &str, body: &str) -> String {
        let call = if method == "POST" {
            self.get(path)
        } else {
            self.send(method, path)
        };
        format!("{call} --json {body}")
    }
}

fn equal(does: &'static str, command: &str) -> Equal {
    noted(does, command, "")
}

fn noted(does: &'static str, command: &str, note: &'static str) -> Equal {
    Equal {
        does,
        command: visible_lines(command),
        note,
    }
}

impl Commands {
    /// Those of the page at this address below the base path, for who may do what they do.
    pub fn of(world: &World, scene: Scene<'_>, origin: &str, at: &str) -> Self {
        let (path, query) = at.split_once('?').unwrap_or((at, ""));
        let mut parts = path.trim_matches('/').split('/');
        let api = Api(origin);
        let mut rows = match (parts.next(), parts.next()) {
            (Some("containers"), None) => of_containers(&api, scene, query),
            (Some("containers"), Some("new")) => vec![making(&api)],
            (Some("containers"), Some(name)) => match world.find_any(name) {
                Ok(container) => of_container(&api, world, &container, scene),
                Err(_) => Vec::new(),
            },
            (Some("namespaces"), None) => namespaces::of_list(&api, query),
            (Some("namespaces"), Some(_)) => namespaces::of_one(&api, world, scene, path),
            (Some("processes"), None) => of_processes(&api, query),
            (Some("processes"), Some(pid)) => of_process(&api, world, pid),
            (Some("compare"), _) => of_comparison(&api, query),
            (Some("sessions"), _) => of_sessions(&api, query),
            (Some("settings"), _) => of_settings(&api, scene),
            _ => Vec::new(),
        };
        if path.ends_with("/terminal") {
            rows.extend(of_session(&api, world, scene, query));
        }
        Self {
            base: scene.base.to_owned(),
            rows,
        }
    }
}

fn making(api: &Api<'_>) -> Equal {
    noted(
        "New container",
        &api.with("POST", "/containers", "'{\"image\": \"busybox\"}'"),
        "The form shows the whole command for what is filled in.",
    )
}

fn of_containers(api: &Api<'_>, scene: Scene<'_>, query: &str) -> Vec<Equal> {
    let listing: containers::Listing = serde_urlencoded::from_str(query).unwrap_or_default();
    // The columns' names for sorting are the page's own.
    let asked = containers::Listing {
        sort: String::new(),
        ..listing
    };
    let list = format!("/containers{}", super::list::query(&asked));
    let mut rows = vec![equal("This list", &api.get(&list))];
    if scene.who.may_create() {
        rows.push(making(api));
        rows.extend(changes(api, "$NAME", |_| true));
    }
    rows
}

/// What changes a container; `offered` says of each whether it can be done now.
fn changes(api: &Api<'_>, name: &str, offered: impl Fn(&str) -> bool) -> Vec<Equal> {
    let act = |verb: &str| format!("/containers/{name}/{verb}");
    let all = [
        ("Start", api.send("POST", &act("start"))),
        ("Stop", api.send("POST", &act("stop"))),
        (
            "Kill",
            api.with("POST", &act("kill"), "'{\"signal\": \"SIGKILL\"}'"),
        ),
        (
            "Remove",
            api.send("DELETE", &format!("/containers/{name}?force=true")),
        ),
    ];
    all.iter()
        .filter(|(does, _)| offered(does))
        .map(|(does, command)| equal(does, command))
        .collect()
}

fn of_container(
    api: &Api<'_>,
    world: &World,
    container: &AnyContainer,
    scene: Scene<'_>,
) -> Vec<Equal> {
    let name = super::reference(container);
    let of = |what: &str| format!("/containers/{name}{what}");
    let may_look = scene.who.may_look_into_container(container);
    let may_change = scene.who.may_change_any(container);
    let mut rows = Vec::new();
    if let Some(pid) = container.pid() {
        if may_change {
            let open = api.with("POST", &of("/sessions"), "'{\"tty\": true}'");
            rows.push(noted("Terminal", &open, "What it answers names the session; the page attaches to it by WebSocket, at /api/v1/sessions/ID/attach."));
            rows.push(noted("Terminal, by the kernel alone", &enter(container, pid), "As root on the host. These are the namespaces that docker exec -it joins; but this shell stays in the host's control group, and is not confined as the container is."));
        }
        if let Engine::Docker | Engine::Podman = container.engine() {
            let name = shell_words::quote(container.name());
            let exec = format!("{} exec -it {name} sh", container.engine());
            rows.push(equal("Terminal, by its engine", &exec));
        }
        rows.push(equal("Namespaces", &lsns(pid, None)));
    }
    rows.push(equal("Inspect", &api.get(&of(""))));
    if may_look {
        rows.push(equal("Processes", &api.get(&of("/processes"))));
        rows.push(equal("Mounts", &api.get(&of("/mounts"))));
        rows.push(equal("Network", &api.get(&of("/network"))));
        rows.push(equal("Security", &api.get(&of("/security"))));
        rows.push(equal("Not isolated", &api.get(&of("/isolation"))));
        rows.push(equal("Logs", &api.get(&of("/logs"))));
        let follow = api
            .get(&of("/logs?follow=true"))
            .replacen("curl", "curl -N", 1);
        rows.push(equal("Logs, followed", &follow));
    }
    let managed = match container {
        AnyContainer::Own(_) => true,
        AnyContainer::Foreign(foreign) => world.managed(foreign).is_ok(),
    };
    if may_change && managed {
        let running = matches!(
            container.state(),
            ContainerState::Running | ContainerState::Paused
        );
        rows.extend(changes(api, &name, |does| match does {
            "Start" => !running,
            "Remove" => true,
            _ => running,
        }));
    }
    rows
}

/// A shell in all the namespaces that are not the host's. In the host's own user namespace setns(2)
/// would be refused, and in the others it would change nothing.
fn enter(container: &AnyContainer, pid: HostPid) -> String {
    let kinds = NamespaceType::ALL
        .into_iter()
        .filter(|kind| container.namespaces().get(*kind).isolation != Isolation::Host);
    nsenter(pid, kinds) + " sh"
}

fn of_processes(api: &Api<'_>, query: &str) -> Vec<Equal> {
    let listing: processes::listing::Listing =
        serde_urlencoded::from_str(query).unwrap_or_default();
    let mut asked = Vec::new();
    let numbers: Vec<&str> = listing.q.split(['/', ' ']).collect();
    match numbers.last().and_then(|last| last.parse::<u32>().ok()) {
        // The interface knows a number on any level; the others of a path are not needed for it.
        Some(pid) => asked.push(("pid", pid.to_string())),
        None if !listing.q.is_empty() => asked.push(("q", listing.q.clone())),
        None => {}
    }
    for (name, value) in [("container", &listing.container), ("uid", &listing.uid)] {
        if !value.is_empty() && value != "none" {
            asked.push((name, value.clone()));
        }
    }
    let query = serde_urlencoded::to_string(&asked).unwrap_or_default();
    let path = if query.is_empty() {
        "/processes".to_owned()
    } else {
        format!("/processes?{query}")
    };
    vec![
        equal("This list", &api.get(&path)),
        noted(
            "The same, by the kernel alone",
            "ps -eo pid,ppid,uid,gid,tty,stat,nlwp,rss,pidns,userns,args --forest",
            "PIDs inside are in the line NSpid of /proc/PID/status.",
        ),
        equal("Every namespace", "lsns"),
    ]
}

fn of_process(api: &Api<'_>, world: &World, pid: &str) -> Vec<Equal> {
    let Some(process) = pid.parse().ok().and_then(|pid| world.process(HostPid(pid))) else {
        return Vec::new();
    };
    let pid = process.host_pid;
    let isolated = NamespaceType::ALL.into_iter().filter(|kind| {
        let inode = *process.namespaces.get(*kind);
        inode.is_some_and(|inode| !world.namespace(inode).is_some_and(|n| n.initial))
    });
    let enter = nsenter(pid, isolated);
    vec![
        equal("The process", &api.get(&format!("/processes/{pid}"))),
        equal(
            "What is read inside",
            &api.get(&format!("/processes/{pid}/detail")),
        ),
        equal("The process, by the kernel alone", &ps(pid)),
        noted(
            "Its numbers, ids, capabilities, seccomp",
            &format!("cat /proc/{pid}/status"),
            "NSpid holds its PID on every level, the outermost first.",
        ),
        equal("Its namespaces", &lsns(pid, None)),
        equal("Their files", &format!("ls -l /proc/{pid}/ns")),
        noted(
            "A shell in those that are not the host's",
            &format!("{enter} sh"),
            "As root on the host.",
        ),
    ]
}

fn of_comparison(api: &Api<'_>, query: &str) -> Vec<Equal> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let wanted = super::compare::Wanted::from_query(&pairs);
    let query = serde_urlencoded::to_string([("a", &wanted.a), ("b", &wanted.b)]);
    let path = format!("/compare?{}", query.unwrap_or_default());
    vec![equal("This comparison", &api.get(&path))]
}

fn of_sessions(api: &Api<'_>, query: &str) -> Vec<Equal> {
    let listing: sessions::Listing = serde_urlencoded::from_str(query).unwrap_or_default();
    let asked = sessions::Listing {
        state: String::new(),
        ..listing
    };
    let list = format!("/sessions{}", super::list::query(&asked));
    let mut rows = vec![equal("This list", &api.get(&list))];
    rows.extend(session(api, "$SESSION", true));
    rows
}

fn session(api: &Api<'_>, id: &str, may_end: bool) -> Vec<Equal> {
    let of = |what: &str| format!("/sessions/{id}{what}");
    let mut rows = vec![
        noted(
            "The session",
            &api.get(&of("")),
            "Its command, its processes, and who watches it.",
        ),
        equal("Its output", &api.get(&of("/journal?format=text"))),
    ];
    if may_end {
        rows.push(noted(
            "End the session",
            &api.send("DELETE", &of("")),
            "Every process of it is killed.",
        ));
    }
    rows
}

/// The session that a terminal's address names.
fn of_session(api: &Api<'_>, world: &World, scene: Scene<'_>, query: &str) -> Vec<Equal> {
    let named = serde_urlencoded::from_str::<Vec<(String, String)>>(query).unwrap_or_default();
    let id = named.into_iter().find(|(name, _)| name == "session");
    let id: Option<SessionId> = id.and_then(|(_, id)| id.parse().ok());
    match id.and_then(|id| world.session(&id)) {
        Some(known) if scene.who.may_look_into(&known.owner) => {
            let may_end = known.exit.is_none() && scene.who.may_change_session(&known);
            session(api, known.id.as_str(), may_end)
        }
        _ => Vec::new(),
    }
}

fn of_settings(api: &Api<'_>, scene: Scene<'_>) -> Vec<Equal> {
    let mut rows = vec![
        noted(
            "Change the password",
            &api.with("POST", "/password", "@password.json"),
            "The file holds {\"current\": …, \"new\": …}.",
        ),
        equal("Tokens", &api.get("/tokens")),
        equal(
            "New token",
            &api.with("POST", "/tokens", "'{\"name\": \"what it is for\"}'"),
        ),
        noted(
            "Delete a token",
            &api.send("DELETE", "/tokens/$ID"),
            "This is how a program signs out.",
        ),
    ];
    if scene.who.is_admin() {
        rows.extend([
            equal("Accounts", &api.get("/users")),
            noted(
                "New account",
                &api.with("POST", "/users", "@account.json"),
                "The file holds {\"user\": …, \"role\": …, \"password\": …}.",
            ),
            equal(
                "Change a role",
                &api.with("PATCH", "/users/$NAME", "'{\"role\": \"viewer\"}'"),
            ),
            noted(
                "Reset a password",
                &api.with("PATCH", "/users/$NAME", "@password.json"),
                "The file holds {\"password\": …}.",
            ),
            noted(
                "Reset a password, without signing in",
                "porthole admin reset-password \"$NAME\"",
                "As root on the machine: for who has lost the last administrator's.",
            ),
            equal("Delete an account", &api.send("DELETE", "/users/$NAME")),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::access::{Identity, Role};

    const ORIGIN: &str = "http://127.0.0.1:7678";

    fn at(who: &Identity, path: &str) -> Vec<Equal> {
        let world = sample::world();
        Commands::of(&world, Scene { base: "", who }, ORIGIN, path).rows
    }

    fn words(rows: &[Equal], does: &str) -> Vec<String> {
        let row = rows.iter().find(|row| row.does == does);
        let row = row.unwrap_or_else(|| panic!("{does} in {rows:#?}"));
        shell_words::split(&row.command).expect("a command")
    }

    #[test]
    fn a_terminal_is_entered_by_every_namespace_that_is_not_the_hosts() {
        let entered = words(
            &at(&sample::admin(), "/containers/web"),
            "Terminal, by the kernel alone",
        );
        assert_eq!(
            entered.join(" "),
            "nsenter --target 7548 --mount --uts --ipc --pid --net --user --cgroup sh"
        );
    }

    #[test]
    fn only_what_can_be_done_now_and_by_this_person_is_there() {
        let does = |who: &Identity, path: &str| -> Vec<_> {
            at(who, path).iter().map(|row| row.does).collect()
        };
        let admin = sample::admin();
        let running = does(&admin, "/containers/web/logs");
        assert!(running.contains(&"Stop") && !running.contains(&"Start"));
        let ended = does(&admin, "/containers/old-lab");
        assert!(ended.contains(&"Start") && !ended.contains(&"Terminal"));
        let stranger = sample::identity("ada", Role::User);
        assert_eq!(
            does(&stranger, "/containers/web"),
            ["Namespaces", "Inspect"]
        );
        assert!(!does(&stranger, "/settings").contains(&"Accounts"));
        assert!(does(&admin, "/settings").contains(&"Accounts"));
        assert_eq!(does(&admin, "/nowhere"), Vec::<&str>::new());
    }

    #[test]
    fn the_session_of_the_address_is_the_one_that_is_ended() {
        let world = sample::world();
        let known = world.sessions();
        let running = known.iter().find(|s| s.exit.is_none()).expect("there");
        let path = format!("/containers/web/terminal?session={}", running.id);
        let words = words(&at(&sample::admin(), &path), "End the session");
        assert_eq!(words[..3], ["curl", "-X", "DELETE"]);
        assert!(
            words
                .last()
                .expect("an address")
                .ends_with(running.id.as_str())
        );
    }

    #[test]
    fn only_our_own_words_stay_open_to_the_readers_shell() {
        let api = Api(ORIGIN);
        let named = api.get("/containers/$NAME?force=true");
        assert!(named.ends_with("/containers/$NAME?force=true\""), "{named}");
        let hostile = api.get("/containers/$(reboot)");
        assert!(hostile.ends_with("/containers/$(reboot)'"), "{hostile}");
    }

    #[test]
    fn what_is_searched_for_stays_one_word_of_the_command() {
        let words = words(
            &at(&sample::admin(), "/containers?q=a%26b%3Brm"),
            "This list",
        );
        assert_eq!(words[3], format!("{ORIGIN}/api/v1/containers?q=a%26b%3Brm"));
        assert_eq!(words.len(), 4);
    }
}
