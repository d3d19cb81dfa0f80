//! Modes of a terminal that avt knows nothing of, and that a viewer's terminal has to be in.

use std::fmt::Write;

/// Private modes (DECSET) that are on or off and off at first.
const SWITCHES: [u16; 5] = [
    12,   // blinking cursor
    45,   // reverse wrap-around
    1004, // focus events
    1007, // wheel as cursor keys on the alternate screen
    2004, // bracketed paste
];

/// Of these one at most is on: which events of the mouse are reported.
const MOUSE: [u16; 4] = [9, 1000, 1002, 1003];

/// Of these one at most is on: how they are written.
const MOUSE_ENCODING: [u16; 4] = [1005, 1006, 1015, 1016];

/// The longest title in characters.
const TITLE: usize = 256;

/// Titles that are set aside at a time.
const TITLES: usize = 10;

/// The modes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Modes {
    switches: [bool; SWITCHES.len()],
    mouse: Option<u16>,
    encoding: Option<u16>,
    /// The application keypad (DECKPAM).
    keypad: bool,
    /// The cursor's shape (DECSCUSR), 0 to 6.
    cursor: u8,
    title: String,
    titles: Vec<String>,
}

impl Modes {
    /// Takes note of one whole escape sequence.
    pub(super) fn take(&mut self, sequence: &str) {
        if let Some(body) = after(sequence, "\u{1b}[", '\u{9b}') {
            self.control(body);
        } else if let Some(body) = after(sequence, "\u{1b}]", '\u{9d}') {
            self.command(body.trim_end_matches(['\u{7}', '\u{9c}']));
        } else {
            match sequence {
                "\u{1b}=" => self.keypad = true,
                "\u{1b}>" => self.keypad = false,
                "\u{1b}c" => self.reset(),
                _ => {}
            }
        }
    }

    fn reset(&mut self) {
        *self = Self {
            title: std::mem::take(&mut self.title),
            titles: std::mem::take(&mut self.titles),
            ..Self::default()
        };
    }

    fn control(&mut self, body: &str) {
        // Control characters in between are executed and are no part of it.
        let body: String = body.chars().filter(|ch| !ch.is_control()).collect();
        let Some(last) = body.chars().last() else {
            return;
        };
        let parameters = &body[..body.len() - last.len_utf8()];
        match last {
            'h' | 'l' => {
                if let Some(modes) = parameters.strip_prefix('?') {
                    for mode in modes.split(';').filter_map(|mode| mode.parse().ok()) {
                        self.set(mode, last == 'h');
                    }
                }
            }
            'q' => {
                if let Some(shape) = parameters.strip_suffix(' ')
                    && let Ok(shape @ 0..=6) = if shape.is_empty() {
                        Ok(0)
                    } else {
                        shape.parse()
                    }
                {
                    self.cursor = shape;
                }
            }
            // DECSTR, as xterm.js takes it.
            'p' if parameters == "!" => {
                self.keypad = false;
                self.cursor = 0;
                for (mode, on) in SWITCHES.iter().zip(&mut self.switches) {
                    *on &= *mode == 1007;
                }
            }
            't' => match parameters {
                "22" | "22;0" | "22;2" => {
                    if self.titles.len() == TITLES {
                        self.titles.remove(0);
                    }
                    self.titles.push(self.title.clone());
                }
                "23" | "23;0" | "23;2" => {
                    if let Some(title) = self.titles.pop() {
                        self.title = title;
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn set(&mut self, mode: u16, on: bool) {
        if let Some(index) = SWITCHES.iter().position(|&switch| switch == mode) {
            self.switches[index] = on;
        } else if MOUSE.contains(&mode) {
            self.mouse = on.then_some(mode);
        } else if MOUSE_ENCODING.contains(&mode) {
            self.encoding = on.then_some(mode);
        } else if mode == 66 {
            self.keypad = on;
        }
    }

    fn command(&mut self, body: &str) {
        if let Some(title) = body.strip_prefix("0;").or_else(|| body.strip_prefix("2;")) {
            let title = title.chars().filter(|ch| !ch.is_control()).take(TITLE);
            self.title = title.collect();
        }
    }

    /// Writes what brings a terminal that was reset into these modes.
    pub(super) fn dump(&self, out: &mut String) {
        let switches = SWITCHES.iter().zip(self.switches);
        let on = switches.filter_map(|(&mode, on)| on.then_some(mode));
        for mode in on.chain(self.mouse).chain(self.encoding) {
            let _ = write!(out, "\u{1b}[?{mode}h");
        }
        if self.keypad {
            out.push_str("\u{1b}=");
        }
        if self.cursor != 0 {
            let _ = write!(out, "\u{1b}[{} q", self.cursor);
        }
        for title in &self.titles {
            let _ = write!(out, "\u{1b}]2;{title}\u{7}\u{1b}[22;2t");
        }
        if !self.title.is_empty() || !self.titles.is_empty() {
            let _ = write!(out, "\u{1b}]2;{}\u{7}", self.title);
        }
    }
}

fn after<'a>(sequence: &'a str, two: &str, one: char) -> Option<&'a str> {
    sequence
        .strip_prefix(two)
        .or_else(|| sequence.strip_prefix(one))
}
