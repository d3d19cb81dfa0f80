//! The address that people reach Porthole by.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use axum::http::Uri;
use porthole_protocol::container::Invalid;

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
        let (host, port) = (authority.host(), authority.port_u16());
        let behind = authority.as_str().strip_prefix(host);
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let in_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(in_name),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
        if authority.as_str().contains('@')
            || !is_host
            || uri.query().is_some()
            // What is no port, such as 99999, would be left out.
            || port.is_none() && behind != Some("")
            || !base_path.bytes().all(plain)
            || base_path.contains("//")
            || base_path.split('/').any(|part| part == ".." || part == ".")
        {
            return Err(WHY);
        }
        Ok(Self {
            scheme,
            host: bracketed.unwrap_or(host).to_ascii_lowercase(),
            port,
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
