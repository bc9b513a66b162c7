//! `/api/audit`: who changed what, from where, and when.

use autostack_base::clock;
use autostack_domain::{AppName, Event, Moment, UnixMillis};
use autostack_platform::EventQuery;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Absences, Refusals},
    caller::Caller,
    error::ApiError,
    extract::Asked,
    state::Api,
};

/// Events of a page where nobody says how many.
const EVENTS_DEFAULT: u16 = 100;
/// Events of a page at most.
const EVENTS_MAX: u16 = 1000;

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which events somebody wants to see.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only those of this app.
    app: Option<AppName>,
    /// Only those from then on: `10m`, `2h`, `2026-11-24T10:00` (UTC), `2026-11-24T10:00:00+01:00`.
    since: Option<String>,
    /// Only those up to then, in the same words.
    until: Option<String>,
    /// Whether also what the agent did by itself is wanted.
    #[serde(default)]
    all: bool,
    /// How many at most; the newest.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
}

/// One change.
#[derive(Serialize, ToSchema)]
struct AuditEntry {
    /// When.
    at: UnixMillis,
    /// Who.
    by: String,
    /// From where; `null` where the door has no address.
    from: Option<String>,
    /// Which app; `null` for the host itself.
    app: Option<AppName>,
    /// What kind of thing it was, named like the command that does it: `config:set`.
    kind: String,
    /// What was done: names and numbers, never a value of config or a secret.
    text: String,
}

impl From<Event> for AuditEntry {
    fn from(event: Event) -> Self {
        Self {
            at: event.at,
            by: event.by.to_string(),
            from: event.by.address().map(|address| address.to_string()),
            app: event.app,
            kind: event.kind,
            text: event.text,
        }
    }
}

/// Who changed what, from where, and when: an admin of the host sees every change, others their own and those of their
/// apps. The oldest first.
#[utoipa::path(get, path = "", tag = "audit", params(AuditQuery),
    responses((status = OK, body = Vec<AuditEntry>), Refusals, Absences))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(query): Asked<AuditQuery>,
) -> Result<Json<Vec<AuditEntry>>, ApiError> {
    let limit = match query.limit.unwrap_or(EVENTS_DEFAULT) {
        limit @ 1..=EVENTS_MAX => usize::from(limit),
        _ => return Err(ApiError::invalid(format!("limit must be 1 to {EVENTS_MAX}"))),
    };
    let moment = |given: Option<String>| {
        let read = |given: String| given.parse().map(|moment: Moment| moment.resolve(clock::now()));
        given.map(read).transpose()
    };
    let asked = EventQuery {
        app: query.app,
        since: moment(query.since)?,
        until: moment(query.until)?,
        only_people: !query.all,
        limit,
    };
    let feed = api.platform.events(&caller.actor, asked).await?;
    Ok(Json(feed.past.into_iter().map(|(_, event)| event.into()).collect()))
}
