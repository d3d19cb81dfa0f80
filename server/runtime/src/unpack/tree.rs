//! A layer's files, put below a directory that is reached by descriptor only.
//!
//! No path is followed: what leads to an entry is opened with `openat2` beneath the layer's own
//! directory, without links of any kind, and the entry itself is made anew or not at all. So nothing
//! that an archive holds, in whatever order, is written outside, or through something that the
//! archive put there first.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use porthole_protocol::image::ImageBounds;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, chownat, fchmod, fchown, fsetxattr, fstat, futimens, linkat, makedev, mkdirat,
    mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::attributes::kept;
use super::entries::{Item, Kind};
use super::refusal::{Name, Refusal};
use super::source::unreadable;
use crate::step::{Step, StepError};

/// Users and groups have numbers below this.
const IDS: u64 = 65_536;

/// `AUFS` names, which OCI's layers took over: what begins so is about another name.
const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory that hides what lower layers have in it.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS's own bookkeeping.
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// Written in pieces of this size; one of zeros becomes a hole.
const PIECE: usize = 64 * 1024;

/// Everything that may be unpacked, over all layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bounds: ImageBounds,
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) devices: u64,
}

impl Budget {
    pub(super) fn new(bounds: ImageBounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            entries: 0,
            devices: 0,
        }
    }

    fn entry(&mut self, size: u64) -> Result<(), Refusal> {
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(Refusal::TooMany(self.bounds.entries));
        }
        // Said beforehand, so that nothing of it is written.
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bounds.unpacked {
            return Err(Refusal::TooLarge(self.bounds.unpacked));
        }
        Ok(())
    }
}

/// A layer that is being unpacked.
pub(super) struct Tree {
    root: OwnedFd,
    /// Directories and when they were changed: set at the end, since what is put into them changes
    /// that.
    times: Vec<(Vec<u8>, i64)>,
    /// Bytes that it takes on the disk.
    pub(super) size: u64,
    pub(super) entries: u64,
}

/// Where an entry is to be.
struct Place {
    parent: OwnedFd,
    name: Vec<u8>,
}

