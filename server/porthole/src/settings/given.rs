//! What each source says, and what of all of them is in force.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use porthole_protocol::container::Invalid;
use porthole_protocol::engines;
use serde::Deserialize;

use super::{FILE, Password, PublicUrl, Settings, SettingsError, Tls, user_limits};
use crate::access::limits::Said;
use crate::access::password::check_new;
use crate::access::proxy::Proxies;
use crate::store::audit::keep::KEPT;

/// Where it listens where nothing is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7678);

/// Fewer entries of the audit trail are not worth a file.
const LEAST_KEPT: u64 = 10;

/// What one source says. Also the form of the file, and of `porthole serve`'s flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Address to listen at [default: 127.0.0.1:7678]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Socket for local users of the group porthole [default: RUN/porthole.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Certificate, PEM; with it TLS is spoken, and nothing else
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Where people reach it behind a proxy
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Who says for whom a request is sent (X-Forwarded-For): accounts of this machine that a proxy
    /// runs as, and addresses of other machines, with commas between them
    #[arg(long, value_name = "ACCOUNT|ADDRESS,…")]
    pub trusted_proxy: Option<String>,
    /// State [default: /var/lib/porthole]
    #[arg(long, value_name = "DIRECTORY")]
    pub root: Option<PathBuf>,
    /// Sockets [default: /run/porthole]
    #[arg(long, value_name = "DIRECTORY")]
    pub run: Option<PathBuf>,
    /// Allow plain HTTP to be reached from other machines
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_http: Option<bool>,
    /// Password of the account admin, made where there is no account
    // A command line shows in every process list: from the environment or the file only.
    #[arg(skip)]
    pub admin_password: Option<String>,
    /// A file that holds it
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// What accounts may have in all where nothing is set for them, as a table of the file or as
    /// `containers = 10, memory = 4294967296`
    #[arg(skip)]
    pub user_limits: Option<Said>,
    /// How many entries of the audit trail stay in the database [default: 1000000]
    #[arg(long, value_name = "NUMBER")]
    pub audit_keep: Option<u64>,
}

impl Given {
    /// What the environment says.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| get(name).map(PathBuf::from);
        let insecure_http = match get("PORTHOLE_INSECURE_HTTP").as_deref() {
            None => None,
            Some("1" | "true" | "yes") => Some(true),
            Some("0" | "false" | "no") => Some(false),
            Some(value) => {
                return Err(SettingsError::value(
                    "PORTHOLE_INSECURE_HTTP",
                    value,
                    "it is 1 or 0",
                ));
            }
        };
        let user_limits = get("PORTHOLE_USER_LIMITS").map(|text| user_limits::parse(&text));
        let audit_keep = get("PORTHOLE_AUDIT_KEEP").map(|text| {
            let why = "it is a number of entries";
            text.parse()
                .map_err(|_| SettingsError::value("PORTHOLE_AUDIT_KEEP", text, why))
        });
        Ok(Self {
            user_limits: user_limits.transpose()?,
            audit_keep: audit_keep.transpose()?,
            listen: get("PORTHOLE_LISTEN"),
            socket: path("PORTHOLE_SOCKET"),
            tls_cert: path("PORTHOLE_TLS_CERT"),
            tls_key: path("PORTHOLE_TLS_KEY"),
            public_url: get("PORTHOLE_PUBLIC_URL"),
            trusted_proxy: get("PORTHOLE_TRUSTED_PROXY"),
            root: path("PORTHOLE_ROOT"),
            run: path("PORTHOLE_RUN"),
            insecure_http,
            admin_password: get("PORTHOLE_ADMIN_PASSWORD"),
            admin_password_file: path("PORTHOLE_ADMIN_PASSWORD_FILE"),
        })
    }

    /// What the file says; nothing where there is none.
    pub fn from_file(path: &Path) -> Result<Self, SettingsError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(SettingsError::unreadable(path, source)),
        };
        let given: Self = toml::from_str(&text).map_err(|source| SettingsError::Malformed {
            path: path.display().to_string(),
            source: Box::new(source),
        })?;
        if given.admin_password.is_some() && everybody_reads(path) {
            return Err(SettingsError::Exposed(path.display().to_string()));
        }
        Ok(given)
    }

    /// The file of a password, where every account of the machine can read it.
    pub fn exposed_password_file(&self) -> Option<&Path> {
        let file = self.admin_password_file.as_deref();
        file.filter(|file| everybody_reads(file))
    }

    /// This, and where it says nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        // A password and a file of one are the same setting: the nearer source's counts.
        let (admin_password, admin_password_file) =
            if self.admin_password.is_some() || self.admin_password_file.is_some() {
                (self.admin_password, self.admin_password_file)
            } else {
                (other.admin_password, other.admin_password_file)
            };
        Self {
            listen: self.listen.or(other.listen),
            socket: self.socket.or(other.socket),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            public_url: self.public_url.or(other.public_url),
            trusted_proxy: self.trusted_proxy.or(other.trusted_proxy),
            root: self.root.or(other.root),
            run: self.run.or(other.run),
            insecure_http: self.insecure_http.or(other.insecure_http),
            admin_password,
            admin_password_file,
            // One table: of two sources the nearer one's counts, field by field.
            user_limits: match (self.user_limits, other.user_limits) {
                (Some(own), Some(other)) => Some(own.or(other)),
                (own, other) => own.or(other),
            },
            audit_keep: self.audit_keep.or(other.audit_keep),
        }
    }

    /// Flags, then the environment, then the file.
    pub fn gather(flags: Self) -> Result<Self, SettingsError> {
        let variable = |name: &str| std::env::var(name).ok();
        let file = variable("PORTHOLE_CONFIG").unwrap_or_else(|| FILE.to_owned());
        Ok(flags
            .or(Self::from_env(variable)?)
            .or(Self::from_file(Path::new(&file))?))
    }

    /// What is in force.
    pub fn resolve(self) -> Result<Settings, SettingsError> {
        let tls = tls(self.tls_cert, self.tls_key)?;
        let listen = self.listen.as_deref().map_or(Ok(LISTEN), parse_listen)?;
        let insecure_http = self.insecure_http.unwrap_or(false);
        if !listen.ip().is_loopback() && !insecure_http && tls.is_none() {
            return Err(SettingsError::Insecure(listen));
        }
        let public_url = self.public_url.as_deref().map(parse_public_url);
        let public_url = public_url.transpose()?;
        let base_path = public_url.as_ref().map(|url| url.base_path.clone());
        let root = directory("PORTHOLE_ROOT", self.root, "/var/lib/porthole")?;
        let run = directory("PORTHOLE_RUN", self.run, "/run/porthole")?;
        Ok(Settings {
            listen,
            insecure_http,
            tls,
            socket: self.socket.unwrap_or_else(|| run.join("porthole.sock")),
            base_path: base_path.unwrap_or_default(),
            public_url,
            trusted_proxies: proxies(self.trusted_proxy)?,
            root,
            run,
            admin_password: password(self.admin_password, self.admin_password_file)?,
            engines: engines::Setting::default(),
            user_limits: self.user_limits.unwrap_or_default(),
            audit_keep: self.audit_keep.unwrap_or(KEPT).max(LEAST_KEPT),
        })
    }
}

