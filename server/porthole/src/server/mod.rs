//! The running server: what it starts, what every request passes, how it ends.

pub mod listen;
pub mod log;
mod rest;
pub mod router;
pub mod sse;
#[cfg(test)]
mod tests;
pub mod tls;

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::access::Access;
use crate::actions::accounts;
use crate::actions::images::Receiving;
use crate::actions::limits::Making;
use crate::engines::{self, Engines, Jobs};
use crate::hubs::{self, Hubs};
use crate::keeper::{self, Asks, Keeper};
use crate::settings::Settings;
use crate::state::Shared;
use crate::store::Store;
use crate::world::World;
use crate::{AppState, Refusal, usage};

use listen::Listeners;

/// How long open requests have to end when the server is told to.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked whether the audit trail has grown beyond what is kept in the database.
const TRAIL_LOOK: Duration = Duration::from_secs(60);
/// How often it is looked whether a setup code has run out.
const CODE_LOOK: Duration = Duration::from_secs(30);

/// Everything of a server, nothing of it running yet.
pub fn state(settings: Settings) -> anyhow::Result<(AppState, Asks, Jobs)> {
    let path = settings.database();
    let store = Store::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let (keeper, asks) = Keeper::new();
    let (engines, jobs) = Engines::new(settings.engines.clone(), settings.engines_socket());
    let state = AppState::new(Shared {
        access: Access::new(&settings),
        settings,
        world: World::new(),
        store,
        making: Making::default(),
        receiving: Receiving::default(),
        hubs: Hubs::default(),
        lookers: usage::Lookers::default(),
        keeper,
        engines,
        ending: watch::Sender::new(false),
    });
    Ok((state, asks, jobs))
}

/// Runs the server until SIGTERM or SIGINT.
pub fn run(mut settings: Settings, listeners: Listeners) -> anyhow::Result<()> {
    if settings.listen.port() == 0 {
        // The kernel has chosen one: what is told to people is where it really listens.
        settings
            .listen
            .set_port(listeners.port().context("which port it is")?);
    }
    // One thread: with two, each chunk of output wakes the other one, which costs a third more
    // time for each gigabyte. What takes long (passwords, screens) has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(settings, listeners))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

async fn serve(settings: Settings, listeners: Listeners) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (state, asks, jobs) = state(settings)?;
    first_account(&state).await?;
    state.access.passwords.warm_up();
    // Before the keeper tells of anything.
    tokio::spawn(hubs::run(state.clone()));
    tokio::spawn(usage::run(state.clone()));
    tokio::spawn(keeper::run(state.clone(), asks));
    tokio::spawn(engines::run(state.clone(), jobs));
    let looking = state.clone();
    tokio::spawn(async move { looking.access.standing.keep_looking(&looking.store).await });
    tokio::spawn(keep_trail(state.clone()));
    let (router, _) = router::router(&state);
    let serving = tokio::spawn(listen::serve(state.clone(), router, listeners, GRACE));
    // A line that people look for, wherever the log goes.
    let _ = writeln!(io::stdout(), "Porthole is at {}", state.settings.address());
    if state.store.is_new()? {
        tokio::spawn(setup_codes(state.clone()));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; containers and sessions go on");
    state.ending.send_replace(true);
    serving.await.context("ending")?;
    Ok(())
}

async fn first_account(state: &AppState) -> anyhow::Result<()> {
    let Some(password) = &state.settings.admin_password else {
        return Ok(());
    };
    accounts::set_up_admin(state, password)
        .await
        .map_err(|refusal: Refusal| anyhow::anyhow!("PORTHOLE_ADMIN_PASSWORD: {refusal}"))
}

/// Makes one code after the other until the first account exists.
async fn setup_codes(state: AppState) {
    loop {
        match state.store.is_new() {
            Ok(true) => {}
            Ok(false) => {
                state.access.setup.end();
                return;
            }
            Err(error) => tracing::error!(%error, "whether there is an account cannot be read"),
        }
        if state.access.setup.is_over(Instant::now()) {
            let state = state.clone();
            let _ = tokio::task::spawn_blocking(move || state.access.setup.renew()).await;
        }
        tokio::time::sleep(CODE_LOOK).await;
    }
}

/// Puts older entries of the audit trail into files, for as long as the server runs.
async fn keep_trail(state: AppState) {
    loop {
        match state.store.archive_audit(state.settings.audit_keep).await {
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "older entries of the audit trail stay where they are")
            }
        }
        tokio::time::sleep(TRAIL_LOOK).await;
    }
}

/// Ends when the server does: for whatever is open without end.
pub async fn ending(state: &AppState) {
    let mut ending = state.ending.subscribe();
    // The sender lives in the state that is borrowed.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// The state of a server for tests: a new database, no keeper, nothing listening.
#[cfg(test)]
pub(crate) fn test_state() -> (tempfile::TempDir, AppState, Asks) {
    let (directory, state, asks, _) =
        test_state_with(porthole_protocol::engines::Setting::default());
    (directory, state, asks)
}

/// The same where root's policy enables these engines.
#[cfg(test)]
pub(crate) fn test_state_with(
    engines: porthole_protocol::engines::Setting,
) -> (tempfile::TempDir, AppState, Asks, Jobs) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(directory.path().join("server")).expect("made");
    let given = crate::settings::Given {
        root: Some(directory.path().into()),
        run: Some(directory.path().into()),
        ..Default::default()
    };
    let mut settings = given.resolve().expect("settings");
    settings.engines = engines;
    let (state, asks, jobs) = state(settings).expect("a state");
    (directory, state, asks, jobs)
}
