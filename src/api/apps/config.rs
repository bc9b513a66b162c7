//! `/api/apps/{name}/config`: the environment of an app, for those who may read it.

use std::collections::BTreeMap;

use autostack_domain::{AppName, DeploymentId, EnvMap};
use autostack_platform::{Applied, ConfigChange};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Conflicts, Refusals},
    background::{First, begin},
    caller::Caller,
    error::ApiError,
    extract::{Asked, At, Body},
    state::Api,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(get, replace, change))
}

/// Variables by name.
#[derive(Serialize, ToSchema)]
struct Config {
    /// Those whose values are UTF-8.
    vars: BTreeMap<String, String>,
    /// The others, in base64.
    encoded: BTreeMap<String, String>,
}

/// What is asked about the config.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConfigQuery {
    /// Whether what the host gives every app is laid beneath.
    #[serde(default)]
    merged: bool,
}

/// How a change of the config is made.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConfigHow {
    /// `false`: it is recorded, and counts from the next release on.
    #[serde(default = "yes")]
    restart: bool,
}

fn yes() -> bool {
    true
}

/// Variables to set, in place of all that there are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WholeConfig {
    /// Values as they are.
    #[serde(default)]
    vars: BTreeMap<String, String>,
    /// Values in base64, for bytes that are not UTF-8.
    #[serde(default)]
    encoded: BTreeMap<String, String>,
}

/// Variables to set or to remove; the others stay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfigDelta {
    /// Values as they are; `null` removes the variable.
    #[serde(default)]
    vars: BTreeMap<String, Option<String>>,
    /// Values in base64, for bytes that are not UTF-8.
    #[serde(default)]
    encoded: BTreeMap<String, String>,
}

/// What became of a change.
#[derive(Serialize, ToSchema)]
struct Changed {
    /// Whether the config is another one than before.
    is_changed: bool,
    /// What runs with it.
    state: ChangeState,
    /// The deployment that brings it, where one was begun.
    deployment: Option<DeploymentId>,
}

/// What runs with a changed config.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ChangeState {
    /// A release with it is on its way: look at `deployment`.
    Deploying,
    /// What runs has it already.
    Live,
    /// The next release gets it: there is none yet, the app is locked, or no restart was wanted.
    Recorded,
}

/// The config of an app.
#[utoipa::path(get, path = "/{name}/config", tag = "config",
    params(("name" = AppName, Path, description = "The app."), ConfigQuery),
    responses((status = OK, body = Config), Refusals, Absences))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Asked(query): Asked<ConfigQuery>,
) -> Result<Json<Config>, ApiError> {
    let env = api.platform.config(&caller.actor, Some(&name), query.merged).await?;
    let (mut vars, mut encoded) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in env.iter() {
        match std::str::from_utf8(value) {
            Ok(text) => drop(vars.insert(name.to_owned(), text.to_owned())),
            Err(_) => drop(encoded.insert(name.to_owned(), STANDARD.encode(value))),
        }
    }
    Ok(Json(Config { vars, encoded }))
}

/// Sets the whole config. A release with it goes live without a lost request.
#[utoipa::path(put, path = "/{name}/config", tag = "config",
    params(("name" = AppName, Path, description = "The app."), ConfigHow),
    responses((status = OK, body = Changed), (status = ACCEPTED, body = Changed), Refusals, Absences, Conflicts))]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Asked(how): Asked<ConfigHow>,
    Body(wanted): Body<WholeConfig>,
) -> Result<Response, ApiError> {
    let vars = wanted.vars.into_iter().map(|(name, value)| (name, value.into_bytes()));
    let change = ConfigChange::Replace(env(vars, wanted.encoded)?);
    apply(&api, caller, name, change, how).await
}

/// Sets and removes variables. A release with them goes live without a lost request.
#[utoipa::path(patch, path = "/{name}/config", tag = "config",
    params(("name" = AppName, Path, description = "The app."), ConfigHow),
    responses((status = OK, body = Changed), (status = ACCEPTED, body = Changed), Refusals, Absences, Conflicts))]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Asked(how): Asked<ConfigHow>,
    Body(wanted): Body<ConfigDelta>,
) -> Result<Response, ApiError> {
    let (mut set, mut gone) = (Vec::new(), Vec::new());
    for (name, value) in wanted.vars {
        match value {
            Some(value) => set.push((name, value.into_bytes())),
            None => gone.push(name),
        }
    }
    let change = ConfigChange::edit(env(set, wanted.encoded)?, gone)?;
    apply(&api, caller, name, change, how).await
}

fn env(
    vars: impl IntoIterator<Item = (String, Vec<u8>)>,
    encoded: BTreeMap<String, String>,
) -> Result<EnvMap, ApiError> {
    let mut env = EnvMap::new();
    for (name, value) in vars {
        env.set(&name, value)?;
    }
    for (name, value) in encoded {
        let value = STANDARD.decode(&value);
        let value = value.map_err(|_| ApiError::invalid(format!("the value of {name} is not base64")))?;
        env.set(&name, value)?;
    }
    Ok(env)
}

async fn apply(
    api: &Api,
    caller: Caller,
    name: AppName,
    change: ConfigChange,
    how: ConfigHow,
) -> Result<Response, ApiError> {
    let (platform, actor) = (api.platform.clone(), caller.actor);
    let reason = change.summary();
    let is_changed = platform.change_config(&actor, Some(&name), change).await?;
    let answer = |state, deployment| Json(Changed { is_changed, state, deployment });
    if !how.restart {
        return Ok(answer(ChangeState::Recorded, None).into_response());
    }
    let first = begin(api, "config change", |mut screen, gone| async move {
        platform.apply_config(&actor, &name, &reason, &mut screen, &gone).await
    });
    Ok(match first.await? {
        First::Deployment(id) => {
            (StatusCode::ACCEPTED, answer(ChangeState::Deploying, Some(id))).into_response()
        }
        First::End(Applied::Live(_) | Applied::AlreadyLive) => {
            answer(ChangeState::Live, None).into_response()
        }
        First::End(Applied::NoRelease | Applied::Locked | Applied::Failed) => {
            answer(ChangeState::Recorded, None).into_response()
        }
    })
}
