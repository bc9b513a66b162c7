//! A commit or an image becomes a candidate: every stage before the switch, in order. Nothing here changes what a visitor sees.

use std::sync::Arc;

use autostack_base::clock;
use autostack_domain::{
    App, BuildSettings, DeploymentState, EnvMap, Failure, FailureKind, Formation, GitSettings, Release,
    ReleaseNumber, Stage,
};
use autostack_store::Store;

use crate::{
    artifact::{self, Made},
    beside,
    deployer::{Candidate, Input, Job, Parts, Ready},
    ending::{cancelled, end, is_destroyed, store_failure},
    furnish::{furnish, unenforced},
    launch::{self, Launchable},
    once::run_once,
    plan::Slot,
    probe::Started,
    workspace::Workspace,
};

/// Runs a deployment up to the prepared release. On failure everything that it made is gone, the failure is
/// recorded, and its lines are the last ones of the build log.
pub(crate) async fn run(job: &Job, work: &Workspace, parts: &Parts) -> Result<Candidate, Failure> {
    let outcome = prepare(job, work, parts).await;
    if let Err(failure) = &outcome {
        end(job, work, parts, failure).await;
    }
    outcome
}

async fn prepare(job: &Job, work: &Workspace, parts: &Parts) -> Result<Candidate, Failure> {
    work.enter(Stage::Source);
    check_cancelled(job, work)?;
    let ((), facts) = tokio::join!(mark_running(job, parts), read_app(job, parts));
    let facts = facts?;
    let mut made = artifact::make(job, work, parts, &facts).await?;
    let config = made.config.clone().unwrap_or_else(|| facts.config.clone());
    let scripts = std::mem::take(&mut made.scripts);
    let release = draft_release(job, &facts, made);
    let dir = parts.artifact_dir(&job.app, release.artifact.built_by());
    let launch = Arc::new(Launchable { release, config, dir });
    if launch.release.again.is_none() {
        run_release_command(job, work, parts, &launch).await?;
    }
    let started = start_all(job, work, parts, &launch, &facts.app).await?;
    let ready = wait_for_all(job, work, parts, &launch, started).await?;
    record_prepared(job, work, parts, &launch).await?;
    Ok(Candidate { launch, ready, app: Arc::new(facts.app), config_since: facts.own_config, scripts })
}

fn is_being_destroyed() -> Failure {
    Failure::new(Stage::Source, FailureKind::Cancelled, "the app was destroyed meanwhile").hint("push again")
}

/// For whoever looks at the deployment meanwhile; its course does not depend on it.
async fn mark_running(job: &Job, parts: &Parts) {
    let id = job.id.clone();
    let update =
        move |store: &Store| store.update_deployment(&id, |found| found.state = DeploymentState::Running);
    if let Err(error) = parts.store.call(update).await
        && !is_destroyed(&error)
    {
        tracing::warn!(deployment = %job.id, %error, "a deployment could not be recorded as running");
    }
}

/// What is recorded of the app at the moment of the deployment.
pub(crate) struct AppFacts {
    /// As it will be once the release is live.
    pub(crate) app: App,
    /// What the release gets: the host's config, over it the app's own.
    pub(crate) config: EnvMap,
    pub(crate) own_config: EnvMap,
    /// Its settings, with the host's where it has none of its own.
    pub(crate) git: GitSettings,
    pub(crate) build: BuildSettings,
}

async fn read_app(job: &Job, parts: &Parts) -> Result<AppFacts, Failure> {
    let name = job.app.clone();
    let read = move |store: &Store| {
        Ok((store.app(&name)?, store.merged_config(&name)?, store.config(&name)?, store.host_defaults()?))
    };
    let read = parts.store.call(read).await;
    let (app, config, own_config, host) = read.map_err(|error| store_failure(Stage::Source, &error))?;
    let mut app = app.ok_or_else(is_being_destroyed)?;
    app.is_stopped = app.is_stopped && !job.starts_app();
    let (git, build) = (app.settings.git.over(&host.git), app.settings.build.over(&host.build));
    Ok(AppFacts { app, config, own_config, git, build })
}

