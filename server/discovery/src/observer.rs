//! The loop of the observer: events in, changes out, and a scan that corrects.
//!
//! ```text
//!  wait --event--> gather (20 ms) --> read those concerned, some at a time --> tell --> wait
//!    \---time for a correction------> list /proc, read all, some at a time ---> tell --/
//! ```
//!
//! Everything that takes long is done some at a time, so that an event is never behind a scan,
//! nor a scan for ever behind events.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::events::{Event, Taken};
use crate::freezer::Freezer;
use crate::glance::Glance;
use crate::holders::{self, Holders};
use crate::host::{ARGUMENTS_EVERY, Cause, Host, at};
use crate::outbox::Outbox;
use crate::{Failure, Settings, Step};

mod endings;
mod source;
mod wait;

use endings::Endings;
use source::Source;

/// How long events are gathered after the first. With the time to read and to tell what they
/// concern, a change is told within 50 ms.
const GATHER: Duration = Duration::from_millis(20);

/// How long nothing more is heard of networks after something was.
const NETWORKS: Duration = Duration::from_millis(500);

/// How far scans are apart at least while the kernel drops events.
const STORM: Duration = Duration::from_secs(1);

/// So many times as long as a scan has taken passes at least until the next, and so many times as
/// long as finding the containers until they are found anew: on a host of any size neither takes
/// more than a small part of a processor.
const CORRECTION: u32 = 30;
const SETTLING: u32 = 10;

/// How many events are taken, and how many processes read, before anything else has its turn.
const EVENTS_AT_ONCE: usize = 4096;
const READ_AT_ONCE: usize = 128;

/// The observer with all that it owns.
#[derive(Debug)]
pub(crate) struct Observer {
    stream: OwnedFd,
    outbox: Outbox,
    host: Host,
    holders: Holders,
    glance: Glance,
    freezer: Freezer,
    source: Source,
    settings: Settings,
    /// To be read because of an event, those that have ended first: the kernel gives the numbers
    /// of their namespaces to others at once.
    ended: BTreeSet<HostPid>,
    changed: BTreeMap<HostPid, Cause>,
    /// To be read because of a scan.
    scan: Vec<HostPid>,
    endings: Endings,
    /// Until when events are gathered.
    gather: Option<Instant>,
    scanned: Instant,
    /// What the scan that is on its way, or the last one, has cost.
    scan_cost: Duration,
    next_scan: Instant,
    /// Until when containers are not found anew.
    next_settling: Instant,
    /// Until when nothing is heard of networks.
    next_networks: Instant,
}

impl Observer {
    /// Ready to observe. Events are asked for before the first process is read, so that nothing
    /// that happens meanwhile is missed.
    pub(crate) fn new(stream: OwnedFd, settings: &Settings) -> Result<Self, Failure> {
        let now = Instant::now();
        let source = Source::ask(now);
        let host = Host::open(settings)?;
        let mut observer = Self {
            stream,
            outbox: Outbox::default(),
            holders: Holders::new(&host),
            glance: Glance::new(now),
            freezer: Freezer::find(),
            host,
            source,
            settings: settings.clone(),
            ended: BTreeSet::new(),
            changed: BTreeMap::new(),
            scan: Vec::new(),
            endings: Endings::new(now),
            gather: None,
            scanned: now,
            scan_cost: Duration::ZERO,
            next_scan: now,
            next_settling: now,
            next_networks: now,
        };
        observer.say_how();
        Ok(observer)
    }

