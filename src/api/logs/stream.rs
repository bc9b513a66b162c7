//! Feeds over WebSockets, and as server-sent events for who asks for the same address without an upgrade.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use autostack_base::settings::Origin;
use autostack_domain::{AppName, DeploymentId, permission::Action};
use autostack_logs::{Filter, LogError, Offset, Stream};
use autostack_platform::{PlatformError, Which};
use axum::{
    extract::{
        FromRequestParts, Request, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream as Events, stream};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    feed::Feed,
    query::{Asked as Wanted, FeedQuery},
};
use crate::{
    answers::{Absences, Refusals},
    caller::Caller,
    error::ApiError,
    extract::{Asked, At},
    state::Api,
};

/// Time between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Time without a word of a WebSocket's client after which it counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Time that a message may take to a client that reads slowly.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a message from a client, who has nothing to say.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Bytes of the buffer in which a client's words are read.
const READ_BUFFER_BYTES: usize = 1024;

/// Follows the log of an app: replays it from an offset, then sends what comes. A WebSocket where an upgrade is asked for,
/// else server-sent events, whose `id` is the offset: `Last-Event-ID` goes on without a lost or repeated line. Messages are
/// `{"lines": [...], "next": 77, "missing_bytes": 0}`.
#[utoipa::path(get, path = "/{name}/logs/stream", tag = "logs",
    params(("name" = AppName, Path, description = "The app."), FeedQuery),
    responses((status = SWITCHING_PROTOCOLS, description = "A WebSocket."),
        (status = OK, body = String, content_type = "text/event-stream"), Refusals, Absences))]
pub(super) async fn of_app(
    State(api): State<Api>,
    At(name): At<AppName>,
    Asked(query): Asked<FeedQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (opening, caller) = open(&api, request, &query).await?;
    let log = api.platform.app_log(&caller.actor, &name).await?;
    let wanted = query.read()?;
    let start = match opening.resume.or(wanted.from) {
        Some(from) => Offset(from),
        None => newest(&api, &log, &wanted).await?,
    };
    opening.answer(&api, caller, name, &log, start, wanted.filter)
}

/// Follows the log of a deployment, as that of an app is followed. It ends when the deployment has ended.
#[utoipa::path(get, path = "/{id}/logs/stream", tag = "logs",
    params(("id" = DeploymentId, Path, description = "The deployment."), FeedQuery),
    responses((status = SWITCHING_PROTOCOLS, description = "A WebSocket."),
        (status = OK, body = String, content_type = "text/event-stream"), Refusals, Absences))]
pub(super) async fn of_deployment(
    State(api): State<Api>,
    At(id): At<DeploymentId>,
    Asked(query): Asked<FeedQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (opening, caller) = open(&api, request, &query).await?;
    let (build, log) = api.platform.build_log(&caller.actor, None, &Which::Id(id)).await?;
    let wanted = query.read()?;
    let start = Offset(opening.resume.or(wanted.from).unwrap_or_default());
    opening.answer(&api, caller, build.app, &log, start, wanted.filter)
}

/// A feed that is about to be opened.
struct Opening {
    upgrade: Option<WebSocketUpgrade>,
    /// `Last-Event-ID`.
    resume: Option<u64>,
    place: OwnedSemaphorePermit,
}

/// Who opens a feed, and how. Called before anything is read for them.
async fn open(api: &Api, request: Request, query: &FeedQuery) -> Result<(Opening, Caller), ApiError> {
    let (mut parts, _body) = request.into_parts();
    check_origin(&parts.headers, &api.platform.settings().borrow().api.cors_origins)?;
    let caller = match &query.ticket {
        Some(ticket) => api.tickets.take(ticket)?,
        None => Caller::from_request_parts(&mut parts, api).await?,
    };
    let busy = |_| {
        let message = "too many feeds are open";
        ApiError { retry_after: Some(1), ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message) }
    };
    let place = Arc::clone(&api.feeds).try_acquire_owned().map_err(busy)?;
    let resume = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let upgrade =
        match parts.headers.contains_key(header::UPGRADE) {
            true => Some(WebSocketUpgrade::from_request_parts(&mut parts, api).await.map_err(|refused| {
                ApiError::new(StatusCode::BAD_REQUEST, "malformed", refused.body_text())
            })?),
            false => None,
        };
    Ok((Opening { upgrade, resume, place }, caller))
}

/// A page of another site may not open a feed in the name of somebody who is logged in here.
fn check_origin(headers: &HeaderMap, allowed: &[Origin]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let is_allowed = allowed.iter().any(|allowed| origin == allowed.as_str());
    if is_allowed || (from.is_some() && from == host) {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "denied", "a page of another origin may not open this"))
}

/// Where the newest lines begin that are wanted.
async fn newest(api: &Api, log: &Arc<Stream>, wanted: &Wanted) -> Result<Offset, ApiError> {
    let (log, filter, limit) = (Arc::clone(log), wanted.filter.clone(), wanted.limit);
    let find = api.tasks.blocking("find log lines", move || log.tail_start(limit, &filter));
    let found: Result<(Offset, Offset), LogError> = match find.await {
        Ok(found) => found,
        Err(panic) => return Err(PlatformError::internal("the log cannot be read", &panic).into()),
    };
    Ok(found.map_err(PlatformError::from)?.0)
}

