//! The paths on one screen.

use autostack_domain::limits;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{apps, audit, auth, deployments, docs, error::ApiError, front, health, me, overview, state::Api};

/// Bytes of a request's body.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Every path that the document describes, and the document.
pub(crate) fn described() -> (Router<Api>, OpenApi) {
    OpenApiRouter::with_openapi(docs::head())
        .nest("/api/auth", auth::router())
        .nest("/api/user", me::router())
        .nest("/api/apps", apps::router())
        .nest("/api/deployments", deployments::router())
        .nest("/api/dashboard", overview::dashboard())
        .nest("/api/monitoring", overview::monitoring())
        .nest("/api/audit", audit::router())
        .merge(health::router())
        .split_for_parts()
}

/// All paths, and what answers where there is none.
pub fn router(api: Api) -> Router {
    let (described, document) = described();
    let router = described
        .nest("/api/projects", Router::from(apps::router()))
        .route("/api/openapi.json", get(move || async move { Json(document) }))
        .merge(docs::pages())
        .with_state(api.clone());
    bounded(router).layer(middleware::from_fn_with_state(api, front::receive))
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
    let bytes_max = if is_archive { limits::SOURCE_ARCHIVE_BYTES_MAX } else { BODY_BYTES_MAX as u64 };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let bytes = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if bytes.is_some_and(|bytes| bytes > bytes_max) {
        let message = format!("a body may have {bytes_max} bytes at most");
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).into_response();
    }
    next.run(request).await
}
