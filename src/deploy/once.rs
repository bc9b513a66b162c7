//! A command that runs once in an instance of its own, and has a limited time for it.

use std::time::Duration;

use autostack_domain::{Exit, InstanceSpec};
use autostack_logs::BuildLog;
use autostack_runtime::{Backend, RuntimeError};
use tokio_util::sync::CancellationToken;

use crate::deployer::Parts;

/// Runs it, with its output in the log. `None` when it did not end in time; nothing of it is left then.
pub(crate) async fn run_once(
    parts: &Parts,
    spec: &InstanceSpec,
    log: &BuildLog,
    cancel: &CancellationToken,
    limit: Duration,
) -> Option<Result<Exit, RuntimeError>> {
    let stop = cancel.child_token();
    let run = parts.runtime.run(spec, log, &stop);
    tokio::pin!(run);
    let ended = tokio::select! {
        ended = &mut run => Some(ended),
        () = tokio::time::sleep(limit) => {
            stop.cancel();
            // Comes back once nothing of it is left.
            let _cancelled = run.await;
            None
        }
    };
    log.flush();
    ended
}
