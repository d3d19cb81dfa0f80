//! What was typed into the form that makes a container, and what is wrong with it.

mod life;

use std::collections::BTreeMap;
use std::str::FromStr;

use porthole_protocol::container::{
    Argument, ContainerSpec, EnvName, Invalid, Limits, NamespaceChoice, NetworkChoice, TimeOffset,
};
use porthole_protocol::namespace::NamespaceType;
use serde::Deserialize;

use super::connection::parse_ports;
use super::words::{parse_bytes, sentence};

pub use life::policy;

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
    pub restart: String,
    /// How often it is started again after failures.
    pub times: String,
    /// Removed when it ends.
    pub auto_remove: String,
    pub stop_signal: String,
    pub stop_timeout: String,
    /// One label a line.
    pub labels: String,
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
    pub network: String,
    /// One port a line.
    pub publish: String,
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
        let restart = self.policy(&mut errors);
        let labels = self.labels(&mut errors);
        let network = match self.network.trim() {
            "" => None,
            text => keep(
                &mut errors,
                "network",
                NetworkChoice::try_from(text.to_owned()),
            ),
        };
        let publish = parse_ports(&self.publish, &mut errors);
        let Some(image) = image else {
            return Err(errors);
        };
        let mut spec = ContainerSpec {
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
            labels,
            limits,
            namespaces,
            time_offset,
            restart,
            auto_remove: !self.auto_remove.is_empty(),
            stop_signal: None,
            stop_timeout: None,
            network,
            publish,
            dns: Vec::new(),
            start: self.rest.is_empty(),
        };
        self.stopped_by(&mut spec, &mut errors);
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

    /// Its limits alone, or the first field of them that is wrong, with the reason.
    pub fn only_limits(&self) -> Result<Limits, (String, String)> {
        let mut errors = Errors::new();
        let limits = self.limits(&mut errors);
        errors.pop_first().map_or(Ok(limits), Err)
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
        let spec = Typed::fresh(Some("host")).parse().expect("valid");
        assert!(spec.init && spec.start && !spec.tty);
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
