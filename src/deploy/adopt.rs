//! Taking over what an earlier agent left running: at the start, and of an engine that was away then once it answers.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{App, AppName, Artifact, InstanceId, LineKind, Program, route::Target};
use autostack_runtime::{InstanceState, Observed, RuntimeError};
use autostack_store::{Store, StoreError};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    deployer::{Deployer, Parts, Ready},
    launch::Launchable,
    owner::{Adoption, Request},
    plan::{Plan, Seen, Slot, Wanted, plan},
    probe::Started,
    ready,
    recover::Recovery,
    stop::{ENGINE_PAUSE, stop_in_background},
};

/// How long an adopted instance may take to accept a connection before its place is filled anew.
const ADOPTION_LIMIT: Duration = Duration::from_secs(5);

/// A live release with what it takes to start it, and its app.
type Loaded = (Arc<Launchable>, Arc<App>);

impl Deployer {
    /// Takes over every app, but for those whose instances only an engine knows that cannot be asked: they wait for
    /// it. What is wrong with one app is logged and does not keep the others from running.
    pub(crate) async fn adopt_all(
        &self,
        apps: &[App],
        observed: &[Observed],
        unreachable: Option<RuntimeError>,
        done: &mut Recovery,
    ) {
        let mut waiting = HashSet::new();
        for app in apps {
            match load_live(&self.parts, app).await {
                Ok(launch) if unreachable.is_some() && runs_in_engine(launch.as_ref()) => {
                    waiting.insert(app.name.clone());
                }
                Ok(launch) => self.adopt(&app.name, launch, observed, done).await,
                Err(error) => not_taken_over(&app.name, &error),
            }
        }
        stop_strangers(&self.parts, apps, observed, done);
        if let Some(error) = unreachable {
            done.waiting = waiting.len();
            self.adopt_later(waiting, &error);
        }
    }

    /// Until the engine answers, visitors of the apps that wait for it are told that no instance is there.
    fn adopt_later(&self, waiting: HashSet<AppName>, why: &RuntimeError) {
        let error = autostack_base::error_chain(why);
        tracing::error!(
            error,
            apps = waiting.len(),
            "the container engine does not answer; its apps wait for it"
        );
        for app in &waiting {
            drop(self.parts.publish(app, Target::Endpoints(Vec::new()), BTreeMap::new()));
            let text = format!("The app waits for the container engine: {error}");
            self.parts.say(app, LineKind::Trouble, text);
        }
        let (deployer, stopping) = (self.clone(), self.parts.tasks.shutdown_token());
        self.parts.tasks.spawn("adoption after the engine", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = deployer.adopt_when_reachable(&waiting) => {}
            }
        });
    }

    async fn adopt_when_reachable(&self, waiting: &HashSet<AppName>) {
        let parts = &self.parts;
        let (observed, apps) = loop {
            parts.runtime.engine_reachable().await;
            match parts.runtime.listing().await {
                Ok(listing) if listing.unreachable.is_none() => match parts.store.call(Store::apps).await {
                    Ok(apps) => break (listing.observed, apps),
                    Err(error) => tracing::error!(%error, "what should run cannot be read; tried again"),
                },
                Ok(_still_away) => {}
                Err(error) => {
                    let error = autostack_base::error_chain(&error);
                    tracing::error!(error, "what runs cannot be listed; tried again");
                }
            }
            sleep(ENGINE_PAUSE).await;
        };
        let mut done = Recovery::default();
        // Of the other apps the processes were looked at already.
        let in_engine: Vec<Observed> = observed
            .iter()
            .filter(|one| matches!(one.spec.program, Program::Image { .. }))
            .cloned()
            .collect();
        for app in &apps {
            if !waiting.contains(&app.name) {
                self.adopt(&app.name, None, &in_engine, &mut done).await;
                continue;
            }
            match load_live(parts, app).await {
                Ok(launch) => self.adopt(&app.name, launch, &observed, &mut done).await,
                Err(error) => not_taken_over(&app.name, &error),
            }
            self.end_if_destroyed(&app.name).await;
        }
        stop_strangers(parts, &apps, &in_engine, &mut done);
        tracing::info!(recovery = ?done, "the container engine answers; its apps are taken over");
    }

    /// The doors are open meanwhile: an app may be destroyed while it is taken over.
    async fn end_if_destroyed(&self, app: &AppName) {
        let name = app.clone();
        if let Ok(None) = self.parts.store.call(move |store: &Store| store.app(&name)).await {
            // Its owner says what is wrong.
            let _ended = self.destroy(app).await;
        }
    }

    /// Hands an app what was found of it: its release with the instances that answer, and the strays.
    async fn adopt(&self, app: &AppName, launch: Option<Loaded>, observed: &[Observed], done: &mut Recovery) {
        let is_mine = |instance: &&Observed| instance.spec.app == *app && !instance.spec.process.is_run();
        let mine: Vec<&Observed> = observed.iter().filter(is_mine).collect();
        let wanted = launch.as_ref().map(|(launch, app)| Wanted::of(app, &launch.release));
        // First: of two in one place the one that answers stays.
        let (seen, answering) = look_at(&mine, wanted.as_ref()).await;
        let plan = plan(wanted.as_ref(), &seen);
        if launch.is_none() && plan.stop.is_empty() {
            return;
        }
        let places = places(&plan, &answering);
        done.adopted += plan.keep.len();
        done.started += plan.start.len();
        done.stopped += plan.stop.len();
        let adoption = Adoption { launch, places, strays: plan.stop };
        if let Err(failure) = self.ask(app, |reply| Request::Adopt { adoption, reply }).await {
            tracing::error!(%app, cause = failure.cause, "the app could not be adopted");
        }
    }
}

