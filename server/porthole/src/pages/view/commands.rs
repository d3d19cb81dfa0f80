//! The commands that do what a page's buttons do: curl(1) against the API, and, where the kernel
//! can be asked without Porthole, its own tools.
//!
//! Whatever names an object is quoted for a shell. No command holds a secret: the token is a
//! variable of the reader's shell, a password lies in a file.

mod api;
mod containers;
mod images;
mod kernel;
mod namespaces;
mod processes;

use askama::Template;
use porthole_protocol::id::SessionId;

use self::api::Api;
use super::shell::Shell;
use super::words::visible_lines;
use super::{Scene, html, sessions};
use crate::actions::sessions::may_look;
use crate::world::World;

pub use self::containers::create;
pub use self::images::import as import_image;
pub use self::kernel::{lsns, nsenter, nsenter_file, ps};

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
            (Some("containers"), None) => containers::of_list(&api, scene, query),
            (Some("containers"), Some("new")) => vec![containers::making(&api)],
            (Some("containers"), Some(name)) => match world.find_any(name) {
                Ok(container) => containers::of_one(&api, world, &container, scene),
                Err(_) => Vec::new(),
            },
            (Some("namespaces"), None) => namespaces::of_list(&api, query),
            (Some("namespaces"), Some(_)) => namespaces::of_one(&api, world, scene, path),
            (Some("processes"), None) => processes::of_list(&api, query),
            (Some("processes"), Some(pid)) => processes::of_one(&api, world, pid),
            (Some("compare"), _) => of_comparison(&api, query),
            (Some("images"), None | Some("prune")) => images::of_list(&api, scene),
            (Some("images"), Some(part)) => images::of_one(&api, world, scene, part),
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
        Some(known) if may_look(world, scene.who, &known) => {
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
        equal("What one has and may have", &api.get("/account")),
        equal("Sign-ins", &api.get("/sign-ins")),
        equal("End a sign-in", &api.send("DELETE", "/sign-ins/$ID")),
        equal("End all others", &api.send("DELETE", "/sign-ins")),
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
            equal(
                "Disable an account",
                &api.with("PATCH", "/users/$NAME", "'{\"disabled\": true}'"),
            ),
            equal(
                "Set limits",
                &api.with(
                    "PATCH",
                    "/users/$NAME",
                    "'{\"limits\": {\"containers\": 3}}'",
                ),
            ),
            noted(
                "Delete an account",
                &api.send("DELETE", "/users/$NAME"),
                "With ?containers=remove its containers go with it.",
            ),
            equal("Audit trail", &api.get("/audit")),
            noted(
                "Verify the audit trail",
                "porthole audit verify",
                "As root on the machine; --against FILE compares with the server's log.",
            ),
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
            ["Namespaces", "Inspect", "Use"]
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
    fn what_is_searched_for_stays_one_word_of_the_command() {
        let words = words(
            &at(&sample::admin(), "/containers?q=a%26b%3Brm"),
            "This list",
        );
        assert_eq!(words[3], format!("{ORIGIN}/api/v1/containers?q=a%26b%3Brm"));
        assert_eq!(words.len(), 4);
    }
}
