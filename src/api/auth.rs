//! `/api/auth`: sign up, log in, refresh, log out.

use autostack_domain::Secret;
use autostack_platform::{NewAccount, Proof, Tokens};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Conflicts, Refusals},
    caller::{Caller, Client},
    error::ApiError,
    extract::{Asked, Body, Said},
    pages::{Field, Page},
    state::Api,
    tickets::TICKET_TTL,
};

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(sign_up_page, sign_up))
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

/// The secret of an invitation.
#[derive(Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Invited {
    /// The secret that the mail holds.
    invitation: String,
}

/// The page behind the link of a mail that invites somebody.
#[utoipa::path(get, path = "/signup", tag = "auth", security(()), params(Invited),
    responses((status = OK, body = String, content_type = "text/html"), Refusals))]
async fn sign_up_page(Asked(invited): Asked<Invited>) -> Page {
    let fields = [
        Field::Hidden("invitation", &invited.invitation),
        Field::Typed("email", "The address that the mail came to", "email"),
        Field::Typed("password", "A password, 8 characters at least", "password"),
    ];
    Page::saying(StatusCode::OK, "You are invited", "This makes your account.").form(&fields, "Make it")
}

/// Makes an account, where the host lets people.
#[utoipa::path(post, path = "/signup", tag = "auth", security(()),
    request_body(content((SignUp = "application/json"), (SignUp = "application/x-www-form-urlencoded"))),
    responses((status = CREATED, body = TokenPair),
        (status = OK, description = "To a form.", body = String, content_type = "text/html"), Refusals, Conflicts))]
async fn sign_up(State(api): State<Api>, client: Client, said: Said<SignUp>) -> Result<Response, ApiError> {
    let SignUp { email, password, name, invitation } = &said.value;
    let wanted = NewAccount {
        email: email.clone(),
        password: Secret::new(password.clone()),
        name: name.clone(),
        invitation: invitation.clone().map(Secret::new),
    };
    let made = api.platform.sign_up(wanted, &client.login()).await;
    if said.is_form {
        return said.answer(
            made.map(drop).map_err(ApiError::from),
            "Welcome",
            "Your account is there: log in.",
        );
    }
    Ok((StatusCode::CREATED, Json(TokenPair::from(made?))).into_response())
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
