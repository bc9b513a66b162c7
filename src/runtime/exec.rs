//! A command that somebody talks to, beside a running instance or in one of its own: what is asked, and the session
//! that every backend gives back.

use autostack_domain::{EnvMap, Exit};
use autostack_logs::OutputStream;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backend::RuntimeError;

/// What [`crate::Backend::exec`] runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The command line, for `/bin/sh -c` in the folder, and with the environment, of the instance.
    pub command: String,
    /// Variables on top of those of the instance; these win.
    pub env: EnvMap,
    /// A terminal of this size as its input and both its outputs; pipes where there is none.
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A command that somebody talks to. Dropping it ends the command and everything that it started.
#[derive(Debug)]
pub struct ExecSession {
    stdin: Option<mpsc::Sender<Bytes>>,
    output: mpsc::Receiver<(OutputStream, Bytes)>,
    size: watch::Sender<Option<TerminalSize>>,
    exit: oneshot::Receiver<Result<Exit, RuntimeError>>,
    end: CancellationToken,
    _dropped: DropGuard,
}

/// The backend's side of an [`ExecSession`].
#[derive(Debug)]
pub struct ExecEnds {
    /// What goes to the input of the command. Once it is closed and empty the input ends, but for a terminal's:
    /// there a person ends it by Ctrl-D, which is a byte like any other. Dropped when the command reads no more.
    pub stdin: mpsc::Receiver<Bytes>,
    /// Takes the output in pieces of [`ExecSession::PIECE_BYTES_MAX`] at most; a terminal has one output, which
    /// is [`OutputStream::Stdout`]. Dropped after the last piece, before `exit` is told.
    pub output: mpsc::Sender<(OutputStream, Bytes)>,
    /// The size that the terminal should have; `None` without one.
    pub size: watch::Receiver<Option<TerminalSize>>,
    /// Takes how it ended, once nothing that it started is left.
    pub exit: oneshot::Sender<Result<Exit, RuntimeError>>,
    /// Cancelled when nobody holds the session any more: everything that it started is to be ended.
    pub end: CancellationToken,
}

impl ExecSession {
    /// Bytes of one piece of output.
    pub const PIECE_BYTES_MAX: usize = 32 * 1024;
    /// Pieces that wait in either direction; then the writer waits, and with it the command.
    pub const PIECES_MAX: usize = 16;

    /// A session and the side of it that a backend keeps.
    pub fn new(terminal: Option<TerminalSize>) -> (Self, ExecEnds) {
        let (stdin, stdin_receiver) = mpsc::channel(Self::PIECES_MAX);
        let (output_sender, output) = mpsc::channel(Self::PIECES_MAX);
        let (size, size_receiver) = watch::channel(terminal);
        let (exit_sender, exit) = oneshot::channel();
        let end = CancellationToken::new();
        let ends = ExecEnds {
            stdin: stdin_receiver,
            output: output_sender,
            size: size_receiver,
            exit: exit_sender,
            end: end.clone(),
        };
        (Self { stdin: Some(stdin), output, size, exit, end: end.clone(), _dropped: end.drop_guard() }, ends)
    }

    /// The input of the command, to be given to whoever feeds it; `None` the second time. Dropping it is the
    /// end of the input, but for a terminal's, which ends by the byte of Ctrl-D (4). Sending fails once the
    /// command reads no more.
    pub fn take_stdin(&mut self) -> Option<mpsc::Sender<Bytes>> {
        self.stdin.take()
    }

    /// The next piece of output; `None` after the last. A terminal's output is all
    /// [`OutputStream::Stdout`]. May be dropped and called again: nothing is lost.
    pub async fn output(&mut self) -> Option<(OutputStream, Bytes)> {
        self.output.recv().await
    }

    /// Gives its terminal another size; nothing happens where it has none.
    pub fn resize(&self, size: TerminalSize) {
        self.size.send_if_modified(|now| {
            let changes = now.is_some_and(|now| now != size);
            if changes {
                *now = Some(size);
            }
            changes
        });
    }

    /// Waits for its end: no process of it is left then. Input that was not taken ends now, output that was not
    /// read is thrown away. A command that a signal ended is [`Exit::Signal`], or [`Exit::Code`] 128 + signal
    /// where the engine says only that.
    ///
    /// # Errors
    /// What the backend lost it by.
    pub async fn wait(mut self) -> Result<Exit, RuntimeError> {
        drop(self.stdin.take());
        while self.output().await.is_some() {}
        self.exited().await
    }

    /// Ends it as a drop does, and waits until no process of it is left. What it says last is thrown away.
    pub async fn end(mut self) {
        self.end.cancel();
        drop(self.stdin.take());
        while self.output().await.is_some() {}
        // How it ended is of no interest: it was told to.
        let _told = self.exited().await;
    }

    async fn exited(&mut self) -> Result<Exit, RuntimeError> {
        (&mut self.exit).await.unwrap_or(Err(RuntimeError::Interrupted { operation: "exec" }))
    }
}
