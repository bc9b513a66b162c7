//! The paths on one screen.

use std::time::Duration;

use autostack_domain::limits::SOURCE_ARCHIVE_BYTES_MAX;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    apps, audit, auth, deployments, docs, error::ApiError, front, health, invitations, limits, mailed, me,
    metrics, once, overview, sign_in, state::Api,
};

/// Bytes of a request's body.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long a browser may remember what a page of another origin may do.
const PREFLIGHT_AGE_MAX: Duration = Duration::from_secs(3600);

/// Every path that the document describes, and the document.
pub(crate) fn described() -> (Router<Api>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(docs::head())
        .nest("/api/auth", auth::router().merge(sign_in::router()).merge(mailed::router()))
        .nest("/api/invitations", invitations::router())
        .nest("/api/user", me::router().merge(sign_in::own()).merge(mailed::own()))
        .nest("/api/apps", apps::router())
        .nest("/api/deployments", deployments::router())
        .nest("/api/dashboard", overview::dashboard())
        .nest("/api/monitoring", overview::monitoring())
        .nest("/api/audit", audit::router())
        .merge(health::router())
        .merge(metrics::router())
        .split_for_parts();
    docs::tell_of_keys(&mut document);
    docs::tell_of_pages(&mut document);
    (router, document)
}

/// All paths, and what answers where there is none.
pub fn router(api: Api) -> Router {
    let (described, document) = described();
    let router = described
        .nest("/api/projects", Router::from(apps::router()))
        .route("/api/openapi.json", get(move || async move { Json(document) }))
        .merge(docs::pages())
        .with_state(api.clone());
    let cors = pages_elsewhere(&api);
    bounded(router)
        .layer(middleware::from_fn_with_state(api, front::receive))
        .layer(CompressionLayer::new())
        .layer(cors)
}

/// What browsers let pages of other origins do. They show an access token or a key; cookies count for nothing here.
fn pages_elsewhere(api: &Api) -> CorsLayer {
    let settings = api.platform.settings();
    let is_allowed = move |origin: &HeaderValue, _: &Parts| {
        settings.borrow().api.cors_origins.iter().any(|allowed| origin == allowed.as_str())
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            once::IDEMPOTENCY_KEY,
            front::REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            once::REPLAYED,
            front::REQUEST_ID,
            limits::LIMIT,
            limits::REMAINING,
            limits::RESET,
        ])
        .max_age(PREFLIGHT_AGE_MAX)
}

/// What holds for every path: the shape of errors, and the limit of bodies.
pub(crate) fn bounded(router: Router) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(refuse_large_body))
}

async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
}

/// Refuses a body that announces its size before anything reads it; `DefaultBodyLimit` stops the others, and the platform
/// an archive of code.
async fn refuse_large_body(request: Request, next: Next) -> Response {
    let is_archive = request.uri().path() == "/api/deployments/archive";
    let bytes_max = if is_archive { SOURCE_ARCHIVE_BYTES_MAX } else { BODY_BYTES_MAX as u64 };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let bytes = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if bytes.is_some_and(|bytes| bytes > bytes_max) {
        let message = format!("a body may have {bytes_max} bytes at most");
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).into_response();
    }
    next.run(request).await
}
