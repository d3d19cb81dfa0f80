//! Settings: flags, then `PORTHOLE_*`, then `/etc/porthole/config.toml`.
//!
//! Each source gives what it says as [`Given`]; putting them over one another and judging the
//! result happens once, in [`Given::resolve`], and touches nothing but the two files that it is
//! told of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use axum::http::Uri;
use porthole_protocol::container::Invalid;
use porthole_protocol::engines;
use serde::Deserialize;

use crate::access::limits::{Ceiling, Kind, Said, UNLIMITED};
use crate::access::password::check_new;
use crate::store::audit::keep::KEPT;

/// Where the file is, unless `PORTHOLE_CONFIG` names another.
pub const FILE: &str = "/etc/porthole/config.toml";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is there and cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: String,
        /// Where, and what is wrong.
        source: Box<toml::de::Error>,
    },
    /// A value cannot be used.
    #[error("{name}: \"{value}\" cannot be used: {why}")]
    Value {
        /// The setting, as a variable.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What is allowed.
        why: String,
    },
    /// Plain HTTP would leave the machine.
    #[error(
        "PORTHOLE_LISTEN is {0}, which other machines reach, and this would be plain HTTP: everybody on the way could read passwords and terminals. Give it a certificate (--tls-cert and --tls-key), listen on 127.0.0.1 behind a proxy that speaks TLS, or pass --insecure-http if the network is trusted."
    )]
    Insecure(SocketAddr),
    /// One without the other.
    #[error("{0} is set, and {1} is not: TLS needs a certificate and its key.")]
    Half(&'static str, &'static str),
}

/// Where people reach Porthole behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The name, in lower case.
    pub host: String,
    /// The port, where it is not the scheme's own.
    pub port: Option<u16>,
    /// `""` or `/porthole`.
    pub base_path: String,
}

