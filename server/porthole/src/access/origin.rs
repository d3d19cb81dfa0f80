//! Which names the server answers to, and which pages may make a browser send something.
//!
//! A page elsewhere can make a browser send requests here with the cookie, or give its own name
//! this server's address (DNS rebinding). Against the second only known names are answered;
//! against the first, changes and upgrades need an `Origin` that is the request's own.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};

use crate::Refusal;
use crate::settings::PublicUrl;

/// Where a request was addressed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The name or address without a port, in lower case, without the brackets of IPv6.
    pub host: String,
    /// Name and port as the request has them, in lower case.
    pub authority: String,
}

impl Address {
    /// `scheme://host:port`, the only origin that may change anything.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Whether a browser takes a `Secure` cookie from here: over TLS, and over a loopback name.
    pub fn is_secure(&self) -> bool {
        self.scheme == "https" || is_loopback(&self.host)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The names that are answered to.
#[derive(Debug, Clone)]
pub struct Names {
    /// What the server listens at.
    pub listen: IpAddr,
    /// What is spoken there.
    pub scheme: &'static str,
    /// Where people reach it.
    pub public: Option<PublicUrl>,
}

impl Names {
    /// The address of a request, or why it is refused. Any port is taken, so that a tunnel works.
    pub fn address(&self, uri: &Uri, headers: &HeaderMap) -> Result<Address, Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        let host = host.and_then(|h| h.to_str().ok());
        if more.is_some() {
            return Err(Refusal::malformed("The request has two Host headers."));
        }
        let host = match (uri.authority(), host) {
            (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
                return Err(Refusal::malformed(
                    "The request's address and its Host header differ.",
                ));
            }
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host,
            (None, None) => return Err(Refusal::malformed("The request has no Host header.")),
        };
        let authority = host.to_ascii_lowercase();
        let parsed: Authority = authority
            .parse()
            .map_err(|_| Refusal::malformed("The Host header holds no host name."))?;
        if authority.contains('@') {
            return Err(Refusal::malformed("The Host header holds no host name."));
        }
        let host = parsed
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let scheme = self.scheme(&host).ok_or_else(|| {
            Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "unknown_host",
                "Porthole does not answer to this name. Use its listen address or localhost, or set PORTHOLE_PUBLIC_URL to the address that people use.",
            )
        })?;
        Ok(Address {
            scheme,
            host,
            authority,
        })
    }

    fn scheme(&self, host: &str) -> Option<&'static str> {
        if let Some(public) = &self.public
            && public.host == host
        {
            return Some(public.scheme);
        }
        let ip = host.parse::<IpAddr>().ok();
        // A page elsewhere can have its name point here, but cannot have a bare address for one.
        let known = is_loopback(host)
            || ip.is_some_and(|ip| ip == self.listen || self.listen.is_unspecified());
        known.then_some(self.scheme)
    }
}

/// Whether a request could change something or open a channel.
pub fn changes(method: &Method, headers: &HeaderMap) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        || headers.contains_key(header::UPGRADE)
}

/// Refuses a request that a page of another origin may have caused. `by_cookie`: a browser proves
/// who it is by itself, so that an `Origin` must be there; otherwise one that is there must match.
pub fn check(address: &Address, headers: &HeaderMap, by_cookie: bool) -> Result<(), Refusal> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let matches = match (origins.next(), origins.next()) {
        (None, _) => !by_cookie,
        (Some(origin), None) => origin
            .to_str()
            .is_ok_and(|origin| is_origin(origin, address)),
        (Some(_), Some(_)) => false,
    };
    if matches {
        Ok(())
    } else {
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "origin",
            format!(
                "A change needs the header \"Origin: {}\". Behind a proxy, set PORTHOLE_PUBLIC_URL to the address that people use.",
                address.origin()
            ),
        ))
    }
}

