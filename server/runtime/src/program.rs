//! Whether a command can be executed in a container, and what it is: asked before exec, as the
//! user who is going to run it, so that the answer can be 126 or 127 with a reason.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, accessat, fstat, openat, statat};
use rustix::io::Errno;

/// How many interpreters of interpreters the kernel follows (`BINPRM_MAX_RECURSION` and one more).
const INTERPRETERS: usize = 5;

/// Why a command cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgramError {
    /// 127
    #[error("{command}: not found{0}", detail(.reason))]
    NotFound { command: String, reason: String },
    /// 126
    #[error("{command}: cannot be executed{0}", detail(.reason))]
    NotExecutable { command: String, reason: String },
}

fn detail(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(", {reason}")
    }
}

impl ProgramError {
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::NotFound { reason, .. } if reason.is_empty() => "not found".to_owned(),
            Self::NotExecutable { reason, .. } if reason.is_empty() => {
                "cannot be executed".to_owned()
            }
            Self::NotFound { reason, .. } | Self::NotExecutable { reason, .. } => reason.clone(),
        }
    }
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        let (code, errno) = match &error {
            ProgramError::NotFound { .. } => (FailureCode::CommandNotFound, Errno::NOENT),
            ProgramError::NotExecutable { .. } => (FailureCode::NotExecutable, Errno::ACCESS),
        };
        Failure::new(code, error.to_string())
            .field("command")
            .stage(Stage::Exec)
            .errno(errno.raw_os_error())
    }
}

/// Finds a command as execvp(3) would, relative to the current directory and by `search` (`PATH`),
/// and makes sure that the kernel can load it. Answers its path.
pub(crate) fn find(command: &str, search: &str) -> Result<String, ProgramError> {
    if command.is_empty() {
        return Err(ProgramError::NotFound {
            command: "\"\"".to_owned(),
            reason: "a command has a name".to_owned(),
        });
    }
    if command.contains('/') {
        check(command, command)?;
        return Ok(command.to_owned());
    }
    let mut refused = None;
    for directory in search.split(':') {
        // An empty entry is the current directory, as in every shell.
        let directory = if directory.is_empty() { "." } else { directory };
        let path = format!("{}/{command}", directory.trim_end_matches('/'));
        match candidate(&path) {
            Ok(()) => {
                check(command, &path)?;
                return Ok(path);
            }
            Err(Some(reason)) => refused = refused.or(Some(format!("{path} {reason}"))),
            Err(None) => {}
        }
    }
    Err(match refused {
        Some(reason) => ProgramError::NotExecutable {
            command: command.to_owned(),
            reason,
        },
        None => ProgramError::NotFound {
            command: command.to_owned(),
            reason: format!("in none of {search}"),
        },
    })
}

/// Whether there is something executable: `Err(None)` where there is nothing.
fn candidate(path: &str) -> Result<(), Option<String>> {
    let cwd = rustix::fs::CWD;
    let status = statat(cwd, path, AtFlags::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => None,
        errno => Some(errno.to_string()),
    })?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Some("is a directory".to_owned())),
        _ => return Err(Some("is no regular file".to_owned())),
    }
    accessat(cwd, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|errno| {
        Some(match errno {
            Errno::ACCESS => "may not be executed by this user".to_owned(),
            errno => errno.to_string(),
        })
    })
}

