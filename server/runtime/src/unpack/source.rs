//! Reading the archive: parts of its file, decompressed, counted and digested on the way.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::BorrowedFd;

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use porthole_protocol::image::Digest;
use ruzstd::decoding::StreamingDecoder;
use sha2::{Digest as _, Sha256};

use super::refusal::Refusal;

/// Memory that a decoder of xz may take, in KiB: `xz -9` needs half of it.
const XZ_MEMORY: u32 = 128 * 1024;

/// The largest window of zstd: `zstd --ultra -22` needs all of it.
const ZSTD_WINDOW: u64 = 128 << 20;

/// What decompresses to more than this is looked at for how many times its size that is.
const SUSPICIOUS: u64 = if cfg!(test) { 8 << 20 } else { 256 << 20 };

/// No honest image is compressed so well.
const RATIO: u64 = 500;

/// A part of the archive's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'f> {
    file: BorrowedFd<'f>,
    first: u64,
    at: u64,
    end: u64,
    /// Counts what is read, for whoever wants to know how far it has come.
    read: Option<&'f Cell<u64>>,
}

impl<'f> Section<'f> {
    pub(super) fn new(file: BorrowedFd<'f>, first: u64, length: u64) -> Self {
        Self {
            file,
            first,
            at: first,
            end: first.saturating_add(length),
            read: None,
        }
    }

    pub(super) fn counted(mut self, read: &'f Cell<u64>) -> Self {
        self.read = Some(read);
        self
    }

    pub(super) fn length(&self) -> u64 {
        self.end - self.first
    }

    /// Its first bytes.
    fn head(&self) -> io::Result<[u8; 6]> {
        let mut head = [0; 6];
        let mut copy = *self;
        copy.read = None;
        let mut filled = 0;
        while filled < head.len() {
            match copy.read(&mut head[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(head)
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::pread(self.file, &mut buffer[..wanted], self.at)
        })?;
        self.at += read as u64;
        if let Some(counter) = self.read {
            counter.set(counter.get() + read as u64);
        }
        Ok(read)
    }
}

impl Seek for Section<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(offset) => self.first.checked_add(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
        };
        let place = place.filter(|place| *place >= self.first);
        let place = place.ok_or(io::ErrorKind::InvalidInput)?;
        // Beyond the end there is nothing to read.
        self.at = place.min(self.end);
        Ok(place - self.first)
    }
}

/// How something is compressed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
}

impl Compression {
    pub(super) fn of(section: &Section<'_>) -> Result<Self, Refusal> {
        let head = section.head().map_err(Refusal::Unreadable)?;
        Ok(match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [b'B', b'Z', b'h', ..] => return Err(Refusal::Unknown(", but by bzip2")),
            [b'P', b'K', 3, 4, ..] => return Err(Refusal::Unknown(", but a zip")),
            _ => Self::None,
        })
    }
}

/// A section, decompressed.
pub(super) fn decoded<'f>(section: Section<'f>) -> Result<Box<dyn Read + 'f>, Refusal> {
    let compression = Compression::of(&section)?;
    let input = section.length();
    let section = BufReader::with_capacity(64 * 1024, section);
    let decoder: Box<dyn Read> = match compression {
        Compression::None => return Ok(Box::new(section)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(section)),
        Compression::Zstd => Box::new(Zstd::Between(section)),
        Compression::Xz => Box::new(XzReader::new_mem_limit(section, true, XZ_MEMORY)),
    };
    Ok(Box::new(Measured {
        decoder,
        input,
        output: 0,
    }))
}

/// Ends what grows too much.
struct Measured<'f> {
    decoder: Box<dyn Read + 'f>,
    input: u64,
    output: u64,
}

/// Told through the readers in between as an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {RATIO} times its size")]
struct Bomb;

impl Read for Measured<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.output += read as u64;
        if self.output > SUSPICIOUS && self.output / RATIO > self.input {
            return Err(io::Error::other(Bomb));
        }
        Ok(read)
    }
}

