//! What a request carries, with errors that name the field.

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::Refusal;

/// The most bytes that the body of a request to the API may have. The longest thing that can be
/// asked for, a container with its command and environment, is well below.
pub const BODY_LIMIT: usize = 256 * 1024;

/// A JSON body. Refuses another type of content with 415, a longer body with 413, what is no JSON
/// with 400, and what is JSON but not what was asked for with 422 and the field's name.
#[derive(Debug)]
pub struct Sent<T>(pub T);

/// A JSON body that may be left out: then everything is as by default.
#[derive(Debug)]
pub struct SentOr<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = json_bytes(request).await?;
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for SentOr<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        // Some clients send a body of no bytes in chunks, and name no type for it.
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_content_type(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

async fn json_bytes(request: Request) -> Result<Bytes, Refusal> {
    check_content_type(request.headers())?;
    read(request.into_body()).await
}

/// The whole body, where it has no more than [`BODY_LIMIT`].
pub(crate) async fn read(body: Body) -> Result<Bytes, Refusal> {
    axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("The body has more than {BODY_LIMIT} bytes, or was cut off."),
        )
    })
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if essence.is_some_and(|e| e.eq_ignore_ascii_case("application/json")) {
        Ok(())
    } else {
        Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body must be JSON: send \"Content-Type: application/json\".",
        ))
    }
}

/// Reads JSON, or says where and why it cannot be used.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    use serde_json::error::Category;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            Category::Data => wrong_field(&path, &error),
            Category::Syntax | Category::Eof | Category::Io => {
                Refusal::malformed(format!("The body is no JSON: {error}."))
            }
        }
    })?;
    reader
        .end()
        .map_err(|error| Refusal::malformed(format!("The body is no JSON: {error}.")))?;
    Ok(value)
}

fn wrong_field(path: &str, error: &serde_json::Error) -> Refusal {
    // A name that somebody made up may hold anything: none of it reaches a terminal.
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let path: String = path.chars().map(plain).collect();
    let mut message: String = error.to_string().chars().map(plain).collect();
    // Where in the text it stands helps nobody who is told the field.
    if let Some(at) = message.rfind(" at line ") {
        message.truncate(at);
    }
    // The place of a map's unknown key is told as a question mark.
    let key = path.strip_suffix('?');
    let inside = key.unwrap_or(&path).trim_end_matches('.');
    // serde names a missing or unknown field only in its message.
    let naming: &[&str] = match key {
        Some(_) => &["unknown variant `"],
        None => &["missing field `", "unknown field `"],
    };
    let named = naming
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .and_then(|rest| rest.split('`').next());
    let field = match named {
        Some(name) if inside.is_empty() && name.len() <= 60 => name.to_owned(),
        Some(name) if inside == name || inside.ends_with(&format!(".{name}")) => inside.to_owned(),
        // What somebody made up is not repeated at any length.
        Some(name) if name.len() > 60 => inside.to_owned(),
        Some(name) => format!("{inside}.{name}"),
        None => inside.to_owned(),
    };
    // A name of any length in the message is cut as well.
    if message.len() > 300 {
        message.truncate(message.floor_char_boundary(300));
        message.push('…');
    }
    let mut refusal = Refusal::unusable(field.as_str(), format!("{field}: {message}."));
    if field.is_empty() {
        refusal.field = None;
        refusal.message = format!("The body cannot be used: {message}.");
    }
    refusal
}

/// The query, read into fields. Unknown parameters are refused where the type refuses them.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|rejection| {
                Refusal::malformed(format!(
                    "The address's query cannot be used: {}.",
                    std::error::Error::source(&rejection)
                        .map_or_else(|| rejection.body_text(), ToString::to_string)
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use porthole_protocol::container::ContainerSpec;

    fn refused(body: &str) -> Refusal {
        parse::<ContainerSpec>(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, status, field) in [
            ("", 400, None),
            ("{", 400, None),
            (r#"{"image":"host"} x"#, 400, None),
            ("[]", 422, None),
            (
                r#"{"image":"host","privileged":true}"#,
                422,
                Some("privileged"),
            ),
            (
                r#"{"image":"host","limits":{"memroy":1}}"#,
                422,
                Some("limits.memroy"),
            ),
            (r#"{"name":"web"}"#, 422, Some("image")),
            (r#"{"image":7}"#, 422, Some("image")),
            (r#"{"image":"host","name":"../x"}"#, 422, Some("name")),
            (r#"{"image":"host","name":""}"#, 422, Some("name")),
            (
                r#"{"image":"host","limits":{"memory":"1"}}"#,
                422,
                Some("limits.memory"),
            ),
            (
                r#"{"image":"host","command":["a",1]}"#,
                422,
                Some("command[1]"),
            ),
            (
                r#"{"image":"host","namespaces":{"mount":"own"}}"#,
                422,
                Some("namespaces.mount"),
            ),
            (
                r#"{"image":"host","namespaces":{"net":"x"}}"#,
                422,
                Some("namespaces"),
            ),
        ] {
            let refusal = refused(body);
            assert_eq!(refusal.status.as_u16(), status, "{body}: {refusal}");
            assert_eq!(refusal.field.as_deref(), field, "{body}: {refusal}");
        }
        assert!(parse::<ContainerSpec>(br#"{"image":"host"}"#).is_ok());
    }
}
