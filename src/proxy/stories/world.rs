//! A proxy on a free port, apps on free ports, and a visitor.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use autostack_base::{
    tasks::{Shutdown, Tasks},
    telemetry::metrics::Metrics,
};
use autostack_domain::route::{AppRoute, Target};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{Proxy, ProxyLimits, Retired};

/// Longer than anything here takes on a busy machine; a wait that reaches it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: did not happen in {PATIENCE:?}"))
}

/// Waits until `is_so`, looking often.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A running proxy.
pub(super) struct World {
    pub(super) proxy: Arc<Proxy>,
    pub(super) address: SocketAddr,
    pub(super) tasks: Tasks,
    pub(super) shutdown: Shutdown,
    pub(super) server: JoinHandle<()>,
}

impl World {
    pub(super) async fn start() -> World {
        World::with(ProxyLimits::default()).await
    }

    pub(super) async fn with(limits: ProxyLimits) -> World {
        let tasks = Tasks::new();
        let proxy = Proxy::new(limits, Metrics::default(), tasks.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let (proxy_here, shutdown_here) = (Arc::clone(&proxy), shutdown.clone());
        let server = tasks.spawn("server", async move { proxy_here.serve(listener, shutdown_here).await });
        World { proxy, address, tasks, shutdown, server }
    }

    /// Makes `app.localhost` lead to these addresses.
    pub(super) fn publish(&self, app: &str, addresses: &[SocketAddr]) -> Retired {
        self.proxy.publish(route(app, Target::Endpoints(addresses.to_vec())))
    }

    pub(super) async fn visit(&self) -> Visit {
        Visit::to(self.address).await
    }

    /// One GET over a connection of its own.
    pub(super) async fn get(&self, host: &str, path: &str) -> Answer {
        let mut visit = self.visit().await;
        visit.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        visit.answer().await
    }
}

pub(super) fn route(app: &str, target: Target) -> AppRoute {
    AppRoute::new(app.parse().unwrap(), vec![format!("{app}.localhost").parse().unwrap()], target)
}

/// A visitor's connection.
pub(super) struct Visit {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
}

/// What a visitor, or an app, read: first line, headers by lower-case name, body.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) first_line: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Visit {
    pub(super) async fn to(address: SocketAddr) -> Visit {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Visit { stream, unread: Vec::new() }
    }

    pub(super) fn on(stream: TcpStream) -> Visit {
        Visit { stream, unread: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        let read = soon("more to read", self.stream.read_buf(&mut self.unread)).await;
        read.is_ok_and(|read| read > 0)
    }

    pub(super) async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.drain(..at + 2).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// A head; `None` when the connection ended instead.
    pub(super) async fn head(&mut self) -> Option<Answer> {
        let mut answer = Answer { first_line: self.line().await?, ..Answer::default() };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(answer);
            }
            let (name, value) = line.split_once(':').unwrap();
            let name = name.to_ascii_lowercase();
            let known = answer.headers.entry(name).or_default();
            if !known.is_empty() {
                known.push_str(" + ");
            }
            known.push_str(value.trim());
        }
    }

    pub(super) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.line().await?.split(';').next()?, 16).ok()?;
        let chunk = self.exactly(size).await?;
        self.exactly(2).await?;
        Some(chunk)
    }

    /// A whole message; `None` when the connection ended before its end.
    pub(super) async fn message(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    return Some(answer);
                }
                answer.body.extend(chunk);
            }
        }
        let is_response = answer.first_line.starts_with("HTTP/");
        let has_body = !is_response || !matches!(answer.status(), 101 | 204 | 304);
        match answer.headers.get("content-length").map(|length| length.parse().unwrap()) {
            Some(length) if has_body => answer.body = self.exactly(length).await?,
            None if is_response && has_body => answer.body = self.rest().await,
            _ => {}
        }
        Some(answer)
    }

    pub(super) async fn answer(&mut self) -> Answer {
        self.message().await.expect("an answer")
    }

    /// Everything up to the end of the connection.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    /// A request over this connection, kept alive.
    pub(super) async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        self.answer().await
    }
}

/// What an app has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) bytes: AtomicUsize,
    pub(super) requests: Mutex<Vec<Answer>>,
}

impl Seen {
    pub(super) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(super) fn last(&self) -> Answer {
        self.requests.lock().unwrap().last().cloned().unwrap_or_default()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// An app behind the proxy.
pub(super) struct App {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

impl App {
    /// Runs `script` for each connection.
    pub(super) async fn scripted<F, R>(tasks: &Tasks, script: F) -> App
    where
        F: Fn(Visit, Arc<Seen>) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (seen_here, tasks_here) = (Arc::clone(&seen), tasks.clone());
        let accepting = tasks.spawn("app", async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen_here.connections.fetch_add(1, Ordering::SeqCst);
                seen_here.open.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let ends = Arc::clone(&seen_here);
                let work = script(Visit::on(stream), Arc::clone(&seen_here));
                tasks_here.spawn("app-connection", async move {
                    work.await;
                    ends.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        App { address, seen, accepting }
    }

    /// Answers every request with its own name, kept alive.
    pub(super) async fn named(tasks: &Tasks, name: &'static str) -> App {
        App::answering(tasks, move |_| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())
        })
        .await
    }

    /// Answers every request with what `answer` makes of it, kept alive.
    pub(super) async fn answering(
        tasks: &Tasks,
        answer: impl Fn(&Answer) -> String + Clone + Send + Sync + 'static,
    ) -> App {
        App::scripted(tasks, move |mut visit, seen| {
            let answer = answer.clone();
            async move {
                while let Some(request) = visit.message().await {
                    let text = answer(&request);
                    seen.requests.lock().unwrap().push(request);
                    if visit.stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Accepts nothing from now on.
    pub(super) async fn stop_listening(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}
