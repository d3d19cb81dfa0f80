//! What root allows the server to ask for.
//!
//! The file is optional, and without it nothing is allowed. One that somebody other than root
//! could have written is not believed, and one that cannot be understood is not guessed at: both
//! keep the keeper from starting, with words that say what to do.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use porthole_protocol::keeper::Policy;

/// Where it is unless `PORTHOLE_POLICY` names another place.
pub(crate) const PATH: &str = "/etc/porthole/policy.toml";

/// More than a policy can need.
const SIZE_LIMIT: u64 = 64 * 1024;

/// Why the policy is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("cannot read the policy {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the policy {path} is not believed: it must be a regular file that belongs to root and that only root can write (chown root {path}; chmod go-w {path})"
    )]
    Writable { path: PathBuf },
    #[error("the policy {path} cannot be understood: {why}")]
    Malformed { path: PathBuf, why: String },
}

/// Reads the policy at this path.
pub(crate) fn read(path: &Path) -> Result<Policy, PolicyError> {
    let failed = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Policy::default()),
        Err(error) => return Err(failed(error)),
    };
    // Asked of the open file, so that it is the one that is then read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(PolicyError::Writable {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    file.take(SIZE_LIMIT)
        .read_to_string(&mut text)
        .map_err(failed)?;
    parse(&text).map_err(|why| PolicyError::Malformed {
        path: path.to_owned(),
        why,
    })
}

fn parse(text: &str) -> Result<Policy, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_not_said_is_not_allowed() {
        assert_eq!(parse(""), Ok(Policy::default()));
        assert!(!Policy::default().host_namespaces && !Policy::default().join_foreign);
        let policy = parse("# root's\nhost_namespaces = true\n").expect("valid");
        assert!(policy.host_namespaces && !policy.join_foreign);
    }

    #[test]
    fn a_word_that_it_does_not_know_is_named() {
        let why = parse("host_namespace = true").expect_err("refused");
        assert!(why.contains("host_namespace"), "{why}");
        assert!(parse("host_namespaces = \"yes\"").is_err());
        assert!(parse("host_namespaces").is_err());
    }

    #[test]
    fn a_file_that_others_can_write_is_not_believed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("policy.toml");
        assert_eq!(read(&path).expect("no file"), Policy::default());
        std::fs::write(&path, "join_foreign = true\n").expect("write");
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        };
        mode(0o644);
        if !rustix::process::geteuid().is_root() {
            assert!(matches!(read(&path), Err(PolicyError::Writable { .. })));
            return;
        }
        assert!(read(&path).expect("root's").join_foreign, "control");
        for bad in [0o664, 0o646, 0o666] {
            mode(bad);
            let why = read(&path).expect_err("refused").to_string();
            assert!(why.contains("chmod go-w"), "{why}");
        }
        mode(0o644);
        std::os::unix::fs::chown(&path, Some(1), None).expect("chown");
        assert!(matches!(read(&path), Err(PolicyError::Writable { .. })));
        assert!(matches!(
            read(directory.path()),
            Err(PolicyError::Writable { .. } | PolicyError::Read { .. })
        ));
    }
}
