//! `/api/deployments`: what was deployed, how it went, and making more of them.

mod create;
mod list;

use autostack_domain::{DeploymentId, DeploymentState, Stage, UnixMillis, deployment::StageRecord};
use autostack_platform::{BuildView, Which};
use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    background::First,
    caller::Caller,
    error::ApiError,
    extract::At,
    logs,
    state::Api,
};

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(list::router())
        .merge(create::router())
        .merge(logs::of_deployments())
        .routes(routes!(get))
        .routes(routes!(stages))
        .routes(routes!(metrics))
        .routes(routes!(cancel))
        .routes(routes!(remove))
}

/// A deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deployment {
    #[serde(flatten)]
    view: BuildView,
}

impl From<BuildView> for Deployment {
    fn from(view: BuildView) -> Self {
        Self { view }
    }
}

/// A stage with its time.
#[derive(Serialize, ToSchema)]
pub(crate) struct TimedStage {
    /// Which stage.
    stage: Stage,
    /// When it began.
    started_at: UnixMillis,
    /// When it ended; `null` while it runs.
    ended_at: Option<UnixMillis>,
    /// Milliseconds that it took; `null` while it runs.
    duration_ms: Option<u64>,
}

impl From<StageRecord> for TimedStage {
    fn from(record: StageRecord) -> Self {
        let StageRecord { stage, started_at, ended_at } = record;
        Self { stage, started_at, ended_at, duration_ms: ended_at.map(|end| end.since(started_at)) }
    }
}

/// How long a deployment took, and where.
#[derive(Serialize, ToSchema)]
struct DeploymentMetrics {
    /// Its id.
    id: DeploymentId,
    /// How far it is.
    state: DeploymentState,
    /// Milliseconds from the request to its first stage; `null` while it waits.
    queued_ms: Option<u64>,
    /// Milliseconds of the build stage; `null` where nothing was built (yet).
    build_ms: Option<u64>,
    /// Milliseconds from the request to its end; `null` while it goes on.
    total_ms: Option<u64>,
    /// Every stage that has begun.
    stages: Vec<TimedStage>,
}

/// What a deployment that was begun is answered with.
pub(crate) async fn accepted<T>(
    first: First<T>,
    api: &Api,
    caller: &Caller,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let First::Deployment(id) = first else {
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", "there was nothing to deploy"));
    };
    let view = api.platform.build(&caller.actor, None, &Which::Id(id)).await?;
    Ok((StatusCode::ACCEPTED, Json(view.into())))
}

/// One deployment.
#[utoipa::path(get, path = "/{id}", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = OK, body = Deployment), Refusals, Absences))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
) -> Result<Json<Deployment>, ApiError> {
    Ok(Json(api.platform.build(&caller.actor, None, &Which::Id(id)).await?.into()))
}

/// The stages of a deployment, with their times.
#[utoipa::path(get, path = "/{id}/stages", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = OK, body = Vec<TimedStage>), Refusals, Absences))]
async fn stages(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
) -> Result<Json<Vec<TimedStage>>, ApiError> {
    let view = api.platform.build(&caller.actor, None, &Which::Id(id)).await?;
    Ok(Json(view.stages.into_iter().map(TimedStage::from).collect()))
}

/// How long a deployment took, and where.
#[utoipa::path(get, path = "/{id}/metrics", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = OK, body = DeploymentMetrics), Refusals, Absences))]
async fn metrics(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
) -> Result<Json<DeploymentMetrics>, ApiError> {
    let view = api.platform.build(&caller.actor, None, &Which::Id(id)).await?;
    let stages: Vec<TimedStage> = view.stages.into_iter().map(TimedStage::from).collect();
    let build = stages.iter().find(|timed| timed.stage == Stage::Build);
    Ok(Json(DeploymentMetrics {
        id: view.id,
        state: view.state,
        queued_ms: stages.first().map(|first| first.started_at.since(view.started_at)),
        build_ms: build.and_then(|build| build.duration_ms),
        total_ms: view.ended_at.map(|end| end.since(view.started_at)),
        stages,
    }))
}

/// Ends a deployment under way and waits until all that it made is undone. It may have been faster.
#[utoipa::path(post, path = "/{id}/cancel", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = OK, body = Deployment), Refusals, Absences, Conflicts))]
async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
) -> Result<Json<Deployment>, ApiError> {
    let view = api.platform.build(&caller.actor, None, &Which::Id(id.clone())).await?;
    api.platform.cancel_build(&caller.actor, &view.app, Some(&id)).await?;
    get(State(api), caller, At(id)).await
}

/// Forgets a deployment that has ended, with its log; that of the live release stays.
#[utoipa::path(post, path = "/{id}/delete", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = NO_CONTENT), Refusals, Absences, Conflicts))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
) -> Result<StatusCode, ApiError> {
    api.platform.remove_build(&caller.actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
