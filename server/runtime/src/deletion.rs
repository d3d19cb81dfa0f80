//! Deleting a directory with everything in it, however deep it is.
//!
//! std's own holds each directory open on the way down and calls itself for it: whoever nests some
//! ten thousand of them (mkdir and cd do, with no path that would be too long) takes all descriptors
//! or the stack of who deletes them, and has what cannot be deleted. Here what lies too deep is moved
//! up first.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Directories that are open at once.
const OPEN: usize = 64;

/// The same where nothing can be moved, since the disk is full.
const OPEN_AT_MOST: usize = 512;

/// A directory that is being emptied.
struct Level {
    dir: Dir,
    /// Its name in the one above.
    name: CString,
    /// Whether something was deleted since it was read from its beginning.
    progress: bool,
}

impl Level {
    fn open(at: impl AsFd, name: CString) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd: OwnedFd = openat(at, &*name, flags, Mode::empty())?;
        Ok(Self {
            dir: Dir::new(fd)?,
            name,
            progress: false,
        })
    }
}

/// Deletes it, by no link. It is no error that it is not there. Nobody else may be at it.
pub fn delete_tree(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    match unlinkat(CWD, &*name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut levels = vec![Level::open(CWD, name)?];
    let mut moved = 0;
    while let Some(level) = levels.last_mut() {
        match level.dir.read() {
            Some(entry) => {
                let entry = entry?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    let name = name.to_owned();
                    take(&mut levels, name, &mut moved)?;
                }
            }
            None => leave(&mut levels)?,
        }
    }
    Ok(())
}

/// Deletes an entry of the innermost directory, or goes into it.
fn take(levels: &mut Vec<Level>, name: CString, moved: &mut u64) -> io::Result<()> {
    let depth = levels.len();
    let Some(level) = levels.last_mut() else {
        return Ok(());
    };
    let at = level.dir.fd()?;
    match unlinkat(at, &*name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {
            level.progress = true;
            return Ok(());
        }
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    if depth >= OPEN {
        match move_up(levels, &name, moved) {
            Ok(()) => return Ok(()),
            Err(_) if depth < OPEN_AT_MOST => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let Some(level) = levels.last_mut() else {
        return Ok(());
    };
    let inner = Level::open(level.dir.fd()?, name)?;
    levels.push(inner);
    Ok(())
}

/// Moves a directory of the innermost one into the outermost, where it is found later.
fn move_up(levels: &mut [Level], name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    let [top, .., level] = levels else {
        return Err(Errno::INVAL);
    };
    loop {
        *moved += 1;
        let new = format!("moved-{moved}");
        match renameat(level.dir.fd()?, name, top.dir.fd()?, new.as_str()) {
            // Somebody has called something so.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            answer => {
                answer?;
                level.progress = true;
                top.progress = true;
                return Ok(());
            }
        }
    }
}

/// The innermost directory has been read to its end: it is deleted, or, where something is left that
/// was not there when it was read, read once more.
fn leave(levels: &mut Vec<Level>) -> io::Result<()> {
    let Some(mut level) = levels.pop() else {
        return Ok(());
    };
    let removed = match levels.last() {
        Some(above) => unlinkat(above.dir.fd()?, &*level.name, AtFlags::REMOVEDIR),
        None => unlinkat(CWD, &*level.name, AtFlags::REMOVEDIR),
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => {
            if let Some(above) = levels.last_mut() {
                above.progress = true;
            }
            Ok(())
        }
        Err(Errno::NOTEMPTY | Errno::EXIST) if level.progress => {
            level.progress = false;
            level.dir.rewind();
            levels.push(level);
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;
    use std::os::unix::fs::symlink;

    /// Directories in directories, with a file in each hundredth.
    fn nest(at: &Path, depth: usize) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut inner = openat(CWD, at, flags, Mode::empty()).expect("open");
        for number in 0..depth {
            if number % 100 == 0 {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(&inner, "file", flags, Mode::RUSR).expect("a file");
            }
            mkdirat(&inner, "d", Mode::RWXU).expect("made");
            inner = openat(&inner, "d", flags, Mode::empty()).expect("open");
        }
    }

    #[test]
    fn a_tree_is_deleted_however_deep_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree).expect("made");
        // As what is moved up is called.
        std::fs::create_dir_all(tree.join("moved-1/inner")).expect("made");
        std::fs::write(tree.join("moved-2"), "a file").expect("written");
        nest(&tree.join("moved-1/inner"), 100);
        nest(&tree, 10_000);
        delete_tree(&tree).expect("deleted");
        assert!(!tree.exists());
        delete_tree(&tree).expect("nothing is there");
    }

    #[test]
    fn links_are_deleted_and_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (tree, other) = (
            directory.path().join("tree"),
            directory.path().join("other"),
        );
        std::fs::create_dir_all(&tree).expect("made");
        std::fs::create_dir_all(other.join("kept")).expect("made");
        symlink(&other, tree.join("link")).expect("a link");
        delete_tree(&tree).expect("deleted");
        assert!(!tree.exists() && other.join("kept").is_dir());
        let link = directory.path().join("link");
        symlink(&other, &link).expect("a link");
        delete_tree(&link).expect("deleted");
        assert!(link.symlink_metadata().is_err() && other.join("kept").is_dir());
    }
}
