//! `/api/user/me`: the caller's account, password, second factor, sessions, SSH keys and API keys.

use std::time::Duration;

use autostack_domain::{Secret, SessionId, TokenId, account::Scope};
use autostack_platform::{AccountView, ApiKeyView, KeyView, Keyring, NewApiKey, SessionView};
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
    OpenApiRouter::new()
        .routes(routes!(get, change))
        .routes(routes!(change_password))
        .routes(routes!(offer_second_factor, remove_second_factor))
        .routes(routes!(confirm_second_factor))
        .routes(routes!(sessions, end_other_sessions))
        .routes(routes!(end_session))
        .routes(routes!(keys, add_key))
        .routes(routes!(remove_key))
        .routes(routes!(tokens, add_token))
        .routes(routes!(remove_token))
        .routes(routes!(rotate_token))
}

/// What is to change of an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountChange {
    /// What the caller is called; `null`: by their address.
    name: Option<String>,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The one before, where there is one.
    #[schema(format = Password)]
    current: Option<String>,
    /// 8 characters at least, 1024 bytes at most.
    #[schema(format = Password)]
    new: String,
}

/// The caller's password, asked for again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordAgain {
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// A second factor that is offered; shown once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Offer {
    /// The shared secret in base32, to type in.
    secret: String,
    /// The same as an `otpauth://` address, to scan.
    url: String,
}

/// A code of the second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    /// Six digits.
    code: String,
}

/// Codes for the day when the authenticator is lost; shown once, each good once.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// The codes.
    recovery_codes: Vec<String>,
}

/// An SSH key to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it is to be called.
    name: String,
    /// The line of the `.pub` file.
    public_key: String,
    /// A code of the second factor, where the caller has one.
    code: Option<String>,
}

/// An API key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is to be called.
    name: String,
    /// What it may be used for; one at least.
    scopes: Vec<Scope>,
    /// Seconds that it is to be good for; without: until it is removed.
    expires_in: Option<u32>,
    /// A code of the second factor, where the caller has one.
    code: Option<String>,
}

/// An API key with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownToken {
    /// The whole key: `authorization: Bearer …`.
    token: String,
    #[serde(flatten)]
    view: ApiKeyView,
}

/// The caller's account.
#[utoipa::path(get, path = "/me", tag = "user", responses((status = OK, body = AccountView), Refusals))]
async fn get(State(api): State<Api>, caller: Caller) -> Result<Json<AccountView>, ApiError> {
    Ok(Json(api.platform.account(&caller.actor).await?))
}

/// Changes what the caller is called.
#[utoipa::path(patch, path = "/me", tag = "user", responses((status = OK, body = AccountView), Refusals))]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Body(change): Body<AccountChange>,
) -> Result<Json<AccountView>, ApiError> {
    Ok(Json(api.platform.rename_account(&caller.actor, change.name.as_deref()).await?))
}

/// Gives the caller another password. Every other session of theirs ends.
#[utoipa::path(put, path = "/me/password", tag = "user", responses((status = NO_CONTENT), Refusals))]
async fn change_password(
    State(api): State<Api>,
    caller: Caller,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let (current, new) = (change.current.map(Secret::new), Secret::new(change.new));
    api.platform.change_password(&caller.actor, current.as_ref(), &new, caller.session()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Offers a second factor. Nothing changes before a code of it confirms it.
#[utoipa::path(post, path = "/me/totp", tag = "user", responses((status = OK, body = Offer), Refusals, Conflicts))]
async fn offer_second_factor(
    State(api): State<Api>,
    caller: Caller,
    Body(again): Body<PasswordAgain>,
) -> Result<Json<Offer>, ApiError> {
    let password = Secret::new(again.password);
    let offer = api.platform.offer_second_factor(&caller.actor, &password).await?;
    Ok(Json(Offer { secret: offer.secret.expose().clone(), url: offer.url.expose().clone() }))
}

/// Confirms the second factor that was offered last.
#[utoipa::path(post, path = "/me/totp/confirm", tag = "user",
    responses((status = OK, body = RecoveryCodes), Refusals, Conflicts))]
async fn confirm_second_factor(
    State(api): State<Api>,
    caller: Caller,
    Body(shown): Body<Code>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let codes = api.platform.confirm_second_factor(&caller.actor, &shown.code).await?;
    Ok(Json(RecoveryCodes { recovery_codes: codes.iter().map(|code| code.expose().clone()).collect() }))
}