/// All frames of a zstd file, one after the other.
enum Zstd<R: BufRead> {
    Between(R),
    In(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Over,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(self, Self::Over) {
                Self::Over => return Ok(0),
                Self::Between(mut source) => {
                    if source.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    if skip_frame(&mut source)? {
                        *self = Self::Between(source);
                        continue;
                    }
                    let decoder = StreamingDecoder::new_with_max_window_size(source, ZSTD_WINDOW)
                        .map_err(io::Error::other)?;
                    *self = Self::In(Box::new(decoder));
                }
                Self::In(mut decoder) => {
                    let read = decoder.read(buffer)?;
                    if read > 0 {
                        *self = Self::In(decoder);
                        return Ok(read);
                    }
                    *self = Self::Between(decoder.into_inner());
                }
            }
        }
    }
}

/// Skips a frame that holds no data, where there is one.
fn skip_frame(source: &mut impl BufRead) -> io::Result<bool> {
    let head = source.fill_buf()?;
    let skippable = matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    if !skippable {
        return Ok(false);
    }
    let mut header = [0; 8];
    source.read_exact(&mut header)?;
    let [_, _, _, _, length @ ..] = header;
    let length = u64::from(u32::from_le_bytes(length));
    let skipped = io::copy(&mut source.by_ref().take(length), &mut io::sink())?;
    if skipped < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

/// Digests what is read, and knows whether there was more.
pub(super) struct Digested<R> {
    inner: R,
    hash: Sha256,
    /// Whether the end has been reached.
    pub(super) ended: bool,
}

impl<R: Read> Digested<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            ended: false,
        }
    }

    /// The digest of everything, the rest included.
    pub(super) fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_bytes(self.hash.finalize().into()))
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.ended |= read == 0 && !buffer.is_empty();
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// What went wrong while something was read.
pub(super) fn unreadable(error: io::Error) -> Refusal {
    if error.get_ref().is_some_and(|inner| inner.is::<Bomb>()) {
        return Refusal::Bomb(RATIO);
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Refusal::Truncated;
    }
    Refusal::Unreadable(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    fn compressed(program: &str, arguments: &[&str], data: &[u8]) -> Option<std::fs::File> {
        let mut file = tempfile::tempfile().expect("file");
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("copy"))
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child
            .stdin
            .take()
            .expect("stdin")
            .write_all(data)
            .expect("write");
        assert!(child.wait().expect("wait").success());
        file.flush().expect("flush");
        Some(file)
    }

    fn read(file: &std::fs::File, length: u64) -> Result<Vec<u8>, Refusal> {
        let mut data = Vec::new();
        decoded(Section::new(file.as_fd(), 0, length))?
            .read_to_end(&mut data)
            .map_err(unreadable)?;
        Ok(data)
    }

    #[test]
    fn what_is_compressed_is_known_by_its_first_bytes_and_truncation_is_told() {
        let data: Vec<u8> = (0..300_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for (program, arguments) in [
            ("gzip", &["-c"][..]),
            ("zstd", &["-c", "-q"]),
            ("zstd", &["-c", "-q", "-19", "--long=27"]),
            ("xz", &["-c"]),
            ("xz", &["-c", "-9", "--check=sha256"]),
            ("cat", &[]),
        ] {
            let Some(file) = compressed(program, arguments, &data) else {
                println!("SKIPPED: there is no {program}");
                continue;
            };
            let length = file.metadata().expect("size").len();
            let whole = read(&file, length).expect("whole");
            assert!(whole == data, "{program} {arguments:?}");
            if program == "cat" {
                continue;
            }
            for cut in (0..length).step_by(4096).chain([length - 1, length - 9]) {
                let short = read(&file, cut);
                // Without the magic number it is nothing that is compressed.
                assert!(cut < 6 || short.is_err(), "{program}: {cut} of {length}");
            }
        }
    }

    #[test]
    fn what_grows_a_thousandfold_is_a_bomb() {
        let zeros = vec![0; usize::try_from(SUSPICIOUS + (1 << 20)).expect("fits")];
        let file = compressed("gzip", &["-c"], &zeros).expect("gzip");
        let length = file.metadata().expect("size").len();
        assert!(matches!(read(&file, length), Err(Refusal::Bomb(_))));
        // As much that is not so well compressed is taken.
        let control: Vec<u8> = (0..zeros.len() / 4)
            .flat_map(|n| u32::try_from(n / 64).unwrap_or(0).to_le_bytes())
            .collect();
        let file = compressed("gzip", &["-1", "-c"], &control).expect("gzip");
        let length = file.metadata().expect("size").len();
        assert_eq!(read(&file, length).expect("control").len(), control.len());
    }
}
