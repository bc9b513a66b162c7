//! Cron: the tasks of the live releases, run at their times as one-offs, and recorded.
//!
//! A run is recorded before it begins and outlives the agent; the next one goes on waiting for its end. What was due
//! while no agent ran is not made up for. A moment is taken from the timetable once, and the record of a run has the
//! moment in its key: neither a new release nor a restart of the agent runs it twice.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, EnvMap, Exit, LineKind, OneOff, ReleaseNumber, UnixMillis,
    cron::{CronMark, CronOutcome, CronRun, CronTask, CronTaskId, Skipped, Turn},
};
use autostack_store::{Store, StoreError};
use tokio::time::{Instant, sleep};

use crate::{
    deployer::Deployer,
    one_off::{OneOffError, Wanted},
    timetable::{Due, Listed, Timetable},
};

/// How often it is looked at least what is due, who takes too long, and whether somebody has set the clock.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Who has started what a schedule has.
const BY_SCHEDULE: &str = "cron";

/// The tasks that are just being started.
#[derive(Debug, Default)]
pub(crate) struct Starting(Mutex<HashSet<(AppName, CronTaskId)>>);

impl Starting {
    fn all(&self) -> MutexGuard<'_, HashSet<(AppName, CronTaskId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One start at a time of a task; given back when it is dropped.
struct Turnstile {
    starting: Arc<Starting>,
    key: (AppName, CronTaskId),
}

impl Turnstile {
    fn enter(starting: &Arc<Starting>, app: &AppName, task: &CronTaskId) -> Option<Self> {
        let key = (app.clone(), task.clone());
        let is_first = starting.all().insert(key.clone());
        is_first.then(|| Self { starting: Arc::clone(starting), key })
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.starting.all().remove(&self.key);
    }
}

impl Deployer {
    /// Runs what is due, until the agent stops. Called once, after [`Deployer::recover`].
    pub async fn keep_time(self) {
        let stopping = self.parts.tasks.shutdown_token();
        self.settle_lost_runs().await;
        let mut table = Timetable::default();
        let mut looked_at: Option<Instant> = None;
        loop {
            let look_every = LOOK_EVERY.min(self.parts.settings().cron.run_timeout);
            if looked_at.is_none_or(|at| at.elapsed() >= look_every) {
                match self.listed().await {
                    Ok(listed) => table.list(listed, clock::now()),
                    Err(error) => tracing::error!(%error, "the cron tasks cannot be read; those known go on"),
                }
                self.end_overdue().await;
                looked_at = Some(Instant::now());
            }
            for due in table.take_due(clock::now()) {
                let deployer = self.clone();
                self.parts.tasks.spawn("cron run", async move { deployer.run_due(due).await });
            }
            let until =
                table.next().map_or(LOOK_EVERY, |next| Duration::from_millis(next.since(clock::now())));
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.parts.timetable.notified() => looked_at = None,
                () = sleep(until.min(look_every)) => {}
            }
        }
    }

    /// Starts a task now because somebody wants it.
    ///
    /// # Errors
    /// See [`OneOffError`].
    pub async fn run_task(&self, app: &App, task: &CronTask, by: &str) -> Result<CronRun, OneOffError> {
        self.begin_run(app, task, clock::now(), Some(by.to_owned())).await
    }

    /// What runs when it is due: the tasks of live releases, but for those that are suspended.
    async fn listed(&self) -> Result<Vec<Listed>, StoreError> {
        let host = self.parts.settings().cron.time_zone.clone();
        let read = move |store: &Store| {
            let mut listed = Vec::new();
            for app in store.apps()? {
                let Some(release) = live(store, &app)? else { continue };
                let settings = &app.settings.cron;
                let zone = settings.time_zone.clone().or_else(|| host.clone());
                let tasks = release.into_iter().filter(|task| settings.runs(task));
                listed.extend(tasks.map(|task| Listed { app: app.name.clone(), task, zone: zone.clone() }));
            }
            Ok(listed)
        };
        self.parts.store.call(read).await
    }

