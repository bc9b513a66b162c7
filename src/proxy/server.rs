//! The accept loop, one task for each client connection, and the orderly stop.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use autostack_base::tasks::Shutdown;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::{
    resource::{Resource, getrlimit},
    socket::{setsockopt, sockopt},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time,
};

use crate::{
    guard::Guard,
    headers::Client,
    limits::{HEAD_BYTES_MAX, HEADERS_MAX},
    link::Link,
    proxy::Proxy,
    service::Visitor,
};

/// How the connections of one server are told to end.
#[derive(Clone)]
struct Stop {
    /// Set before `graceful` is given: cheap to look at whenever a connection is polled.
    is_stopping: Arc<AtomicBool>,
    /// End after the current request.
    graceful: Shutdown,
    /// End now.
    now: Shutdown,
}

/// Accepts and answers until `shutdown`; see [`Proxy::serve`].
pub(crate) async fn serve(proxy: &Arc<Proxy>, listener: TcpListener, shutdown: Shutdown) {
    prepare(&listener);
    let stop = Stop { is_stopping: Arc::default(), graceful: Shutdown::new(), now: Shutdown::new() };
    let connections_max = connections_max(proxy.limits.connections_max);
    let places = Arc::new(Semaphore::new(connections_max));
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = accept(proxy, &listener, &places, &stop) => {}
    }
    drop(listener);
    stop.is_stopping.store(true, Ordering::Release);
    stop.graceful.cancel();
    // Every place is free once every connection has ended.
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    if time::timeout(proxy.limits.stop_timeout, places.acquire_many(all)).await.is_err() {
        let open = connections_max.saturating_sub(places.available_permits());
        tracing::warn!(open, "requests in flight were cut off by the stop");
        stop.now.cancel();
    }
}

/// File descriptors that are left to the rest of the agent: git, the store, instances, logs.
const DESCRIPTORS_KEPT_FREE: u64 = 256;
/// Connections that are allowed however few descriptors there are.
const CONNECTIONS_MIN: usize = 16;

/// As many connections as are wanted and as there are descriptors for: each takes two, one towards the app.
fn connections_max(wanted: usize) -> usize {
    let Ok((descriptors, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let possible =
        usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT_FREE) / 2).unwrap_or(usize::MAX);
    if possible < wanted {
        tracing::info!(
            wanted,
            possible,
            descriptors,
            "fewer connections are allowed: the limit of open files is low"
        );
    }
    wanted.min(possible.max(CONNECTIONS_MIN))
}

/// Options that accepted sockets inherit: no delay for small answers, and probes that find out about clients
/// that vanished. What the kernel refuses is only slower.
fn prepare(listener: &TcpListener) {
    let _ = setsockopt(listener, sockopt::TcpNoDelay, &true);
    let _ = setsockopt(listener, sockopt::KeepAlive, &true);
    let _ = setsockopt(listener, sockopt::TcpKeepIdle, &60);
    let _ = setsockopt(listener, sockopt::TcpKeepInterval, &15);
    let _ = setsockopt(listener, sockopt::TcpKeepCount, &4);
}

async fn accept(proxy: &Arc<Proxy>, listener: &TcpListener, places: &Arc<Semaphore>, stop: &Stop) {
    let mut pause = Duration::ZERO;
    let mut was_full = false;
    loop {
        let is_full = places.available_permits() == 0;
        if is_full && !was_full {
            tracing::warn!("all connections that are allowed are in use; new ones wait");
        }
        was_full = is_full;
        // Never closed, so this fails only if the semaphore is gone; then there is nothing to serve.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = Duration::ZERO;
                proxy.metrics.connections.add();
                let link = Link::new();
                let visitor = Arc::new(Visitor {
                    proxy: Arc::clone(proxy),
                    client: Client::new(peer.ip(), false),
                    link: Arc::clone(&link),
                    stop: stop.graceful.clone(),
                    _place: place,
                });
                proxy.tasks.spawn("proxy-connection", connection(visitor, stream, peer, stop.clone()));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: connections that end will free some. No spinning meanwhile.
                if pause.is_zero() {
                    tracing::warn!(%error, "accepting connections failed; trying again");
                }
                pause = (pause * 2).clamp(ACCEPT_PAUSE_MIN, ACCEPT_PAUSE_MAX);
                time::sleep(pause).await;
            }
        }
    }
}

const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// The connection ended before it was accepted: nothing is wrong with the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Speaks HTTP/1.1 with one client until it ends.
async fn connection(visitor: Arc<Visitor>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    let guard = Guard::new(stream, Arc::clone(&visitor.link), Arc::clone(&visitor.proxy.limits));
    let service = service_fn(move |request| {
        let answer = Arc::clone(&visitor).answer(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard's clocks see partial heads, which hyper never does.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(guard), service)
        .with_upgrades();
    if let Err(error) = until_stopped(connection, stop).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Drives a connection to its end, or to its stop. The signals are asked once, which leaves word where to
/// call, and again only when the server is stopping: each asking takes a lock that all connections share.
async fn until_stopped<S, B>(
    connection: http1::UpgradeableConnection<TokioIo<Guard<TcpStream>>, S>,
    stop: Stop,
) -> Result<(), hyper::Error>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut graceful = pin!(stop.graceful.cancelled());
    let mut now = pin!(stop.now.cancelled());
    let (mut has_asked, mut is_ending) = (false, false);
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if has_asked && !stop.is_stopping.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        has_asked = true;
        if !is_ending && graceful.as_mut().poll(cx).is_ready() {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
        }
        now.as_mut().poll(cx).map(Ok)
    })
    .await
}
