//! The cookie that a browser proves a login by.

use axum::http::{HeaderMap, HeaderValue, header};

use super::origin::Address;
use super::secret::Secret;

/// The name over TLS and on loopback, where browsers take `Secure` cookies. Its prefix makes them
/// refuse one that a neighbouring name or a path has set.
const SECURE: &str = "__Host-porthole";
/// The name over plain HTTP beyond loopback, which has to be switched on in so many words.
const PLAIN: &str = "porthole-insecure";

const fn name(secure: bool) -> &'static str {
    if secure { SECURE } else { PLAIN }
}

/// The secret in a request's cookie.
pub fn read<'a>(address: &Address, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = name(address.is_secure());
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, secret)| secret)
}

fn header_value(text: &str) -> HeaderValue {
    // Made of a name, hexadecimal digits and attributes of ours only.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The header that gives a browser its cookie.
pub fn give(address: &Address, secret: &Secret) -> HeaderValue {
    let secure = address.is_secure();
    let attribute = if secure { "; Secure" } else { "" };
    header_value(&format!(
        "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{attribute}",
        name(secure),
        secret.reveal(),
        crate::store::LOGIN_LIFE.as_secs()
    ))
}

/// The header that takes it away.
pub fn take_away(address: &Address) -> HeaderValue {
    let secure = address.is_secure();
    let attribute = if secure { "; Secure" } else { "" };
    header_value(&format!(
        "{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{attribute}",
        name(secure)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(scheme: &'static str, host: &str) -> Address {
        Address {
            scheme,
            host: host.into(),
            authority: host.into(),
        }
    }

    #[test]
    fn a_cookie_reads_back_where_it_was_given_and_nowhere_else() {
        let places = [
            address("http", "127.0.0.1"),
            address("https", "port.example"),
            address("http", "port.example"),
        ];
        for (i, given) in places.iter().enumerate() {
            let secret = Secret::new();
            let text = give(given, &secret).to_str().expect("text").to_owned();
            assert_eq!(text.contains("; Secure"), i < 2, "{text}");
            assert_eq!(text.starts_with("__Host-"), i < 2, "{text}");
            let mut headers = HeaderMap::new();
            let pair = text.split(';').next().expect("a pair");
            headers.insert(
                header::COOKIE,
                format!("a=b; {pair}").parse().expect("a value"),
            );
            for (j, read_at) in places.iter().enumerate() {
                let same_kind = (i < 2) == (j < 2);
                assert_eq!(read(read_at, &headers).is_some(), same_kind);
            }
        }
    }
}
