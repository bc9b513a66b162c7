//! The list of deployments: newest first, page by page.

use autostack_domain::{AppName, DeploymentState, UnixMillis};
use autostack_platform::{DeploymentMark, DeploymentQuery};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Deployment;
use crate::{
    answers::{Absences, Refusals},
    caller::Caller,
    error::ApiError,
    extract::Asked,
    state::Api,
};

/// Deployments of a page where nobody says how many.
const PAGE_DEFAULT: u16 = 50;
/// Deployments of a page at most.
const PAGE_MAX: u16 = 200;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which deployments somebody wants to see.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only those of this app.
    app: Option<AppName>,
    /// Only those in one of these states: `queued`, `running`, `prepared`, `success`, `failed`, `cancelled`; several with
    /// a comma between them.
    #[param(example = "failed,cancelled")]
    state: Option<String>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
}

/// A page of deployments, newest first.
#[derive(Serialize, ToSchema)]
struct Page {
    /// Those that fit. There may be few, or none, and a next page, where much had to be looked through.
    deployments: Vec<Deployment>,
    /// The `cursor` of the next page; `null` when there is none.
    next: Option<String>,
}

/// Deployments of the apps that the caller may see, newest first, page by page.
#[utoipa::path(get, path = "", tag = "deployments", params(ListQuery),
    responses((status = OK, body = Page), Refusals, Absences))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let query = DeploymentQuery {
        apps: query.app.into_iter().collect(),
        states: states(query.state.as_deref())?,
        before: query.cursor.as_deref().map(read_cursor).transpose()?,
        limit: usize::from(limit(query.limit)?),
    };
    let page = api.platform.build_page(&caller.actor, query).await?;
    Ok(Json(Page {
        deployments: page.builds.into_iter().map(Deployment::from).collect(),
        next: page.next.as_ref().map(cursor),
    }))
}

fn limit(given: Option<u16>) -> Result<u16, ApiError> {
    match given.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(ApiError::invalid(format!("limit must be 1 to {PAGE_MAX}"))),
    }
}

fn states(given: Option<&str>) -> Result<Vec<DeploymentState>, ApiError> {
    let read = |name: &str| {
        let state = serde_json::from_value(name.into());
        state.map_err(|_| {
            ApiError::invalid("state must be queued, running, prepared, success, failed or cancelled")
        })
    };
    given.map_or_else(|| Ok(Vec::new()), |given| given.split(',').map(read).collect())
}

/// Opaque for clients: the moment and the id of the last one that was looked at.
fn cursor(mark: &DeploymentMark) -> String {
    format!("{:x}.{}", mark.created_at.0, mark.id)
}

fn read_cursor(given: &str) -> Result<DeploymentMark, ApiError> {
    let read = || {
        let (created_at, id) = given.split_once('.')?;
        let created_at = UnixMillis(i64::from_str_radix(created_at, 16).ok()?);
        Some(DeploymentMark { created_at, id: id.parse().ok()? })
    };
    read().ok_or_else(|| ApiError::invalid("cursor must be `next` of another page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let id = "0192f5a0-0000-7000-8000-000000000001".parse().unwrap();
        let mark = DeploymentMark { created_at: UnixMillis(1_700_000_000_000), id };
        assert_eq!(read_cursor(&cursor(&mark)).unwrap(), mark);
        for bad in ["", ".", "x.y", "18.no", &"f".repeat(500)] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn states_are_named_and_limits_are_kept() {
        assert_eq!(
            states(Some("failed,success")).unwrap(),
            [DeploymentState::Failed, DeploymentState::Success]
        );
        assert!(states(None).unwrap().is_empty());
        assert!(states(Some("")).is_err() && states(Some("failed,Success")).is_err());
        assert_eq!(limit(None).unwrap(), 50);
        assert!(limit(Some(0)).is_err() && limit(Some(201)).is_err() && limit(Some(200)).is_ok());
    }
}
