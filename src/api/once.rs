//! `Idempotency-Key`: a client that does not know whether its request arrived sends it again under the same key, and gets
//! the answer of the first time.

use autostack_domain::{IdempotencyKey, kept_answer::Answered};
use autostack_platform::{Once, PlatformError};
use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::oneshot;

use crate::{caller::Caller, error::ApiError, router::BODY_BYTES_MAX, state::Api};

/// The key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of an earlier time.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Bytes of an answer that is kept.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Does a request that changes something, or gives the answer that it had before. Without a key it is simply done.
pub(crate) async fn once(api: &Api, caller: Option<&Caller>, request: Request, next: Next) -> Response {
    let key = request.headers().get(IDEMPOTENCY_KEY).cloned();
    match (key, caller) {
        (Some(key), Some(caller)) if *request.method() == Method::POST => {
            keyed(api, caller, &key, request, next).await.unwrap_or_else(ApiError::into_response)
        }
        _ => next.run(request).await,
    }
}

async fn keyed(
    api: &Api,
    caller: &Caller,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let key = IdempotencyKey::parse(key.to_str().unwrap_or_default())?;
    let (parts, body) = request.into_parts();
    // An archive is not held in memory: it is known by where it goes and how long it is.
    let (said, body) = if is_json(&parts) {
        let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| too_large())?;
        (bytes.clone(), Body::from(bytes))
    } else {
        let length = parts.headers.get(header::CONTENT_LENGTH).map_or(&[][..], HeaderValue::as_bytes);
        (Bytes::copy_from_slice(length), body)
    };
    let digest = digest_of(&parts, &said);
    let doing = match api.platform.begin_once(&caller.actor.user, &key, digest).await? {
        Once::Do(doing) => doing,
        Once::Done(answer) => return Ok(again(answer)),
        Once::UnderWay => return Err(conflict("in_progress", "a request under this key is being done")),
        Once::Unknown => {
            let message = "the agent was stopped while it did this, and does not know what came of it";
            return Err(conflict("outcome_unknown", message)
                .detail("hint", "look whether it was done; send it under another key if it was not"));
        }
        Once::Another => {
            let message = "another request came under this key";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
                .detail("hint", "use a new key for each request"));
        }
    };
    // It goes on when the client has gone: who sends it again wants to know what came of it.
    let work = async move {
        let response = next.run(Request::from_parts(parts, body)).await;
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, KEPT_BYTES_MAX).await;
        let is_kept = !head.status.is_server_error()
            && !matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
        let answer = match &bytes {
            Ok(bytes) if is_kept => String::from_utf8(bytes.to_vec()).ok(),
            Ok(_) | Err(_) => None,
        };
        let answer = answer.map(|body| Answered { status: head.status.as_u16(), body });
        doing.end(answer).await?;
        let bytes = bytes.map_err(|error| PlatformError::internal("the answer broke off", &error))?;
        Ok(Response::from_parts(head, Body::from(bytes)))
    };
    let (tell, told) = oneshot::channel();
    api.tasks.spawn("idempotent request", async move {
        let _client_gone = tell.send(work.await);
    });
    let told: Result<Result<Response, PlatformError>, _> = told.await;
    Ok(told.map_err(|panic| PlatformError::internal("the request could not be done", &panic))??)
}

fn is_json(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_none_or(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"))
}

fn digest_of(parts: &Parts, said: &[u8]) -> String {
    let mut digest = Context::new(&SHA256);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), said] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    STANDARD.encode(digest.finish())
}

fn again(answer: Answered) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn conflict(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code, message)
}

fn too_large() -> ApiError {
    let message = format!("a body may have {BODY_BYTES_MAX} bytes at most");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}
