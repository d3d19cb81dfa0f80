//! What containers use, looked at while somebody looks.
//!
//! Whoever shows it holds a [`Looking`]. While there is one, all containers that run are read every
//! two seconds and the [world](crate::world) is told; otherwise nothing is read.

mod cgroupfs;

use std::collections::HashMap;
use std::time::Duration;

use porthole_protocol::container::ContainerState;
use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, HostPid};
use tokio::sync::watch;

use crate::AppState;
use crate::world::AnyContainer;
use crate::world::usage::Sample;

/// How often is looked.
const PACE: Duration = Duration::from_secs(2);

/// What two looks at the processors are apart at least, for somebody who asks once.
const APART: Duration = Duration::from_millis(250);

/// Who looks.
#[derive(Debug, Default)]
pub struct Lookers(watch::Sender<usize>);

/// Somebody looks, for as long as this lives.
pub struct Looking(AppState);

impl Looking {
    /// From now on.
    pub fn new(state: &AppState) -> Self {
        state.lookers.0.send_modify(|count| *count += 1);
        Self(state.clone())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.lookers.0.send_modify(|count| *count -= 1);
    }
}

/// The container's first process, where what it uses is counted in groups of its own.
fn counted(container: &AnyContainer) -> Option<(ContainerId, HostPid)> {
    let runs = matches!(
        container.state(),
        ContainerState::Running | ContainerState::Paused
    );
    (runs && container.engine() != Engine::None).then_some(())?;
    Some((container.id().clone(), container.pid()?))
}

/// What a container uses now: twice, a moment apart, so that it can be told how busy it is. `None`
/// where it has no control group of its own, or has ended.
pub async fn measure(container: &AnyContainer) -> Option<(Sample, Sample)> {
    let (id, init) = counted(container)?;
    let first = look(&id, init).await?;
    tokio::time::sleep(APART).await;
    Some((first, look(&id, init).await?))
}

/// What a container uses at this moment.
pub async fn look_at(container: &AnyContainer) -> Option<Sample> {
    let (id, init) = counted(container)?;
    look(&id, init).await
}

async fn look(id: &ContainerId, init: HostPid) -> Option<Sample> {
    let id = id.clone();
    let read = move || cgroupfs::sample(id.as_str(), init);
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

/// Looks at all containers for as long as the server runs, while somebody looks.
pub async fn run(state: AppState) {
    let mut lookers = state.lookers.0.subscribe();
    let mut fresh = true;
    loop {
        if *lookers.borrow_and_update() == 0 {
            fresh = true;
            if lookers.wait_for(|count| *count > 0).await.is_err() {
                return;
            }
        }
        let shown = state.clone();
        let read = move || {
            let all = shown.world.any_containers();
            let counted = all.iter().filter_map(counted);
            let samples = counted.filter_map(|(id, init)| {
                let sample = cgroupfs::sample(id.as_str(), init)?;
                Some((id, sample))
            });
            samples.collect::<HashMap<_, _>>()
        };
        if let Ok(samples) = tokio::task::spawn_blocking(read).await {
            state.world.learn_usage(samples);
        }
        // How busy they are takes two looks: the second comes soon.
        let pace = if std::mem::replace(&mut fresh, false) {
            APART
        } else {
            PACE
        };
        tokio::time::sleep(pace).await;
    }
}
