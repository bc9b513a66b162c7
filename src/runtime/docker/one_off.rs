//! A command that runs once, in a container of its own: a release command.

use std::time::Duration;

use autostack_base::error_chain;
use autostack_domain::{Exit, InstanceSpec};
use autostack_engine::bollard::{container::LogOutput, query_parameters::LogsOptions};
use autostack_logs::BuildLog;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    backend::Inner,
    container::{Container, Phase, inspect},
    instance::{self, kill},
    labels::Purpose,
    launch::launch,
};
use crate::backend::RuntimeError;

/// How long a command may take to end that is cancelled or whose agent ends.
const GRACE: Duration = Duration::from_millis(500);
/// How long the last output of a cancelled command is waited for.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked for the end of a container whose output has ended; soon, as a rule.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Runs the command of `spec` to its end and removes every trace of it, however it ends.
pub(super) async fn run(
    inner: &Inner,
    spec: &InstanceSpec,
    output: BuildLog,
    cancel: &CancellationToken,
) -> Result<Exit, RuntimeError> {
    if cancel.is_cancelled() {
        return Err(RuntimeError::Cancelled);
    }
    inner.ready().await?;
    let busy = inner.held.begin(&spec.id, &spec.app);
    let busy = busy.ok_or_else(|| RuntimeError::AlreadyExists { id: spec.id.clone() })?;
    let ended = match launch(inner, spec, Purpose::OneOff, None).await {
        Ok(container) => {
            let ended = to_the_end(inner, &container.id, output, cancel).await;
            let removed = instance::remove(&inner.engine, &container.id).await;
            if let Err(error) = removed {
                // Found again by its label: at the next look at everything, by this agent or the next.
                tracing::warn!(instance = %spec.id, error = error_chain(&error), "a one-off is cleared away later");
            }
            ended
        }
        Err(error) => Err(error),
    };
    drop(busy);
    inner.drop_network(&spec.app).await;
    ended
}

async fn to_the_end(
    inner: &Inner,
    container: &str,
    output: BuildLog,
    cancel: &CancellationToken,
) -> Result<Exit, RuntimeError> {
    let mut moving = std::pin::pin!(move_output(inner, container, output));
    tokio::select! {
        moved = &mut moving => {
            moved?;
            return exit(inner, container).await;
        }
        () = cancel.cancelled() => {}
        () = inner.tasks.shutdown_token().cancelled_owned() => {}
    }
    // Whatever fails here: it is killed and removed next.
    if kill(&inner.engine, container, "SIGTERM").await.is_ok()
        && timeout(GRACE, &mut moving).await.is_err()
        && kill(&inner.engine, container, "SIGKILL").await.is_ok()
    {
        let _ = timeout(LAST_OUTPUT_TIMEOUT, moving).await;
    }
    Err(RuntimeError::Cancelled)
}

/// Moves output until the container has ended.
async fn move_output(inner: &Inner, container: &str, stdout: BuildLog) -> Result<(), RuntimeError> {
    const OPERATION: &str = "read the output";
    let stderr = stdout.clone();
    let options = LogsOptions { follow: true, stdout: true, stderr: true, ..LogsOptions::default() };
    let docker = inner.engine.docker().await.map_err(RuntimeError::engine(OPERATION))?;
    let mut frames = docker.logs(container, Some(options));
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(LogOutput::StdErr { message }) => stderr.raw(&message),
            Ok(
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message },
            ) => {
                stdout.raw(&message);
            }
            Err(error) => {
                return Err(RuntimeError::engine(OPERATION)(inner.engine.failed("give the output", error)));
            }
        }
    }
    Ok(())
}

/// How a container ended whose output has: that may be known a moment later.
pub(super) async fn exit(inner: &Inner, container: &str) -> Result<Exit, RuntimeError> {
    const OPERATION: &str = "look at the container";
    loop {
        match inspect(&inner.engine, container).await {
            Ok(found) => match Container::read(&found).phase {
                Phase::Running => sleep(LOOK_PAUSE).await,
                Phase::Ended(exit) => return Ok(exit),
                Phase::Created => return Ok(Exit::Unknown),
            },
            Err(error) if error.is_not_found() => return Ok(Exit::Unknown),
            Err(error) => return Err(RuntimeError::engine(OPERATION)(error)),
        }
    }
}
