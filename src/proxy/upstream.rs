//! Connections to one endpoint: opened when needed, kept for a few seconds, reused newest first.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use autostack_base::tasks::Shutdown;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

use crate::{
    body::RequestBody,
    claim::InFlight,
    lambda::AtWork,
    limits::{HEAD_BYTES_MAX, HEADERS_MAX},
    proxy::Proxy,
};

/// The address of an instance, who is in flight there, and the connections kept to it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// What the access log calls it: `web.1`.
    pub(crate) dyno: Option<Arc<str>>,
    /// Requests sent there whose answer has not ended.
    pub(crate) requests: InFlight,
    /// Connections open to it, unused ones included.
    pub(crate) connections: InFlight,
    /// Whether it works on an event; only for instances of functions.
    pub(crate) at_work: AtWork,
    pool: Mutex<Pool>,
}

/// Unused connections, the longest unused first.
#[derive(Debug, Default)]
struct Pool {
    unused: Vec<Unused>,
    /// Whether a task is waiting to close what stays unused.
    is_swept: bool,
    /// Whether connections are kept at all.
    is_closed: bool,
}

#[derive(Debug)]
struct Unused {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connecting to {0} failed: {1}")]
    Refused(SocketAddr, #[source] std::io::Error),
    #[error("connecting to {0} took too long")]
    TimedOut(SocketAddr),
    #[error("http handshake with {0} failed: {1}")]
    Handshake(SocketAddr, #[source] hyper::Error),
}

/// A connection on which one request may be sent.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    /// Whether it has carried a request before, so that the app may just be closing it.
    pub(crate) is_reused: bool,
}

impl Connection {
    /// Sends a request and waits for the head of the answer. A request that was not sent comes back in the
    /// error.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.sender.try_send_request(request).await
    }
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, dyno: Option<Arc<str>>) -> Self {
        Self {
            address,
            dyno,
            requests: InFlight::default(),
            connections: InFlight::default(),
            at_work: AtWork::default(),
            pool: Mutex::default(),
        }
    }

    /// Turns new requests away and closes the connections that are unused; those in use are closed as
    /// their requests end.
    pub(crate) fn retire(&self) {
        self.requests.retire();
        self.connections.retire();
        self.close_pool();
    }

    /// A kept connection that was used less than `age_max` ago, if there is one that still stands.
    pub(crate) fn reuse(&self, age_max: Duration) -> Option<Connection> {
        let now = Instant::now();
        let mut pool = self.pool();
        // From the newest: the others may go unused and be closed. One that is not ready yet (its last
        // answer has ended, its task has not noticed) is passed over.
        let mut at = pool.unused.len();
        while at > 0 {
            at -= 1;
            let candidate = &pool.unused[at];
            if candidate.sender.is_closed() {
                pool.unused.remove(at);
            } else if now.duration_since(candidate.since) > age_max {
                return None;
            } else if candidate.sender.is_ready() {
                let Unused { sender, .. } = pool.unused.remove(at);
                return Some(Connection { sender, is_reused: true });
            }
        }
        None
    }

    /// Opens a connection.
    pub(crate) async fn connect(self: &Arc<Self>, proxy: &Proxy) -> Result<Connection, ConnectError> {
        let address = self.address;
        let stream = time::timeout(proxy.limits.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_elapsed| ConnectError::TimedOut(address))?
            .map_err(|error| ConnectError::Refused(address, error))?;
        // Small requests must not wait for the acknowledgement of earlier ones. If it fails, it is slower.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::Handshake(address, error))?;
        let open = Open::on(self);
        proxy.tasks.spawn("proxy-upstream", async move {
            let _open = open;
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%address, %error, "connection to the app ended");
            }
        });
        Ok(Connection { sender, is_reused: false })
    }

    /// Keeps a connection whose last answer has ended, for the next request.
    pub(crate) fn keep(self: &Arc<Self>, connection: Connection, proxy: &Arc<Proxy>) {
        let Connection { sender, .. } = connection;
        if sender.is_closed() {
            return;
        }
        let start_sweeping = {
            let mut pool = self.pool();
            if pool.is_closed || pool.unused.len() >= proxy.limits.pool_idle_max {
                return;
            }
            pool.unused.push(Unused { sender, since: Instant::now() });
            !std::mem::replace(&mut pool.is_swept, true)
        };
        if start_sweeping {
            let endpoint = Arc::clone(self);
            let (idle_timeout, stopping) = (proxy.limits.pool_idle_timeout, proxy.tasks.shutdown_token());
            proxy.tasks.spawn("proxy-pool", async move { endpoint.sweep(idle_timeout, stopping).await });
        }
    }

    /// Closes what stays unused for `idle_timeout`, or at once when the agent is stopping; ends when nothing is
    /// left, so that an idle agent sleeps.
    async fn sweep(self: Arc<Self>, idle_timeout: Duration, stopping: Shutdown) {
        while let Some(oldest) = self.close_unused_since(idle_timeout) {
            tokio::select! {
                () = stopping.cancelled() => return self.close_pool(),
                () = time::sleep_until(oldest + idle_timeout) => {}
            }
        }
    }

    /// Closes what is unused, and keeps nothing from now on.
    fn close_pool(&self) {
        let unused = {
            let mut pool = self.pool();
            pool.is_closed = true;
            std::mem::take(&mut pool.unused)
        };
        drop(unused);
    }

    /// Closes what has been unused for `idle_timeout`, and says since when the oldest of the rest is.
    fn close_unused_since(&self, idle_timeout: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut pool = self.pool();
        pool.unused
            .retain(|unused| !unused.sender.is_closed() && now.duration_since(unused.since) < idle_timeout);
        let oldest = pool.unused.first().map(|unused| unused.since);
        pool.is_swept = oldest.is_some();
        oldest
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection, counted.
struct Open(Arc<Endpoint>);

impl Open {
    fn on(endpoint: &Arc<Endpoint>) -> Open {
        endpoint.connections.join_always();
        Open(Arc::clone(endpoint))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.leave();
    }
}
