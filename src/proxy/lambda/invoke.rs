//! One request to a function, from its arrival to its answer.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use hyper::body::{Body, Incoming};
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};

use super::{
    answer::{self, Outcome},
    collect::{CollectError, Whole, collect},
    event,
    probe::INVOCATION_PATH,
    turn::{Function, Turn},
};
use crate::{
    body::{RequestBody, ResponseBody},
    directory::At,
    forward::{Outbound, is_idempotent, origin_form},
    headers::{self, X_FORWARDED_FOR},
    limits::{EVENT_BYTES_MAX, INVOCATION_TIME_MAX, RESULT_BYTES_MAX, UNSENT_MAX},
    pages::Page,
    proxy::Proxy,
    service::look_up,
    table::{Claimed, Turned},
    upgrade::asks_for_websocket,
    upstream::{Connection, Endpoint},
};

/// Invokes the function with the request and gives the answer that it returned. What else a client asks for
/// with `Upgrade` is left out, as at API Gateway; a WebSocket is refused, because its client would not
/// understand an ordinary answer.
pub(crate) async fn answer(
    outbound: Outbound<'_>,
    request: Request<Incoming>,
    function: &Arc<Function>,
) -> Response<ResponseBody> {
    let accept = request.headers().get(header::ACCEPT).cloned();
    match answered(outbound, request, function).await {
        Ok(response) => response,
        Err(page) => page.answer(accept.as_ref()),
    }
}

async fn answered(
    outbound: Outbound<'_>,
    request: Request<Incoming>,
    function: &Arc<Function>,
) -> Result<Response<ResponseBody>, Page> {
    let proxy = &outbound.visitor.proxy;
    let (mut parts, incoming) = request.into_parts();
    if asks_for_websocket(&parts.headers) {
        return Err(Page::function_has_no_upgrade());
    }
    let request_id = outbound.trace.request_id.clone();
    outbound.head_for_app(&mut parts.headers);
    parts.uri = origin_form(parts.uri);
    let has_body = !incoming.is_end_stream();
    let body = collect(incoming, EVENT_BYTES_MAX, &proxy.function_memory).await;
    let body = body.map_err(|error| page_for_request(&error))?;
    let is_repeatable = !has_body && is_idempotent(&parts.method);
    let event = event_of(outbound, parts, body, function, &request_id)?;
    let invocation = Invocation {
        outbound,
        function,
        event,
        is_repeatable,
        due: Instant::now() + proxy.limits.function_wait_timeout,
        tried: Vec::new(),
        returned: 0,
        may_reuse: true,
    };
    let (status, result) = invocation.run().await?;
    respond(function, status, result, request_id)
}

fn page_for_request(error: &CollectError) -> Page {
    tracing::debug!(%error, "request to a function not taken");
    match error {
        CollectError::TooLarge(_) => Page::event_too_large(),
        CollectError::OutOfMemory => Page::function_busy(),
        CollectError::BrokeOff(_) => Page::broken_request(),
    }
}

/// The event, which goes on holding the memory that was counted for the body.
fn event_of(
    outbound: Outbound<'_>,
    mut parts: request::Parts,
    body: Whole,
    function: &Function,
    request_id: &HeaderValue,
) -> Result<Bytes, Page> {
    let bytes = body.as_ref();
    if !bytes.is_empty() {
        // Of one that came in chunks nobody has told the length.
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    let source_ip = parts.headers.get(X_FORWARDED_FOR).and_then(|address| address.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let event = event::of(&event::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        protocol: if parts.version == http::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
        headers: &parts.headers,
        body: bytes,
        host: outbound.host.as_bytes(),
        source_ip: source_ip.unwrap_or_default(),
        request_id: request_id.to_str().unwrap_or_default(),
        app: function.app.as_str(),
        time_ms: i64::try_from(now.as_millis()).unwrap_or_default(),
    });
    match event {
        Ok(event) if event.len() <= EVENT_BYTES_MAX => Ok(body.made_into(event)),
        Ok(_) | Err(_) => Err(Page::event_too_large()),
    }
}

/// The attempts to have one event answered; the rules are those of `forward`.
struct Invocation<'a> {
    outbound: Outbound<'a>,
    function: &'a Arc<Function>,
    event: Bytes,
    /// Whether it may be sent once more after it was lost.
    is_repeatable: bool,
    /// Until when an instance is waited for.
    due: Instant,
    /// Endpoints that could not be connected to.
    tried: Vec<Arc<Endpoint>>,
    /// Times that the event came back unsent.
    returned: usize,
    /// Whether a kept connection may be used.
    may_reuse: bool,
}

