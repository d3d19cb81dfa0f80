//! The connection between a hub and the monitor of its process.
//!
//! ```text
//! attach ──▶ reading ──▶ exited ──▶ lingering ──▶ gone
//!    ▲          │ (it hung up: killed keeper or monitor, another reader)
//!    └──────────┘
//! ```

use std::time::Duration;

use porthole_protocol::id::SessionId;
use porthole_protocol::keeper::{FailureCode, MESSAGE_LIMIT};
use porthole_protocol::monitor::{FromReader, ToReader};
use porthole_protocol::session::Target;
use porthole_terminal::{Descriptors, HubHandle, Info, Permission, ViewerInfo};
use tokio::sync::watch;

use super::known;
use crate::AppState;
use crate::keeper::{KeeperError, PacketSocket};
use crate::world::Watched;

/// The first wait before attaching again, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait: a terminal goes on within two seconds of a keeper's return.
const LONGEST_WAIT: Duration = Duration::from_millis(640);
/// How long an ended target's hub stays when nobody looks.
const LINGER: Duration = Duration::from_secs(30);

/// Holds the line of one run for as long as it lasts.
pub(super) fn start(state: AppState, target: Target, hub: HubHandle, run: u64) {
    tokio::spawn(async move {
        hold(&state, &target, &hub, run).await;
        stay(&state, &target, &hub, Some(run)).await;
    });
}

/// Lets an ended target's hub go when nobody looks any more.
pub(super) fn linger(state: AppState, target: Target, hub: HubHandle) {
    tokio::spawn(async move {
        stay(&state, &target, &hub, None).await;
    });
}

/// Lets the world know who is at a session.
pub(super) fn announce(state: &AppState, target: &Target, hub: &HubHandle) {
    if let Target::Session(session) = target {
        tokio::spawn(tell_viewers(state.clone(), session.clone(), hub.watch()));
    }
}

/// How an attachment ended.
enum Ended {
    /// The process has; everything that it wrote is in the journal.
    Exited,
    /// The connection has: attach again.
    HungUp,
}

async fn hold(state: &AppState, target: &Target, hub: &HubHandle, run: u64) {
    let mut wait = FIRST_WAIT;
    let mut told = false;
    loop {
        match attach(state, target, hub).await {
            Ok(Ended::Exited) => return,
            Ok(Ended::HungUp) => {
                let _ = hub.detach().await;
                (wait, told) = (FIRST_WAIT, false);
            }
            Err(Failed::Keeper(KeeperError::Away | KeeperError::Late)) => {}
            Err(why) => {
                if !why.is_over() && !std::mem::replace(&mut told, true) {
                    tracing::warn!(?target, %why, "not attached; trying on");
                }
            }
        }
        // Only a keeper that is there knows: a list from before says nothing.
        if state.world.keeper().present {
            match known(state, target) {
                None => return,
                Some(known) if known.run != run => return,
                Some(known) if !known.runs => {
                    if let Some(exit) = known.exit {
                        let _ = hub.exited(exit).await;
                    }
                    return;
                }
                Some(_) => {}
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    #[error("its monitor: {0}")]
    Io(#[from] std::io::Error),
    #[error("its monitor: {0}")]
    Packet(#[from] porthole_sys::packet::PacketError),
    #[error("its monitor said something that is none of the protocol: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(transparent)]
    Attach(#[from] porthole_terminal::AttachError),
}

impl Failed {
    /// Whether the process has ended meanwhile, which the world is about to tell.
    fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Keeper(KeeperError::Failed(failure)) if matches!(
                failure.code,
                FailureCode::WrongState
                    | FailureCode::ContainerNotFound
                    | FailureCode::SessionNotFound
            )
        )
    }
}

async fn attach(state: &AppState, target: &Target, hub: &HubHandle) -> Result<Ended, Failed> {
    let monitor = PacketSocket::from_fd(state.keeper.attach(target.clone()).await?)?;
    let mut info = hub.watch();
    let mut reading = false;
    let mut told = false;
    loop {
        let received = tokio::select! {
            received = monitor.receive(MESSAGE_LIMIT) => received?,
            // The monitor holds a copy of standard input, which has to be closed too.
            there = input_ended(&mut info), if reading && !told => {
                if !there {
                    return Ok(Ended::HungUp);
                }
                told = true;
                let message = serde_json::to_vec(&FromReader::EndOfInput)?;
                monitor.send(&message, &[]).await?;
                continue;
            }
        };
        let Some((bytes, fds)) = received else {
            return Ok(Ended::HungUp);
        };
        match serde_json::from_slice(&bytes)? {
            ToReader::Reader { tty } => {
                hub.attach(Descriptors { tty, fds }).await?;
                reading = true;
            }
            ToReader::Exited(exit) => {
                if let Target::Session(id) = target {
                    // Nobody is to be shown the end and then told that it runs.
                    state.world.learn_exit(id, &exit);
                }
                // The hub is gone only where the target was removed: there is nobody to tell.
                let _ = hub.exited(exit).await;
                return Ok(Ended::Exited);
            }
        }
    }
}

/// Returns once the session's standard input has ended; false where the hub is gone.
async fn input_ended(info: &mut watch::Receiver<Info>) -> bool {
    info.wait_for(|info| info.input_ended).await.is_ok()
}

/// Waits until nobody looks at what has ended, then lets the hub go, unless another run has begun.
async fn stay(state: &AppState, target: &Target, hub: &HubHandle, run: Option<u64>) {
    let mut info = hub.watch();
    loop {
        if info.wait_for(|info| info.viewers.is_empty()).await.is_err() {
            return;
        }
        let looks = info.wait_for(|info| !info.viewers.is_empty());
        match tokio::time::timeout(LINGER, looks).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => break,
        }
    }
    state.hubs.drop_if(target, |entry| entry.line == run);
}

/// Tells the world who is at a session, for as long as its hub lives. It holds no handle, so that
/// it keeps no hub.
async fn tell_viewers(state: AppState, session: SessionId, mut info: watch::Receiver<Info>) {
    // The first viewer may have come before this was begun: nobody and no size is what was told.
    let mut told = (Vec::new(), None);
    loop {
        let now = {
            let info = info.borrow_and_update();
            (info.viewers.clone(), Some(info.size))
        };
        if now.0 != told.0 || told.1.is_some() && now.1 != told.1 {
            state.world.learn_watched(&session, watched(&now.0));
        }
        told = now;
        if info.changed().await.is_err() {
            break;
        }
    }
    if !told.0.is_empty() {
        state.world.learn_watched(&session, Watched::default());
    }
}

fn watched(viewers: &[ViewerInfo]) -> Watched {
    let writes = |viewer: &&ViewerInfo| viewer.permission == Permission::Write;
    Watched {
        viewers: viewers.len(),
        writers: viewers.iter().filter(writes).count(),
        driver: viewers
            .iter()
            .find(|viewer| viewer.drives)
            .map(|viewer| viewer.user.as_str().into()),
    }
}
