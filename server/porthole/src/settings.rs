//! Settings: flags, then `PORTHOLE_*`, then `/etc/porthole/config.toml`.
//!
//! Each source gives what it says as [`Given`]; putting them over one another and judging the
//! result happens once, in [`Given::resolve`], and touches nothing but the two files that it is
//! told of, and the list of accounts where it is told of one.

pub(crate) mod given;
mod public_url;
pub(crate) mod user_limits;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use porthole_protocol::engines;

use crate::access::limits::Said;
use crate::access::proxy::Proxies;

pub use given::Given;
pub use public_url::PublicUrl;

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
    /// Everybody could read a password.
    #[error(
        "{0} holds a password (admin_password), and every account of this machine can read it. Let only root read it: chmod 600 {0}"
    )]
    Exposed(String),
    /// Plain HTTP would leave the machine.
    #[error(
        "PORTHOLE_LISTEN is {0}, which other machines reach, and this would be plain HTTP: everybody on the way could read passwords and terminals. Give it a certificate (--tls-cert and --tls-key), listen on 127.0.0.1 behind a proxy that speaks TLS, or pass --insecure-http if the network is trusted."
    )]
    Insecure(SocketAddr),
    /// One without the other.
    #[error("{0} is set, and {1} is not: TLS needs a certificate and its key.")]
    Half(&'static str, &'static str),
}

impl SettingsError {
    fn value(name: &'static str, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value {
            name,
            value: value.into(),
            why: why.into(),
        }
    }

    fn unreadable(path: &Path, source: std::io::Error) -> Self {
        Self::Unreadable {
            path: path.display().to_string(),
            source,
        }
    }
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
    /// Who is believed to say for whom a request is sent.
    pub trusted_proxies: Proxies,
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
            ("PORTHOLE_USER_LIMITS", user_limits::text(&self.user_limits)),
            ("PORTHOLE_AUDIT_KEEP", self.audit_keep.to_string()),
        ];
        if let Some(Tls { cert, key }) = &self.tls {
            env.push(("PORTHOLE_TLS_CERT", cert.display().to_string()));
            env.push(("PORTHOLE_TLS_KEY", key.display().to_string()));
        }
        if let Some(url) = &self.public_url {
            env.push(("PORTHOLE_PUBLIC_URL", url.to_string()));
        }
        if self.trusted_proxies != Proxies::default() {
            let proxies = self.trusted_proxies.to_string();
            env.push(("PORTHOLE_TRUSTED_PROXY", proxies));
        }
        if let Some(Password(password)) = &self.admin_password {
            env.push(("PORTHOLE_ADMIN_PASSWORD", password.clone()));
        }
        env
    }
}

#[cfg(test)]
mod tests;
