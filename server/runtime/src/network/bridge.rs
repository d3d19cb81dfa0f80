//! The bridge as a whole: made with the first container that is attached to it, gone with the last.
//!
//! No process keeps it. What there is to be done is worked out anew each time from who is attached
//! (`registry.rs`), under one lock, by whoever attaches or leaves, and by a helper of the keeper's
//! where somebody left without a word or the rules were changed by hand.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use porthole_protocol::container::{ContainerName, Owner};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::io::Errno;

use super::connections;
use super::conntrack;
use super::cover::{self, COVERS};
use super::links::{self, Link, Port};
use super::machine::{self, Machine};
use super::names;
use super::netlink::Netlink;
use super::nft::{self, Running};
use super::pool::{Pool, Range, candidates, overlap};
use super::registry::{self, Attachment, Found, Lock};
use super::ruleset::{Ruleset, needs_local_routes, removal};
use crate::step::{Step, StepError};

/// One instance's bridge: what it is called, and which addresses it has.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Eight digits that tell instances on one machine apart.
    mark: String,
    directory: PathBuf,
    pool: Pool,
    nft: Option<PathBuf>,
    /// How many connections one container may have; `None` where this kernel cannot count them.
    connections: Option<u32>,
}

/// A bridge that can be used, or why it cannot.
#[derive(Debug)]
pub struct Prepared {
    /// What is known of it, also where it cannot be used: there may be something to take away.
    pub bridge: Option<Bridge>,
    /// Why containers cannot be attached to it, in a sentence that says what to do.
    pub unusable: Option<String>,
    /// What the machine lacks that it can do without, each in a sentence.
    pub lacking: Vec<String>,
}

impl Bridge {
    /// Looks what there is to make a bridge of. `directory` is `ROOT/keeper/network`; `wanted` is
    /// the range of addresses that root has chosen, if any; `connections` how many of them one
    /// container may have.
    pub fn prepare(
        directory: &Path,
        mark: &str,
        wanted: Option<Range>,
        connections: u32,
    ) -> Prepared {
        let nothing = |why: String| Prepared {
            bridge: None,
            unusable: Some(why),
            lacking: Vec::new(),
        };
        let number = u32::from_str_radix(mark, 16).unwrap_or(0);
        if let Err(error) = fs::create_dir_all(directory.join("ports")) {
            return nothing(format!("{} cannot be made: {error}.", directory.display()));
        }
        let others = machine::routes(&name_of(mark));
        let range = match wanted.map_or_else(|| chosen(directory, number, &others), Ok) {
            Ok(range) => range,
            Err(why) => return nothing(why),
        };
        let v6 = machine::speaks_ipv6();
        let mut lacking = Vec::new();
        let range = match in_use(directory).filter(|used| *used != range) {
            None => range,
            Some(used) => {
                lacking.push(format!(
                    "Connected containers have addresses of {}/{}; others get some of {}/{} once those have been stopped and Porthole was started again.",
                    used.0, used.1, range.0, range.1
                ));
                used
            }
        };
        if !v6 {
            lacking.push(
                "This machine does not speak IPv6, so that containers do not either: start its kernel without ipv6.disable=1, and set net.ipv6.conf.all.disable_ipv6=0.".to_owned(),
            );
        }
        if let Some((base, prefix)) = others.into_iter().find(|other| overlap(*other, range)) {
            lacking.push(format!(
                "Containers have addresses of {}/{}, and the machine has a route to {base}/{prefix} too, so that they cannot reach what is there: choose another range (ipv4 in the table [network] of root's policy).",
                range.0, range.1
            ));
        }
        let nft = nft::find();
        let unusable = nft.is_none().then(|| {
            "nft was not found, without which containers could not be kept apart, so that they have no network: install Debian's package nftables, and start Porthole again.".to_owned()
        });
        let mut bridge = Self {
            mark: mark.to_owned(),
            directory: directory.to_owned(),
            pool: Pool::new(range, number, v6),
            nft,
            connections: Some(connections),
        };
        if let Err(error) = bridge.try_counting() {
            bridge.connections = None;
            lacking.push(format!(
                "This kernel does not count connections, so that a container may have as many as it likes, up to the machine's own limit ({error}): its module nft_connlimit is missing."
            ));
        }
        Prepared {
            bridge: Some(bridge),
            unusable,
            lacking,
        }
    }

