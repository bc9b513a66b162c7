//! A request on its way to an instance, and the answer on its way back.
//!
//! What may be tried again: a request that could not be *sent* (no connection, or a kept one that turned
//! out to be closed) goes over another connection or to another instance, whatever it is. One that was sent
//! is repeated only if it is idempotent, has no body, and not one byte was answered; and only once, so that
//! a request that kills an instance does not kill them all.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
    uri::PathAndQuery,
};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::{self, Instant};

use crate::{
    access::Trace,
    body::{AppBody, Progress, RequestBody, ResponseBody},
    claim::Claim,
    directory::At,
    headers::{self, X_FORWARDED_PREFIX},
    limits::UNSENT_MAX,
    link::Call,
    pages::Page,
    proxy::Proxy,
    service::{Visitor, look_up},
    table::Claimed,
    upgrade::{self, Asked},
    upstream::{Connection, Endpoint},
};

/// Whose request it is and for which host.
#[derive(Clone, Copy)]
pub(crate) struct Outbound<'a> {
    pub(crate) visitor: &'a Arc<Visitor>,
    pub(crate) call: &'a Call,
    pub(crate) trace: &'a Trace,
    /// The address as the table has it.
    pub(crate) at: At<'a>,
    /// The host as the client wrote it.
    pub(crate) host: &'a HeaderValue,
    /// What was taken off the path.
    pub(crate) prefix: Option<&'a str>,
}

impl Outbound<'_> {
    /// Makes the head of the client's request one for the app.
    pub(crate) fn head_for_app(&self, headers: &mut HeaderMap) {
        headers::to_app(headers, &self.visitor.client, self.host, self.trace.request_id.clone());
        if let Some(prefix) = self.prefix.and_then(|prefix| HeaderValue::from_str(prefix).ok()) {
            headers.insert(X_FORWARDED_PREFIX, prefix);
        }
    }
}

/// Sends the request to the endpoint claimed for it, or to another one, and gives the answer.
pub(crate) async fn forward(
    outbound: Outbound<'_>,
    request: Request<Incoming>,
    claim: Claim,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = request.into_parts();
    let asked = Asked::take(&mut parts);
    let accept = parts.headers.get(header::ACCEPT).cloned();
    outbound.head_for_app(&mut parts.headers);
    parts.uri = origin_form(parts.uri);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if let Some(asked) = &asked {
        asked.put_into(&mut parts.headers);
    }
    let body = RequestBody::new(incoming);
    let mut attempt = Attempt::new(outbound, asked.is_none(), parts, body);
    match attempt.run(claim).await {
        Ok(answered) => respond(outbound, answered, asked),
        Err(page) => page.answer(accept.as_ref()),
    }
}

/// `/path?query` of any target, as an origin server expects it.
pub(crate) fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query;
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// An answer that has begun, and what carries it.
struct Answered {
    response: Response<Incoming>,
    connection: Connection,
    claim: Claim,
}

/// The attempts to have one request answered.
struct Attempt<'a> {
    outbound: Outbound<'a>,
    /// The request, while it has not been sent.
    unsent: Option<Request<RequestBody>>,
    /// The request once more, if it may be repeated.
    again: Option<request::Parts>,
    progress: Option<Arc<Progress>>,
    /// Endpoints that could not be connected to.
    tried: Vec<Arc<Endpoint>>,
    /// Times that the request came back unsent.
    returned: usize,
    /// Whether a kept connection may be used.
    may_reuse: bool,
}

/// What came of sending the request once.
enum Sent {
    Answered(Response<Incoming>),
    /// It came back: it was never on the wire.
    Unsent,
    /// It is gone and nothing was answered.
    Lost(Page),
}

impl<'a> Attempt<'a> {
    fn new(outbound: Outbound<'a>, is_plain: bool, parts: request::Parts, body: RequestBody) -> Self {
        let progress = body.progress();
        let is_repeatable = is_plain && progress.is_none() && is_idempotent(&parts.method);
        let again = is_repeatable.then(|| parts.clone());
        let unsent = Some(Request::from_parts(parts, body));
        Self { outbound, unsent, again, progress, tried: Vec::new(), returned: 0, may_reuse: true }
    }

    async fn run(&mut self, first: Claim) -> Result<Answered, Page> {
        let mut claim = first;
        loop {
            let Some(mut connection) = self.connect(&claim).await else {
                claim = self.claim_another()?;
                continue;
            };
            match self.send(&mut connection).await {
                Sent::Answered(response) => return Ok(Answered { response, connection, claim }),
                Sent::Unsent => {
                    self.proxy().metrics.resent.add();
                    self.returned += 1;
                    self.may_reuse = self.returned < UNSENT_MAX;
                    if !connection.is_reused {
                        // It accepts connections and closes them: as good as unreachable.
                        self.tried.push(Arc::clone(claim.endpoint()));
                    }
                }
                Sent::Lost(page) => self.prepare_again(page)?,
            }
            // The endpoint may have been replaced meanwhile: what is sent anew goes where new requests go.
            claim = self.claim_another()?;
        }
    }

