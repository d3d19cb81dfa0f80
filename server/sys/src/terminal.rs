//! A pseudo-terminal and a program on it, by portable-pty: the one place that it is used in.
//!
//! portable-pty opens `/dev/ptmx` of the root directory that the caller is in, hands out a raw
//! descriptor, and falls back on libc's account database where SHELL or HOME is missing, which in
//! a container's root would load code of the container. Here both are always there.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use portable_pty::{CommandBuilder, PtyPair, PtySize, PtySystem, unix::UnixPtySystem};

use crate::process::Forked;

/// A pseudo-terminal whose program has not been started yet.
pub struct Terminal {
    pair: PtyPair,
    /// Its master.
    pub master: OwnedFd,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("master", &self.master)
            .finish_non_exhaustive()
    }
}

/// What to run on it.
#[derive(Debug, Clone)]
pub struct Program {
    /// An absolute path, or a word that is looked for in `PATH` of the environment.
    pub command: Vec<OsString>,
    /// The whole environment. `HOME` must be in it, or nothing is started.
    pub environment: Vec<(OsString, OsString)>,
    /// An executable file of the caller's root directory: `SHELL`.
    pub shell: PathBuf,
    /// A directory.
    pub directory: PathBuf,
}

impl Terminal {
    /// Opens `/dev/ptmx` of the caller's root directory. The caller checks what that was.
    ///
    /// portable-pty tells the errno in words only; it is read back from them, EIO where there is
    /// none.
    pub fn open(cols: u16, rows: u16) -> io::Result<Self> {
        let pair = UnixPtySystem::default()
            .openpty(PtySize {
                rows,
                cols,
                pixel_width: 0,
                pixel_height: 0,
            })
            .map_err(|error| errno_in(&error))?;
        let raw = pair
            .master
            .as_raw_fd()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        // SAFETY: `pair` owns this descriptor and lives until it has been duplicated.
        let master = unsafe { BorrowedFd::borrow_raw(raw) }.try_clone_to_owned()?;
        Ok(Self { pair, master })
    }

    /// Its slave's name as the caller's `/proc` and `/dev` have it.
    pub fn name(&self) -> Option<PathBuf> {
        self.pair.master.tty_name()
    }

    /// Starts a program on it, as leader of a session that it controls, with no other descriptor.
    /// The child is not waited for. Answers its PID.
    ///
    /// That the program can be executed must have been checked: portable-pty closes the
    /// descriptor by which a failed exec would be told.
    pub fn start(self, _forked: &Forked, program: &Program) -> io::Result<i32> {
        // SAFETY: a forked child has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var("SHELL", &program.shell) };
        if !program.environment.iter().any(|(name, _)| name == "HOME") {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut builder = CommandBuilder::from_argv(program.command.clone());
        builder.env_clear();
        for (name, value) in &program.environment {
            builder.env(name, value);
        }
        builder.env("SHELL", as_os(&program.shell));
        builder.cwd(as_os(&program.directory));
        let child = self
            .pair
            .slave
            .spawn_command(builder)
            .map_err(|error| errno_in(&error))?;
        let pid = child
            .process_id()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        Ok(pid.cast_signed())
    }
}

fn as_os(path: &Path) -> &OsStr {
    path.as_os_str()
}

/// The errno of an error of portable-pty: in its chain, or in its words (`code: 28`).
fn errno_in(
    error: &(impl std::fmt::Display + AsRef<dyn std::error::Error + Send + Sync>),
) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        if let Some(code) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(code);
        }
        cause = error.source();
    }
    let text = error.to_string();
    let code = text.split_once("code: ").and_then(|(_, rest)| {
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    });
    io::Error::from_raw_os_error(code.unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_a_name_and_a_master_of_its_own() {
        let terminal = Terminal::open(80, 24).expect("a pseudo-terminal");
        let name = terminal.name().expect("a name");
        assert!(name.starts_with("/dev/pts"), "{name:?}");
        let size = rustix::termios::tcgetwinsize(&terminal.master).expect("size");
        assert_eq!((size.ws_col, size.ws_row), (80, 24));
    }
}
