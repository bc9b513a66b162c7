//! The raw stream of a command that somebody talks to, on a connection of its own.
//!
//! The client library takes the output of a terminal for framed whenever its first byte is small, which a program's
//! may well be; here it is known which of the two it is.

use std::io;

use autostack_engine::{Engine, EngineError, EngineHost};
use autostack_logs::OutputStream;
use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// What is asked of the engine, as it stands in errors.
const OPERATION: &str = "start the command";
/// The version of the API that is spoken here; every engine that the agent works with knows it.
const VERSION: &str = "v1.41";
/// Bytes of the head of an answer, or of a refusal.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 32 * 1024;
/// Bytes in front of each piece of framed output: which output, three of nothing, and its length.
const FRAME_HEAD_BYTES: usize = 8;

/// A connection to the engine.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// The input of a command.
pub(super) type Input = WriteHalf<Box<dyn Connection>>;

/// The output of a command.
pub(super) struct Output {
    read: ReadHalf<Box<dyn Connection>>,
    buffer: BytesMut,
    /// A terminal's output is not framed.
    is_terminal: bool,
    /// What is left of the frame that is being read.
    frame: Option<(OutputStream, usize)>,
}

/// Starts the command of an exec that was made before, and takes its streams.
///
/// # Errors
/// What the engine said, or that it went away.
pub(super) async fn start(
    engine: &Engine,
    exec: &str,
    is_terminal: bool,
) -> Result<(Input, Output), EngineError> {
    let body = format!("{{\"Detach\":false,\"Tty\":{is_terminal}}}");
    take_over(engine, &format!("exec/{exec}/start"), &body, is_terminal).await
}

/// Takes the streams of a container, which need not run yet: then nothing of what it will say is lost.
///
/// # Errors
/// What the engine said, or that it went away.
pub(super) async fn attach(
    engine: &Engine,
    container: &str,
    is_terminal: bool,
) -> Result<(Input, Output), EngineError> {
    let path = format!("containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    take_over(engine, &path, "", is_terminal).await
}

async fn take_over(
    engine: &Engine,
    path: &str,
    body: &str,
    is_terminal: bool,
) -> Result<(Input, Output), EngineError> {
    let within = autostack_engine::CALL_TIMEOUT;
    let elapsed = |_| EngineError::TimedOut { operation: OPERATION, within };
    timeout(within, begin(engine, path, body, is_terminal)).await.map_err(elapsed)?
}

async fn begin(
    engine: &Engine,
    path: &str,
    body: &str,
    is_terminal: bool,
) -> Result<(Input, Output), EngineError> {
    let gone = |error: io::Error| EngineError::Gone { operation: OPERATION, evidence: error.to_string() };
    let mut connection = connect(engine.host()).await.map_err(gone)?;
    let head = format!(
        "POST /{VERSION}/{path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.map_err(gone)?;
    let mut buffer = BytesMut::new();
    let head_bytes = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let read = connection.read_buf(&mut buffer).await.map_err(gone)?;
        if read == 0 || buffer.len() > HEAD_BYTES_MAX {
            return Err(gone(io::ErrorKind::UnexpectedEof.into()));
        }
    };
    let head = buffer.split_to(head_bytes);
    match status(&head) {
        Some(101 | 200) => {
            let (read, write) = split(connection);
            Ok((write, Output { read, buffer, is_terminal, frame: None }))
        }
        status => Err(refused(connection, buffer, status.unwrap_or_default()).await),
    }
}

async fn connect(host: &EngineHost) -> io::Result<Box<dyn Connection>> {
    Ok(match host {
        EngineHost::Unix(path) => Box::new(UnixStream::connect(path).await?),
        EngineHost::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    })
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// The engine's words, which are the rest of the answer.
async fn refused(mut connection: Box<dyn Connection>, mut said: BytesMut, status: u16) -> EngineError {
    const NOT_FOUND: u16 = 404;
    const CONFLICT: u16 = 409;
    // It keeps the connection open: what has come with the head, or comes at once, is all.
    if said.is_empty() {
        let _ = connection.read_buf(&mut said).await;
    }
    let evidence = String::from_utf8_lossy(&said[..said.len().min(HEAD_BYTES_MAX)]).trim().to_owned();
    match status {
        NOT_FOUND => EngineError::NotFound { operation: OPERATION, evidence },
        CONFLICT => EngineError::Conflict { operation: OPERATION, evidence },
        status => EngineError::Refused { operation: OPERATION, status, evidence },
    }
}

impl Output {
    /// The next piece; `None` after the last. May be dropped and called again: nothing is lost.
    pub(super) async fn next(&mut self) -> io::Result<Option<(OutputStream, Bytes)>> {
        loop {
            if let Some(piece) = self.buffered()? {
                return Ok(Some(piece));
            }
            self.buffer.reserve(READ_BYTES);
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn buffered(&mut self) -> io::Result<Option<(OutputStream, Bytes)>> {
        if self.is_terminal {
            let all = self.take(READ_BYTES);
            return Ok(all.map(|bytes| (OutputStream::Stdout, bytes)));
        }
        if self.frame.is_none() && self.buffer.len() >= FRAME_HEAD_BYTES {
            let which = self.buffer.get_u8();
            self.buffer.advance(3);
            let length = usize::try_from(self.buffer.get_u32()).map_err(io::Error::other)?;
            let stream = match which {
                0 | 1 => OutputStream::Stdout,
                2 | 3 => OutputStream::Stderr,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            self.frame = Some((stream, length)).filter(|_| length > 0);
        }
        let Some((stream, left)) = self.frame else { return Ok(None) };
        let Some(bytes) = self.take(left.min(READ_BYTES)) else { return Ok(None) };
        self.frame = Some((stream, left - bytes.len())).filter(|(_, left)| *left > 0);
        Ok(Some((stream, bytes)))
    }

    /// What is there, `bytes_max` at most.
    fn take(&mut self, bytes_max: usize) -> Option<Bytes> {
        let length = self.buffer.len().min(bytes_max);
        (length > 0).then(|| self.buffer.split_to(length).freeze())
    }
}