    fn proxy(&self) -> &'a Arc<Proxy> {
        &self.outbound.visitor.proxy
    }

    /// A connection to the claimed endpoint: a kept one if there is a fresh one, else a new one. An
    /// endpoint that cannot be reached is not tried again for this request.
    async fn connect(&mut self, claim: &Claim) -> Option<Connection> {
        let (proxy, endpoint) = (self.proxy(), claim.endpoint());
        let limits = &proxy.limits;
        // A request that cannot be repeated does not risk a connection that the app may just be closing.
        let age_max =
            if self.again.is_some() { limits.pool_idle_timeout } else { limits.pool_unrepeatable_age_max };
        if self.may_reuse
            && let Some(connection) = endpoint.reuse(age_max)
        {
            self.outbound.trace.goes_to(endpoint, Duration::ZERO);
            return Some(connection);
        }
        let begun = Instant::now();
        let connected = endpoint.connect(proxy).await;
        self.outbound.trace.goes_to(endpoint, begun.elapsed());
        match connected {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::debug!(%error, "instance not reachable");
                proxy.metrics.resent.add();
                self.tried.push(Arc::clone(endpoint));
                None
            }
        }
    }

    async fn send(&mut self, connection: &mut Connection) -> Sent {
        let Some(request) = self.unsent.take() else {
            return Sent::Lost(Page::broken_answer());
        };
        let limit = self.proxy().limits.answer_timeout;
        let answer = match &self.progress {
            None => time::timeout(limit, connection.send(request)).await.ok(),
            Some(progress) => answer_while_moving(limit, progress, connection.send(request)).await,
        };
        match answer {
            Some(Ok(response)) => Sent::Answered(response),
            Some(Err(mut failed)) => match failed.take_message() {
                Some(request) => {
                    self.unsent = Some(request);
                    Sent::Unsent
                }
                None => {
                    let error = failed.error();
                    tracing::debug!(%error, "no answer from the app");
                    Sent::Lost(if error.is_user() { Page::broken_request() } else { Page::broken_answer() })
                }
            },
            None => {
                self.again = None;
                Sent::Lost(Page::late_answer(limit.as_secs()))
            }
        }
    }

    /// Makes the lost request ready to be sent once more, if that is right.
    fn prepare_again(&mut self, page: Page) -> Result<(), Page> {
        let parts = self.again.take().ok_or(page)?;
        self.proxy().metrics.repeated.add();
        self.unsent = Some(Request::from_parts(parts, RequestBody::empty()));
        self.may_reuse = false;
        Ok(())
    }

    fn claim_another(&self) -> Result<Claim, Page> {
        match look_up(self.proxy(), self.outbound.at, &self.tried) {
            Claimed::Endpoint(claim) => Ok(claim),
            Claimed::NoApp => Err(Page::no_app(self.outbound.at.host)),
            Claimed::NoInstance => Err(Page::no_instance()),
            // The app became something else between two attempts: the visitor's next request gets that.
            Claimed::Exhausted | Claimed::Files(..) | Claimed::Function(_) | Claimed::Outdated => {
                Err(Page::unreachable())
            }
        }
    }
}

/// Methods that may be repeated without another effect (RFC 9110, 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// Waits for an answer, but for no longer than `limit` after the last piece of the request's body: a large
/// upload over a slow line takes its time.
async fn answer_while_moving<T>(
    limit: Duration,
    progress: &Progress,
    answer: impl Future<Output = Result<T, TrySendError<Request<RequestBody>>>>,
) -> Option<Result<T, TrySendError<Request<RequestBody>>>> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = progress.frames();
        match time::timeout(limit, answer.as_mut()).await {
            Ok(answer) => return Some(answer),
            Err(_elapsed) if progress.frames() == before => return None,
            Err(_elapsed) => {}
        }
    }
}

fn respond(outbound: Outbound<'_>, answered: Answered, asked: Option<Asked>) -> Response<ResponseBody> {
    let Answered { response, connection, claim } = answered;
    let visitor = outbound.visitor;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match asked {
            Some(asked) => upgrade::switch(outbound, response, asked, claim),
            None => Page::broken_answer().answer(None),
        };
    }
    let (mut parts, incoming) = response.into_parts();
    headers::to_client(&mut parts.headers, outbound.trace.request_id.clone());
    parts.extensions.clear();
    let body = AppBody::new(incoming, connection, claim, &visitor.proxy);
    Response::from_parts(parts, ResponseBody::app(body))
}
