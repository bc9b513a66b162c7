//! A page of the log of an app or of a deployment.

use std::sync::Arc;

use autostack_domain::{AppName, DeploymentId};
use autostack_logs::{Entry, LogError, Offset, Stream};
use autostack_platform::{PlatformError, Which};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    line::LogLine,
    query::{Asked as Wanted, LogQuery},
};
use crate::{
    answers::{Absences, Refusals},
    caller::Caller,
    error::ApiError,
    extract::{Asked, At},
    state::Api,
};

/// Lines of a log, the oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct LogPage<'a> {
    /// The lines.
    lines: Vec<LogLine<'a>>,
    /// `from` of whoever goes on: behind these lines, or of a feed.
    next: u64,
    /// Bytes that stood behind `from` and were removed by size or age.
    missing_bytes: u64,
    /// Whether nothing can follow.
    is_complete: bool,
}

/// The log of an app.
#[utoipa::path(get, path = "/{name}/logs", tag = "logs",
    params(("name" = AppName, Path, description = "The app."), LogQuery),
    responses((status = OK, body = LogPage), Refusals, Absences))]
pub(super) async fn of_app(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<AppName>,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, ApiError> {
    let wanted = query.read()?;
    page(&api, api.platform.app_log(&caller.actor, &name).await?, wanted).await
}

/// The log of a deployment: what its build has said.
#[utoipa::path(get, path = "/{id}/logs", tag = "logs",
    params(("id" = DeploymentId, Path, description = "The deployment."), LogQuery),
    responses((status = OK, body = LogPage), Refusals, Absences))]
pub(super) async fn of_deployment(
    State(api): State<Api>,
    caller: Caller,
    At(id): At<DeploymentId>,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, ApiError> {
    let wanted = query.read()?;
    let (_, log) = api.platform.build_log(&caller.actor, None, &Which::Id(id)).await?;
    page(&api, log, wanted).await
}

async fn page(api: &Api, log: Arc<Stream>, wanted: Wanted) -> Result<Response, ApiError> {
    // What fits may be rare: looking for it takes as long as the log is.
    let read = api.tasks.blocking("read log", move || read(&log, &wanted));
    let body = match read.await {
        Ok(read) => read.map_err(PlatformError::from)?,
        Err(panic) => return Err(PlatformError::internal("the log cannot be read", &panic).into()),
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn read(log: &Arc<Stream>, wanted: &Wanted) -> Result<String, LogError> {
    let mut missing_bytes = 0;
    let (found, next): (Vec<(Offset, Entry)>, Offset) = match wanted.from {
        None => log.tail(wanted.limit, &wanted.filter)?,
        Some(from) => {
            let mut reader = log.reader(Offset(from)).only(wanted.filter.clone());
            let mut found = Vec::new();
            while found.len() < wanted.limit
                && let Some(line) = reader.next_ready()?
            {
                found.push(line);
            }
            missing_bytes = reader.take_gap().map_or(0, |gap| gap.bytes);
            (found, reader.offset())
        }
    };
    let page = LogPage {
        lines: found.iter().map(|(after, entry)| LogLine::of(*after, entry)).collect(),
        next: next.0,
        missing_bytes,
        is_complete: log.is_sealed() && next >= log.end(),
    };
    // Numbers and text: nothing that JSON could not hold.
    Ok(serde_json::to_string(&page).unwrap_or_default())
}
