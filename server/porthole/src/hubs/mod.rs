//! The hubs of what runs: one for each container's output and each session.
//!
//! Whatever runs is attached to, whether anybody looks or not: at once when it starts, when this
//! server starts, and again whenever the keeper came back. Each has a [line](line) that holds the
//! connection to its monitor. What has ended gets a hub when somebody asks for it, over its
//! journal alone, and loses it when nobody looks any more.

mod line;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use porthole_journal::{Files, Limit};
use porthole_protocol::container::ContainerState;
use porthole_protocol::session::{Exit, Size, Target};
use porthole_terminal::{Hub, HubHandle, Info, Opening, SystemClock};
use tokio::sync::broadcast::error::RecvError;

use crate::world::Change;
use crate::{AppState, Refusal};

/// A screen's file name beside a journal's.
const SCREEN: &str = "screen";

struct Entry {
    hub: HubHandle,
    /// Which run of a container a line is for; a session has one.
    line: Option<u64>,
}

/// All of them.
#[derive(Default)]
pub struct Hubs {
    entries: Mutex<HashMap<Target, Entry>>,
}

/// What is known of a target's process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    tty: bool,
    size: Size,
    runs: bool,
    /// Tells one run of a container from the next.
    run: u64,
    exit: Option<Exit>,
}

fn known(state: &AppState, target: &Target) -> Option<Known> {
    match target {
        Target::Init(id) => state.world.container(id).map(|c| Known {
            tty: c.spec.tty,
            size: Size::DEFAULT,
            runs: matches!(c.state, ContainerState::Running | ContainerState::Paused),
            run: c.started_at.map_or(0, |t| t.0),
            exit: c.exit.clone(),
        }),
        Target::Session(id) => state.world.session(id).map(|s| Known {
            tty: s.tty,
            size: s.size,
            runs: s.exit.is_none(),
            run: s.started_at.0,
            exit: s.exit.clone(),
        }),
    }
}

/// Where a target's journal is.
pub fn directory(state: &AppState, target: &Target) -> PathBuf {
    let name = match target {
        Target::Init(id) => id.as_str(),
        Target::Session(id) => id.as_str(),
    };
    state.settings.journals().join(name)
}

/// How many bytes a target has written, where no hub knows; 0 where nothing is kept of it. One look
/// at the file's metadata.
pub fn journal_length(state: &AppState, target: &Target) -> u64 {
    let journal = porthole_journal::open(&directory(state, target));
    journal
        .and_then(|files| files.journal.metadata())
        .map_or(0, |metadata| metadata.len())
}

/// Opens a target's journal, where waiting for the disk holds nobody up; it is made where there is
/// none.
pub async fn create_journal(state: &AppState, target: &Target) -> Result<Files, Refusal> {
    let directory = directory(state, target);
    tokio::task::spawn_blocking(move || porthole_journal::create(&directory))
        .await
        .map_err(|_| Refusal::internal())?
        .map_err(journal_failed)
}

/// Why a journal could not be used.
pub fn journal_failed(error: io::Error) -> Refusal {
    use axum::http::StatusCode;
    use rustix::io::Errno;
    if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(&error) {
        tracing::error!(%error, "a journal cannot be opened");
        return Refusal::too_many(
            "Porthole has as many files open as it may. Close a few terminals, or have its limit raised (LimitNOFILE), then try again.",
            5,
        );
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage",
            "No space is left where Porthole keeps output. Free some, then try again.",
        ),
        _ => {
            tracing::error!(%error, "a journal cannot be used");
            Refusal::internal()
        }
    }
}

fn removed() -> Refusal {
    Refusal::not_found("not_found", "It was removed in the meantime.")
}

impl Hubs {
    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Target, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a target's hub says of it, where there is a hub.
    pub fn info(&self, target: &Target) -> Option<Info> {
        self.entries().get(target).map(|entry| entry.hub.info())
    }

    /// How many hubs and viewers there are.
    pub fn count(&self) -> (usize, usize) {
        let entries = self.entries();
        let viewers = entries.values().map(|e| e.hub.info().viewers.len()).sum();
        (entries.len(), viewers)
    }

    /// A target's hub; for what has ended one is made.
    pub async fn hub(&self, state: &AppState, target: &Target) -> Result<HubHandle, Refusal> {
        if let Some(entry) = self.entries().get(target) {
            return Ok(entry.hub.clone());
        }
        self.open(state, target).await
    }

    async fn open(&self, state: &AppState, target: &Target) -> Result<HubHandle, Refusal> {
        if known(state, target).is_none() {
            return Err(removed());
        }
        let files = create_journal(state, target).await?;
        let ensured = self.ensure(state, target, files);
        if ensured.is_err() && known(state, target).is_none() {
            self.discard(state, target.clone()).await;
        }
        ensured
    }

