//! How a deployment ends that does not go live: undone, recorded, told; and the failures that no stage owns.

use std::time::Duration;

use autostack_base::{clock, telemetry::metrics::DeploymentResult};
use autostack_domain::{
    Deployment, DeploymentState, Event, Failure, FailureKind, LineKind, Source, Stage, StageRecord, limits,
};
use autostack_engine::EngineError;
use autostack_store::{Store, StoreError};

use crate::{
    deployer::{Job, Parts},
    workspace::Workspace,
};

/// Undoes a failed deployment, records why, and tells the reader of its log.
pub(crate) async fn end(job: &Job, work: &Workspace, parts: &Parts, failure: &Failure) {
    let failure = &told(job, failure.clone());
    work.undo(parts, failure).await;
    let (id, stages, recorded) = (job.id.clone(), work.stages(), failure.clone());
    let write = move |store: &Store| store.update_deployment(&id, close(Some(stages), recorded)).map(drop);
    if let Err(error) = parts.store.call(write).await
        && !is_destroyed(&error)
    {
        tracing::error!(deployment = %job.id, %error, "the end of a deployment could not be recorded");
    }
    tell_end(job, work, parts, failure);
}

/// Ends a deployment whose task has panicked.
pub(crate) async fn panicked(job: &Job, work: &Workspace, parts: &Parts) -> Failure {
    let cause = "a mistake in the platform ended the deployment";
    let failure = Failure::new(work.stage(), FailureKind::Internal, cause)
        .hint("tell the host's operator: the agent's log names the place");
    end(job, work, parts, &failure).await;
    failure
}

/// The last lines of the build log, and a line in the app's own log.
pub(crate) fn tell_end(job: &Job, work: &Workspace, parts: &Parts, failure: &Failure) {
    count(job, work, parts, Some(failure));
    failure.lines().into_iter().for_each(|line| job.log.line(line));
    seal(job);
    let ended = if failure.kind == FailureKind::Cancelled { "was cancelled" } else { "failed" };
    let kind = if failure.kind == FailureKind::Cancelled { "deploy:cancelled" } else { "deploy:failed" };
    record(job, parts, kind, &format!("at {}: {}", failure.stage, failure.cause));
    let text = format!("Deployment of {} {ended} at {}: {}", job.source(), failure.stage, failure.cause);
    parts.say(&job.app, LineKind::Trouble, text);
}

/// A line in the app's own log, and an event.
pub(crate) fn tell_live(job: &Job, work: &Workspace, parts: &Parts, release: &str) {
    count(job, work, parts, None);
    parts.say(&job.app, LineKind::Result, format!("Release {release} is live"));
    record(job, parts, "deploy:live", &format!("as release {release}"));
}

/// Counts a deployment that has ended, and its build.
fn count(job: &Job, work: &Workspace, parts: &Parts, failure: Option<&Failure>) {
    let result = match failure {
        None => DeploymentResult::Success,
        Some(failure) if failure.kind == FailureKind::Cancelled => DeploymentResult::Cancelled,
        Some(_) => DeploymentResult::Failed,
    };
    let stages = work.stages();
    let since = |record: &StageRecord| {
        let end = record.ended_at.unwrap_or_else(clock::now);
        Duration::from_millis(end.since(record.started_at))
    };
    let took = stages.first().map(|first| StageRecord { ended_at: None, ..first.clone() });
    let build = stages.iter().find(|record| record.stage == Stage::Build).map(|record| {
        let has_failed = failure.is_some_and(|failure| failure.stage == Stage::Build);
        (if has_failed { result } else { DeploymentResult::Success }, since(record))
    });
    parts.metrics.deployment(&job.app, result, took.as_ref().map_or(Duration::ZERO, since), build);
}

/// What becomes of a release that is ready and could not be recorded as live.
pub(crate) fn not_recorded(job: &Job) -> &'static str {
    match job.source() {
        Source::Commit { .. } => {
            "nothing to push again: the agent goes on trying, and finishes it at the latest when it starts"
        }
        Source::Image { .. } | Source::Again { .. } => {
            "nothing to deploy again: the agent goes on trying, until it is stopped"
        }
    }
}

/// Records what became of a deployment among the events of the host.
pub(crate) fn record(job: &Job, parts: &Parts, kind: &str, outcome: &str) {
    let text = format!("{} {outcome} ({})", job.source(), job.id);
    parts.logs.record(&Event::new(clock::now(), (*job.by).clone(), Some(job.app.clone()), kind, text));
}

/// The state that a deployment ends in.
pub(crate) fn final_state(failure: &Failure) -> DeploymentState {
    match failure.kind {
        FailureKind::Cancelled => DeploymentState::Cancelled,
        _ => DeploymentState::Failed,
    }
}

/// Ends the build log: its readers reach the end.
pub(crate) fn seal(job: &Job) {
    if let Err(error) = job.log.seal() {
        tracing::error!(deployment = %job.id, %error, "a build log could not be closed");
    }
}

/// Ends the record of a deployment; without `stages` those that it has stay.
pub(crate) fn close(
    stages: Option<Vec<StageRecord>>,
    failure: Failure,
) -> impl FnOnce(&mut Deployment) + Send + 'static {
    move |deployment| {
        deployment.state = final_state(&failure);
        if let Some(stages) = stages {
            deployment.stages = stages;
        }
        deployment.failure = Some(failure);
        deployment.ended_at = Some(clock::now());
    }
}

/// The failure as its reader needs it: one that somebody else asked for says who it was.
pub(crate) fn told(job: &Job, failure: Failure) -> Failure {
    match job.cancelled_by.get().filter(|_| failure.kind == FailureKind::Cancelled) {
        Some(name) => {
            let cause = format!("{name} ended it before it went live, so nothing was changed");
            Failure { cause, ..failure }
        }
        None => failure,
    }
}

pub(crate) fn cancelled(stage: Stage) -> Failure {
    Failure::new(stage, FailureKind::Cancelled, "it was ended before it went live, so nothing was changed")
        .hint("push again")
}

/// Whether a record is missing because its app was destroyed meanwhile: then nobody will look for it.
pub(crate) fn is_destroyed(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound { .. })
}

/// A failure of the platform's own store, in words.
pub(crate) fn store_failure(stage: Stage, error: &StoreError) -> Failure {
    if error.is_no_space() {
        let cause = "no space is left on the host's disk, so the release could not be recorded";
        return Failure::new(stage, FailureKind::DiskFull, cause)
            .hint("free space on the host, then push again");
    }
    internal(stage, error)
}

pub(crate) fn internal(stage: Stage, error: &dyn std::error::Error) -> Failure {
    tracing::error!(%stage, error = autostack_base::error_chain(error), "a deployment failed by the platform's own fault");
    Failure::new(stage, FailureKind::Internal, format!("the platform's own fault: {error}"))
        .hint("push again; if it happens again, look at the agent's log on the host")
}

/// What the engine could not do, in words.
pub(crate) fn engine_failure(stage: Stage, error: &EngineError) -> Failure {
    let failure = Failure::new(stage, error.kind(), error.to_string());
    let evidence = error.evidence().into_iter().flat_map(str::lines).take(limits::EVIDENCE_LINES_MAX);
    failure.evidence(evidence.map(str::to_owned).collect::<Vec<_>>()).hint(error.hint())
}
