//! What was scrolled off a screen's top, written so that it is scrolled off again.

use std::fmt::Write;

use avt::{Color, Line, Pen};
use porthole_protocol::session::Size;

use crate::limits::SCROLLBACK_BYTES;

/// Writes the lines above the screen, newest first up to the limit; the screen is empty after
/// them and the cursor at its top left.
pub(super) fn dump(screen: avt::Screen<'_>, size: Size, out: &mut String) {
    let rows = usize::from(size.rows);
    let all: Vec<&Line> = screen.all_lines().collect();
    let above = &all[..all.len().saturating_sub(rows)];
    let (mut lines, mut length) = (Vec::new(), 0);
    for (index, line) in above.iter().enumerate().rev() {
        let mut text = String::new();
        // The newest may go on on the screen; here it is a line of its own.
        let wrapped = line.is_wrapped() && !lines.is_empty();
        let before = index.checked_sub(1).and_then(|before| above.get(before));
        let continues = before.is_some_and(|before| before.is_wrapped());
        write_line(line, wrapped, continues, &mut text);
        length += text.len();
        if length > SCROLLBACK_BYTES {
            break;
        }
        lines.push(text);
    }
    if lines.is_empty() {
        return;
    }
    lines.iter().rev().for_each(|line| out.push_str(line));
    out.extend(std::iter::repeat_n('\n', rows - 1));
    out.push_str("\u{1b}[H");
}

/// A dump of the screen without the blanks at its lines' ends. Written, they are part of a line for
/// xterm.js, and wrap into empty ones when the window becomes narrower.
pub(super) fn trim(dump: &str, primary: avt::Screen<'_>) -> String {
    // What follows the primary screen's cells begins with a mode or ends no line.
    let (cells, rest) = dump.split_at(dump.find("\u{1b}[?").unwrap_or(dump.len()));
    let mut lines = primary.visible_lines().filter(|line| !line.is_wrapped());
    let mut out = String::with_capacity(dump.len());
    for piece in cells.split_inclusive("\r\n") {
        let (text, blank) = match piece.strip_suffix("\r\n") {
            Some(text) => (text, lines.next().is_some_and(ends_blank)),
            None => (piece, false),
        };
        out.push_str(if blank { without_blanks(text) } else { text });
        out.push_str(&piece[text.len()..]);
    }
    out + rest
}

fn is_blank(cell: &avt::Cell) -> bool {
    cell.char() == ' ' && cell.pen().is_default()
}

fn ends_blank(line: &Line) -> bool {
    line.cells().last().is_some_and(is_blank)
}

/// Without the last run of blanks: each by itself, or one with how often it is repeated.
fn without_blanks(text: &str) -> &str {
    let repeated = text
        .strip_suffix('b')
        .map(|text| text.trim_end_matches(|ch: char| ch.is_ascii_digit()))
        .and_then(|text| text.strip_suffix(" \u{1b}["));
    repeated.unwrap_or_else(|| text.trim_end_matches(' '))
}

/// Writes a line; one that is wrapped in full and without an end. One that continues another has
/// a cell at least, or the other would not wrap.
fn write_line(line: &Line, wrapped: bool, continues: bool, out: &mut String) {
    let cells = line.cells();
    let length = if wrapped {
        cells.len()
    } else {
        let blanks = cells.iter().rev().take_while(|cell| is_blank(cell)).count();
        (cells.len() - blanks).max(usize::from(continues))
    };
    let mut pen = Pen::default();
    for cell in &cells[..length] {
        // The second half of a wide character.
        if cell.width() == 0 {
            continue;
        }
        if *cell.pen() != pen {
            pen = *cell.pen();
            write_pen(&pen, out);
        }
        out.push(cell.char());
    }
    if !pen.is_default() {
        out.push_str("\u{1b}[m");
    }
    if !wrapped {
        out.push_str("\r\n");
    }
}

fn write_pen(pen: &Pen, out: &mut String) {
    out.push_str("\u{1b}[0");
    for (set, number) in [
        (pen.is_bold(), 1),
        (pen.is_faint(), 2),
        (pen.is_italic(), 3),
        (pen.is_underline(), 4),
        (pen.is_blink(), 5),
        (pen.is_inverse(), 7),
        (pen.is_strikethrough(), 9),
    ] {
        if set {
            let _ = write!(out, ";{number}");
        }
    }
    for (color, base) in [(pen.foreground(), 30), (pen.background(), 40)] {
        let _ = match color {
            None => Ok(()),
            Some(Color::Indexed(index @ 0..8)) => write!(out, ";{}", base + index),
            Some(Color::Indexed(index)) => write!(out, ";{};5;{index}", base + 8),
            Some(Color::RGB(rgb)) => write!(out, ";{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b),
        };
    }
    out.push('m');
}
