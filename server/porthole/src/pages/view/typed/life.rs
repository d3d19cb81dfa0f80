//! What forms say of a container's end, and the labels that it carries.

use std::collections::BTreeMap;

use porthole_protocol::container::{ContainerSpec, RestartPolicy};

use super::{Errors, Typed, field, number};

/// Longest names and values of labels, in bytes, and so many there can be: what
/// [`ContainerSpec::check`] allows, which knows no lines.
const NAME: usize = 128;
const VALUE: usize = 1024;
const MOST: usize = 64;

/// The policy that a form says in two fields. How often is asked only after failures: what stands
/// there beside another policy counts for nothing.
pub fn policy(policy: &str, times: &str) -> Result<RestartPolicy, (&'static str, String)> {
    let times = times.trim();
    match policy.trim() {
        "" => Ok(RestartPolicy::No),
        "on-failure" if !times.is_empty() => match times.parse() {
            Ok(most @ 1..) => Ok(RestartPolicy::OnFailure { most }),
            _ => {
                let why =
                    "Write a whole number from 1 on, or nothing: then it is tried without end.";
                Err(("times", why.to_owned()))
            }
        },
        policy => policy
            .parse()
            .map_err(|_| ("restart", "Choose one of the list.".to_owned())),
    }
}

impl Typed {
    /// Whether it is started again.
    pub(super) fn policy(&self, errors: &mut Errors) -> RestartPolicy {
        let policy = policy(&self.restart, &self.times).unwrap_or_else(|(name, why)| {
            errors.insert(name.to_owned(), why);
            RestartPolicy::No
        });
        if policy != RestartPolicy::No && !self.auto_remove.is_empty() {
            let why =
                "What is removed when it ends cannot be started again. Choose one of the two.";
            errors.insert("restart".to_owned(), why.to_owned());
        }
        policy
    }

    /// Takes into the specification what stops it.
    pub(super) fn stopped_by(&self, spec: &mut ContainerSpec, errors: &mut Errors) {
        spec.stop_signal = field(errors, "stop_signal", &self.stop_signal);
        let why = "Write a number of seconds from 0 to 3600.";
        spec.stop_timeout = number(errors, "stop_timeout", &self.stop_timeout, why);
        let longest = 0.0..=ContainerSpec::LONGEST_STOP;
        if spec.stop_timeout.is_some_and(|s| !longest.contains(&s)) {
            errors.insert("stop_timeout".to_owned(), why.to_owned());
        }
    }

    /// Its labels, one a line: `name=value`, or a name alone.
    pub(super) fn labels(&self, errors: &mut Errors) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        let lines = self.labels.lines().enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            let (name, value) = (name.trim(), value.trim_end_matches('\r'));
            let wrong = match (name.len(), value.len()) {
                (0, _) => "has no name before “=”. Write name=value.".to_owned(),
                (NAME.., _) if name.len() > NAME => {
                    format!("has a name of {} bytes; {NAME} at most.", name.len())
                }
                (_, VALUE..) if value.len() > VALUE => {
                    format!("has a value of {} bytes; {VALUE} at most.", value.len())
                }
                _ if labels.contains_key(name) => "names a label that is there already.".to_owned(),
                _ => {
                    labels.insert(name.to_owned(), value.to_owned());
                    continue;
                }
            };
            errors
                .entry("labels".to_owned())
                .or_insert_with(|| format!("Line {} {wrong}", at + 1));
        }
        if labels.len() > MOST {
            let why = format!("These are {} labels; {MOST} at most.", labels.len());
            errors.entry("labels".to_owned()).or_insert(why);
        }
        labels
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

    fn wrong(change: impl FnOnce(&mut Typed)) -> Errors {
        typed(change).parse().expect_err("wrong")
    }

    #[test]
    fn what_is_typed_of_its_end_is_what_is_asked_for() {
        let spec = typed(|t| {
            t.restart = "on-failure".to_owned();
            t.times = " 3 ".to_owned();
            t.stop_signal = "quit".to_owned();
            t.stop_timeout = "2,5".to_owned();
            t.labels = "tier=web\r\n\nalone\nmade.by = a=b".to_owned();
        });
        let spec = spec.parse().expect("valid");
        assert_eq!(spec.restart.to_string(), "on-failure:3");
        assert_eq!(spec.stop_signal.map(|s| s.get()), Some(3));
        assert_eq!(spec.stop_timeout, Some(2.5));
        let labels: Vec<_> = spec.labels.iter().collect();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [
            label("alone", ""),
            label("made.by", " a=b"),
            label("tier", "web"),
        ];
        assert!(
            wanted.iter().map(|(n, v)| (n, v)).eq(labels),
            "{:?}",
            spec.labels
        );
    }

    #[test]
    fn tries_count_only_after_failures() {
        for (policy, times, most) in [
            ("on-failure", "", "on-failure"),
            ("always", "nothing", "always"),
            ("", "3", "no"),
        ] {
            let spec = typed(|t| {
                t.restart = policy.to_owned();
                t.times = times.to_owned();
            });
            assert_eq!(spec.parse().expect("valid").restart.to_string(), most);
        }
        for times in ["0", "-1", "1.5", "often", "4294967296"] {
            let errors = wrong(|t| {
                t.restart = "on-failure".to_owned();
                t.times = times.to_owned();
            });
            assert!(errors["times"].contains("whole number"), "{errors:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let errors = wrong(|t| {
            t.restart = "always".to_owned();
            t.auto_remove = "on".to_owned();
            t.stop_signal = "SIGSTOPPING".to_owned();
            t.stop_timeout = "3601".to_owned();
            t.labels = "good=1\n=value".to_owned();
        });
        let names: Vec<_> = errors.keys().map(String::as_str).collect();
        assert_eq!(names, ["labels", "restart", "stop_signal", "stop_timeout"]);
        assert!(errors["labels"].starts_with("Line 2 "), "{errors:?}");
        for seconds in ["soon", "-1", "NaN"] {
            let errors = wrong(|t| t.stop_timeout = seconds.to_owned());
            assert!(errors["stop_timeout"].contains("3600"), "{errors:?}");
        }
    }

    #[test]
    fn labels_have_bounds_which_are_the_specifications_own() {
        let name = "n".repeat(NAME);
        let value = "v".repeat(VALUE);
        typed(|t| t.labels = format!("{name}={value}"))
            .parse()
            .expect("valid");
        let lines = |of: usize| {
            (0..of)
                .map(|n| format!("l{n}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        typed(|t| t.labels = lines(MOST)).parse().expect("valid");
        for labels in [
            format!("{name}n=v"),
            format!("n={value}v"),
            "a=1\na=2".to_owned(),
            lines(MOST + 1),
        ] {
            let errors = wrong(|t| t.labels = labels);
            assert!(errors.contains_key("labels"), "{errors:?}");
        }
    }
}
