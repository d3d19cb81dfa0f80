//! What the address of the list of processes says, and which processes that means.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::observation::Process;
use serde::{Deserialize, Serialize};

use super::known::Known;

/// Rows at first, and so many more with each click.
pub const STEP: usize = 200;
/// Rows at most: beyond that nobody reads, and a browser that is sent changes stutters.
pub const MOST: usize = 1000;

/// What the address of the list says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// A PID on any level, PIDs of levels that follow one another (`5709/72`), or words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub q: String,
    /// `tree`, `map`, or a flat list.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub view: String,
    /// Only those of this container; `none` for those of no container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Only those of containers of this engine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// Only those in this state, by a word of [`STATES`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Only those of this user, on the host or inside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// `shown`: kernel threads too.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// `pid command uid container state rss started`, falling with `-` before it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sort: String,
    /// How many rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rows: String,
}

/// States that the list can be narrowed to: label, word in the address, proc(5)'s letters.
pub const STATES: [(&str, &str, &str); 6] = [
    ("All", "", ""),
    ("Running", "running", "R"),
    ("Sleeping", "sleeping", "SI"),
    ("Waiting", "waiting", "D"),
    ("Stopped", "stopped", "Tt"),
    ("Zombies", "zombie", "ZX"),
];

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the list's order.
    pub processes: Vec<Arc<Process>>,
    /// How many there are in all, kernel threads included.
    pub total: usize,
    /// Kernel threads that would be in the list were they not left out.
    pub kernel: usize,
}

/// A kernel thread: kthreadd or a child of its, without memory or arguments of its own. Inside
/// another PID namespace than the initial one there are none.
pub fn is_kernel_thread(process: &Process) -> bool {
    const KTHREADD: HostPid = HostPid(2);
    process.args.is_empty()
        && process.security.is_none()
        && process.rss == 0
        && match process.parent {
            Some(parent) => parent == KTHREADD,
            None => process.host_pid == KTHREADD,
        }
}

/// One word of the search.
pub(crate) enum Term {
    /// PIDs of levels that follow one another.
    Pids(Vec<i32>),
    /// A number: a PID on any level, or a number in the command line.
    Number(i32, String),
    /// Anything else, in small letters.
    Word(String),
}

impl Term {
    pub(crate) fn parse(word: &str) -> Self {
        let numbers: Option<Vec<i32>> = word
            .split('/')
            .map(|part| part.parse().ok().filter(|pid| *pid > 0))
            .collect();
        match numbers.as_deref() {
            Some([one]) => Self::Number(*one, word.to_owned()),
            Some(several) => Self::Pids(several.to_vec()),
            None => Self::Word(word.to_lowercase()),
        }
    }

    fn holds(&self, process: &Process, known: &Known<'_>) -> bool {
        match self {
            Self::Pids(pids) => process.pids.windows(pids.len()).any(|some| some == pids),
            Self::Number(pid, text) => {
                process.pids.contains(pid)
                    || known.may_look(process)
                        && process.args.iter().any(|arg| whole_number(arg, text))
            }
            Self::Word(word) => {
                let holds = |text: &str| holds_in_small(text, word);
                let place = known.place(process);
                holds(&process.command)
                    || place.is_some_and(|p| {
                        holds(&p.name) || holds(p.engine.name()) || holds(&p.owner)
                    })
                    || process
                        .container
                        .as_ref()
                        .is_some_and(|id| id.as_str().starts_with(word))
                    || process.cgroup.as_deref().is_some_and(holds)
                    || process.tty.as_deref().is_some_and(holds)
                    || known.may_look(process) && process.args.iter().any(|arg| holds(arg))
            }
        }
    }
}

/// Whether a text holds a word of small letters. Most texts are ASCII and need no copy.
pub(crate) fn holds_in_small(text: &str, word: &str) -> bool {
    if text.is_ascii() && word.is_ascii() {
        let (text, word) = (text.as_bytes(), word.as_bytes());
        return text
            .windows(word.len().max(1))
            .any(|some| some.eq_ignore_ascii_case(word));
    }
    text.to_lowercase().contains(word)
}

/// Whether the text has this number, and not as a part of a longer one.
pub(crate) fn whole_number(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(at, _)| {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        !digit(text[..at].chars().next_back()) && !digit(text[at + number.len()..].chars().next())
    })
}

/// Which container a process has to be in.
enum Where {
    Anywhere,
    Outside,
    /// `None` where there is no such container.
    In(Option<ContainerId>),
}

