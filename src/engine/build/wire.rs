//! [`Connection`]: one HTTP/1.1 connection to the engine, for the two calls that a build needs and that the
//! client of the API does not offer with a session of ours: `POST /build` and the upgrade of `/session`.
//!
//! Dropping it closes the socket at once, and with it the engine ends the build.

use std::{io, pin::Pin};

use autostack_base::tasks::Tasks;
use autostack_domain::EngineHost;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::{
    classify::{refused, unreachable_at},
    error::{EngineError, evidence},
};

/// Bytes of one line of a build's answer: BuildKit's trace packs all that happened within a moment.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What is sent: nothing, or a stream.
pub(crate) type Body = StreamBody<Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>>;

/// No body.
pub(crate) fn no_body() -> Body {
    StreamBody::new(Box::pin(futures_util::stream::empty()))
}

/// A connection on which one request is sent.
pub(crate) struct Connection {
    sender: http1::SendRequest<Body>,
    driver: Driver,
}

/// The task that moves the bytes; ends with whoever holds this.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`], [`EngineError::Denied`], [`EngineError::Gone`].
    pub(crate) async fn open(host: &EngineHost, tasks: &Tasks) -> Result<Self, EngineError> {
        match host {
            EngineHost::Unix(path) => Self::over(UnixStream::connect(path).await, host, tasks).await,
            EngineHost::Tcp(address) => Self::over(TcpStream::connect(address).await, host, tasks).await,
        }
    }

    async fn over<S>(stream: io::Result<S>, host: &EngineHost, tasks: &Tasks) -> Result<Self, EngineError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let stream = stream.map_err(|error| unreachable_at(host, &error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| gone(&error))?;
        let driver = tasks.spawn("connection to the engine", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the engine ended");
            }
        });
        Ok(Self { sender, driver: Driver(driver) })
    }

    /// Sends a request whose answer is a line of JSON for each thing that happens.
    ///
    /// # Errors
    /// The engine refuses, or goes away.
    pub(crate) async fn lines(mut self, request: Request<Body>) -> Result<Lines, EngineError> {
        let response = self.sender.send_request(request).await.map_err(|error| gone(&error))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        Ok(Lines { body: response.into_body(), unread: BytesMut::new(), _driver: self.driver })
    }

    /// Sends a request and reads its whole answer, of so many bytes at most.
    ///
    /// # Errors
    /// The engine refuses, goes away, or says more.
    pub(crate) async fn whole(
        mut self,
        request: Request<Body>,
        bytes_max: usize,
    ) -> Result<Bytes, EngineError> {
        let response = self.sender.send_request(request).await.map_err(|error| gone(&error))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let body = http_body_util::Limited::new(response.into_body(), bytes_max).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| gone(error.as_ref()))
    }

    /// Sends a request that turns the connection into a plain stream of bytes.
    ///
    /// # Errors
    /// The engine refuses, or goes away.
    pub(crate) async fn upgrade(
        mut self,
        request: Request<Body>,
    ) -> Result<hyper::upgrade::Upgraded, EngineError> {
        let response = self.sender.send_request(request).await.map_err(|error| gone(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
        hyper::upgrade::on(response).await.map_err(|error| gone(&error))
    }
}

/// A request to the engine; `query` is already encoded.
pub(crate) fn post(path: &str, query: &str) -> http::request::Builder {
    let separator = if query.is_empty() { "" } else { "?" };
    Request::post(format!("{path}{separator}{query}")).header(header::HOST, "engine")
}

async fn refusal(response: Response<Incoming>) -> EngineError {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let status = response.status().as_u16();
    let limited = http_body_util::Limited::new(response.into_body(), REFUSAL_BYTES_MAX);
    let body = limited.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    refused(OPERATION, status, &message)
}

/// What the engine is asked, for its errors.
pub(crate) const OPERATION: &str = "build the image";

/// The engine went away in the middle.
pub(crate) fn gone(error: &(dyn std::error::Error + 'static)) -> EngineError {
    EngineError::Gone { operation: OPERATION, evidence: evidence(&autostack_base::error_chain(error)) }
}

/// The answer of a build, line by line.
pub(crate) struct Lines {
    body: Incoming,
    unread: BytesMut,
    _driver: Driver,
}

/// One line of a build's answer; engines mix several kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BuildLine {
    /// Text of the classic builder: what it does, and output of commands.
    pub(crate) stream: String,
    /// What `aux` is.
    pub(crate) id: String,
    /// The state of a pull.
    pub(crate) status: String,
    /// Set on the last line when the build failed.
    pub(crate) error: String,
    /// The same, with an exit code where a command failed.
    #[serde(rename = "errorDetail")]
    pub(crate) error_detail: Option<ErrorDetail>,
    /// Data of BuildKit, or the id of the image.
    pub(crate) aux: Option<serde_json::Value>,
}

/// Why a build failed.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorDetail {
    /// Exit code of the command.
    pub(crate) code: Option<i64>,
    /// The engine's words.
    pub(crate) message: String,
}

impl Lines {
    /// The next line; `None` when the answer is complete.
    ///
    /// # Errors
    /// [`EngineError::Gone`] when the connection breaks, [`EngineError::Unexpected`] when a line is not JSON.
    pub(crate) async fn next(&mut self) -> Result<Option<BuildLine>, EngineError> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.unread) {
                let line = self.unread.split_to(at + 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return parse(&line).map(Some);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.unread.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(gone(&error)),
                None if self.unread.trim_ascii().is_empty() => return Ok(None),
                None => return parse(&self.unread.split()).map(Some),
            }
            if self.unread.len() > LINE_BYTES_MAX {
                return Err(unexpected(format!("a line longer than {} MiB", LINE_BYTES_MAX >> 20)));
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<BuildLine, EngineError> {
    serde_json::from_slice(line).map_err(|error| unexpected(error.to_string()))
}

/// The engine said something that is not understood.
pub(crate) fn unexpected(what: String) -> EngineError {
    EngineError::Unexpected { operation: OPERATION, evidence: what }
}
