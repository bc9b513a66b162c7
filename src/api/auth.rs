//! `/api/auth`: sign up, log in, refresh, log out.

use autostack_domain::Secret;
use autostack_platform::{NewAccount, Proof, Tokens};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Conflicts, Refusals},
    caller::{Caller, Client},
    error::ApiError,
    extract::Body,
    state::Api,
    tickets::TICKET_TTL,
};

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(ticket))
}

/// An account that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUp {
    /// The address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// 8 characters at least, 1024 bytes at most.
    #[schema(format = Password)]
    password: String,
    /// What they are called.
    name: Option<String>,
    /// The secret of an invitation.
    invitation: Option<String>,
}

/// What somebody shows to come in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIn {
    /// The address of the account.
    email: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
    /// A code of the second factor, or a recovery code.
    code: Option<String>,
}

/// The token that buys the next pair, or ends the session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshToken {
    /// The refresh token; good once.
    refresh_token: String,
}

/// What opens the API.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    /// Opens the API: `authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds that the access token is good for.
    expires_in: u64,
    /// Buys the next pair, once.
    refresh_token: String,
    /// Seconds that the refresh token is good for.
    refresh_expires_in: u64,
}

impl From<Tokens> for TokenPair {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access.expose().clone(),
            token_type: "Bearer",
            expires_in: tokens.access_ttl.as_secs(),
            refresh_token: tokens.refresh.expose().clone(),
            refresh_expires_in: tokens.refresh_ttl.as_secs(),
        }
    }
}

/// Makes an account, where the host lets people.
#[utoipa::path(post, path = "/signup", tag = "auth", security(()),
    responses((status = CREATED, body = TokenPair), Refusals, Conflicts))]
async fn sign_up(
    State(api): State<Api>,
    client: Client,
    Body(wanted): Body<SignUp>,
) -> Result<(StatusCode, Json<TokenPair>), ApiError> {
    let SignUp { email, password, name, invitation } = wanted;
    let (password, invitation) = (Secret::new(password), invitation.map(Secret::new));
    let wanted = NewAccount { email, password, name, invitation };
    let tokens = api.platform.sign_up(wanted, &client.login()).await?;
    Ok((StatusCode::CREATED, Json(tokens.into())))
}

/// Lets somebody in.
#[utoipa::path(post, path = "/login", tag = "auth", security(()), responses((status = OK, body = TokenPair), Refusals))]
async fn log_in(
    State(api): State<Api>,
    client: Client,
    Body(shown): Body<LogIn>,
) -> Result<Json<TokenPair>, ApiError> {
    let LogIn { email, password, code } = shown;
    let proof = Proof { email, password: Secret::new(password), code };
    Ok(Json(api.platform.log_in(proof, &client.login()).await?.into()))
}

/// Takes a session on. The refresh token is good once; one that is shown a second time ends the session.
#[utoipa::path(post, path = "/refresh", tag = "auth", security(()), responses((status = OK, body = TokenPair), Refusals))]
async fn refresh(
    State(api): State<Api>,
    client: Client,
    Body(shown): Body<RefreshToken>,
) -> Result<Json<TokenPair>, ApiError> {
    Ok(Json(api.platform.refresh(&shown.refresh_token, client.address).await?.into()))
}

/// Ends the session of a refresh token.
#[utoipa::path(post, path = "/logout", tag = "auth", security(()), responses((status = NO_CONTENT), Refusals))]
async fn log_out(
    State(api): State<Api>,
    client: Client,
    Body(shown): Body<RefreshToken>,
) -> Result<StatusCode, ApiError> {
    api.platform.log_out(&shown.refresh_token, client.address).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What opens one feed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ticket {
    /// Shown as `?ticket=…`, once.
    ticket: String,
    /// Seconds that it is good for.
    expires_in: u64,
}

/// A ticket that opens one feed in the caller's name, for clients that can send no header with a WebSocket.
#[utoipa::path(post, path = "/ticket", tag = "auth", responses((status = OK, body = Ticket), Refusals))]
async fn ticket(State(api): State<Api>, caller: Caller) -> Result<Json<Ticket>, ApiError> {
    Ok(Json(Ticket { ticket: api.tickets.issue(caller)?, expires_in: TICKET_TTL.as_secs() }))
}
