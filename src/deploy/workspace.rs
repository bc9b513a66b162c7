//! What a deployment has made so far, so that it can be timed, shown and, when it fails, undone.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{AppName, Failure, FailureKind, InstanceId, Stage, StageRecord};
use futures_util::future::join_all;

use crate::deployer::{Job, Parts};

/// How long a candidate that nobody uses may take to end after a cancelled push: the pusher is promised a second.
const CANCELLED_STOP_GRACE: Duration = Duration::from_millis(300);
/// How long a candidate that nobody uses may take to end after a failed deployment.
const FAILED_STOP_GRACE: Duration = Duration::from_secs(5);

/// One deployment's makings. Whoever makes something registers it here *before* it exists.
pub(crate) struct Workspace {
    /// The artifact's folder.
    pub(crate) dir: PathBuf,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    instances: Vec<InstanceId>,
    stages: Vec<StageRecord>,
}

impl Workspace {
    /// Nothing made yet.
    pub(crate) fn new(job: &Job, parts: &Parts) -> Self {
        Self { dir: parts.artifact_dir(&job.app, &job.id), made: Mutex::default() }
    }

    /// Ends the stage before and begins `stage`.
    pub(crate) fn enter(&self, stage: Stage) {
        let now = clock::now();
        let mut made = self.made();
        if let Some(last) = made.stages.last_mut() {
            last.ended_at = Some(now);
        }
        made.stages.push(StageRecord { stage, started_at: now, ended_at: None });
    }

    /// The stages so far; the last one is ended at this moment.
    pub(crate) fn stages(&self) -> Vec<StageRecord> {
        let mut stages = self.made().stages.clone();
        if let Some(last) = stages.last_mut() {
            last.ended_at.get_or_insert_with(clock::now);
        }
        stages
    }

    /// The stage that is under way.
    pub(crate) fn stage(&self) -> Stage {
        self.made().stages.last().map_or(Stage::Source, |record| record.stage)
    }

    /// An instance is about to be started.
    pub(crate) fn will_start(&self, id: &InstanceId) {
        self.made().instances.push(id.clone());
    }

    /// Ends the instances: their output is in the app's log afterwards.
    pub(crate) async fn stop_instances(&self, parts: &Parts, why: FailureKind) {
        let grace = match why {
            FailureKind::Cancelled => CANCELLED_STOP_GRACE,
            _ => FAILED_STOP_GRACE,
        };
        let instances = std::mem::take(&mut self.made().instances);
        let stops = instances.iter().map(|id| parts.runtime.stop(id, grace));
        for (id, stopped) in instances.iter().zip(join_all(stops).await) {
            if let Err(error) = stopped {
                tracing::error!(%id, %error, "an instance of a failed deployment could not be stopped");
            }
        }
    }

    /// Removes everything.
    pub(crate) async fn undo(&self, parts: &Parts, failure: &Failure) {
        self.stop_instances(parts, failure.kind).await;
        remove_dir(&self.dir).await;
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the releases that `releases.keep` leaves no room for, and the artifacts that nobody names any more.
pub(crate) async fn prune(parts: &Parts, app: &AppName) {
    let (name, keep) = (app.clone(), parts.settings().releases.keep);
    match parts.store.call(move |store| store.prune_releases(&name, keep)).await {
        Ok(unnamed) => {
            for id in unnamed {
                remove_dir(&parts.artifact_dir(app, &id)).await;
            }
        }
        Err(error) => tracing::warn!(%app, %error, "old releases could not be removed"),
    }
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub(crate) async fn remove_dir(dir: &std::path::Path) {
    match tokio::fs::remove_dir_all(dir).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::error!(dir = %dir.display(), %error, "a folder could not be removed"),
    }
}
