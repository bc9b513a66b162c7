//! One-offs: commands that run once, with the artifact and config of the live release, in instances of their own beside
//! the formation. They get no route, are never started again, and end with the app.
//!
//! One that somebody talks to is *attached*: it ends with its client and with the agent. A *detached* one is an
//! instance like any other: its output goes to the app's log, it outlives the agent, and the next one goes on waiting
//! for its end. Each is recorded before it starts and until nothing of it is left.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, EnvMap, Exit, InstanceId, InstanceSpec, LineKind, OneOff, OneOffNumber, ProcessType,
    cron::CronMark,
};
use autostack_runtime::{Backend, ExecSession, Observed, RuntimeError, TerminalSize};
use autostack_store::{Store, StoreError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    adopt::load_live,
    deployer::Deployer,
    furnish::furnish,
    launch::Launchable,
    recover::Recovery,
    stop::{ENGINE_PAUSE, stop_all, stop_in_background},
};

/// How long an attached one-off that is told to end may take until nothing of it is left.
const END_LIMIT: Duration = Duration::from_secs(20);

/// What somebody wants to run once.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The command line, for the app's own shell. Where its first word names a process type of the release, the command
    /// line of that stands in its place.
    pub command: String,
    /// Variables on top of the app's own.
    pub env: EnvMap,
    /// Who wants it, as people see them.
    pub by: String,
    /// The run of a cron task that it is, where it is one.
    pub cron: Option<CronMark>,
}

