//! WebSocket and any other protocol that a client asks for with `Upgrade`, but for `h2c`: the request goes
//! to the app; after its 101 the two connections are spliced until both sides have closed, or nothing has
//! moved for [`stream_idle_timeout`](crate::ProxyLimits::stream_idle_timeout).
//!
//! `h2c` is not passed on: requests inside that connection would go to the app unchecked.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, header, request};
use hyper::{
    body::{Body, Incoming},
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes},
    time,
};

use crate::{
    body::ResponseBody, claim::Claim, forward::Outbound, headers::remove_hop_by_hop,
    limits::TUNNEL_BUFFER_BYTES, pages::Page,
};

/// A client's wish for another protocol.
#[derive(Debug)]
pub(crate) struct Asked {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Asked {
    /// Takes the wish out of a request, if there is one that may be passed on.
    pub(crate) fn take(parts: &mut request::Parts) -> Option<Asked> {
        let client = parts.extensions.remove::<OnUpgrade>()?;
        let mut protocols = parts.headers.get_all(header::UPGRADE).iter();
        let (protocol, None) = (protocols.next()?.clone(), protocols.next()) else { return None };
        let has_body = parts.headers.contains_key(header::TRANSFER_ENCODING)
            || parts.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        let is_named =
            parts.headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, b"upgrade"));
        let is_h2c = has_token(&protocol, b"h2c");
        (is_named && !is_h2c && !has_body).then_some(Asked { protocol, client })
    }

    /// Puts the wish into a head from which everything hop-by-hop has been removed.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }
}

/// Whether a client asks for a WebSocket.
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|protocol| has_token(protocol, b"websocket"))
}

fn has_token(value: &HeaderValue, token: &[u8]) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Passes the app's 101 on and splices the two connections once it is out.
pub(crate) fn switch(
    outbound: Outbound<'_>,
    mut response: Response<Incoming>,
    asked: Asked,
    claim: Claim,
) -> Response<ResponseBody> {
    let Some(protocol) = response.headers().get(header::UPGRADE).cloned() else {
        return Page::broken_answer().answer(None);
    };
    debug_assert!(response.body().is_end_stream(), "101 has no body");
    let app = hyper::upgrade::on(&mut response);
    let (mut parts, _no_body) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, protocol);
    parts.extensions.clear();
    outbound.call.grant_upgrade();
    let visitor = outbound.visitor;
    visitor.proxy.metrics.upgrades.add();
    let visitor_here = Arc::clone(visitor);
    visitor.proxy.tasks.spawn("proxy-tunnel", async move {
        let _claimed_until_closed = claim;
        let spliced = splice(asked.client, app, visitor_here.proxy.limits.stream_idle_timeout);
        tokio::select! {
            // Nobody can tell when an upgraded connection is between two messages: a stop ends it.
            () = visitor_here.stop.cancelled() => {}
            ended = spliced => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "upgraded connection ended");
                }
            }
        }
    });
    Response::from_parts(parts, ResponseBody::empty())
}

/// Why an upgraded connection ended early.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("the client did not take the upgrade: {0}")]
    Client(#[source] hyper::Error),
    #[error("the app did not keep to its upgrade: {0}")]
    App(#[source] hyper::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing moved for {} s", .0.as_secs())]
    Idle(Duration),
}

async fn splice(client: OnUpgrade, app: OnUpgrade, idle_timeout: Duration) -> Result<(), TunnelError> {
    let app = app.await.map_err(TunnelError::App)?;
    let client = client.await.map_err(TunnelError::Client)?;
    let moved = Arc::new(AtomicUsize::new(0));
    let mut client = Watched { inner: TokioIo::new(client), moved: Arc::clone(&moved) };
    let mut app = TokioIo::new(app);
    let mut copied =
        pin!(copy_bidirectional_with_sizes(&mut client, &mut app, TUNNEL_BUFFER_BYTES, TUNNEL_BUFFER_BYTES));
    loop {
        let before = moved.load(Ordering::Relaxed);
        match time::timeout(idle_timeout, copied.as_mut()).await {
            Ok(ended) => return ended.map(|_bytes| ()).map_err(TunnelError::Io),
            Err(_elapsed) if moved.load(Ordering::Relaxed) == before => {
                return Err(TunnelError::Idle(idle_timeout));
            }
            Err(_elapsed) => {}
        }
    }
}

/// The client's side of a tunnel, with a count that changes whenever a byte moves: all that moves passes
/// here.
struct Watched {
    inner: TokioIo<Upgraded>,
    moved: Arc<AtomicUsize>,
}

impl Watched {
    fn note<T>(&self, moved: Poll<T>) -> Poll<T> {
        if moved.is_ready() {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        moved
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.note(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
