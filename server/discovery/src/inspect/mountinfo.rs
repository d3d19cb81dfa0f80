//! `/proc/PID/mountinfo`, from bytes to values. No I/O.

use std::collections::{HashMap, HashSet};

/// A line of it, proc_pid_mountinfo(5), its octal escapes undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) device: &'a [u8],
    pub(super) root: Vec<u8>,
    pub(super) path: Vec<u8>,
    /// As it stands there.
    pub(super) path_raw: &'a [u8],
    pub(super) options: &'a [u8],
    pub(super) shared: Option<u64>,
    pub(super) master: Option<u64>,
    pub(super) from: Option<u64>,
    pub(super) unbindable: bool,
    pub(super) fstype: Vec<u8>,
    pub(super) source: Vec<u8>,
    pub(super) super_options: Vec<u8>,
}

/// All lines that can be understood.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .filter_map(entry)
}

fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let device = fields.next()?;
    let root = unescaped(fields.next()?);
    let path_raw = fields.next()?;
    let options = fields.next()?;
    let mut entry = Entry {
        id,
        parent,
        device,
        root,
        path: unescaped(path_raw),
        path_raw,
        options,
        shared: None,
        master: None,
        from: None,
        unbindable: false,
        fstype: Vec::new(),
        source: Vec::new(),
        super_options: Vec::new(),
    };
    loop {
        match fields.next()? {
            b"-" => break,
            b"unbindable" => entry.unbindable = true,
            // Others may come with a newer kernel.
            tag => {
                let Some(colon) = tag.iter().position(|byte| *byte == b':') else {
                    continue;
                };
                let group = number(&tag[colon + 1..]);
                match &tag[..colon] {
                    b"shared" => entry.shared = group,
                    b"master" => entry.master = group,
                    b"propagate_from" => entry.from = group,
                    _ => {}
                }
            }
        }
    }
    entry.fstype = unescaped(fields.next()?);
    entry.source = unescaped(fields.next()?);
    entry.super_options = fields.next().unwrap_or_default().to_vec();
    Some(entry)
}

/// Undoes what the kernel's `mangle` does: a backslash and three octal digits for a blank, a
/// tabulator, a newline, a backslash and `#`.
pub(super) fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The mounts as a tree: each after the one that it is on, and with how many are between it and the
/// topmost. Those whose parent is not in the list are topmost.
pub(super) fn tree(entries: &[Entry<'_>]) -> Vec<(usize, u32)> {
    let known: HashSet<u64> = entries.iter().map(|entry| entry.id).collect();
    let mut below: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut open = Vec::new();
    for (place, entry) in entries.iter().enumerate().rev() {
        if known.contains(&entry.parent) && entry.parent != entry.id {
            below.entry(entry.parent).or_default().push(place);
        } else {
            open.push((place, 0));
        }
    }
    let mut order = Vec::with_capacity(entries.len());
    while let Some((place, depth)) = open.pop() {
        order.push((place, depth));
        // Taken out, so that no loop of a list that was read while it changed is walked for ever.
        for child in below.remove(&entries[place].id).unwrap_or_default() {
            open.push((child, depth + 1));
        }
    }
    order
}

/// For each mount that cannot be reached by its path the number of the one that hides it.
///
/// One mounted on the very place of another (its child with the same path) hides it. One mounted
/// above it on the same mount was mounted later, or the hidden one would be on it. Whatever is on a
/// hidden mount is hidden with it, but for what hides it.
pub(super) fn hidden(entries: &[Entry<'_>], order: &[(usize, u32)]) -> HashMap<u64, u64> {
    let mut on: HashMap<(u64, &[u8]), u64> = HashMap::new();
    for entry in entries {
        on.insert((entry.parent, &entry.path), entry.id);
    }
    let paths: HashMap<u64, &[u8]> = entries
        .iter()
        .map(|entry| (entry.id, entry.path.as_slice()))
        .collect();
    let mut hidden = HashMap::new();
    for (place, _) in order {
        let entry = &entries[*place];
        let stacked = on.get(&(entry.id, entry.path.as_slice())).copied();
        let parent = paths.get(&entry.parent).copied();
        let above = || {
            above(&entry.path)
                // On the parent's own place it would be a child that hides the parent.
                .take_while(|path| Some(*path) != parent)
                .find_map(|path| on.get(&(entry.parent, path)).copied())
                .filter(|id| *id != entry.id)
        };
        let inherited = || {
            let by = hidden.get(&entry.parent).copied();
            by.filter(|by| *by != entry.id)
        };
        if let Some(by) = stacked.or_else(above).or_else(inherited) {
            hidden.insert(entry.id, by);
        }
    }
    hidden
}

/// The directories above a path, the nearest first, without `/`.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let slash = rest.iter().rposition(|byte| *byte == b'/')?;
        rest = &rest[..slash];
        (!rest.is_empty()).then_some(rest)
    })
}

#[cfg(test)]
mod tests;
