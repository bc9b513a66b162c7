//! A command that somebody talks to, in a container of its own.

use std::{sync::Arc, time::Duration};

use autostack_base::error_chain;
use autostack_domain::InstanceSpec;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    backend::Inner,
    create::Talk,
    held::Busy,
    hijack::{Input, Output},
    instance,
    launch::launch_attached,
    one_off::exit,
    talk::{self, Terminal},
};
use crate::{
    backend::RuntimeError,
    exec::{ExecEnds, ExecSession, TerminalSize},
};

/// How long the last output of a container that was removed is waited for.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the program of a spec with somebody at its input and output; a task of its own goes with it to its end.
pub(super) async fn attach(
    inner: Arc<Inner>,
    spec: InstanceSpec,
    terminal: Option<TerminalSize>,
) -> Result<ExecSession, RuntimeError> {
    inner.ready().await?;
    let busy = inner.held.begin(&spec.id, &spec.app);
    let busy = busy.ok_or_else(|| RuntimeError::AlreadyExists { id: spec.id.clone() })?;
    let talk = if terminal.is_some() { Talk::Terminal } else { Talk::Pipes };
    let launched = launch_attached(&inner, &spec, talk).await;
    let (container, (input, output)) = match launched {
        Ok(launched) => launched,
        Err(error) => {
            drop(busy);
            inner.drop_network(&spec.app).await;
            return Err(error);
        }
    };
    let (session, ends) = ExecSession::new(terminal);
    let attached = Attached { inner: Arc::clone(&inner), spec, container: container.id, busy };
    inner.tasks.spawn("one-off container", attached.accompany(input, output, ends));
    Ok(session)
}

/// A container that somebody talks to.
struct Attached {
    inner: Arc<Inner>,
    spec: InstanceSpec,
    container: String,
    busy: Busy,
}

impl Attached {
    /// Goes with it until nothing of it is left and all that it said was taken.
    async fn accompany(self, input: Input, mut output: Output, ends: ExecEnds) {
        let ExecEnds { stdin, output: pieces, size, exit: told, end } = ends;
        let (inner, over) = (&self.inner, CancellationToken::new());
        let is_terminal = size.borrow().is_some();
        inner.tasks.spawn("feed one-off", talk::feed(stdin, input, is_terminal, over.clone()));
        let terminal = Terminal::OfContainer(self.container.clone());
        inner.tasks.spawn("resize one-off", talk::resize(Arc::clone(inner), terminal, size, over.clone()));
        let stop = inner.tasks.shutdown_token();
        let to_the_end = async {
            forward(&mut output, &pieces).await;
            exit(inner, &self.container).await
        };
        let ended = tokio::select! {
            () = end.cancelled() => None,
            () = stop.cancelled() => None,
            ended = to_the_end => Some(ended),
        };
        // Killed, where it has not ended: nobody talks to it any more.
        self.remove().await;
        if ended.is_none() {
            // Of use to nobody where the session is gone.
            let _ = timeout(LAST_OUTPUT_TIMEOUT, forward(&mut output, &pieces)).await;
        }
        over.cancel();
        drop(pieces);
        let app = self.spec.app.clone();
        drop(self.busy);
        self.inner.drop_network(&app).await;
        let _ = told.send(ended.unwrap_or(Err(RuntimeError::Cancelled)));
    }

    async fn remove(&self) {
        if let Err(error) = instance::remove(&self.inner.engine, &self.container).await {
            // Found again by its label: at the next look at everything, by this agent or the next.
            let error = error_chain(&error);
            tracing::warn!(instance = %self.spec.id, error, "a one-off is cleared away later");
        }
    }
}

/// Hands output on until there is no more, or nobody takes it.
async fn forward(output: &mut Output, pieces: &mpsc::Sender<(autostack_logs::OutputStream, bytes::Bytes)>) {
    while let Ok(Some(piece)) = output.next().await
        && pieces.send(piece).await.is_ok()
    {}
}
