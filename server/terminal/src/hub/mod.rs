//! The task that owns a session.
//!
//! ```text
//!  commands ─┐                        ┌─ viewers (served after every event)
//!  frames   ─┤                        ├─ relay and its terminal or pipes
//!  room     ─┼─> wait() ─> handle() ──┼─ queue of input
//!  output   ─┤      one event a turn  ├─ painter
//!  alarm    ─┘                        └─ info, for the rest of the server
//! ```
//!
//! Commands and frames come before output, and each turn moves one chunk at most and then lets
//! other tasks run, and no other session in flood before them: so floods delay neither what is
//! typed into them nor another session, however many there are.

mod commands;
mod frames;
mod output;
mod roster;
mod screens;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use porthole_journal::{Limit, Reader};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use porthole_protocol::session::{Exit, ExitKind, Size};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep};

use crate::attached::Attached;
use crate::clock::Clock;
use crate::handle::{Command, HubHandle, Info, Opening, Places};
use crate::input::Queue;
use crate::limits::{COMMANDS, DRAIN, INCOMING};
use crate::marks::{Recent, State};
use crate::painter::{Painter, Picture};
use crate::viewer::Viewer;
use crate::writers::Writers;

/// A session's task.
pub struct Hub {
    tty: bool,
    recorded: bool,
    limit: Limit,
    clock: Arc<dyn Clock>,
    reader: Reader,
    /// While this is here, the hub is the session's reader.
    attached: Option<Attached>,
    end: Seq,
    kept_from: Seq,
    /// Whose chunks are on their way into the journal, where some are. Nothing is done before
    /// they are there but to take the next one.
    gathered: Option<Stream>,
    /// Whether the last chunk was one of many.
    floods: bool,
    recent: Recent,
    /// Set once all output is in the journal.
    exit: Option<Exit>,
    /// From the process's end until then.
    ending: Option<Ending>,
    viewers: Vec<Viewer>,
    writers: Writers,
    numbers: u64,
    driver: Option<u64>,
    /// The writer that gets driving back when it reconnects.
    home: Option<u64>,
    queue: Queue,
    input_ended: bool,
    /// A size that came too soon after the last one.
    wanted_size: Option<Size>,
    resized_at: Option<Instant>,
    chunk: Option<(Seq, Bytes)>,
    roster: String,
    painter: Painter,
    screens: Vec<oneshot::Sender<io::Result<String>>>,
    /// When a screen was last asked for.
    drawn_at: Option<Instant>,
    output_at: Instant,
    /// Where the output was when it was last asked whether it is quiet.
    quiet_from: Seq,
    told_dropped: bool,
    told_full: bool,
    alarms: Alarms,
    commands: mpsc::Receiver<Command>,
    incoming: mpsc::Receiver<(u64, Bytes)>,
    to_incoming: mpsc::Sender<(u64, Bytes)>,
    notify: Arc<Notify>,
    info: watch::Sender<Info>,
    places: Arc<Places>,
    /// Every handle is gone: nobody can attach or subscribe any more.
    orphaned: bool,
    closed: bool,
    sleep: Pin<Box<Sleep>>,
}

/// The process has ended, its output perhaps not.
struct Ending {
    exit: Exit,
    answers: Vec<oneshot::Sender<()>>,
    quiet_at: Instant,
    deadline: Instant,
}

/// When something is to be done that no event says.
#[derive(Debug, Default)]
struct Alarms {
    /// Look at a terminal again that no process had open.
    hung_up: Option<Instant>,
    /// Write to the journal again.
    disk: Option<Instant>,
    /// Write input again: the kernel does not tell of all room that there is.
    input: Option<Instant>,
    /// See whether the screen is to be brought up.
    quiet: Option<Instant>,
    /// See whether the screen is to be freed.
    shrink: Option<Instant>,
}

enum Event {
    Command(Option<Command>),
    Frame(u64, Bytes),
    /// A viewer has left or made room.
    Viewers,
    Drawn(io::Result<Option<Picture>>),
    Room,
    Output(io::Result<Stream>),
    /// No more can be gathered now.
    Gathered,
    Alarm,
}