impl FromStr for PublicUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("it is an address such as https://example.org/porthole");
        let uri: Uri = text.parse().map_err(|_| WHY)?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(WHY),
        };
        let authority = uri.authority().ok_or(WHY)?;
        let base_path = uri.path().trim_end_matches('/');
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
        if authority.as_str().contains('@')
            || uri.query().is_some()
            || !base_path.bytes().all(plain)
            || base_path.contains("//")
            || base_path.split('/').any(|part| part == ".." || part == ".")
        {
            return Err(WHY);
        }
        Ok(Self {
            scheme,
            host: authority
                .host()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_ascii_lowercase(),
            port: authority.port_u16(),
            base_path: base_path.to_owned(),
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            host,
            port,
            base_path,
        } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]")?;
        } else {
            write!(f, "{scheme}://{host}")?;
        }
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        f.write_str(base_path)
    }
}

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
                return Err(SettingsError::Value {
                    name: "PORTHOLE_INSECURE_HTTP",
                    value: value.to_owned(),
                    why: "it is 1 or 0".to_owned(),
                });
            }
        };
        let user_limits = get("PORTHOLE_USER_LIMITS").map(|text| parse_limits(&text));
        let audit_keep = get("PORTHOLE_AUDIT_KEEP").map(|text| {
            text.parse().map_err(|_| SettingsError::Value {
                name: "PORTHOLE_AUDIT_KEEP",
                value: text.clone(),
                why: "it is a number of entries".to_owned(),
            })
        });
        Ok(Self {
            user_limits: user_limits.transpose()?,
            audit_keep: audit_keep.transpose()?,
            listen: get("PORTHOLE_LISTEN"),
            socket: path("PORTHOLE_SOCKET"),
            tls_cert: path("PORTHOLE_TLS_CERT"),
            tls_key: path("PORTHOLE_TLS_KEY"),
            public_url: get("PORTHOLE_PUBLIC_URL"),
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
            Err(source) => {
                return Err(SettingsError::Unreadable {
                    path: path.display().to_string(),
                    source,
                });
            }
        };
        toml::from_str(&text).map_err(|source| SettingsError::Malformed {
            path: path.display().to_string(),
            source: Box::new(source),
        })
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
        let tls = match (self.tls_cert, self.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Tls {
                cert: absolute(cert),
                key: absolute(key),
            }),
            (Some(_), None) => {
                return Err(SettingsError::Half("PORTHOLE_TLS_CERT", "PORTHOLE_TLS_KEY"));
            }
            (None, Some(_)) => {
                return Err(SettingsError::Half("PORTHOLE_TLS_KEY", "PORTHOLE_TLS_CERT"));
            }
        };
        let listen = self.listen.as_deref().map_or(
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 7678))),
            parse_listen,
        )?;
        let insecure_http = self.insecure_http.unwrap_or(false);
        if !listen.ip().is_loopback() && !insecure_http && tls.is_none() {
            return Err(SettingsError::Insecure(listen));
        }
        let public_url = match self.public_url {
            None => None,
            Some(text) => Some(text.parse().map_err(|why: Invalid| SettingsError::Value {
                name: "PORTHOLE_PUBLIC_URL",
                value: text.clone(),
                why: why.to_string(),
            })?),
        };
        let root = self.root.unwrap_or_else(|| "/var/lib/porthole".into());
        let run = self.run.unwrap_or_else(|| "/run/porthole".into());
        for (name, path) in [("PORTHOLE_ROOT", &root), ("PORTHOLE_RUN", &run)] {
            if !path.is_absolute() {
                return Err(SettingsError::Value {
                    name,
                    value: path.display().to_string(),
                    why: "it is an absolute path".to_owned(),
                });
            }
        }
        let admin_password = match (self.admin_password, self.admin_password_file) {
            (Some(password), _) => Some(password),
            (None, None) => None,
            (None, Some(path)) => {
                let text =
                    std::fs::read_to_string(&path).map_err(|source| SettingsError::Unreadable {
                        path: path.display().to_string(),
                        source,
                    })?;
                Some(text.trim_end_matches(['\n', '\r']).to_owned())
            }
        };
        if let Some(Err(why)) = admin_password.as_deref().map(check_new) {
            return Err(SettingsError::Value {
                name: "PORTHOLE_ADMIN_PASSWORD",
                value: "…".to_owned(),
                why: why.message,
            });
        }
        Ok(Settings {
            listen,
            insecure_http,
            tls,
            socket: self.socket.unwrap_or_else(|| run.join("porthole.sock")),
            base_path: public_url
                .as_ref()
                .map(|url: &PublicUrl| url.base_path.clone())
                .unwrap_or_default(),
            public_url,
            root,
            run,
            admin_password: admin_password.map(Password),
            engines: engines::Setting::default(),
            user_limits: self.user_limits.unwrap_or_default(),
            audit_keep: self.audit_keep.unwrap_or(KEPT).max(LEAST_KEPT),
        })
    }
}

/// Fewer entries of the audit trail are not worth a file.
const LEAST_KEPT: u64 = 10;

/// The inside of a table of TOML in one line.
fn parse_limits(text: &str) -> Result<Said, SettingsError> {
    #[derive(Deserialize)]
    struct Table {
        limits: Said,
    }
    let table = toml::from_str::<Table>(&format!("limits = {{ {text} }}"));
    table
        .map(|table| table.limits)
        .map_err(|why| SettingsError::Value {
            name: "PORTHOLE_USER_LIMITS",
            value: text.to_owned(),
            why: format!(
                "it is as \"containers = 10, sessions = 5, memory = 4294967296, cpus = 2, pids = \"unlimited\"\": {}",
                why.message()
            ),
        })
}

