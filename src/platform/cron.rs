//! What an app has done at set times: its tasks, their runs, and what an operator decides about them.

use std::sync::Arc;

use autostack_base::{clock, zone::Zone};
use autostack_deploy::OneOffError;
use autostack_domain::{
    App, AppName, UnixMillis,
    cron::{CronOutcome, CronRun, CronSettings, CronTask, CronTaskId, TimeZoneName},
    permission::{Action, Actor},
};
use autostack_logs::Stream;
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
    run::could_not_run,
};

/// A task of the live release, for a list.
#[derive(Debug, Clone)]
pub struct CronTaskView {
    /// The task.
    pub task: CronTask,
    /// Whether it runs when it is due.
    pub runs: bool,
    /// When it is due next, as the clock in its zone shows it; `None` where it does not run.
    pub next: Option<String>,
}

/// The cron tasks of an app, for a report.
#[derive(Debug, Clone)]
pub struct CronView {
    /// The app.
    pub app: AppName,
    /// What is set.
    pub settings: CronSettings,
    /// The time zone that counts: the app's, else the host's, by name where it has one.
    pub time_zone: Option<TimeZoneName>,
    /// The tasks of the live release.
    pub tasks: Vec<CronTaskView>,
    /// How many runs are under way.
    pub running: usize,
}

impl Platform {
    /// The cron tasks of an app.
    pub async fn cron(&self, actor: &Actor, name: &AppName) -> Result<CronView, PlatformError> {
        let app = self.settings_of(actor, name).await?;
        let host = self.parts().settings.borrow().cron.time_zone.clone();
        let settings = app.settings.cron.clone();
        let time_zone = settings.time_zone.clone().or(host);
        let zone = Zone::named_or_host(time_zone.as_ref());
        let now = clock::now();
        let (tasks, runs) = (self.tasks_of(&app).await?, self.runs_of(name).await?);
        let view = |task: CronTask| {
            let runs = settings.runs(&task) && !app.is_stopped;
            let next = zone.next(&task.schedule, now).filter(|_| runs).map(|next| zone.show(next));
            CronTaskView { task, runs, next }
        };
        let running = runs.iter().filter(|run| run.outcome == CronOutcome::Running).count();
        let tasks = tasks.into_iter().map(view).collect();
        Ok(CronView { app: app.name, time_zone, tasks, running, settings })
    }

