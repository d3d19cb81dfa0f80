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

/// Writes a line; one that is wrapped in full and without an end. One that continues another has
/// a cell at least, or the other would not wrap.
fn write_line(line: &Line, wrapped: bool, continues: bool, out: &mut String) {
    let cells = line.cells();
    let length = if wrapped {
        cells.len()
    } else {
        let blank = |cell: &&avt::Cell| cell.char() == ' ' && cell.pen().is_default();
        let blanks = cells.iter().rev().take_while(blank).count();
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
