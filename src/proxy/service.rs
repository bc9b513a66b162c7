//! One request: refused already? which host? who answers for it?

use std::sync::Arc;

use autostack_base::tasks::Shutdown;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::{
    body::ResponseBody,
    forward::{self, Outbound},
    head::split_port,
    headers::Client,
    lambda,
    link::{Call, Link},
    pages::Page,
    proxy::Proxy,
    static_files,
    table::Claimed,
    upstream::Endpoint,
};

/// What belongs to one client connection.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) client: Client,
    pub(crate) link: Arc<Link>,
    /// Given when the server stops.
    pub(crate) stop: Shutdown,
    /// The connection's place among those allowed; freed when the last user of the connection is gone.
    pub(crate) _place: tokio::sync::OwnedSemaphorePermit,
}

impl Visitor {
    /// Answers one request. Never fails: what goes wrong becomes a page. Notes the call at once, before the
    /// future is polled.
    pub(crate) fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send {
        let call = self.link.begin();
        async move {
            let mut response = match call.refusal {
                Some(refusal) => {
                    self.proxy.metrics.refused.add();
                    tracing::debug!(%refusal, "request refused");
                    Page::refused(refusal).answer(request.headers().get(header::ACCEPT))
                }
                None => route(&self, &call, request).await,
            };
            *response.version_mut() = Version::HTTP_11;
            self.proxy.metrics.answered(response.status());
            response.map(|body| body.keeping(call.answered()))
        }
    }
}

async fn route(visitor: &Arc<Visitor>, call: &Call, request: Request<Incoming>) -> Response<ResponseBody> {
    let Some(host) = host_of(&request) else {
        return Page::no_app("").answer(request.headers().get(header::ACCEPT));
    };
    let mut name_space = [0; HOST_BYTES_MAX];
    let name = lower_case_name(&host, &mut name_space);
    let accept = request.headers().get(header::ACCEPT);
    match look_up(&visitor.proxy, name, &[]) {
        Claimed::Endpoint(claim) => {
            let outbound = Outbound { visitor, call, name, host: &host };
            forward::forward(outbound, request, claim).await
        }
        Claimed::Function(function) => {
            let outbound = Outbound { visitor, call, name, host: &host };
            lambda::answer(outbound, request, &function).await
        }
        Claimed::Files(site, claim) => static_files::answer(&visitor.proxy, &site, claim, &request).await,
        Claimed::NoApp => Page::no_app(name).answer(accept),
        Claimed::NoInstance => Page::no_instance().answer(accept),
        Claimed::Exhausted | Claimed::Outdated => Page::unreachable().answer(accept),
    }
}

/// Looks up and claims in the current table. What was retired between the look-up and the claim is looked
/// up again: the table that replaced it is in place by then.
pub(crate) fn look_up(proxy: &Proxy, name: &str, tried: &[Arc<Endpoint>]) -> Claimed {
    loop {
        match proxy.table.load().claim(name, tried) {
            Claimed::Outdated => {}
            claimed => return claimed,
        }
    }
}

/// The `Host` of a request; of one in HTTP/1.0 that has none, the host of its target. The guard has checked
/// that the two agree.
fn host_of(request: &Request<Incoming>) -> Option<HeaderValue> {
    let of_target = || HeaderValue::from_str(request.uri().authority()?.as_str()).ok();
    request.headers().get(header::HOST).cloned().or_else(of_target)
}

/// Bytes of the longest host name, with the dot that may end it.
const HOST_BYTES_MAX: usize = 254;

/// The name as the table has it: lower case, no port, no dot at the end. Made without allocating.
fn lower_case_name<'a>(host: &HeaderValue, space: &'a mut [u8; HOST_BYTES_MAX]) -> &'a str {
    let (name, _port) = split_port(host.as_bytes());
    let name = name.strip_suffix(b".").unwrap_or(name);
    let Some(room) = space.get_mut(..name.len()) else { return "" };
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    std::str::from_utf8(room).unwrap_or("")
}
