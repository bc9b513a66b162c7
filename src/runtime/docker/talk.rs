//! What every command has that somebody talks to: an input that is fed, and perhaps a terminal of some size.

use std::{sync::Arc, time::Duration};

use autostack_engine::{
    EngineError,
    bollard::{exec::ResizeExecOptions, query_parameters::ResizeContainerTTYOptions},
};
use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{backend::Inner, hijack::Input};
use crate::exec::TerminalSize;

/// Waits, a second at most, until the terminal has a size: an engine sets it only after the program was started. Where
/// there is no `stty` nothing is waited for; that of busybox says nothing where there is no size.
const AWAIT_SIZE: &str = "n=0; while [ $n -lt 50 ] && command -v stty; do case \"$(stty size)\" in ''|'0 0') ;; \
                          *) break ;; esac; n=$((n+1)); sleep 0.02; done >/dev/null 2>&1; unset n\n";

/// A command line that finds its terminal as large as it is meant to be.
pub(super) fn sized(line: &str) -> String {
    format!("{AWAIT_SIZE}{line}")
}

/// Writes what comes to the input of a command, and ends it.
pub(super) async fn feed(
    mut stdin: mpsc::Receiver<Bytes>,
    mut input: Input,
    is_terminal: bool,
    over: CancellationToken,
) {
    let feeding = async {
        while let Some(bytes) = stdin.recv().await {
            if input.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The end of a terminal's input is a byte like any other, for a person to send.
        if !is_terminal {
            let _ = input.shutdown().await;
        }
        over.cancelled().await;
    };
    tokio::select! {
        () = over.cancelled() => {}
        () = feeding => {}
    }
}

/// Whose terminal it is.
pub(super) enum Terminal {
    /// That of a command beside an instance, by its id.
    OfExec(String),
    /// That of a container, by its id.
    OfContainer(String),
}

impl Terminal {
    async fn resize(
        &self,
        inner: &Inner,
        TerminalSize { columns, rows }: TerminalSize,
    ) -> Result<(), EngineError> {
        let operation = "resize the terminal";
        match self {
            Terminal::OfExec(exec) => {
                let options = ResizeExecOptions { height: rows, width: columns };
                inner.engine.call(operation, async |docker| docker.resize_exec(exec, options).await).await
            }
            Terminal::OfContainer(container) => {
                let options = ResizeContainerTTYOptions { h: rows.into(), w: columns.into() };
                inner
                    .engine
                    .call(operation, async |docker| docker.resize_container_tty(container, options).await)
                    .await
            }
        }
    }
}

/// Gives a terminal the size that is wanted now, the first one included.
pub(super) async fn resize(
    inner: Arc<Inner>,
    terminal: Terminal,
    mut size: watch::Receiver<Option<TerminalSize>>,
    over: CancellationToken,
) {
    /// The terminal is there a moment after the command was started.
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    let resizing = async {
        loop {
            let Some(wanted) = *size.borrow_and_update() else { return };
            for _ in 0..TRIES {
                match terminal.resize(&inner, wanted).await {
                    Ok(()) => break,
                    Err(_) => sleep(PAUSE).await,
                }
            }
            if size.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = over.cancelled() => {}
        () = resizing => {}
    }
}
