//! The access log: what is noted of each request to an app while it is answered, a line of it in the shape that
//! Heroku's router gives its own, its place among the metrics, and the task that writes the lines down in batches, away from the requests.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use autostack_base::{clock, tasks::Tasks, telemetry::metrics::Metrics};
use autostack_domain::{AppName, Line, LineKind, UnixMillis, screen::Printable};
use autostack_logs::{Entry, LogError, Logs, Stream};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    limits::{ACCESS_BATCH_MAX, ACCESS_PATH_CHARS_MAX, ACCESS_PAUSE, ACCESS_QUEUE_MAX, ACCESS_STREAMS_MAX},
    upstream::Endpoint,
};

/// Where finished requests are noted; nowhere until somebody keeps the log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    metrics: Metrics,
    queue: OnceLock<mpsc::Sender<Record>>,
    /// Requests that were not noted because the queue was full.
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, queue: OnceLock::default(), lost: Arc::default() }
    }

    /// Keeps the log from now on, until the tasks are stopped. Only the first call counts.
    pub(crate) fn keep(&self, logs: Logs, tasks: &Tasks) {
        let (sender, queue) = mpsc::channel(ACCESS_QUEUE_MAX);
        if self.queue.set(sender).is_err() {
            return;
        }
        let writer = Writer { logs, streams: HashMap::new() };
        tasks.spawn("access log", write_down(queue, writer, tasks.clone(), Arc::clone(&self.lost)));
    }

    /// Begins to note a request; `None` where nobody keeps the log.
    pub(crate) fn begin<B>(&self, request: &Request<B>, fwd: &HeaderValue) -> Option<Asked> {
        self.queue.get()?;
        Some(Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: request.headers().get(http::header::HOST).cloned(),
            fwd: fwd.clone(),
        })
    }

    /// A record that is noted when it is dropped.
    pub(crate) fn pending(&self, record: Record) -> Option<Pending> {
        let queue = self.queue.get()?.clone();
        let metrics = self.metrics.clone();
        Some(Pending { record: Some(record), queue, metrics, lost: Arc::clone(&self.lost) })
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    fwd: HeaderValue,
}

/// What happens to one request on its way, told by those whom it passes.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) request_id: HeaderValue,
    started: Instant,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    app: Option<Arc<AppName>>,
    dyno: Option<Arc<str>>,
    connect: Duration,
}

impl Trace {
    pub(crate) fn new(request_id: HeaderValue) -> Self {
        Self { request_id, started: Instant::now(), told: Mutex::default() }
    }

    /// Whose request it is.
    pub(crate) fn is_for(&self, app: &Arc<AppName>) {
        self.told().app = Some(Arc::clone(app));
    }

    /// It goes to this instance; `connect` is how long it took to get a connection.
    pub(crate) fn goes_to(&self, endpoint: &Endpoint, connect: Duration) {
        let mut told = self.told();
        told.dyno.clone_from(&endpoint.dyno);
        told.connect += connect;
    }