    /// Whether the kernel can do what takes a module that not every one has.
    fn try_counting(&self) -> io::Result<()> {
        match &self.nft {
            Some(nft) => nft::check(nft, &self.counting()),
            None => Ok(()),
        }
    }

    /// What sets the limit on connections.
    fn counting(&self) -> String {
        let limit = self.connections;
        let text = |limit| connections::text(&self.table(), &self.name(), limit);
        limit.map(text).unwrap_or_default()
    }

    /// Its addresses.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What is written down of it, and of who is attached.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The interface's name.
    pub fn name(&self) -> String {
        name_of(&self.mark)
    }

    /// The table's name, of the family `inet`.
    pub fn table(&self) -> String {
        format!("porthole_{}", self.mark)
    }

    /// Whether a container is attached, or has left something behind.
    pub fn knows(&self, id: &ContainerId) -> bool {
        registry::is_there(&self.directory, id)
    }

    /// Whether it is there although nobody is attached: who was the last to leave could not take it
    /// away.
    pub fn is_left_over(&self) -> bool {
        self.directory.join(MADE).exists()
            && fs::read_dir(self.directory.join("ports"))
                .is_ok_and(|mut ports| ports.next().is_none())
    }

    /// Puts everything as it has to be for those who are attached, and takes away what others have
    /// left: the bridge itself after the last one. `name` says what a container is called now. Waits
    /// for whoever is at work on it.
    pub fn settle(
        &self,
        name: &dyn Fn(&ContainerId) -> Option<ContainerName>,
    ) -> Result<(), Failure> {
        let lock = self.lock()?;
        let mut found = self.take_stock(&lock)?;
        for one in &mut found.alive {
            if let Some(name) = name(&one.id).filter(|name| *name != one.name) {
                one.name = name;
                registry::rewrite(&lock, &self.directory, one)
                    .map_err(|error| failed("writing down who is attached", &error))?;
            }
        }
        if found.alive.is_empty() {
            self.dismantle(&lock)?;
            return self.forget_connections(&found);
        }
        let (bridge, running) = self.rebuild(&lock, &found.alive)?;
        let joined = || {
            let mut netlink = Netlink::open()?;
            for one in &found.alive {
                let port = one.port();
                // One that is being attached has none yet.
                if links::find(&mut netlink, &port)?.is_some() {
                    self.port(&port, bridge, one.number, 0).join(&mut netlink)?;
                }
            }
            Ok(())
        };
        let joined = joined().map_err(|error| failed("plugging containers in", &error));
        running
            .finish()
            .map_err(|error| failed("setting the packet filter", &error))?;
        joined?;
        self.forget_connections(&found)
    }

    /// Forgets what went to and from those who have left, once no rule leads there any more.
    pub(super) fn forget_connections(&self, found: &Found) -> Result<(), Failure> {
        let numbers = found.stale.iter().filter_map(|one| one.number);
        for number in numbers {
            self.forget_connections_of(number)?;
        }
        Ok(())
    }

    /// The same of one, who has left or is about to come.
    pub(super) fn forget_connections_of(&self, number: u32) -> Result<(), Failure> {
        conntrack::forget(&self.pool.addresses(number))
            .map(drop)
            .map_err(|error| failed("forgetting connections", &error))
    }

    pub(super) fn lock(&self) -> Result<Lock, Failure> {
        Lock::take(&self.directory).map_err(|error| failed("locking the network", &error))
    }

