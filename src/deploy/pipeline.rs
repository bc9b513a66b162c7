//! A commit or an image becomes a candidate: every stage before the switch, in order. Nothing here changes what a visitor sees.

use std::sync::Arc;

use autostack_base::clock;
use autostack_domain::{
    DeploymentState, EnvMap, Failure, FailureKind, Formation, InstanceId, Release, ReleaseNumber, Stage,
    limits,
};
use autostack_logs::Filter;
use autostack_runtime::Backend;
use autostack_store::Store;
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use crate::{
    artifact::{self, Made},
    deployer::{Candidate, Job, Parts, Ready},
    ending::{cancelled, end, is_destroyed, store_failure},
    launch::{self, Launchable},
    plan::Slot,
    probe::Started,
    ready::{Wait, wait_until_ready},
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
    let ((), app) = tokio::join!(mark_running(job, parts), read_app(job, parts));
    let app = app?;
    let made = artifact::make(job, work, parts, &app.config).await?;
    let release = draft_release(job, &app, made);
    let launch = Arc::new(Launchable { release, config: app.config, dir: work.dir.clone() });
    run_release_command(job, work, parts, &launch).await?;
    let started = start_all(job, work, parts, &launch).await?;
    let ready = wait_for_all(job, work, parts, &launch, started).await?;
    record_prepared(job, work, parts, &launch).await?;
    Ok(Candidate { launch, ready })
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
struct AppFacts {
    next: ReleaseNumber,
    set_by_operator: Formation,
    config: EnvMap,
}

async fn read_app(job: &Job, parts: &Parts) -> Result<AppFacts, Failure> {
    let name = job.app.clone();
    let read = move |store: &Store| {
        let set_by_operator = store.app(&name)?.map(|app| app.formation).unwrap_or_default();
        Ok(AppFacts {
            next: store.next_release_number(&name)?,
            set_by_operator,
            config: store.merged_config(&name)?,
        })
    };
    parts.store.call(read).await.map_err(|error| store_failure(Stage::Source, &error))
}

/// The release as it will be recorded once its instances are ready.
fn draft_release(job: &Job, app: &AppFacts, made: Made) -> Release {
    Release {
        app: job.app.clone(),
        number: app.next,
        formation: Formation::resolve(made.processes.keys(), &app.set_by_operator, &made.formation_asked),
        artifact: made.artifact,
        description: format!("Deploy {}", made.source),
        source: made.source,
        processes: made.processes,
        checks: made.checks,
        cron: made.cron,
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
    let spec = launch.one_off(process, command.clone());
    work.will_start(&spec.id);
    let limit = parts.settings().build.timeout;
    let stop = job.cancel.child_token();
    let run = parts.runtime.run(&spec, &job.log, &stop);
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
    job.log.flush();
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

/// Starts every place of the formation, beside whatever runs now.
async fn start_all(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    launch: &Launchable,
) -> Result<Vec<(Slot, Started)>, Failure> {
    work.enter(Stage::Start);
    check_cancelled(job, work)?;
    if !launch.release.formation.0.is_empty() {
        job.log.step(format!("Starting {} {}: {}", job.app, launch.release.number, launch.release.formation));
    }
    let starts = Slot::all(&launch.release.formation).map(|slot| async {
        let spec = launch.instance(&slot);
        work.will_start(&spec.id);
        let started = launch::start(parts.runtime.as_ref(), &spec).await?;
        // From here on its program runs; an engine may have taken seconds to come so far.
        let since = Instant::now();
        Ok((slot, Started { spec, endpoint: started.endpoint, since }))
    });
    // Every start comes to its end, so that each instance can be stopped by its id when one of them failed.
    join_all(starts).await.into_iter().collect()
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
    let host = parts.host(&job.app);
    let say = |text: String| job.log.detail(text);
    let limit = parts.settings().deploy.start_timeout;
    let waits = started.iter().map(|(slot, instance)| {
        let checks = launch.release.checks_of(&slot.process);
        let is_lambda = launch.is_function(&slot.process);
        let wait = Wait { checks, is_lambda, host: host.as_str(), limit, say: &say };
        async move {
            let ready = wait_until_ready(parts, instance, &wait).await;
            let endpoint = ready.map_err(|failure| (instance.spec.id.clone(), failure))?;
            let took = instance.since.elapsed().as_secs_f32();
            let at =
                if slot.process.is_web() { format!(" on port {}", endpoint.port()) } else { String::new() };
            job.log.detail(format!("{slot} is up{at} ({took:.2} s)"));
            Ok((slot.clone(), Ready { id: instance.spec.id.clone(), endpoint, since: instance.since }))
        }
    });
    let outcome = tokio::select! {
        biased;
        () = job.cancel.cancelled() => return Err(cancelled(work.stage())),
        outcome = try_join_all(waits) => outcome,
    };
    match outcome {
        Ok(ready) => Ok(ready),
        Err((instance, failure)) => {
            // Only a stopped instance has all of its output in the log.
            work.stop_instances(parts, failure.kind).await;
            let lines = last_lines(parts, job, &instance);
            Err(failure.evidence(lines))
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

/// The last lines that an instance wrote.
fn last_lines(parts: &Parts, job: &Job, instance: &InstanceId) -> Vec<String> {
    let filter = Filter { instance: Some(instance.clone()), ..Filter::default() };
    let tail = parts.logs.app(&job.app).and_then(|stream| stream.tail(limits::EVIDENCE_LINES_MAX, &filter));
    match tail {
        Ok((entries, _)) if entries.is_empty() => vec!["the app wrote nothing".to_owned()],
        Ok((entries, _)) => {
            let lines = entries.iter().map(|(_, entry)| format!("| {}", entry.text_lossy()));
            std::iter::once("last lines of the app:".to_owned()).chain(lines).collect()
        }
        Err(error) => vec![format!("the app's log cannot be read: {error}")],
    }
}

pub(crate) fn check_cancelled(job: &Job, work: &Workspace) -> Result<(), Failure> {
    if job.cancel.is_cancelled() { Err(cancelled(work.stage())) } else { Ok(()) }
}
