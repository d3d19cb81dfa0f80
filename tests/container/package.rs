//! The Debian package, in a Debian of its own that is made for it. `make test-vm` tries it with systemd.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use porthole_tests::Instance;
use tempfile::TempDir;

/// A Debian below a directory.
struct Debian {
    directory: TempDir,
}

impl Debian {
    /// `None`, and the cause on standard error, where none can be made.
    fn make() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let made = Command::new("mmdebstrap")
            .args(["--quiet", "--format=directory", "--variant=minbase"])
            .args(["--include=nftables,procps", "bookworm"])
            .arg(directory.path().join("root"))
            .output();
        match made {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                eprintln!("SKIPPED: no Debian can be made here: {said}");
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: mmdebstrap: {error}; `make setup-test` installs it");
                None
            }
        }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join("root").join(inside)
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new("chroot")
            .arg(self.path(""))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .expect("chroot")
    }

    /// What it says; it must succeed.
    #[track_caller]
    fn tell(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }

    /// Which files there are that a package could leave, beside logs and dpkg's own.
    fn files(&self) -> Vec<String> {
        let list = self.tell(&[
            "find",
            "/etc",
            "/usr",
            "/var/lib",
            "/run",
            "-not",
            "-path",
            "/var/lib/dpkg/*",
        ]);
        // Copies that the tools for accounts leave of what was before.
        let mut files: Vec<String> = list
            .lines()
            .filter(|line| !line.ends_with('-'))
            .map(str::to_owned)
            .collect();
        files.sort();
        files
    }
}

/// Builds a package of the programs under test.
fn build(version: &str, out: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/packaging/build");
    let program = Instance::program();
    let output = Command::new(script)
        .arg(program.parent().expect("a directory"))
        .arg(out)
        .env("PORTHOLE_VERSION", version)
        .env("PORTHOLE_COMPRESSION", "gzip")
        .output()
        .expect("the script");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).trim().into()
}

#[test]
fn the_package_is_installed_upgraded_removed_and_purged_without_a_trace() {
    let Some(debian) = Debian::make() else { return };
    let before = debian.files();
    let accounts = || {
        ["etc/passwd", "etc/group"].map(|file| fs::read_to_string(debian.path(file)).expect("read"))
    };
    let nobody = accounts();
    let settings = debian.path("etc/porthole/config.toml");
    let mode = || {
        let kept = fs::metadata(&settings).expect("settings");
        (kept.permissions().mode() & 0o7777, kept.uid(), kept.gid())
    };
    for version in ["0.1.0", "0.1.1", "0.1.2"] {
        let package = build(version, debian.path("root").as_path());
        let inside = format!(
            "/root/{}",
            package.file_name().expect("a name").to_string_lossy()
        );
        debian.tell(&["dpkg", "--install", &inside]);
        let state = debian.tell(&[
            "dpkg-query",
            "--show",
            "--showformat",
            "${db:Status-Status} ${Version}",
            "porthole",
        ]);
        assert_eq!(state, format!("installed {version}"));
        // A setting of the machine's own lives through the next version, and who may read it where
        // there is no password in it.
        let text = fs::read_to_string(&settings).expect("settings");
        assert_eq!(text.contains("# kept"), version != "0.1.0");
        let (may_read, password) = match version {
            "0.1.0" => (0o600, "# admin_password = \"a comment\"\n"),
            "0.1.1" => (0o644, "  admin_password = \"correct horse\"\n"),
            _ => (0o640, ""),
        };
        assert_eq!(mode(), (may_read, 0, 0), "{version}");
        assert_eq!(text.contains("correct horse"), version == "0.1.2");
        fs::write(&settings, text + "# kept\n" + password).expect("written");
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&settings, open).expect("set");
    }
    let [passwd, group] = accounts();
    for name in ["porthole:", "porthole-engines:"] {
        assert!(
            passwd.contains(&format!("\n{name}")) && group.contains(&format!("\n{name}")),
            "{name}"
        );
    }
    assert!(
        debian
            .tell(&["porthole", "version"])
            .starts_with("porthole ")
    );
    // Opened again by somebody, it is told before anything is read.
    let exposed = debian.run(&["porthole", "serve"]);
    let said = String::from_utf8_lossy(&exposed.stderr).into_owned();
    assert!(
        said.contains("chmod 600 /etc/porthole/config.toml"),
        "{said}"
    );
    let root_is_asked_for = debian.run(&["setpriv", "--reuid=65534", "porthole", "serve"]);
    assert!(String::from_utf8_lossy(&root_is_asked_for.stderr).contains("needs root"));
    for file in [
        "usr/share/man/man1/porthole-serve.1.gz",
        "usr/share/bash-completion/completions/porthole",
        "usr/lib/systemd/system/porthole.service",
        "etc/systemd/system/multi-user.target.wants/porthole.service",
    ] {
        assert!(fs::symlink_metadata(debian.path(file)).is_ok(), "{file}");
    }
    assert_eq!(
        debian
            .tell(&["dpkg", "--verify", "porthole"])
            .lines()
            .filter(|line| !line.ends_with("config.toml"))
            .count(),
        0
    );

    // What containers have written stays over a removal, and goes with a purge.
    let state = debian.path("var/lib/porthole/keeper");
    fs::create_dir_all(&state).expect("made");
    debian.tell(&["dpkg", "--remove", "porthole"]);
    assert!(!debian.path("usr/lib/porthole").exists());
    assert!(
        state.exists() && accounts() != nobody,
        "a removal takes only programs"
    );
    debian.tell(&["dpkg", "--purge", "porthole"]);
    assert_eq!(accounts(), nobody);
    assert_eq!(debian.files(), before);
}
