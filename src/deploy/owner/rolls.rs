//! The owner's part in a change of instances: one at a time, beside deployments. A deployment that goes live meanwhile
//! wins: its instances are new anyway, and what was asked of the formation is kept for it.

use std::{collections::BTreeMap, sync::Arc};

use autostack_domain::{App, Failure, FailureKind, InstanceId, Line, LineKind, ReleaseNumber, Stage, limits};
use autostack_proxy::Retired;
use autostack_store::{Store, StoreError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Event, Owner};
use crate::{
    deployer::Ready,
    ending,
    live::Supervision,
    plan::Slot,
    roll::{self, Begun, Change, Roll},
    stop::{stop_all, stop_in_background},
};

pub(super) type Reply = oneshot::Sender<Result<(), Failure>>;

/// The changes that wait, and the one that is under way.
#[derive(Default)]
pub(super) struct Rolls {
    waiting: std::collections::VecDeque<(Roll, Reply)>,
    at_work: Option<AtWork>,
}

struct AtWork {
    roll: Roll,
    reply: Reply,
    /// The release that its instances run.
    release: ReleaseNumber,
    begun: Arc<Begun>,
    cancel: CancellationToken,
}

impl Rolls {
    /// Whether an instance is being started by a change under way.
    pub(super) fn has_started(&self, id: &InstanceId) -> bool {
        self.at_work.as_ref().is_some_and(|at_work| at_work.begun.holds(id))
    }

    /// Gives up the change that is under way: its instances end, nothing was replaced.
    pub(super) fn interrupt(&self) {
        if let Some(at_work) = &self.at_work {
            at_work.cancel.cancel();
        }
    }

    /// Gives up all; whoever asked hears that the app has gone.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
        self.interrupt();
    }
}

impl Owner {
    pub(super) async fn roll(&mut self, roll: Roll, reply: Reply) {
        if self.rolls.waiting.len() >= limits::DEPLOYMENT_QUEUE_PER_APP_MAX {
            let cause = format!("{} changes of {} wait already", self.rolls.waiting.len(), self.app);
            let failure = Failure::new(Stage::Start, FailureKind::OverLimit, cause)
                .hint("try again when they have ended");
            let _asker_gone = reply.send(Err(failure));
            return;
        }
        if roll.change == Change::Stop {
            // Nobody waits for instances to get ready that are to be stopped.
            self.rolls.interrupt();
        }
        self.rolls.waiting.push_back((roll, reply));
        self.next_roll().await;
    }

    /// Begins the change that waits first. One that starts nothing is done at once.
    async fn next_roll(&mut self) {
        while self.rolls.at_work.is_none() {
            let Some((roll, reply)) = self.rolls.waiting.pop_front() else { return };
            let app = match self.record().await {
                Ok(Some(app)) => app,
                Ok(None) => {
                    let _asker_gone = reply.send(Err(destroyed()));
                    continue;
                }
                Err(error) => {
                    let _asker_gone = reply.send(Err(ending::store_failure(Stage::Start, &error)));
                    continue;
                }
            };
            let Some(live) = &self.live else {
                let outcome = self.roll_without_instances(&roll, &app).await;
                let _asker_gone = reply.send(outcome);
                continue;
            };
            let (release, launch) = (live.release(), live.launch());
            let mut next = app;
            roll.change.apply(&mut next, launch.release.processes.keys());
            let openings = live.openings(&next);
            let (begun, cancel) = (Arc::<Begun>::default(), roll.cancel.child_token());
            let at_work = AtWork { roll, reply, release, begun: Arc::clone(&begun), cancel: cancel.clone() };
            if openings.is_empty() {
                self.switch(at_work, Vec::new()).await;
                continue;
            }
            let places: Vec<String> = openings.iter().map(|(slot, _)| slot.to_string()).collect();
            at_work.roll.show(Line::step(format!("Starting {} {release}: {}", self.app, places.join(" "))));
            let screen = at_work.roll.screen.clone();
            self.rolls.at_work = Some(at_work);
            let Supervision { parts, events } = self.supervision.clone();
            let task = self.parts().tasks.spawn("roll", async move {
                let outcome = roll::start_beside(&parts, &launch, openings, &begun, &screen, &cancel).await;
                if let Err(told) = events.send(Event::Rolled { outcome }).await
                    && let Event::Rolled { outcome: Ok(ready) } = told.0
                {
                    // The app was destroyed meanwhile.
                    stop_all(&parts, &ids(ready)).await;
                }
            });
            self.remember(task);
        }
    }

    /// What can be done while no release of the app is held: it has none, or its engine is away.
    async fn roll_without_instances(&self, roll: &Roll, app: &App) -> Result<(), Failure> {
        match &roll.change {
            Change::Scale(_) | Change::Stop => {
                let change = roll.change.clone();
                let name = self.app.clone();
                let write =
                    move |store: &Store| store.update_app(&name, |app| change.apply(app, [])).map(drop);
                let written = self.parts().store.call(write).await;
                written.map_err(|error| ending::store_failure(Stage::Start, &error))
            }
            Change::Restart(_) | Change::Start if app.current_release.is_none() => {
                let cause = format!("{} has not been deployed yet", self.app);
                Err(Failure::new(Stage::Start, FailureKind::BadSource, cause).hint("push to it first"))
            }
            Change::Restart(_) | Change::Start => {
                let cause = format!("{} waits for the container engine, which does not answer", self.app);
                Err(Failure::new(Stage::Start, FailureKind::EngineUnavailable, cause)
                    .hint("it is taken over once the engine is back"))
            }
        }
    }

