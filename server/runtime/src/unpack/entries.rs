//! What a tar holds, entry by entry.
//!
//! The tar crate cuts the archive into its raw headers and data. What extends a header (pax records,
//! GNU's long names) is put together here, since the crate reads it without a bound and splits pax
//! records at line ends, which a value may hold. Two sizes for one file are refused: readers that
//! disagree about where a file ends see different archives.

use std::io::{self, Read};

use tar::{Archive, EntryType, Header};

use super::refusal::{Name, Refusal};
use super::source::{Digested, unreadable};

/// The longest extension of a header.
pub(super) const HEADER_LIMIT: u64 = 1 << 20;

/// Where pax records have extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Link,
    Fifo,
    /// A device, whose numbers matter to nobody.
    Device,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) size: u64,
    /// Where its data begins in the archive.
    pub(super) at: u64,
}

impl Item {
    pub(super) fn name(&self) -> Name {
        Name::from(&self.path[..])
    }
}

/// What the next entry's header is extended by.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
}

/// Goes through a tar to its end. `take` reads as much of an entry's data as it likes.
pub(super) fn each<R: Read>(
    reader: &mut Digested<R>,
    most: u64,
    mut take: impl FnMut(&Item, &mut dyn Read) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut archive = Archive::new(&mut *reader);
    let mut extension = Extension::default();
    let mut extended = false;
    let (mut count, mut entries): (u64, u64) = (0, 0);
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(malformed)?;
        let header = entry.header().clone();
        let kind = header.entry_type();
        let size = entry.size();
        count += 1;
        // Extensions count too: there is no more than a few of them for each entry.
        if count > most.saturating_mul(4) {
            return Err(Refusal::TooMany(most));
        }
        if is_extension(kind) {
            let name = Name::from(&header.path_bytes()[..]);
            if size > HEADER_LIMIT {
                return Err(Refusal::LongHeader(name));
            }
            let mut data = Vec::new();
            entry.read_to_end(&mut data).map_err(unreadable)?;
            if data.len() as u64 != size {
                return Err(Refusal::Truncated);
            }
            extension.add(kind, &data).ok_or(Refusal::BadHeader(name))?;
            extended = true;
            continue;
        }
        extended = false;
        entries += 1;
        if entries > most {
            return Err(Refusal::TooMany(most));
        }
        let at = entry.raw_file_position();
        let item = item(&header, std::mem::take(&mut extension), size, at)?;
        take(&item, &mut entry)?;
        // What is left is skipped here: the crate would take its end for the end of the archive.
        io::copy(&mut entry, &mut io::sink()).map_err(unreadable)?;
    }
    // An archive ends with zeros; one that ends without was cut off between two entries.
    if reader.ended || extended {
        return Err(if count == 0 {
            Refusal::Empty
        } else {
            Refusal::Truncated
        });
    }
    Ok(())
}

/// What the crate cannot take for a header.
fn malformed(error: io::Error) -> Refusal {
    let text = error.to_string();
    if text.contains("failed to read entire block") || text.contains("unexpected EOF") {
        return Refusal::Truncated;
    }
    // Where no header is one, it is no tar.
    if text.contains("checksum") || text.contains("numeric field") {
        return Refusal::Unknown(", or it is damaged");
    }
    unreadable(error)
}

fn is_extension(kind: EntryType) -> bool {
    kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
        || kind.is_gnu_longname()
        || kind.is_gnu_longlink()
}

fn item(header: &Header, extension: Extension, size: u64, at: u64) -> Result<Item, Refusal> {
    let path = extension
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let name = || Name::from(&path[..]);
    let link = extension.link.or_else(|| {
        let bytes = header.link_name_bytes()?;
        Some(bytes.into_owned())
    });
    let byte = header.entry_type().as_byte();
    let kind = match byte {
        b'5' => Kind::Directory,
        // An old tar's directory.
        b'0' | 0 if path.ends_with(b"/") => Kind::Directory,
        b'0' | b'7' | 0 => Kind::File,
        b'1' => Kind::Link,
        b'2' => Kind::Symlink,
        b'3' | b'4' => Kind::Device,
        b'6' => Kind::Fifo,
        b'S' => return Err(Refusal::Sparse(name())),
        other => return Err(Refusal::Kind(name(), char::from(other))),
    };
    if extension.sparse {
        return Err(Refusal::Sparse(name()));
    }
    if extension.size.is_some_and(|other| other != size) {
        return Err(Refusal::TwoSizes(name()));
    }
    let bad = |_| Refusal::BadHeader(name());
    let uid = match extension.uid {
        Some(uid) => uid,
        None => header.uid().map_err(bad)?,
    };
    let gid = match extension.gid {
        Some(gid) => gid,
        None => header.gid().map_err(bad)?,
    };
    let mtime = match extension.mtime {
        Some(mtime) => mtime,
        None => i64::try_from(header.mtime().map_err(bad)?).unwrap_or(0),
    };
    let mode = header.mode().map_err(bad)? & 0o7777;
    Ok(Item {
        link: link.unwrap_or_default(),
        kind,
        mode,
        uid,
        gid,
        mtime,
        xattrs: extension.xattrs,
        size,
        at,
        path,
    })
}