    /// Who is attached, after what others have left is gone.
    pub(super) fn take_stock(&self, lock: &Lock) -> Result<Found, Failure> {
        let stock = || {
            let found = registry::read(lock, &self.directory)?;
            if found.stale.is_empty() {
                return Ok(found);
            }
            let mut netlink = Netlink::open()?;
            let bridge = self.find(&mut netlink)?.map(|link| link.index);
            for stale in &found.stale {
                self.unplug(&mut netlink, bridge, &stale.id, stale.number)?;
                registry::forget(lock, &self.directory, &stale.id);
            }
            Ok(found)
        };
        stock().map_err(|error: io::Error| failed("looking who is attached", &error))
    }

    fn unplug(
        &self,
        netlink: &mut Netlink,
        bridge: Option<u32>,
        id: &ContainerId,
        number: Option<u32>,
    ) -> io::Result<()> {
        let addresses = number.map_or_else(Vec::new, |number| self.pool.addresses(number));
        links::forget(netlink, &registry::port_of(id), bridge, &addresses)
    }

    /// What is known of it, where it is there and ours: which is told by its link-layer address, that it has
    /// from its first moment and that nobody else's has by chance.
    fn find(&self, netlink: &mut Netlink) -> io::Result<Option<Link>> {
        let link = links::find(netlink, &self.name())?;
        Ok(link.filter(|link| link.mac == Some(self.pool.gateway_mac())))
    }

    const fn port<'a>(&'a self, name: &'a str, bridge: u32, number: u32, pid: u32) -> Port<'a> {
        Port {
            name,
            bridge,
            pool: &self.pool,
            number,
            pid,
        }
    }

    /// Makes what is not there for these containers, and begins to set the filter anew.
    pub(super) fn rebuild(
        &self,
        lock: &Lock,
        attached: &[Attachment],
    ) -> Result<(u32, Running), Failure> {
        let Some(nft) = &self.nft else {
            return Err(Failure::new(
                FailureCode::Unsupported,
                "nft was not found, without which containers could not be kept apart: install Debian's package nftables, start Porthole again, or give the container the network \"none\"",
            )
            .field("network")
            .stage(Stage::Network));
        };
        let directory = &self.directory;
        let v6 = self.pool.v6().is_some();
        let forward = || {
            self.write_made()?;
            let mut machine = Machine::lock()?;
            machine.forward(v6)?;
            Ok(machine)
        };
        let machine = forward().map_err(|error| failed("letting the machine forward", &error))?;
        let mut netlink =
            Netlink::open().map_err(|error| failed("asking about interfaces", &error))?;
        let bridge = self.make(&mut netlink)?;
        let only_ours = machine.forwarded_nothing();
        // It is set back by nobody as long as the bridge is there.
        drop(machine);
        let (index, name) = (bridge.index, self.name());
        let mut set = || {
            links::raise_bridge(&mut netlink, index, &self.pool)?;
            machine::set_bridge(&name, needs_local_routes(attached), v6)?;
            names::write_hosts(directory, &self.pool, attached)
        };
        set().map_err(|error| failed("setting the bridge up", &error))?;
        let text = Ruleset {
            table: &self.table(),
            bridge: &name,
            pool: &self.pool,
            attached,
            resolvers: &names::reachable(),
            only_ours,
        }
        .text();
        let text = text + &self.counting();
        let running = nft::start(nft, &text, &lock.0)
            .map_err(|error| failed("setting the packet filter", &error))?;
        Ok((index, running))
    }

    /// Writes down that it is there, and with which addresses.
    fn write_made(&self) -> io::Result<()> {
        if self.directory.join(MADE).exists() {
            return Ok(());
        }
        let range = serde_json::to_vec(&self.pool.range())?;
        fs::write(self.directory.join(USED), range)?;
        fs::write(self.directory.join(MADE), self.name())
    }

