//! GET `/health`: how the agent is, by part.

use std::collections::BTreeMap;

use autostack_base::health::{Part, PartState};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::Api;

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(get))
}

/// How the agent is.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// `ok`, or `degraded` when any part is not.
    status: &'static str,
    /// The agent's version.
    version: &'static str,
    /// Its parts, by name.
    parts: BTreeMap<&'static str, Part>,
}

/// How the agent is, by part. 503 only while a part is down: one that merely wants looking at still does its work.
#[utoipa::path(get, path = "/health", tag = "host", security(()),
    responses((status = OK, body = HealthAnswer), (status = SERVICE_UNAVAILABLE, body = HealthAnswer)))]
pub(crate) async fn get(State(api): State<Api>) -> Response {
    let health = (api.health)();
    let (code, status) = match health.worst() {
        PartState::Ok => (StatusCode::OK, "ok"),
        PartState::Degraded => (StatusCode::OK, "degraded"),
        PartState::Down => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let answer = HealthAnswer { status, version: env!("CARGO_PKG_VERSION"), parts: health.parts };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}