/// Browsers leave out a scheme's own port in both headers; a proxy may have added it to Host.
fn is_origin(origin: &str, address: &Address) -> bool {
    let own = if address.scheme == "https" {
        ":443"
    } else {
        ":80"
    };
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    scheme == address.scheme
        && authority.strip_suffix(own).unwrap_or(authority)
            == address
                .authority
                .strip_suffix(own)
                .unwrap_or(&address.authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listen: &str, public: Option<&str>) -> Names {
        Names {
            listen: listen.parse().expect("an address"),
            scheme: "http",
            public: public.map(|p| p.parse().expect("a public url")),
        }
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.clone(), value.parse().expect("a value"));
        }
        map
    }

    fn address(names: &Names, host: &str) -> Result<Address, Refusal> {
        names.address(&Uri::from_static("/"), &headers(&[(header::HOST, host)]))
    }

    #[test]
    fn only_known_names_are_answered_to() {
        let local = names("127.0.0.1", Some("https://port.example/hole"));
        for (host, status) in [
            ("127.0.0.1:7678", None),
            ("localhost", None),
            ("LOCALHOST:9", None),
            ("[::1]:7678", None),
            ("127.0.0.1:1", None),
            ("port.example", None),
            ("port.example:8443", None),
            ("evil.example", Some(421)),
            ("localhost.evil.example", Some(421)),
            ("192.0.2.7", Some(421)),
            ("port.example@evil.example", Some(400)),
            ("127.0.0.1@evil.example", Some(400)),
            ("", Some(400)),
            ("a b", Some(400)),
        ] {
            let refused = address(&local, host).err().map(|r| r.status.as_u16());
            assert_eq!(refused, status, "{host:?}");
        }
        let everywhere = names("0.0.0.0", None);
        assert!(address(&everywhere, "192.0.2.7:7678").is_ok());
        assert!(address(&everywhere, "evil.example").is_err());
    }

    #[test]
    fn two_answers_to_where_are_none() {
        let names = names("127.0.0.1", None);
        let two = headers(&[(header::HOST, "localhost"), (header::HOST, "evil.example")]);
        assert!(names.address(&Uri::from_static("/"), &two).is_err());
        let one = headers(&[(header::HOST, "localhost")]);
        let elsewhere = Uri::from_static("http://evil.example/");
        assert!(names.address(&elsewhere, &one).is_err());
        let here = Uri::from_static("http://localhost/");
        assert!(names.address(&here, &one).is_ok());
    }

    #[test]
    fn an_origin_must_be_the_requests_own() {
        let names = names("127.0.0.1", Some("https://port.example"));
        for (host, origin, by_cookie, allowed) in [
            ("127.0.0.1:7678", Some("http://127.0.0.1:7678"), true, true),
            ("localhost:9", Some("http://localhost:9"), true, true),
            ("port.example", Some("https://port.example"), true, true),
            ("port.example:443", Some("https://port.example"), true, true),
            ("127.0.0.1:7678", None, true, false),
            ("127.0.0.1:7678", None, false, true),
            ("127.0.0.1:7678", Some("http://127.0.0.1:7678"), false, true),
            ("127.0.0.1:7678", Some("http://evil.example"), true, false),
            ("127.0.0.1:7678", Some("http://evil.example"), false, false),
            ("127.0.0.1:7678", Some("null"), true, false),
            ("127.0.0.1:7678", Some("null"), false, false),
            (
                "127.0.0.1:7678",
                Some("https://127.0.0.1:7678"),
                true,
                false,
            ),
            ("127.0.0.1:7678", Some("http://127.0.0.1:1"), true, false),
            ("127.0.0.1:7678", Some("http://localhost:7678"), true, false),
            ("port.example", Some("http://port.example"), true, false),
        ] {
            let address = address(&names, host).expect("a known name");
            let headers = match origin {
                Some(origin) => headers(&[(header::ORIGIN, origin)]),
                None => HeaderMap::new(),
            };
            let result = check(&address, &headers, by_cookie);
            assert_eq!(result.is_ok(), allowed, "{host} {origin:?} {by_cookie}");
        }
    }

    #[test]
    fn an_upgrade_counts_as_a_change() {
        let upgrade = headers(&[(header::UPGRADE, "websocket")]);
        assert!(changes(&Method::GET, &upgrade));
        assert!(changes(&Method::POST, &HeaderMap::new()));
        assert!(!changes(&Method::GET, &HeaderMap::new()));
    }
}