/// Takes the second factor away.
#[utoipa::path(delete, path = "/me/totp", tag = "user", responses((status = NO_CONTENT), Refusals, Conflicts))]
async fn remove_second_factor(
    State(api): State<Api>,
    caller: Caller,
    Body(again): Body<PasswordAgain>,
) -> Result<StatusCode, ApiError> {
    api.platform.remove_second_factor(&caller.actor, &Secret::new(again.password)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's open sessions.
#[utoipa::path(get, path = "/me/sessions", tag = "user", responses((status = OK, body = Vec<SessionView>), Refusals))]
async fn sessions(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<SessionView>>, ApiError> {
    Ok(Json(api.platform.sessions(&caller.actor).await?))
}

/// Ends every session of the caller but this one.
#[utoipa::path(delete, path = "/me/sessions", tag = "user", responses((status = NO_CONTENT), Refusals))]
async fn end_other_sessions(State(api): State<Api>, caller: Caller) -> Result<StatusCode, ApiError> {
    api.platform.end_sessions(&caller.actor, caller.session()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a session of the caller.
#[utoipa::path(delete, path = "/me/sessions/{id}", tag = "user", params(("id" = SessionId, Path)),
    responses((status = NO_CONTENT), Refusals, Absences))]
async fn end_session(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<SessionId>,
) -> Result<StatusCode, ApiError> {
    api.platform.end_session(&caller.actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's SSH keys.
#[utoipa::path(get, path = "/me/keys", tag = "user", responses((status = OK, body = Vec<KeyView>), Refusals))]
async fn keys(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<KeyView>>, ApiError> {
    Ok(Json(api.platform.keys_of(&caller.actor, Keyring::Own).await?))
}

/// Adds an SSH key of the caller.
#[utoipa::path(post, path = "/me/keys", tag = "user", responses((status = CREATED, body = KeyView), Refusals, Conflicts))]
async fn add_key(
    State(api): State<Api>,
    caller: Caller,
    Body(wanted): Body<NewKey>,
) -> Result<(StatusCode, Json<KeyView>), ApiError> {
    api.platform.check_code(&caller.actor, wanted.code).await?;
    let added = api.platform.add_own_key(&caller.actor, &wanted.name, &wanted.public_key).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// Removes an SSH key of the caller, named by its name or its fingerprint.
#[utoipa::path(delete, path = "/me/keys/{key}", tag = "user", params(("key" = String, Path)),
    responses((status = OK, body = KeyView), Refusals, Absences, Conflicts))]
async fn remove_key(
    State(api): State<Api>,
    caller: Caller,
    At(key): At<String>,
) -> Result<Json<KeyView>, ApiError> {
    // The caller is here without it.
    Ok(Json(api.platform.remove_key_of(&caller.actor, Keyring::Own, &key, true).await?))
}

/// The caller's API keys.
#[utoipa::path(get, path = "/me/tokens", tag = "user", responses((status = OK, body = Vec<ApiKeyView>), Refusals))]
async fn tokens(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<ApiKeyView>>, ApiError> {
    Ok(Json(api.platform.api_keys(&caller.actor).await?))
}

/// Makes an API key; its secret is shown this once.
#[utoipa::path(post, path = "/me/tokens", tag = "user",
    responses((status = CREATED, body = ShownToken), Refusals, Conflicts))]
async fn add_token(
    State(api): State<Api>,
    caller: Caller,
    Body(wanted): Body<NewToken>,
) -> Result<(StatusCode, Json<ShownToken>), ApiError> {
    api.platform.check_code(&caller.actor, wanted.code).await?;
    let ttl = wanted.expires_in.map(|seconds| Duration::from_secs(seconds.into()));
    let wanted = NewApiKey { name: wanted.name, scopes: wanted.scopes, ttl };
    let (view, secret) = api.platform.add_api_key(&caller.actor, wanted).await?;
    Ok((StatusCode::CREATED, Json(ShownToken { token: secret.expose().clone(), view })))
}

/// Gives an API key a new secret; the old one opens nothing from now on.
#[utoipa::path(post, path = "/me/tokens/{id}/rotate", tag = "user", params(("id" = TokenId, Path)),
    responses((status = OK, body = ShownToken), Refusals, Absences))]
async fn rotate_token(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<TokenId>,
) -> Result<Json<ShownToken>, ApiError> {
    let (view, secret) = api.platform.rotate_api_key(&caller.actor, &id).await?;
    Ok(Json(ShownToken { token: secret.expose().clone(), view }))
}

/// Removes an API key of the caller.
#[utoipa::path(delete, path = "/me/tokens/{id}", tag = "user", params(("id" = TokenId, Path)),
    responses((status = OK, body = ApiKeyView), Refusals, Absences))]
async fn remove_token(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<TokenId>,
) -> Result<Json<ApiKeyView>, ApiError> {
    Ok(Json(api.platform.remove_api_key(&caller.actor, &id).await?))
}
