//! What of a process has to be read inside, shown when its page is there already.

use askama::Template;
use porthole_protocol::inspection::{
    Bounded, Capabilities, Cgroup, Inspected, Process, ResourceLimit, User,
};

use super::super::Scene;
use super::super::words::{bytes, cores, count, sentence, visible};
use crate::Refusal;
use crate::compare::inside::ranges;

/// What was read, each by itself: one that hangs takes nothing from the others.
pub struct Reading {
    /// What it is and may.
    pub detail: Result<Inspected, Refusal>,
    /// The maps of its users and groups.
    pub user: Result<Inspected, Refusal>,
    /// Its groups.
    pub cgroup: Result<Inspected, Refusal>,
}

/// A value with its name.
type Fact = (&'static str, String);

/// A limit in words.
struct Limit {
    name: String,
    soft: String,
    hard: String,
}

/// A namespace that its children get, where that is another than its own.
struct ForChildren {
    kind: &'static str,
    inode: u64,
    path: String,
}

/// What is put into the page.
#[derive(Template)]
#[template(path = "partials/process_detail.html")]
pub struct Detail {
    base: String,
    /// What could not be read, a sentence each.
    notes: Vec<String>,
    places: Vec<Fact>,
    ids: Vec<Fact>,
    groups: Vec<Fact>,
    /// Sets of capabilities by name; the five that capabilities(7) has.
    sets: Vec<(&'static str, Vec<String>)>,
    limits: Vec<Limit>,
    children: Vec<ForChildren>,
    environment: Option<(Vec<String>, u64)>,
}

impl Detail {
    /// Why nothing is shown.
    pub fn refused(refusal: &Refusal) -> Self {
        Self::empty("", vec![sentence(&refusal.message)])
    }

    fn empty(base: &str, notes: Vec<String>) -> Self {
        Self {
            base: base.to_owned(),
            notes,
            places: Vec::new(),
            ids: Vec::new(),
            groups: Vec::new(),
            sets: Vec::new(),
            limits: Vec::new(),
            children: Vec::new(),
            environment: None,
        }
    }

    /// What was read.
    pub fn of(reading: Reading, scene: Scene<'_>) -> Self {
        let mut shown = Self::empty(scene.base, Vec::new());
        for answer in [reading.detail, reading.user, reading.cgroup] {
            match answer {
                Ok(Inspected::Process(detail)) => shown.process(*detail),
                Ok(Inspected::User(user)) => shown.user(&user),
                Ok(Inspected::Cgroup(cgroup)) => shown.cgroup(&cgroup),
                Ok(_) => {}
                Err(refusal) => {
                    let note = sentence(&refusal.message);
                    if !shown.notes.contains(&note) {
                        shown.notes.push(note);
                    }
                }
            }
        }
        shown
    }

    fn process(&mut self, detail: Process) {
        let mut place = |name, value: Option<String>| {
            if let Some(value) = value {
                self.places.push((name, visible(&value)));
            }
        };
        place("Program", detail.exe);
        place("Working directory", detail.cwd);
        place("Root", detail.root);
        place("Security label", detail.label);
        place("umask", detail.umask.map(|umask| format!("{umask:04o}")));
        place("Open files", detail.open_files.map(|n| n.to_string()));
        let score = detail.oom_score.map(|score| match detail.oom_score_adj {
            Some(adjusted) if adjusted != 0 => format!("{score}, {adjusted:+} of it set"),
            _ => score.to_string(),
        });
        place("Out-of-memory score", score);
        place(
            "seccomp filters",
            detail.seccomp_filters.map(|n| n.to_string()),
        );
        let groups = &detail.groups;
        let mut words: Vec<String> = groups
            .items
            .iter()
            .map(|group| match group.inside {
                Some(inside) if inside == group.outside => inside.to_string(),
                Some(inside) => format!("{} → {inside}", group.outside),
                None => format!("{} → none", group.outside),
            })
            .collect();
        if groups.left_out > 0 {
            words.push(format!("and {} more", groups.left_out));
        }
        let words = if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(", ")
        };
        self.ids.push(("Supplementary groups", words));
        self.sets = sets(detail.capabilities);
        self.limits = detail.limits.into_iter().map(limit).collect();
        let own = |kind| {
            let mut all = detail.namespaces.iter();
            all.find(|file| file.kind == kind && file.name == kind.name())
                .and_then(|file| file.inode)
        };
        self.children = detail
            .namespaces
            .iter()
            .filter(|file| file.name.ends_with("_for_children"))
            .filter_map(|file| {
                let inode = file.inode.filter(|inode| Some(*inode) != own(file.kind))?;
                Some(ForChildren {
                    kind: file.kind.name(),
                    inode: inode.0,
                    path: visible(&file.path),
                })
            })
            .collect();
        self.environment = detail.environment.map(|Bounded { items, left_out }| {
            (items.iter().map(|item| visible(item)).collect(), left_out)
        });
    }

    fn user(&mut self, user: &User) {
        let mut facts = vec![
            ("Users inside", ranges(&user.uid_map)),
            ("Groups inside", ranges(&user.gid_map)),
        ];
        let level = match user.level {
            0 => "the initial user namespace".to_owned(),
            level => format!(
                "{} below the initial one",
                count(level as usize, "level", "levels")
            ),
        };
        facts.push(("User namespace", level));
        if let Some(setgroups) = user.setgroups {
            let word = if setgroups { "allowed" } else { "denied" };
            facts.push(("setgroups", word.to_owned()));
        }
        self.ids.splice(0..0, facts);
    }

    fn cgroup(&mut self, cgroup: &Cgroup) {
        let mut facts: Vec<Fact> = Vec::new();
        let bounded = |now: String, most: Option<String>| match most {
            Some(most) => format!("{now} of {most}"),
            None => format!("{now}, no limit"),
        };
        if let Some(memory) = cgroup.memory {
            let text = bounded(bytes(memory.current), memory.max.map(bytes));
            facts.push(("Memory of its group", text));
        }
        if let Some(cpu) = cgroup.cpu {
            let used = format!("{:.1} s used", seconds(cpu.usage_us));
            let most = cpu.cpus.map(|cpus| format!("{} at most", cores(cpus)));
            let held = (cpu.throttled > 0).then(|| {
                format!(
                    "held back {} times, {:.1} s",
                    cpu.throttled,
                    seconds(cpu.throttled_us)
                )
            });
            let parts = [Some(used), most, held];
            facts.push((
                "Processors",
                parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
            ));
        }
        if let Some(pids) = cgroup.pids {
            let text = bounded(
                pids.current.to_string(),
                pids.max.map(|max| max.to_string()),
            );
            facts.push(("Processes of its group", text));
        }
        if cgroup.frozen == Some(true) {
            facts.push(("Frozen", "yes: it is paused".to_owned()));
        }
        for group in &cgroup.groups {
            let name = if group.version == 2 {
                "cgroup2"
            } else {
                "cgroup v1"
            };
            let which = group.controllers.join(",");
            let path = visible(&group.path);
            let text = if which.is_empty() {
                path
            } else {
                format!("{path} ({})", visible(&which))
            };
            facts.push((name, text));
        }
        self.groups = facts;
    }
}

fn seconds(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let micros = micros as f64;
    micros / 1e6
}

fn sets(sets: Capabilities) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("Effective", sets.effective),
        ("Permitted", sets.permitted),
        ("Inheritable", sets.inheritable),
        ("Bounding", sets.bounding),
        ("Ambient", sets.ambient),
    ]
}

fn limit(limit: ResourceLimit) -> Limit {
    let word = |value: Option<u64>| match (value, limit.unit.as_str()) {
        (None, _) => "unlimited".to_owned(),
        (Some(value), "bytes") => bytes(value),
        (Some(value), "") => value.to_string(),
        (Some(value), unit) => format!("{value} {}", visible(unit)),
    };
    Limit {
        soft: word(limit.soft),
        hard: word(limit.hard),
        name: visible(&limit.name),
    }
}
