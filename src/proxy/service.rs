//! One request: refused already? which host? who answers for it?

use std::sync::Arc;

use autostack_base::tasks::Shutdown;
use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper::body::Incoming;

use crate::{
    access::Trace,
    body::ResponseBody,
    directory::At,
    forward::{self, Outbound},
    head::split_port,
    headers::Client,
    lambda,
    link::{Call, Link},
    pages::Page,
    proxy::Proxy,
    rules::{self, Case},
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
            let trace = Trace::new(self.proxy.request_ids.next());
            let asked = self.proxy.access.begin(&request, self.client.address_text());
            let mut response = match call.refusal {
                Some(refusal) => {
                    self.proxy.metrics.refused.add();
                    tracing::debug!(%refusal, "request refused");
                    Page::refused(refusal).answer(request.headers().get(header::ACCEPT))
                }
                None => route(&self, &call, &trace, request).await,
            };
            *response.version_mut() = Version::HTTP_11;
            self.proxy.metrics.answered(response.status());
            let (status, said) = (response.status(), response.body_mut().take_said());
            let record = asked.and_then(|asked| trace.record(asked, status, said));
            let pending = record.and_then(|record| self.proxy.access.pending(record));
            response.map(|body| body.keeping(call.answered(), pending))
        }
    }
}

async fn route(
    visitor: &Arc<Visitor>,
    call: &Call,
    trace: &Trace,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let Some(host) = host_of(&request) else {
        return Page::no_app("").answer(request.headers().get(header::ACCEPT));
    };
    let mut name_space = [0; HOST_BYTES_MAX];
    let uri = request.uri().clone();
    let at = At { host: lower_case_name(&host, &mut name_space), path: uri.path() };
    let proxy = &visitor.proxy;
    let Some(found) = proxy.table.load().find(at) else {
        return Page::no_app(at.host).answer(request.headers().get(header::ACCEPT));
    };
    trace.is_for(&found.app);
    if let Some(rules) = &found.rules {
        let case = Case { app: &found.app, at, host: &host, uri: &uri, headers: request.headers() };
        if let Some(answer) = rules::obey(visitor, rules, case).await {
            return answer;
        }
    }
    let prefix = found.strip.as_deref();
    if let Some(prefix) = prefix {
        *request.uri_mut() = without_prefix(&uri, prefix);
    }
    let outbound = Outbound { visitor, call, trace, at, host: &host, prefix };
    match look_up(proxy, at, &[]) {
        Claimed::Endpoint(claim) => forward::forward(outbound, request, claim).await,
        Claimed::Function(function) => lambda::answer(outbound, request, &function).await,
        Claimed::Files(site, claim) => static_files::answer(proxy, &site, claim, prefix, &request).await,
        Claimed::NoApp => Page::no_app(at.host).answer(request.headers().get(header::ACCEPT)),
        Claimed::NoInstance => Page::no_instance().answer(request.headers().get(header::ACCEPT)),
        Claimed::Exhausted | Claimed::Outdated => {
            Page::unreachable().answer(request.headers().get(header::ACCEPT))
        }
    }
}

/// The target of a request as the app is to see it: its path begins behind `prefix`.
fn without_prefix(uri: &Uri, prefix: &str) -> Uri {
    let rest = uri.path().strip_prefix(prefix).unwrap_or(uri.path());
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Part of a valid target, with a slash before it, is one too.
    Uri::try_from(format!("{slash}{rest}{query}")).unwrap_or_else(|_| uri.clone())
}

/// Looks up and claims in the current table. What was retired between the look-up and the claim is looked
/// up again: the table that replaced it is in place by then.
pub(crate) fn look_up(proxy: &Proxy, at: At<'_>, tried: &[Arc<Endpoint>]) -> Claimed {
    loop {
        match proxy.table.load().claim(at, tried) {
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