/// Whether the file may be read by who is neither its owner nor of its group.
fn everybody_reads(file: &Path) -> bool {
    const OTHERS_READ: u32 = 0o004;
    std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & OTHERS_READ != 0)
}

fn tls(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Tls>, SettingsError> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(Tls {
            cert: absolute(cert),
            key: absolute(key),
        })),
        (Some(_), None) => Err(SettingsError::Half("PORTHOLE_TLS_CERT", "PORTHOLE_TLS_KEY")),
        (None, Some(_)) => Err(SettingsError::Half("PORTHOLE_TLS_KEY", "PORTHOLE_TLS_CERT")),
    }
}

/// What is said is said from here; who reads it starts elsewhere.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// A directory that Porthole's processes share.
fn directory(
    name: &'static str,
    said: Option<PathBuf>,
    usual: &str,
) -> Result<PathBuf, SettingsError> {
    let path = said.unwrap_or_else(|| usual.into());
    if !path.is_absolute() {
        let value = path.display().to_string();
        return Err(SettingsError::value(name, value, "it is an absolute path"));
    }
    Ok(path)
}

pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, SettingsError> {
    let parsed = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    let why = "it is an address and a port, such as 127.0.0.1:7678 or [::1]:7678";
    parsed.ok_or_else(|| SettingsError::value("PORTHOLE_LISTEN", text, why))
}

fn parse_public_url(text: &str) -> Result<PublicUrl, SettingsError> {
    text.parse()
        .map_err(|why: Invalid| SettingsError::value("PORTHOLE_PUBLIC_URL", text, why.to_string()))
}

/// Who is believed to say for whom a request is sent.
fn proxies(said: Option<String>) -> Result<Proxies, SettingsError> {
    let Some(text) = said else {
        return Ok(Proxies::default());
    };
    // Names are looked up only where there may be some.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Proxies::parse(&text, &passwd)
        .map_err(|why| SettingsError::value("PORTHOLE_TRUSTED_PROXY", text, why))
}

/// The password that was set, itself or by the file that it stands in.
fn password(
    said: Option<String>,
    file: Option<PathBuf>,
) -> Result<Option<Password>, SettingsError> {
    let password = match (said, file) {
        (Some(password), _) => password,
        (None, None) => return Ok(None),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| SettingsError::unreadable(&path, source))?;
            text.trim_end_matches(['\n', '\r']).to_owned()
        }
    };
    match check_new(&password) {
        Ok(()) => Ok(Some(Password(password))),
        Err(why) => Err(SettingsError::value(
            "PORTHOLE_ADMIN_PASSWORD",
            "…",
            why.message,
        )),
    }
}