fn refused(step: Step, name: &[u8]) -> impl Fn(Errno) -> Refusal {
    let path = Name::from(name).to_string();
    move |errno| Refusal::Step(StepError::new((step, &path), errno))
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Tree {
    /// Makes the directory `name` below the unpacker's root, for a layer.
    pub(super) fn make(at: BorrowedFd<'_>, name: &str) -> Result<Self, Refusal> {
        let failed = refused(Step::UnpackDirectory, name.as_bytes());
        mkdirat(at, name, Mode::from_bits_truncate(0o755)).map_err(&failed)?;
        let root = openat(
            at,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(&failed)?;
        Ok(Self {
            root,
            times: Vec::new(),
            size: 4096,
            entries: 0,
        })
    }

    /// Puts one entry into it.
    pub(super) fn put(
        &mut self,
        item: &Item,
        data: &mut dyn Read,
        budget: &mut Budget,
    ) -> Result<(), Refusal> {
        let size = if item.kind == Kind::File {
            item.size
        } else {
            0
        };
        budget.entry(size)?;
        self.entries += 1;
        if item.uid >= IDS || item.gid >= IDS {
            return Err(Refusal::Owner(item.name(), item.uid.max(item.gid)));
        }
        let parts = parts(&item.path)?;
        let Some(name) = parts.last() else {
            // The root directory itself.
            return match item.kind {
                Kind::Directory => self.dress(&self.root, item),
                _ => Err(Refusal::BadName(item.name())),
            };
        };
        if item.kind == Kind::Device {
            budget.devices += 1;
            return Ok(());
        }
        let place = Place {
            parent: self.parent(&parts[..parts.len() - 1], item, budget)?,
            name: name.to_vec(),
        };
        if name.starts_with(WHITEOUT) {
            return self.hide(&place, item);
        }
        match item.kind {
            Kind::File => self.file(&place, item, data),
            Kind::Directory => self.directory(&place, item, &parts.join(&b'/')),
            Kind::Symlink => self.symlink(&place, item),
            Kind::Link => self.link(&place, item),
            Kind::Fifo => self.fifo(&place, item),
            Kind::Device => Ok(()),
        }
    }

    /// The directory that an entry is in. What is missing on the way is made, and counts: one name
    /// can lead through two thousand of them.
    fn parent(
        &mut self,
        parts: &[&[u8]],
        item: &Item,
        budget: &mut Budget,
    ) -> Result<OwnedFd, Refusal> {
        let (root, size) = (&self.root, &mut self.size);
        let open = |path: &[u8]| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat2(root, path, flags, Mode::empty(), BENEATH)
        };
        let told = |errno| match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Refusal::BelowLink(item.name()),
            Errno::NAMETOOLONG => Refusal::BadName(item.name()),
            errno => refused(Step::UnpackDirectory, &item.path)(errno),
        };
        let whole = match parts {
            [] => b".".to_vec(),
            parts => parts.join(&b'/'),
        };
        match open(&whole) {
            Err(Errno::NOENT) => {}
            answer => return answer.map_err(told),
        }
        let mut parent = open(b".").map_err(told)?;
        for (count, part) in parts.iter().enumerate() {
            match mkdirat(&parent, *part, Mode::from_bits_truncate(0o755)) {
                Ok(()) => {
                    budget.entry(0)?;
                    *size += 4096;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(told(errno)),
            }
            parent = open(&parts[..=count].join(&b'/')).map_err(told)?;
        }
        Ok(parent)
    }

    /// Clears the way for what an entry makes. A later entry of the same name takes the place of an
    /// earlier one, as in every tar.
    fn clear(place: &Place, item: &Item) -> Result<(), Refusal> {
        let failed = refused(Step::UnpackReplace, &item.path);
        match unlinkat(&place.parent, &place.name[..], AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                match unlinkat(&place.parent, &place.name[..], AtFlags::REMOVEDIR) {
                    Ok(()) => Ok(()),
                    Err(Errno::NOTEMPTY) => Err(Refusal::OverDirectory(item.name())),
                    Err(errno) => Err(failed(errno)),
                }
            }
            Err(Errno::NAMETOOLONG) => Err(Refusal::BadName(item.name())),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn file(&mut self, place: &Place, item: &Item, data: &mut dyn Read) -> Result<(), Refusal> {
        Self::clear(place, item)?;
        let failed = refused(Step::UnpackFile, &item.path);
        let file = openat(
            &place.parent,
            &place.name[..],
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_bits_truncate(0o600),
        )
        .map_err(&failed)?;
        let mut file = File::from(file);
        write_sparse(&mut file, item, data)?;
        self.dress(&file, item)?;
        set_time(&file, item.mtime).map_err(&failed)?;
        self.size += disk_use(&file).map_err(&failed)?;
        Ok(())
    }

    fn directory(&mut self, place: &Place, item: &Item, path: &[u8]) -> Result<(), Refusal> {
        let failed = refused(Step::UnpackDirectory, &item.path);
        let make = || {
            mkdirat(
                &place.parent,
                &place.name[..],
                Mode::from_bits_truncate(0o700),
            )
        };
        match make() {
            Ok(()) => self.size += 4096,
            Err(Errno::EXIST) => {
                let found = statat(&place.parent, &place.name[..], AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(&failed)?;
                if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
                    Self::clear(place, item)?;
                    make().map_err(&failed)?;
                }
            }
            Err(Errno::NAMETOOLONG) => return Err(Refusal::BadName(item.name())),
            Err(errno) => return Err(failed(errno)),
        }
        let directory = openat(
            &place.parent,
            &place.name[..],
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(&failed)?;
        self.dress(&directory, item)?;
        self.times.push((path.to_owned(), item.mtime));
        Ok(())
    }

    /// Owner first: that clears set-user-id, which comes with the mode.
    fn dress(&self, file: impl AsFd, item: &Item) -> Result<(), Refusal> {
        let failed = refused(Step::UnpackOwner, &item.path);
        let (uid, gid) = owner(item);
        fchown(&file, Some(uid), Some(gid)).map_err(&failed)?;
        fchmod(&file, Mode::from_bits_truncate(item.mode)).map_err(&failed)?;
        let failed = refused(Step::UnpackAttribute, &item.path);
        for (name, value) in &item.xattrs {
            if let Some(value) = kept(name, value, item.kind) {
                fsetxattr(&file, &name[..], &value, XattrFlags::empty()).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn symlink(&mut self, place: &Place, item: &Item) -> Result<(), Refusal> {
        let failed = refused(Step::UnpackLink, &item.path);
        if item.link.is_empty() || item.link.contains(&0) {
            return Err(Refusal::BadName(item.name()));
        }
        Self::clear(place, item)?;
        symlinkat(&item.link[..], &place.parent, &place.name[..]).map_err(&failed)?;
        self.dress_unopened(place, item, &failed)
    }

    fn fifo(&mut self, place: &Place, item: &Item) -> Result<(), Refusal> {
        let failed = refused(Step::UnpackFile, &item.path);
        Self::clear(place, item)?;
        // The umask is 0.
        mknodat(
            &place.parent,
            &place.name[..],
            FileType::Fifo,
            Mode::from_bits_truncate(item.mode & 0o777),
            0,
        )
        .map_err(&failed)?;
        self.dress_unopened(place, item, &failed)
    }

    /// Owner and time of what is never opened.
    fn dress_unopened(
        &self,
        place: &Place,
        item: &Item,
        failed: &impl Fn(Errno) -> Refusal,
    ) -> Result<(), Refusal> {
        let (uid, gid) = owner(item);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&place.parent, &place.name[..], Some(uid), Some(gid), flags).map_err(failed)?;
        utimensat(&place.parent, &place.name[..], &times(item.mtime), flags).map_err(failed)
    }

    /// A hard link, to what this very layer has unpacked: there is nothing else below its root.
    fn link(&mut self, place: &Place, item: &Item) -> Result<(), Refusal> {
        let out = || Refusal::LinkOut(item.name(), Name::from(&item.link[..]));
        let parts = parts(&item.link).map_err(|_| out())?;
        let Some((name, parents)) = parts.split_last() else {
            return Err(out());
        };
        let path = match parents {
            [] => b".".to_vec(),
            parents => parents.join(&b'/'),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat2(&self.root, path, flags, Mode::empty(), BENEATH).map_err(|_| out())?;
        let found = statat(&parent, *name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| out())?;
        let kind = FileType::from_raw_mode(found.st_mode);
        // Nor to a whiteout, which would hide another name.
        if !matches!(
            kind,
            FileType::RegularFile | FileType::Symlink | FileType::Fifo
        ) {
            return Err(out());
        }
        let here = statat(&place.parent, &place.name[..], AtFlags::SYMLINK_NOFOLLOW);
        if here.is_ok_and(|here| (here.st_dev, here.st_ino) == (found.st_dev, found.st_ino)) {
            return Ok(());
        }
        Self::clear(place, item)?;
        linkat(
            &parent,
            *name,
            &place.parent,
            &place.name[..],
            AtFlags::empty(),
        )
        .map_err(|errno| match errno {
            Errno::NOENT => out(),
            errno => refused(Step::UnpackLink, &item.path)(errno),
        })
    }

    /// Hides what lower layers have of this name, or in this directory.
    fn hide(&mut self, place: &Place, item: &Item) -> Result<(), Refusal> {
        let failed = refused(Step::UnpackWhiteout, &item.path);
        if place.name == OPAQUE {
            // Read by overlay, which is mounted with `userxattr`: nobody but root could write
            // `trusted.overlay.*`, and what an archive says of `user.overlay.*` itself is dropped.
            return fsetxattr(&place.parent, OVERLAY_OPAQUE, b"y", XattrFlags::empty())
                .map_err(failed);
        }
        if place.name.starts_with(BOOKKEEPING) {
            return Ok(());
        }
        let hidden = &place.name[WHITEOUT.len()..];
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(Refusal::BadName(item.name()));
        }
        let place = Place {
            parent: place
                .parent
                .try_clone()
                .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::MFILE)))?,
            name: hidden.to_vec(),
        };
        // An entry of this very layer stays: the whiteout is about lower ones.
        let here = statat(&place.parent, &place.name[..], AtFlags::SYMLINK_NOFOLLOW);
        match here {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(Errno::NAMETOOLONG) => return Err(Refusal::BadName(item.name())),
            Err(errno) => return Err(failed(errno)),
        }
        // Device 0:0 is no device: everybody may make it (mknod(2), Linux 5.8).
        mknodat(
            &place.parent,
            &place.name[..],
            FileType::CharacterDevice,
            Mode::empty(),
            makedev(0, 0),
        )
        .map_err(failed)
    }

    /// Sets the times of directories, innermost first.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        for (path, mtime) in self.times.iter().rev() {
            let failed = refused(Step::UnpackDirectory, path);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat2(&self.root, &path[..], flags, Mode::empty(), BENEATH) {
                Ok(directory) => set_time(&directory, *mtime).map_err(failed)?,
                // A later entry took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }
}

const OVERLAY_OPAQUE: &str = "user.overlay.opaque";

/// The names on the way to an entry, its own last. An absolute name is one in the image's root.
pub(super) fn parts(path: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let mut parts = Vec::new();
    if path.len() >= 4096 || path.contains(&0) {
        return Err(Refusal::BadName(Name::from(path)));
    }
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Refusal::LeavesRoot(Name::from(path))),
            part => parts.push(part),
        }
    }
    Ok(parts)
}

