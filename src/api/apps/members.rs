//! `/api/apps/{name}/members`: who may use an app.

use autostack_domain::{AppName, permission::Role};
use autostack_platform::MemberView;
use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    caller::Caller,
    error::ApiError,
    extract::{At, Body},
    state::Api,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, remove))
}

/// What somebody may do with an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Membership {
    /// `viewer`, `deployer` or `admin`.
    role: Role,
}

/// Who may use an app: its owner first.
#[utoipa::path(get, path = "/{name}/members", tag = "members",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = Vec<MemberView>), Refusals, Absences))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<Json<Vec<MemberView>>, ApiError> {
    Ok(Json(api.platform.members(&caller.actor, &name).await?))
}

/// Gives somebody a role on an app, in place of the one before.
#[utoipa::path(put, path = "/{name}/members/{user}", tag = "members",
    params(("name" = AppName, Path, description = "The app."), ("user" = String, Path, description = "An address, or a name.")),
    responses((status = OK, body = MemberView), Refusals, Absences, Conflicts))]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    At((name, user)): At<(AppName, String)>,
    Body(wanted): Body<Membership>,
) -> Result<Json<MemberView>, ApiError> {
    Ok(Json(api.platform.add_member(&caller.actor, &name, &user, wanted.role).await?))
}

/// Takes a role away; everybody may give up their own. What they have open at the app ends.
#[utoipa::path(delete, path = "/{name}/members/{user}", tag = "members",
    params(("name" = AppName, Path, description = "The app."), ("user" = String, Path, description = "An address, or a name.")),
    responses((status = NO_CONTENT), Refusals, Absences, Conflicts))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At((name, user)): At<(AppName, String)>,
) -> Result<StatusCode, ApiError> {
    api.platform.remove_member(&caller.actor, &name, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
