//! What the agent does when it starts, before any door opens: finish what git has accepted, undo what was cut off,
//! adopt what still runs, start what is missing, and end what belongs to nobody.

use std::{collections::HashSet, path::Path, sync::Arc};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, Artifact, By, Deployment, DeploymentId, DeploymentState, Event, Failure, FailureKind, Line,
    LineKind, Source, Stage,
};
use autostack_runtime::{Listing, RuntimeError};
use autostack_store::{Store, StoreError};

use crate::{
    deployer::{Deployer, Parts},
    ending::close,
    workspace::remove_dir,
};

/// What was found and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Releases that git had accepted and that are live now.
    pub finished: usize,
    /// Deployments that were cut off and are failed now.
    pub undone: usize,
    /// Instances that kept running.
    pub adopted: usize,
    /// Places that were empty and are being filled.
    pub started: usize,
    /// Instances that nobody wants.
    pub stopped: usize,
    /// Apps that wait for the container engine.
    pub waiting: usize,
}

/// Why the agent could not find out what runs or what should.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The store cannot be read.
    #[error("what should run cannot be read")]
    Store(#[from] StoreError),
    /// The runtime cannot be asked; nothing is started blindly beside what may still run.
    #[error("what runs cannot be listed")]
    Runtime(#[source] RuntimeError),
}

impl Deployer {
    /// Brings what runs in line with what is recorded. Called once, before any door opens; returns when every
    /// route that can be published is, while missing instances may still be starting. What is wrong with one app
    /// is logged and does not keep the others from running.
    pub async fn recover(&self) -> Result<Recovery, RecoveryError> {
        let parts = &self.parts;
        let mut done = Recovery::default();
        self.finish_renames().await?;
        let Listing { observed, unreachable } =
            parts.runtime.listing().await.map_err(RecoveryError::Runtime)?;
        for deployment in parts.store.call(Store::unfinished_deployments).await? {
            if let Err(error) = self.settle(&deployment, &mut done).await {
                tracing::error!(app = %deployment.app, deployment = %deployment.id, %error, "a deployment could not be settled");
            }
        }
        let apps = parts.store.call(Store::apps).await?;
        self.adopt_all(&apps, &observed, unreachable, &mut done).await;
        self.recover_one_offs(&observed, &mut done).await?;
        sweep_artifacts(parts, &apps).await?;
        self.sweep_leftovers(&apps).await;
        Ok(done)
    }

    async fn settle(&self, deployment: &Deployment, done: &mut Recovery) -> Result<(), StoreError> {
        // What came by no push was promised to nobody before it was recorded as live.
        let Source::Commit { commit, git_ref } = &deployment.source else {
            undo(&self.parts, deployment).await?;
            done.undone += 1;
            return Ok(());
        };
        let head = self.parts.repositories.head_of(&deployment.app, git_ref);
        let is_accepted = match head {
            // Prepared, and git moved the ref to its commit: then the pusher was told that it is live.
            Ok(head) => deployment.state == DeploymentState::Prepared && head.as_ref() == Some(commit),
            Err(error) if deployment.state == DeploymentState::Prepared => {
                tracing::error!(app = %deployment.app, %error, "whether git has accepted a release cannot be seen; it stays as it is");
                return Ok(());
            }
            Err(_) => false,
        };
        if is_accepted && self.can_go_live(deployment).await? {
            finish(&self.parts, deployment).await?;
            done.finished += 1;
        } else {
            undo(&self.parts, deployment).await?;
            done.undone += 1;
        }
        Ok(())
    }

    /// Whether the release is still the next one: nothing newer is live, and its artifact is there.
    async fn can_go_live(&self, deployment: &Deployment) -> Result<bool, StoreError> {
        let name = deployment.app.clone();
        let app = self.parts.store.call(move |store| store.app(&name)).await?;
        let is_newer = app.is_some_and(|app| deployment.release > app.current_release);
        let (name, number) = (deployment.app.clone(), deployment.release);
        let read = move |store: &Store| number.map_or(Ok(None), |number| store.release(&name, number));
        let release = self.parts.store.call(read).await?;
        let has_folder = || self.parts.artifact_dir(&deployment.app, &deployment.id).is_dir();
        Ok(is_newer
            && release.is_some_and(|release| match release.artifact {
                // Whether the engine still has it shows when it is started.
                Artifact::Image { static_site: None, .. } => true,
                Artifact::Image { static_site: Some(_), .. } | Artifact::Directory { .. } => has_folder(),
            }))
    }

    /// Removes code, logs and caches of apps that are not recorded: their destruction was cut off.
    async fn sweep_leftovers(&self, apps: &[App]) {
        let known: HashSet<AppName> = apps.iter().map(|app| app.name.clone()).collect();
        let data_dir = self.parts.settings().data_dir.clone();
        let parts = Arc::clone(&self.parts);
        let sweep = move || {
            for name in leftovers(&data_dir, &known) {
                tracing::info!(app = %name, "what is left of a destroyed app is removed");
                let removed = [
                    parts.repositories.remove(&name).map_err(|error| error.to_string()),
                    parts.builder.remove_cache(&name).map_err(|error| error.to_string()),
                    parts.logs.remove_app(&name).map_err(|error| error.to_string()),
                ];
                for error in removed.into_iter().filter_map(Result::err) {
                    tracing::error!(app = %name, error, "something left of a destroyed app could not be removed");
                }
            }
        };
        if let Err(panic) = self.parts.tasks.blocking("sweep of leftovers", sweep).await {
            tracing::error!(%panic, "what is left of destroyed apps could not be looked for");
        }
    }
}

/// The ref has moved, so the prepared release goes live.
async fn finish(parts: &Parts, deployment: &Deployment) -> Result<(), StoreError> {
    let Some(number) = deployment.release else { return undo(parts, deployment).await };
    parts.record_commit(&deployment.app, number, &deployment.id, &deployment.source, None).await?;
    close_log(
        parts,
        &deployment.id,
        &[
            Line::result("Application deployed (after a restart of the agent):"),
            Line::detail(parts.url(&deployment.app)),
        ],
    );
    record(parts, deployment, "deploy:live", &format!("{number} ({}), after a restart", deployment.source));
    Ok(())
}

/// The agent ended in the middle: the deployment failed. Its instances and its artifact are swept afterwards.
async fn undo(parts: &Parts, deployment: &Deployment) -> Result<(), StoreError> {
    let stage = deployment.stages.last().map_or(Stage::Source, |record| record.stage);
    let failure = Failure::new(
        stage,
        FailureKind::Interrupted,
        "the agent was stopped in the middle of the deployment",
    )
    .hint("push again; the release before it kept serving");
    // Stages are recorded when a deployment ends, so how far this one had come is not known for sure.
    let text = format!("Deployment of {} failed: {}", deployment.source, failure.cause);
    parts.say(&deployment.app, LineKind::Trouble, text);
    close_log(parts, &deployment.id, &failure.lines());
    let (app, id, release) = (deployment.app.clone(), deployment.id.clone(), deployment.release);
    let prepared = release.filter(|_| deployment.state == DeploymentState::Prepared);
    let write = move |store: &Store| match prepared {
        Some(number) => {
            store.discard_release(&app, number, &id, &failure, DeploymentState::Failed, clock::now())
        }
        None => store.update_deployment(&id, close(None, failure)).map(drop),
    };
    parts.store.call(write).await?;
    record(
        parts,
        deployment,
        "deploy:failed",
        &format!("{}: cut off by the end of the agent", deployment.source),
    );
    Ok(())
}

fn record(parts: &Parts, deployment: &Deployment, kind: &str, what: &str) {
    let what = format!("{what} ({})", deployment.id);
    let event = Event::new(clock::now(), By::Platform, Some(deployment.app.clone()), kind, what);
    parts.logs.record(&event);
}

fn close_log(parts: &Parts, id: &DeploymentId, lines: &[Line]) {
    let closed = parts.logs.build_log(id).and_then(|log| {
        lines.iter().for_each(|line| log.line(line.clone()));
        log.seal()
    });
    if let Err(error) = closed {
        tracing::warn!(deployment = %id, %error, "a build log could not be closed");
    }
}

/// Removes every artifact that no release names.
async fn sweep_artifacts(parts: &Parts, apps: &[App]) -> Result<(), StoreError> {
    let names: Vec<_> = apps.iter().map(|app| app.name.clone()).collect();
    let read = move |store: &Store| {
        let mut kept = HashSet::new();
        for name in &names {
            for release in store.releases(name)? {
                kept.insert(release.artifact.built_by().to_string());
            }
        }
        Ok(kept)
    };
    let kept = parts.store.call(read).await?;
    for app_dir in folders(&parts.artifacts_dir()) {
        for dir in folders(&app_dir) {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !kept.contains(&name) {
                tracing::info!(dir = %dir.display(), "an artifact that no release names is removed");
                remove_dir(&dir).await;
            }
        }
        // Only an empty folder goes.
        let _in_use = std::fs::remove_dir(&app_dir);
    }
    Ok(())
}

/// Names that something in the data directory stands under, and no app.
fn leftovers(data_dir: &Path, known: &HashSet<AppName>) -> HashSet<AppName> {
    let places = ["repos", "cache", "logs/apps"];
    let names = places.iter().flat_map(|place| folders(&data_dir.join(place))).filter_map(|folder| {
        let name = folder.file_name()?.to_str()?;
        name.strip_suffix(".git").unwrap_or(name).parse::<AppName>().ok()
    });
    names.filter(|name| !known.contains(name)).collect()
}

fn folders(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
