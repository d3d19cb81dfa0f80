//! Every bound of a session, and how they stand to each other.

use std::time::Duration;

use porthole_protocol::frame::{CLIENT_FRAME_LIMIT, INPUT_WINDOW, OUTPUT_WINDOW};

/// The longest payload of one output frame to a viewer that catches up, in bytes. A live viewer
/// gets each chunk as it comes.
pub(crate) const FRAME: usize = 16 * 1024;

/// A session that has so much at once, in bytes, is in flood.
pub(crate) const FLOOD: usize = 2 * 1024;

/// Frames that wait for a viewer's socket. What does not fit stays in the journal.
pub(crate) const OUTGOING: usize = 32;

/// Frames that wait for the hub, of all viewers.
pub(crate) const INCOMING: usize = 16;

/// Commands that wait for the hub.
pub(crate) const COMMANDS: usize = 16;

/// Notices that wait for a viewer; an older one makes room for a newer one.
pub(crate) const NOTICES: usize = 8;

/// A viewer that is further behind than this gets a snapshot instead of what it missed.
pub(crate) const SNAPSHOT_BEHIND: u64 = 1024 * 1024;

/// A viewer that has not acknowledged for this long does not hold the program's output.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// What is written into a terminal or pipe at once.
pub(crate) const INPUT_CHUNK: usize = 4 * 1024;

/// How long after a full terminal input is tried again, where the kernel does not say that there is
/// room.
pub(crate) const INPUT_RETRY: Duration = Duration::from_millis(50);

/// Input that is written before the viewer is told that it is accepted, where more follows.
pub(crate) const ACCEPT_STEP: u64 = INPUT_WINDOW / 4;

/// The shortest time between two sizes of a terminal.
pub(crate) const RESIZE_STEP: Duration = Duration::from_millis(50);

/// Viewers of one session at a time.
pub(crate) const VIEWERS: usize = 64;

/// How long a viewer's place in its input is known after it left, and of how many.
pub(crate) const MEMORY: Duration = Duration::from_secs(600);
/// See [`MEMORY`].
pub(crate) const MEMORIES: usize = 256;

/// After the exit: output is complete when nothing came for this long …
pub(crate) const QUIET: Duration = Duration::from_millis(250);
/// … and in any case after this long.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// How often a terminal is looked at that no process has open.
pub(crate) const HANG_UP_RETRY: Duration = Duration::from_millis(200);

/// How often a journal is looked at that the monitor still moves the last output into.
pub(crate) const MONITOR_RETRY: Duration = Duration::from_millis(10);

/// How long after a failed write to the journal it is tried again.
pub(crate) const DISK_RETRY: Duration = Duration::from_secs(1);

/// Changes of stream and size that are remembered; older ones are looked up in the index.
pub(crate) const RECENT: usize = 256;

/// Lines above the screen that a snapshot has.
pub(crate) const SCROLLBACK: usize = 1000;

/// Bytes of such lines that a snapshot has at most.
pub(crate) const SCROLLBACK_BYTES: usize = 128 * 1024;

/// Output that is read at once for a screen.
pub(crate) const SLICE: usize = 64 * 1024;

/// How long a session's screen is drawn before another session's has its turn.
pub(crate) const TURN: Duration = Duration::from_millis(20);

/// A screen that is further back than this is brought up when output is quiet.
pub(crate) const CHECKPOINT_BEHIND: u64 = 256 * 1024;

/// How long output has to be quiet for that …
pub(crate) const CHECKPOINT_QUIET: Duration = Duration::from_millis(500);

/// … which it is while at most so many bytes come in that time: a program that says a little all
/// the time would else never have its screen brought up.
pub(crate) const TRICKLE: u64 = 64 * 1024;

/// On a long way a checkpoint is written to the disk each time the screen is so much further; at its
/// end already after [`CHECKPOINT_BEHIND`].
pub(crate) const CHECKPOINT_STEP: u64 = 1024 * 1024;

/// The longest dump of a screen that is written to the disk, in bytes. An ordinary one has at most
/// [`SCROLLBACK_BYTES`] and a few cells for each place of the screen.
pub(crate) const CHECKPOINT_BYTES: usize = 2 * 1024 * 1024;

/// How long a screen is kept after it was asked for; then it becomes a checkpoint.
pub(crate) const CHECKPOINT_KEPT: Duration = Duration::from_secs(10);

const _: () = {
    // A live viewer can fall behind by its window without getting a snapshot.
    assert!(OUTPUT_WINDOW + (FRAME as u64) < SNAPSHOT_BEHIND);
    // A window's worth of full frames fits a viewer's channel, with room for other frames.
    assert!(OUTPUT_WINDOW / (FRAME as u64) < OUTGOING as u64);
    // A client that fills its window in one frame is within the frame's limit but for the head.
    assert!(INPUT_WINDOW <= CLIENT_FRAME_LIMIT as u64);
    assert!(ACCEPT_STEP < INPUT_WINDOW);
    assert!(INPUT_CHUNK as u64 <= ACCEPT_STEP);
    // A screen that was brought up in a quiet moment is near enough for the next snapshot.
    assert!(CHECKPOINT_BEHIND < SNAPSHOT_BEHIND);
    assert!(CHECKPOINT_BEHIND < CHECKPOINT_STEP);
    // What quiet lets pass does not outgrow what drawing ahead is for.
    assert!(TRICKLE < CHECKPOINT_BEHIND);
    assert!(SCROLLBACK_BYTES < CHECKPOINT_BYTES);
    assert!(QUIET.as_millis() < DRAIN.as_millis());
};
