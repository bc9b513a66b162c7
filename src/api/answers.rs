//! The answers that are the same everywhere, for the document.

use utoipa::IntoResponses;

use crate::error::Problem;

/// What any request can be answered with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the derive")]
pub(crate) enum Refusals {
    /// The request cannot be read.
    #[response(status = BAD_REQUEST)]
    Malformed(#[to_schema] Problem),
    /// Nobody has proved who they are, or the proof is worth nothing (any more).
    #[response(status = UNAUTHORIZED)]
    Unauthenticated(#[to_schema] Problem),
    /// The caller may not do that.
    #[response(status = FORBIDDEN)]
    Denied(#[to_schema] Problem),
    /// The body has too many bytes.
    #[response(status = PAYLOAD_TOO_LARGE)]
    BodyTooLarge(#[to_schema] Problem),
    /// The body is not of the type that it should be.
    #[response(status = UNSUPPORTED_MEDIA_TYPE)]
    UnsupportedMediaType(#[to_schema] Problem),
    /// Something that was given is not valid.
    #[response(status = UNPROCESSABLE_ENTITY)]
    Invalid(#[to_schema] Problem),
    /// Asked too often; `retry-after` says when it may be asked again.
    #[response(status = TOO_MANY_REQUESTS)]
    TooMany(#[to_schema] Problem),
    /// The platform's own fault.
    #[response(status = INTERNAL_SERVER_ERROR)]
    Internal(#[to_schema] Problem),
    /// Too much is being done at this moment.
    #[response(status = SERVICE_UNAVAILABLE)]
    Busy(#[to_schema] Problem),
}

/// What a request about something can be answered with besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the derive")]
pub(crate) enum Absences {
    /// It is not there, or the caller may not know that it is.
    #[response(status = NOT_FOUND)]
    NotFound(#[to_schema] Problem),
}

/// What a request for a change can be answered with besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the derive")]
pub(crate) enum Conflicts {
    /// It is there already, or its state does not allow that.
    #[response(status = CONFLICT)]
    Conflict(#[to_schema] Problem),
    /// The host has no space left for it.
    #[response(status = INSUFFICIENT_STORAGE)]
    NoSpace(#[to_schema] Problem),
}
