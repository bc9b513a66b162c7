//! `/api/apps/{name}/formation` and what starts, stops and restarts: what of an app runs.

use std::collections::{BTreeMap, BTreeSet};

use autostack_domain::{AppName, ProcessType};
use autostack_platform::{PlatformError, ProcessesView};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    background::settle,
    caller::Caller,
    error::ApiError,
    extract::{At, Body},
    state::Api,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get, scale))
        .routes(routes!(restart))
        .routes(routes!(stop))
        .routes(routes!(start))
}

/// Instances of process types.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// How many of each: `{"web": 2}`. Others stay.
    formation: BTreeMap<ProcessType, u32>,
    /// `false`: it counts from the next release on.
    #[serde(default = "yes")]
    restart: bool,
}

fn yes() -> bool {
    true
}

/// What is to be restarted.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Restart {
    /// Only these process types; all where none is named.
    #[serde(default)]
    processes: BTreeSet<ProcessType>,
}

/// What of an app runs, and what should.
#[utoipa::path(get, path = "/{name}/formation", tag = "instances",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = ProcessesView), Refusals, Absences))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<Json<ProcessesView>, ApiError> {
    Ok(Json(api.platform.processes(&caller.actor, &name).await?))
}

/// Says how many instances of some process types there should be, and starts or ends the difference. When one does not
/// get ready nothing has changed. 202: it takes its time and goes on.
#[utoipa::path(patch, path = "/{name}/formation", tag = "instances",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = ProcessesView), (status = ACCEPTED, body = ProcessesView), Refusals, Absences, Conflicts))]
async fn scale(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Body(wanted): Body<Scale>,
) -> Result<Response, ApiError> {
    let (platform, actor, app) = (api.platform.clone(), caller.actor.clone(), name.clone());
    let done = settle(&api, "scale", |mut screen, gone| async move {
        platform.scale(&actor, &app, wanted.formation, !wanted.restart, &mut screen, &gone).await
    });
    shown(done.await?, &api, &caller, &name).await
}

/// Puts new instances in the place of those that run, without losing a request.
#[utoipa::path(post, path = "/{name}/restart", tag = "instances",
    params(("name" = AppName, Path, description = "The app.")), request_body = Restart,
    responses((status = OK, body = ProcessesView), (status = ACCEPTED, body = ProcessesView), Refusals, Absences, Conflicts))]
async fn restart(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Body(wanted): Body<Restart>,
) -> Result<Response, ApiError> {
    let (platform, actor, app) = (api.platform.clone(), caller.actor.clone(), name.clone());
    let only = Some(wanted.processes).filter(|processes| !processes.is_empty());
    let done = settle(&api, "restart", |mut screen, gone| async move {
        platform.restart(&actor, &app, only, &mut screen, &gone).await
    });
    shown(done.await?, &api, &caller, &name).await
}

/// Ends everything of an app until it is started again; visitors are told so.
#[utoipa::path(post, path = "/{name}/stop", tag = "instances",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = ProcessesView), (status = ACCEPTED, body = ProcessesView), Refusals, Absences, Conflicts))]
async fn stop(State(api): State<Api>, caller: Caller, At(name): At<AppName>) -> Result<Response, ApiError> {
    let (platform, actor, app) = (api.platform.clone(), caller.actor.clone(), name.clone());
    let done = settle(&api, "stop", |mut screen, gone| async move {
        platform.stop_app(&actor, &app, &mut screen, &gone).await
    });
    shown(done.await?, &api, &caller, &name).await
}

/// Starts what was stopped.
#[utoipa::path(post, path = "/{name}/start", tag = "instances",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = ProcessesView), (status = ACCEPTED, body = ProcessesView), Refusals, Absences, Conflicts))]
async fn start(State(api): State<Api>, caller: Caller, At(name): At<AppName>) -> Result<Response, ApiError> {
    let (platform, actor, app) = (api.platform.clone(), caller.actor.clone(), name.clone());
    let done = settle(&api, "start", |mut screen, gone| async move {
        platform.start_app(&actor, &app, &mut screen, &gone).await
    });
    shown(done.await?, &api, &caller, &name).await
}

/// What runs now: 200 where the change is done, 202 where it goes on.
async fn shown(done: Option<()>, api: &Api, caller: &Caller, name: &AppName) -> Result<Response, ApiError> {
    let now: Result<ProcessesView, PlatformError> = api.platform.processes(&caller.actor, name).await;
    let status = if done.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(now?)).into_response())
}