/// Follows what the kernel will load: interpreters of scripts, then the ELF loader.
fn check(command: &str, path: &str) -> Result<(), ProgramError> {
    let missing = |reason: String| ProgramError::NotFound {
        command: command.to_owned(),
        reason,
    };
    let refused = |reason: String| ProgramError::NotExecutable {
        command: command.to_owned(),
        reason,
    };
    let mut path = path.to_owned();
    let mut role = String::new();
    for _ in 0..INTERPRETERS {
        match candidate(&path) {
            Ok(()) => {}
            Err(None) => return Err(missing(format!("{role}{path} is not in the container"))),
            Err(Some(reason)) => return Err(refused(format!("{role}{path} {reason}"))),
        }
        match kind(&path) {
            Kind::Unreadable | Kind::Loadable { loader: None } => return Ok(()),
            Kind::Loadable {
                loader: Some(loader),
            } => {
                return match candidate(&loader) {
                    Ok(()) => Ok(()),
                    Err(None) => Err(missing(format!(
                        "its loader {loader} is not in the container"
                    ))),
                    Err(Some(reason)) => Err(refused(format!("its loader {loader} {reason}"))),
                };
            }
            Kind::Script { interpreter } => {
                role = format!("the interpreter of {path}, ");
                path = interpreter;
            }
            Kind::Foreign(what) => return Err(refused(format!("{path} is {what}"))),
        }
    }
    Err(refused("too many interpreters of interpreters".to_owned()))
}

/// What the kernel would make of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Loadable {
        loader: Option<String>,
    },
    Script {
        interpreter: String,
    },
    /// It may be executed but not read; exec will tell.
    Unreadable,
    Foreign(&'static str),
}

fn kind(path: &str) -> Kind {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = openat(rustix::fs::CWD, path, flags, Mode::empty()) else {
        return Kind::Unreadable;
    };
    let mut head = [0; 4096];
    let Ok(length) = read_at(&file, &mut head, 0) else {
        return Kind::Unreadable;
    };
    classify(&head[..length], |offset, bytes| {
        // Headers and the loader's name are at the beginning of nearly every program.
        let begin = usize::try_from(offset).ok()?;
        match head[..length].get(begin..begin.saturating_add(bytes.len())) {
            Some(known) => {
                bytes.copy_from_slice(known);
                Some(known.len())
            }
            None => read_at(&file, bytes, offset).ok(),
        }
    })
}

fn read_at(file: &OwnedFd, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *bytes, offset))
}

pub(super) fn classify(head: &[u8], mut read: impl FnMut(u64, &mut [u8]) -> Option<usize>) -> Kind {
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        return match text.split_ascii_whitespace().next() {
            Some(interpreter) => Kind::Script {
                interpreter: interpreter.to_owned(),
            },
            None => Kind::Foreign("a script whose first line names no interpreter"),
        };
    }
    let Some(elf) = elf::Header::parse(head) else {
        return Kind::Foreign(
            "neither a program for this machine nor a script that begins with #!",
        );
    };
    if !elf.native {
        return Kind::Foreign("a program for another kind of machine");
    }
    for index in 0..elf.count {
        let mut entry = [0; elf::ENTRY];
        let at = elf
            .table
            .saturating_add(u64::from(index) * elf::ENTRY as u64);
        if read(at, &mut entry) != Some(elf::ENTRY) {
            break;
        }
        if let Some((offset, size)) = elf::interpreter(&entry) {
            let mut name = vec![0; size.min(4096)];
            let got = read(offset, &mut name).unwrap_or(0);
            name.truncate(got);
            let name = name.split(|b| *b == 0).next().unwrap_or_default();
            return Kind::Loadable {
                loader: Some(String::from_utf8_lossy(name).into_owned()),
            };
        }
    }
    Kind::Loadable { loader: None }
}

/// The little of elf(5) that says what loads a program.
mod elf {
    /// Bytes of an entry of the program header table (`Elf64_Phdr`).
    pub(super) const ENTRY: usize = 56;

    pub(super) struct Header {
        pub(super) native: bool,
        pub(super) table: u64,
        pub(super) count: u16,
    }

    #[cfg(target_arch = "x86_64")]
    const MACHINE: u16 = 62;
    #[cfg(target_arch = "aarch64")]
    const MACHINE: u16 = 183;

    fn short(bytes: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
    }

    fn long(bytes: &[u8], at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
    }

    impl Header {
        pub(super) fn parse(head: &[u8]) -> Option<Self> {
            if !head.starts_with(b"\x7fELF") || head.len() < 64 {
                return None;
            }
            // 64 bits, little-endian, this machine, entries of the size that is known.
            let native = head[4] == 2
                && head[5] == 1
                && short(head, 18)? == MACHINE
                && usize::from(short(head, 54)?) == ENTRY;
            Some(Self {
                native,
                table: long(head, 32)?,
                count: short(head, 56)?,
            })
        }
    }

