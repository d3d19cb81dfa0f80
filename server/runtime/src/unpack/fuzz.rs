//! Fuzz targets for archives that become images.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use porthole_protocol::image::{Digest, ImageBounds};
use porthole_sys::packet::Packet;
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::entries::{self, Item, Kind};
use super::refusal::Refusal;
use super::source::{Digested, Section, decoded};
use super::tree::{Budget, Tree};
use super::unpacker::Job;
use super::{archive, config};
use crate::fuzz::shared::Input;

const BOUNDS: ImageBounds = ImageBounds {
    archive: 1 << 20,
    unpacked: 1 << 20,
    entries: 64,
};

/// Any bytes as a tar; where the first one is odd, with checksums as headers have to have them.
pub(crate) fn tar(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mended = input.u8() & 1 != 0;
    let mut archive = input.0.to_vec();
    if mended {
        archive.chunks_exact_mut(512).for_each(mend);
        archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    }
    let (mut entries, mut total) = (0, 0);
    let mut reader = Digested::new(&archive[..]);
    let read = entries::each(&mut reader, BOUNDS.entries, |item, data| {
        let mut found = Vec::new();
        data.read_to_end(&mut found).expect("from memory");
        assert!(found.len() as u64 <= item.size);
        // Where an entry's data is said to begin, it does.
        let at = usize::try_from(item.at).expect("a place");
        assert!(archive[at..].starts_with(&found));
        total += found.len();
        entries += 1;
        assert!(item.mode <= 0o7777);
        let _ = (item.name().to_string(), item.xattrs.len());
        Ok(())
    });
    assert!(entries <= BOUNDS.entries && total <= archive.len());
    if let Err(refusal) = read {
        is_told(&refusal);
    }
    let whole = reader.finish().expect("from memory");
    assert_eq!(whole, Digest::from_bytes(Sha256::digest(&archive).into()));

    // A pax record is read as it was written, whatever it holds.
    let (key, value) = (input.piece(), input.0);
    if !key.contains(&b'=') {
        let content = [b" ", key, b"=", value, b"\n"].concat();
        let mut length = content.len();
        while length != content.len() + length.to_string().len() {
            length = content.len() + length.to_string().len();
        }
        let mut record = length.to_string().into_bytes();
        record.extend(content);
        record.extend(b"rest");
        assert_eq!(entries::record(&record), Some((key, value, &b"rest"[..])));
    }
    for path in [key, value] {
        if let Some(inside) = archive::inside(path, key) {
            assert!(is_below(&inside));
        }
    }
}

/// Whether a path leads nowhere else.
fn is_below(path: &[u8]) -> bool {
    path.is_empty()
        || path
            .split(|byte| *byte == b'/')
            .all(|part| !matches!(part, b"" | b"." | b".."))
}

/// A refusal is a sentence that can be shown on a terminal.
fn is_told(refusal: &Refusal) {
    let text = refusal.to_string();
    assert!(
        !text.is_empty() && !text.chars().any(char::is_control),
        "{text:?}"
    );
}