    /// The hub and, for what runs, the line of a target whose journal this is.
    pub fn ensure(
        &self,
        state: &AppState,
        target: &Target,
        files: Files,
    ) -> Result<HubHandle, Refusal> {
        let known = known(state, target).ok_or_else(removed)?;
        let mut entries = self.entries();
        let entry = match entries.entry(target.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let hub = Hub::spawn(Opening {
                    files,
                    screen: Some(directory(state, target).join(SCREEN)),
                    tty: known.tty,
                    size: known.size,
                    recorded: true,
                    exit: known.exit.clone().filter(|_| !known.runs),
                    limit: Limit::default(),
                    clock: Arc::new(SystemClock),
                })
                .map_err(journal_failed)?;
                line::announce(state, target, &hub);
                let entry = vacant.insert(Entry { hub, line: None });
                if !known.runs {
                    line::linger(state.clone(), target.clone(), entry.hub.clone());
                }
                entry
            }
        };
        if known.runs && entry.line != Some(known.run) {
            entry.line = Some(known.run);
            line::start(state.clone(), target.clone(), entry.hub.clone(), known.run);
        }
        Ok(entry.hub.clone())
    }

    /// Makes sure that a target that runs is attached to.
    async fn follow(&self, state: &AppState, target: Target) {
        let Some(now) = known(state, &target).filter(|known| known.runs) else {
            return;
        };
        if self
            .entries()
            .get(&target)
            .is_some_and(|entry| entry.line == Some(now.run))
        {
            return;
        }
        if let Err(refusal) = self.open(state, &target).await
            && known(state, &target).is_some()
        {
            tracing::error!(?target, why = %refusal, "what it writes is not read here; its monitor keeps it");
        }
    }

    /// Some changes were missed: attaches to all that runs, and forgets what was removed.
    async fn catch_up(&self, state: &AppState) {
        let all: Vec<_> = self.entries().keys().cloned().collect();
        for target in all {
            if known(state, &target).is_none() {
                self.forget(state, target).await;
            }
        }
        for container in state.world.containers() {
            self.follow(state, Target::Init(container.id.clone())).await;
        }
        for session in state.world.sessions() {
            self.follow(state, Target::Session(session.id.clone()))
                .await;
        }
    }

    /// The target is gone for good: its viewers are told, its journal is deleted.
    pub async fn forget(&self, state: &AppState, target: Target) {
        let entry = self.entries().remove(&target);
        if let Some(entry) = entry {
            let close =
                porthole_terminal::Close::new(porthole_terminal::Close::NORMAL, "it was removed");
            let _ = entry.hub.close(close).await;
        }
        self.discard(state, target).await;
    }

    /// Deletes the journal of something that never came to be, or is gone.
    pub async fn discard(&self, state: &AppState, target: Target) {
        let directory = directory(state, &target);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        match removed {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, ?target, "a journal was not deleted");
            }
            _ => {}
        }
    }

    fn drop_if(&self, target: &Target, gone: impl Fn(&Entry) -> bool) {
        let mut entries = self.entries();
        if entries.get(target).is_some_and(gone) {
            entries.remove(target);
        }
    }
}

/// How long a journal may lie there that nothing is known of: it is made before its session is.
const ORPHAN: Duration = Duration::from_secs(300);

/// Ended sessions that are kept, with what they wrote. The oldest go first.
const ENDED_KEPT: usize = 1000;

/// Deletes journals of what was removed while this server was not there, and forgets the oldest
/// ended sessions.
async fn tidy(state: &AppState) {
    let directory = state.settings.journals();
    let listed = tokio::task::spawn_blocking(move || old_journals(&directory)).await;
    let names = match listed {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => {
            tracing::warn!(%error, "journals cannot be listed");
            return;
        }
        Err(_) => return,
    };
    for name in names {
        // What a session is called, a container could be called too.
        let session = name.parse().map(Target::Session);
        let container = name.parse().map(Target::Init);
        let targets: Vec<_> = session.into_iter().chain(container).collect();
        let Some(target) = targets.first().cloned() else {
            continue;
        };
        // What is known may have changed while the directory was read, and is looked at last.
        let known = |target| known(state, target).is_some();
        if state.world.keeper().present && !targets.iter().any(known) {
            tracing::info!(?target, "its journal is deleted: it was removed meanwhile");
            state.hubs.discard(state, target).await;
        }
    }
    let mut ended: Vec<_> = state
        .world
        .sessions()
        .into_iter()
        .filter(|session| session.exit.is_some())
        .collect();
    let extra = ended.len().saturating_sub(ENDED_KEPT);
    ended.sort_by_key(|session| session.started_at);
    for session in ended.into_iter().take(extra) {
        if let Err(error) = state.keeper.forget_session(session.id.clone()).await {
            tracing::warn!(%error, session = %session.id, "an old session is not forgotten yet");
            return;
        }
    }
}

fn old_journals(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // It was deleted since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        let age = metadata.modified()?.elapsed().unwrap_or_default();
        if age > ORPHAN {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Attaches to whatever runs, for as long as the server does.
pub async fn run(state: AppState) {
    let (_, mut changes) = state.world.changes().subscribe();
    loop {
        match changes.recv().await.map(|numbered| numbered.change) {
            Ok(Change::Container(container)) => {
                let target = Target::Init(container.id.clone());
                state.hubs.follow(&state, target).await;
            }
            Ok(Change::Session(session)) => {
                let target = Target::Session(session.id.clone());
                state.hubs.follow(&state, target).await;
            }
            Ok(Change::ContainerGone(container)) => {
                let target = Target::Init(container.id.clone());
                state.hubs.forget(&state, target).await;
            }
            Ok(Change::SessionGone(session)) => {
                let target = Target::Session(session.id.clone());
                state.hubs.forget(&state, target).await;
            }
            Ok(Change::Keeper) if state.world.keeper().present => {
                let state = state.clone();
                tokio::spawn(async move { tidy(&state).await });
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => state.hubs.catch_up(&state).await,
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests;
