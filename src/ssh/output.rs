//! What a session says to its client: bytes on stdout and stderr, never more than the client's window
//! takes, never to a client that has gone.

use std::{fmt, sync::Arc, time::Duration};

use autostack_base::tasks::Shutdown;
use autostack_domain::Line;
use bytes::Bytes;
use russh::{ChannelWriteHalf, server::Msg};
use tokio::time::timeout;

use crate::pump::To;

/// Code of the only extended data that SSH knows (RFC 4254, 5.2).
pub(crate) const STDERR: u32 = 1;

/// How long the last words of a session may take to reach the connection's queue.
const FAREWELL: Duration = Duration::from_secs(10);

/// The client is not there any more, or has not taken anything for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub(crate) struct Gone;

/// The way to one session's client. Clones write to the same client.
#[derive(Clone)]
pub(crate) struct Output {
    channel: Arc<ChannelWriteHalf<Msg>>,
    gone: Shutdown,
    stall: Duration,
    terminal: bool,
}

impl Output {
    pub(crate) fn new(channel: ChannelWriteHalf<Msg>, gone: Shutdown, stall: Duration) -> Self {
        Self { channel: Arc::new(channel), gone, stall, terminal: false }
    }

    /// The same way, to a client whose terminal is in raw mode.
    pub(crate) fn on_terminal(self) -> Self {
        Self { terminal: true, ..self }
    }

    /// Whether the client shows it on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Sends bytes to the client's stdout as they are.
    pub(crate) async fn stdout(&self, bytes: Bytes) -> Result<(), Gone> {
        self.send(self.channel.data_bytes(bytes)).await
    }

    /// Sends bytes to the client's stderr as they are.
    pub(crate) async fn stderr(&self, bytes: Bytes) -> Result<(), Gone> {
        self.send(self.channel.extended_data_bytes(STDERR, bytes)).await
    }

    /// Sends what a program has written that knows no terminal: on a client's one, its lines begin on the left.
    pub(crate) async fn piped(&self, to: To, bytes: Bytes) -> Result<(), Gone> {
        let bytes = if self.terminal { with_returns(&bytes) } else { bytes };
        match to {
            To::Stdout => self.stdout(bytes).await,
            To::Stderr => self.stderr(bytes).await,
        }
    }

    /// The same way for a part of the session that ends with `gone`.
    pub(crate) fn until(&self, gone: Shutdown) -> Self {
        Self { gone, ..self.clone() }
    }

    /// Sends whole lines of text to stdout; `text` ends with a line end, or is empty.
    pub(crate) async fn text(&self, text: &str) -> Result<(), Gone> {
        self.stdout(self.shaped(text)).await
    }

    /// Sends one line: trouble to stderr, all else to stdout.
    pub(crate) async fn line(&self, line: &Line) -> Result<(), Gone> {
        let bytes = self.shaped(&format!("{line}\n"));
        // A terminal is one screen: two streams to it could change places on the way.
        if line.kind == autostack_domain::LineKind::Trouble && !self.terminal {
            self.stderr(bytes).await
        } else {
            self.stdout(bytes).await
        }
    }

    /// Sends one line to stderr, whatever it is: for a session whose stdout is not for people.
    pub(crate) async fn aside(&self, line: &Line) -> Result<(), Gone> {
        self.stderr(self.shaped(&format!("{line}\n"))).await
    }

    /// Ends the session: exit code, end of file, close, the order that OpenSSH wants.
    pub(crate) async fn finish(&self, exit_code: u8) {
        let farewell = async {
            self.channel.exit_status(exit_code.into()).await?;
            self.channel.eof().await?;
            self.channel.close().await
        };
        // Both errors mean that the connection has ended first.
        let _told = timeout(FAREWELL, farewell).await;
    }

    fn shaped(&self, text: &str) -> Bytes {
        if self.terminal { text.replace('\n', "\r\n").into() } else { text.to_owned().into() }
    }

    async fn send(&self, sending: impl Future<Output = Result<(), russh::Error>>) -> Result<(), Gone> {
        let sent = tokio::select! {
            biased;
            () = self.gone.cancelled() => None,
            sent = timeout(self.stall, sending) => sent.ok(),
        };
        if let Some(Ok(())) = sent {
            return Ok(());
        }
        self.gone.cancel();
        Err(Gone)
    }
}

fn with_returns(bytes: &[u8]) -> Bytes {
    let mut shaped = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for byte in bytes {
        if *byte == b'\n' {
            shaped.push(b'\r');
        }
        shaped.push(*byte);
    }
    shaped.into()
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("channel", &self.channel.id()).finish_non_exhaustive()
    }
}