impl Opening {
    fn answer(
        self,
        api: &Api,
        caller: Caller,
        app: AppName,
        log: &Arc<Stream>,
        start: Offset,
        filter: Filter,
    ) -> Result<Response, ApiError> {
        let feed = Feed::new(log, start, filter, api.chunks.of(log), api.tasks.clone());
        let (platform, stop) = (api.platform.clone(), api.tasks.shutdown_token());
        let ends: Pin<Box<dyn Future<Output = End> + Send>> = Box::pin(async move {
            tokio::select! {
                () = platform.until_forbidden(&caller.actor, &app, Action::ReadLogs) => End::Revoked,
                () = caller.until_gone(&platform) => End::Revoked,
                () = stop.cancelled() => End::Stopping,
            }
        });
        let line = Line { feed, ends, _place: self.place };
        Ok(match self.upgrade {
            Some(upgrade) => upgrade
                .read_buffer_size(READ_BUFFER_BYTES)
                .write_buffer_size(0)
                .max_message_size(MESSAGE_BYTES_MAX)
                .max_frame_size(MESSAGE_BYTES_MAX)
                .on_upgrade(move |socket| line.over_socket(socket)),
            None => Sse::new(line.events())
                .keep_alive(KeepAlive::new().interval(HEARTBEAT).text("still here"))
                .into_response(),
        })
    }
}

/// Why a feed ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The log has ended.
    Complete,
    /// The client may not read it any more.
    Revoked,
    /// The agent stops.
    Stopping,
    /// The log cannot be read.
    Broken,
    /// The client is not there any more.
    Gone,
}

impl End {
    fn close(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            End::Complete => (close_code::NORMAL, "the log has ended"),
            End::Revoked => (close_code::POLICY, "you may not read this any more"),
            End::Stopping => (close_code::RESTART, "the agent is stopping; go on from the last offset"),
            End::Broken => (close_code::ERROR, "the log cannot be read"),
            End::Gone => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }

    fn name(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::Revoked => "revoked",
            End::Stopping => "stopping",
            End::Broken => "broken",
            End::Gone => "gone",
        }
    }
}

/// An open feed.
struct Line {
    feed: Feed,
    ends: Pin<Box<dyn Future<Output = End> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl Line {
    async fn over_socket(mut self, mut socket: WebSocket) {
        let end = self.pump(&mut socket).await;
        if let Some(frame) = end.close() {
            // Who has gone needs no farewell.
            let _gone = timeout(HEARTBEAT, socket.send(Message::Close(Some(frame)))).await;
        }
    }

    async fn pump(&mut self, socket: &mut WebSocket) -> End {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();
        loop {
            let message = tokio::select! {
                biased;
                end = &mut self.ends => return end,
                said = socket.recv() => match said {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                    Some(Ok(_)) => {
                        heard_at = Instant::now();
                        continue;
                    }
                },
                _ = heartbeat.tick() => {
                    if heard_at.elapsed() > SILENCE_MAX {
                        return End::Gone;
                    }
                    Message::Ping(axum::body::Bytes::new())
                }
                chunk = self.feed.next() => match chunk {
                    Ok(Some(chunk)) => Message::Text(chunk.json),
                    Ok(None) => return End::Complete,
                    Err(error) => {
                        tracing::warn!(%error, "a feed ends");
                        return End::Broken;
                    }
                },
            };
            // A client that reads slowly waits for itself alone, and is told when it may read no more.
            tokio::select! {
                biased;
                sent = timeout(SEND_TIMEOUT, socket.send(message)) => {
                    if !matches!(sent, Ok(Ok(()))) {
                        return End::Gone;
                    }
                }
                end = &mut self.ends => return end,
            }
        }
    }

    fn events(self) -> impl Events<Item = Result<Event, Infallible>> + Send {
        stream::unfold(Some(self), |line| async move {
            let mut line = line?;
            let end = tokio::select! {
                biased;
                end = &mut line.ends => end,
                chunk = line.feed.next() => match chunk {
                    Ok(Some(chunk)) => {
                        let event = Event::default().id(chunk.next.to_string()).event("lines");
                        return Some((Ok(event.data(chunk.json.as_str())), Some(line)));
                    }
                    Ok(None) => End::Complete,
                    Err(error) => {
                        tracing::warn!(%error, "a feed ends");
                        End::Broken
                    }
                },
            };
            Some((Ok(Event::default().event("end").data(end.name())), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_same_origin_may_open_a_feed() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "panel.example.com:8000".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        for good in [None, Some("https://panel.example.com:8000"), Some("http://panel.example.com:8000")] {
            assert!(check_origin(&headers(good), &[]).is_ok(), "{good:?}");
        }
        for bad in ["https://panel.example.com", "https://evil.example", "null", "", "panel.example.com:8000"]
        {
            assert!(check_origin(&headers(Some(bad)), &[]).is_err(), "{bad}");
        }
    }
}