    /// What is noted once the head of the answer is known; `None` for a request that was for no app.
    pub(crate) fn record(self, asked: Asked, status: StatusCode, page: Option<Box<Said>>) -> Option<Record> {
        let told = self.told.into_inner().unwrap_or_else(PoisonError::into_inner);
        let app = told.app?;
        Some(Record {
            at: UnixMillis(0),
            app,
            asked,
            request_id: self.request_id,
            started: self.started,
            took: Duration::ZERO,
            dyno: told.dyno,
            connect: told.connect,
            status,
            page,
            bytes: 0,
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a page of the proxy's own told the visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// The page's code.
    pub(crate) code: &'static str,
    /// Its sentence.
    pub(crate) desc: String,
}

/// One finished request.
#[derive(Debug)]
pub(crate) struct Record {
    at: UnixMillis,
    app: Arc<AppName>,
    asked: Asked,
    request_id: HeaderValue,
    started: Instant,
    took: Duration,
    dyno: Option<Arc<str>>,
    connect: Duration,
    status: StatusCode,
    page: Option<Box<Said>>,
    bytes: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_error = self.status.is_server_error()
            && self.page.as_ref().is_some_and(|said| said.code != "maintenance");
        write!(f, "at={}", if is_error { "error" } else { "info" })?;
        if let Some(said) = &self.page {
            write!(f, " code={} desc=\"{}\"", said.code, quoted(&said.desc))?;
        }
        let uri = &self.asked.uri;
        let path = uri.path_and_query().map_or(uri.path(), |path| path.as_str());
        let host = self.asked.host.as_ref().map_or("", text).trim();
        write!(
            f,
            " method={} path=\"{}\" host={} request_id={} fwd=\"{}\" dyno={} connect={}ms service={}ms status={} bytes={} protocol=http",
            self.asked.method,
            quoted(path),
            quoted(host),
            text(&self.request_id),
            quoted(text(&self.asked.fwd)),
            self.dyno.as_deref().unwrap_or_default(),
            self.connect.as_millis(),
            self.took.saturating_sub(self.connect).as_millis(),
            self.status.as_u16(),
            self.bytes,
        )
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// Text between quotes, cut where it is longer than anybody reads; nothing in it can end the quotes or the line.
fn quoted(text: &str) -> String {
    let head: String = text.chars().take(ACCESS_PATH_CHARS_MAX).collect();
    let cut = if head.len() < text.len() { "…" } else { "" };
    format!("{}{cut}", Printable(&head)).replace('\\', "\\\\").replace('"', "\\\"")
}

/// A request whose answer is under way; noted when this is dropped, however the answer ended.
#[derive(Debug)]
pub(crate) struct Pending {
    record: Option<Record>,
    queue: mpsc::Sender<Record>,
    metrics: Metrics,
    lost: Arc<AtomicU64>,
}

impl Pending {
    /// So many bytes of the answer's body went out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.bytes += bytes as u64;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.took = record.started.elapsed();
        record.at = clock::now();
        self.metrics.request(&record.app, record.status.as_u16(), record.took, record.bytes);
        // A request never waits for the log.
        if self.queue.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes what has gathered, writes it, waits a moment, until the tasks stop; then what is left.
async fn write_down(
    mut queue: mpsc::Receiver<Record>,
    mut writer: Writer,
    tasks: Tasks,
    lost: Arc<AtomicU64>,
) {
    let stop = tasks.shutdown_token();
    loop {
        let mut batch = Vec::new();
        let is_last = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            received = queue.recv_many(&mut batch, ACCESS_BATCH_MAX) => received == 0,
        };
        if is_last {
            while let Ok(record) = queue.try_recv() {
                batch.push(record);
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                lost,
                "requests were not noted in the access log: more came than could be written"
            );
        }
        let written = tasks.blocking("write access log", move || {
            writer.write(batch);
            writer
        });
        // A panic was reported where it happened, and took the writer along.
        let Ok(back) = written.await else { return };
        writer = back;
        if is_last {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(ACCESS_PAUSE) => {}
        }
    }
}

/// Appends lines to the logs of their apps. Blocking.
struct Writer {
    logs: Logs,
    /// The logs in use: opening one reads its end.
    streams: HashMap<AppName, Arc<Stream>>,
}

impl Writer {
    fn write(&mut self, batch: Vec<Record>) {
        let mut by_app = BTreeMap::<Arc<AppName>, Vec<Entry>>::new();
        for record in batch {
            let line = Line { kind: LineKind::Detail, text: record.to_string() };
            by_app.entry(Arc::clone(&record.app)).or_default().push(Entry::platform(record.at, line));
        }
        for (app, entries) in by_app {
            if let Err(error) = self.append(&app, &entries) {
                self.streams.remove(&*app);
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(%app, error, lost = entries.len(), "the access log could not be written");
            }
        }
    }

    fn append(&mut self, app: &AppName, entries: &[Entry]) -> Result<(), LogError> {
        if let Some(stream) = self.streams.get(app) {
            match stream.append(entries) {
                // The app was destroyed; this is another one of its name.
                Err(LogError::Removed { .. }) => {}
                appended => return appended.map(|_end| ()),
            }
        }
        if self.streams.len() >= ACCESS_STREAMS_MAX {
            self.streams.clear();
        }
        let stream = self.logs.access(app)?;
        stream.append(entries)?;
        self.streams.insert(app.clone(), stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str, host: &str, page: Option<Said>) -> Record {
        Record {
            at: UnixMillis(0),
            app: Arc::new("shop".parse().unwrap()),
            asked: Asked {
                method: Method::GET,
                uri: path.parse().unwrap(),
                host: HeaderValue::from_bytes(host.as_bytes()).ok(),
                fwd: HeaderValue::from_static("203.0.113.9"),
            },
            request_id: HeaderValue::from_static("id"),
            started: Instant::now(),
            took: Duration::from_millis(5),
            dyno: Some("web.1".into()),
            connect: Duration::from_millis(2),
            status: page.as_ref().map_or(StatusCode::OK, |_| StatusCode::GATEWAY_TIMEOUT),
            page: page.map(Box::new),
            bytes: 123,
        }
    }

    #[test]
    fn a_line_has_the_shape_of_herokus_router() {
        assert_eq!(
            record("/a?b=c", "shop.test", None).to_string(),
            "at=info method=GET path=\"/a?b=c\" host=shop.test request_id=id fwd=\"203.0.113.9\" dyno=web.1 \
             connect=2ms service=3ms status=200 bytes=123 protocol=http"
        );
        let said = Said { code: "app_timeout", desc: "The app did not answer.".into() };
        let line = record("/", "shop.test", Some(said)).to_string();
        assert!(
            line.starts_with("at=error code=app_timeout desc=\"The app did not answer.\" method=GET"),
            "{line}"
        );
    }

    #[test]
    fn e4_nothing_in_a_request_can_end_the_quotes_or_the_line() {
        let line = record("/a\"%20status=200\\", "shop.test", None).to_string();
        assert!(line.contains("path=\"/a\\\"%20status=200\\\\\" host="), "{line}");
        assert_eq!(quoted("a\u{1b}[2J\nb"), "a\\\\u{1b}[2J\\\\u{a}b");
        let long = format!("/{}", "x".repeat(60_000));
        assert!(record(&long, "shop.test", None).to_string().len() < 6_000);
    }
}