/// What came of sending an event once.
enum Sent {
    Answered(StatusCode, Whole),
    /// It was never on the wire; whether on a connection that was new.
    Unsent {
        on_new: bool,
    },
    /// It is gone and nothing was answered.
    Lost,
    /// It was answered with something that cannot be passed on.
    Unusable(Page),
}

impl Invocation<'_> {
    async fn run(mut self) -> Result<(StatusCode, Whole), Page> {
        loop {
            let turn = self.turn().await?;
            let endpoint = Arc::clone(turn.endpoint());
            let Some(connection) = self.connect(&endpoint).await else { continue };
            match self.send(turn, connection).await? {
                Sent::Answered(status, result) => return Ok((status, result)),
                Sent::Unusable(page) => return Err(page),
                Sent::Unsent { on_new } => {
                    self.proxy().metrics.resent.add();
                    self.returned += 1;
                    self.may_reuse = self.returned < UNSENT_MAX;
                    if on_new {
                        // It accepts connections and closes them: as good as unreachable.
                        self.tried.push(endpoint);
                    }
                }
                Sent::Lost if self.is_repeatable => {
                    self.proxy().metrics.repeated.add();
                    (self.is_repeatable, self.may_reuse) = (false, false);
                }
                Sent::Lost => return Err(Page::broken_answer()),
            }
        }
    }

    fn proxy(&self) -> &Arc<Proxy> {
        &self.outbound.visitor.proxy
    }

    /// Waits for an instance that is free.
    async fn turn(&self) -> Result<Turn, Page> {
        let (proxy, at) = (self.proxy(), self.outbound.at);
        let look = || loop {
            return match proxy.table.load().take_turn(at, &self.tried) {
                Turned::Taken(turn) => Some(Ok(turn)),
                Turned::Busy => None,
                Turned::Exhausted => Some(Err(Page::unreachable())),
                Turned::Gone => Some(Err(page_for_gone(proxy, at))),
                Turned::Outdated => continue,
            };
        };
        self.function.wait(proxy.limits.function_waiting_max, self.due, look).await
    }

    async fn connect(&mut self, endpoint: &Arc<Endpoint>) -> Option<Connection> {
        let limits = &self.proxy().limits;
        // What cannot be repeated does not risk a connection that is just being closed.
        let age_max =
            if self.is_repeatable { limits.pool_idle_timeout } else { limits.pool_unrepeatable_age_max };
        if self.may_reuse
            && let Some(connection) = endpoint.reuse(age_max)
        {
            self.outbound.trace.goes_to(endpoint, Duration::ZERO);
            return Some(connection);
        }
        let begun = Instant::now();
        let connected = endpoint.connect(self.proxy()).await;
        self.outbound.trace.goes_to(endpoint, begun.elapsed());
        match connected {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::debug!(%error, "instance not reachable");
                self.proxy().metrics.resent.add();
                self.tried.push(Arc::clone(endpoint));
                None
            }
        }
    }

    /// Sends the event and waits for what the function returns. The work goes on in a task of its own when the
    /// visitor does not wait for it: the instance is not free before it is done.
    async fn send(&self, turn: Turn, connection: Connection) -> Result<Sent, Page> {
        let proxy = Arc::clone(self.proxy());
        let limit = proxy.limits.answer_timeout;
        let (mut told, told_here) = oneshot::channel();
        let stopping = proxy.tasks.shutdown_token();
        let event = self.event.clone();
        self.proxy().tasks.spawn("proxy-invocation", async move {
            let sent = tokio::select! {
                sent = time::timeout(INVOCATION_TIME_MAX, send(&proxy, &turn, connection, event)) => sent,
                // A function for which nobody waits any more does not hold up the agent's own end.
                () = async { stopping.cancelled().await; told.closed().await } => return,
            };
            drop(turn);
            // Nobody may be listening any more.
            let _ = told.send(sent.unwrap_or_else(|_| Sent::Unusable(Page::function_timed_out())));
        });
        match time::timeout(limit, told_here).await {
            Ok(Ok(sent)) => Ok(sent),
            // The task ended without a word: the agent is stopping.
            Ok(Err(_)) => Err(Page::broken_answer()),
            Err(_elapsed) => Err(Page::late_answer(limit.as_secs())),
        }
    }
}

