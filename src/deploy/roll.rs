//! Other instances of the release that is live: scaled, restarted, stopped, started. What is new starts beside what
//! runs; only when all of it is ready is anything replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use autostack_domain::{App, Failure, FailureKind, InstanceId, Line, ProcessType, Stage};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    beside::{self, Opening},
    deployer::{Parts, Ready},
    launch::Launchable,
    plan::Slot,
    stop::stop_within,
};

/// How long an instance that nobody uses may take to end.
const UNUSED_STOP_GRACE: Duration = Duration::from_secs(1);

/// What an operator wants of the instances of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// So many of these process types; the others stay as they are.
    Scale(BTreeMap<ProcessType, u32>),
    /// New instances in the place of those of these process types, or of all.
    Restart(Option<BTreeSet<ProcessType>>),
    /// Nothing of it runs any more.
    Stop,
    /// What was stopped runs again.
    Start,
}

/// A change on its way.
#[derive(Debug)]
pub struct Roll {
    /// What is wanted.
    pub change: Change,
    /// Shown how it goes. Whoever reads too slowly misses lines.
    pub screen: mpsc::Sender<Line>,
    /// Gives it up, as long as nothing was replaced.
    pub cancel: CancellationToken,
}

impl Change {
    /// Writes down what is wanted. `processes` are those of the release that is live.
    pub(crate) fn apply<'a>(&self, app: &mut App, processes: impl IntoIterator<Item = &'a ProcessType>) {
        match self {
            Change::Scale(counts) => {
                app.formation.0.extend(counts.iter().map(|(process, count)| (process.clone(), *count)));
            }
            Change::Restart(only) => {
                let is_meant =
                    |process: &&ProcessType| only.as_ref().is_none_or(|only| only.contains(*process));
                for process in processes.into_iter().filter(is_meant) {
                    let round = app.round(process).wrapping_add(1);
                    app.rounds.insert(process.clone(), round);
                }
            }
            Change::Stop => app.is_stopped = true,
            Change::Start => app.is_stopped = false,
        }
    }

    /// Whether whoever asked waits until what was given up has ended: then a worker that was scaled to none has let
    /// go of what it worked on.
    pub(crate) fn waits_for_end(&self) -> bool {
        match self {
            Change::Scale(_) | Change::Stop => true,
            Change::Restart(_) | Change::Start => false,
        }
    }
}

impl fmt::Display for Change {
    /// What was done, for logs and events.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Scale(counts) => {
                f.write_str("Scaled:")?;
                counts.iter().try_for_each(|(process, count)| write!(f, " {process}={count}"))
            }
            Change::Restart(None) => f.write_str("Restarted"),
            Change::Restart(Some(only)) => {
                f.write_str("Restarted:")?;
                only.iter().try_for_each(|process| write!(f, " {process}"))
            }
            Change::Stop => f.write_str("Stopped; visitors are told that nothing runs"),
            Change::Start => f.write_str("Started"),
        }
    }
}

impl Roll {
    /// Shows a line, if there is room on the screen.
    pub(crate) fn show(&self, line: Line) {
        // Whoever does not read, or has gone, finds the outcome in the app's log.
        let _full_or_gone = self.screen.try_send(line);
    }
}

/// The ids of the instances that a roll has started, so that it can be undone.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<Vec<InstanceId>>);

impl Begun {
    /// Whether it is one of them.
    pub(crate) fn holds(&self, id: &InstanceId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn add(&self, id: &InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
    }

    fn take(&self) -> Vec<InstanceId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts an instance in each place and waits until all are ready. On failure none of them is left.
pub(crate) async fn start_beside(
    parts: &Parts,
    launch: &Launchable,
    openings: Vec<Opening>,
    begun: &Begun,
    screen: &mpsc::Sender<Line>,
    cancel: &CancellationToken,
) -> Result<Vec<(Slot, Ready)>, Failure> {
    let stopping = parts.tasks.shutdown_token();
    let all = AssertUnwindSafe(start_and_wait(parts, launch, openings, begun, screen)).catch_unwind();
    let outcome = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(given_up()),
        () = stopping.cancelled() => Err(given_up()),
        // The panic hook has reported it.
        outcome = all => outcome.unwrap_or_else(|_panic| Err((None, mistake()))),
    };
    let (instance, failure) = match outcome {
        Ok(ready) => return Ok(ready),
        Err(failed) => failed,
    };
    stop_within(parts, &begun.take(), UNUSED_STOP_GRACE).await;
    match instance {
        Some(instance) => Err(failure.evidence(beside::last_lines(parts, launch, &instance))),
        None => Err(failure),
    }
}

async fn start_and_wait(
    parts: &Parts,
    launch: &Launchable,
    openings: Vec<Opening>,
    begun: &Begun,
    screen: &mpsc::Sender<Line>,
) -> Result<Vec<(Slot, Ready)>, (Option<InstanceId>, Failure)> {
    let started = beside::start_all(parts, launch, openings, &|id| begun.add(id)).await;
    let started = started.map_err(|failure| (None, failure))?;
    let say = |text: String| {
        let _full_or_gone = screen.try_send(Line::detail(text));
    };
    let ready = beside::wait_for_all(parts, launch, &started, beside::uptime(true), &say).await;
    ready.map_err(|(instance, failure)| (Some(instance), failure))
}

fn given_up() -> (Option<InstanceId>, Failure) {
    let cause = "it was given up before anything was replaced, so nothing has changed";
    (None, Failure::new(Stage::Start, FailureKind::Cancelled, cause).hint("try again"))
}

fn mistake() -> Failure {
    Failure::new(Stage::Start, FailureKind::Internal, "a mistake in the platform ended it")
        .hint("tell the host's operator: the agent's log names the place")
}