fn owner(item: &Item) -> (Uid, Gid) {
    let id = |id: u64| u32::try_from(id).unwrap_or(0);
    (Uid::from_raw(id(item.uid)), Gid::from_raw(id(item.gid)))
}

fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime,
            tv_nsec: 0,
        },
    }
}

fn set_time(file: impl AsFd, mtime: i64) -> Result<(), Errno> {
    futimens(file, &times(mtime))
}

fn disk_use(file: impl AsFd) -> Result<u64, Errno> {
    Ok(fstat(file)?.st_blocks.cast_unsigned() * 512)
}

/// Writes a file's data, and leaves out what is zero: disks do.
fn write_sparse(file: &mut File, item: &Item, data: &mut dyn Read) -> Result<(), Refusal> {
    let failed = |error: std::io::Error| {
        let path = item.name().to_string();
        Refusal::Step(StepError::new((Step::UnpackFile, path), error))
    };
    let mut piece = vec![0; PIECE];
    let mut left = item.size;
    let mut hole = false;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
        let mut filled = 0;
        while filled < wanted {
            match data.read(&mut piece[filled..wanted]).map_err(unreadable)? {
                0 => return Err(Refusal::Truncated),
                more => filled += more,
            }
        }
        hole = wanted == PIECE && piece.iter().all(|byte| *byte == 0);
        if hole {
            let by = std::io::SeekFrom::Current(i64::try_from(wanted).unwrap_or(0));
            std::io::Seek::seek(file, by).map_err(failed)?;
        } else {
            file.write_all(&piece[..wanted]).map_err(failed)?;
        }
        left -= wanted as u64;
    }
    if hole {
        file.set_len(item.size).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside() {
        assert_eq!(parts(b"./a//b/").expect("good"), [b"a", b"b"]);
        assert_eq!(parts(b"/etc/passwd").expect("good").len(), 2);
        assert!(parts(b"./").expect("good").is_empty());
        for bad in [&b"../x"[..], b"a/../../x", b"..", b"/.."] {
            assert!(matches!(parts(bad), Err(Refusal::LeavesRoot(_))), "{bad:?}");
        }
        assert!(matches!(parts(b"a\0b"), Err(Refusal::BadName(_))));
        assert!(matches!(parts(&[b'a'; 5000]), Err(Refusal::BadName(_))));
    }

    #[test]
    fn directories_that_no_entry_names_count_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let put = |entries, path: &str| {
            let mut tree = Tree {
                root: std::fs::File::open(directory.path())
                    .expect("opened")
                    .into(),
                times: Vec::new(),
                size: 0,
                entries: 0,
            };
            let item = Item {
                path: path.into(),
                link: Vec::new(),
                kind: Kind::File,
                mode: 0o644,
                uid: rustix::process::getuid().as_raw().into(),
                gid: rustix::process::getgid().as_raw().into(),
                mtime: 0,
                xattrs: Vec::new(),
                size: 0,
                at: 0,
            };
            let mut budget = Budget::new(ImageBounds {
                entries,
                ..ImageBounds::default()
            });
            tree.put(&item, &mut std::io::empty(), &mut budget)
                .map(|()| (tree.entries, tree.size, budget.entries))
        };
        let deep = "x/".repeat(2000) + "file";
        assert!(matches!(put(100, &deep), Err(Refusal::TooMany(100))));
        // The control: as many as there may be; what is there already counts no more.
        assert_eq!(put(3, "a/b/one").expect("put"), (1, 2 * 4096, 3));
        assert_eq!(put(1, "a/b/two").expect("put"), (1, 0, 1));
    }
}
