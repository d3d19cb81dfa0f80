//! The form that makes a container: what was typed, what is wrong with it, what it would make.

use std::collections::BTreeMap;
use std::str::FromStr;

use askama::Template;
use porthole_protocol::container::{
    Argument, ContainerSpec, EnvName, Invalid, Limits, NamespaceChoice, TimeOffset,
};
use porthole_protocol::namespace::NamespaceType;
use serde::Deserialize;

use super::fingerprint::Fingerprint;
use super::shell::Shell;
use super::words::{bytes, parse_bytes, sentence, visible};
use super::{Scene, html};
use crate::world::World;

/// What was typed. Every field is text, so that nothing typed is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of ContainerSpec by their names")]
pub struct Typed {
    pub image: String,
    pub name: String,
    pub command: String,
    pub user: String,
    pub workdir: String,
    pub hostname: String,
    pub env: String,
    pub memory: String,
    pub swap: String,
    pub cpus: String,
    pub pids: String,
    pub tty: String,
    pub init: String,
    /// Only create.
    pub rest: String,
    pub monotonic: String,
    pub boottime: String,
    pub ns_mnt: String,
    pub ns_uts: String,
    pub ns_ipc: String,
    pub ns_pid: String,
    pub ns_net: String,
    pub ns_user: String,
    pub ns_cgroup: String,
    pub ns_time: String,
}

/// What is wrong, by field.
pub type Errors = BTreeMap<String, String>;

impl Typed {
    /// The form as it is first shown.
    pub fn fresh(image: Option<&str>) -> Self {
        Self {
            image: image.unwrap_or_default().to_owned(),
            init: "on".to_owned(),
            ..Self::default()
        }
    }

    /// What was chosen for a type; empty: nothing.
    pub fn namespace(&self, kind: NamespaceType) -> &str {
        match kind {
            NamespaceType::Mnt => &self.ns_mnt,
            NamespaceType::Uts => &self.ns_uts,
            NamespaceType::Ipc => &self.ns_ipc,
            NamespaceType::Pid => &self.ns_pid,
            NamespaceType::Net => &self.ns_net,
            NamespaceType::User => &self.ns_user,
            NamespaceType::Cgroup => &self.ns_cgroup,
            NamespaceType::Time => &self.ns_time,
        }
    }

    /// What it asks for, or everything that is wrong with it.
    pub fn parse(&self) -> Result<ContainerSpec, Errors> {
        let mut errors = Errors::new();
        let image = field(&mut errors, "image", &self.image);
        if self.image.trim().is_empty() {
            errors.insert("image".to_owned(), "Choose an image.".to_owned());
        }
        let name = field(&mut errors, "name", &self.name);
        let command = self.command(&mut errors);
        let env = self.env(&mut errors);
        let workdir = field(&mut errors, "workdir", &self.workdir);
        let user = field(&mut errors, "user", &self.user);
        let hostname = field(&mut errors, "hostname", &self.hostname);
        let limits = self.limits(&mut errors);
        let namespaces = self.namespaces(&mut errors);
        let time_offset = self.time_offset(&mut errors);
        let Some(image) = image else {
            return Err(errors);
        };
        let spec = ContainerSpec {
            name,
            image,
            command,
            entrypoint: Vec::new(),
            env,
            workdir,
            user,
            hostname,
            tty: !self.tty.is_empty(),
            init: !self.init.is_empty(),
            labels: BTreeMap::new(),
            limits,
            namespaces,
            time_offset,
            start: self.rest.is_empty(),
        };
        if let Err((name, why)) = spec.check() {
            errors
                .entry(form_field(name))
                .or_insert_with(|| sentence(&why.to_string()));
        }
        if errors.is_empty() {
            Ok(spec)
        } else {
            Err(errors)
        }
    }

    fn command(&self, errors: &mut Errors) -> Vec<Argument> {
        let words = match shell_words::split(self.command.trim()) {
            Ok(words) => words,
            Err(_) => {
                let why =
                    "A quotation mark is open at its end. Close it, or put a backslash before it.";
                errors.insert("command".to_owned(), why.to_owned());
                return Vec::new();
            }
        };
        words
            .into_iter()
            .filter_map(|word| keep(errors, "command", Argument::try_from(word)))
            .collect()
    }

    fn env(&self, errors: &mut Errors) -> BTreeMap<EnvName, Argument> {
        let mut env = BTreeMap::new();
        for (number, line) in self.env.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() {
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                let why = format!("Line {} has no “=”. Write NAME=value.", number + 1);
                errors.insert("env".to_owned(), why);
                continue;
            };
            let name = keep(errors, "env", name.trim().parse::<EnvName>());
            let value = keep(errors, "env", value.parse::<Argument>());
            if let (Some(name), Some(value)) = (name, value) {
                env.insert(name, value);
            }
        }
        env
    }

    fn limits(&self, errors: &mut Errors) -> Limits {
        let mut size = |name: &str, text: &str| {
            if text.trim().is_empty() {
                return None;
            }
            let size = parse_bytes(text);
            if size.is_none() {
                let why = "Write a size as “512 MiB”, “2g” or a number of bytes.";
                errors.insert(name.to_owned(), why.to_owned());
            }
            size
        };
        let memory = size("memory", &self.memory);
        let swap = size("swap", &self.swap);
        Limits {
            memory,
            swap,
            cpus: number(
                errors,
                "cpus",
                &self.cpus,
                "Write a number of cores: 1, 0.5, 2.",
            ),
            pids: number(
                errors,
                "pids",
                &self.pids,
                "Write a whole number of processes.",
            ),
        }
    }

    fn namespaces(&self, errors: &mut Errors) -> BTreeMap<NamespaceType, NamespaceChoice> {
        let mut chosen = BTreeMap::new();
        for kind in NamespaceType::ALL {
            let text = self.namespace(kind).trim();
            if text.is_empty() {
                continue;
            }
            let name = format!("ns_{kind}");
            if let Some(choice) = keep(errors, &name, NamespaceChoice::try_from(text.to_owned())) {
                chosen.insert(kind, choice);
            }
        }
        chosen
    }

    fn time_offset(&self, errors: &mut Errors) -> Option<TimeOffset> {
        let why = "Write a whole number of seconds: 86400, -3600.";
        let monotonic = number(errors, "monotonic", &self.monotonic, why);
        let boottime = number(errors, "boottime", &self.boottime, why);
        (monotonic.is_some() || boottime.is_some()).then(|| TimeOffset {
            monotonic: monotonic.unwrap_or(0),
            boottime: boottime.unwrap_or(0),
        })
    }
}

