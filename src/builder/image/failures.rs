//! What an engine or a builder says went wrong → a failure of the build, in the words of the plan.

use std::{path::Path, time::Duration};

use autostack_domain::{Exit, Failure, FailureKind, Stage};
use autostack_engine::{EngineError, build::BuildError};

use super::{listen::Listener, script::step_in};
use crate::diagnose;

/// A call of the engine that failed.
pub(super) fn of_engine(error: &EngineError) -> Failure {
    if matches!(error, EngineError::Cancelled) {
        return cancelled();
    }
    Failure::new(Stage::Build, error.kind(), error.to_string())
        .evidence(error.evidence().map(str::to_owned))
        .hint(error.hint())
}

/// A build that made no image.
pub(super) fn failed_build(
    error: BuildError,
    listener: &Listener<'_>,
    limit: Duration,
    dir: &Path,
) -> Failure {
    match error.kind {
        FailureKind::Cancelled => return cancelled(),
        FailureKind::TimedOut => return timed_out(limit, &listener.last(), &listener.tail()),
        FailureKind::BuildFailed => {}
        _ => return plain(error),
    }
    let Some(code) = exit_code(&error.message) else { return plain(error) };
    if is_of_plan(&error.message)
        && let Some((step, output)) = listener.last_step()
    {
        return diagnose::failed_step(step, Exit::Code(code), &output, dir);
    }
    let hint = diagnose::known_hint(&error.evidence.join("\n"));
    let failure = plain(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn plain(error: BuildError) -> Failure {
    Failure::new(Stage::Build, error.kind, error.message).evidence(error.evidence).hint(error.hint)
}

pub(super) fn cancelled() -> Failure {
    crate::builder::cancelled()
}

/// `what` ran when the time was up.
pub(super) fn timed_out(limit: Duration, what: &str, output: &str) -> Failure {
    let during = if what.is_empty() { String::new() } else { format!(" during `{what}`") };
    let cause =
        format!("the build took longer than {} s (build.timeout) and was ended{during}", limit.as_secs());
    Failure::new(Stage::Build, FailureKind::TimedOut, cause)
        .evidence(diagnose::last_lines(output))
        .hint("see in the last lines what it waited for; an operator can raise build.timeout")
}

/// Whether it is a step of the plan that failed, and not a command that was added to it: the steps alone have
/// mounts, or, by a builder without these, begin with their number.
fn is_of_plan(message: &str) -> bool {
    message.contains("RUN --mount=") || step_in(message).is_some()
}

/// `… ended with exit code 3`.
fn exit_code(message: &str) -> Option<i32> {
    let (_, rest) = message.rsplit_once("exit code ")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    rest[..digits].parse().ok()
}
