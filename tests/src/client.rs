//! The HTTP API, as a browser or a script would use it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request};

/// How a client says who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// The cookie of a signed-in browser, `name=value`.
    Cookie(String),
    /// A token.
    Bearer(String),
}

/// Someone who talks to one instance. Cloning makes a second one with the same credentials.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    address: SocketAddr,
    /// Who it says it is.
    pub credentials: Credentials,
    /// Headers sent with every request, after those that it would send by itself.
    pub headers: Vec<(String, String)>,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request, for messages.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// Names are lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Client {
    /// Someone whom nobody knows yet.
    pub fn anonymous(address: SocketAddr) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self {
            agent,
            address,
            credentials: Credentials::None,
            headers: Vec::new(),
        }
    }

    /// The same with another header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a token instead of a cookie.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.credentials = Credentials::Bearer(token.to_owned());
        self
    }

    /// Where it connects to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The headers that go with a request: credentials, the origin that a browser sends with a
    /// change, and what [`Client::headers`] replaces or adds.
    pub fn headers_for(&self, change: bool) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        match &self.credentials {
            Credentials::None => {}
            Credentials::Cookie(cookie) => headers.push(("cookie".to_owned(), cookie.clone())),
            Credentials::Bearer(token) => {
                headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            }
        }
        if change && !matches!(self.credentials, Credentials::Bearer(_)) {
            headers.push(("origin".to_owned(), format!("http://{}", self.address)));
        }
        headers.retain(|(name, _)| !self.headers.iter().any(|(own, _)| own == name));
        headers.extend(
            self.headers
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .cloned(),
        );
        headers
    }

    /// One request with its answer.
    ///
    /// # Errors
    /// When no answer came: nobody listens, or the connection broke.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Result<Answer, String> {
        let method: Method = method.parse().map_err(|e| format!("{method}: {e}"))?;
        let text = format!("{method} {path}");
        let change = method != Method::GET && method != Method::HEAD;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in self.headers_for(change) {
            request = request.header(name, value);
        }
        let answer = match body {
            Some((kind, body)) => {
                let request = request.header("content-type", kind).body(body);
                self.agent.run(request.map_err(|e| format!("{text}: {e}"))?)
            }
            None => {
                let request = request.body(());
                self.agent.run(request.map_err(|e| format!("{text}: {e}"))?)
            }
        };
        let mut answer = answer.map_err(|e| format!("{text}: {e}"))?;
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
        let body = answer
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .lossy_utf8(true)
            .read_to_string()
            .map_err(|e| format!("{text}: {e}"))?;
        Ok(Answer {
            request: text,
            status: answer.status().as_u16(),
            headers,
            body,
        })
    }

    /// One request with a body of JSON.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|value| ("application/json", value.to_string()));
        self.try_send(method, path, body)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    /// POST with JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    /// The same, where the answer may not come.
    ///
    /// # Errors
    /// When none came: nobody listens, or the connection broke.
    pub fn try_post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.try_send("POST", path, Some(("application/json", body.to_string())))
    }

    /// POST without a body.
    pub fn act(&self, path: &str) -> Answer {
        self.send("POST", path, None)
    }

    /// PATCH with JSON.
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(body))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    /// POST with any body.
    pub fn post_text(&self, path: &str, kind: &str, body: &str) -> Answer {
        self.try_send("POST", path, Some((kind, body.to_owned())))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// POST with the bytes of a file.
    pub fn post_file(&self, path: &str, file: &std::path::Path) -> Answer {
        let file = std::fs::File::open(file).expect("a file to send");
        self.post_bytes(path, file)
    }

    /// POST with what a reader has, of whatever length.
    pub fn post_bytes(&self, path: &str, bytes: impl std::io::Read) -> Answer {
        self.try_post_bytes(path, bytes)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, where the answer may not come.
    ///
    /// # Errors
    /// When none came: nobody listens, or the connection broke.
    pub fn try_post_bytes(
        &self,
        path: &str,
        mut bytes: impl std::io::Read,
    ) -> Result<Answer, String> {
        let told = |error: ureq::Error| format!("{path}: {error}");
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(600)))
            .build()
            .into();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in self.headers_for(true) {
            request = request.header(name, value);
        }
        let request = request
            .header("content-type", "application/octet-stream")
            .body(ureq::SendBody::from_reader(&mut bytes))
            .map_err(|error| format!("{path}: {error}"))?;
        let mut answer = agent.run(request).map_err(told)?;
        let body = answer.body_mut().read_to_string().map_err(told)?;
        Ok(Answer {
            request: format!("POST {path}"),
            status: answer.status().as_u16(),
            headers: Vec::new(),
            body,
        })
    }

    /// Signs in and keeps the cookie.
    pub fn sign_in(&mut self, user: &str, password: &str) -> Answer {
        let answer = self.post(
            "/api/v1/login",
            &serde_json::json!({"user": user, "password": password}),
        );
        self.keep_cookie(&answer);
        answer
    }

    /// Keeps the cookie that an answer sets.
    pub fn keep_cookie(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            self.credentials = Credentials::Cookie(pair.to_owned());
        }
    }
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{self}: the body is no JSON: {error}"))
    }

    /// The body of an answer that must be a success; `null` where it has none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self}");
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The `error` of an answer that must have this status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        let error = self.json()["error"].clone();
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.len() > 10,
            "an error says in words what happened: {self}"
        );
        assert!(error["code"].is_string(), "an error has a code: {self}");
        error
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.body.chars().take(2000).collect();
        write!(f, "{} answered {}: {body}", self.request, self.status)
    }
}
