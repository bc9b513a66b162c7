//! Sign-in by GitHub and Google: a browser goes there and comes back, and shows a cookie of its own when it does.

use autostack_domain::{account::Provider, permission::Actor};
use autostack_platform::{Arrival, Departure, Return};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    auth::TokenPair,
    caller::{Caller, Client},
    error::ApiError,
    extract::{Asked, At, Body},
    state::Api,
};

/// The cookie of a browser that is away. It is worth nothing but to end what that browser has begun.
const COOKIE: &str = "autostack_sign_in";

/// Those of `/api/auth`.
pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(github))
        .routes(routes!(github_callback))
        .routes(routes!(google))
        .routes(routes!(google_callback))
        .routes(routes!(end_with_code))
}

/// Those of `/api/user`.
pub(crate) fn own() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(link, unlink))
}

/// What a provider sends a browser back with.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Back {
    /// Which sign-in it ends.
    state: Option<String>,
    /// What proves it.
    code: Option<String>,
    /// Why it did not work.
    error: Option<String>,
}

/// Where a browser is to go.
#[derive(Serialize, ToSchema)]
struct Way {
    /// The provider's page.
    url: String,
}

/// A second factor is asked for.
#[derive(Serialize, ToSchema)]
struct CodeNeeded {
    /// What is shown with the code at `POST /api/auth/code`; good once, for five minutes.
    ticket: String,
}

/// The code of a second factor, after a sign-in elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Code {
    /// What the sign-in was answered with.
    ticket: String,
    /// Six digits, or a recovery code.
    code: String,
}

/// Sends a browser to GitHub.
#[utoipa::path(get, path = "/github", tag = "auth", security(()),
    responses((status = SEE_OTHER, description = "To GitHub."), Refusals, Absences))]
async fn github(State(api): State<Api>) -> Result<Response, ApiError> {
    leave(&api, Provider::Github).await
}

/// Sends a browser to Google.
#[utoipa::path(get, path = "/google", tag = "auth", security(()),
    responses((status = SEE_OTHER, description = "To Google."), Refusals, Absences))]
async fn google(State(api): State<Api>) -> Result<Response, ApiError> {
    leave(&api, Provider::Google).await
}

/// Takes a browser that comes back from GitHub.
#[utoipa::path(get, path = "/github/callback", tag = "auth", security(()), params(Back),
    responses((status = OK, body = TokenPair), (status = ACCEPTED, description = "A code is needed.", body = CodeNeeded),
        (status = NO_CONTENT, description = "The account is linked."), Refusals, Absences, Conflicts))]
async fn github_callback(
    State(api): State<Api>,
    client: Client,
    headers: HeaderMap,
    Asked(back): Asked<Back>,
) -> Result<Response, ApiError> {
    arrive(&api, Provider::Github, client, &headers, back).await
}

/// Takes a browser that comes back from Google.
#[utoipa::path(get, path = "/google/callback", tag = "auth", security(()), params(Back),
    responses((status = OK, body = TokenPair), (status = ACCEPTED, description = "A code is needed.", body = CodeNeeded),
        (status = NO_CONTENT, description = "The account is linked."), Refusals, Absences, Conflicts))]
async fn google_callback(
    State(api): State<Api>,
    client: Client,
    headers: HeaderMap,
    Asked(back): Asked<Back>,
) -> Result<Response, ApiError> {
    arrive(&api, Provider::Google, client, &headers, back).await
}

/// Ends a sign-in elsewhere of who has a second factor here.
#[utoipa::path(post, path = "/code", tag = "auth", security(()), responses((status = OK, body = TokenPair), Refusals))]
async fn end_with_code(
    State(api): State<Api>,
    client: Client,
    Body(shown): Body<Code>,
) -> Result<Json<TokenPair>, ApiError> {
    Ok(Json(api.platform.end_with_code(&shown.ticket, shown.code, &client.login()).await?.into()))
}

