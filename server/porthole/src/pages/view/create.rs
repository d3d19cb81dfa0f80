//! The form that makes a container, and what it would make.

use askama::Template;
use porthole_protocol::container::{Argument, Limits};
use porthole_protocol::namespace::NamespaceType;

use super::change::POLICIES;
use super::fingerprint::Fingerprint;
use super::settings::usage::Use;
use super::shell::Shell;
use super::typed::{Errors, Typed};
use super::words::{bytes, visible, visible_lines};
use super::{Scene, commands, html};
use crate::actions::containers::STOP_TIMEOUT;
use crate::world::World;

/// The fields that the form has: an error about another one is shown above it.
const FIELDS: [&str; 28] = [
    "image",
    "restart",
    "times",
    "stop_signal",
    "stop_timeout",
    "labels",
    "name",
    "command",
    "user",
    "workdir",
    "hostname",
    "env",
    "memory",
    "swap",
    "cpus",
    "pids",
    "monotonic",
    "boottime",
    "ns_mnt",
    "ns_uts",
    "ns_ipc",
    "ns_pid",
    "ns_net",
    "ns_user",
    "ns_cgroup",
    "ns_time",
    "network",
    "publish",
];

/// Signals that programs end by, which the form proposes; any other can be written.
const SIGNALS: [&str; 7] = [
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGWINCH", "SIGKILL",
];

/// What the form would make: fingerprint and command.
#[derive(Template)]
#[template(path = "partials/create_preview.html")]
pub struct Preview {
    fingerprint: Option<Fingerprint>,
    summary: String,
    curl: String,
    wrong: usize,
}

impl Preview {
    /// Of what was typed.
    pub fn of(typed: &Typed, origin: &str) -> Self {
        match typed.parse() {
            Ok(spec) => {
                let fingerprint = Fingerprint::planned(&spec);
                Self {
                    summary: fingerprint.summary(),
                    fingerprint: Some(fingerprint),
                    curl: visible_lines(&commands::create(&spec, origin)),
                    wrong: 0,
                }
            }
            Err(errors) => Self {
                fingerprint: None,
                summary: String::new(),
                curl: String::new(),
                wrong: errors.len(),
            },
        }
    }
}

struct ImageChoice {
    name: String,
    description: String,
    command: String,
    unavailable: Option<String>,
    chosen: bool,
}

struct NamespaceRow {
    kind: &'static str,
    isolates: &'static str,
    options: Vec<(String, String, bool)>,
    error: String,
}

/// The page.
#[derive(Template)]
#[template(path = "create.html")]
pub struct CreatePage {
    shell: Shell,
    typed: Typed,
    errors: Errors,
    images: Vec<ImageChoice>,
    namespaces: Vec<NamespaceRow>,
    preview: String,
    general: String,
    default_memory: String,
    default_pids: u32,
    default_stop: f64,
    open_more: bool,
    open_isolation: bool,
    host_closed: bool,
    /// Root's policy has a bridge, and the machine what it takes.
    bridge: bool,
    /// What the reader has and may have.
    pub usage: Vec<Use>,
}

impl CreatePage {
    /// The form with what was typed and what is wrong with it.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        typed: Typed,
        errors: Errors,
        shell: Shell,
    ) -> Self {
        let images = world
            .images()
            .iter()
            .map(|image| ImageChoice {
                name: image.name.to_string(),
                description: visible(&image.description),
                command: super::words::command_line(
                    &image
                        .command
                        .iter()
                        .map(Argument::as_str)
                        .collect::<Vec<_>>(),
                ),
                unavailable: image.unavailable.as_deref().map(visible),
                chosen: typed.image == image.name.as_str(),
            })
            .collect();
        let policy = world.keeper().hello.map(|hello| hello.policy);
        let host = scene.who.is_admin() && policy.is_some_and(|policy| policy.host_namespaces);
        let namespaces = NamespaceType::ALL
            .into_iter()
            .map(|kind| namespace_row(kind, world, scene, host, &typed, &errors))
            .collect();
        let general: Vec<_> = errors
            .iter()
            .filter(|(name, _)| !FIELDS.contains(&name.as_str()))
            .map(|(_, why)| why.as_str())
            .collect();
        let wrong = |names: &[&str]| errors.keys().any(|name| names.contains(&name.as_str()));
        Self {
            usage: Vec::new(),
            host_closed: scene.who.is_admin() && !host,
            bridge: policy.is_some_and(|policy| policy.bridge),
            preview: html(&Preview::of(&typed, &shell.origin)),
            general: general.join(" "),
            default_memory: bytes(Limits::DEFAULT_MEMORY),
            default_pids: Limits::DEFAULT_PIDS,
            default_stop: STOP_TIMEOUT.as_secs_f64(),
            open_more: wrong(&["user", "workdir", "hostname", "env", "labels", "swap"])
                || [
                    &typed.user,
                    &typed.workdir,
                    &typed.hostname,
                    &typed.env,
                    &typed.labels,
                    &typed.swap,
                ]
                .iter()
                .any(|text| !text.is_empty()),
            open_isolation: errors.keys().any(|name| name.starts_with("ns_"))
                || wrong(&["monotonic", "boottime"])
                || NamespaceType::ALL
                    .iter()
                    .any(|kind| !typed.namespace(*kind).is_empty()),
            shell,
            typed,
            errors,
            images,
            namespaces,
        }
    }

    /// What is wrong with a field; nothing where it is right.
    fn error(&self, name: &str) -> &str {
        self.errors.get(name).map_or("", String::as_str)
    }
}

