//! The owner task of one app: everything that changes what runs for the app passes through here, one at a time.
//!
//! Long work (a deployment, a restart, a drain) runs in tasks of its own, which report back as [`Event`]s. Only what
//! has to be undone before anything else may happen is waited for here. The select is biased: first the end of the agent, then what has happened, then what
//! is asked for, so that a request is decided on what is true now.

mod end;
mod rolls;
mod scripts;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, DeploymentId, Exit, Failure, FailureKind, InstanceId, LineKind, ReleaseNumber, Stage,
    limits,
};
use autostack_proxy::Retired;
use autostack_runtime::Backend;
use autostack_store::Store;
use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{end::Prepared, rolls::Rolls};
use crate::{
    deployer::{Candidate, Job, Parts, Ready},
    ending, furnish,
    launch::Launchable,
    live::{Live, Supervision},
    pipeline,
    plan::Slot,
    roll::Roll,
    stop::{stop_all, stop_in_background},
    workspace::{self, Workspace},
};

/// Pause before a release that git has accepted, and that could not be recorded, is tried again.
const COMMIT_PAUSE: Duration = Duration::from_secs(5);
/// Events that may wait for the owner; their senders wait when it is full.
const EVENTS_MAX: usize = 64;

/// What an owner task is asked.
pub(crate) enum Request {
    Prepare {
        job: Job,
        reply: oneshot::Sender<Result<ReleaseNumber, Failure>>,
    },
    Commit {
        deployment: DeploymentId,
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    Discard {
        deployment: DeploymentId,
        failure: Failure,
        reply: oneshot::Sender<()>,
    },
    Adopt {
        adoption: Adoption,
        reply: oneshot::Sender<()>,
    },
    /// The record of the app has changed.
    Refresh {
        reply: oneshot::Sender<()>,
    },
    /// Other instances of the same release are wanted.
    Roll {
        roll: Roll,
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    Destroy {
        reply: oneshot::Sender<()>,
    },
}

/// What was found for an app when the agent started.
pub(crate) struct Adoption {
    /// The live release, where there is one to take over, and the app as it was recorded then.
    pub(crate) launch: Option<(Arc<Launchable>, Arc<App>)>,
    /// Every place of its formation, with the instance that fills it and answers.
    pub(crate) places: BTreeMap<Slot, Option<Ready>>,
    /// Instances of the app that fill no place.
    pub(crate) strays: Vec<InstanceId>,
}

/// What happened by itself.
pub(crate) enum Event {
    DeploymentEnded {
        work: Arc<Workspace>,
        job: Box<Job>,
        outcome: Result<Candidate, Failure>,
        reply: oneshot::Sender<Result<ReleaseNumber, Failure>>,
    },
    InstanceEnded {
        release: ReleaseNumber,
        slot: Slot,
        id: InstanceId,
        exit: Exit,
    },
    CommitDue {
        deployment: DeploymentId,
    },
    /// A job that may still wait for its turn was cancelled.
    WaitCancelled {
        deployment: DeploymentId,
    },
    Restarted {
        release: ReleaseNumber,
        slot: Slot,
        tenancy: u64,
        outcome: Result<Ready, Failure>,
    },
    /// The instances that a change asked for are ready, or are not.
    Rolled {
        outcome: Result<Vec<(Slot, Ready)>, Failure>,
    },
}

/// The deployment that the app is busy with.
enum Busy {
    Preparing { id: DeploymentId, cancel: CancellationToken, work: Arc<Workspace> },
    Prepared { job: Box<Job>, work: Arc<Workspace>, candidate: Candidate },
}

struct Waiting {
    job: Job,
    reply: oneshot::Sender<Result<ReleaseNumber, Failure>>,
}

pub(crate) struct Owner {
    app: AppName,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Receiver<Event>,
    supervision: Supervision,
    live: Option<Live>,
    busy: Option<Busy>,
    queue: VecDeque<Waiting>,
    last_committed: Option<DeploymentId>,
    rolls: Rolls,
    /// Drains and changes of instances that may still be under way.
    drains: Vec<JoinHandle<()>>,
    /// Ends what runs after a switch.
    scripts: CancellationToken,
}

impl Owner {
    pub(crate) fn new(app: AppName, parts: Arc<Parts>, requests: mpsc::Receiver<Request>) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let scripts = parts.tasks.shutdown_token().child_token();
        let supervision = Supervision { parts, events: sender };
        Self {
            app,
            requests,
            events,
            supervision,
            live: None,
            busy: None,
            queue: VecDeque::new(),
            last_committed: None,
            rolls: Rolls::default(),
            drains: Vec::new(),
            scripts,
        }
    }

    pub(crate) async fn run(mut self) {
        let stopping = self.parts().tasks.shutdown_token();
        let mut settings = self.parts().settings.clone();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {
                    self.rolls.give_up();
                    return self.cancel_deployments(Prepared::Stays).await;
                }
                Some(event) = self.events.recv() => self.on_event(event).await,
                request = self.requests.recv() => match request {
                    Some(request) => if self.on_request(request).await.is_break() {
                        return;
                    },
                    // Nobody can ask any more.
                    None => return,
                },
                // The domain may have changed. The sender outlives every owner.
                Ok(()) = settings.changed() => self.publish(),
            }
        }
    }

    async fn on_request(&mut self, request: Request) -> ControlFlow<()> {
        // Whoever asked may have gone; what was asked for is done all the same.
        match request {
            Request::Prepare { job, reply } => self.enqueue(job, reply).await,
            Request::Commit { deployment, reply } => {
                match self.commit(&deployment).await {
                    Ok(told) => self.answer(told, reply),
                    Err(failure) => drop(reply.send(Err(failure))),
                }
                self.start_next();
            }
            Request::Discard { deployment, failure, reply } => {
                self.discard(&deployment, failure).await;
                let _asker_gone = reply.send(());
                self.start_next();
            }
            Request::Adopt { adoption, reply } => {
                self.adopt(adoption);
                let _asker_gone = reply.send(());
            }
            Request::Refresh { reply } => {
                self.refresh().await;
                let _asker_gone = reply.send(());
            }
            Request::Roll { roll, reply } => self.roll(roll, reply).await,
            Request::Destroy { reply } => {
                self.destroy().await;
                let _asker_gone = reply.send(());
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes over what was found running. An engine that was away is asked late: what this agent has started itself
    /// by then is no stray.
    fn adopt(&mut self, adoption: Adoption) {
        let Adoption { launch, places, mut strays } = adoption;
        match launch.filter(|_| self.live.is_none()) {
            Some((launch, app)) => {
                let found = places.into_iter().filter_map(|(slot, ready)| Some((slot, ready?))).collect();
                let (live, surplus) = Live::new(launch, app, found, &self.supervision);
                strays.extend(surplus);
                self.live = Some(live);
                self.publish();
            }
            // A push was faster than the engine that knew these.
            None => strays.extend(places.into_values().flatten().map(|ready| ready.id)),
        }
        strays.retain(|id| !self.has_started(id));
        stop_in_background(&self.supervision.parts, strays);
    }

    /// Whether an instance is of the live release, or of the deployment under way.
    fn has_started(&self, id: &InstanceId) -> bool {
        let work = match &self.busy {
            Some(Busy::Preparing { work, .. } | Busy::Prepared { work, .. }) => Some(work),
            None => None,
        };
        work.is_some_and(|work| work.has_started(id))
            || self.rolls.has_started(id)
            || self.live.as_ref().is_some_and(|live| live.holds(id))
    }

    async fn on_event(&mut self, event: Event) {
        let publish = match event {
            Event::DeploymentEnded { work, job, outcome, reply } => {
                self.deployment_ended(work, job, outcome, reply).await;
                false
            }
            Event::CommitDue { deployment } => {
                if let Err(failure) = self.commit(&deployment).await {
                    tracing::error!(app = %self.app, cause = failure.cause, "an accepted release is still not recorded");
                }
                self.start_next();
                false
            }
            Event::WaitCancelled { deployment } => {
                self.leave_queue(&deployment).await;
                false
            }
            Event::InstanceEnded { release, slot, id, exit } => match &mut self.live {
                Some(live) if live.release() == release => {
                    live.instance_ended(&slot, &id, exit, &self.supervision)
                }
                _ => false,
            },
            Event::Restarted { release, slot, tenancy, outcome } => match &mut self.live {
                Some(live) if live.release() == release && live.awaits(&slot, tenancy) => {
                    live.restarted(&slot, outcome, &self.supervision)
                }
                _ => {
                    self.stop_late(outcome);
                    false
                }
            },
            Event::Rolled { outcome } => {
                self.rolled(outcome).await;
                false
            }
        };
        if publish {
            self.publish();
        }
    }

    /// Deployments of one app wait for one another.
    async fn enqueue(&mut self, job: Job, reply: oneshot::Sender<Result<ReleaseNumber, Failure>>) {
        if self.queue.len() >= limits::DEPLOYMENT_QUEUE_PER_APP_MAX {
            let cause = format!("{} deployments of {} wait already", self.queue.len(), self.app);
            let failure = Failure::new(Stage::Source, FailureKind::OverLimit, cause)
                .hint("push again when they have ended");
            ending::end(&job, &Workspace::new(&job, self.parts()), self.parts(), &failure).await;
            let _asker_gone = reply.send(Err(failure));
            return;
        }
        if self.busy.is_some() {
            job.log.step("Waiting for the deployment before this one to end");
            self.watch_queued(&job);
        }
        self.queue.push_back(Waiting { job, reply });
        self.start_next();
    }

    /// Whoever gives up waiting gives up the place too.
    fn watch_queued(&self, job: &Job) {
        let (deployment, cancel, events) =
            (job.id.clone(), job.cancel.clone(), self.supervision.events.clone());
        let stopping = self.parts().tasks.shutdown_token();
        self.parts().tasks.spawn("queue watch", async move {
            // The token is cancelled at the latest when the push is settled.
            tokio::select! {
                () = stopping.cancelled() => {}
                () = cancel.cancelled() => {
                    let _owner_gone = events.send(Event::WaitCancelled { deployment }).await;
                }
            }
        });
    }

    async fn leave_queue(&mut self, deployment: &DeploymentId) {
        let Some(at) = self.queue.iter().position(|waiting| waiting.job.id == *deployment) else { return };
        let Some(Waiting { job, reply }) = self.queue.remove(at) else { return };
        let failure = ending::cancelled(Stage::Source);
        ending::end(&job, &Workspace::new(&job, self.parts()), self.parts(), &failure).await;
        let _asker_gone = reply.send(Err(failure));
    }

    fn start_next(&mut self) {
        if self.busy.is_some() {
            return;
        }
        let Some(Waiting { job, reply }) = self.queue.pop_front() else { return };
        let work = Arc::new(Workspace::new(&job, self.parts()));
        let (id, cancel) = (job.id.clone(), job.cancel.clone());
        self.busy = Some(Busy::Preparing { id, cancel, work: Arc::clone(&work) });
        let Supervision { parts, events } = self.supervision.clone();
        self.parts().tasks.spawn("deployment", async move {
            let outcome = AssertUnwindSafe(pipeline::run(&job, &work, &parts)).catch_unwind().await;
            let outcome = match outcome {
                Ok(outcome) => outcome,
                // The panic hook has reported it; the app must not stay busy for ever.
                Err(_panic) => Err(ending::panicked(&job, &work, &parts).await),
            };
            let ended = Event::DeploymentEnded { work, job: Box::new(job), outcome, reply };
            // The owner waits for this event before it ends.
            let _owner_gone = events.send(ended).await;
        });
    }

    async fn deployment_ended(
        &mut self,
        work: Arc<Workspace>,
        job: Box<Job>,
        outcome: Result<Candidate, Failure>,
        reply: oneshot::Sender<Result<ReleaseNumber, Failure>>,
    ) {
        match outcome {
            Ok(candidate) => {
                let number = candidate.launch.release.number;
                let trouble = match job.cancel.is_cancelled() {
                    true => Some(ending::cancelled(Stage::Switch)),
                    false => self.ended_meanwhile(&candidate).await,
                };
                let id = job.id.clone();
                self.busy = Some(Busy::Prepared { job, work, candidate });
                if let Some(failure) = trouble {
                    self.discard(&id, failure.clone()).await;
                    let _asker_gone = reply.send(Err(failure));
                } else if reply.send(Ok(number)).is_err() {
                    self.discard(&id, ending::cancelled(Stage::Switch)).await;
                }
            }
            Err(failure) => {
                self.busy = None;
                let _asker_gone = reply.send(Err(failure));
            }
        }
        self.start_next();
    }

    /// An instance may end while the others still get ready.
    async fn ended_meanwhile(&self, candidate: &Candidate) -> Option<Failure> {
        // A runtime that cannot be asked leaves it to the watchers after the switch.
        let observed = self.parts().runtime.list().await.ok()?;
        candidate.ready.iter().find_map(|(slot, ready)| {
            let found = observed.iter().find(|instance| instance.spec.id == ready.id)?;
            let exit = found.state.exit()?;
            let cause = format!("{slot} {exit} while the other instances still got ready");
            let failure = Failure::new(Stage::Health, FailureKind::InstanceExited, cause);
            Some(failure.hint("look at the app's log (logs APP), correct it, then push again"))
        })
    }

    /// Answers once all is told of a release that is live.
    fn answer(&self, told: CancellationToken, reply: oneshot::Sender<Result<(), Failure>>) {
        self.parts().tasks.spawn("switch told", async move {
            told.cancelled().await;
            let _asker_gone = reply.send(Ok(()));
        });
    }

    /// The switch: recorded, then the route table is replaced, then the old release drains. The token is cancelled once
    /// what the app has done after it has ended, and the build log with it.
    async fn commit(&mut self, deployment: &DeploymentId) -> Result<CancellationToken, Failure> {
        let Some((job, work, candidate)) = self.take_prepared(deployment) else {
            if self.last_committed.as_ref() == Some(deployment) {
                let told = CancellationToken::new();
                told.cancel();
                return Ok(told);
            }
            let cause = "there is no prepared release of this deployment";
            return Err(Failure::new(Stage::Switch, FailureKind::Internal, cause).hint("push again"));
        };
        work.enter(Stage::Switch);
        let number = candidate.launch.release.number;
        let config_since = job.goes_back().then(|| candidate.config_since.clone());
        let source = job.source();
        let recorded = self.parts().record_commit(&self.app, number, &job.id, &source, config_since).await;
        if let Err(error) = recorded {
            let failure = ending::store_failure(Stage::Switch, &error).hint(ending::not_recorded(&job));
            // Git has moved the ref: the release is still the next one to go live.
            self.busy = Some(Busy::Prepared { job, work, candidate });
            self.commit_later(deployment);
            return Err(failure);
        }
        self.last_committed = Some(job.id.clone());
        self.parts().timetable.notify_one();
        // It may have been scaled since its instances were chosen.
        let app = match self.record().await {
            Ok(Some(app)) => Arc::new(app),
            Ok(None) | Err(_) => candidate.app,
        };
        let ready = candidate.ready.into_iter().collect();
        let brought: Vec<_> = candidate.launch.release.brings.names().map(str::to_owned).collect();
        if !brought.is_empty() {
            ending::record(&job, self.parts(), "config:set", &format!("set {}", brought.join(", ")));
            job.log.detail(format!("Config set: {}", brought.join(", ")));
        }
        let launch = Arc::clone(&candidate.launch);
        let (live, mut old) = Live::new(candidate.launch, app, ready, &self.supervision);
        let retired = live.publish(self.parts());
        old.extend(self.live.replace(live).map(Live::replace).unwrap_or_default());
        self.rolls.interrupt();
        job.log.result("Application deployed:");
        job.log.detail(self.parts().url(&self.app));
        ending::tell_live(&job, &work, self.parts(), &format!("{number} ({source})"));
        self.drain(retired, old, job.id.clone(), work);
        Ok(self.run_scripts(candidate.scripts, launch, job))
    }

    fn commit_later(&self, deployment: &DeploymentId) {
        let (deployment, events) = (deployment.clone(), self.supervision.events.clone());
        self.parts().tasks.spawn("commit again", async move {
            tokio::time::sleep(COMMIT_PAUSE).await;
            let _owner_gone = events.send(Event::CommitDue { deployment }).await;
        });
    }

    /// Lets the old release finish what it was given, then ends it.
    fn drain(&mut self, retired: Retired, old: Vec<InstanceId>, id: DeploymentId, work: Arc<Workspace>) {
        let app = self.app.clone();
        let parts = Arc::clone(&self.supervision.parts);
        let drain = self.parts().tasks.spawn("drain", async move {
            work.enter(Stage::Drain);
            let set = furnish::settings_of(&parts, &app).await.checks.wait_to_retire();
            let left = retired.drained(set.unwrap_or(parts.settings().deploy.drain_timeout)).await;
            if left > 0 {
                let text = format!("{left} requests to the old release were not finished within the drain timeout");
                parts.say(&app, LineKind::Trouble, text);
            }
            stop_all(&parts, &old).await;
            workspace::prune(&parts, &app).await;
            let (deployment, stages) = (id.clone(), work.stages());
            let recorded = parts.store.call(move |store| store.update_deployment(&id, |found| found.stages = stages)).await;
            if let Err(error) = recorded {
                tracing::warn!(%deployment, %error, "the times of a deployment's stages could not be recorded");
            }
        });
        self.remember(drain);
    }

    /// A destruction waits for it.
    fn remember(&mut self, drain: JoinHandle<()>) {
        self.drains.retain(|drain| !drain.is_finished());
        self.drains.push(drain);
    }

    async fn discard(&mut self, deployment: &DeploymentId, failure: Failure) {
        let Some((job, work, candidate)) = self.take_prepared(deployment) else { return };
        let failure = ending::told(&job, failure);
        let (app, id, number) = (self.app.clone(), job.id.clone(), candidate.launch.release.number);
        let recorded = failure.clone();
        let write = move |store: &Store| {
            store.discard_release(&app, number, &id, &recorded, ending::final_state(&recorded), clock::now())
        };
        work.undo(self.parts(), &failure).await;
        if let Err(error) = self.parts().store.call(write).await {
            // It stays prepared in the record: the next start sees that git has not accepted it, and discards it then.
            tracing::error!(deployment = %job.id, %error, "a discarded release could not be recorded");
        }
        ending::tell_end(&job, &work, self.parts(), &failure);
    }

    fn take_prepared(&mut self, deployment: &DeploymentId) -> Option<(Box<Job>, Arc<Workspace>, Candidate)> {
        match self.busy.take() {
            Some(Busy::Prepared { job, work, candidate }) if job.id == *deployment => {
                Some((job, work, candidate))
            }
            other => {
                self.busy = other;
                None
            }
        }
    }

    /// A restart of a replaced release came too late.
    fn stop_late(&self, outcome: Result<Ready, Failure>) {
        if let Ok(ready) = outcome {
            stop_in_background(&self.supervision.parts, vec![ready.id]);
        }
    }

    /// Publishes the route again. The endpoints that leave the table here have ended, so nothing waits for them.
    fn publish(&self) {
        if let Some(live) = &self.live {
            drop(live.publish(self.parts()));
        }
    }

    fn parts(&self) -> &Parts {
        &self.supervision.parts
    }
}