    /// Place and length of the loader's name, where the entry is `PT_INTERP`.
    pub(super) fn interpreter(entry: &[u8; ENTRY]) -> Option<(u64, usize)> {
        (entry[..4] == [3, 0, 0, 0])
            .then(|| Some((long(entry, 8)?, usize::try_from(long(entry, 32)?).ok()?)))
            .flatten()
    }
}

/// Whether a file of the machine is a program that needs no loader and no library.
pub(crate) fn is_static(path: &str) -> bool {
    kind(path) == Kind::Loadable { loader: None }
}

/// Enters a directory below `root` without leaving it or following a magic link.
pub(crate) fn open_directory(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let fd = rustix::fs::openat2(
        root,
        path.trim_start_matches('/').to_owned() + "/.",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS,
    )?;
    fstat(&fd)?;
    Ok(fd)
}

/// A word that a C program may be given; what cannot be one was refused long before.
pub(crate) fn c_word(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SEARCH: &str = "/nowhere:/usr/bin:/bin";

    fn script(directory: &std::path::Path, name: &str, text: &str, mode: u32) -> String {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        path.to_str().expect("text").to_owned()
    }

    #[test]
    fn a_word_is_found_by_the_search_path() {
        assert_eq!(find("sh", SEARCH), Ok("/usr/bin/sh".to_owned()));
        assert!(matches!(
            find("no-such-command", SEARCH),
            Err(ProgramError::NotFound { .. })
        ));
        assert!(matches!(
            find("", SEARCH),
            Err(ProgramError::NotFound { .. })
        ));
    }

    #[test]
    fn what_cannot_be_executed_is_told_from_what_is_not_there() {
        let directory = tempfile::tempdir().expect("directory");
        let of = |name: &str, text: &str, mode| {
            find(&script(directory.path(), name, text, mode), SEARCH)
        };
        assert!(of("good", "#!/bin/sh -e\n", 0o755).is_ok());
        assert!(matches!(
            of("plain", "#!/bin/sh\n", 0o644),
            Err(ProgramError::NotExecutable { .. })
        ));
        assert!(matches!(
            of("text", "echo\n", 0o755),
            Err(ProgramError::NotExecutable { .. })
        ));
        assert!(matches!(
            of("empty", "", 0o755),
            Err(ProgramError::NotExecutable { .. })
        ));
        let Err(ProgramError::NotFound { reason, .. }) = of("lost", "#!/no/such\n", 0o755) else {
            panic!("its interpreter is missing");
        };
        assert!(reason.contains("/no/such"), "{reason}");
        let own = directory.path().join("self");
        let looped = format!("#!{}\n", own.display());
        assert!(matches!(
            of("self", &looped, 0o755),
            Err(ProgramError::NotExecutable { .. })
        ));
        assert!(matches!(
            find(directory.path().to_str().expect("text"), SEARCH),
            Err(ProgramError::NotExecutable { .. })
        ));
    }

    #[test]
    fn a_program_names_its_loader() {
        let Kind::Loadable { loader } = kind("/usr/bin/env") else {
            panic!("env is a program");
        };
        assert!(loader.is_some_and(|path| path.contains("ld-linux")));
    }

    #[test]
    fn any_bytes_are_some_kind_of_file() {
        for head in [&b"\x7fELF"[..], b"#!", b"#! \n", &[0x7f; 64]] {
            assert!(matches!(classify(head, |_, _| None), Kind::Foreign(_)));
        }
        let mut native = std::fs::read("/proc/self/exe").expect("a program");
        native.truncate(4096);
        native[32..40].fill(0xff);
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far");
        std::fs::write(&path, &native).expect("write");
        assert_eq!(
            kind(path.to_str().expect("text")),
            Kind::Loadable { loader: None },
            "a table beyond the end"
        );
    }
}
