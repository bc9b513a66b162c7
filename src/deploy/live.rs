//! The release that visitors meet: which instance fills which place, what happens when one ends, and what
//! the route table is told.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use autostack_base::tasks::Backoff;
use autostack_domain::{
    App, Artifact, Exit, Failure, FailureKind, InstanceId, LineKind, ReleaseNumber, route::Target,
};
use autostack_proxy::Retired;
use autostack_runtime::Backend;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    beside::{self, Opening},
    deployer::{Parts, Ready},
    furnish::{Asked, asked, furnish},
    launch::{self, Launchable},
    owner::Event,
    plan::Slot,
    probe::Started,
    ready::{Wait, wait_until_ready},
    stop::{ENGINE_PAUSE, stop_all},
};

/// Ends in a row after which a place is said to be in a crash loop.
const CRASH_LOOP_ENDS: u32 = 5;
/// Pause before the first restart; it doubles with each end in a row.
const RESTART_PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause before a restart.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(300);
/// An instance that ran this long ended for a new reason: the pause starts over.
const RESTART_PAUSE_RESET: Duration = Duration::from_secs(60);

/// The release that is live, and its places.
pub(crate) struct Live {
    launch: Arc<Launchable>,
    /// The record of the app as it was last read: its formation, what is set for it.
    app: Arc<App>,
    places: BTreeMap<Slot, Place>,
    /// How many tenancies there have been.
    tenancies: u64,
    /// Ends the watchers and restarts of this release once another one has taken its place, or the agent stops.
    replaced: CancellationToken,
}

/// A place of the formation, from when it was wanted until it is given up.
struct Place {
    backoff: Backoff,
    /// The round of restarts that its instances are in.
    round: u32,
    /// Tells this use of the place from an earlier or later one.
    tenancy: u64,
    /// Ends its watcher and its restart once it is given up.
    given_up: CancellationToken,
    /// `None` while it is being started again.
    instance: Option<Ready>,
    /// Whether it is told already that the container engine is away.
    waits_for_engine: bool,
}