fn keep<T>(errors: &mut Errors, name: &str, parsed: Result<T, Invalid>) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(why) => {
            errors.insert(name.to_owned(), sentence(&why.to_string()));
            None
        }
    }
}

fn field<T: FromStr<Err = Invalid>>(errors: &mut Errors, name: &str, text: &str) -> Option<T> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    keep(errors, name, text.parse())
}

fn number<T: FromStr>(errors: &mut Errors, name: &str, text: &str, why: &str) -> Option<T> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let parsed = text.replace(',', ".").parse().ok();
    if parsed.is_none() {
        errors.insert(name.to_owned(), why.to_owned());
    }
    parsed
}

/// The form's name for a field of the API: `limits.memory` is `memory`, `namespaces.net` is
/// `ns_net`, `time_offset` is shown at `monotonic`.
pub fn form_field(name: &str) -> String {
    if let Some(limit) = name.strip_prefix("limits.") {
        return limit.to_owned();
    }
    if let Some(kind) = name.strip_prefix("namespaces.") {
        return format!("ns_{kind}");
    }
    match name {
        "time_offset" | "time_offset.monotonic" => "monotonic".to_owned(),
        "time_offset.boottime" => "boottime".to_owned(),
        other => other
            .split(['.', '['])
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// The fields that the form has: an error about another one is shown above it.
const FIELDS: [&str; 21] = [
    "image",
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
];

/// The body that makes it: only what differs from what one gets without saying.
fn body(spec: &ContainerSpec) -> serde_json::Value {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
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
    value
}

/// The command that makes the same container.
fn curl(spec: &ContainerSpec, origin: &str) -> String {
    let body = serde_json::to_string(&body(spec)).unwrap_or_default();
    format!(
        "curl {origin}/api/v1/containers \\\n  -H \"Authorization: Bearer $TOKEN\" \\\n  --json {}",
        shell_words::quote(&body)
    )
}

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
                    curl: visible_curl(&curl(&spec, origin)),
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

fn visible_curl(text: &str) -> String {
    super::words::visible_lines(text)
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
    open_more: bool,
    open_isolation: bool,
    host_closed: bool,
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
            host_closed: scene.who.is_admin() && !host,
            preview: html(&Preview::of(&typed, &shell.origin)),
            general: general.join(" "),
            default_memory: bytes(Limits::DEFAULT_MEMORY),
            default_pids: Limits::DEFAULT_PIDS,
            open_more: wrong(&["user", "workdir", "hostname", "env", "swap"])
                || [&typed.user, &typed.workdir, &typed.hostname, &typed.env]
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
    } else {
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
    use super::*;

    fn typed(change: impl FnOnce(&mut Typed)) -> Typed {
        let mut typed = Typed::fresh(Some("host"));
        change(&mut typed);
        typed
    }

    #[test]
    fn an_empty_form_with_an_image_is_enough() {
        let spec = typed(|_| ()).parse().expect("valid");
        assert!(spec.init && spec.start && !spec.tty);
        assert_eq!(body(&spec), serde_json::json!({"image": "host"}));
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let errors = typed(|t| {
            t.name = "../x".to_owned();
            t.command = "sh -c 'echo".to_owned();
            t.env = "A=1\nnothing".to_owned();
            t.memory = "lots".to_owned();
            t.cpus = "-".to_owned();
            t.workdir = "relative".to_owned();
        })
        .parse()
        .expect_err("wrong");
        let names: Vec<_> = errors.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["command", "cpus", "env", "memory", "name", "workdir"]
        );
        assert!(errors["env"].contains("Line 2"), "{}", errors["env"]);
    }

    #[test]
    fn what_is_typed_becomes_the_spec_and_the_command() {
        let spec = typed(|t| {
            t.name = "web".to_owned();
            t.command = "sh -c 'echo \"it is\"'".to_owned();
            t.env = "A=b c\n\nD==".to_owned();
            t.memory = "64 MiB".to_owned();
            t.boottime = "86400".to_owned();
            t.ns_net = "container:db".to_owned();
        })
        .parse()
        .expect("valid");
        assert_eq!(spec.limits.memory, Some(64 << 20));
        let again: ContainerSpec = serde_json::from_value(body(&spec)).expect("valid");
        assert_eq!(again, spec);
        let curl = curl(&spec, "http://127.0.0.1:7678");
        assert!(
            curl.starts_with("curl http://127.0.0.1:7678/api/v1/containers"),
            "{curl}"
        );
        assert_eq!(
            shell_words::split(&curl).expect("a command").len(),
            6,
            "{curl}"
        );
    }

    #[test]
    fn a_field_of_the_api_is_shown_at_the_forms() {
        for (api, form) in [
            ("limits.memory", "memory"),
            ("namespaces.net", "ns_net"),
            ("command[2]", "command"),
            ("time_offset", "monotonic"),
            ("name", "name"),
        ] {
            assert_eq!(form_field(api), form);
        }
    }
}