/// What is there now instead of the function, if it is not the visitor's fault.
fn page_for_gone(proxy: &Proxy, at: At<'_>) -> Page {
    match look_up(proxy, at, &[]) {
        Claimed::NoApp => Page::no_app(at.host),
        Claimed::NoInstance => Page::no_instance(),
        // The app became something else meanwhile: the visitor's next request gets that.
        Claimed::Endpoint(_)
        | Claimed::Files(..)
        | Claimed::Function(_)
        | Claimed::Exhausted
        | Claimed::Outdated => Page::unreachable(),
    }
}

async fn send(proxy: &Arc<Proxy>, turn: &Turn, mut connection: Connection, event: Bytes) -> Sent {
    let Ok(request) = invocation(turn.endpoint(), event) else { return Sent::Lost };
    let response = match connection.send(request).await {
        Ok(response) => response,
        Err(mut failed) => {
            tracing::debug!(error = %failed.error(), "no answer from the function");
            let on_new = !connection.is_reused;
            return if failed.take_message().is_some() { Sent::Unsent { on_new } } else { Sent::Lost };
        }
    };
    let (parts, incoming) = response.into_parts();
    match collect(incoming, RESULT_BYTES_MAX, &proxy.function_memory).await {
        Ok(result) => {
            turn.endpoint().keep(connection, proxy);
            Sent::Answered(parts.status, result)
        }
        Err(error) => {
            tracing::debug!(%error, "what the function returned is not usable");
            Sent::Unusable(match error {
                CollectError::TooLarge(_) => Page::function_answer_malformed("it is larger than 6 MiB"),
                CollectError::OutOfMemory => Page::function_busy(),
                CollectError::BrokeOff(_) => Page::broken_answer(),
            })
        }
    }
}

fn invocation(endpoint: &Endpoint, event: Bytes) -> Result<Request<RequestBody>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri(INVOCATION_PATH)
        .header(header::HOST, endpoint.address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(RequestBody::whole(event))
}

fn respond(
    function: &Function,
    status: StatusCode,
    result: Whole,
    request_id: HeaderValue,
) -> Result<Response<ResponseBody>, Page> {
    match answer::read(status, result.as_ref()) {
        Outcome::Answer(mut parts, body) => {
            headers::to_client(&mut parts.headers, request_id);
            let body = if body.is_empty() { Bytes::new() } else { result.made_into(body) };
            Ok(Response::from_parts(parts, ResponseBody::bytes(body)))
        }
        Outcome::Failed(kind) => {
            tracing::debug!(app = %function.app, kind = %safe(&kind), "the function failed");
            Err(Page::function_failed())
        }
        Outcome::TimedOut => Err(Page::function_timed_out()),
        Outcome::Malformed(why) => {
            tracing::debug!(app = %function.app, why, "what the function returned is not an answer");
            Err(Page::function_answer_malformed(why))
        }
    }
}

/// The type of a function's error, which the function chooses: what a name may have, and not too much of it.
fn safe(kind: &str) -> Cow<'_, str> {
    kind.chars().filter(|char| char.is_ascii_graphic()).take(80).collect::<String>().into()
}
