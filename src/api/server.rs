//! Connections and their limits. An own accept loop: axum's sets no header timer and bounds nothing.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use autostack_base::tasks::{Shutdown, Tasks};
use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// Time for the head of a request to arrive, counted from the end of the one before.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Header fields of one request.
const HEADERS_MAX: usize = 100;
/// Bytes of the head of one request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Time that requests in flight get once the stop is signalled.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `stop`; returns when it takes no more connections. Those in flight get five
/// seconds more, as tasks of `tasks`.
pub async fn serve(listener: TcpListener, router: Router, tasks: Tasks, stop: Shutdown) {
    serve_with(HEAD_TIMEOUT, listener, router, tasks, stop).await;
}

async fn serve_with(
    head_timeout: Duration,
    listener: TcpListener,
    router: Router,
    tasks: Tasks,
    stop: Shutdown,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let router = router.clone().layer(Extension(ConnectInfo(peer)));
                let connection = connection(stream, head_timeout, router, stop.clone(), place);
                tasks.spawn("api connection", connection);
            }
            Err(error) => {
                tracing::warn!(%error, "api cannot accept a connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Serves one connection to its end; its place is free afterwards.
async fn connection(
    stream: TcpStream,
    head_timeout: Duration,
    router: Router,
    stop: Shutdown,
    place: OwnedSemaphorePermit,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match time::timeout(STOP_TIMEOUT, serving).await {
                Ok(ended) => ended,
                Err(_elapsed) => Ok(()),
            }
        }
    };
    // The client's fault in all cases that hyper knows: nothing for the operator to do.
    if let Err(error) = ended {
        tracing::debug!(%error, "api connection ended early");
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::router::bounded;

    const BOUND: Duration = Duration::from_secs(10);

    struct World {
        address: SocketAddr,
        tasks: Tasks,
    }

    impl World {
        async fn new() -> Self {
            Self::with_head_timeout(HEAD_TIMEOUT).await
        }

        async fn with_head_timeout(head_timeout: Duration) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let tasks = Tasks::new();
            let router = bounded(Router::new().route("/health", get(async || "{}")));
            let stop = tasks.shutdown_token();
            tasks.spawn("api", serve_with(head_timeout, listener, router, tasks.clone(), stop));
            Self { address, tasks }
        }

        /// Sends raw bytes; the status and the JSON of the answer.
        async fn ask(&self, request: &str) -> (u16, Value) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            time::timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, serde_json::from_str(body).unwrap())
        }

        async fn get(&self, path: &str) -> (u16, Value) {
            self.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await
        }

        async fn ends(self) {
            assert_eq!(self.tasks.stop(BOUND).await, Vec::<&str>::new());
            assert_eq!(self.tasks.panics(), 0);
        }
    }

    #[tokio::test]
    async fn every_error_has_the_one_shape() {
        let world = World::new().await;
        let large =
            "POST /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2097153\r\n\r\n";
        let post = "POST /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        for (answer, status, code) in [
            (world.get("/nothing/here").await, 404, "not_found"),
            (world.get("/../etc/passwd").await, 404, "not_found"),
            (world.ask(post).await, 405, "method_not_allowed"),
            (world.ask(large).await, 413, "body_too_large"),
        ] {
            assert_eq!(answer.0, status);
            let error = &answer.1["error"];
            assert_eq!(error["code"], code);
            assert!(error["message"].is_string() && error["details"].is_object(), "{error}");
        }
        world.ends().await;
    }

    #[tokio::test]
    async fn d4_a_head_that_never_ends_is_cut_off_and_a_connection_without_one_too() {
        let limit = Duration::from_millis(300);
        let world = World::with_head_timeout(limit).await;
        let begun = time::Instant::now();
        let mut silent = TcpStream::connect(world.address).await.unwrap();
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        slow.write_all(b"GET /health HTTP/1.1\r\nhost:").await.unwrap();
        let mut answer = Vec::new();
        time::timeout(BOUND, slow.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());
        time::timeout(BOUND, silent.read_to_end(&mut answer)).await.unwrap().unwrap();
        world.ends().await;
    }

    #[tokio::test]
    async fn a_stop_closes_idle_connections_at_once() {
        let world = World::new().await;
        let mut idle = TcpStream::connect(world.address).await.unwrap();
        idle.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut some = [0; 1024];
        assert!(idle.read(&mut some).await.unwrap() > 0);
        let begun = time::Instant::now();
        world.ends().await;
        assert!(begun.elapsed() < STOP_TIMEOUT, "{:?}", begun.elapsed());
    }
}
