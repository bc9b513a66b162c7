//! A command beside an instance: the agent's end of its input, output and terminal.

use std::{
    fs::File,
    future::Future,
    io::{self, Read, Write, pipe},
    os::fd::OwnedFd,
    time::Duration,
};

use autostack_logs::OutputStream;
use bytes::Bytes;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{handover::Stdio, terminal};
use crate::{
    backend::RuntimeError,
    exec::{ExecSession, TerminalSize},
};

/// How long an output may stay silent after the last process of the command has ended, where somebody else
/// still holds it open.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// The agent's ends of the standard descriptors of a command.
#[derive(Debug)]
pub(super) enum Wires {
    /// Input, output and error apart.
    Pipes { stdin: Wire, stdout: Wire, stderr: Wire },
    /// All three in one.
    Terminal(Wire),
}

impl Wires {
    /// Makes them, and what the command gets.
    pub(super) fn make(terminal: Option<TerminalSize>) -> Result<(Self, Stdio), RuntimeError> {
        let made = match terminal {
            Some(size) => Self::terminal(size),
            None => Self::pipes(),
        };
        made.map_err(RuntimeError::system("connect a command"))
    }

    fn pipes() -> io::Result<(Self, Stdio)> {
        let (their_stdin, stdin) = pipe()?;
        let (stdout, their_stdout) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        let wires = Self::Pipes {
            stdin: Wire::new(OwnedFd::from(stdin), Interest::WRITABLE)?,
            stdout: Wire::new(OwnedFd::from(stdout), Interest::READABLE)?,
            stderr: Wire::new(OwnedFd::from(stderr), Interest::READABLE)?,
        };
        Ok((wires, [their_stdin.into(), their_stdout.into(), their_stderr.into()]))
    }

    fn terminal(size: TerminalSize) -> io::Result<(Self, Stdio)> {
        let (ours, theirs) = terminal::open(size)?;
        let ours = Wire::new(ours, Interest::READABLE | Interest::WRITABLE)?;
        Ok((Self::Terminal(ours), [theirs.try_clone()?, theirs.try_clone()?, theirs]))
    }

    /// Moves everything between the command and its session until both outputs have ended. `is_over` says that
    /// no process of the command is left; `end` that nobody wants to know any more.
    pub(super) async fn serve(
        self,
        stdin: mpsc::Receiver<Bytes>,
        output: mpsc::Sender<(OutputStream, Bytes)>,
        size: watch::Receiver<Option<TerminalSize>>,
        is_over: &CancellationToken,
        end: &CancellationToken,
    ) {
        let until = Until { is_over, end };
        match self {
            Wires::Pipes { stdin: input, stdout, stderr } => {
                let errors = output.clone();
                // Each wire is closed as soon as it is of no use: that is how the command learns of it.
                tokio::join!(
                    async move { input.feed(stdin, &until).await },
                    async move { stdout.drain(OutputStream::Stdout, &output, &until).await },
                    async move { stderr.drain(OutputStream::Stderr, &errors, &until).await },
                );
            }
            Wires::Terminal(wire) => {
                let keys = async {
                    wire.feed(stdin, &until).await;
                };
                let screen = wire.drain(OutputStream::Stdout, &output, &until);
                tokio::join!(keys, wire.follow_size(size, &until), screen);
            }
        }
    }
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
struct Until<'a> {
    is_over: &'a CancellationToken,
    end: &'a CancellationToken,
}

impl Until<'_> {
    /// Does it, unless it is of no use before it is done.
    async fn useful<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.end.cancelled() => None,
            done = future => Some(done),
            () = self.is_over.cancelled() => None,
        }
    }

    /// The same for output, which is of use after the last process too.
    async fn last<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let silence = async {
            self.is_over.cancelled().await;
            sleep(SILENCE_MAX).await;
        };
        tokio::select! {
            biased;
            () = self.end.cancelled() => None,
            done = future => Some(done),
            () = silence => None,
        }
    }
}

/// One descriptor that never blocks.
#[derive(Debug)]
pub(super) struct Wire(AsyncFd<File>);

impl Wire {
    fn new(descriptor: impl Into<OwnedFd>, interest: Interest) -> io::Result<Self> {
        let file = File::from(descriptor.into());
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // SAFETY: the descriptor is owned, never replaced, and closed only when this is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(file, interest) };
        Ok(Self(registered?))
    }

    /// Writes what comes in until nothing more does, or nobody reads it.
    async fn feed(&self, mut from: mpsc::Receiver<Bytes>, until: &Until<'_>) {
        while let Some(Some(bytes)) = until.useful(from.recv()).await {
            let written = until.useful(self.write_all(&bytes)).await;
            if !matches!(written, Some(Ok(()))) {
                return;
            }
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.0.async_io(Interest::WRITABLE, |mut file| file.write(bytes)).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Hands on what it reads; waits where that is not taken, and with it the command.
    async fn drain(&self, stream: OutputStream, to: &mpsc::Sender<(OutputStream, Bytes)>, until: &Until<'_>) {
        let mut buffer = vec![0; ExecSession::PIECE_BYTES_MAX];
        loop {
            let read = self.0.async_io(Interest::READABLE, |mut file| file.read(&mut buffer));
            match until.last(read).await {
                Some(Ok(taken)) if taken > 0 => {
                    if to.send((stream, Bytes::copy_from_slice(&buffer[..taken]))).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end; a terminal that nobody has open any more says so by EIO.
                Some(Ok(_) | Err(_)) | None => return,
            }
        }
    }

    async fn follow_size(&self, mut size: watch::Receiver<Option<TerminalSize>>, until: &Until<'_>) {
        while let Some(Ok(())) = until.useful(size.changed()).await {
            let now = *size.borrow_and_update();
            if let Some(now) = now
                && let Err(error) = terminal::resize(self.0.get_ref(), now)
            {
                tracing::warn!(%error, "terminal keeps its size");
            }
        }
    }
}
