//! The process that unpacks: from its first breath to its last word.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

use porthole_protocol::container::ImageName;
use porthole_protocol::image::{Digest, ImageBounds, Layer};
use porthole_protocol::keeper::Failure;
use porthole_protocol::trace::Actor;
use porthole_sys::packet::Packet;
use porthole_sys::process::{Forked, exit};
use porthole_sys::signals;

use super::{Said, archive, confine};
use crate::cgroup::Entrance;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};
use crate::{filesystem, layers, passage, wire};

/// What it is to do.
pub(super) struct Job<'a> {
    pub(super) archive: BorrowedFd<'a>,
    pub(super) known: &'a BTreeMap<Digest, Layer>,
    pub(super) wanted: Option<&'a ImageName>,
    pub(super) bounds: ImageBounds,
    /// Where layers are unpacked into.
    pub(super) into: BorrowedFd<'a>,
}

pub(super) fn run(
    job: &Job<'_>,
    entrance: &Entrance,
    forked: &Forked,
    channel: &Packet,
) -> Infallible {
    let said = match work(job, entrance, forked, channel) {
        Ok(Some(said)) => said,
        // The importer is gone.
        Ok(None) => exit(1),
        Err(failure) => Said::Failed(Box::new(failure)),
    };
    exit(i32::from(!say(channel, &said)))
}

/// Says something; whether it was heard.
pub(super) fn say(channel: &Packet, said: &Said) -> bool {
    serde_json::to_vec(said).is_ok_and(|bytes| channel.send(&bytes, &[]).is_ok())
}

fn work(
    job: &Job<'_>,
    entrance: &Entrance,
    forked: &Forked,
    channel: &Packet,
) -> Result<Option<Said>, Failure> {
    let mut trace = Recorder::new(Actor::Init);
    signals::reset();
    // The kernel's own calls of this name belong to whoever reads a process list.
    let _ = rustix::thread::set_name(c"porthole-unpack");
    let kept = [channel.as_fd(), job.archive];
    passage::leave_the_machine(entrance, &kept, forked, &mut trace)?;
    if !say(channel, &Said::Waiting) {
        return Ok(None);
    }
    let Some(mut given) = wire::wait_to_go(channel)? else {
        return Ok(None);
    };
    let Some(root) = given.pop() else {
        return Err(StepError::new(Step::HandOver, rustix::io::Errno::PROTO).into());
    };
    passage::clear_groups(&mut trace)?;
    passage::become_root(&mut trace)?;
    layers::end_propagation(&mut trace)?;
    filesystem::change_root(&root, &mut trace)?;
    drop(root);
    confine::confine(job.bounds.unpacked)?;
    let unpacked = archive::unpack(job, channel)?;
    Ok(Some(Said::Finished(Box::new(unpacked))))
}