impl Extension {
    /// Takes what an extension says; `None` where it cannot be understood.
    fn add(&mut self, kind: EntryType, data: &[u8]) -> Option<()> {
        let text = || data.split(|byte| *byte == 0).next().map(<[u8]>::to_owned);
        if kind.is_gnu_longname() {
            self.path = text();
        } else if kind.is_gnu_longlink() {
            self.link = text();
        } else if kind.is_pax_local_extensions() {
            for record in records(data) {
                let (key, value) = record?;
                self.record(key, value)?;
            }
        }
        // What is said of all entries at once is about who made the archive.
        Some(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match key {
            b"path" => self.path = Some(value.to_owned()),
            b"linkpath" => self.link = Some(value.to_owned()),
            b"size" => {
                let size = number()?;
                // Said twice is as bad as said differently from the header.
                if self.size.is_some_and(|other| other != size) {
                    return None;
                }
                self.size = Some(size);
            }
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                let text = std::str::from_utf8(value).ok()?;
                self.mtime = text.split('.').next()?.parse().ok();
            }
            _ => {
                self.sparse |= key.starts_with(b"GNU.sparse.");
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Some(())
    }
}

/// Records `length key=value\n` of pax, `None` for what is none.
fn records(mut data: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let record = record(data);
        data = match &record {
            Some((_, _, rest)) => rest,
            None => &[],
        };
        Some(record.map(|(key, value, _)| (key, value)))
    })
}

pub(super) fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let whole = data.get(space + 1..length)?;
    let whole = whole.strip_suffix(b"\n")?;
    let equals = whole.iter().position(|byte| *byte == b'=')?;
    Some((&whole[..equals], &whole[equals + 1..], &data[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_may_hold_line_ends() {
        let data = b"12 path=a/b\n20 SCHILY.xattr.a=\n\n11 size=12\n";
        let found: Vec<_> = records(data).collect();
        assert_eq!(
            found,
            [
                Some((&b"path"[..], &b"a/b"[..])),
                Some((b"SCHILY.xattr.a", b"\n")),
                Some((b"size", b"12"))
            ]
        );
        for bad in [
            &b"99 path=a\n"[..],
            b"x",
            b"5 abc",
            b"3 =\n\n",
            b"18446744073709551616 a=b\n",
        ] {
            let last = records(bad).last().expect("one");
            assert!(last.is_none_or(|(key, _)| key.is_empty()), "{bad:?}");
        }
    }

    /// A tar with a little of everything.
    fn tar() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut add = |kind: u8, path: &str, data: &[u8]| {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(EntryType::new(kind));
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        };
        add(b'5', "d/", b"");
        add(b'x', "pax", b"12 path=a/b\n25 SCHILY.xattr.user.a=1\n");
        add(b'0', "short", b"some data");
        add(b'L', "long", &[b'n'; 300]);
        add(b'0', "cut", &[7; 1500]);
        add(b'g', "global", b"11 size=99\n");
        add(b'2', "link", b"");
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// What is in it, with how much data each entry has.
    fn contents(bytes: &[u8]) -> Result<Vec<(String, u64)>, Refusal> {
        let mut found = Vec::new();
        each(&mut Digested::new(bytes), 100, |item, data| {
            let read = io::copy(data, &mut io::sink()).map_err(unreadable)?;
            found.push((String::from_utf8_lossy(&item.path).into_owned(), read));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn names_and_sizes_come_from_where_they_are_said() {
        let found = contents(&tar()).expect("whole");
        let long = "n".repeat(300);
        let expected = [("d/", 0), ("a/b", 9), (&long, 1500), ("link", 0)];
        let expected = expected.map(|(name, size)| (name.to_owned(), size));
        assert_eq!(found, expected);
        for cut in (0..tar().len() - 1024).step_by(512) {
            let short = contents(&tar()[..cut]);
            assert!(
                matches!(short, Err(Refusal::Truncated | Refusal::Empty)),
                "{cut}: {short:?}"
            );
        }
    }

    proptest::proptest! {
        /// Whatever is changed in it, it is read to its end or refused.
        #[test]
        fn a_damaged_archive_is_read_or_refused(
            changes in proptest::collection::vec((0_usize..6656, proptest::prelude::any::<u8>()), 0..12),
            mended: bool,
        ) {
            let mut bytes = tar();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if mended {
                // So that headers are believed.
                for block in bytes.chunks_exact_mut(512) {
                    let mut header = Header::new_gnu();
                    header.as_mut_bytes().copy_from_slice(block);
                    if block.iter().any(|byte| *byte != 0) && block[257..262] == *b"ustar" {
                        header.set_cksum();
                        block.copy_from_slice(header.as_bytes());
                    }
                }
            }
            if let Ok(found) = contents(&bytes) {
                proptest::prop_assert!(found.len() <= 7);
                for (_, size) in found {
                    proptest::prop_assert!(size <= bytes.len() as u64);
                }
            }
        }
    }
}
