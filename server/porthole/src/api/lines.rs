//! Bytes that a program wrote, as lines and as plain text. Pure.

use axum::body::Bytes;
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;

use crate::server::sse;

/// A line is not waited for beyond this; what comes then is a line of its own.
const LONGEST: usize = 64 * 1024;

/// Lines being put together, of each stream its own.
#[derive(Default)]
pub struct Lines {
    open: [Vec<u8>; 3],
}

const fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Tty => "tty",
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

fn line(stream: Stream, to: u64, bytes: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    sse::event(Some(name(stream)), Some(&to.to_string()), &text)
}

impl Lines {
    /// The events of the lines that end in these bytes: the stream's name, the place behind the
    /// line as the id, the line without its end.
    pub fn events(&mut self, from: Seq, stream: Stream, bytes: &[u8]) -> Bytes {
        let mut events = Vec::new();
        let open = &mut self.open[stream as usize];
        let mut at = from.0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            at += piece.len() as u64;
            match piece.strip_suffix(b"\n") {
                Some(end) if open.is_empty() => events.extend(line(stream, at, end)),
                Some(end) => {
                    open.extend(end);
                    events.extend(line(stream, at, &std::mem::take(open)));
                }
                None => open.extend(piece),
            }
            if open.len() > LONGEST {
                events.extend(line(stream, at, &std::mem::take(open)));
            }
        }
        Bytes::from(events)
    }

    /// The events of lines that will not end any more.
    pub fn rest(&mut self, to: Seq) -> Bytes {
        let mut events = Vec::new();
        for stream in [Stream::Tty, Stream::Stdout, Stream::Stderr] {
            let open = std::mem::take(&mut self.open[stream as usize]);
            if !open.is_empty() {
                events.extend(line(stream, to.0, &open));
            }
        }
        Bytes::from(events)
    }
}

/// Takes a terminal's control sequences out of a stream of bytes (ECMA-48: CSI, OSC and the other
/// strings, two-byte escapes), and control characters other than tab and line feed.
#[derive(Default)]
pub struct Plain {
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC ( B` and the like: one more byte.
    Designate,
    Csi,
    /// OSC, DCS, APC, PM, SOS: until BEL or ST.
    Text,
    TextEscape,
}

impl Plain {
    /// What of these bytes is text.
    pub fn text(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Text, 0x07) => State::Ground,
                (State::Text, 0x1b) => State::TextEscape,
                (State::Text, _) => State::Text,
                (State::TextEscape, b'\\') => State::Ground,
                (_, 0x1b) => State::Escape,
                (State::TextEscape, _) => State::Text,
                (State::Escape, b'[') => State::Csi,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Text,
                (State::Escape, 0x20..=0x2f) => State::Designate,
                (State::Escape | State::Designate, _) => State::Ground,
                (State::Csi, 0x40..=0x7e) => State::Ground,
                (State::Csi, _) => State::Csi,
                (State::Ground, b'\n' | b'\t' | 0x20..=0x7e | 0x80..) => {
                    text.push(byte);
                    State::Ground
                }
                (State::Ground, _) => State::Ground,
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &Bytes) -> String {
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn a_line_is_one_event_however_it_was_cut() {
        let whole = b"one\ntwo\r\nthree";
        let mut expected = None;
        for cut in 0..whole.len() {
            let mut lines = Lines::default();
            let mut all = text(&lines.events(Seq(0), Stream::Stdout, &whole[..cut]));
            let second = lines.events(Seq(cut as u64), Stream::Stdout, &whole[cut..]);
            all.push_str(&text(&second));
            all.push_str(&text(&lines.rest(Seq(whole.len() as u64))));
            assert_eq!(
                *expected.get_or_insert_with(|| all.clone()),
                all,
                "cut at {cut}"
            );
        }
        assert_eq!(
            expected.expect("ran"),
            "event: stdout\nid: 4\ndata: one\n\n\
             event: stdout\nid: 9\ndata: two\n\n\
             event: stdout\nid: 14\ndata: three\n\n"
        );
    }

    #[test]
    fn streams_do_not_run_into_one_another() {
        let mut lines = Lines::default();
        let mut all = text(&lines.events(Seq(0), Stream::Stdout, b"ou"));
        all.push_str(&text(&lines.events(Seq(2), Stream::Stderr, b"err\n")));
        all.push_str(&text(&lines.events(Seq(6), Stream::Stdout, b"t\n")));
        assert_eq!(
            all,
            "event: stderr\nid: 6\ndata: err\n\nevent: stdout\nid: 8\ndata: out\n\n"
        );
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::default();
        for place in 0..10 {
            lines.events(Seq(place * 60_000), Stream::Tty, &[b'x'; 60_000]);
        }
        assert!(lines.open[0].len() <= LONGEST);
    }

    #[test]
    fn control_sequences_are_no_text_however_they_are_cut() {
        let raw =
            "a\x1b[1;31mb\x1b[0m\x1b]0;title\x07c\x1b]8;;http://x\x1b\\d\x1b(Be\r\n\x08\té\x1b7f"
                .as_bytes();
        for cut in 0..raw.len() {
            let mut plain = Plain::default();
            let mut out = plain.text(&raw[..cut]);
            out.extend(plain.text(&raw[cut..]));
            assert_eq!(
                String::from_utf8(out).as_deref(),
                Ok("abcde\n\téf"),
                "cut at {cut}"
            );
        }
    }
}
