//! The release that visitors meet: which instance fills which place, what happens when one ends, and what
//! the route table is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use autostack_base::tasks::Backoff;
use autostack_domain::{
    Artifact, Exit, Failure, FailureKind, InstanceId, LineKind, ReleaseNumber,
    route::{AppRoute, Target},
};
use autostack_proxy::Retired;
use autostack_runtime::Backend;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    deployer::{Candidate, Parts, Ready},
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
    places: BTreeMap<Slot, Place>,
    /// Ends the watchers and restarts of this release once another one has taken its place, or the agent stops.
    replaced: CancellationToken,
}

struct Place {
    backoff: Backoff,
    /// `None` while it is being started again.
    instance: Option<Ready>,
    /// Whether it is told already that the container engine is away.
    waits_for_engine: bool,
}

impl Place {
    fn new(instance: Option<Ready>) -> Self {
        let backoff = Backoff::new(RESTART_PAUSE_FIRST, RESTART_PAUSE_MAX, RESTART_PAUSE_RESET);
        Self { backoff, instance, waits_for_engine: false }
    }
}

/// What a place's tasks need.
#[derive(Clone)]
pub(crate) struct Supervision {
    pub(crate) parts: Arc<Parts>,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Live {
    /// A candidate becomes live: its instances are watched from now on.
    pub(crate) fn from_candidate(candidate: Candidate, supervision: &Supervision) -> Self {
        let kept = candidate.ready.into_iter().map(|(slot, ready)| (slot, Some(ready))).collect();
        Self::new(candidate.launch, kept, supervision)
    }

    /// Takes over a release with the instances that fill its places; the others are started.
    pub(crate) fn new(
        launch: Arc<Launchable>,
        places: BTreeMap<Slot, Option<Ready>>,
        supervision: &Supervision,
    ) -> Self {
        let places = places.into_iter().map(|(slot, instance)| (slot, Place::new(instance))).collect();
        let replaced = supervision.parts.tasks.shutdown_token().child_token();
        let live = Self { launch, places, replaced };
        for (slot, place) in &live.places {
            match &place.instance {
                Some(ready) => live.watch(slot, &ready.id, supervision),
                None => live.restart(slot, None, Duration::ZERO, supervision),
            }
        }
        live
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
        let app = self.launch.release.app.clone();
        let hosts = vec![parts.host(&app)];
        parts.proxy.publish(AppRoute { app, hosts, target: self.target() })
    }

    fn target(&self) -> Target {
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
        pause
    }

    fn watch(&self, slot: &Slot, id: &InstanceId, supervision: &Supervision) {
        let (slot, id, replaced) = (slot.clone(), id.clone(), self.replaced.clone());
        let Supervision { parts, events } = supervision.clone();
        let release = self.release();
        supervision.parts.tasks.spawn("instance watch", async move {
            let exit = tokio::select! {
                biased;
                () = replaced.cancelled() => return,
                exit = parts.runtime.wait(&id) => exit.unwrap_or(Exit::Unknown),
            };
            // The owner task is gone only when the app is destroyed or the agent stops.
            let _owner_gone = events.send(Event::InstanceEnded { release, slot, id, exit }).await;
        });
    }

    /// Removes what is left of an ended instance, waits, and fills its place again.
    fn restart(&self, slot: &Slot, ended: Option<InstanceId>, pause: Duration, supervision: &Supervision) {
        let (slot, launch, replaced) = (slot.clone(), Arc::clone(&self.launch), self.replaced.clone());
        let Supervision { parts, events } = supervision.clone();
        supervision.parts.tasks.spawn("instance restart", async move {
            if let Some(id) = ended {
                stop_all(&parts, &[id]).await;
            }
            tokio::select! {
                biased;
                () = replaced.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let release = launch.release.number;
            let Some(outcome) = fill(&parts, &launch, &slot, &replaced).await else { return };
            let told = events.send(Event::Restarted { release, slot, outcome }).await;
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

/// Starts an instance and waits until it is ready; leaves none behind that is not. `None` when the release was
/// replaced meanwhile.
async fn fill(
    parts: &Parts,
    launch: &Launchable,
    slot: &Slot,
    replaced: &CancellationToken,
) -> Option<Result<Ready, Failure>> {
    let app = &launch.release.app;
    let spec = launch.instance(slot);
    let started = match launch::start(parts.runtime.as_ref(), &spec).await {
        Ok(started) => Started { spec, endpoint: started.endpoint, since: Instant::now() },
        Err(failure) => return Some(Err(failure)),
    };
    let host = parts.host(app);
    let wait = Wait {
        checks: launch.release.checks_of(&slot.process),
        is_lambda: launch.is_function(&slot.process),
        host: host.as_str(),
        limit: parts.settings().deploy.start_timeout,
        say: &|text| parts.say(app, LineKind::Detail, text),
    };
    let outcome = tokio::select! {
        biased;
        () = replaced.cancelled() => None,
        outcome = wait_until_ready(parts, &started, &wait) => Some(outcome),
    };
    let id = started.spec.id;
    if !matches!(outcome, Some(Ok(_))) {
        stop_all(parts, std::slice::from_ref(&id)).await;
    }
    let since = started.since;
    outcome.map(|ready| ready.map(|endpoint| Ready { id, endpoint, since }))
}
