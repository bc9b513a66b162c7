//! GET `/health`: how the agent is, by part.

use std::collections::BTreeMap;

use autostack_base::health::{HealthSource, Part, PartState};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

#[derive(Serialize)]
struct Answer {
    /// `ok`, or `degraded` when any part is not.
    status: &'static str,
    version: &'static str,
    parts: BTreeMap<&'static str, Part>,
}

/// 503 only while a part is down: one that merely wants looking at still does its work.
pub(crate) async fn get(State(source): State<HealthSource>) -> Response {
    let health = source();
    let (code, status) = match health.worst() {
        PartState::Ok => (StatusCode::OK, "ok"),
        PartState::Degraded => (StatusCode::OK, "degraded"),
        PartState::Down => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let answer = Answer { status, version: env!("CARGO_PKG_VERSION"), parts: health.parts };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}
