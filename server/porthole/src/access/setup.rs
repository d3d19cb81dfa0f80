//! The one-time code that makes the first administrator.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::identity::SecretHash;
use super::secret::{Secret, hash};

/// How long a code is good.
pub const LIFE: Duration = Duration::from_secs(3600);

/// The code that is in force, if any. Only its hash is kept.
pub struct SetupCode {
    address: String,
    file: PathBuf,
    current: Mutex<Option<(SecretHash, Instant)>>,
}

impl SetupCode {
    /// None yet. It will be shown as part of this address, or written to this file.
    pub fn new(address: String, file: PathBuf) -> Self {
        Self {
            address,
            file,
            current: Mutex::new(None),
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<(SecretHash, Instant)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a new code and shows it where only who started Porthole sees it: on the terminal, or
    /// in a file that only root and the server read. Never in a log.
    pub fn renew(&self) {
        let secret = Secret::new();
        // Half of the digits are 128 bits: nobody guesses them, and the line stays short.
        let code = &secret.reveal()[..32];
        *self.current() = Some((hash(code), Instant::now() + LIFE));
        let mut out = io::stdout();
        if out.is_terminal() {
            let _ = writeln!(
                out,
                "Open this address to make the administrator's account (good for an hour, once):\n\n    {}/setup#{code}\n",
                self.address
            );
            let _ = out.flush();
            return;
        }
        match self.write(code) {
            Ok(()) => tracing::info!(
                file = %self.file.display(),
                "there is no account yet: open {}/setup and enter the code from the file",
                self.address
            ),
            Err(error) => tracing::error!(
                %error,
                file = %self.file.display(),
                "the setup code was not written: start Porthole on a terminal, or set PORTHOLE_ADMIN_PASSWORD"
            ),
        }
    }

    /// `serve` has made the file, empty and this account's, because only root may make files beside
    /// the sockets.
    fn write(&self, code: &str) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).mode(0o600);
        let mut file = match options.truncate(true).open(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                options.truncate(false).create_new(true).open(&self.file)?
            }
            opened => opened?,
        };
        writeln!(file, "{code}")
    }

    /// Whether this is the code, at this time.
    pub fn is(&self, code: &str, now: Instant) -> bool {
        self.current()
            .is_some_and(|(expected, until)| now < until && hash(code.trim()) == expected)
    }

    /// Whether a code that was in force has run out.
    pub fn is_over(&self, now: Instant) -> bool {
        self.current().is_none_or(|(_, until)| now >= until)
    }

    /// The first account exists: no code is good any more.
    pub fn end(&self) {
        *self.current() = None;
        let emptied = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&self.file);
        match emptied {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %self.file.display(), "the used setup code stays in its file");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_code_is_good_for_an_hour_and_until_it_was_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("setup-code");
        let code = SetupCode::new("http://127.0.0.1:7678".into(), file.clone());
        let now = Instant::now();
        assert!(code.is_over(now) && !code.is("", now), "there is none yet");
        // The first line of standard output decides; in tests it is captured, not a terminal.
        let secret = "0123456789abcdef0123456789abcdef";
        *code.current() = Some((hash(secret), now + LIFE));
        code.write(secret).expect("written");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(code.is(&format!("{secret}\n"), now));
        assert!(!code.is("0123456789abcdef0123456789abcdee", now));
        assert!(!code.is(secret, now + LIFE), "an hour later");
        code.end();
        assert!(!code.is(secret, now), "used");
        assert_eq!(fs::read(&file).expect("there").len(), 0);
    }
}
