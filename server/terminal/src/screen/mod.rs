//! What a session's terminal shows.
//!
//! avt keeps the cells; beside it stand a decoder that survives any cut, and the modes that avt
//! has no notion of. A screen knows the place in the output up to which it is *settled*: not in
//! the middle of a character or an escape sequence. That is where a snapshot says to go on from,
//! so nothing of a sequence that is half there is ever dumped.

mod draw;
#[cfg(any(test, fuzzing))]
pub(crate) mod looks;
mod modes;
mod utf8;

use avt::parser::{Function, Parser, State};
use porthole_protocol::id::Seq;
use porthole_protocol::session::Size;

use crate::limits::SCROLLBACK;
use modes::Modes;
use utf8::Decoder;

/// The longest sequence, in bytes, that modes are looked for in.
const SEQUENCE: usize = 2048;

/// The most that control characters within one sequence do before its end.
const HELD: usize = 1024;

/// A screen that takes little room and can be made one again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Up to where it has the output.
    pub(crate) seq: Seq,
    pub(crate) size: Size,
    /// What draws it on a terminal of that size that was reset.
    pub(crate) dump: Vec<u8>,
}

/// A screen, with what was scrolled off its top.
pub(crate) struct Screen {
    terminal: avt::Terminal,
    parser: Parser,
    decoder: Decoder,
    modes: Modes,
    size: Size,
    /// Up to where it was fed.
    seq: u64,
    /// Up to where that is whole characters and sequences.
    settled: u64,
    /// The sequence that is being read.
    sequence: String,
    /// What control characters within it do: done once it is whole.
    held: Vec<Function>,
    /// Bytes of characters so far, to know where each ends.
    decoded: u64,
}

impl Screen {
    /// An empty screen, at this place. Without a terminal a line feed also returns the carriage.
    pub(crate) fn new(size: Size, tty: bool, seq: Seq) -> Self {
        let mut terminal = terminal(size);
        if !tty {
            terminal.feed("\u{1b}[20h");
        }
        Self {
            terminal,
            parser: Parser::new(),
            decoder: Decoder::default(),
            modes: Modes::default(),
            size,
            seq: seq.0,
            settled: seq.0,
            sequence: String::new(),
            held: Vec::new(),
            decoded: seq.0,
        }
    }

    /// The screen that this was.
    pub(crate) fn restore(checkpoint: &Checkpoint) -> Self {
        let mut screen = Self::new(checkpoint.size, true, Seq(0));
        screen.feed(&checkpoint.dump);
        screen.seq = checkpoint.seq.0;
        screen.settled = screen.seq;
        screen.decoded = screen.seq;
        screen
    }

    /// Up to where it was fed.
    pub(crate) fn seq(&self) -> Seq {
        Seq(self.seq)
    }

    pub(crate) fn resize(&mut self, size: Size) {
        if size != self.size {
            self.size = size;
            self.terminal
                .resize(usize::from(size.cols), usize::from(size.rows));
        }
    }

    /// Feeds it the output that follows.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.seq += bytes.len() as u64;
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.feed(bytes, |ch, length| self.character(ch, length));
        self.decoder = decoder;
    }

    fn character(&mut self, ch: char, length: usize) {
        let before = self.parser.state;
        let function = self.parser.feed(ch);
        self.decoded += length as u64;
        if before == State::Ground && self.parser.state == State::Ground {
            if let Some(function) = function {
                self.execute(function);
            }
            self.settled = self.decoded;
            return;
        }
        if before == State::Ground || ch == '\u{1b}' {
            // An escape ends what was before it, be it whole or not.
            self.modes.take(&self.sequence);
            self.sequence.clear();
        }
        if self.sequence.len() < SEQUENCE {
            self.sequence.push(ch);
        }
        self.held.extend(function);
        let whole = self.parser.state == State::Ground;
        if whole || self.held.len() > HELD {
            for function in std::mem::take(&mut self.held) {
                self.execute(function);
            }
        }
        if whole {
            self.modes.take(&self.sequence);
            self.sequence.clear();
            self.settled = self.decoded;
        }
    }

    fn execute(&mut self, function: Function) {
        // A program does not set the size of a viewer's window.
        if !matches!(function, Function::Xtwinops(_)) {
            self.terminal.execute(function);
        }
    }

    /// The screen up to where it is settled, as what draws it on a terminal that was reset.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let mut dump = String::new();
        draw::dump(&self.terminal, self.size, &mut dump);
        self.modes.dump(&mut dump);
        Checkpoint {
            seq: Seq(self.settled),
            size: self.size,
            dump: dump.into_bytes(),
        }
    }

    /// The lines that show, without those that are empty at the end.
    pub(crate) fn text(&self) -> String {
        let lines = self.terminal.screen().visible_lines();
        let mut text = String::new();
        for line in lines {
            text.push_str(line.text().trim_end());
            text.push('\n');
        }
        let length = text.trim_end_matches('\n').len();
        text.truncate(length);
        if length > 0 {
            text.push('\n');
        }
        text
    }
}

fn terminal(size: Size) -> avt::Terminal {
    let (cols, rows) = (usize::from(size.cols), usize::from(size.rows));
    #[expect(
        clippy::expect_used,
        reason = "a Size is never empty, the only error there is"
    )]
    let terminal = avt::Terminal::with_scrollback(cols, rows, Some(SCROLLBACK))
        .expect("a size between 1 and 1000");
    terminal
}

#[cfg(test)]
pub(crate) mod tests;