impl Hub {
    /// Starts the task of a session on the current tokio runtime.
    ///
    /// Fails where the journal cannot be read.
    pub fn spawn(opening: Opening) -> io::Result<HubHandle> {
        let Opening {
            files,
            screen,
            tty,
            size,
            recorded,
            exit,
            limit,
            clock,
        } = opening;
        let reader = Reader::new(files.journal, files.index);
        let (end, kept_from) = (reader.end()?, reader.kept_from()?);
        let state = State {
            stream: if tty { Stream::Tty } else { Stream::Stdout },
            size: if tty {
                reader.size_at(end)?.unwrap_or(size)
            } else {
                size
            },
        };
        let (to_hub, commands) = mpsc::channel(COMMANDS);
        let (to_incoming, incoming) = mpsc::channel(INCOMING);
        let now = Instant::now();
        let info = Info {
            seq: end,
            kept_from,
            size: state.size,
            attached: false,
            input_ended: false,
            exit: exit.clone(),
            viewers: Vec::new(),
        };
        let info = watch::Sender::new(info);
        let places = Arc::<Places>::default();
        let handle = HubHandle {
            commands: to_hub,
            info: info.subscribe(),
            places: Arc::clone(&places),
        };
        let mut hub = Self {
            tty,
            recorded,
            limit,
            clock,
            reader,
            attached: None,
            end,
            kept_from,
            gathered: None,
            floods: false,
            recent: Recent::new(end, state),
            exit,
            ending: None,
            viewers: Vec::new(),
            writers: Writers::default(),
            numbers: 0,
            driver: None,
            home: None,
            queue: Queue::default(),
            input_ended: false,
            wanted_size: None,
            resized_at: None,
            chunk: None,
            roster: "[]".to_owned(),
            painter: Painter::new(tty, size, screen),
            screens: Vec::new(),
            drawn_at: None,
            output_at: now,
            quiet_from: end,
            told_dropped: false,
            told_full: false,
            alarms: Alarms::default(),
            commands,
            incoming,
            to_incoming,
            notify: Arc::default(),
            info,
            places,
            orphaned: false,
            closed: false,
            sleep: Box::pin(tokio::time::sleep_until(now)),
        };
        if let Some(exit) = hub.exit.take_if(|exit| exit.kind != ExitKind::Lost) {
            if output::has_end(&hub.reader)? {
                hub.exit = Some(exit);
            } else {
                // Its monitor has not put everything away yet.
                hub.ending = Some(Ending {
                    exit,
                    answers: Vec::new(),
                    quiet_at: now,
                    deadline: now + DRAIN,
                });
            }
        }
        hub.publish_places();
        tokio::spawn(hub.run());
        Ok(handle)
    }

    async fn run(mut self) {
        while !(self.closed || self.orphaned && self.viewers.is_empty()) {
            let event = self.wait().await;
            let output = matches!(event, Event::Output(_));
            self.handle(event);
            if self.gathered.is_none() {
                self.serve();
            }
            if output {
                self.give_way().await;
            }
        }
    }

    /// One chunk a turn: then whoever else has something to do. Sessions in flood take their turns
    /// one after the other, each after everybody else: a key waits for one chunk, and not for one
    /// of each of them.
    async fn give_way(&self) {
        static FLOODS: Semaphore = Semaphore::const_new(1);
        // It is never closed.
        let _turn = match self.floods {
            true => FLOODS.acquire().await.ok(),
            false => None,
        };
        tokio::task::yield_now().await;
    }

    async fn wait(&mut self) -> Event {
        let alarm = self.next_alarm();
        if let Some(at) = alarm
            && self.sleep.deadline() != at
        {
            self.sleep.as_mut().reset(at);
        }
        let reads = self.reads();
        let writes = !self.queue.is_empty();
        let gathered = self.gathered.is_some();
        let Self {
            attached,
            commands,
            incoming,
            notify,
            painter,
            orphaned,
            sleep,
            ..
        } = self;
        tokio::select! {
            biased;
            command = commands.recv(), if !*orphaned => Event::Command(command),
            Some((number, frame)) = incoming.recv() => Event::Frame(number, frame),
            () = notify.notified() => Event::Viewers,
            drawn = painter.done() => Event::Drawn(drawn),
            () = sleep, if alarm.is_some() => Event::Alarm,
            event = ready(attached, reads, writes) => event,
            () = std::future::ready(()), if gathered => Event::Gathered,
        }
    }

