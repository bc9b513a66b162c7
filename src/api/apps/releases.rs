//! `/api/apps/{name}/releases`: what was live, and back to it.

use autostack_domain::{AppName, ReleaseNumber};
use autostack_platform::{ReleaseDetails, ReleaseView};
use axum::{Json, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    background::begin,
    caller::Caller,
    deployments::{Deployment, accepted},
    error::ApiError,
    extract::At,
    state::Api,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(roll_back))
}

/// The releases of an app that are kept, newest first.
#[utoipa::path(get, path = "/{name}/releases", tag = "releases",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = Vec<ReleaseView>), Refusals, Absences))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<Json<Vec<ReleaseView>>, ApiError> {
    Ok(Json(api.platform.releases(&caller.actor, &name).await?))
}

/// One release.
#[utoipa::path(get, path = "/{name}/releases/{n}", tag = "releases",
    params(("name" = AppName, Path, description = "The app."), ("n" = ReleaseNumber, Path, description = "Its number.")),
    responses((status = OK, body = ReleaseDetails), Refusals, Absences, Conflicts))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    At((name, number)): At<(AppName, ReleaseNumber)>,
) -> Result<Json<ReleaseDetails>, ApiError> {
    Ok(Json(api.platform.release(&caller.actor, &name, Some(number)).await?))
}

/// Goes back to code and config of an earlier release, which becomes a new one. Nothing is built, and no request is lost.
#[utoipa::path(post, path = "/{name}/releases/{n}/rollback", tag = "releases",
    params(("name" = AppName, Path, description = "The app."), ("n" = ReleaseNumber, Path, description = "Its number.")),
    responses((status = ACCEPTED, body = Deployment), Refusals, Absences, Conflicts))]
async fn roll_back(
    State(api): State<Api>,
    caller: Caller,
    At((name, number)): At<(AppName, ReleaseNumber)>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let (platform, actor) = (api.platform.clone(), caller.actor.clone());
    let first = begin(&api, "rollback", |mut screen, gone| async move {
        platform.rollback(&actor, &name, Some(number), &mut screen, &gone).await
    });
    accepted(first.await?, &api, &caller).await
}
