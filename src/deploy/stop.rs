//! The end of instances that nobody wants any more.

use std::{sync::Arc, time::Duration};

use autostack_domain::InstanceId;
use autostack_runtime::{Backend, RuntimeError};
use futures_util::future::join_all;

use crate::deployer::Parts;

/// Pause between two tries while the container engine comes and goes.
pub(crate) const ENGINE_PAUSE: Duration = Duration::from_secs(1);

/// Stops instances side by side: SIGTERM, then SIGKILL after `deploy.stop_timeout`.
pub(crate) async fn stop_all(parts: &Parts, instances: &[InstanceId]) {
    stop_within(parts, instances, parts.settings().deploy.stop_timeout).await;
}

/// Stops instances side by side: SIGTERM, then SIGKILL after `grace`. Those whose container engine is away are stopped
/// once it is back; nobody waits for that.
pub(crate) async fn stop_within(parts: &Parts, instances: &[InstanceId], grace: Duration) {
    let stops = instances.iter().map(|id| parts.runtime.stop(id, grace));
    for (id, stopped) in instances.iter().zip(join_all(stops).await) {
        match stopped {
            Ok(()) => {}
            // The agent is stopping; the next one finds the instance, and that nobody wants it.
            Err(RuntimeError::Interrupted { .. }) => {
                tracing::info!(%id, "the next agent stops this instance");
            }
            Err(error) if error.is_engine_gone() => stop_later(parts, id),
            Err(error) => could_not(id, &error),
        }
    }
}

/// Stops instances that nobody waits for.
pub(crate) fn stop_in_background(parts: &Arc<Parts>, instances: Vec<InstanceId>) {
    if !instances.is_empty() {
        let in_task = Arc::clone(parts);
        parts.tasks.spawn("stop of leftovers", async move { stop_all(&in_task, &instances).await });
    }
}

fn stop_later(parts: &Parts, id: &InstanceId) {
    let (runtime, id, stopping) = (Arc::clone(&parts.runtime), id.clone(), parts.tasks.shutdown_token());
    tracing::warn!(%id, "the container engine is away; this instance is stopped when it is back");
    parts.tasks.spawn("late stop", async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = runtime.engine_reachable() => {}
            }
            match runtime.stop(&id, Duration::ZERO).await {
                Ok(()) | Err(RuntimeError::Interrupted { .. }) => return,
                Err(error) if error.is_engine_gone() => tokio::time::sleep(ENGINE_PAUSE).await,
                Err(error) => return could_not(&id, &error),
            }
        }
    });
}

fn could_not(id: &InstanceId, error: &RuntimeError) {
    tracing::error!(%id, error = autostack_base::error_chain(error), "an instance could not be stopped");
}