    /// Runs a task now, whatever its schedule says and whether it is suspended or not.
    pub async fn run_cron(
        &self,
        actor: &Actor,
        name: &AppName,
        id: &CronTaskId,
    ) -> Result<CronRun, PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "run cron tasks of").await?;
        self.0.leaving.check(name)?;
        let task = self.task_of(&app, id).await?;
        let begun = self.0.deployer.run_task(&app, &task, &actor.name).await;
        let run = begun.map_err(|error| match error {
            OneOffError::RanAlready => {
                PlatformError::new(ErrorKind::Conflict, format!("{id} begins in this very moment"))
                    .hint("try again")
            }
            other => could_not_run(name, &other),
        })?;
        self.event(actor, name, "cron:run", id.to_string());
        Ok(run)
    }

    /// Lets tasks run no more when they are due, or again; all of the live release where none is named.
    pub async fn suspend_cron(
        &self,
        actor: &Actor,
        name: &AppName,
        id: Option<CronTaskId>,
        suspend: bool,
    ) -> Result<Vec<CronTaskId>, PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "suspend cron tasks of").await?;
        let ids: Vec<CronTaskId> = match id {
            Some(id) => vec![self.task_of(&app, &id).await?.id],
            None => self.tasks_of(&app).await?.into_iter().map(|task| task.id).collect(),
        };
        let chosen = ids.clone();
        let change = move |settings: &mut autostack_domain::AppSettings| {
            for id in chosen {
                match suspend {
                    true => drop(settings.cron.suspended.insert(id)),
                    false => drop(settings.cron.suspended.remove(&id)),
                }
            }
            Ok(())
        };
        self.change_app(actor, name, Action::Operate, "suspend cron tasks of", change).await?;
        let said: Vec<&str> = ids.iter().map(CronTaskId::as_str).collect();
        self.event(actor, name, if suspend { "cron:suspend" } else { "cron:resume" }, said.join(" "));
        Ok(ids)
    }

    /// Lets none of an app's tasks run when they are due, or all again that are not suspended.
    pub async fn set_cron_maintenance(
        &self,
        actor: &Actor,
        name: &AppName,
        maintenance: bool,
    ) -> Result<(), PlatformError> {
        let change = move |settings: &mut autostack_domain::AppSettings| {
            settings.cron.maintenance = maintenance;
            Ok(())
        };
        self.change_app(actor, name, Action::Operate, "set the cron of", change).await?;
        self.event(actor, name, "cron:set", format!("maintenance={maintenance}"));
        Ok(())
    }

    /// Sets the time zone in which an app's schedules are read; `None` for the host's.
    pub async fn set_cron_time_zone(
        &self,
        actor: &Actor,
        name: &AppName,
        zone: Option<TimeZoneName>,
    ) -> Result<(), PlatformError> {
        if let Some(unknown) = zone.as_ref().filter(|zone| Zone::named(zone).is_none()) {
            return Err(PlatformError::new(
                ErrorKind::Invalid,
                format!("this host knows no time zone {unknown}"),
            )
            .hint("use a name such as Europe/Berlin or UTC"));
        }
        let said = zone.as_ref().map_or_else(|| "timezone=".to_owned(), |zone| format!("timezone={zone}"));
        let change = move |settings: &mut autostack_domain::AppSettings| {
            settings.cron.time_zone = zone;
            Ok(())
        };
        self.change_app(actor, name, Action::Operate, "set the cron of", change).await?;
        self.event(actor, name, "cron:set", said);
        Ok(())
    }

    /// The runs of an app's tasks, or of one, the oldest first.
    pub async fn cron_runs(
        &self,
        actor: &Actor,
        name: &AppName,
        id: Option<&CronTaskId>,
    ) -> Result<Vec<CronRun>, PlatformError> {
        self.app_for(actor, name, Action::ViewApp, "see").await?;
        let mut runs = self.runs_of(name).await?;
        runs.retain(|run| id.is_none_or(|id| run.task == *id));
        Ok(runs)
    }

    /// A run as it is recorded now, and the log with its lines.
    pub async fn cron_run(
        &self,
        actor: &Actor,
        name: &AppName,
        task: &CronTaskId,
        due_at: Option<UnixMillis>,
    ) -> Result<(CronRun, Arc<Stream>), PlatformError> {
        let log = self.app_log(actor, name).await?;
        let mut runs = self.cron_runs(actor, name, Some(task)).await?;
        runs.retain(|run| due_at.is_none_or(|due_at| run.due_at == due_at));
        let last = runs.pop().ok_or_else(|| {
            PlatformError::new(ErrorKind::Conflict, format!("{task} of {name} has not run yet"))
                .hint(format!("cron:list {name} shows when it does; cron:run {name} {task} runs it now"))
        })?;
        Ok((last, log))
    }

    async fn runs_of(&self, name: &AppName) -> Result<Vec<CronRun>, PlatformError> {
        let name = name.clone();
        Ok(self.parts().store.call(move |store: &Store| store.cron_runs(&name)).await?)
    }

    async fn tasks_of(&self, app: &App) -> Result<Vec<CronTask>, PlatformError> {
        Ok(self.live_release(app).await?.map(|release| release.cron).unwrap_or_default())
    }

    async fn task_of(&self, app: &App, id: &CronTaskId) -> Result<CronTask, PlatformError> {
        let found = self.tasks_of(app).await?.into_iter().find(|task| task.id == *id);
        found.ok_or_else(|| {
            PlatformError::new(ErrorKind::Invalid, format!("{} has no cron task {id}", app.name))
                .hint(format!("cron:list {} shows those of its live release", app.name))
        })
    }
}
