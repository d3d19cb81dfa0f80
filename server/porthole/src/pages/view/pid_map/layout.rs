//! Where boxes, rows and lines stand, in pixels.

use std::collections::HashMap;

use super::Side;

/// How tall a row is; this and the next three stand in the style sheet too.
const ROW: usize = 30;
/// From a box's edge to its first row.
const HEAD: usize = 47;
/// From its last row to its edge.
const FOOT: usize = 13;
/// Between two boxes.
const GAP: usize = 12;

impl Side {
    /// Rows and the line about what is hidden.
    pub(super) fn height(&self) -> usize {
        HEAD + FOOT + ROW * (self.rows.len() + usize::from(!self.hidden.is_empty()))
    }
}

pub(super) fn column_height(sides: &[Side]) -> usize {
    sides
        .iter()
        .map(|side| side.before + side.height())
        .sum::<usize>()
        + GAP * sides.len().saturating_sub(1)
}

/// The middle of each process's row, from the column's top.
pub(super) fn column_tops(sides: &[Side]) -> HashMap<i32, usize> {
    let mut tops = HashMap::new();
    let mut top = 0;
    for side in sides {
        top += side.before;
        for (index, row) in side.rows.iter().enumerate() {
            tops.insert(row.pair, top + HEAD + index * ROW + ROW / 2);
        }
        top += side.height() + GAP;
    }
    tops
}

/// How wide the lines between two of so many columns are.
pub(super) const fn width(levels: usize) -> usize {
    if levels > 2 { 64 } else { 120 }
}

pub(super) fn line(from: usize, to: usize, width: usize) -> String {
    let middle = width / 2;
    format!("M0 {from} C{middle} {from} {middle} {to} {width} {to}")
}

/// Lowers boxes to where their first process stands in the column before.
pub(super) fn put_beside(sides: &mut [Side], tops: &HashMap<i32, usize>) {
    let mut free = 0;
    for side in sides {
        let first = side.rows.first().and_then(|row| tops.get(&row.pair));
        let wanted = first.map_or(0, |middle| middle.saturating_sub(HEAD + ROW / 2));
        side.before = wanted.saturating_sub(free);
        free += side.before + side.height() + GAP;
    }
}
