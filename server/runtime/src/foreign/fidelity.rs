//! How a session compares with what the container's own engine would have started in it, line by
//! line.

use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{Aspect, FidelityLine, SessionSpec, Verdict};
use porthole_sys::seccomp::Filter;

use super::facts::{Facts, Label};
use super::filters::{Unread, asks_supervisor};
use super::limits;
use super::manner::Manner;

/// What is compared.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) filters: &'a Result<Vec<Filter>, Unread>,
    pub(crate) manner: &'a Manner,
    pub(crate) spec: &'a SessionSpec,
    /// v1 trees whose group cannot be joined.
    pub(crate) missing: &'a [String],
    /// The container's group of the cgroup2 tree.
    pub(crate) cgroup: &'a str,
    /// Why the container holds hardly anything back, a sentence's end.
    pub(crate) open: Option<&'a str>,
}

fn line(
    aspect: Aspect,
    verdict: Verdict,
    (init, session): (String, String),
    words: impl Into<String>,
) -> FidelityLine {
    FidelityLine {
        aspect,
        verdict,
        init,
        session,
        words: words.into(),
    }
}

/// Which namespaces a session is in, where it leaves these of the container's own out.
pub(crate) fn namespaces(left_out: &[NamespaceType], toolbox: bool) -> FidelityLine {
    let aspect = Aspect::Namespaces;
    if toolbox {
        let values = ("all eight".to_owned(), "all but mnt".to_owned());
        let words = "Its files are an image's tools, in a mount namespace of the session's own; the container's are at /target, where set-user-ID programs and devices do nothing.";
        return line(aspect, Verdict::Weaker, values, words);
    }
    if left_out.is_empty() {
        let values = ("all eight".to_owned(), "all eight".to_owned());
        let words = "In every namespace that the container's first process is in.";
        return line(aspect, Verdict::Equal, values, words);
    }
    let names = |wanted: bool| {
        NamespaceType::ALL
            .into_iter()
            .filter(|kind| left_out.contains(kind) != wanted)
            .map(NamespaceType::name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let root = match left_out.contains(&NamespaceType::User) {
        true => " Its root is the machine's.",
        false => "",
    };
    let words = format!(
        "Of {} it has the machine's, as was asked for.{root}",
        names(false)
    );
    line(
        aspect,
        Verdict::Weaker,
        ("all eight".to_owned(), names(true)),
        words,
    )
}

impl Comparison<'_> {
    /// A line for every aspect, in the order in which they are shown.
    pub(crate) fn lines(&self) -> Vec<FidelityLine> {
        vec![
            self.namespaces(),
            self.cgroup(),
            self.capabilities(),
            self.no_new_privileges(),
            self.seccomp(),
            self.label(),
            self.limits(),
            self.oom_score(),
            self.user(),
            self.umask(),
            self.environment(),
            self.workdir(),
        ]
    }

    /// Lines that somebody must have said yes to, and has not. Leaving namespaces out, or asking for
    /// a toolbox, says so itself.
    pub(crate) fn refused(&self, lines: &[FidelityLine]) -> Vec<Aspect> {
        let accepted = self
            .spec
            .foreign
            .as_ref()
            .map(|foreign| foreign.accept.as_slice())
            .unwrap_or_default();
        let chosen = self.manner.toolbox || !self.manner.left_out.is_empty();
        lines
            .iter()
            .filter(|line| line.needs_consent() && !accepted.contains(&line.aspect))
            .map(|line| line.aspect)
            .filter(|aspect| !(chosen && *aspect == Aspect::Namespaces))
            .collect()
    }

    fn namespaces(&self) -> FidelityLine {
        let mut line = namespaces(&self.manner.left_out, self.manner.toolbox);
        if let Some(why) = self.open {
            line.words += &format!(" The container holds hardly anything back: {why}.");
        }
        line
    }

    fn cgroup(&self) -> FidelityLine {
        let place = match self.cgroup {
            "" => "/",
            path => path,
        };
        let values = |session: String| (place.to_owned(), session);
        if self.missing.is_empty() {
            return line(
                Aspect::Cgroup,
                Verdict::Equal,
                values(format!("{place} (own group below)")),
                "In the container's groups, so that its limits, and which devices may be opened, hold for both; in the cgroup2 tree in a group of its own below, by which it is ended.",
            );
        }
        let missing = self.missing.join(", ");
        line(
            Aspect::Cgroup,
            Verdict::Weaker,
            values(format!("without {missing}")),
            format!(
                "The container's group of {missing} is not mounted on this machine: its limits do not hold for the session."
            ),
        )
    }

    fn capabilities(&self) -> FidelityLine {
        let (init, session) = (self.facts.status.bounding, self.manner.bounding);
        let (verdict, words) = if session == init {
            (
                Verdict::Equal,
                "The container's bounding set: its root has all of it, other users none.",
            )
        } else if session & !init == 0 {
            (
                Verdict::Stronger,
                "Fewer than the container's: what Porthole itself lacks, or what a session outside the container may not have.",
            )
        } else {
            (Verdict::Weaker, "More than the container's.")
        };
        let values = (format!("{init:016x}"), format!("{session:016x}"));
        line(Aspect::Capabilities, verdict, values, words)
    }

    fn no_new_privileges(&self) -> FidelityLine {
        let (init, session) = (self.facts.status.no_new_privs, self.manner.no_new_privs);
        let (verdict, words) = match (init, session) {
            (true, true) => (
                Verdict::Equal,
                "Set-user-ID programs give nothing, as in the container.",
            ),
            (false, false) => (
                Verdict::Equal,
                "Not set in the container either: set-user-ID programs work in both.",
            ),
            (false, true) => (Verdict::Stronger, "Set-user-ID programs give nothing here."),
            (true, false) => (Verdict::Weaker, "Set-user-ID programs work here."),
        };
        let word = |set: bool| u8::from(set).to_string();
        line(
            Aspect::NoNewPrivileges,
            verdict,
            (word(init), word(session)),
            words,
        )
    }

    fn seccomp(&self) -> FidelityLine {
        let status = &self.facts.status;
        let count = |number: usize| match number {
            0 => "no filter".to_owned(),
            1 => "1 filter".to_owned(),
            many => format!("{many} filters"),
        };
        let own = usize::from(self.manner.own_filter);
        let session = count(self.manner.filters.len() + own);
        let (init, verdict, words) = match (status.seccomp, self.filters) {
            (0, _) if self.manner.own_filter => (
                count(0),
                Verdict::Stronger,
                "Porthole's own filter, where the container has none.".to_owned(),
            ),
            (0, _) => (
                count(0),
                Verdict::Equal,
                "No system call is filtered, as in the container.".to_owned(),
            ),
            (2, Ok(filters)) if self.manner.own_filter => (
                count(filters.len()),
                Verdict::Stronger,
                "The container's very filters, and Porthole's own on top.".to_owned(),
            ),
            (2, Ok(filters)) if filters.iter().any(asks_supervisor) => (
                count(filters.len()),
                Verdict::Stronger,
                "The container's very filters; calls that they hand to a supervisor are refused here.".to_owned(),
            ),
            (2, Ok(filters)) => (
                count(filters.len()),
                Verdict::Equal,
                "The container's very filters, in the same order.".to_owned(),
            ),
            (2, Err(why)) => (
                status.filters.map_or("filters".to_owned(), count),
                Verdict::Unknown,
                format!("The container's filters could not be read: {why}. Porthole's own is in their place."),
            ),
            (mode, _) => (
                format!("mode {mode}"),
                Verdict::Unknown,
                "The container's first process is in a mode in which no program can be started; Porthole's own filter is in its place.".to_owned(),
            ),
        };
        line(Aspect::Seccomp, verdict, (init, session), words)
    }

    fn label(&self) -> FidelityLine {
        let (verdict, init, words) = match &self.facts.label {
            Label::None => (
                Verdict::Equal,
                "none".to_owned(),
                "No security module of this machine labels processes.",
            ),
            Label::Is(label) => (
                Verdict::Equal,
                label.clone(),
                "The label of the container's first process.",
            ),
            Label::Unreadable => (
                Verdict::Unknown,
                "unreadable".to_owned(),
                "The label of the container's first process may not be read; the session keeps Porthole's.",
            ),
        };
        // Where it is Porthole's own already, it need not be set.
        let session = match (&self.manner.label, &self.facts.label) {
            (Some(label), _) | (None, Label::Is(label)) => label.clone(),
            (None, _) => "none".to_owned(),
        };
        line(Aspect::Label, verdict, (init, session), words)
    }

    fn limits(&self) -> FidelityLine {
        let pairs = self.facts.limits.iter().zip(&self.manner.limits);
        let different: Vec<_> = pairs.filter(|(init, session)| init != session).collect();
        let words = |pick: fn(&(&limits::Limit, &limits::Limit)) -> String| {
            let all: Vec<String> = different.iter().map(pick).collect();
            all.join(" ")
        };
        if self.facts.limits.len() < limits::ALL.len() {
            return line(
                Aspect::Limits,
                Verdict::Unknown,
                (String::new(), String::new()),
                "The limits of the container's first process could not all be read.",
            );
        }
        if different.is_empty() {
            let all = "16 limits".to_owned();
            return line(
                Aspect::Limits,
                Verdict::Equal,
                (all.clone(), all),
                "Every limit of the container's first process, soft and hard.",
            );
        }
        line(
            Aspect::Limits,
            Verdict::Stronger,
            (
                words(|(init, _)| limits::words(init)),
                words(|(_, session)| limits::words(session)),
            ),
            "Where the container may have more than Porthole itself, the session has as much as Porthole (it lacks CAP_SYS_RESOURCE).",
        )
    }

    fn oom_score(&self) -> FidelityLine {
        let (init, session) = (self.facts.oom_score_adj, self.manner.oom_score_adj);
        let (verdict, words) = if init == session {
            (
                Verdict::Equal,
                "Killed as gladly as the container when memory is short.",
            )
        } else {
            (
                Verdict::Stronger,
                "Killed more gladly than the container when memory is short: Porthole may not lower it (it lacks CAP_SYS_RESOURCE).",
            )
        };
        line(
            Aspect::OomScore,
            verdict,
            (init.to_string(), session.to_string()),
            words,
        )
    }

    fn user(&self) -> FidelityLine {
        let init = format!("{}:{}", self.facts.uid_inside(), self.facts.gid_inside());
        let (session, words) = match (&self.spec.user, &self.manner.user) {
            (Some(user), _) => (
                user.to_string(),
                "As asked for, with the groups that the container's /etc/group names.",
            ),
            (None, Some((uid, gid, _))) => (
                format!("{uid}:{gid}"),
                "User and groups of the container's first process.",
            ),
            (None, None) => ("0:0".to_owned(), "Root of the namespaces that it is in."),
        };
        line(Aspect::User, Verdict::Equal, (init, session), words)
    }

    fn umask(&self) -> FidelityLine {
        let (init, session) = (self.facts.status.umask, self.manner.umask);
        let verdict = match init == session {
            true => Verdict::Equal,
            false => Verdict::Unknown,
        };
        let words = match verdict {
            Verdict::Equal => "That of the container's first process.",
            _ => "The usual one, since it works with the machine's files.",
        };
        line(
            Aspect::Umask,
            verdict,
            (format!("{init:04o}"), format!("{session:04o}")),
            words,
        )
    }

    fn environment(&self) -> FidelityLine {
        let given = self.spec.foreign.as_ref().and_then(|f| f.env.as_ref());
        let read = self.facts.environment.as_ref();
        let count = |number: usize| format!("{number} variables");
        let init = read.map_or("unreadable".to_owned(), |v| count(v.values.len()));
        let session = count(self.manner.environment.len());
        let tools = self.manner.toolbox || self.manner.left_out.contains(&NamespaceType::Mnt);
        let (verdict, words) = match (given, read) {
            _ if tools => (
                Verdict::Unknown,
                "None of the container's variables: they are not meant for tools of elsewhere.".to_owned(),
            ),
            (Some(_), _) => (
                Verdict::Equal,
                "The variables of the engine's configuration, with HOME and TERM.".to_owned(),
            ),
            (None, Some(variables)) if variables.dropped > 0 => (
                Verdict::Unknown,
                format!(
                    "The variables that the container's first process began with, without {} that are no valid text.",
                    variables.dropped
                ),
            ),
            (None, Some(_)) => (
                Verdict::Equal,
                "The variables that the container's first process began with, with HOME and TERM.".to_owned(),
            ),
            (None, None) => (
                Verdict::Unknown,
                "What the container's first process began with may not be read: PATH, HOME and TERM only.".to_owned(),
            ),
        };
        line(Aspect::Environment, verdict, (init, session), words)
    }

    fn workdir(&self) -> FidelityLine {
        let init = self.facts.workdir.as_ref();
        let init = init.map_or("unreadable".to_owned(), |path| path.as_str().to_owned());
        let session = self.manner.workdir.clone().unwrap_or("/".to_owned());
        let words = match &self.spec.workdir {
            Some(_) => "As the engine has configured it, or as asked for.",
            None => "Where the container's first process is, as far as the session has its files.",
        };
        line(Aspect::Workdir, Verdict::Equal, (init, session), words)
    }
}
