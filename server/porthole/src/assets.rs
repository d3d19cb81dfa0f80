//! Files that the browser loads: the style sheet, the bundled scripts, icons. All are embedded in
//! the binary; nothing is served from disk.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Refusal;
use crate::access::Permission;
use crate::routes::Routes;

struct File {
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Where the browser finds a file: `assets::url("base.css")` is `/assets/<version>/base.css`. A
/// name that is not there is logged, and answered by 404.
///
/// Names are those below `web/dist/` and `static/`; the address changes with their content, so that
/// a browser keeps it for good. The base path stands in front of it, as of every address:
/// `{base}{url}`. Files name each other relatively.
pub fn url(name: &str) -> String {
    if find(name).is_none() {
        tracing::error!(name, "a page names a file that is not embedded");
    }
    format!("/assets/{VERSION}/{name}")
}

fn find(name: &str) -> Option<&'static File> {
    let place = FILES.binary_search_by(|file| file.name.cmp(name)).ok()?;
    FILES.get(place)
}

/// Adds the files' one route.
pub fn routes(routes: Routes) -> Routes {
    routes
        .get("/assets/{version}/{*name}", Permission::Public, serve)
        .get("/favicon.ico", Permission::Public, icon)
}

async fn icon(headers: HeaderMap) -> Result<Response, Refusal> {
    serve(Path(("now".to_owned(), "icon.svg".to_owned())), headers).await
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

async fn serve(
    Path((version, name)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Response, Refusal> {
    let file = find(&name)
        .ok_or_else(|| Refusal::not_found("file_not_found", "There is no such file."))?;
    let tag = HeaderValue::from_static(concat_tag());
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, tag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(if version == VERSION {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        }),
    );
    if request.get(header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(&name)),
    );
    let accepts_gzip = request
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .any(|coding| coding.trim() == "gzip" || coding.trim().starts_with("gzip;q=1"))
        });
    let body = if accepts_gzip && file.gzip.len() < file.plain.len() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        file.gzip
    } else {
        file.plain
    };
    Ok((headers, body).into_response())
}

/// All files' one tag, with the quotes that a tag has.
fn concat_tag() -> &'static str {
    static TAG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("\"{VERSION}\""));
    &TAG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_embedded_files_are_served() {
        let get = |version: &str, name: &str| {
            let path = Path((version.to_owned(), name.to_owned()));
            serve(path, HeaderMap::new())
        };
        for name in ["../Cargo.toml", "/etc/passwd", "", ".", "icon.svg/"] {
            assert!(get(VERSION, name).await.is_err(), "{name}");
        }
        let now = get(VERSION, "icon.svg").await.expect("embedded");
        let caching = now.headers()[header::CACHE_CONTROL].to_str().expect("text");
        assert!(caching.contains("immutable"), "{caching}");
        let old = get("0000", "icon.svg").await.expect("embedded");
        assert_eq!(old.headers()[header::CACHE_CONTROL], "no-cache");
    }
}