    /// What was started is ready, or is not.
    pub(super) async fn rolled(&mut self, outcome: Result<Vec<(Slot, Ready)>, Failure>) {
        let Some(at_work) = self.rolls.at_work.take() else {
            self.stop_unused(outcome);
            return;
        };
        let is_current = self.live.as_ref().is_some_and(|live| live.release() == at_work.release);
        match outcome {
            Ok(ready) if is_current => self.switch(at_work, ready).await,
            Err(failure) if is_current || at_work.roll.cancel.is_cancelled() => {
                let _asker_gone = at_work.reply.send(Err(failure));
            }
            overtaken => {
                self.stop_unused(overtaken);
                at_work.roll.show(Line::detail("Another release went live meanwhile; its instances are new"));
                self.switch(at_work, Vec::new()).await;
            }
        }
        self.next_roll().await;
    }

    /// Recorded, then the route is replaced, then what was given up drains and ends.
    async fn switch(&mut self, at_work: AtWork, ready: Vec<(Slot, Ready)>) {
        let AtWork { roll, reply, release, .. } = at_work;
        let Some(live) = &self.live else {
            self.stop_unused(Ok(ready));
            let _asker_gone = reply.send(Err(destroyed()));
            return;
        };
        let is_overtaken = live.release() != release;
        let (name, change, launch) = (self.app.clone(), roll.change.clone(), live.launch());
        let write = move |store: &Store| {
            // Instances of a newer release are newer than any restart that was asked for before it.
            let skip = is_overtaken && matches!(change, Change::Restart(_));
            store.update_app(&name, |app| {
                if !skip {
                    change.apply(app, launch.release.processes.keys());
                }
            })
        };
        let app = match self.parts().store.call(write).await {
            Ok(app) => app,
            Err(error) => {
                self.stop_unused(Ok(ready));
                let _asker_gone = reply.send(Err(ending::store_failure(Stage::Switch, &error)));
                return;
            }
        };
        let (retired, given_up) = self.reshape(app, ready.into_iter().collect());
        self.parts().say(&self.app, LineKind::Result, roll.change.to_string());
        if !roll.change.waits_for_end() {
            let _asker_gone = reply.send(Ok(()));
            return self.end_given_up(retired, given_up, None);
        }
        if !given_up.is_empty() {
            let names: Vec<String> = given_up.iter().map(|(slot, _)| slot.to_string()).collect();
            roll.show(Line::step(format!("Stopping {}", names.join(" "))));
        }
        self.end_given_up(retired, given_up, Some(reply));
    }

    /// The record of the app may have changed.
    pub(super) async fn refresh(&mut self) {
        match self.record().await {
            Ok(Some(app)) => {
                let (retired, given_up) = self.reshape(app, BTreeMap::new());
                self.end_given_up(retired, given_up, None);
            }
            // It is being destroyed.
            Ok(None) => {}
            Err(error) => tracing::error!(app = %self.app, %error, "what should run cannot be read"),
        }
    }

    /// Brings places and route in line with the record.
    fn reshape(&mut self, app: App, fresh: BTreeMap<Slot, Ready>) -> (Retired, Vec<(Slot, InstanceId)>) {
        let Some(live) = &mut self.live else { return (Retired::default(), Vec::new()) };
        let given_up = live.reshape(Arc::new(app), fresh, &self.supervision);
        (live.publish(&self.supervision.parts), given_up)
    }

    /// Lets what was given up finish what it has, then ends it; whoever waits for that is told.
    fn end_given_up(&mut self, retired: Retired, given_up: Vec<(Slot, InstanceId)>, reply: Option<Reply>) {
        if given_up.is_empty() {
            if let Some(reply) = reply {
                let _asker_gone = reply.send(Ok(()));
            }
            return;
        }
        let (web, others): (Vec<_>, Vec<_>) =
            given_up.into_iter().partition(|(slot, _)| slot.process.is_web());
        let ids = |places: Vec<(Slot, InstanceId)>| places.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
        let (web, others) = (ids(web), ids(others));
        let (parts, app) = (Arc::clone(&self.supervision.parts), self.app.clone());
        let drain = self.parts().tasks.spawn("drain of instances", async move {
            let drained_and_ended = async {
                let left = retired.drained(parts.settings().deploy.drain_timeout).await;
                if left > 0 {
                    let text = format!("{left} requests were not finished within the drain timeout");
                    parts.say(&app, LineKind::Trouble, text);
                }
                stop_all(&parts, &web).await;
            };
            tokio::join!(drained_and_ended, stop_all(&parts, &others));
            if let Some(reply) = reply {
                let _asker_gone = reply.send(Ok(()));
            }
        });
        self.remember(drain);
    }

    fn stop_unused(&self, outcome: Result<Vec<(Slot, Ready)>, Failure>) {
        if let Ok(ready) = outcome {
            stop_in_background(&self.supervision.parts, ids(ready));
        }
    }

    /// The app as it is recorded now.
    pub(super) async fn record(&self) -> Result<Option<App>, StoreError> {
        let name = self.app.clone();
        self.parts().store.call(move |store: &Store| store.app(&name)).await
    }
}

fn ids(ready: Vec<(Slot, Ready)>) -> Vec<InstanceId> {
    ready.into_iter().map(|(_, ready)| ready.id).collect()
}

fn destroyed() -> Failure {
    Failure::new(Stage::Start, FailureKind::Cancelled, "the app was destroyed meanwhile")
}
