//! `/api/apps`: apps, and what belongs to one. Also reached as `/api/projects`.

mod config;
mod domains;
mod instances;
mod members;
mod releases;

use autostack_domain::AppName;
use autostack_platform::{AppDetails, AppView};
use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    background::settle,
    caller::Caller,
    error::ApiError,
    extract::{At, Body},
    logs,
    state::Api,
};

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, change, destroy))
        .merge(config::router())
        .merge(domains::router())
        .merge(instances::router())
        .merge(members::router())
        .merge(releases::router())
        .merge(logs::of_apps())
}

/// An app to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApp {
    /// What it is to be called: a-z, 0-9 and -, 63 characters at most.
    name: AppName,
}

/// What is to change of an app. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AppChange {
    /// Another name; its addresses below the domains of the host change with it.
    name: Option<AppName>,
    /// Whether deployments are refused.
    is_locked: Option<bool>,
    /// Whether visitors are told that it is being worked on.
    is_in_maintenance: Option<bool>,
}

/// The apps that the caller may see, by name.
#[utoipa::path(get, path = "", tag = "apps", responses((status = OK, body = Vec<AppView>), Refusals))]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<AppView>>, ApiError> {
    Ok(Json(api.platform.apps(&caller.actor).await?))
}

/// Makes an app that belongs to the caller.
#[utoipa::path(post, path = "", tag = "apps", responses((status = CREATED, body = AppView), Refusals, Conflicts))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(wanted): Body<NewApp>,
) -> Result<(StatusCode, Json<AppView>), ApiError> {
    Ok((StatusCode::CREATED, Json(api.platform.create_app(&caller.actor, &wanted.name).await?)))
}

/// One app.
#[utoipa::path(get, path = "/{name}", tag = "apps", params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = AppDetails), Refusals, Absences))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<Json<AppDetails>, ApiError> {
    Ok(Json(api.platform.app(&caller.actor, &name).await?))
}

/// Renames an app, locks it, or tells its visitors that it is being worked on. No request is lost.
#[utoipa::path(patch, path = "/{name}", tag = "apps", params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = AppDetails), Refusals, Absences, Conflicts))]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    At(mut name): At<AppName>,
    Body(change): Body<AppChange>,
) -> Result<Json<AppDetails>, ApiError> {
    let (platform, actor) = (&api.platform, &caller.actor);
    if let Some(new) = change.name.filter(|new| *new != name) {
        let (platform, actor, old, now) = (platform.clone(), actor.clone(), name, new.clone());
        let renamed = settle(&api, "rename", |mut screen, _| async move {
            platform.rename_app(&actor, &old, &now, &mut screen).await
        });
        if renamed.await?.is_none() {
            return Err(ApiError::new(StatusCode::CONFLICT, "conflict", "the app is still being renamed"));
        }
        name = new;
    }
    match change.is_locked {
        Some(true) => drop(platform.lock_app(actor, &name).await?),
        Some(false) => drop(platform.unlock_app(actor, &name).await?),
        None => {}
    }
    if let Some(is_on) = change.is_in_maintenance {
        platform.set_maintenance(actor, &name, is_on).await?;
    }
    Ok(Json(platform.app(actor, &name).await?))
}

/// Removes an app with its releases, config, code, logs and everything that runs for it.
#[utoipa::path(delete, path = "/{name}", tag = "apps", params(("name" = AppName, Path, description = "The app.")),
    responses((status = NO_CONTENT), Refusals, Absences, Conflicts))]
async fn destroy(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<StatusCode, ApiError> {
    api.platform.destroy_app(&caller.actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
