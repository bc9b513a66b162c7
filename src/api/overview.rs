//! `/api/dashboard` and `/api/monitoring`: figures for a first look, and how busy everything is.

use autostack_base::clock;
use autostack_domain::{AppName, DeploymentId, DeploymentState, Stage};
use autostack_platform::{DeploymentQuery, HostMetrics, InstanceMetrics, Overview, Which};
use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Refusals},
    caller::Caller,
    deployments::{Deployment, TimedStage},
    error::ApiError,
    extract::At,
    state::Api,
};

/// Deployments of the dashboard.
const RECENT: usize = 20;

pub(crate) fn dashboard() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(stats)).routes(routes!(recent))
}

pub(crate) fn monitoring() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(system)).routes(routes!(instances)).routes(routes!(pipeline))
}

/// Where a deployment is.
#[derive(Serialize, ToSchema)]
struct Pipeline {
    /// The deployment.
    id: DeploymentId,
    /// The app.
    app: AppName,
    /// How far it is.
    state: DeploymentState,
    /// The stage that it is at; `null` before the first and after the last.
    stage: Option<Stage>,
    /// Milliseconds since it was asked for, or that it took.
    elapsed_ms: u64,
    /// Every stage that has begun.
    stages: Vec<TimedStage>,
}

/// Figures of the apps that the caller may see.
#[utoipa::path(get, path = "/stats", tag = "overview", responses((status = OK, body = Overview), Refusals))]
async fn stats(State(api): State<Api>, caller: Caller) -> Result<Json<Overview>, ApiError> {
    Ok(Json(api.platform.overview(&caller.actor).await?))
}

/// The newest deployments of the apps that the caller may see.
#[utoipa::path(get, path = "/recent-deployments", tag = "overview",
    responses((status = OK, body = Vec<Deployment>), Refusals))]
async fn recent(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<Deployment>>, ApiError> {
    let query = DeploymentQuery { limit: RECENT, ..DeploymentQuery::default() };
    let page = api.platform.build_page(&caller.actor, query).await?;
    Ok(Json(page.builds.into_iter().map(Deployment::from).collect()))
}

/// How busy the host is, and was during the last day; for admins of the host.
#[utoipa::path(get, path = "/system", tag = "overview", responses((status = OK, body = HostMetrics), Refusals))]
async fn system(State(api): State<Api>, caller: Caller) -> Result<Json<HostMetrics>, ApiError> {
    Ok(Json(api.platform.host_metrics(&caller.actor).await?))
}

/// How busy the instances of an app are, and were during the last day.
#[utoipa::path(get, path = "/apps/{name}", tag = "overview",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = Vec<InstanceMetrics>), Refusals, Absences))]
async fn instances(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<Json<Vec<InstanceMetrics>>, ApiError> {
    Ok(Json(api.platform.instance_metrics(&caller.actor, &name).await?))
}

/// Where a deployment is.
#[utoipa::path(get, path = "/pipeline/{id}", tag = "overview",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    responses((status = OK, body = Pipeline), Refusals, Absences))]
async fn pipeline(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
) -> Result<Json<Pipeline>, ApiError> {
    let view = api.platform.build(&caller.actor, None, &Which::Id(id)).await?;
    let at = view.stages.iter().rev().find(|stage| stage.ended_at.is_none()).map(|stage| stage.stage);
    Ok(Json(Pipeline {
        id: view.id,
        app: view.app,
        state: view.state,
        stage: at.filter(|_| !view.state.is_final()),
        elapsed_ms: view.ended_at.unwrap_or_else(clock::now).since(view.started_at),
        stages: view.stages.into_iter().map(TimedStage::from).collect(),
    }))
}
