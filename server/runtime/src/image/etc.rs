//! What of the machine's `/etc` programs need to run, and nothing that anybody keeps to themselves.
//!
//! An allowlist of names; below them only what every account of the machine may read anyway,
//! regular files and links, and no file that holds a private key.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::skeleton::{Digest, Draft, ROOT};
use crate::step::{Step, StepError};

/// Names in `/etc`, relative to it. One that ends with `*` stands for all that begin so.
const NAMES: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "bash_completion",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "chromium.d",
    "debian_version",
    "dpkg/origins",
    "emacs",
    "ethertypes",
    "fonts",
    "gai.conf",
    "gprofng.rc",
    "groff",
    "host.conf",
    "inputrc",
    "issue",
    "java*",
    "ld-musl*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "lsb-release",
    "lynx",
    "magic",
    "magic.mime",
    "mailcap",
    "manpath.config",
    "mime.types",
    "nanorc",
    "netconfig",
    "networks",
    "os-release",
    "perl",
    "profile",
    "profile.d",
    "protocols",
    "python3*",
    "rpc",
    "screenrc",
    "services",
    "shells",
    "skel",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "vim",
    "wgetrc",
    "xattr.conf",
    "xml",
    "zsh",
];

/// No configuration that programs need is larger.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Directories in directories that are followed.
const DEPTH: usize = 8;

/// Something to be copied.
#[derive(Debug)]
pub(super) struct Entry {
    /// Relative to `/etc`.
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory,
    File { mode: u32 },
    Link { target: PathBuf },
}

/// Everything that is to be copied, in an order in which directories come before what is in them.
pub(super) fn list(etc: &Path, digest: &mut Digest) -> Vec<Entry> {
    let mut entries = Vec::new();
    for name in NAMES {
        for path in expand(etc, name) {
            walk(etc, &path, DEPTH, digest, &mut entries);
        }
    }
    entries
}

fn expand(etc: &Path, name: &str) -> Vec<PathBuf> {
    let Some(prefix) = name.strip_suffix('*') else {
        return vec![PathBuf::from(name)];
    };
    let mut found: Vec<PathBuf> = fs::read_dir(etc)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| {
            name.as_os_str()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        })
        .collect();
    found.sort();
    found
}

fn walk(etc: &Path, path: &Path, depth: usize, digest: &mut Digest, entries: &mut Vec<Entry>) {
    let full = etc.join(path);
    let Ok(status) = fs::symlink_metadata(&full) else {
        return;
    };
    let of_others = status.permissions().mode() & 0o004 != 0;
    digest.add(path);
    digest.add((
        status.size(),
        status.mtime(),
        status.mtime_nsec(),
        status.mode(),
    ));
    if status.is_symlink() {
        if let Ok(target) = fs::read_link(&full) {
            entries.push(Entry {
                path: path.to_owned(),
                kind: Kind::Link { target },
            });
        }
    } else if status.is_file() && of_others && status.size() <= FILE_LIMIT {
        entries.push(Entry {
            path: path.to_owned(),
            kind: Kind::File {
                mode: status.permissions().mode() & 0o755,
            },
        });
    } else if status.is_dir() && of_others && depth > 0 {
        entries.push(Entry {
            path: path.to_owned(),
            kind: Kind::Directory,
        });
        let mut names: Vec<_> = fs::read_dir(&full)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| name != "private")
            .collect();
        names.sort();
        for name in names {
            walk(etc, &path.join(name), depth - 1, digest, entries);
        }
    }
}

/// Copies what [`list`] found.
pub(super) fn copy(etc: &Path, entries: &[Entry], draft: &Draft) -> Result<(), StepError> {
    let inside = Path::new(ROOT).join("etc");
    for entry in entries {
        let place = inside.join(&entry.path);
        if let Some(parent) = place.parent() {
            // `ssl/certs` is listed, `ssl` is not.
            if !draft.path(parent).is_dir() {
                draft.directory(parent, 0o755)?;
            }
        }
        match &entry.kind {
            Kind::Directory => draft.directory(&place, 0o755)?,
            Kind::Link { target } => draft.link(&place, target)?,
            Kind::File { mode } => {
                let source = etc.join(&entry.path);
                let content = fs::read(&source).map_err(|error| {
                    StepError::new((Step::ReadSkeletonSource, source.display()), error)
                })?;
                if !holds_private_key(&content) {
                    draft.file(&place, *mode, content)?;
                }
            }
        }
    }
    Ok(())
}

fn holds_private_key(content: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    content.windows(MARK.len()).any(|window| window == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_everybody_may_read_is_taken_and_no_key() {
        let machine = tempfile::tempdir().expect("directory");
        let etc = machine.path().join("etc");
        let write = |name: &str, mode, text: &str| {
            let path = etc.join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        };
        write("profile", 0o644, "PS1=x\n");
        write("shadow", 0o644, "root:secret\n");
        write("vim/vimrc", 0o644, "syntax on\n");
        write("vim/mine", 0o600, "secret\n");
        write("ssl/private/key.pem", 0o644, "x\n");
        write("ssl/certs/a.pem", 0o644, "-----BEGIN CERTIFICATE-----\n");
        write("ssl/certs/b.pem", 0o644, "-----BEGIN PRIVATE KEY-----\n");
        write("python3.11/site", 0o644, "x\n");
        symlink("/usr/bin/vim.basic", etc.join("alternatives-link")).expect("link");
        symlink("/usr/share/zoneinfo/Etc/UTC", etc.join("localtime")).expect("link");

        let images = tempfile::tempdir().expect("directory");
        let entries = list(&etc, &mut Digest::new());
        let draft = Draft::begin(images.path(), "x")
            .expect("draft")
            .expect("new");
        draft
            .directory(Path::new(ROOT).join("etc"), 0o755)
            .expect("etc");
        copy(&etc, &entries, &draft).expect("copy");
        draft.publish("x").expect("publish");

        let made = images.path().join("x/root/etc");
        for there in ["profile", "vim/vimrc", "ssl/certs/a.pem", "python3.11/site"] {
            assert!(made.join(there).is_file(), "{there}");
        }
        for absent in [
            "shadow",
            "vim/mine",
            "ssl/private",
            "ssl/certs/b.pem",
            "alternatives-link",
        ] {
            assert!(made.join(absent).symlink_metadata().is_err(), "{absent}");
        }
        assert!(made.join("localtime").is_symlink());
        assert!(Draft::begin(images.path(), "x").expect("found").is_none());
    }
}
