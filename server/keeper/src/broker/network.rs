//! The bridge, as far as it is the keeper's: noticing that it has to be put right, and having that
//! done by a helper, which may wait for others and for nft.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use porthole_protocol::container::ContainerName;
use porthole_protocol::id::ContainerId;
use porthole_runtime::Bridge;
use porthole_runtime::network::watch::Watch;
use porthole_runtime::network::{CONNECTIONS, Prepared};
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::process::{Pid, WaitStatus};

use super::{Broker, Source};
use crate::clock;
use crate::ledger::Network;
use crate::log::log;
use crate::policy::NetworkRules;
use crate::poll::READ;
use crate::settings::Places;

/// Whoever changes rules rarely changes one only.
const PAUSE_MS: u64 = 50;

/// How long to wait where one could not take everything away.
const RETRY_MS: u64 = 2_000;

/// How long to wait for the kernel, which closes a killed monitor's connection before it gives its
/// lock back, and how often.
const LINGER_MS: u64 = 200;
const LOOKS: u8 = 10;

/// A helper waits for starts of containers, each of which takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the keeper has to do with the bridge.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// The bridge, also where root's policy has none any more: something may be left.
    pub(super) bridge: Option<Bridge>,
    /// What the kernel says about its rules.
    watch: Option<Watch>,
    helper: Option<Child>,
    /// Containers whose monitors are gone, and how often to look for what they have left.
    gone: BTreeMap<ContainerId, u8>,
    /// The last one was killed before its end.
    cut_short: bool,
    /// When one is to be started, in milliseconds of the monotonic clock.
    due: Option<u64>,
}

/// Looks what there is for a bridge, and what of it is told.
pub(super) fn prepare(
    places: &Places,
    rules: NetworkRules,
    lacking: &mut Vec<String>,
) -> (Mending, Network) {
    let directory = places.keeper().join("network");
    if !rules.bridge && !directory.exists() {
        return Default::default();
    }
    let Prepared {
        bridge,
        unusable,
        lacking: can_do_without,
    } = Bridge::prepare(
        &directory,
        &places.instance(),
        rules.ipv4,
        rules.connections.map_or(CONNECTIONS, NonZeroU32::get),
    );
    let network = match (&bridge, unusable) {
        _ if !rules.bridge => Network::Off,
        (Some(bridge), None) => {
            lacking.extend(can_do_without);
            Network::Ready {
                pool: *bridge.pool(),
                publish_anywhere: rules.publish_anywhere,
            }
        }
        (_, why) => {
            let why = why.unwrap_or_default();
            lacking.push(why.clone());
            Network::Unusable(why)
        }
    };
    let mending = Mending {
        bridge,
        // What an earlier keeper has left, or what has changed meanwhile.
        due: Some(0),
        ..Mending::default()
    };
    (mending, network)
}

impl Broker {
    /// Listens to what is done to the rules.
    pub(super) fn watch_rules(&mut self) {
        let Some(bridge) = &self.mending.bridge else {
            return;
        };
        let opened = Watch::open(bridge.table()).and_then(|watch| {
            let number = self.number(Source::Rules);
            self.poll.add(&watch, number, READ)?;
            self.mending.watch = Some(watch);
            Ok(())
        });
        if let Err(error) = opened {
            log!(
                "keeper",
                "changes of the packet filter cannot be noticed: {error}"
            );
        }
    }

    /// Something was done to rules of the machine.
    pub(super) fn hear_rules(&mut self) {
        let changed = self.mending.watch.as_mut().is_some_and(Watch::changed);
        if changed && self.mending.due.is_none() {
            log!(
                "keeper",
                "the packet filter's rules about containers were changed: they are put right"
            );
            self.mending.due = Some(clock::monotonic_ms() + PAUSE_MS);
        }
    }

    /// A container's monitor is gone, and where it was killed, or something failed, it has not taken
    /// the container's place on the bridge with it.
    pub(super) fn left_bridge(&mut self, id: &ContainerId) {
        if self
            .mending
            .bridge
            .as_ref()
            .is_some_and(|bridge| bridge.knows(id))
        {
            self.mending.gone.insert(id.clone(), LOOKS);
        }
        self.look_at_bridge(id);
    }

    /// Something is there of a container that may have to be put right.
    pub(super) fn look_at_bridge(&mut self, id: &ContainerId) {
        if let Some(bridge) = &self.mending.bridge
            && (bridge.knows(id) || bridge.is_left_over())
        {
            self.mending.due.get_or_insert(0);
        }
    }

    /// When [`Broker::mend`] is to be called, in milliseconds of the monotonic clock.
    pub(super) fn next_mending(&self) -> Option<u64> {
        self.mending.due.filter(|_| self.mending.helper.is_none())
    }

    /// A child has ended so: one that was killed while it put the network right has left the rest.
    pub(super) fn note_end(&mut self, pid: Pid, status: WaitStatus) {
        let helper = self.mending.helper.as_ref();
        if helper.is_some_and(|helper| helper.pid == pid.as_raw_pid()) {
            self.mending.cut_short = status.signaled();
        }
    }

    /// Starts a helper when it is time.
    pub(super) fn mend(&mut self) {
        // Its end wakes us: it is our child.
        if let Some(helper) = &self.mending.helper
            && porthole_sys::signals::send(&helper.pidfd, 0).is_ok()
        {
            return;
        }
        if self.mending.helper.take().is_some()
            && let Some(bridge) = &self.mending.bridge
        {
            self.mending.gone.retain(|id, looks| {
                *looks -= 1;
                *looks > 0 && bridge.knows(id)
            });
            let pause = if !self.mending.gone.is_empty() {
                Some(LINGER_MS)
            } else if std::mem::take(&mut self.mending.cut_short) || bridge.is_left_over() {
                // It could not, and has said why if it could do that.
                Some(RETRY_MS)
            } else {
                None
            };
            if let Some(pause) = pause {
                self.mending
                    .due
                    .get_or_insert(clock::monotonic_ms() + pause);
            }
        }
        let (Some(bridge), Some(due)) = (&self.mending.bridge, self.mending.due) else {
            return;
        };
        if due > clock::monotonic_ms() {
            return;
        }
        self.mending.due = None;
        let name = |id: &ContainerId| {
            let (config, _) = self.ledger.stored(id)?;
            Some(config.name.clone())
        };
        match fork(bridge, &name) {
            Ok(helper) => self.mending.helper = Some(helper),
            Err(error) => {
                log!("keeper", "the network cannot be put right now: {error}");
                self.mending.due = Some(clock::monotonic_ms() + RETRY_MS);
            }
        }
    }
}

fn fork(
    bridge: &Bridge,
    name: &dyn Fn(&ContainerId) -> Option<ContainerName>,
) -> io::Result<Child> {
    let alone = SingleThreaded::verify()?;
    // It outlives a keeper that is killed: what it does is whole when it is at its end, and the next
    // one waits for the same lock.
    porthole_sys::process::clone(alone, &Clone::default(), |forked| -> Infallible {
        let _ = rustix::thread::set_name(c"porthole-net");
        nix::unistd::alarm::set(u32::try_from(DEADLINE.as_secs()).unwrap_or(30));
        let settled = forked
            .close_all_but(&[])
            .map_err(|error| error.to_string())
            .and_then(|()| bridge.settle(name).map_err(|failure| failure.to_string()));
        if let Err(error) = &settled {
            log!("network", "{error}");
        }
        porthole_sys::process::exit(i32::from(settled.is_err()))
    })
}