    fn handle(&mut self, event: Event) {
        if !matches!(event, Event::Output(Ok(_))) {
            self.settle();
        }
        match event {
            Event::Command(None) => self.orphaned = true,
            Event::Command(Some(command)) => self.on_command(command),
            Event::Frame(number, frame) => self.on_frame(number, frame),
            Event::Viewers | Event::Gathered => {}
            Event::Drawn(drawn) => self.on_drawn(drawn),
            Event::Room => self.write_input(),
            Event::Output(Ok(stream)) => self.gather(stream),
            Event::Output(Err(error)) => self.on_disk_error(&error),
            Event::Alarm => self.on_alarm(),
        }
    }

    /// Whether output is read now.
    fn reads(&self) -> bool {
        self.attached.is_some()
            && self.alarms.hung_up.is_none()
            && self.alarms.disk.is_none()
            && (self.ending.is_some() || self.held_until().is_none())
    }

    /// Until when the program waits for a viewer.
    fn held_until(&self) -> Option<Instant> {
        let now = Instant::now();
        let viewers = self.viewers.iter();
        viewers
            .filter_map(|viewer| viewer.holds_until(self.end, now))
            .min()
    }

    fn next_alarm(&self) -> Option<Instant> {
        let resize = self
            .wanted_size
            .and(self.resized_at)
            .map(|at| at + crate::limits::RESIZE_STEP);
        let ending = self
            .ending
            .as_ref()
            .map(|ending| ending.quiet_at.min(ending.deadline));
        let held = if self.attached.is_some() {
            self.held_until()
        } else {
            None
        };
        let Alarms {
            hung_up,
            disk,
            input,
            quiet,
            shrink,
        } = self.alarms;
        [hung_up, disk, input, quiet, shrink, resize, ending, held]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_alarm(&mut self) {
        let now = Instant::now();
        let due = |alarm: &mut Option<Instant>| alarm.take_if(|at| *at <= now).is_some();
        if due(&mut self.alarms.hung_up) && self.attached.is_some() {
            self.pump(Stream::Tty);
        }
        due(&mut self.alarms.disk);
        if due(&mut self.alarms.input) {
            self.write_input();
        }
        if due(&mut self.alarms.quiet) {
            self.on_quiet(now);
        }
        if due(&mut self.alarms.shrink) {
            self.on_shrink(now);
        }
        self.apply_size(now);
        self.end_if_quiet(now);
    }

    fn publish(&self) {
        let info = Info {
            seq: self.end,
            kept_from: self.kept_from,
            size: self.recent.last().size,
            attached: self.attached.is_some(),
            input_ended: self.input_ended,
            exit: self.exit.clone(),
            viewers: self.viewer_infos(),
        };
        self.publish_places();
        self.info.send_if_modified(|old| {
            let changed = Info {
                seq: info.seq,
                kept_from: info.kept_from,
                ..old.clone()
            } != info;
            *old = info;
            changed
        });
    }

    fn publish_places(&self) {
        self.places.end.store(self.end.0, Ordering::Relaxed);
        self.places
            .kept_from
            .store(self.kept_from.0, Ordering::Relaxed);
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

/// Waits until there is room for input or may be output.
async fn ready(attached: &mut Option<Attached>, reads: bool, writes: bool) -> Event {
    poll_fn(|context| {
        let Some(attached) = attached else {
            return Poll::Pending;
        };
        if writes && attached.poll_room(context).is_ready() {
            return Poll::Ready(Event::Room);
        }
        if reads && let Poll::Ready(source) = attached.poll_source(context) {
            return Poll::Ready(Event::Output(source));
        }
        Poll::Pending
    })
    .await
}
