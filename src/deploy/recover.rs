//! What the agent does when it starts, before any door opens: finish what git has accepted, undo what was cut off,
//! adopt what still runs, start what is missing, and end what belongs to nobody.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, Artifact, Deployment, DeploymentId, DeploymentState, Failure, FailureKind, InstanceId,
    Line, LineKind, Source, Stage,
    route::{AppRoute, Target},
};
use autostack_runtime::{InstanceState, Listing, Observed, RuntimeError};
use autostack_store::{Store, StoreError};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::{
    deployer::{Deployer, Parts, Ready},
    ending::close,
    launch::Launchable,
    owner::{Adoption, Request},
    plan::{Plan, Seen, Slot, plan},
    probe::Started,
    ready,
    stop::stop_all,
    workspace::remove_dir,
};

/// How long an adopted instance may take to accept a connection before its place is filled anew.
const ADOPTION_LIMIT: Duration = Duration::from_secs(5);

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
        let Listing { observed, unreachable } =
            parts.runtime.listing().await.map_err(RecoveryError::Runtime)?;
        for deployment in parts.store.call(Store::unfinished_deployments).await? {
            if let Err(error) = self.settle(&deployment, &mut done).await {
                tracing::error!(app = %deployment.app, deployment = %deployment.id, %error, "a deployment could not be settled");
            }
        }
        let apps = parts.store.call(Store::apps).await?;
        let mut waiting = Vec::new();
        for app in &apps {
            match load_live(parts, app).await {
                Ok(launch) if unreachable.is_some() && runs_in_engine(launch.as_deref()) => {
                    waiting.push(app.clone());
                }
                Ok(launch) => self.adopt(app, launch, &observed, &mut done).await,
                Err(error) => {
                    tracing::error!(app = %app.name, %error, "an app could not be taken over; it does not run");
                }
            }
        }
        if let Some(error) = unreachable {
            done.waiting = waiting.len();
            self.adopt_later(waiting, &error);
        }
        stop_strangers(parts, &apps, &observed, &mut done);
        sweep_artifacts(parts, &apps).await?;
        self.sweep_leftovers(&apps).await;
        Ok(done)
    }

    /// Takes over the apps whose instances only the engine knows, once it answers. Until then visitors are told that
    /// no instance is there.
    fn adopt_later(&self, apps: Vec<App>, why: &RuntimeError) {
        let error = autostack_base::error_chain(why);
        tracing::error!(
            error,
            apps = apps.len(),
            "the container engine does not answer; its apps wait for it"
        );
        for app in &apps {
            let hosts = vec![self.parts.host(&app.name)];
            let target = Target::Endpoints(Vec::new());
            drop(self.parts.proxy.publish(AppRoute { app: app.name.clone(), hosts, target }));
            self.parts.say(
                &app.name,
                LineKind::Trouble,
                format!("The app waits for the container engine: {error}"),
            );
        }
        let deployer = self.clone();
        self.parts.tasks.spawn("adoption after the engine", async move {
            if let Err(error) = deployer.adopt_when_reachable(&apps).await {
                tracing::error!(
                    error = autostack_base::error_chain(&error),
                    "apps could not be taken over; they do not run"
                );
            }
        });
    }

    async fn adopt_when_reachable(&self, apps: &[App]) -> Result<(), RecoveryError> {
        let parts = &self.parts;
        let stopping = parts.tasks.shutdown_token();
        let observed = loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = parts.runtime.engine_reachable() => {}
            }
            let listing = parts.runtime.listing().await.map_err(RecoveryError::Runtime)?;
            if listing.unreachable.is_none() {
                break listing.observed;
            }
        };
        let mut done = Recovery::default();
        for app in apps {
            let launch = load_live(parts, app).await?;
            self.adopt(app, launch, &observed, &mut done).await;
        }
        let known = parts.store.call(Store::apps).await?;
        stop_strangers(parts, &known, &observed, &mut done);
        tracing::info!(recovery = ?done, "the container engine answers; its apps are taken over");
        Ok(())
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

    async fn adopt(
        &self,
        app: &App,
        launch: Option<Arc<Launchable>>,
        observed: &[Observed],
        done: &mut Recovery,
    ) {
        let mine: Vec<&Observed> = observed.iter().filter(|instance| instance.spec.app == app.name).collect();
        let seen: Vec<Seen> = mine.iter().map(|instance| seen(instance)).collect();
        let Some(launch) = launch else {
            stop_in_background(&self.parts, plan(None, &seen).stop, done);
            return;
        };
        let mut plan = plan(Some((launch.release.number, &launch.release.formation)), &seen);
        let places = self.verify(&mut plan, &mine).await;
        done.adopted += plan.keep.len();
        done.started += plan.start.len();
        stop_in_background(&self.parts, plan.stop, done);
        let adoption = Adoption { launch, places };
        if let Err(failure) = self.ask(&app.name, |reply| Request::Adopt { adoption, reply }).await {
            tracing::error!(app = %app.name, cause = failure.cause, "the app could not be adopted");
        }
    }

    /// Keeps an instance only if it answers now; the places of the others are to be filled.
    async fn verify(&self, plan: &mut Plan, mine: &[&Observed]) -> BTreeMap<Slot, Option<Ready>> {
        let checks = std::mem::take(&mut plan.keep).into_iter().map(|(slot, id)| async {
            let found = mine.iter().find(|instance| instance.spec.id == id);
            let ready = match found {
                Some(instance) => answers(instance).await,
                None => None,
            };
            (slot, id, ready)
        });
        let mut places = BTreeMap::new();
        for (slot, id, ready) in join_all(checks).await {
            if ready.is_some() {
                plan.keep.insert(slot.clone(), id);
            } else {
                plan.stop.push(id);
                plan.start.push(slot.clone());
            }
            places.insert(slot, ready);
        }
        for slot in &plan.start {
            places.entry(slot.clone()).or_insert(None);
        }
        places
    }
}

