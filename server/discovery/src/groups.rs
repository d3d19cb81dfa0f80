//! The control groups that were met: what a path says is worked out once, not for each process.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Settings;
use crate::recognise::{self, Claim, Group};

/// Those that a process is in, by the whole of its `/proc/PID/cgroup`.
#[derive(Debug)]
pub(crate) struct Groups {
    base: Option<String>,
    /// Where the keeper has written down which sessions it has opened.
    sessions: Option<PathBuf>,
    met: HashMap<Vec<u8>, Arc<Group>>,
    none: Arc<Group>,
    last: u64,
}

impl Groups {
    /// None was met yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            base: settings.cgroup_base.clone(),
            sessions: settings.sessions.clone(),
            met: HashMap::new(),
            none: Arc::default(),
            last: 0,
        }
    }

    /// That of the kernel's threads.
    pub(crate) fn none(&self) -> Arc<Group> {
        self.none.clone()
    }

    /// The one that this file says.
    pub(crate) fn of(&mut self, file: &[u8]) -> Arc<Group> {
        if file.is_empty() {
            return self.none();
        }
        if let Some(group) = self.met.get(file) {
            return group.clone();
        }
        self.last += 1;
        let mut group = recognise::group(file, self.base.as_deref());
        group.number = self.last;
        let made = group.claims.iter().find(|claim| self.has_made(claim));
        group.session = group.session.or(made.map(|claim| claim.session.clone()));
        let group = Arc::new(group);
        self.met.insert(file.to_vec(), group.clone());
        group
    }

    /// Whether the keeper has made this very group for that session: it writes down where before it
    /// does. A group's name alone is whoever's who may make groups there.
    fn has_made(&self, claim: &Claim) -> bool {
        let Some(sessions) = &self.sessions else {
            return false;
        };
        let record = sessions.join(claim.session.as_str()).join("group.json");
        fs::read(record)
            .ok()
            .and_then(|text| serde_json::from_slice::<String>(&text).ok())
            .is_some_and(|made| made.as_bytes() == claim.group)
    }

    /// Forgets those that no process is in.
    pub(crate) fn tidy(&mut self) {
        self.met.retain(|_, group| Arc::strong_count(group) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_sessions_only_where_the_keeper_made_it() {
        let records = tempfile::tempdir().expect("a directory");
        let (session, other) = ("0a".repeat(16), "1b".repeat(16));
        let container = format!("/docker/{}", "c".repeat(64));
        let group = format!("{container}/porthole-session-{session}");
        let record = records.path().join(&session);
        fs::create_dir(&record).expect("a record");
        fs::write(record.join("group.json"), format!("{group:?}\n")).expect("a record");
        let settings = Settings {
            sessions: Some(records.path().to_owned()),
            ..Settings::new(None)
        };
        let of = |path: &str, settings: &Settings| {
            let found = Groups::new(settings).of(format!("0::{path}\n").as_bytes());
            found.session.as_ref().map(ToString::to_string)
        };
        for inside in ["", "/made/by/it", &format!("/porthole-session-{other}")] {
            let path = format!("{group}{inside}");
            assert_eq!(of(&path, &settings).as_ref(), Some(&session), "{path}");
        }
        for forged in [
            format!("/docker/{}/porthole-session-{session}", "d".repeat(64)),
            format!("{container}/below/porthole-session-{session}"),
            format!("{container}/porthole-session-{other}"),
        ] {
            assert_eq!(of(&forged, &settings), None, "{forged}");
        }
        assert_eq!(of(&group, &Settings::new(None)), None, "nobody knows of it");
    }
}