/// What a list is narrowed to: the search of the page and of the API.
pub struct Search {
    terms: Vec<Term>,
    container: Where,
    engine: String,
    letters: &'static str,
    uid: Option<u32>,
}

impl Search {
    /// Whether this process is meant.
    pub fn holds(&self, process: &Process, known: &Known<'_>) -> bool {
        let of_container = match &self.container {
            Where::Anywhere => true,
            Where::Outside => process.container.is_none(),
            Where::In(one) => one.is_some() && process.container == *one,
        };
        let of_engine = || {
            let place = known.place(process);
            place.is_some_and(|place| place.engine.name() == self.engine)
        };
        of_container
            && (self.engine.is_empty() || of_engine())
            && (self.letters.is_empty() || self.letters.contains(process.state))
            && self
                .uid
                .is_none_or(|uid| process.uid == uid || process.uid_inside == Some(uid))
            && self.terms.iter().all(|term| term.holds(process, known))
    }
}

impl Listing {
    /// What it is sorted by, and whether that falls.
    pub fn key(&self) -> (&str, bool) {
        match self.sort.strip_prefix('-') {
            Some(key) => (key, true),
            None if self.sort.is_empty() => ("pid", false),
            None => (&self.sort, false),
        }
    }

    /// This list's address with another order: the other way round where it is this one already.
    pub fn sorted_by(&self, key: &str) -> String {
        let (now, falling) = self.key();
        let first_falls = matches!(key, "rss" | "started" | "threads");
        let falls = if now == key { !falling } else { first_falls };
        self.with(|listing| listing.sort = format!("{}{key}", if falls { "-" } else { "" }))
    }

    /// The query of this list with a change.
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        change(&mut other);
        super::super::list::query(&other)
    }

    /// How many rows are shown.
    pub fn rows(&self) -> usize {
        self.rows.parse().unwrap_or(STEP).clamp(STEP, MOST)
    }

    /// Whether anything but the order is chosen: a tree shows then who leads to what was found.
    pub fn narrows(&self) -> bool {
        let all = [
            &self.q,
            &self.container,
            &self.engine,
            &self.state,
            &self.uid,
        ];
        all.into_iter().any(|field| !field.trim().is_empty())
    }

    /// What it is narrowed to, looked up once.
    pub fn search(&self, known: &Known<'_>) -> Search {
        let letters = STATES.iter().find(|(_, word, _)| *word == self.state);
        Search {
            terms: self.q.split_whitespace().map(Term::parse).collect(),
            container: match self.container.as_str() {
                "" => Where::Anywhere,
                "none" => Where::Outside,
                reference => {
                    let found = known.world.find_any(reference);
                    Where::In(found.ok().map(|container| container.id().clone()))
                }
            },
            engine: self.engine.clone(),
            letters: letters.map_or("", |(_, _, letters)| letters),
            uid: self.uid.trim().parse().ok(),
        }
    }

    /// Everything that belongs into the list, in its order.
    pub fn select(&self, known: &Known<'_>) -> Found {
        let mut found = Found::default();
        let search = self.search(known);
        let mut processes = known.world.processes();
        found.total = processes.len();
        let hide = self.kernel != "shown";
        processes.retain(|process| {
            let holds = search.holds(process, known);
            let hidden = holds && hide && is_kernel_thread(process);
            found.kernel += usize::from(hidden);
            holds && !hidden
        });
        if self.key() != ("pid", false) {
            processes.sort_by(|a, b| self.order(a, b, known));
        }
        found.processes = processes;
        found
    }

    fn order(&self, a: &Process, b: &Process, known: &Known<'_>) -> Ordering {
        let (key, falling) = self.key();
        let order = match key {
            "command" => a.command.cmp(&b.command),
            "uid" => (a.uid, a.gid).cmp(&(b.uid, b.gid)),
            "container" => {
                let name = |p| known.place(p).map(|place| place.name.as_str());
                name(a).cmp(&name(b))
            }
            "state" => a.state.cmp(&b.state),
            "rss" => a.rss.cmp(&b.rss),
            "threads" => a.threads.cmp(&b.threads),
            "started" => a.start_ticks.cmp(&b.start_ticks),
            _ => a.host_pid.cmp(&b.host_pid),
        };
        let order = if falling { order.reverse() } else { order };
        order.then_with(|| a.host_pid.cmp(&b.host_pid))
    }
}

