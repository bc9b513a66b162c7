//! One look at everything of ours on the engine: adopts what runs, clears away what is left half done.

use std::{collections::HashSet, sync::Arc};

use autostack_base::{error_chain, now};
use autostack_domain::InstanceId;
use futures_util::{StreamExt, stream};

use super::{
    backend::Inner,
    container::{Phase, inspect, list_marked, read_ours},
    instance::{self, Instance},
    labels::{Purpose, ours},
};
use crate::backend::RuntimeError;

/// Containers that are looked at or removed at once.
const AT_ONCE: usize = 8;

/// A container of ours in the engine's list.
struct Listed {
    container: String,
    id: InstanceId,
    purpose: Purpose,
    is_running: bool,
}

/// Compares what the engine has with what is held. Whoever is held and not running in the list is looked at by
/// its own task; who is not held is adopted, or removed where it is half a start, a one-off that nobody waits
/// for, or was to be removed when the engine was away.
///
/// # Errors
/// When the engine cannot be asked. What cannot be removed is left for the next time.
pub(super) async fn reconcile(inner: &Arc<Inner>, is_first: bool) -> Result<(), RuntimeError> {
    // Looked at before the list and after it: a start that ends in between is no leftover, nor one that begins.
    let busy = inner.held.busy();
    let listed = list(inner).await?;
    let running: HashSet<&str> =
        listed.iter().filter(|one| one.is_running).map(|one| one.container.as_str()).collect();
    for held in inner.all().into_iter().filter(|held| held.is_running()) {
        if is_first || !running.contains(held.container.as_str()) {
            held.news.notify_one();
        }
    }
    let unknown: Vec<Listed> =
        listed.into_iter().filter(|one| !busy.contains(&one.id) && !inner.held.knows(&one.id)).collect();
    let settled = stream::iter(unknown).map(async |one| settle(inner, &one).await).buffer_unordered(AT_ONCE);
    let settled: Vec<Result<Option<Arc<Instance>>, RuntimeError>> = settled.collect().await;
    let mut ended = Vec::new();
    for outcome in settled {
        match outcome {
            Err(error) if error.is_engine_gone() => return Err(error),
            Err(error) => tracing::warn!(error = error_chain(&error), "a container is left for later"),
            Ok(found) => ended.extend(found),
        }
    }
    inner.settle_ended(ended).await;
    sweep_networks(inner).await
}

async fn list(inner: &Inner) -> Result<Vec<Listed>, RuntimeError> {
    let found = list_marked(&inner.engine).await.map_err(RuntimeError::engine("list containers"))?;
    let listed = found.into_iter().filter_map(|one| {
        let name = one.names?.into_iter().next()?;
        let (purpose, id) = ours(inner.engine.mark(), &name, &one.labels?)?;
        let is_running =
            one.state.is_some_and(|state| matches!(state.to_string().as_str(), "running" | "paused"));
        Some(Listed { container: one.id?, id, purpose, is_running })
    });
    Ok(listed.collect())
}

/// Adopts a container or removes it; gives an instance that has ended.
async fn settle(inner: &Arc<Inner>, one: &Listed) -> Result<Option<Arc<Instance>>, RuntimeError> {
    let is_unwanted = one.purpose == Purpose::OneOff || inner.held.is_doomed(&one.id);
    if is_unwanted {
        return discard(inner, one).await.map(|()| None);
    }
    let found = match inspect(&inner.engine, &one.container).await {
        Err(error) if error.is_not_found() => return Ok(None),
        found => found.map_err(RuntimeError::engine("look at a container"))?,
    };
    let Some((spec, container)) = read_ours(&found) else {
        tracing::warn!(instance = %one.id, "a container has labels that this version does not know; it is left alone");
        return Ok(None);
    };
    if container.phase == Phase::Created {
        return discard(inner, one).await.map(|()| None);
    }
    let started_at = container.started_at.unwrap_or_else(now);
    tracing::info!(instance = %one.id, running = container.phase == Phase::Running, "adopted");
    let claim = container.published.map(|port| inner.ports.reclaim(port));
    let log = inner.log_of(&spec)?;
    let held = inner.hold(spec, &container, started_at, claim, log)?;
    Ok(Some(held).filter(|_| container.phase != Phase::Running))
}

async fn discard(inner: &Inner, one: &Listed) -> Result<(), RuntimeError> {
    tracing::info!(instance = %one.id, "a leftover container is removed");
    instance::remove(&inner.engine, &one.container)
        .await
        .map_err(RuntimeError::engine("remove a leftover container"))?;
    inner.held.spare(&one.id);
    Ok(())
}

/// Removes the networks of apps that run nothing.
async fn sweep_networks(inner: &Inner) -> Result<(), RuntimeError> {
    let apps = inner.networks.apps_with_one().await.map_err(RuntimeError::engine("list networks"))?;
    for app in apps.into_iter().filter(|app| !inner.held.uses(app)) {
        inner.drop_network(&app).await;
    }
    Ok(())
}
