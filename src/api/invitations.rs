//! `/api/invitations`: who is to be let in.

use autostack_domain::{AppName, TokenId, permission::Role};
use autostack_platform::{InvitationView, NewInvitation};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    caller::Caller,
    error::ApiError,
    extract::{At, Body},
    state::Api,
};

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, invite)).routes(routes!(remove))
}

/// Somebody to be let in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Invite {
    /// The only address that it is good for.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Whether they are to run the whole platform.
    #[serde(default)]
    is_admin: bool,
    /// A role that they get with it.
    role: Option<RoleOnApp>,
}

/// A role on an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleOnApp {
    /// The app.
    app: AppName,
    /// `viewer`, `deployer` or `admin`.
    role: Role,
}

/// An invitation with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
struct ShownInvitation {
    /// What its owner shows at `POST /api/auth/signup`.
    secret: String,
    #[serde(flatten)]
    view: InvitationView,
}

/// The invitations that nobody has taken yet.
#[utoipa::path(get, path = "/", tag = "invitations", responses((status = OK, body = Vec<InvitationView>), Refusals))]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<InvitationView>>, ApiError> {
    Ok(Json(api.platform.invitations(&caller.actor).await?))
}

/// Invites somebody, by mail where the host sends any; its secret is shown this once.
#[utoipa::path(post, path = "/", tag = "invitations",
    responses((status = CREATED, body = ShownInvitation), Refusals, Absences, Conflicts))]
async fn invite(
    State(api): State<Api>,
    caller: Caller,
    Body(wanted): Body<Invite>,
) -> Result<(StatusCode, Json<ShownInvitation>), ApiError> {
    let Invite { email, is_admin, role } = wanted;
    let role = role.map(|role| (role.app, role.role));
    let (view, secret) = api.platform.invite(&caller.actor, NewInvitation { email, is_admin, role }).await?;
    Ok((StatusCode::CREATED, Json(ShownInvitation { secret: secret.expose().clone(), view })))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/{id}", tag = "invitations", params(("id" = TokenId, Path)),
    responses((status = OK, body = InvitationView), Refusals, Absences))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<TokenId>,
) -> Result<Json<InvitationView>, ApiError> {
    Ok(Json(api.platform.remove_invitation(&caller.actor, &id).await?))
}
