//! A request for a page by somebody who is signed in.

use std::fs;
use std::sync::OnceLock;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::view::Scene;
use super::view::shell::{Host, Shell};
use super::{by_htmx, refused};
use crate::access::Identity;
use crate::access::origin::Address;
use crate::{AppState, Refusal};

/// Who looks, at which address.
pub struct Visit {
    /// Everything.
    pub state: AppState,
    /// Who looks.
    pub who: Identity,
    uri: Uri,
    origin: String,
    headers: HeaderMap,
}

impl FromRequestParts<AppState> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let who = Identity::from_request_parts(parts, state)
            .await
            .map_err(|refusal| refused(state, None, &parts.uri, &parts.headers, refusal))?;
        let origin = parts
            .extensions
            .get::<Address>()
            .map_or_else(String::new, Address::origin);
        Ok(Self {
            state: state.clone(),
            who,
            uri: parts.uri.clone(),
            origin,
            headers: parts.headers.clone(),
        })
    }
}

impl Visit {
    /// Where links begin, and who reads.
    pub fn scene(&self) -> Scene<'_> {
        Scene {
            base: &self.state.settings.base_path,
            who: &self.who,
        }
    }

    /// The frame of a page of this part of the site.
    pub fn shell(&self, section: &'static str) -> Shell {
        let mut shell = Shell::new(&self.state.world, host(), self.scene(), section);
        shell.origin = format!("{}{}", self.origin, self.state.settings.base_path);
        shell
    }

    /// The frame of a page that stays current.
    pub fn live_shell(&self, section: &'static str) -> Shell {
        let at = self.uri.path_and_query().map_or("", |at| at.as_str());
        self.shell(section).following(at)
    }

    /// The page that says why something was refused, or the notice for a page that stays.
    pub fn refuse(&self, refusal: Refusal) -> Response {
        refused(
            &self.state,
            Some(&self.who),
            &self.uri,
            &self.headers,
            refusal,
        )
    }

    /// The answer to a form. htmx stays on its page, where the change arrives by itself; a browser
    /// without scripts goes to this address below the base path.
    pub fn done(&self, done: Result<(), Refusal>, to: &str) -> Response {
        match done {
            Ok(()) if self.by_htmx() => StatusCode::NO_CONTENT.into_response(),
            Ok(()) => self.go(to),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// As [`Visit::done`], but htmx leaves the page too where it is about something that is gone.
    pub fn gone(&self, done: Result<(), Refusal>, about: &[String], to: &str) -> Response {
        let there = self
            .headers
            .get("hx-current-url")
            .and_then(|url| url.to_str().ok())
            .is_some_and(|url| about.iter().any(|about| url.contains(about)));
        match done {
            Ok(()) if self.by_htmx() && there => {
                let to = format!("{}{to}", self.state.settings.base_path);
                (StatusCode::NO_CONTENT, [("hx-redirect", to)]).into_response()
            }
            done => self.done(done, to),
        }
    }

    /// Whether what is answered goes into a page that stays.
    pub fn by_htmx(&self) -> bool {
        by_htmx(&self.headers)
    }

    /// Sends the browser to an address below the base path.
    pub fn go(&self, to: &str) -> Response {
        Redirect::to(&format!("{}{to}", self.state.settings.base_path)).into_response()
    }
}

/// The machine, as it was when the server started: neither changes under a running system without
/// somebody who knows that they did it.
pub(super) fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/sys/kernel/{name}"))
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
        };
        Host {
            name: super::view::words::visible(&read("hostname")),
            kernel: super::view::words::visible(&read("osrelease")),
        }
    })
}