/// Says where the caller's browser is to go to link an account there to theirs. The answer's cookie has to come back with it.
#[utoipa::path(post, path = "/me/linked/{provider}", tag = "user",
    params(("provider" = Provider, Path, description = "`github` or `google`.")),
    responses((status = OK, body = Way), Refusals, Absences))]
async fn link(
    State(api): State<Api>,
    caller: Caller,
    At(provider): At<Provider>,
) -> Result<Response, ApiError> {
    let departure = depart(&api, provider, Some(&caller.actor)).await?;
    let cookie = cookie(&api, &departure);
    Ok(([(header::SET_COOKIE, cookie)], Json(Way { url: departure.url })).into_response())
}

/// Takes an account elsewhere away as a way in.
#[utoipa::path(delete, path = "/me/linked/{provider}", tag = "user",
    params(("provider" = Provider, Path, description = "`github` or `google`.")),
    responses((status = NO_CONTENT), Refusals, Absences, Conflicts))]
async fn unlink(
    State(api): State<Api>,
    caller: Caller,
    At(provider): At<Provider>,
) -> Result<StatusCode, ApiError> {
    api.platform.unlink(&caller.actor, provider).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn depart(api: &Api, provider: Provider, link_to: Option<&Actor>) -> Result<Departure, ApiError> {
    Ok(api.platform.begin_sign_in(provider, link_to).await?)
}

async fn leave(api: &Api, provider: Provider) -> Result<Response, ApiError> {
    let departure = depart(api, provider, None).await?;
    let cookie = cookie(api, &departure);
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, departure.url)])
        .into_response())
}

async fn arrive(
    api: &Api,
    provider: Provider,
    client: Client,
    headers: &HeaderMap,
    back: Back,
) -> Result<Response, ApiError> {
    if let Some(why) = back.error {
        let why: String = why.chars().filter(char::is_ascii_graphic).take(64).collect();
        let message = format!("{provider} did not let you in: {why}");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "denied", message).detail("hint", "begin again"));
    }
    let (Some(state), Some(code)) = (&back.state, &back.code) else {
        let message = "`state` and `code` of the provider are missing";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "malformed", message));
    };
    let back = Return { state, code, browser: shown_cookie(headers) };
    let arrival = api.platform.end_sign_in(provider, back, &client.login()).await?;
    let mut response = match arrival {
        Arrival::In(tokens) => Json(TokenPair::from(*tokens)).into_response(),
        Arrival::CodeNeeded(ticket) => {
            (StatusCode::ACCEPTED, Json(CodeNeeded { ticket: ticket.expose().clone() })).into_response()
        }
        Arrival::Linked => StatusCode::NO_CONTENT.into_response(),
        Arrival::Stale => {
            let message = "this sign-in has ended, is too old, or was begun in another browser";
            let error = ApiError::new(StatusCode::BAD_REQUEST, "sign_in_stale", message);
            return Err(error.detail("hint", "begin again"));
        }
    };
    let over = format!("{COOKIE}=; Path=/api/auth; Max-Age=0");
    if let Ok(over) = HeaderValue::from_str(&over) {
        response.headers_mut().insert(header::SET_COOKIE, over);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `Lax`: it is sent along when the provider sends the browser back, and with nothing that another page asks for in its name.
fn cookie(api: &Api, departure: &Departure) -> String {
    let secure = if api.platform.api_url().starts_with("https:") { "; Secure" } else { "" };
    let (value, seconds) = (departure.browser.expose(), departure.ttl.as_secs());
    format!("{COOKIE}={value}; Path=/api/auth; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

fn shown_cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(shown_cookie(&headers), None);
        headers.insert(header::COOKIE, "a=1; autostack_sign_in=ast_x; b=2".parse().unwrap());
        assert_eq!(shown_cookie(&headers), Some("ast_x"));
        headers.insert(header::COOKIE, "autostack_sign_in_too=ast_x".parse().unwrap());
        assert_eq!(shown_cookie(&headers), None);
    }
}
