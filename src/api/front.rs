//! What every request passes: it gets an id, its caller is known, a share is asked for it, and what came of it is logged.

use std::time::Instant;

use autostack_platform::Platform;
use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::{
    caller::{Caller, Client, authenticate, bearer},
    error::ApiError,
    once::once,
    state::Api,
};

/// Characters of an id that a client gives its request.
const ID_CHARS_MAX: usize = 64;
/// Bytes of an answer that gets an `ETag`; more are not held in memory at once.
const TAGGED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What stands for a request in logs and in the words of its client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a filter of the log names the lines of requests by.
const ACCESS: &str = "autostack_api::access";

/// Who asks, found out once for a request.
#[derive(Debug, Clone)]
pub(crate) struct Known(pub(crate) Result<Option<Caller>, ApiError>);

/// Takes a request to its handler, and its answer back.
pub(crate) async fn receive(State(api): State<Api>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (mut parts, body) = request.into_parts();
    let id = request_id(&parts.headers);
    let (method, path) = (parts.method.clone(), path_of(&parts));
    let if_none_match = parts.headers.get(header::IF_NONE_MATCH).cloned();
    let known = know(&api.platform, &mut parts, &api).await;
    let caller = known.0.as_ref().ok().and_then(Option::as_ref).cloned();
    parts.extensions.insert(known);
    let address = Client::from_request_parts(&mut parts, &api).await.ok().and_then(|client| client.address);
    let mut response = match share(&api, &path, caller.as_ref(), address) {
        Ok(left) => {
            let mut response = once(&api, caller.as_ref(), Request::from_parts(parts, body), next).await;
            if let Some(left) = left {
                left.tell(response.headers_mut());
            }
            response
        }
        Err((left, refusal)) => {
            let mut response = refusal.into_response();
            left.tell(response.headers_mut());
            response
        }
    };
    if method == Method::GET {
        response = tagged(response, if_none_match.as_ref()).await;
    }
    // What is read here may be a secret, and is nobody's to keep.
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    let by = caller.as_ref().map(|caller| caller.actor.name.as_str());
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let millis = took.as_millis();
    api.platform.metrics().api_request(method_name(&method), &path, status, took);
    if is_watching(&path) {
        tracing::debug!(target: ACCESS, %method, path, status, millis, by, from = ?address, request = id, "request");
    } else {
        tracing::info!(target: ACCESS, %method, path, status, millis, by, from = ?address, request = id, "request");
    }
    response
}

/// An id of the client's own, where it is plain; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_plain = |id: &&str| {
        (1..=ID_CHARS_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_plain);
    given.map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

/// The path as it stands in the document: names and ids say nothing to who counts, and a query may hold a ticket.
fn path_of(parts: &Parts) -> String {
    parts.extensions.get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned()
}

/// The method as a label; a client can make up others without end.
fn method_name(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => method.as_str(),
        _ => "other",
    }
}

async fn know(platform: &Platform, parts: &mut Parts, api: &Api) -> Known {
    let token = match bearer(&parts.headers) {
        Ok(Some(token)) => token.to_owned(),
        Ok(None) => return Known(Ok(None)),
        Err(error) => return Known(Err(error)),
    };
    let address = Client::from_request_parts(parts, api).await.ok().and_then(|client| client.address);
    Known(authenticate(platform, &token, address).await.map(Some))
}

/// Whoever watches over the host asks often, and from one place: that is not counted, nor worth a line each time.
fn is_watching(path: &str) -> bool {
    path == "/health" || path == "/metrics"
}

type Share = Result<Option<crate::limits::Left>, (crate::limits::Left, ApiError)>;

fn share(api: &Api, path: &str, caller: Option<&Caller>, address: Option<std::net::IpAddr>) -> Share {
    if is_watching(path) {
        return Ok(None);
    }
    api.limits.take(caller, address).map(Some)
}

/// Gives an answer that is read whole a tag, and none of it to a client that has it already.
async fn tagged(response: Response, if_none_match: Option<&HeaderValue>) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let size = response.body().size_hint().exact();
    if response.status() != StatusCode::OK || !is_json || size.is_none_or(|bytes| bytes > TAGGED_BYTES_MAX) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer broke off");
        return error.into_response();
    };
    let hash = digest(&SHA256, &bytes);
    let tag: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Weak: compressed or not, it is the same answer.
    let tag = format!("W/\"{tag}\"");
    let is_known = if_none_match.and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known
            .split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.trim_start_matches("W/") == tag.trim_start_matches("W/"))
    });
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_only_where_it_is_plain() {
        let id = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            request_id(&headers)
        };
        assert_eq!(id("build-7_a.b"), "build-7_a.b");
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            let made = id(bad);
            assert!(made != bad && made.len() == 32, "{bad}: {made}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_the_client_has_is_not_sent_again() {
        let answer = || ([(header::CONTENT_TYPE, "application/json")], "{\"a\":1}").into_response();
        let first = tagged(answer(), None).await;
        let tag = first.headers()[header::ETAG].clone();
        assert_eq!(first.status(), StatusCode::OK);
        let again = tagged(answer(), Some(&tag)).await;
        assert_eq!(
            (again.status(), again.headers().contains_key(header::CONTENT_TYPE)),
            (StatusCode::NOT_MODIFIED, false)
        );
        assert!(again.into_body().collect().await.unwrap().to_bytes().is_empty());
        let other = HeaderValue::from_static("\"other\", W/\"more\"");
        assert_eq!(tagged(answer(), Some(&other)).await.status(), StatusCode::OK);
        let text = tagged("plain".into_response(), None).await;
        assert!(!text.headers().contains_key(header::ETAG));
    }
}
