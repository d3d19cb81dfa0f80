//! A screen as text, to compare two of them.

use super::Screen;

/// What was scrolled off, line by line.
pub(crate) fn above(screen: &Screen) -> Vec<String> {
    let lines = screen.terminal.primary_screen().all_lines();
    lines
        .map(|line| line.text().trim_end().to_owned())
        .collect()
}

/// What shows.
pub(crate) fn looks(screen: &Screen) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for line in screen.terminal.screen().visible_lines() {
        out.push_str("\n|");
        for cells in line.chunks(|a, b| a.pen() != b.pen()) {
            let _ = write!(out, "{:?}", cells[0].pen());
            out.extend(cells.iter().map(avt::Cell::char));
        }
    }
    let _ = write!(out, "\n{:?}\n{:?}", screen.terminal.cursor(), screen.modes);
    out.replace(
        "Pen { foreground: None, background: None, intensity: Normal, attrs: 0 }",
        "_",
    )
}
