//! A scripted command that somebody talks to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use autostack_domain::{EnvMap, Exit};
use autostack_logs::OutputStream;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{
    instance,
    program::{Program, Step},
};
use crate::exec::{ExecEnds, ExecSession, TerminalSize};

/// Counts one command while it runs.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Goes with a command to its end, which is also the end of its session, and of the instance that it runs beside.
pub(super) async fn live(
    program: Program,
    env: EnvMap,
    ends: ExecEnds,
    instance: Option<watch::Receiver<Option<Exit>>>,
    counted: Counted,
) {
    let ExecEnds { stdin, output, size, exit, end } = ends;
    let mut command = Command { env, stdin, output, size };
    let instance_ended = async {
        match instance {
            Some(mut instance) => drop(instance.wait_for(Option::is_some).await),
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = command.run(&program) => ended,
        () = end.cancelled() => Exit::Signal(15),
        () = instance_ended => Exit::Signal(15),
    };
    drop((command, counted));
    let _ = exit.send(Ok(ended));
}

struct Command {
    env: EnvMap,
    stdin: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<(OutputStream, Bytes)>,
    size: watch::Receiver<Option<TerminalSize>>,
}

impl Command {
    async fn run(&mut self, program: &Program) -> Exit {
        for (stream, text) in &program.prints {
            self.say(*stream, [text.as_slice(), b"\n"].concat()).await;
        }
        for step in &program.steps {
            match step {
                Step::CopyInput => {
                    while let Some(bytes) = self.stdin.recv().await {
                        self.say(OutputStream::Stdout, bytes).await;
                    }
                }
                Step::AwaitInput(wanted) => {
                    let mut found = Vec::new();
                    while !found.ends_with(wanted)
                        && let Some(bytes) = self.stdin.recv().await
                    {
                        found.extend_from_slice(&bytes);
                    }
                }
                Step::PrintVariable(name) => {
                    let line = [self.env.get(name).unwrap_or_default(), b"\n"].concat();
                    self.say(OutputStream::Stdout, line).await;
                }
                Step::PrintSize => {
                    let size = *self.size.borrow_and_update();
                    let line = size.map_or("no terminal\n".to_owned(), |size| {
                        format!("{} {}\n", size.rows, size.columns)
                    });
                    self.say(OutputStream::Stdout, line).await;
                }
                // Where the session is gone, the command is as well.
                Step::AwaitResize => drop(self.size.changed().await),
                Step::Print(line) => self.say(OutputStream::Stdout, format!("{line}\n")).await,
            }
        }
        instance::ends(program.ends).await
    }

    async fn say(&self, stream: OutputStream, bytes: impl Into<Bytes>) {
        // A terminal is one stream.
        let stream = if self.size.borrow().is_some() { OutputStream::Stdout } else { stream };
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(ExecSession::PIECE_BYTES_MAX));
            // Nobody may be listening.
            let _ = self.output.send((stream, piece)).await;
        }
    }
}