    async fn run_due(&self, due: Due) {
        let Due { app: name, task, at } = due;
        // Entered before the look, so that two moments of one task see one another.
        let Some(_turnstile) = Turnstile::enter(&self.starting, &name, &task.id) else {
            return self.skip(&name, &task, at, Skipped::StillRunning).await;
        };
        let (read, id) = (name.clone(), task.id.clone());
        let look = move |store: &Store| {
            let Some(app) = store.app(&read)? else { return Ok(None) };
            // What was listed a moment ago may have been replaced or suspended.
            let task = live(store, &app)?.unwrap_or_default().into_iter().find(|task| task.id == id);
            let task = task.filter(|task| app.settings.cron.runs(task));
            let running = store.cron_runs(&read)?;
            let running: Vec<CronRun> =
                running.into_iter().filter(|run| run.outcome == CronOutcome::Running).collect();
            Ok(task.map(|task| (app, task, running)))
        };
        let (app, task, running) = match self.parts.store.call(look).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return tracing::error!(app = %name, %error, "a cron task cannot be run"),
        };
        let own: Vec<&CronRun> = running.iter().filter(|run| run.task == task.id).collect();
        match Turn::of(task.concurrency, own.len(), running.len()) {
            Turn::Skip(why) => return self.skip(&name, &task, at, why).await,
            Turn::RunInstead => {
                for run in own {
                    self.end_run(&name, &run.mark(), CronOutcome::Stopped).await;
                }
            }
            Turn::Run => {}
        }
        if let Err(error) = self.begin_run(&app, &task, at, None).await {
            tracing::warn!(app = %name, task = %task.id, error = autostack_base::error_chain(&error), "a cron run did not begin");
        }
    }

    /// Records a run, then starts it.
    async fn begin_run(
        &self,
        app: &App,
        task: &CronTask,
        due_at: UnixMillis,
        by: Option<String>,
    ) -> Result<CronRun, OneOffError> {
        let name = &app.name;
        let run = CronRun {
            due_at,
            task: task.id.clone(),
            command: task.command.clone(),
            release: app.current_release.unwrap_or(ReleaseNumber(0)),
            by: by.clone(),
            instance: None,
            started_at: clock::now(),
            ended_at: None,
            outcome: CronOutcome::Running,
            log: (self.log_end(name).unwrap_or_default(), None),
        };
        let (owner, record) = (name.clone(), run.clone());
        let is_only =
            self.parts.store.call(move |store: &Store| store.begin_cron_run(&owner, &record)).await?;
        if !is_only {
            return Err(OneOffError::RanAlready);
        }
        let wanted = Wanted {
            command: task.command.clone(),
            env: EnvMap::new(),
            by: by.unwrap_or_else(|| BY_SCHEDULE.to_owned()),
            cron: Some(run.mark()),
        };
        match self.start_one_off(app, wanted).await {
            Ok(one_off) => {
                let instance = one_off.instance.clone();
                let changed =
                    self.change_run(name, &run.mark(), move |run| run.instance = Some(instance)).await;
                Ok(changed.unwrap_or(run))
            }
            Err(error) => {
                let why = autostack_base::error_chain(&error);
                self.parts.say(name, LineKind::Trouble, format!("Cron task {} did not run: {why}", task.id));
                let end = move |run: &mut CronRun| close(run, CronOutcome::Failed(why), None);
                self.change_run(name, &run.mark(), end).await;
                Err(error)
            }
        }
    }

    async fn skip(&self, app: &AppName, task: &CronTask, due_at: UnixMillis, why: Skipped) {
        let now = clock::now();
        let run = CronRun {
            due_at,
            task: task.id.clone(),
            command: task.command.clone(),
            release: ReleaseNumber(0),
            by: None,
            instance: None,
            started_at: now,
            ended_at: Some(now),
            outcome: CronOutcome::Skipped(why),
            log: (0, Some(0)),
        };
        let name = app.clone();
        if let Err(error) =
            self.parts.store.call(move |store: &Store| store.begin_cron_run(&name, &run)).await
        {
            tracing::warn!(%app, %error, "a skipped cron run could not be recorded");
        }
    }

    /// A run of a task has ended, and all that it wrote is in the log.
    pub(crate) async fn run_ended(&self, one_off: &OneOff, mark: &CronMark, exit: Option<Exit>) {
        let outcome = exit.map_or(CronOutcome::Lost, CronOutcome::Ended);
        let log_end = self.log_end(&one_off.app);
        self.change_run(&one_off.app, mark, move |run| close(run, outcome, log_end)).await;
    }

    /// Somebody ends a run: that is why it ends.
    pub(crate) async fn run_stopped(&self, app: &AppName, mark: &CronMark) {
        self.change_run(app, mark, |run| {
            if run.outcome == CronOutcome::Running {
                run.outcome = CronOutcome::Stopped;
            }
        })
        .await;
    }

    async fn end_run(&self, app: &AppName, mark: &CronMark, why: CronOutcome) {
        let outcome = why.clone();
        self.change_run(app, mark, move |run| run.outcome = outcome).await;
        let name = app.clone();
        let found = self.parts.store.call(move |store: &Store| store.one_offs_of(&name)).await;
        let one_off =
            found.unwrap_or_default().into_iter().find(|one_off| one_off.cron.as_ref() == Some(mark));
        if let Some(one_off) = one_off {
            self.parts.say(
                app,
                LineKind::Trouble,
                format!("{} of cron task {} {why}", one_off.number, mark.task),
            );
            self.stop_one_off(&one_off).await;
        }
    }

    /// Ends runs that take longer than they may.
    async fn end_overdue(&self) {
        let limit = self.parts.settings().cron.run_timeout;
        let now = clock::now();
        let Ok(one_offs) = self.parts.store.call(Store::one_offs).await else { return };
        for one_off in one_offs {
            let age = Duration::from_millis(now.since(one_off.started_at));
            if let Some(mark) = one_off.cron.clone().filter(|_| age > limit) {
                let (deployer, app) = (self.clone(), one_off.app);
                self.parts.tasks.spawn("end of a cron run", async move {
                    deployer.end_run(&app, &mark, CronOutcome::TimedOut).await;
                });
            }
        }
    }

    /// Runs that are recorded as under way and of which nothing is: their end went with an agent or with the host.
    async fn settle_lost_runs(&self) {
        let settle = |store: &Store| {
            let known: Vec<CronMark> =
                store.one_offs()?.into_iter().filter_map(|one_off| one_off.cron).collect();
            for app in store.apps()? {
                for run in store.cron_runs(&app.name)? {
                    if run.outcome == CronOutcome::Running && !known.contains(&run.mark()) {
                        store.change_cron_run(&app.name, &run.mark(), |run| {
                            close(run, CronOutcome::Lost, None);
                        })?;
                    }
                }
            }
            Ok(())
        };
        if let Err(error) = self.parts.store.call(settle).await {
            tracing::error!(%error, "the runs of cron tasks cannot be read");
        }
    }

    async fn change_run(
        &self,
        app: &AppName,
        mark: &CronMark,
        change: impl FnOnce(&mut CronRun) + Send + 'static,
    ) -> Option<CronRun> {
        let (name, mark) = (app.clone(), mark.clone());
        let changed =
            self.parts.store.call(move |store: &Store| store.change_cron_run(&name, &mark, change)).await;
        changed.unwrap_or_else(|error| {
            tracing::error!(%app, %error, "a cron run could not be recorded");
            None
        })
    }

    fn log_end(&self, app: &AppName) -> Option<u64> {
        self.parts.logs.app(app).ok().map(|log| log.end().0)
    }
}

/// Ends the record of a run; what was said before of why it ends stays.
fn close(run: &mut CronRun, outcome: CronOutcome, log_end: Option<u64>) {
    if run.outcome == CronOutcome::Running {
        run.outcome = outcome;
    }
    run.ended_at = Some(clock::now());
    run.log.1 = run.log.1.or(log_end);
}

/// The tasks of an app's live release; `None` while nothing of it runs.
fn live(store: &Store, app: &App) -> Result<Option<Vec<CronTask>>, StoreError> {
    let Some(number) = app.current_release.filter(|_| !app.is_stopped) else { return Ok(None) };
    Ok(store.release(&app.name, number)?.map(|release| release.cron))
}