/// The same as [`parse_limits`] reads it.
fn limits_text(limits: &Said) -> String {
    let of = |kind: Kind| match limits.get(kind)? {
        Ceiling::Most(amount) => Some(format!("{} = {}", kind.name(), kind.json(amount))),
        Ceiling::Unlimited => Some(format!("{} = \"{UNLIMITED}\"", kind.name())),
    };
    let said: Vec<_> = Kind::ALL.into_iter().filter_map(of).collect();
    said.join(", ")
}

/// What is said is said from here; who reads it starts elsewhere.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn parse_listen(text: &str) -> Result<SocketAddr, SettingsError> {
    let parsed = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::from((IpAddr::from(Ipv4Addr::LOCALHOST), port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| SettingsError::Value {
        name: "PORTHOLE_LISTEN",
        value: text.to_owned(),
        why: "it is an address and a port, such as 127.0.0.1:7678 or [::1]:7678".to_owned(),
    })
}

/// The files that TLS is spoken by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those that it was signed by.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A password that does not show in debugging output.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a password)")
    }
}

/// What is in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether plain HTTP may leave the machine.
    pub insecure_http: bool,
    /// By what TLS is spoken, where it is.
    pub tls: Option<Tls>,
    /// The socket for local users.
    pub socket: PathBuf,
    /// Where people reach it behind a proxy.
    pub public_url: Option<PublicUrl>,
    /// Path below which people see Porthole, `""` or `/porthole`: stands before every address.
    pub base_path: String,
    /// State.
    pub root: PathBuf,
    /// Sockets.
    pub run: PathBuf,
    /// For the account `admin`, where there is no account yet.
    pub admin_password: Option<Password>,
    /// Which other engines root's policy lets it ask, as `serve` tells.
    pub engines: engines::Setting,
    /// What accounts may have in all where nothing is set for them.
    pub user_limits: Said,
    /// How many entries of the audit trail stay in the database.
    pub audit_keep: u64,
}

impl Settings {
    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.root.join("server/porthole.db")
    }

    /// Where journals are.
    pub fn journals(&self) -> PathBuf {
        self.root.join("server/journals")
    }

    /// Where the keeper listens.
    pub fn keeper_socket(&self) -> PathBuf {
        self.run.join("keeper.sock")
    }

    /// Where the engines broker listens.
    pub fn engines_socket(&self) -> PathBuf {
        self.run.join("engines.sock")
    }

    /// The address that a person opens, without a slash at its end.
    pub fn address(&self) -> String {
        let scheme = self.scheme();
        match &self.public_url {
            Some(url) => url.to_string(),
            None if self.listen.ip().is_unspecified() => {
                format!("{scheme}://127.0.0.1:{}", self.listen.port())
            }
            None => format!("{scheme}://{}", self.listen),
        }
    }

    /// What is spoken where it listens.
    pub const fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// The same settings as variables, for the supervisor and the server that it starts.
    pub fn to_env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("PORTHOLE_LISTEN", self.listen.to_string()),
            ("PORTHOLE_SOCKET", self.socket.display().to_string()),
            ("PORTHOLE_ROOT", self.root.display().to_string()),
            ("PORTHOLE_RUN", self.run.display().to_string()),
            (
                "PORTHOLE_INSECURE_HTTP",
                u8::from(self.insecure_http).to_string(),
            ),
            ("PORTHOLE_USER_LIMITS", limits_text(&self.user_limits)),
            ("PORTHOLE_AUDIT_KEEP", self.audit_keep.to_string()),
        ];
        if let Some(Tls { cert, key }) = &self.tls {
            env.push(("PORTHOLE_TLS_CERT", cert.display().to_string()));
            env.push(("PORTHOLE_TLS_KEY", key.display().to_string()));
        }
        if let Some(url) = &self.public_url {
            env.push(("PORTHOLE_PUBLIC_URL", url.to_string()));
        }
        if let Some(Password(password)) = &self.admin_password {
            env.push(("PORTHOLE_ADMIN_PASSWORD", password.clone()));
        }
        env
    }
}

#[cfg(test)]
mod tests;