/// What a place's tasks need.
#[derive(Clone)]
pub(crate) struct Supervision {
    pub(crate) parts: Arc<Parts>,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Live {
    /// A release with the instances that it has; places without one are filled. Gives back the instances that have
    /// no place.
    pub(crate) fn new(
        launch: Arc<Launchable>,
        app: Arc<App>,
        found: BTreeMap<Slot, Ready>,
        supervision: &Supervision,
    ) -> (Self, Vec<InstanceId>) {
        let replaced = supervision.parts.tasks.shutdown_token().child_token();
        let mut live =
            Self { launch, app: Arc::clone(&app), places: BTreeMap::new(), tenancies: 0, replaced };
        let surplus = live.reshape(app, found, supervision);
        (live, surplus.into_iter().map(|(_, id)| id).collect())
    }

    /// Brings the places in line with the record of the app. Places that are not wanted any more are given up. Those
    /// that are new, and those with a fresh instance, get that, or are filled. Gives back the instances that have no
    /// place any more: they leave the route with the next [`Live::publish`], and are to be ended after it.
    pub(crate) fn reshape(
        &mut self,
        app: Arc<App>,
        mut fresh: BTreeMap<Slot, Ready>,
        supervision: &Supervision,
    ) -> Vec<(Slot, InstanceId)> {
        let wanted: Vec<Slot> = Slot::all(&app.wanted(&self.launch.release)).collect();
        self.app = app;
        let unwanted: Vec<Slot> = self.places.keys().filter(|slot| !wanted.contains(slot)).cloned().collect();
        let mut given_up: Vec<_> = unwanted.into_iter().filter_map(|slot| self.give_up(&slot)).collect();
        for slot in wanted {
            let instance = fresh.remove(&slot);
            if instance.is_some() || !self.places.contains_key(&slot) {
                given_up.extend(self.give_up(&slot));
                self.take_place(&slot, instance, supervision);
            }
        }
        given_up.extend(fresh.into_iter().map(|(slot, ready)| (slot, ready.id)));
        given_up
    }

    fn give_up(&mut self, slot: &Slot) -> Option<(Slot, InstanceId)> {
        let place = self.places.remove(slot)?;
        place.given_up.cancel();
        Some((slot.clone(), place.instance?.id))
    }

    fn take_place(&mut self, slot: &Slot, instance: Option<Ready>, supervision: &Supervision) {
        self.tenancies += 1;
        let found = instance.as_ref().map(|ready| ready.id.clone());
        let place = Place {
            backoff: Backoff::new(RESTART_PAUSE_FIRST, RESTART_PAUSE_MAX, RESTART_PAUSE_RESET),
            round: self.app.round(&slot.process),
            tenancy: self.tenancies,
            given_up: self.replaced.child_token(),
            instance,
            waits_for_engine: false,
        };
        self.places.insert(slot.clone(), place);
        match found {
            Some(id) => self.watch(slot, &id, supervision),
            None => self.restart(slot, None, Duration::ZERO, supervision),
        }
    }

    /// The places that need an instance before the app can be as this record says: those that are new, and those in
    /// an earlier round.
    pub(crate) fn openings(&self, next: &App) -> Vec<Opening> {
        let wanted = next.wanted(&self.launch.release);
        let all = Slot::all(&wanted).map(|slot| {
            let round = next.round(&slot.process);
            (slot, round)
        });
        all.filter(|(slot, round)| self.places.get(slot).is_none_or(|place| place.round != *round)).collect()
    }

    /// What it takes to start its processes.
    pub(crate) fn launch(&self) -> Arc<Launchable> {
        Arc::clone(&self.launch)
    }

    /// Whether a place is still in the use that an instance was started for, and has none.
    pub(crate) fn awaits(&self, slot: &Slot, tenancy: u64) -> bool {
        self.places.get(slot).is_some_and(|place| place.tenancy == tenancy && place.instance.is_none())
    }

    /// The release's number.
    pub(crate) fn release(&self) -> ReleaseNumber {
        self.launch.release.number
    }

    /// Whether an instance fills one of its places.
    pub(crate) fn holds(&self, id: &InstanceId) -> bool {
        self.places.values().any(|place| place.instance.as_ref().is_some_and(|ready| ready.id == *id))
    }

    /// Puts the route of the app into the table; what left the table is given back to be drained.
    pub(crate) fn publish(&self, parts: &Parts) -> Retired {
        parts.publish(&self.launch.release.app, self.target(), self.dynos())
    }

    /// What the access log calls the endpoints.
    fn dynos(&self) -> BTreeMap<SocketAddr, String> {
        let named =
            |(slot, place): (&Slot, &Place)| Some((place.instance.as_ref()?.endpoint, slot.to_string()));
        self.places.iter().filter(|(slot, _)| slot.process.is_web()).filter_map(named).collect()
    }

    fn target(&self) -> Target {
        if self.app.is_stopped {
            return Target::Endpoints(Vec::new());
        }
        let artifact = &self.launch.release.artifact;
        if let Some(site) = artifact.static_site() {
            return Target::Static {
                root: self.launch.dir.join(&site.root),
                not_found: site.not_found.clone(),
                single_page: site.single_page,
            };
        }
        let web = self.places.iter().filter(|(slot, _)| slot.process.is_web());
        let endpoints = web.filter_map(|(_, place)| Some(place.instance.as_ref()?.endpoint)).collect();
        match artifact {
            Artifact::Image { is_lambda: true, .. } => Target::Lambda(endpoints),
            Artifact::Image { .. } | Artifact::Directory { .. } => Target::Endpoints(endpoints),
        }
    }

    /// An instance ended. Whether the route has to be published again.
    pub(crate) fn instance_ended(
        &mut self,
        slot: &Slot,
        id: &InstanceId,
        exit: Exit,
        supervision: &Supervision,
    ) -> bool {
        let Some(place) = self.places.get_mut(slot) else { return false };
        let Some(ended) = place.instance.take_if(|ready| ready.id == *id) else { return false };
        let why = exit.to_string();
        let pause = self.after_end(slot, ended.since.elapsed(), &why, supervision);
        self.restart(slot, Some(ended.id), pause, supervision);
        slot.process.is_web()
    }

    /// A restart ended. Whether the route has to be published again.
    pub(crate) fn restarted(
        &mut self,
        slot: &Slot,
        outcome: Result<Ready, Failure>,
        supervision: &Supervision,
    ) -> bool {
        match outcome {
            Ok(ready) => {
                supervision.parts.say(&self.launch.release.app, LineKind::Detail, format!("{slot} is up"));
                self.watch(slot, &ready.id, supervision);
                if let Some(place) = self.places.get_mut(slot) {
                    place.instance = Some(ready);
                    place.waits_for_engine = false;
                }
                slot.process.is_web()
            }
            Err(failure) if failure.kind == FailureKind::EngineUnavailable => {
                self.wait_for_engine(slot, &failure, supervision);
                false
            }
            Err(failure) => {
                let pause = self.after_end(slot, Duration::ZERO, &failure.cause, supervision);
                self.restart(slot, None, pause, supervision);
                false
            }
        }
    }

    /// An engine that is away says nothing about the app: it is asked again and again, and the app is told once.
    fn wait_for_engine(&mut self, slot: &Slot, failure: &Failure, supervision: &Supervision) {
        let Some(place) = self.places.get_mut(slot) else { return };
        if !std::mem::replace(&mut place.waits_for_engine, true) {
            let text = format!("{slot} waits for the container engine: {}", failure.cause);
            tracing::warn!(app = %self.launch.release.app, "{text}");
            supervision.parts.say(&self.launch.release.app, LineKind::Trouble, text);
        }
        self.restart(slot, None, ENGINE_PAUSE, supervision);
    }

    /// Counts an end, says what happens next, and how long the pause is.
    fn after_end(&mut self, slot: &Slot, uptime: Duration, why: &str, supervision: &Supervision) -> Duration {
        let Some(place) = self.places.get_mut(slot) else { return RESTART_PAUSE_MAX };
        place.waits_for_engine = false;
        let pause = place.backoff.after_failure(uptime);
        let ends = place.backoff.failures();
        let what = why.strip_prefix(&slot.to_string()).map_or(why, str::trim_start);
        let text = if ends >= CRASH_LOOP_ENDS {
            format!(
                "{slot} is in a crash loop: it {what} ({ends} ends in a row); next try in {} s",
                pause.as_secs()
            )
        } else {
            format!("{slot} {what}; it is started again in {} ms", pause.as_millis())
        };
        tracing::warn!(app = %self.launch.release.app, release = %self.release(), "{text}");
        supervision.parts.say(&self.launch.release.app, LineKind::Trouble, text);
        supervision.parts.metrics.restart(&self.launch.release.app);
        pause
    }

    fn watch(&self, slot: &Slot, id: &InstanceId, supervision: &Supervision) {
        let Some(place) = self.places.get(slot) else { return };
        let (slot, id, given_up) = (slot.clone(), id.clone(), place.given_up.clone());
        let Supervision { parts, events } = supervision.clone();
        let release = self.release();
        supervision.parts.tasks.spawn("instance watch", async move {
            let exit = tokio::select! {
                biased;
                () = given_up.cancelled() => return,
                exit = parts.runtime.wait(&id) => exit.unwrap_or(Exit::Unknown),
            };
            // The owner task is gone only when the app is destroyed or the agent stops.
            let _owner_gone = events.send(Event::InstanceEnded { release, slot, id, exit }).await;
        });
    }

    /// Removes what is left of an ended instance, waits, and fills its place again.
    fn restart(&self, slot: &Slot, ended: Option<InstanceId>, pause: Duration, supervision: &Supervision) {
        let Some(place) = self.places.get(slot) else { return };
        let (round, tenancy, given_up) = (place.round, place.tenancy, place.given_up.clone());
        let (slot, launch) = (slot.clone(), Arc::clone(&self.launch));
        let Supervision { parts, events } = supervision.clone();
        supervision.parts.tasks.spawn("instance restart", async move {
            if let Some(id) = ended {
                stop_all(&parts, &[id]).await;
            }
            tokio::select! {
                biased;
                () = given_up.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let release = launch.release.number;
            let Some(outcome) = fill(&parts, &launch, (&slot, round), &given_up).await else { return };
            let told = events.send(Event::Restarted { release, slot, tenancy, outcome }).await;
            if let Err(mpsc::error::SendError(Event::Restarted { outcome: Ok(ready), .. })) = told {
                // The app was destroyed meanwhile.
                stop_all(&parts, &[ready.id]).await;
            }
        });
    }

    /// Another release has taken the place: no more restarts. Gives back what still runs.
    pub(crate) fn replace(self) -> Vec<InstanceId> {
        self.replaced.cancel();
        self.places.into_values().filter_map(|place| Some(place.instance?.id)).collect()
    }
}

/// Starts an instance and waits until it is ready; leaves none behind that is not. `None` when the place was
/// given up meanwhile.
async fn fill(
    parts: &Parts,
    launch: &Launchable,
    (slot, round): (&Slot, u32),
    given_up: &CancellationToken,
) -> Option<Result<Ready, Failure>> {
    let app = &launch.release.app;
    let spec = furnish(parts, launch.instance(slot, round)).await;
    let started = match launch::start(parts.runtime.as_ref(), &spec).await {
        Ok(started) => Started { spec, endpoint: started.endpoint, since: Instant::now() },
        Err(failure) => return Some(Err(failure)),
    };
    let host = parts.host(app);
    let Asked { checks, is_skipped } = asked(parts, launch, &slot.process).await;
    let wait = Wait {
        checks: &checks,
        is_skipped,
        is_lambda: launch.is_function(&slot.process),
        host: host.as_str(),
        limit: parts.settings().deploy.start_timeout,
        uptime: beside::uptime(false),
        say: &|text| parts.say(app, LineKind::Detail, text),
    };
    let outcome = tokio::select! {
        biased;
        () = given_up.cancelled() => None,
        outcome = wait_until_ready(parts, &started, &wait) => Some(outcome),
    };
    let id = started.spec.id;
    if !matches!(outcome, Some(Ok(_))) {
        stop_all(parts, std::slice::from_ref(&id)).await;
    }
    let since = started.since;
    outcome.map(|ready| ready.map(|endpoint| Ready { id, endpoint, since }))
}
