//! A container's way onto the bridge and off it again.

use std::os::fd::OwnedFd;

use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::Failure;

use super::bridge::{Bridge, failed};
use super::links::Port;
use super::machine;
use super::netlink::Netlink;
use super::nft::Running;
use super::ports;
use super::registry::{self, Attachment, Entry, Lock};
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

impl Bridge {
    /// Begins to attach a container: its place is taken, and the filter is being set, when this
    /// returns.
    pub(crate) fn begin(
        &self,
        attachment: &Attachment,
        trace: &mut Recorder,
    ) -> Result<Pending, Failure> {
        // Is let go after the lock, which it takes to leave.
        let mut attached = Attached {
            bridge: self.clone(),
            id: attachment.id.clone(),
            number: attachment.number,
            place: None,
            reserved: Vec::new(),
        };
        let lock = self.lock()?;
        let mut found = self.take_stock(&lock)?;
        attached.reserved = ports::reserve(&attachment.publish, attachment, &found.alive)?;
        let entry = Entry::write(&lock, self.directory(), attachment)
            .map_err(|error| failed("writing down who is attached", &error))?;
        attached.place = Some(Place::Held(entry));
        found.alive.push(attachment.clone());
        let (bridge, running) = self.rebuild(&lock, &found.alive)?;
        let call = format!(
            "execve(nft, [\"-f\", \"-\"]) # table inet {}, {} attached",
            self.table(),
            found.alive.len()
        );
        trace.note(call);
        Ok(Pending {
            running,
            _lock: lock,
            bridge,
            attached,
        })
    }
}

/// A container that is being attached.
#[derive(Debug)]
pub(crate) struct Pending {
    running: Running,
    _lock: Lock,
    bridge: u32,
    attached: Attached,
}

impl Pending {
    /// Plugs in the container whose network namespace this process is in, after the filter is set.
    pub(crate) fn finish(self, pid: i32, trace: &mut Recorder) -> Result<Attached, Failure> {
        let Self {
            attached,
            _lock,
            running,
            bridge,
        } = self;
        running
            .finish()
            .map_err(|error| failed("setting the packet filter", &error))?;
        attached.bridge.forget_connections_of(attached.number)?;
        let name = registry::port_of(&attached.id);
        let pool = *attached.bridge.pool();
        let port = Port {
            name: &name,
            bridge,
            pool: &pool,
            number: attached.number,
            pid: pid.cast_unsigned(),
        };
        let open = |error| StepError::new((Step::MakePort, &name), error);
        let mut netlink = Netlink::open().map_err(open)?;
        let mtu = machine::mtu(&mut netlink).map_err(open)?;
        trace.step(
            (Step::MakePort, &name),
            format!(
                "sendto(NETLINK_ROUTE, RTM_NEWLINK {{{name}, veth, mtu {mtu}, peer {{eth0, pid {pid}}}}})"
            ),
            || port.make(&mut netlink, mtu),
        )?;
        trace.step(
            (Step::JoinBridge, &name),
            format!(
                "sendto(NETLINK_ROUTE, RTM_SETLINK {{{name}, master {}, isolated, locked}})",
                attached.bridge.name()
            ),
            || port.join(&mut netlink),
        )?;
        Ok(attached)
    }
}

/// A container's place on the bridge, for as long as this lives.
#[derive(Debug)]
pub struct Attached {
    bridge: Bridge,
    id: ContainerId,
    number: u32,
    place: Option<Place>,
    /// Sockets that keep the machine's programs from ports that lead elsewhere.
    reserved: Vec<OwnedFd>,
}

/// What is written down of it.
#[derive(Debug)]
enum Place {
    /// That it lives.
    Held(Entry),
    /// What is left of it.
    Left,
}

impl Attached {
    /// Lets go of its ports and of its place, which whoever comes next takes away; [`Attached::leave`]
    /// is still to come.
    pub fn release(&mut self) {
        self.reserved.clear();
        if let Some(Place::Held(entry)) = self.place.take() {
            drop(entry);
            self.place = Some(Place::Left);
        }
    }

    /// Leaves the bridge; the last one takes it away.
    pub fn leave(mut self) -> Result<(), Failure> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.release();
        if self.place.take().is_none() {
            return Ok(());
        }
        let lock = self.bridge.lock()?;
        let left = self.bridge.knows(&self.id);
        let found = self.bridge.take_stock(&lock)?;
        if found.alive.is_empty() {
            self.bridge.dismantle(&lock)?;
            return self.bridge.forget_connections(&found);
        }
        if !left {
            // Somebody has done it meanwhile.
            return Ok(());
        }
        let (_, running) = self.bridge.rebuild(&lock, &found.alive)?;
        running
            .finish()
            .map_err(|error| failed("setting the packet filter", &error))?;
        self.bridge.forget_connections(&found)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // What stays is found and taken away by whoever comes next.
        let _ = self.end();
    }
}
