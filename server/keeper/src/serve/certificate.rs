//! Certificate and key, which root may keep to itself: opened here whenever the server asks, and
//! handed over. See `porthole_protocol::certificate`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use porthole_protocol::certificate::{LONGEST, REQUEST};
use porthole_sys::packet::Packet;
use rustix::fs::OFlags;

/// Where the files are.
pub(super) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Where TLS is to be spoken: `PORTHOLE_TLS_CERT` and `PORTHOLE_TLS_KEY`.
    pub(super) fn from_environment() -> Option<Self> {
        let path = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        Some(Self {
            cert: path("PORTHOLE_TLS_CERT")?,
            key: path("PORTHOLE_TLS_KEY")?,
        })
    }

    /// Takes one request from the server and answers it. Answers whether it may ask again.
    pub(super) fn answer(&self, server: &Packet) -> bool {
        match server.receive(REQUEST.len()) {
            Ok(Some((message, files))) if message == REQUEST && files.is_empty() => {}
            Err(error) if error.is_would_block() => return true,
            _ => return false,
        }
        let sent = match open(&self.cert).and_then(|cert| Ok((cert, open(&self.key)?))) {
            // A message of no bytes would be the end of the connection to who receives it.
            Ok((cert, key)) => server.send(b" ", &[cert.as_fd(), key.as_fd()]),
            Err(mut why) => {
                why.truncate(why.floor_char_boundary(LONGEST));
                server.send(why.as_bytes(), &[])
            }
        };
        match sent {
            Ok(()) => true,
            // Whoever does not take its answers asks for nothing more.
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }
}

/// A plain file, to be read. Never waits, as a FIFO would have it.
fn open(path: &Path) -> Result<File, String> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(format!("{} is no plain file", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn both_files_are_handed_over_or_a_sentence() {
        let directory = tempfile::tempdir().expect("directory");
        let (cert, key) = (directory.path().join("c"), directory.path().join("k"));
        std::fs::write(&cert, "the certificate").expect("written");
        let certificate = Certificate {
            cert,
            key: key.clone(),
        };
        let (server, serve) = Packet::pair(false).expect("pair");
        let ask = || {
            server.send(REQUEST, &[]).expect("sent");
            assert!(certificate.answer(&serve));
            server
                .receive(LONGEST)
                .expect("received")
                .expect("an answer")
        };
        let (why, files) = ask();
        assert!(files.is_empty());
        let why = String::from_utf8(why).expect("text");
        assert!(
            why.starts_with(&format!("{}: No such file", key.display())),
            "{why}"
        );

        std::fs::create_dir(&key).expect("made");
        let (why, files) = ask();
        assert!(files.is_empty() && why.ends_with(b"is no plain file"));
        std::fs::remove_dir(&key).expect("removed");

        std::fs::write(&key, "the key").expect("written");
        let (_, files) = ask();
        let texts: Vec<String> = files
            .into_iter()
            .map(|file| {
                let mut text = String::new();
                File::from(file).read_to_string(&mut text).expect("read");
                text
            })
            .collect();
        assert_eq!(texts, ["the certificate", "the key"]);
    }

    #[test]
    fn whoever_asks_for_anything_else_is_not_listened_to() {
        let certificate = Certificate {
            cert: "/etc/hostname".into(),
            key: "/etc/hostname".into(),
        };
        let (server, serve) = Packet::pair(false).expect("pair");
        server.send(b"/etc/shadow", &[]).expect("sent");
        assert!(!certificate.answer(&serve));
        drop(server);
        assert!(!certificate.answer(&serve), "it has hung up");
    }
}
