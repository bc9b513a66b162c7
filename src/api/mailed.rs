//! Addresses that are proved, and passwords that were forgotten: by links in mails. Each path shows a browser a small page, and
//! takes its form as well as JSON.

use autostack_domain::Secret;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Conflicts, Refusals},
    caller::{Caller, Client},
    error::ApiError,
    extract::{Asked, Body, Said},
    pages::{Field, Page},
    state::Api,
};

/// Those of `/api/auth`.
pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(verify_page, verify))
        .routes(routes!(forgot))
        .routes(routes!(reset_page, reset))
}

/// That of `/api/user`.
pub(crate) fn own() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(ask_for_verification))
}

/// The secret of a link.
#[derive(Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Link {
    /// The secret that the mail holds.
    token: String,
}

/// Whose password is forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Forgotten {
    /// The address of the account.
    email: String,
}

/// Another password in place of a forgotten one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// The secret that the mail holds.
    token: String,
    /// 8 characters at least, 1024 bytes at most.
    #[schema(format = Password)]
    password: String,
}

/// Sends the caller a mail that proves their address.
#[utoipa::path(post, path = "/me/verification", tag = "user", responses((status = ACCEPTED), Refusals, Conflicts))]
async fn ask_for_verification(State(api): State<Api>, caller: Caller) -> Result<StatusCode, ApiError> {
    api.platform.ask_for_verification(&caller.actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The page behind the link of a mail that proves an address.
#[utoipa::path(get, path = "/verify-email", tag = "auth", security(()), params(Link),
    responses((status = OK, body = String, content_type = "text/html"), Refusals))]
async fn verify_page(Asked(link): Asked<Link>) -> Page {
    // A mail scanner that follows links must not use it up.
    Page::saying(StatusCode::OK, "Is this address yours?", "Then say so.")
        .form(&[Field::Hidden("token", &link.token)], "It is mine")
}

/// Takes the proof of an address.
#[utoipa::path(post, path = "/verify-email", tag = "auth", security(()),
    request_body(content((Link = "application/json"), (Link = "application/x-www-form-urlencoded"))),
    responses((status = NO_CONTENT), (status = OK, description = "To a form.", body = String, content_type = "text/html"), Refusals))]
async fn verify(State(api): State<Api>, client: Client, said: Said<Link>) -> Result<Response, ApiError> {
    let done = api.platform.verify_email(&said.value.token, client.address).await;
    said.answer(done.map_err(ApiError::from), "The address is yours", "Nothing else is to be done here.")
}

/// Sends whoever has this address a mail that sets another password. The answer says nothing about whether there is an account.
#[utoipa::path(post, path = "/forgot-password", tag = "auth", security(()),
    responses((status = ACCEPTED), Refusals, Conflicts))]
async fn forgot(
    State(api): State<Api>,
    client: Client,
    Body(forgotten): Body<Forgotten>,
) -> Result<StatusCode, ApiError> {
    api.platform.ask_for_password(&forgotten.email, client.address)?;
    Ok(StatusCode::ACCEPTED)
}

/// The page behind the link of a mail that sets another password.
#[utoipa::path(get, path = "/reset-password", tag = "auth", security(()), params(Link),
    responses((status = OK, body = String, content_type = "text/html"), Refusals))]
async fn reset_page(Asked(link): Asked<Link>) -> Page {
    let fields =
        [Field::Hidden("token", &link.token), Field::Typed("password", "8 characters at least", "password")];
    Page::saying(StatusCode::OK, "A new password", "Whoever is logged in with the old one is logged out.")
        .form(&fields, "Set it")
}

/// Sets another password. All sessions of the account end.
#[utoipa::path(post, path = "/reset-password", tag = "auth", security(()),
    request_body(content((Reset = "application/json"), (Reset = "application/x-www-form-urlencoded"))),
    responses((status = NO_CONTENT), (status = OK, description = "To a form.", body = String, content_type = "text/html"), Refusals))]
async fn reset(State(api): State<Api>, client: Client, said: Said<Reset>) -> Result<Response, ApiError> {
    let password = Secret::new(said.value.password.clone());
    let done = api.platform.set_forgotten_password(&said.value.token, &password, client.address).await;
    said.answer(done.map_err(ApiError::from), "The password is set", "Log in with it.")
}

impl<T> Said<T> {
    /// What came of it: nothing to a program, a page to a browser.
    pub(crate) fn answer(
        &self,
        done: Result<(), ApiError>,
        title: &str,
        text: &str,
    ) -> Result<Response, ApiError> {
        match done {
            Ok(()) if self.is_form => Ok(Page::saying(StatusCode::OK, title, text).into_response()),
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(error) if self.is_form => Ok(error.page().into_response()),
            Err(error) => Err(error),
        }
    }
}
