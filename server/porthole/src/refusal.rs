//! Why something was not done, and the one mapping of that to HTTP.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::session::{FidelityLine, Tried};
use serde::Serialize;

use crate::store::StoreError;

/// An answer that is no success. The API writes it as JSON, a page as words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP status.
    #[serde(skip)]
    pub status: StatusCode,
    /// For programs: `container_not_found`.
    pub code: &'static str,
    /// For people: what happened, why, what to try.
    pub message: String,
    /// The field of the request that it is about.
    pub field: Option<Box<str>>,
    /// How far creating or joining had come.
    pub stage: Option<Stage>,
    /// What the kernel answered.
    pub errno: Option<i32>,
    /// What a command line would exit with: 126 or 127 for a command that cannot run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Shells that were looked for.
    #[serde(skip_serializing_if = "<[Tried]>::is_empty")]
    pub tried: Box<[Tried]>,
    /// How the session would compare with its container's init.
    #[serde(skip_serializing_if = "<[FidelityLine]>::is_empty")]
    pub fidelity: Box<[FidelityLine]>,
    /// Seconds after which it may be tried again.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// The code of what did not arrive whole: nobody refused it, it came to nothing.
    pub const INCOMPLETE: &str = "incomplete";

    /// A refusal with this status, code and sentence.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
            stage: None,
            errno: None,
            exit_code: None,
            tried: Box::default(),
            fidelity: Box::default(),
            retry_after: None,
        }
    }

    /// The same, about this field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into().into());
        self
    }

    /// 400: the request is malformed.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401: nobody is signed in.
    pub fn not_signed_in() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "not_signed_in",
            "Sign in first, or send a token as \"Authorization: Bearer\".",
        )
    }

    /// 403: this account may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404: no such thing.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 409: not while things are so.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 422: understood, but a field's value cannot be used.
    pub fn unusable(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message).field(field)
    }

    /// 429: too often, or too many; try again after these seconds.
    pub fn too_many(message: impl Into<String>, retry_after: u32) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
        refusal.retry_after = Some(retry_after);
        refusal
    }

    /// 500: Porthole's own fault. What happened is in its log, not in the answer.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Porthole failed to do this. Its log says why, under this answer's x-request-id.",
        )
    }

    /// 503: the keeper is not there.
    pub fn keeper_away() -> Self {
        let mut refusal = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "keeper_away",
            "The keeper does not answer. It is being restarted; containers and terminals go on meanwhile. Try again in a moment.",
        );
        refusal.retry_after = Some(1);
        refusal
    }
}

/// The status and the word for each kind of failure.
const fn mapping(code: FailureCode) -> (StatusCode, &'static str) {
    match code {
        FailureCode::BadRequest => (StatusCode::BAD_REQUEST, "bad_request"),
        FailureCode::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        FailureCode::ContainerNotFound => (StatusCode::NOT_FOUND, "container_not_found"),
        FailureCode::SessionNotFound => (StatusCode::NOT_FOUND, "session_not_found"),
        FailureCode::ProcessNotFound => (StatusCode::NOT_FOUND, "process_not_found"),
        FailureCode::NamespaceNotFound => (StatusCode::NOT_FOUND, "namespace_not_found"),
        FailureCode::Late => (StatusCode::GATEWAY_TIMEOUT, "late"),
        FailureCode::ImageNotFound => (StatusCode::UNPROCESSABLE_ENTITY, "image_not_found"),
        FailureCode::ImportNotFound => (StatusCode::NOT_FOUND, "import_not_found"),
        FailureCode::Cancelled => (StatusCode::CONFLICT, "cancelled"),
        FailureCode::NameInUse => (StatusCode::CONFLICT, "name_in_use"),
        FailureCode::WrongState => (StatusCode::CONFLICT, "wrong_state"),
        FailureCode::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        FailureCode::LessConfined => (StatusCode::CONFLICT, "less_confined"),
        FailureCode::NotExecutable => (StatusCode::UNPROCESSABLE_ENTITY, "not_executable"),
        FailureCode::CommandNotFound => (StatusCode::UNPROCESSABLE_ENTITY, "command_not_found"),
        FailureCode::Exhausted => (StatusCode::TOO_MANY_REQUESTS, "exhausted"),
        FailureCode::Unsupported => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported"),
        FailureCode::Storage => (StatusCode::INSUFFICIENT_STORAGE, "storage"),
        FailureCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let (status, code) = mapping(failure.code);
        Self {
            status,
            code,
            message: failure.message,
            field: failure.field.map(String::into_boxed_str),
            stage: failure.stage,
            errno: failure.errno,
            exit_code: match failure.code {
                FailureCode::NotExecutable => Some(126),
                FailureCode::CommandNotFound => Some(127),
                _ => None,
            },
            tried: failure.tried,
            fidelity: failure.fidelity,
            retry_after: (failure.code == FailureCode::Exhausted).then_some(5),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NameTaken(_) => Self::conflict("name_in_use", message).field("user"),
            StoreError::NoAccount(_) => Self::not_found("account_not_found", message),
            StoreError::LastAdministrator => Self::conflict("last_administrator", message),
            StoreError::TooManyTokens => Self::conflict("too_many_tokens", message),
            StoreError::NotFirst => Self::conflict("already_set_up", message),
            StoreError::Revised(_) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "changed_meanwhile",
                message,
            ),
            StoreError::Sqlite(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::DiskFull =>
            {
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "storage",
                    "No space is left where Porthole keeps its state. Free some, then try again.",
                )
            }
            StoreError::Sqlite(_)
            | StoreError::Migration(_)
            | StoreError::Newer(_)
            | StoreError::File(_)
            | StoreError::Ending => {
                tracing::error!(error = message, "the database");
                Self::internal()
            }
        }
    }
}

#[derive(Serialize)]
struct Body {
    error: Refusal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        let retry_after = self.retry_after;
        let mut response = (status, Json(Body { error: self })).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"porthole\""),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_is_422_with_127() {
        let refusal = Refusal::from(Failure::new(FailureCode::CommandNotFound, "no such file"));
        assert_eq!(refusal.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(refusal.exit_code, Some(127));
        let json = serde_json::to_value(Body { error: refusal }).expect("json");
        assert_eq!(json["error"]["code"], "command_not_found");
        assert_eq!(json["error"]["exit_code"], 127);
        assert!(json["error"]["field"].is_null());
    }
}