fn not_taken_over(app: &AppName, error: &StoreError) {
    tracing::error!(%app, %error, "an app could not be taken over; it does not run");
}

/// What there is of an app, the oldest first, and where those answer that may stay.
async fn look_at(mine: &[&Observed], wanted: Option<&Wanted>) -> (Vec<Seen>, BTreeMap<InstanceId, Ready>) {
    let mut mine = mine.to_vec();
    mine.sort_by_key(|instance| instance.started_at.0);
    let looks = mine.into_iter().map(|instance| async {
        let mut seen = seen(instance);
        let may_stay = seen.running && wanted.is_some_and(|wanted| wanted.includes(&seen));
        let ready = if may_stay { answers(instance).await } else { None };
        seen.running = ready.is_some();
        (seen, ready)
    });
    let looked = join_all(looks).await;
    let answering =
        looked.iter().filter_map(|(seen, ready)| Some((seen.id.clone(), ready.clone()?))).collect();
    (looked.into_iter().map(|(seen, _)| seen).collect(), answering)
}

/// Every place of the plan, with the instance that stays in it.
fn places(plan: &Plan, answering: &BTreeMap<InstanceId, Ready>) -> BTreeMap<Slot, Option<Ready>> {
    let kept = plan.keep.iter().map(|(slot, id)| (slot.clone(), answering.get(id).cloned()));
    kept.chain(plan.start.iter().map(|slot| (slot.clone(), None))).collect()
}

fn seen(instance: &Observed) -> Seen {
    Seen {
        id: instance.spec.id.clone(),
        release: instance.spec.release,
        slot: Slot { process: instance.spec.process.clone(), index: instance.spec.index },
        round: instance.spec.round,
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
pub(crate) async fn load_live(parts: &Parts, app: &App) -> Result<Option<Loaded>, StoreError> {
    let Some(number) = app.current_release else { return Ok(None) };
    let name = app.name.clone();
    let read = move |store: &Store| Ok((store.release(&name, number)?, store.release_config(&name, number)?));
    let (release, config) = parts.store.call(read).await?;
    Ok(release.map(|release| {
        let dir = parts.artifact_dir(&release.app, release.artifact.built_by());
        (Arc::new(Launchable { release, config, dir }), Arc::new(app.clone()))
    }))
}

/// Whether only the engine knows the instances of the release.
fn runs_in_engine(launch: Option<&Loaded>) -> bool {
    launch.is_some_and(|(launch, _)| matches!(launch.release.artifact, Artifact::Image { .. }))
}

/// Ends the instances of apps that are not recorded.
fn stop_strangers(parts: &Arc<Parts>, apps: &[App], observed: &[Observed], done: &mut Recovery) {
    let known: HashSet<_> = apps.iter().map(|app| &app.name).collect();
    let strangers = observed.iter().filter(|instance| !known.contains(&instance.spec.app));
    let strangers: Vec<_> = strangers.map(|instance| instance.spec.id.clone()).collect();
    done.stopped += strangers.len();
    stop_in_background(parts, strangers);
}