fn seen(instance: &Observed) -> Seen {
    Seen {
        id: instance.spec.id.clone(),
        release: instance.spec.release,
        slot: Slot { process: instance.spec.process.clone(), index: instance.spec.index },
        running: matches!(instance.state, InstanceState::Running),
    }
}

async fn answers(instance: &Observed) -> Option<Ready> {
    let uptime = Duration::from_millis(clock::now().since(instance.started_at));
    let since = Instant::now().checked_sub(uptime).unwrap_or_else(Instant::now);
    let started = Started { spec: instance.spec.clone(), endpoint: instance.endpoint, since };
    let endpoint = if instance.spec.process.is_web() {
        timeout(ADOPTION_LIMIT, ready::accepting(started.endpoint)).await.ok()?
    } else {
        started.endpoint
    };
    Some(Ready { id: started.spec.id, endpoint, since })
}

/// The release that is live, with what it takes to start it.
async fn load_live(parts: &Parts, app: &App) -> Result<Option<Arc<Launchable>>, StoreError> {
    let Some(number) = app.current_release else { return Ok(None) };
    let name = app.name.clone();
    let read = move |store: &Store| Ok((store.release(&name, number)?, store.release_config(&name, number)?));
    let (release, config) = parts.store.call(read).await?;
    Ok(release.map(|release| {
        let dir = parts.artifact_dir(&release.app, release.artifact.built_by());
        Arc::new(Launchable { release, config, dir })
    }))
}

/// Whether only the engine knows the instances of the release.
fn runs_in_engine(launch: Option<&Launchable>) -> bool {
    launch.is_some_and(|launch| matches!(launch.release.artifact, Artifact::Image { .. }))
}

/// The ref has moved, so the prepared release goes live.
async fn finish(parts: &Parts, deployment: &Deployment) -> Result<(), StoreError> {
    let Some(number) = deployment.release else { return undo(parts, deployment).await };
    parts.record_commit(&deployment.app, number, &deployment.id, &deployment.source).await?;
    close_log(
        parts,
        &deployment.id,
        &[
            Line::result("Application deployed (after a restart of the agent):"),
            Line::detail(parts.url(&deployment.app)),
        ],
    );
    tracing::info!(app = %deployment.app, release = %number, "finished a release that git had accepted");
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
    tracing::warn!(app = %deployment.app, deployment = %deployment.id, "a deployment was cut off and is failed");
    Ok(())
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

fn stop_strangers(parts: &Arc<Parts>, apps: &[App], observed: &[Observed], done: &mut Recovery) {
    let known: HashSet<_> = apps.iter().map(|app| &app.name).collect();
    let strangers = observed.iter().filter(|instance| !known.contains(&instance.spec.app));
    stop_in_background(parts, strangers.map(|instance| instance.spec.id.clone()).collect(), done);
}

fn stop_in_background(parts: &Arc<Parts>, instances: Vec<InstanceId>, done: &mut Recovery) {
    done.stopped += instances.len();
    if !instances.is_empty() {
        let in_task = Arc::clone(parts);
        parts.tasks.spawn("stop of leftovers", async move { stop_all(&in_task, &instances).await });
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
