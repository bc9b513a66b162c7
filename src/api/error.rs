//! [`ApiError`]: the one shape that every answer has that is not 2xx: a stable code for programs, a message for people.

use autostack_domain::Invalid;
use autostack_platform::{ErrorKind, PlatformError};
use axum::{
    Json,
    extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::pages::Page;

/// An error as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    /// Never changes once released.
    pub code: &'static str,
    pub message: String,
    /// More for programs; may be empty.
    pub details: Map<String, Value>,
    /// Seconds after which the same may be asked again.
    pub retry_after: Option<u64>,
}

/// What every answer holds that is not 2xx.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What went wrong.
    error: ProblemBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// For programs; never changes once released.
    #[schema(example = "app_not_found")]
    code: &'static str,
    /// For people.
    message: String,
    /// More for programs; may be empty. `hint` is what to try next.
    details: Map<String, Value>,
}

impl ApiError {
    /// An error without details.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Map::new(), retry_after: None }
    }

    /// Adds a detail.
    #[must_use]
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Nobody has proved who they are.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// What was given is not valid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }
}

impl ApiError {
    /// The same for somebody who reads it in a browser.
    pub(crate) fn page(&self) -> Page {
        let hint = self.details.get("hint").and_then(Value::as_str).map(|hint| format!(" Next: {hint}."));
        Page::saying(
            self.status,
            "That did not work",
            &format!("{}.{}", self.message, hint.unwrap_or_default()),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let ApiError { status, code, message, details, retry_after } = self;
        let mut response =
            (status, Json(Problem { error: ProblemBody { code, message, details } })).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<PlatformError> for ApiError {
    fn from(error: PlatformError) -> Self {
        let (status, code, retry_after) = match error.kind {
            ErrorKind::NoApp => (StatusCode::NOT_FOUND, "app_not_found", None),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found", None),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, "denied", None),
            ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", None),
            ErrorKind::CodeNeeded => (StatusCode::UNAUTHORIZED, "code_needed", None),
            ErrorKind::TooMany { seconds } => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", Some(seconds))
            }
            ErrorKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(1)),
            ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", None),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict", None),
            ErrorKind::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "no_space", None),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
        };
        let problem = Self { retry_after, ..Self::new(status, code, error.message) };
        match error.hint {
            Some(hint) => problem.detail("hint", hint),
            None => problem,
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.to_string())
    }
}

impl From<FormRejection> for ApiError {
    fn from(rejection: FormRejection) -> Self {
        match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid(rejection.body_text()),
            status => Self::new(status, "malformed", rejection.body_text()),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let message = rejection.body_text();
        match rejection {
            JsonRejection::JsonDataError(_) => Self::invalid(message),
            JsonRejection::JsonSyntaxError(_) => Self::new(StatusCode::BAD_REQUEST, "malformed", message),
            JsonRejection::MissingJsonContentType(_) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be JSON: send `content-type: application/json`",
            ),
            other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
            }
            other => Self::new(StatusCode::BAD_REQUEST, "malformed", other.body_text()),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        // What is no name or id names nothing that is there.
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}