/// The release as it will be recorded once its instances are ready.
fn draft_release(job: &Job, facts: &AppFacts, made: Made) -> Release {
    Release {
        app: job.app.clone(),
        number: ReleaseNumber(facts.app.last_release + 1),
        formation: Formation::resolve(made.processes.keys(), &facts.app.formation, &made.formation_asked),
        artifact: made.artifact,
        description: match &job.input {
            Input::Again { reason, .. } => reason.clone(),
            Input::Commit(_) | Input::Pull { .. } | Input::Archive { .. } => {
                format!("Deploy {}", made.source)
            }
        },
        again: made.again,
        source: made.source,
        processes: made.processes,
        checks: made.checks,
        cron: made.cron,
        brings: made.brings,
        rev_env_var: facts.git.rev_env_var.clone(),
        deployment: job.id.clone(),
        created_at: clock::now(),
    }
}

/// The `release` process type: once, in the new artifact, before anything starts.
async fn run_release_command(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    launch: &Launchable,
) -> Result<(), Failure> {
    let release = launch.release.processes.iter().find(|(process, _)| process.is_release());
    let Some((process, Some(command))) = release else { return Ok(()) };
    work.enter(Stage::Release);
    check_cancelled(job, work)?;
    job.log.step(format!("Running release command: {command}"));
    let spec = furnish(parts, launch.one_off(process, command.clone())).await;
    work.will_start(&spec.id);
    let limit = parts.settings().build.timeout;
    let ended = run_once(parts, &spec, &job.log, &job.cancel, limit).await;
    check_cancelled(job, work)?;
    let failed = |kind, cause: String| {
        Err(Failure::new(Stage::Release, kind, cause)
            .evidence([format!("command: {command}")])
            .hint("correct the release command, then push again"))
    };
    match ended {
        Some(Ok(exit)) if exit.is_success() => Ok(()),
        Some(Ok(exit)) => failed(FailureKind::ReleaseCommandFailed, format!("the release command {exit}")),
        Some(Err(error)) => Err(launch::start_failure(Stage::Release, "the release command", &error)),
        None => {
            let cause = format!("the release command did not end within {} s", limit.as_secs());
            failed(FailureKind::TimedOut, cause)
        }
    }
}

/// Starts every place that the release is to fill, beside whatever runs now.
async fn start_all(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    launch: &Launchable,
    app: &App,
) -> Result<Vec<(Slot, Started)>, Failure> {
    work.enter(Stage::Start);
    check_cancelled(job, work)?;
    let wanted = app.wanted(&launch.release);
    if app.is_stopped {
        job.log.detail(format!("{} is stopped; what is released now runs from ps:start on", job.app));
    } else if !wanted.0.is_empty() {
        job.log.step(format!("Starting {} {}: {wanted}", job.app, launch.release.number));
    }
    let openings = Slot::all(&wanted).map(|slot| {
        let round = app.round(&slot.process);
        (slot, round)
    });
    let started = beside::start_all(parts, launch, openings, &|id| work.will_start(id)).await?;
    unenforced(parts, &started).await.into_iter().for_each(|line| job.log.trouble(line));
    Ok(started)
}

/// Waits until all of them are ready; the first that fails ends the wait.
async fn wait_for_all(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    launch: &Launchable,
    started: Vec<(Slot, Started)>,
) -> Result<Vec<(Slot, Ready)>, Failure> {
    work.enter(Stage::Health);
    let say = |text: String| job.log.detail(text);
    let uptime = beside::uptime(job.goes_back());
    let outcome = tokio::select! {
        biased;
        () = job.cancel.cancelled() => return Err(cancelled(work.stage())),
        outcome = beside::wait_for_all(parts, launch, &started, uptime, &say) => outcome,
    };
    match outcome {
        Ok(ready) => Ok(ready),
        Err((instance, failure)) => {
            // Only a stopped instance has all of its output in the log.
            work.stop_instances(parts, failure.kind).await;
            Err(failure.evidence(beside::last_lines(parts, launch, &instance)))
        }
    }
}

async fn record_prepared(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    launch: &Launchable,
) -> Result<(), Failure> {
    check_cancelled(job, work)?;
    let (release, config, stages) = (launch.release.clone(), launch.config.clone(), work.stages());
    let write = move |store: &Store| store.prepare_release(&release, &config, &release.deployment, &stages);
    parts.store.call(write).await.map_err(|error| store_failure(Stage::Switch, &error))
}

pub(crate) fn check_cancelled(job: &Job, work: &Workspace) -> Result<(), Failure> {
    if job.cancel.is_cancelled() { Err(cancelled(work.stage())) } else { Ok(()) }
}