/// Gives a block that looks like a header the checksum that it has to have.
fn mend(block: &mut [u8]) {
    if block[257..262] == *b"ustar" {
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

/// Any bytes as something compressed.
pub(crate) fn compressed(bytes: &[u8]) {
    let file = memory(bytes);
    let section = Section::new(file.as_fd(), 0, bytes.len() as u64);
    let decoder = match decoded(section) {
        Ok(decoder) => decoder,
        Err(refusal) => return is_told(&refusal),
    };
    let mut limited = decoder.take(16 << 20);
    if let Err(error) = std::io::copy(&mut limited, &mut std::io::sink()) {
        is_told(&super::source::unreadable(error));
    }
}

/// Any documents of an image. Files of an archive, each a name and what is in it; where that holds
/// `@0` to `@9`, the digest of that file stands there, and each is there under its own digest too.
pub(crate) fn image(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut files: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while !input.is_empty() && files.len() < 10 {
        let name = input.piece().to_vec();
        let content = input.piece();
        let content = if name.ends_with(b".tar") {
            packed(&[(b"file".to_vec(), content.to_vec())])
        } else {
            with_digests(content, &files)
        };
        files.push((name, content));
    }
    let blobs: Vec<_> = files
        .iter()
        .map(|(_, content)| {
            (
                format!("blobs/sha256/{}", digits(content)).into_bytes(),
                content.clone(),
            )
        })
        .collect();
    files.extend(blobs);
    for (name, content) in &files {
        if let Ok(read) = config::read("a configuration", content) {
            assert!(read.config.fits() && !read.diff_ids.is_empty());
        }
        let _ = name;
    }
    let ground = Ground::make();
    ground.unpack(&packed(&files));
    // The same as it came, for what no tar is made of.
    ground.unpack(bytes);
}

fn digits(content: &[u8]) -> String {
    let digest = Digest::from_bytes(Sha256::digest(content).into());
    digest.digits().to_owned()
}

fn with_digests(content: &[u8], files: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut written = Vec::new();
    let mut input = Input(content);
    while !input.is_empty() {
        match (input.u8(), input.0.first()) {
            (b'@', Some(place @ b'0'..=b'9')) => {
                input.take(1);
                if let Some((_, content)) = files.get(usize::from(place - b'0')) {
                    written.extend(format!("sha256:{}", digits(content)).as_bytes());
                }
            }
            (byte, _) => written.push(byte),
        }
    }
    written
}

/// A tar of these files.
fn packed(files: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        let mut header = Header::new_gnu();
        let name = &name[..name.len().min(100)];
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Any entries in any order, put below a directory beside which there is something to be lost: of
/// each its kind, mode, owner and time, then its path, what it links to, its data and an attribute.
pub(crate) fn tree(bytes: &[u8]) {
    let ground = Ground::make();
    let mut budget = Budget::new(BOUNDS);
    let made = Tree::make(ground.inside().as_fd(), "tree");
    let mut tree = made.unwrap_or_else(|refusal| panic!("{refusal}"));
    let mut input = Input(bytes);
    let mut refused = false;
    while !input.is_empty() && !refused {
        let item = item(&mut input);
        let data = input.piece();
        let size = if item.kind == Kind::File {
            data.len() as u64
        } else {
            item.size
        };
        let item = Item { size, ..item };
        if let Err(refusal) = tree.put(&item, &mut Cursor::new(data), &mut budget) {
            is_told(&refusal);
            refused = true;
        }
    }
    let (size, entries) = (tree.size, tree.entries);
    assert!(entries <= BOUNDS.entries + 1 && budget.bytes <= BOUNDS.unpacked || refused);
    if let Err(refusal) = tree.finish() {
        is_told(&refusal);
    }
    let _ = size;
    ground.check();
}

fn item(input: &mut Input<'_>) -> Item {
    let kind = match input.u8() % 6 {
        0 => Kind::File,
        1 => Kind::Directory,
        2 => Kind::Symlink,
        3 => Kind::Link,
        4 => Kind::Fifo,
        _ => Kind::Device,
    };
    Item {
        kind,
        mode: u32::from(input.u16() & 0o7777),
        uid: input.u16().into(),
        gid: input.u8().into(),
        mtime: i64::from(input.u32().cast_signed()),
        path: input.piece().to_vec(),
        link: input.piece().to_vec(),
        xattrs: match input.piece() {
            b"" => Vec::new(),
            name => vec![(name.to_vec(), b"y".to_vec())],
        },
        size: 0,
        at: 0,
    }
}

/// A directory to unpack into, and a neighbour that must not be touched.
struct Ground {
    root: PathBuf,
    channel: (Packet, Packet),
}

const SECRET: &str = "nobody's but ours";

impl Ground {
    fn make() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() {
            shared.to_owned()
        } else {
            std::env::temp_dir()
        };
        let root = base.join(format!("porthole-fuzz-{}-{count}", std::process::id()));
        fs::create_dir_all(root.join("in")).expect("a directory");
        fs::create_dir_all(root.join("out/side")).expect("a directory");
        fs::write(root.join("out/side/secret"), SECRET).expect("a file");
        fs::write(root.join("secret"), SECRET).expect("a file");
        let channel = Packet::pair(true).expect("a channel");
        Self { root, channel }
    }

    fn inside(&self) -> File {
        File::open(self.root.join("in")).expect("a directory")
    }

    /// Unpacks an archive as the unpacker does.
    fn unpack(&self, bytes: &[u8]) {
        let (archive, inside, known) = (memory(bytes), self.inside(), BTreeMap::new());
        let job = Job {
            archive: archive.as_fd(),
            known: &known,
            wanted: None,
            bounds: BOUNDS,
            into: inside.as_fd(),
        };
        match archive::unpack(&job, &self.channel.0) {
            Ok(unpacked) => {
                let imported = unpacked.imported;
                assert!(imported.config.fits() && !imported.layers.is_empty());
                assert_eq!(unpacked.places.len(), imported.layers.len());
            }
            Err(failure) => {
                assert!(!failure.message.chars().any(char::is_control), "{failure}");
            }
        }
        self.check();
        fs::remove_dir_all(self.root.join("in")).expect("what was unpacked is removed");
        fs::create_dir(self.root.join("in")).expect("a directory");
    }

    /// What lies beside is as it was.
    fn check(&self) {
        let names = |below: &str| {
            let entries = fs::read_dir(self.root.join(below)).expect("a directory");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("one").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["in", "out", "secret"]);
        assert_eq!(names("out"), ["side"]);
        assert_eq!(names("out/side"), ["secret"]);
        for path in ["secret", "out/side/secret"] {
            let path = self.root.join(path);
            assert_eq!(fs::read(&path).expect("a file"), SECRET.as_bytes());
            let status = rustix::fs::stat(&path).expect("a file");
            assert_eq!(
                (status.st_nlink, status.st_uid),
                (1, rustix::process::geteuid().as_raw())
            );
        }
        // Nothing in it is a device but a whiteout, and nothing is more than its owner's.
        each_below(&self.root.join("in"), &|path| {
            let status = rustix::fs::lstat(path).expect("an entry");
            match rustix::fs::FileType::from_raw_mode(status.st_mode) {
                rustix::fs::FileType::CharacterDevice => assert_eq!(status.st_rdev, 0),
                rustix::fs::FileType::BlockDevice | rustix::fs::FileType::Socket => {
                    panic!("{} is something else", path.display())
                }
                _ => {}
            }
        });
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn each_below(directory: &Path, each: &impl Fn(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        each(&path);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            assert!(!path.as_os_str().as_bytes().ends_with(b"/.."));
            each_below(&path, each);
        }
    }
}

fn memory(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("writing");
    file
}
