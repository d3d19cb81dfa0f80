//! A small Debian of the mirror that this machine's own apt is configured with, made once for all
//! tests of a run.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where this machine's apt gets its packages.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// The archive's address, as apt has it.
    pub uri: String,
    /// The proxy that apt goes by, as an address, if any.
    pub proxy: Option<String>,
}

impl Mirror {
    /// The first archive of apt's sources, or why there is none that speaks plain HTTP.
    pub fn of_this_machine() -> Result<Self, String> {
        let targets = tell(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(COMPONENT)",
            "Created-By: Packages",
        ]))?;
        let first = targets.lines().find_map(|line| {
            let mut words = line.split(' ');
            let uri = words.next()?;
            let plain = uri.starts_with("http://") && words.next() == Some("main");
            plain.then(|| uri.to_owned())
        });
        let uri = first.ok_or("apt has no source that is reached by http")?;
        let proxy = proxy()?;
        Ok(Self { uri, proxy })
    }

    /// Whom apt connects to: the proxy, or else the mirror.
    pub fn peer(&self) -> Option<(String, u16)> {
        let address = self.proxy.as_ref().unwrap_or(&self.uri);
        let host = address.split_once("://")?.1.split('/').next()?;
        let host = host.rsplit('@').next()?;
        Some(match host.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().ok()?),
            None => (host.to_owned(), 80),
        })
    }
}

/// The environment's first, as apt has it, or else what its configuration says.
fn proxy() -> Result<Option<String>, String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(proxy) = set("http_proxy") {
        return Ok(Some(proxy));
    }
    let told = tell(Command::new("apt-config").args(["shell", "PROXY", "Acquire::http::Proxy"]))?;
    let value = told.trim().strip_prefix("PROXY='");
    let value = value.and_then(|rest| rest.strip_suffix('\''));
    Ok(value
        .filter(|value| !["", "DIRECT", "false"].contains(value))
        .map(str::to_owned))
}

fn tell(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// The archive of a root with nothing in it but what Debian cannot be without, apt among it: as a
/// path that this process can open. It has no other name, so that it goes with the process.
///
/// # Errors
/// Why none can be made here: mmdebstrap or the mirror is not there.
pub fn minbase() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<File, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make().inspect_err(|why| eprintln!("no Debian: {why}")));
    let file = made.as_ref().map_err(Clone::clone)?;
    Ok(format!("/proc/self/fd/{}", file.as_raw_fd()).into())
}

fn make() -> Result<File, String> {
    let mirror = Mirror::of_this_machine()?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("debian.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=root", "bookworm"]);
    tell(command.arg(&path).arg(&mirror.uri))?;
    File::open(&path).map_err(|error| error.to_string())
}
