//! What a deployment has made so far, so that it can be timed, shown and, when it fails, undone.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{AppName, DeploymentId, Failure, FailureKind, InstanceId, Stage, StageRecord};

use crate::{
    deployer::{Job, Parts},
    stop::stop_within,
};

/// How long a candidate that nobody uses may take to end after a cancelled push: the pusher is promised a second.
const CANCELLED_STOP_GRACE: Duration = Duration::from_millis(300);
/// How long a candidate that nobody uses may take to end after a failed deployment.
const FAILED_STOP_GRACE: Duration = Duration::from_secs(5);

/// One deployment's makings. Whoever makes something registers it here *before* it exists.
pub(crate) struct Workspace {
    /// The folder of the artifact that is made.
    pub(crate) dir: PathBuf,
    app: AppName,
    deployment: DeploymentId,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    instances: Vec<InstanceId>,
    stages: Vec<StageRecord>,
    may_have_image: bool,
}

impl Workspace {
    /// Nothing made yet.
    pub(crate) fn new(job: &Job, parts: &Parts) -> Self {
        Self {
            dir: parts.artifact_dir(&job.app, &job.id),
            app: job.app.clone(),
            deployment: job.id.clone(),
            made: Mutex::default(),
        }
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

    /// Whether an instance is one of this deployment's.
    pub(crate) fn has_started(&self, id: &InstanceId) -> bool {
        self.made().instances.contains(id)
    }

    /// The engine may get an image from now on.
    pub(crate) fn will_make_image(&self) {
        self.made().may_have_image = true;
    }

    /// Ends the instances: their output is in the app's log afterwards.
    pub(crate) async fn stop_instances(&self, parts: &Parts, why: FailureKind) {
        let grace = match why {
            FailureKind::Cancelled => CANCELLED_STOP_GRACE,
            _ => FAILED_STOP_GRACE,
        };
        let instances = std::mem::take(&mut self.made().instances);
        stop_within(parts, &instances, grace).await;
    }

    /// Removes everything.
    pub(crate) async fn undo(&self, parts: &Parts, failure: &Failure) {
        self.stop_instances(parts, failure.kind).await;
        remove_dir(&self.dir).await;
        if std::mem::take(&mut self.made().may_have_image) {
            remove_image(parts, &self.app, &self.deployment).await;
        }
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
                remove_image(parts, app, &id).await;
            }
        }
        Err(error) => tracing::warn!(%app, %error, "old releases could not be removed"),
    }
}

/// Removes the image of a deployment, if the engine has one.
pub(crate) async fn remove_image(parts: &Parts, app: &AppName, deployment: &DeploymentId) {
    let Some(engine) = &parts.engine else { return };
    if let Err(error) = engine.remove_image(&engine.image_name(app, deployment)).await {
        tracing::warn!(%app, %deployment, %error, "an image is removed later");
        parts.left_over.notify_one();
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