fn namespace_row(
    kind: NamespaceType,
    world: &World,
    scene: Scene<'_>,
    host: bool,
    typed: &Typed,
    errors: &Errors,
) -> NamespaceRow {
    let chosen = typed.namespace(kind);
    let default = if kind == NamespaceType::Time {
        "the host's"
    } else {
        "its own"
    };
    let mut options = vec![(String::new(), default.to_owned(), chosen.is_empty())];
    if kind == NamespaceType::Time {
        options.push(("own".to_owned(), "its own".to_owned(), chosen == "own"));
    } else if host || chosen == "host" {
        options.push(("host".to_owned(), "the host's".to_owned(), chosen == "host"));
    }
    let running = world.containers();
    let shared = running
        .iter()
        .filter(|c| c.pid.is_some() && scene.who.may_change_container(c));
    for container in shared {
        let value = format!("container:{}", container.name);
        let now = chosen == value;
        options.push((value, format!("that of {}", container.name), now));
    }
    NamespaceRow {
        kind: kind.name(),
        isolates: kind.isolates(),
        options,
        error: errors
            .get(&format!("ns_{kind}"))
            .cloned()
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use porthole_protocol::container::ContainerSpec;

    use super::super::sample;
    use super::*;

    #[test]
    fn what_needs_no_saying_is_not_said() {
        let spec = Typed::fresh(Some("host")).parse().expect("valid");
        let command = commands::create(&spec, "");
        assert!(
            command.ends_with(r#"--json '{"image":"host"}'"#),
            "{command}"
        );
    }

    #[test]
    fn what_is_typed_becomes_the_spec_and_the_command() {
        let typed = Typed {
            name: "web".to_owned(),
            command: "sh -c 'echo \"it is\"'".to_owned(),
            env: "A=b c\n\nD==".to_owned(),
            memory: "64 MiB".to_owned(),
            boottime: "86400".to_owned(),
            ns_net: "container:db".to_owned(),
            ..Typed::fresh(Some("host"))
        };
        let spec = typed.parse().expect("valid");
        assert_eq!(spec.limits.memory, Some(64 << 20));
        let command = commands::create(&spec, "http://127.0.0.1:7678");
        let words = shell_words::split(&command).expect("a command");
        let [curl, _, token, address, _, body] = &words[..] else {
            panic!("{command}");
        };
        assert_eq!(curl, "curl");
        assert_eq!(token, "Authorization: Bearer $TOKEN");
        assert_eq!(address, "http://127.0.0.1:7678/api/v1/containers");
        let again: ContainerSpec = serde_json::from_str(body).expect("valid");
        assert_eq!(again, spec);
    }

    #[test]
    fn where_there_is_no_bridge_it_is_said_who_can_change_that() {
        let world = sample::world();
        let who = sample::identity("ada", crate::access::Role::User);
        let scene = Scene {
            base: "",
            who: &who,
        };
        let page = |world: &World| {
            let typed = Typed::fresh(Some("host"));
            let shell = Shell::outside("");
            html(&CreatePage::new(world, scene, typed, Errors::new(), shell))
        };
        let without = page(&world);
        assert!(without.contains("bridge = true") && !without.contains("name=\"publish\""));
        let mut hello = world.keeper().hello.expect("said");
        hello.policy.bridge = true;
        world.keeper_came(hello);
        let with = page(&world);
        assert!(!with.contains("bridge = true") && with.contains("name=\"publish\""));
    }

    #[test]
    fn the_hosts_namespaces_are_offered_where_root_allows_them() {
        let world = sample::world();
        let who = sample::admin();
        let scene = Scene {
            base: "",
            who: &who,
        };
        let page = |world: &World, scene| {
            let shell = Shell::outside("");
            let typed = Typed::fresh(Some("host"));
            html(&CreatePage::new(world, scene, typed, Errors::new(), shell))
        };
        let offered = "<option value=\"host\">";
        assert!(!page(&world, scene).contains(offered));
        let mut hello = world.keeper().hello.expect("said");
        hello.policy.host_namespaces = true;
        world.keeper_came(hello);
        assert!(page(&world, scene).contains(offered));
        let user = sample::identity("ada", crate::access::Role::User);
        let theirs = Scene {
            base: "",
            who: &user,
        };
        let page = page(&world, theirs);
        assert!(!page.contains(offered) && !page.contains("container:web"));
    }
}
