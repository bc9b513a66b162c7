//! `/api/apps/{name}/domains`: where visitors reach an app.

use autostack_domain::{Address, AppName};
use autostack_platform::Reached;
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

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, add, replace)).routes(routes!(remove))
}

/// Where an app is reached.
#[derive(Serialize, ToSchema)]
struct Domains {
    /// Its own addresses: a host, one with a wildcard, or a host with a path.
    own: Vec<String>,
    /// Every address, with those below the domains of the host.
    all: Vec<String>,
    /// Every URL, the one that people are shown first.
    urls: Vec<String>,
}

/// Addresses.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GivenDomains {
    /// `example.com`, `*.example.com`, `example.com/api`.
    domains: Vec<String>,
}

impl From<Reached> for Domains {
    fn from(reached: Reached) -> Self {
        let text = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect();
        Self { own: text(&reached.traffic.own), all: text(&reached.addresses), urls: reached.urls }
    }
}

impl GivenDomains {
    fn read(&self) -> Result<Vec<Address>, ApiError> {
        Ok(self.domains.iter().map(|given| given.parse()).collect::<Result<_, _>>()?)
    }
}

/// Where an app is reached.
#[utoipa::path(get, path = "/{name}/domains", tag = "domains",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = Domains), Refusals, Absences))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
) -> Result<Json<Domains>, ApiError> {
    Ok(Json(api.platform.reached(&caller.actor, &name).await?.into()))
}

/// Gives an app more addresses. One that another app has is refused.
#[utoipa::path(post, path = "/{name}/domains", tag = "domains",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = Domains), Refusals, Absences, Conflicts))]
async fn add(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Body(given): Body<GivenDomains>,
) -> Result<Json<Domains>, ApiError> {
    api.platform.add_domains(&caller.actor, &name, given.read()?).await?;
    list(State(api), caller, At(name)).await
}

/// Gives an app these addresses in place of all that it has.
#[utoipa::path(put, path = "/{name}/domains", tag = "domains",
    params(("name" = AppName, Path, description = "The app.")),
    responses((status = OK, body = Domains), Refusals, Absences, Conflicts))]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Body(given): Body<GivenDomains>,
) -> Result<Json<Domains>, ApiError> {
    api.platform.set_domains(&caller.actor, &name, given.read()?).await?;
    list(State(api), caller, At(name)).await
}

/// Takes an address away from an app.
#[utoipa::path(delete, path = "/{name}/domains/{domain}", tag = "domains",
    params(("name" = AppName, Path, description = "The app."),
        ("domain" = String, Path, description = "The address; a `/` in it is written `%2F`.")),
    responses((status = NO_CONTENT), Refusals, Absences, Conflicts))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At((name, domain)): At<(AppName, String)>,
) -> Result<StatusCode, ApiError> {
    api.platform.remove_domains(&caller.actor, &name, vec![domain.parse()?]).await?;
    Ok(StatusCode::NO_CONTENT)
}