/// Why a one-off did not start.
#[derive(Debug, thiserror::Error)]
pub enum OneOffError {
    /// Nothing was deployed yet.
    #[error("it has no release yet")]
    NoRelease,
    /// Its moment has had its run.
    #[error("it has run already")]
    RanAlready,
    /// So many run already.
    #[error("too many one-offs run already")]
    TooMany,
    /// What runs cannot be recorded.
    #[error("the one-off cannot be recorded")]
    Store(#[from] StoreError),
    /// It could not be started.
    #[error("the one-off cannot be started")]
    Runtime(#[source] RuntimeError),
}

/// The attached one-offs of this agent.
#[derive(Debug, Default)]
pub(crate) struct Attended(Mutex<HashMap<InstanceId, Marks>>);

#[derive(Debug, Clone)]
struct Marks {
    app: AppName,
    /// Cancelled to end it.
    stop: CancellationToken,
    /// Cancelled when nothing of it is left.
    gone: CancellationToken,
}

impl Attended {
    fn all(&self) -> MutexGuard<'_, HashMap<InstanceId, Marks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A one-off that somebody talks to. Dropping it ends it.
pub struct Attached {
    one_off: OneOff,
    session: Option<ExecSession>,
    deployer: Deployer,
    marks: Marks,
}

impl Attached {
    /// What is recorded of it.
    pub fn one_off(&self) -> &OneOff {
        &self.one_off
    }

    /// Input, output and size of its terminal; `None` the second time. Whoever takes it gives it back by
    /// [`Attached::wait`], or drops it, which ends the command.
    pub fn take_session(&mut self) -> Option<ExecSession> {
        self.session.take()
    }

    /// Cancelled when somebody else wants it to end.
    pub fn stopping(&self) -> CancellationToken {
        self.marks.stop.clone()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let (deployer, one_off, marks) = (self.deployer.clone(), self.one_off.clone(), self.marks.clone());
        drop(self.session.take());
        self.deployer.parts.tasks.spawn("end of a one-off", async move {
            deployer.forget(&one_off).await;
            deployer.attended.all().remove(&one_off.instance);
            marks.gone.cancel();
        });
    }
}

impl Deployer {
    /// Starts a one-off that somebody talks to, in a terminal of this size or by pipes.
    ///
    /// # Errors
    /// See [`OneOffError`]; nothing is left then.
    pub async fn attach_one_off(
        &self,
        app: &App,
        wanted: Wanted,
        terminal: Option<TerminalSize>,
    ) -> Result<Attached, OneOffError> {
        let (one_off, spec) = self.begin(app, wanted, true).await?;
        let (stop, gone) = (CancellationToken::new(), CancellationToken::new());
        let marks = Marks { app: app.name.clone(), stop, gone };
        self.attended.all().insert(one_off.instance.clone(), marks.clone());
        // From here on its drop clears up, also for a caller who gives up.
        let mut attached = Attached { one_off, session: None, deployer: self.clone(), marks };
        let session = self.parts.runtime.attach(&spec, terminal).await.map_err(OneOffError::Runtime)?;
        attached.session = Some(session);
        Ok(attached)
    }

    /// Starts a one-off that nobody talks to.
    ///
    /// # Errors
    /// See [`OneOffError`]; nothing is left then.
    pub async fn start_one_off(&self, app: &App, wanted: Wanted) -> Result<OneOff, OneOffError> {
        let by = wanted.by.clone();
        let (one_off, spec) = self.begin(app, wanted, false).await?;
        if let Err(error) = self.parts.runtime.start(&spec).await {
            self.forget(&one_off).await;
            return Err(OneOffError::Runtime(error));
        }
        self.parts.say(&app.name, LineKind::Detail, format!("{} was started by {by}", one_off.number));
        self.watch(one_off.clone());
        Ok(one_off)
    }

    /// Ends a one-off; returns when nothing of it is left.
    pub async fn stop_one_off(&self, one_off: &OneOff) {
        let marks = self.attended.all().get(&one_off.instance).cloned();
        match marks {
            Some(marks) => end_attended(&marks).await,
            None => {
                if let Some(mark) = &one_off.cron {
                    self.run_stopped(&one_off.app, mark).await;
                }
                self.parts.say(&one_off.app, LineKind::Detail, format!("{} is stopped", one_off.number));
                stop_all(&self.parts, std::slice::from_ref(&one_off.instance)).await;
                self.forget(one_off).await;
            }
        }
    }

    /// Ends all one-offs of an app that goes, whether they are still recorded or not.
    pub(crate) async fn end_one_offs(&self, app: &AppName) {
        let attended: Vec<Marks> =
            self.attended.all().values().filter(|marks| marks.app == *app).cloned().collect();
        for marks in &attended {
            marks.stop.cancel();
        }
        match self.parts.runtime.listing().await {
            Ok(listing) => {
                let ids: Vec<InstanceId> = listing
                    .observed
                    .into_iter()
                    .filter(|found| found.spec.app == *app && found.spec.process.is_run())
                    .map(|found| found.spec.id)
                    .collect();
                stop_all(&self.parts, &ids).await;
            }
            // The next start of the agent finds them, and that nobody wants them.
            Err(error) => {
                tracing::error!(%app, error = autostack_base::error_chain(&error), "one-offs cannot be listed");
            }
        }
        for marks in &attended {
            end_attended(marks).await;
        }
    }

    /// Records a one-off and says what its instance is.
    async fn begin(
        &self,
        app: &App,
        wanted: Wanted,
        is_attached: bool,
    ) -> Result<(OneOff, InstanceSpec), OneOffError> {
        let (launch, _) = load_live(&self.parts, app).await?.ok_or(OneOffError::NoRelease)?;
        let command = resolve(&launch, wanted.command);
        let (name, started_at) = (app.name.clone(), clock::now());
        let (env, by, cron) = (wanted.env, wanted.by, wanted.cron);
        let write = move |store: &Store| {
            let mut spec = None;
            let begun = store.begin_one_off(&name, |number: OneOffNumber| {
                let made = launch.beside(number, command.clone(), &env);
                let instance = made.id.clone();
                spec = Some(made);
                OneOff {
                    app: name.clone(),
                    number,
                    instance,
                    release: launch.release.number,
                    command,
                    started_by: by,
                    started_at,
                    is_attached,
                    cron,
                }
            })?;
            Ok(begun.zip(spec))
        };
        let (one_off, spec) = self.parts.store.call(write).await?.ok_or(OneOffError::TooMany)?;
        Ok((one_off, furnish(&self.parts, spec).await))
    }

    /// Nothing of it is left. Whether it was still recorded.
    async fn forget(&self, one_off: &OneOff) -> bool {
        let (app, number) = (one_off.app.clone(), one_off.number);
        let forgotten = self.parts.store.call(move |store: &Store| store.end_one_off(&app, number)).await;
        forgotten.unwrap_or_else(|error| {
            tracing::error!(app = %one_off.app, one_off = %one_off.number, %error, "an ended one-off stays recorded");
            false
        })
    }

    /// Waits for the end of a detached one-off, says it in the app's log and removes what is left.
    fn watch(&self, one_off: OneOff) {
        let (deployer, stopping) = (self.clone(), self.parts.tasks.shutdown_token());
        self.parts.tasks.spawn("one-off", async move {
            tokio::select! {
                // It runs on; the next agent waits for it.
                () = stopping.cancelled() => {}
                () = deployer.see_off(&one_off) => {}
            }
        });
    }

    async fn see_off(&self, one_off: &OneOff) {
        let runtime = &self.parts.runtime;
        let exit = loop {
            match runtime.wait(&one_off.instance).await {
                Ok(exit) => break Some(exit),
                Err(error) if error.is_engine_gone() => {
                    runtime.engine_reachable().await;
                    sleep(ENGINE_PAUSE).await;
                }
                Err(RuntimeError::NotFound { .. }) => break None,
                Err(error) => {
                    let error = autostack_base::error_chain(&error);
                    tracing::error!(instance = %one_off.instance, error, "a one-off is out of sight");
                    break None;
                }
            }
        };
        stop_all(&self.parts, std::slice::from_ref(&one_off.instance)).await;
        if let Some(mark) = &one_off.cron {
            self.run_ended(one_off, mark, exit).await;
        }
        // Where it is recorded no more its app goes, and with it the log.
        if self.forget(one_off).await
            && let Some(exit) = exit
        {
            self.say_end(one_off, exit);
        }
    }

    fn say_end(&self, one_off: &OneOff, exit: Exit) {
        let kind = if exit.is_success() { LineKind::Detail } else { LineKind::Trouble };
        self.parts.say(&one_off.app, kind, format!("{} {exit}", one_off.number));
    }

    /// What an earlier agent left: attached one-offs ended with it, detached ones are waited for again, and what is
    /// recorded as neither is ended.
    pub(crate) async fn recover_one_offs(
        &self,
        observed: &[Observed],
        done: &mut Recovery,
    ) -> Result<(), StoreError> {
        let recorded = self.parts.store.call(Store::one_offs).await?;
        let known: HashSet<InstanceId> = recorded.iter().map(|one_off| one_off.instance.clone()).collect();
        for one_off in recorded {
            if one_off.is_attached {
                self.forget(&one_off).await;
            } else {
                self.watch(one_off);
            }
        }
        let is_stray = |found: &&Observed| found.spec.process.is_run() && !known.contains(&found.spec.id);
        let strays: Vec<InstanceId> =
            observed.iter().filter(is_stray).map(|found| found.spec.id.clone()).collect();
        done.stopped += strays.len();
        stop_in_background(&self.parts, strays);
        Ok(())
    }
}

async fn end_attended(marks: &Marks) {
    marks.stop.cancel();
    if timeout(END_LIMIT, marks.gone.cancelled()).await.is_err() {
        tracing::warn!(app = %marks.app, "a one-off that was told to end is still there");
    }
}

/// The command line that is run: that of a process type where the first word names one, with what follows it.
fn resolve(launch: &Launchable, line: String) -> Option<String> {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
    let process = first.parse::<ProcessType>().ok();
    let Some(found) = process.and_then(|process| launch.release.processes.get(&process)) else {
        return Some(line);
    };
    match (found, rest.trim()) {
        (None, "") => None,
        // The command of an image takes no more words.
        (None, _) => Some(line),
        (Some(command), "") => Some(command.clone()),
        (Some(command), rest) => Some(format!("{command} {rest}")),
    }
}
