//! Inspections: children that read inside what a container controls, and are killed where that does
//! not come to an end.

mod house;

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use porthole_discovery::inspect::Variables;
use porthole_protocol::inspection::{DEADLINE, Subject, What};
use porthole_protocol::keeper::{Failure, FailureCode, Reply};
use porthole_sys::process::{Child, Clone, SingleThreaded};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, set_parent_process_death_signal};

use self::house::House;
use super::Broker;
use crate::clock;
use crate::ground;
use crate::ledger::Ticket;
use crate::monitor::io_failure;

/// Children at once, those included that were killed and are not gone: one that waits for a FUSE
/// file system's answer cannot go before that is given.
const AT_ONCE: usize = 32;

/// Of one process or namespace, so that who owns it takes not all places: enough for a page that
/// shows everything of it, and a second one.
const OF_ONE: usize = 8;

/// Of everything in one container, however many processes and namespaces it has.
const OF_HOUSE: usize = 12;

/// One that is under way, or was killed and has not gone yet.
#[derive(Debug)]
pub(super) struct Inspection {
    child: Child,
    subject: Subject,
    houses: Vec<House>,
    /// When it is killed, in milliseconds of the monotonic clock. `None` once it was.
    deadline: Option<u64>,
}

impl Broker {
    pub(super) fn inspect(&mut self, ticket: Ticket, subject: Subject, what: What) {
        self.end_inspections();
        let base = ground::cgroup_base(&self.ground.cgroups);
        let houses = house::of(&subject, &base);
        if let Some(why) = self.full(&subject, &houses) {
            let failure = Failure::new(FailureCode::Exhausted, why);
            return self.reply(ticket, Reply::Failed(failure), Vec::new());
        }
        match fork(&subject, what, &self.variables()) {
            Ok((pipe, child)) => {
                let deadline = u64::try_from(DEADLINE.as_millis()).unwrap_or(u64::MAX);
                self.inspections.push(Inspection {
                    child,
                    subject,
                    houses,
                    deadline: Some(clock::monotonic_ms() + deadline),
                });
                self.reply(ticket, Reply::Inspecting, vec![pipe]);
            }
            Err(error) => {
                let failure = io_failure(&error, "no process can be started");
                self.reply(ticket, Reply::Failed(failure), Vec::new());
            }
        }
    }

    /// Why there is no place for another one.
    fn full(&self, subject: &Subject, houses: &[House]) -> Option<&'static str> {
        let count = |of: &dyn Fn(&Inspection) -> bool| {
            self.inspections.iter().filter(|one| of(one)).count()
        };
        let one_is_full =
            |house: &House| count(&|one: &Inspection| one.houses.contains(house)) >= OF_HOUSE;
        if houses.iter().any(one_is_full) {
            return Some(
                "too many are looking into this container at this moment, or what they look at there does not answer; try again",
            );
        }
        let of_one = count(&|one: &Inspection| one.subject == *subject);
        (self.inspections.len() >= AT_ONCE || of_one >= OF_ONE)
            .then_some("too many are looking into namespaces at this moment; try again")
    }

    /// Whose environment the server may have: a container's of ours, and what root's policy would
    /// let it be told by a program that it starts there.
    fn variables(&self) -> Variables {
        let policy = &self.policy;
        if policy.join_privileged || policy.host_namespaces {
            return Variables::All;
        }
        Variables::InGroups {
            name: format!("porthole-{}", self.ground.places.instance()),
            containers: policy.join_foreign,
        }
    }

    /// When the next one is to be killed.
    pub(super) fn next_inspection_deadline(&self) -> Option<u64> {
        self.inspections.iter().filter_map(|one| one.deadline).min()
    }

    /// Forgets those that have ended and kills those that are late.
    pub(super) fn end_inspections(&mut self) {
        let now = clock::monotonic_ms();
        // A pidfd answers for its process alone, whoever has its number by now; the keeper reaps
        // all its children, so that one that has ended is none any more.
        self.inspections
            .retain(|one| porthole_sys::signals::send(&one.child.pidfd, 0).is_ok());
        for one in &mut self.inspections {
            if one.deadline.is_some_and(|deadline| deadline <= now) {
                let _ = porthole_sys::signals::send(&one.child.pidfd, 9);
                one.deadline = None;
            }
        }
    }
}

fn fork(subject: &Subject, what: What, variables: &Variables) -> io::Result<(OwnedFd, Child)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let alone = SingleThreaded::verify()?;
    let keeper = rustix::process::getpid();
    let child = porthole_sys::process::clone(alone, &Clone::default(), |forked| -> Infallible {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if rustix::process::getppid() != Some(keeper) {
            porthole_sys::process::exit(1);
        }
        let _ = rustix::thread::set_name(c"porthole-look");
        // Its own clock too, should the keeper be busy; whole seconds, rounded up.
        nix::unistd::alarm::set(u32::try_from(DEADLINE.as_secs() + 1).unwrap_or(4));
        let written = forked.close_all_but(&[write.as_fd()]).is_ok()
            && porthole_discovery::inspect::run(&forked, (subject, what), variables, &write);
        porthole_sys::process::exit(i32::from(!written))
    })?;
    Ok((read, child))
}
