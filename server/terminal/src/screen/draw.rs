//! A screen as what draws it on a terminal that was reset.
//!
//! avt's own dump brings the state back (cursor, margins, tabs, character sets, modes), and the
//! cells too, but it puts what follows on the wrong line where a line that was wrapped goes on in
//! one that is empty by now. So of its dump the state is taken, and the cells are drawn here:
//!
//! ```text
//!  avt's dump:  cells of the primary screen · state · [switch · cells of the alternate one · state]
//!  ours:  lines above · cells               · state · [switch · cells                      · state]
//! ```

use std::fmt::Write;

use avt::parser::{Function, Parser};
use avt::{Cell, Color, Line, Pen, ScreenKind, Terminal};
use porthole_protocol::session::Size;

use crate::limits::SCROLLBACK_BYTES;

/// Writes the whole of it.
pub(super) fn dump(terminal: &Terminal, size: Size, out: &mut String) {
    let primary = terminal.primary_screen();
    above(primary, size, out);
    visible(primary, out);
    let alternate = terminal.active_screen_kind() == ScreenKind::Alternate;
    let dump = terminal.dump();
    let state = State::of(&dump, alternate);
    semicolons(&dump[state.before.clone()], out);
    if alternate {
        visible(terminal.screen(), out);
    }
    semicolons(&dump[state.after], out);
}

/// Where in avt's dump there are no cells.
struct State {
    /// Behind the primary screen's cells, up to the alternate one's.
    before: std::ops::Range<usize>,
    /// Behind the alternate screen's cells.
    after: std::ops::Range<usize>,
}

impl State {
    fn of(dump: &str, alternate: bool) -> Self {
        let mut parser = Parser::new();
        let (mut start, mut behind) = (None, 0);
        let mut cells = None;
        let mut after = dump.len();
        for (at, ch) in dump.char_indices() {
            let Some(function) = parser.feed(ch) else {
                continue;
            };
            let end = at + ch.len_utf8();
            let draws = draws(&function);
            if start.is_none() && !draws {
                start = Some(behind);
            }
            match cells {
                // The first thing done there is to go to its corner; the cells follow.
                None if alternate && switches(&function) => cells = Some(None),
                Some(None) => cells = Some(Some(end)),
                Some(Some(_)) if after == dump.len() && !draws => after = behind,
                _ => {}
            }
            behind = end;
        }
        let before = cells.flatten().unwrap_or(after);
        Self {
            before: start.unwrap_or(dump.len()).min(before)..before,
            after: after.max(before)..dump.len(),
        }
    }
}

/// Whether a function may be part of drawing cells.
fn draws(function: &Function) -> bool {
    matches!(
        function,
        Function::Print(_) | Function::Rep(_) | Function::Sgr(_) | Function::Cr | Function::Lf
    )
}

fn switches(function: &Function) -> bool {
    use avt::parser::DecMode::AltScreenBuffer;
    matches!(function, Function::Decset(modes) if modes.as_slice() == [AltScreenBuffer])
}

/// Clears the rest of a line. Where a line wraps at the screen's end, the new one comes in the
/// background of what is being written.
const ERASE: &str = "\u{1b}[K";

/// Writes the lines above the screen, newest first up to the limit; the screen is empty after
/// them.
fn above(screen: avt::Screen<'_>, size: Size, out: &mut String) {
    let rows = usize::from(size.rows);
    let all: Vec<&Line> = screen.all_lines().collect();
    let above = &all[..all.len().saturating_sub(rows)];
    let (mut lines, mut total) = (Vec::new(), 0);
    for (index, line) in above.iter().enumerate().rev() {
        let mut text = String::new();
        let wrapped = line.is_wrapped();
        let before = index.checked_sub(1).and_then(|before| above.get(before));
        let continues = before.is_some_and(|before| before.is_wrapped());
        // One that continues another has a cell at least, or the other would not wrap.
        let length = drawn(line, wrapped).max(usize::from(continues));
        cells(&line.cells()[..length], &mut text);
        if continues && length < line.len() {
            text.push_str(ERASE);
        }
        match screen.visible_lines().next() {
            // The newest goes on on the screen: its next cell makes the other terminal wrap it too,
            // and is drawn again with the screen.
            Some(first) if wrapped && lines.is_empty() => {
                cells(&first.cells()[..1], &mut text);
                text.push_str(ERASE);
            }
            _ if wrapped => {}
            _ => text.push_str("\r\n"),
        }
        total += text.len();
        if total > SCROLLBACK_BYTES {
            break;
        }
        lines.push(text);
    }
    if lines.is_empty() {
        return;
    }
    lines.iter().rev().for_each(|line| out.push_str(line));
    out.extend(std::iter::repeat_n('\n', rows - 1));
}

/// Writes the lines that show. A line that wraps is followed by the next without a word, so that
/// the other terminal knows it too.
fn visible(screen: avt::Screen<'_>, out: &mut String) {
    let mut joined = false;
    for (row, line) in screen.visible_lines().enumerate() {
        let length = drawn(line, line.is_wrapped());
        if length == 0 {
            joined = false;
            continue;
        }
        if !joined {
            let _ = write!(out, "\u{1b}[{}H", row + 1);
        }
        cells(&line.cells()[..length], out);
        joined = line.is_wrapped();
    }
}

/// How many cells of a line are drawn.
fn drawn(line: &Line, wrapped: bool) -> usize {
    let cells = line.cells();
    if wrapped {
        return cells.len();
    }
    let blank = |cell: &&Cell| cell.char() == ' ' && cell.pen().is_default();
    cells.len() - cells.iter().rev().take_while(blank).count()
}

fn cells(cells: &[Cell], out: &mut String) {
    let mut pen = Pen::default();
    for cell in cells {
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

/// Writes colours in the form with semicolons: xterm.js takes the third number of `38:2:r:g:b`
/// for a colour space.
fn semicolons(dump: &str, out: &mut String) {
    let mut rest = dump;
    while let Some(start) = rest.find("\u{1b}[") {
        let (text, sequence) = rest.split_at(start);
        out.push_str(text);
        let end = sequence[2..]
            .find(|ch: char| ('\u{40}'..='\u{7e}').contains(&ch))
            .map_or(sequence.len(), |end| end + 3);
        let (sequence, after) = sequence.split_at(end);
        if sequence.ends_with('m') {
            out.extend(sequence.chars().map(|ch| if ch == ':' { ';' } else { ch }));
        } else {
            out.push_str(sequence);
        }
        rest = after;
    }
    out.push_str(rest);
}