/// What was found with everybody who leads to it, for a tree; those who were not found themselves
/// are in the set.
pub fn with_ancestors(
    found: Vec<Arc<Process>>,
    known: &Known<'_>,
) -> (Vec<Arc<Process>>, HashSet<HostPid>) {
    let mut all: HashMap<HostPid, Arc<Process>> =
        found.into_iter().map(|p| (p.host_pid, p)).collect();
    let mut context = HashSet::new();
    let mut parents: Vec<HostPid> = all.values().filter_map(|p| p.parent).collect();
    while let Some(pid) = parents.pop() {
        if all.contains_key(&pid) {
            continue;
        }
        if let Some(process) = known.world.process(pid) {
            parents.extend(process.parent);
            context.insert(pid);
            all.insert(pid, process);
        }
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by_key(|p| p.host_pid);
    (all, context)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Scene, sample};
    use super::*;
    use crate::access::{Identity, Role};

    fn pids(who: &Identity, listing: &Listing) -> Vec<i32> {
        let world = sample::nested();
        let known = Known::new(&world, Scene { base: "", who });
        let found = listing.select(&known);
        found.processes.iter().map(|p| p.host_pid.0).collect()
    }

    fn q(q: &str) -> Listing {
        Listing {
            q: q.to_owned(),
            ..Listing::default()
        }
    }

    #[test]
    fn a_process_is_found_by_its_number_on_any_level() {
        let admin = sample::admin();
        assert_eq!(pids(&admin, &q("5709")), [5709]);
        assert_eq!(pids(&admin, &q("72")), [5709], "inside");
        assert_eq!(pids(&admin, &q("5709/72")), [5709]);
        assert_eq!(pids(&admin, &q("5712/75/3")), [5712]);
        assert_eq!(pids(&admin, &q("75/3")), [5712], "two inner levels");
        assert_eq!(
            pids(&admin, &q("72/5709")),
            Vec::<i32>::new(),
            "outermost first"
        );
        assert_eq!(
            pids(&admin, &q("570")),
            Vec::<i32>::new(),
            "a part is no number"
        );
        assert_eq!(pids(&admin, &q("5709/x")), Vec::<i32>::new());
    }

    #[test]
    fn words_and_filters_narrow_it() {
        let admin = sample::admin();
        assert_eq!(pids(&admin, &q("NGINX worker")), [7563]);
        assert_eq!(pids(&admin, &q("docker")), [5600, 5709, 5710, 5712]);
        let of_web = Listing {
            container: "web".to_owned(),
            state: "running".to_owned(),
            ..Listing::default()
        };
        assert_eq!(pids(&admin, &of_web), [7563]);
        let user = Listing {
            uid: "33".to_owned(),
            ..Listing::default()
        };
        assert_eq!(pids(&admin, &user), [7563], "as it is inside");
        let nowhere = Listing {
            container: "nothing".to_owned(),
            ..Listing::default()
        };
        assert_eq!(pids(&admin, &nowhere), Vec::<i32>::new());
    }

    #[test]
    fn what_one_may_not_see_cannot_be_searched_for() {
        let stranger = sample::identity("ada", Role::User);
        assert_eq!(pids(&stranger, &q("daemon")), Vec::<i32>::new());
        assert_eq!(pids(&sample::admin(), &q("daemon")), [7561], "the control");
        assert_eq!(
            pids(&stranger, &q("nginx")),
            [7561, 7563],
            "its name is no secret"
        );
    }

    #[test]
    fn kernel_threads_are_left_out_and_counted() {
        let world = sample::nested();
        let who = sample::admin();
        let known = Known::new(
            &world,
            Scene {
                base: "",
                who: &who,
            },
        );
        let found = Listing::default().select(&known);
        assert_eq!(found.kernel, 3);
        assert!(found.processes.iter().all(|p| p.host_pid.0 != 2));
        let shown = Listing {
            kernel: "shown".to_owned(),
            ..Listing::default()
        };
        assert_eq!(shown.select(&known).processes.len(), found.total);
    }

    #[test]
    fn an_order_says_itself_and_turns_round() {
        let listing = q("a&b");
        assert_eq!(listing.sorted_by("rss"), "?q=a%26b&sort=-rss");
        let sorted = Listing {
            sort: "-rss".to_owned(),
            ..Listing::default()
        };
        assert_eq!(sorted.sorted_by("rss"), "?sort=rss");
    }
}
