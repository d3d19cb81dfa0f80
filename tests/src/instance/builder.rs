//! What can be said of an instance before it starts.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{ADMIN, Instance, PASSWORD};
use crate::client::Client;

/// How an instance is to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(super) account: bool,
    small_disk: bool,
    /// What its own processes see in place of a file of the machine's.
    covered: Option<(String, PathBuf)>,
    policy: Option<String>,
    environment: Vec<(String, String)>,
}

impl Builder {
    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Instance {
        let directory = tempfile::Builder::new()
            .prefix("porthole-")
            .tempdir()
            .expect("a directory");
        // The server's own account must get through to its part of the state.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("mode");
        let address = free_address();
        let mut instance = Instance {
            builder: self,
            directory: Some(directory),
            address,
            serve: None,
            admin: Client::anonymous(address),
            groups: Mutex::default(),
        };
        if let Some(policy) = &instance.builder.policy {
            fs::write(instance.policy_path(), policy).expect("a policy");
        }
        instance.serve();
        if instance.builder.account {
            instance.admin.sign_in(ADMIN, PASSWORD).ok();
        }
        instance
    }

    /// Without an account, as after an installation.
    #[must_use]
    pub fn without_account(mut self) -> Self {
        self.account = false;
        self
    }

    /// With its state on a disk of a few megabytes, which only its own processes see.
    #[must_use]
    pub fn on_small_disk(mut self) -> Self {
        self.small_disk = true;
        self
    }

    /// Without this program of the machine's, which is hidden from its own processes alone.
    #[must_use]
    pub fn without(mut self, program: &str) -> Self {
        self.covered = Some((program.to_owned(), "/dev/null".into()));
        self
    }

    /// With another file in place of this one of the machine's, for its own processes alone.
    #[must_use]
    pub fn with_file(mut self, place: &str, file: &Path) -> Self {
        self.covered = Some((place.to_owned(), file.to_owned()));
        self
    }

    /// With this policy of root's.
    #[must_use]
    pub fn with_policy(mut self, policy: &str) -> Self {
        self.policy = Some(policy.to_owned());
        self
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Instance {
    /// What can be said before it starts.
    pub fn builder() -> Builder {
        Builder {
            account: true,
            small_disk: false,
            covered: None,
            policy: None,
            environment: Vec::new(),
        }
    }

    /// The built program: `PORTHOLE_BIN`, or what `make build-debug` built.
    pub fn program() -> PathBuf {
        let built = || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("the workspace")
                .join("target/product/debug/porthole")
        };
        let program = std::env::var_os("PORTHOLE_BIN").map_or_else(built, PathBuf::from);
        assert!(
            program.is_file(),
            "{} is not there: run `make build-debug` first, as `make test` does",
            program.display()
        );
        program
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = if self.builder.small_disk {
            let mount = "mkdir -p \"$1\" && mount -t tmpfs -o size=6m,mode=0711 none \"$1\"";
            with_mount(mount, self.root().as_os_str())
        } else if let Some((place, file)) = &self.builder.covered {
            let mount = format!("mount --bind '{}' \"$1\"", file.display());
            with_mount(&mount, OsStr::new(place))
        } else {
            let mut command = Command::new(Self::program());
            command.arg("serve");
            command
        };
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PORTHOLE_LISTEN", self.address.to_string())
            .env("PORTHOLE_ROOT", self.root())
            .env("PORTHOLE_RUN", self.run())
            .env("PORTHOLE_SOCKET", self.run().join("porthole.sock"))
            // What the machine's own Porthole is told is not for this one.
            .env("PORTHOLE_CONFIG", self.path().join("config.toml"))
            .env("PORTHOLE_POLICY", self.policy_path())
            .stdin(Stdio::null());
        if self.builder.account {
            command.env("PORTHOLE_ADMIN_PASSWORD", PASSWORD);
        }
        for (name, value) in &self.builder.environment {
            command.env(name, value);
        }
        command
    }
}

/// The program, once this script has mounted something for it alone; `$1` is the place.
fn with_mount(script: &str, place: &OsStr) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(format!("{script} && exec \"$0\" serve"))
        .arg(Instance::program())
        .arg(place);
    command
}

/// An address that nobody listens on. Its port lies below those that the kernel gives to clients,
/// so that none of them takes it meanwhile.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 100).expect("below 100") * 100;
    loop {
        let port = 20_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