    /// The bridge, after it was made where it was not there.
    fn make(&self, netlink: &mut Netlink) -> Result<Link, Failure> {
        let name = self.name();
        let make = |netlink: &mut Netlink| {
            let found = links::find(netlink, &name)?;
            if found.is_none() {
                let mac = self.pool.gateway_mac();
                links::make_bridge(netlink, &name, mac)?;
            }
            let bridge = self.find(netlink)?;
            if let Some(bridge) = &bridge {
                links::regroup(netlink, bridge)?;
            }
            Ok(bridge)
        };
        match make(netlink) {
            Ok(Some(link)) => Ok(link),
            Ok(None) => Err(Failure::new(
                FailureCode::WrongState,
                format!(
                    "the machine has an interface {name} that Porthole did not make and does not touch: rename or delete it (ip link delete {name}), or give the container the network \"none\""
                ),
            )
            .field("network")
            .stage(Stage::Network)),
            Err(error) => Err(failed("making the bridge", &error)),
        }
    }

    /// Takes everything away.
    pub(super) fn dismantle(&self, lock: &Lock) -> Result<(), Failure> {
        let made = self.directory.join(MADE);
        if !made.exists() {
            return Ok(());
        }
        if let Some(nft) = &self.nft {
            let table = self.table();
            let text = removal(&table) + &connections::removal(&table);
            nft::start(nft, &text, &lock.0)
                .and_then(Running::finish)
                .map_err(|error| failed("deleting the packet filter", &error))?;
        }
        let take_away = || {
            let mut netlink = Netlink::open()?;
            let machine = Machine::lock()?;
            if self.find(&mut netlink)?.is_some() {
                links::delete(&mut netlink, &self.name())?;
            }
            machine.give_back(&mut netlink)?;
            names::write_hosts(&self.directory, &self.pool, &[])?;
            fs::remove_file(made)
        };
        take_away().map_err(|error| failed("taking the bridge away", &error))
    }

    /// What a container sees as `/etc/hosts` and `/etc/resolv.conf`; the second is written, in the
    /// container's directory.
    pub(crate) fn name_files(
        &self,
        owner: &Owner,
        directory: &Path,
        dns: &[IpAddr],
    ) -> Result<[OwnedFd; COVERS], StepError> {
        let resolver = directory.join("resolv.conf");
        let at = |path: &Path| {
            let path = path.display().to_string();
            move |error| StepError::new((Step::WriteNames, path), error)
        };
        names::write_resolver(&resolver, dns).map_err(at(&resolver))?;
        let hosts = names::hosts_file(&self.directory, owner.as_str());
        Ok([cover::clone_file(&hosts)?, cover::clone_file(&resolver)?])
    }
}

/// Says that there is something to take away.
const MADE: &str = "made";

/// The range of addresses that it was made with.
const USED: &str = "range.json";

/// The range that attached containers have.
fn in_use(directory: &Path) -> Option<Range> {
    let attached = fs::read_dir(directory.join("ports")).ok()?.next().is_some();
    let used = fs::read(directory.join(USED)).ok()?;
    (attached && directory.join(MADE).exists())
        .then(|| serde_json::from_slice(&used).ok())
        .flatten()
}

fn name_of(mark: &str) -> String {
    format!("{}{mark}", links::PREFIX)
}

/// The range that this instance has chosen for itself: once, so that addresses stay.
fn chosen(directory: &Path, mark: u32, others: &[Range]) -> Result<Range, String> {
    let file = directory.join("pool.json");
    let before = fs::read(&file)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Range>(&bytes).ok());
    if let Some(range) = before {
        return Ok(range);
    }
    let free = candidates(mark).find(|range| !others.iter().any(|other| overlap(*other, *range)));
    let Some(range) = free else {
        return Err("The machine has routes to all private addresses that Porthole could give to containers, so that they have no network: choose some (ipv4 in the table [network] of root's policy).".to_owned());
    };
    serde_json::to_vec(&range)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(&file, bytes))
        .map_err(|error| format!("{} cannot be written: {error}.", file.display()))?;
    Ok(range)
}

pub(super) fn failed(what: &str, error: &io::Error) -> Failure {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let code = match errno {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => FailureCode::Storage,
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN) => FailureCode::Exhausted,
        _ => FailureCode::Internal,
    };
    let mut failure = Failure::new(
        code,
        format!("{what} failed: {error}; try again, or give the container the network \"none\""),
    )
    .stage(Stage::Network);
    failure.errno = error.raw_os_error();
    failure
}
