//! Making an image's layers on disk: built beside their place, then renamed into it, so that what
//! is there is whole.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use crate::step::{Step, StepError};

/// The layer of the root directory.
pub(super) const ROOT: &str = "root";

/// Changes whenever the same sources make something else.
const RECIPE: u32 = 2;

/// Directories that every root has, with their modes.
const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/user", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// The ordinary account that every image has.
pub(super) const USER: u32 = 1000;

/// What identifies the sources of layers.
pub(super) struct Digest(DefaultHasher);

impl Digest {
    pub(super) fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        RECIPE.hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Self(hasher)
    }

    pub(super) fn add(&mut self, value: impl Hash) {
        value.hash(&mut self.0);
    }

    pub(super) fn name(self, image: &str) -> String {
        format!("{image}-{:016x}", self.0.finish())
    }
}

/// Layers that are being made. Whatever has been made is deleted unless [`Draft::publish`] is
/// reached.
pub(super) struct Draft {
    path: PathBuf,
    published: bool,
}

impl Draft {
    /// Begins layers of this name; `None` where they are already there.
    pub(super) fn begin(directory: &Path, name: &str) -> Result<Option<Self>, StepError> {
        if directory.join(name).is_dir() {
            return Ok(None);
        }
        let path = directory.join(format!("{name}.part"));
        let failed = |error| StepError::new((Step::MakeSkeleton, path.display()), error);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        fs::create_dir(&path).map_err(failed)?;
        Ok(Some(Self {
            path,
            published: false,
        }))
    }

    /// The path of something in these layers.
    pub(super) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path.join(below)
    }

    pub(super) fn directory(&self, below: impl AsRef<Path>, mode: u32) -> Result<(), StepError> {
        let path = self.path(below);
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(|error| StepError::new((Step::MakeSkeleton, path.display()), error))
    }

    pub(super) fn file(
        &self,
        below: impl AsRef<Path>,
        mode: u32,
        content: impl AsRef<[u8]>,
    ) -> Result<(), StepError> {
        let path = self.path(below);
        fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(|error| StepError::new((Step::MakeSkeleton, path.display()), error))
    }

    pub(super) fn link(
        &self,
        below: impl AsRef<Path>,
        target: impl AsRef<Path>,
    ) -> Result<(), StepError> {
        let path = self.path(below);
        symlink(target, &path)
            .map_err(|error| StepError::new((Step::MakeSkeleton, path.display()), error))
    }

    /// The directories and accounts that every root has.
    pub(super) fn base(&self, shell: &str) -> Result<(), StepError> {
        self.directory(ROOT, 0o755)?;
        let root = Path::new(ROOT);
        for (name, mode) in DIRECTORIES {
            self.directory(root.join(name), *mode)?;
        }
        let home = self.path(root.join("home/user"));
        chown(&home, Some(USER), Some(USER))
            .map_err(|error| StepError::new((Step::MakeSkeleton, home.display()), error))?;
        self.link(root.join("var/run"), "/run")?;
        self.link(root.join("var/lock"), "/run/lock")?;
        self.link(root.join("etc/mtab"), "/proc/mounts")?;
        self.file(root.join("etc/passwd"), 0o644, passwd(shell))?;
        self.file(root.join("etc/group"), 0o644, GROUP)?;
        self.file(root.join("etc/nsswitch.conf"), 0o644, NSSWITCH)?;
        self.file(root.join("etc/hostname"), 0o644, "localhost\n")
    }

    /// Puts the layers into their place.
    pub(super) fn publish(mut self, name: &str) -> Result<(), StepError> {
        let place = self.path.with_file_name(name);
        // What is there counts as whole, for good: it is on the disk before its name is.
        fs::File::open(&self.path)
            .and_then(|opened| Ok(rustix::fs::syncfs(&opened)?))
            .map_err(|error| StepError::new((Step::MakeSkeleton, self.path.display()), error))?;
        fs::rename(&self.path, &place)
            .map_err(|error| StepError::new((Step::MakeSkeleton, place.display()), error))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn passwd(shell: &str) -> String {
    format!(
        "root:x:0:0:root:/root:{shell}\n\
         daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         bin:x:2:2:bin:/bin:/usr/sbin/nologin\n\
         sys:x:3:3:sys:/dev:/usr/sbin/nologin\n\
         man:x:6:12:man:/var/cache/man:/usr/sbin/nologin\n\
         mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n\
         www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
         user:x:{USER}:{USER}:user:/home/user:{shell}\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
}

const GROUP: &str = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\n\
    man:x:12:\nmail:x:8:\nutmp:x:43:\nshadow:x:42:\nstaff:x:50:\nwww-data:x:33:\n\
    users:x:100:user\nuser:x:1000:\nnogroup:x:65534:\n";

/// No plugin of the machine's: accounts and names come from files.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n\
    networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n";