    /// Observes until the receiver hangs up.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        for some in self.host.list()?.chunks(ARGUMENTS_EVERY) {
            for pid in some {
                self.read(*pid, Cause::None);
            }
            self.host.run_arguments(Instant::now());
        }
        self.holders.doubt(&self.host);
        self.scanned = Instant::now();
        self.next_scan = self.scanned + self.pace();
        loop {
            if self.outbox.is_empty() && self.is_told_whole() {
                self.tell();
            }
            match self.outbox.send(&self.stream) {
                Ok(()) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                Err(errno) => return Err(at(Step::WriteStream)(errno)),
            }
            if !self.wait()? {
                return Ok(());
            }
            let now = Instant::now();
            self.take_events(now);
            if self.gather.is_none_or(|until| until <= now) {
                self.gather = None;
                self.read_changed();
            }
            self.look_at_endings(now);
            self.correct(now)?;
            self.listen_to_networks(now);
            for pid in self.glance.look(&self.host, now) {
                self.read(pid, Cause::None);
                self.holders.touch(pid);
            }
            self.holders.look(&mut self.host, now);
            self.freezer.look(&mut self.host.model, now);
            self.host.run_arguments(now);
        }
    }

    /// Puts what the receiver does not know into the outbox, unless it is worth waiting.
    fn tell(&mut self) {
        let begun = Instant::now();
        if self.awaited(begun).is_some() {
            return;
        }
        if self.host.model.is_unsettled() {
            self.host.model.settle();
            let done = Instant::now();
            self.next_settling = done + (done - begun) * SETTLING;
        }
        if let Some(update) = self.host.model.take_update() {
            self.outbox.put(&update);
        }
    }

    /// Until when it is worth waiting: arguments are on their way, or containers were just found
    /// and would have to be again.
    fn awaited(&self, now: Instant) -> Option<Instant> {
        let settling = Some(self.next_settling).filter(|next| *next > now);
        let settling = settling.filter(|_| self.host.model.is_unsettled());
        self.host.arguments.awaited(now).max(settling)
    }

    /// Whether all that has happened together has been read.
    fn is_told_whole(&self) -> bool {
        self.gather.is_some() || (self.ended.is_empty() && self.changed.is_empty())
    }

    /// Hears what has become of networks. After that it is deaf to them for a while, in which the
    /// kernel keeps what it tells: a container's wire alone is a dozen messages.
    fn listen_to_networks(&mut self, now: Instant) {
        if now < self.next_networks {
            return;
        }
        let heard = self.host.reader.networks().take();
        if heard.wires || heard.numbers {
            self.next_networks = now + NETWORKS;
        }
        if heard.wires {
            self.host.model.rewired();
        }
        if heard.numbers {
            holders::number(&mut self.host);
        }
    }

    fn take_events(&mut self, now: Instant) {
        let Some(events) = self.source.events() else {
            return;
        };
        let (ended, changed) = (&mut self.ended, &mut self.changed);
        let mut heard = false;
        let mut concerned = false;
        let taken = events.take(EVENTS_AT_ONCE, |event| {
            heard |= !matches!(event, Event::Answer(1..));
            concerned |= !matches!(event, Event::Answer(_));
            match event {
                Event::Answer(_) => {}
                Event::Fork { parent, child } => {
                    changed.entry(parent).or_insert(Cause::None);
                    changed.entry(child).or_insert(Cause::None);
                }
                Event::Changed(pid) => {
                    changed.insert(pid, Cause::Changed);
                }
                Event::Exit(pid) => {
                    ended.insert(pid);
                }
            }
        });
        if concerned && self.gather.is_none() {
            self.gather = Some(now + GATHER);
        }
        match taken {
            Ok(Taken::All | Taken::Some) => {}
            // What the kernel dropped only a scan can find; in a storm, one a second.
            Ok(Taken::Lost) => self.next_scan = self.next_scan.min(now.max(self.scanned + STORM)),
            Err(_) => self.source = Source::Polling(None),
        }
        if self.source.judge(heard, now) {
            self.next_scan = now;
        }
        self.say_how();
    }

    fn say_how(&mut self) {
        let notice = self.source.notice(self.settings.polling);
        self.host.model.notice(notice);
    }

    /// Reads processes that something has happened to.
    fn read_changed(&mut self) {
        let mut orphaned = HashSet::new();
        for _ in 0..READ_AT_ONCE {
            let Some(pid) = self.ended.pop_first() else {
                break;
            };
            self.changed.remove(&pid);
            if self.host.model.process(pid).is_some() {
                orphaned.insert(pid);
            }
            self.read(pid, Cause::None);
        }
        // No event tells that somebody else is the parent now.
        if !orphaned.is_empty() {
            for child in self.host.model.children(&orphaned) {
                self.changed.entry(child).or_insert(Cause::None);
            }
        }
        for _ in 0..READ_AT_ONCE {
            let Some((pid, cause)) = self.changed.pop_first() else {
                break;
            };
            self.read(pid, cause);
            self.holders.touch(pid);
        }
        self.host.run_arguments(Instant::now());
    }

    /// Looks again at those that have ended.
    fn look_at_endings(&mut self, now: Instant) {
        let taken = self.endings.take(now);
        for (pid, _) in &taken {
            self.read(*pid, Cause::None);
        }
        self.endings.looked_at(taken, now);
    }

    /// Reads a process, and remembers to look again if it is a zombie.
    fn read(&mut self, pid: HostPid, cause: Cause) {
        self.host.read(pid, cause);
        let known = self.host.model.process(pid);
        if known.is_some_and(|process| matches!(process.state, 'Z' | 'X')) {
            self.endings.add(pid, Instant::now());
        }
    }

    /// Goes on with a scan, or begins one when it is time.
    fn correct(&mut self, now: Instant) -> Result<(), Failure> {
        for _ in 0..READ_AT_ONCE {
            let Some(pid) = self.scan.pop() else {
                break;
            };
            self.read(pid, Cause::Scan);
            if self.scan.is_empty() {
                self.next_scan = self.next_scan.max(now + self.scan_cost * CORRECTION);
            }
        }
        self.scan_cost += now.elapsed();
        if !self.scan.is_empty() || now < self.next_scan {
            return Ok(());
        }
        let listed = self.host.list()?;
        // One that is known and not in the list may have been born after it was made: its number
        // is read like the others'.
        let mut all: BTreeSet<HostPid> = self.host.model.pids().collect();
        all.extend(listed);
        self.scan = all.into_iter().rev().collect();
        self.host.model.doubt();
        self.host.reader.tidy();
        self.holders.doubt(&self.host);
        self.scanned = now;
        self.scan_cost = now.elapsed();
        self.next_scan = now + self.pace();
        Ok(())
    }

    const fn pace(&self) -> Duration {
        match self.source {
            Source::Asked(..) | Source::Events(_) => self.settings.correction,
            Source::Polling(_) => self.settings.polling,
        }
    }
}
