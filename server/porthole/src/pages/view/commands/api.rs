//! curl(1) against the API.

/// Where the API is.
pub(super) struct Api<'a>(pub(super) &'a str);

impl Api<'_> {
    pub(super) fn get(&self, path: &str) -> String {
        let address = format!("{}/api/v1{path}", self.0);
        // A variable of the reader's shell stays one; it stands in our own words only.
        let ours = |b: u8| b.is_ascii_alphanumeric() || b"/:._-?=$[]".contains(&b);
        let address = if path.contains('$') && address.bytes().all(ours) {
            format!("\"{address}\"").into()
        } else {
            shell_words::quote(&address)
        };
        format!("curl -H \"Authorization: Bearer $TOKEN\" {address}")
    }

    pub(super) fn send(&self, method: &str, path: &str) -> String {
        self.get(path)
            .replacen("curl ", &format!("curl -X {method} "), 1)
    }

    /// With a body of JSON, quoted already; `--json` makes a POST by itself.
    pub(super) fn with(&self, method: &str, path: &str, body: &str) -> String {
        let call = if method == "POST" {
            self.get(path)
        } else {
            self.send(method, path)
        };
        format!("{call} --json {body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_words_stay_open_to_the_readers_shell() {
        let api = Api("http://127.0.0.1:7678");
        let named = api.get("/containers/$NAME?force=true");
        assert!(named.ends_with("/containers/$NAME?force=true\""), "{named}");
        let hostile = api.get("/containers/$(reboot)");
        assert!(hostile.ends_with("/containers/$(reboot)'"), "{hostile}");
    }
}
