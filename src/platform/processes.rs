//! What of an app runs: how many instances of each process type, restarted, stopped, started, built again.

use std::collections::{BTreeMap, BTreeSet};

use autostack_deploy::{Change, Input, Pushed, Roll};
use autostack_domain::{
    App, AppName, EnvMap, Failure, FailureKind, Formation, InstanceId, Line, ProcessType, RefName, Release,
    ReleaseNumber, ReleaseSource, limits,
    permission::{Action, Actor},
};
use autostack_runtime::{InstanceState, Observed};
use autostack_store::Store;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    platform::Platform,
    screen::{Screen, show_all},
};

/// Lines that a roll may be ahead of whoever reads them.
const ROLL_LINES_MAX: usize = 512;

/// What runs of an app, and what should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ProcessesView {
    /// The app.
    pub app: AppName,
    /// The release that is live; `None` before the first deployment.
    pub release: Option<ReleaseNumber>,
    /// Whether an operator has stopped it.
    pub is_stopped: bool,
    /// How many of each process type there should be; of one that was never deployed what was set for it.
    pub formation: Formation,
    /// Command line of each process type; `None` for the command of the image.
    pub commands: BTreeMap<ProcessType, Option<String>>,
    /// What is there of it, by name.
    pub instances: Vec<InstanceView>,
}

/// One instance of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct InstanceView {
    /// `web.1`.
    pub name: String,
    /// Its id, by which the runtime knows it.
    pub id: InstanceId,
    /// The release that it runs.
    pub release: ReleaseNumber,
    /// Where it is reached from the host.
    #[schema(value_type = String, example = "127.0.0.1:30001")]
    pub endpoint: std::net::SocketAddr,
    /// `running`, or how it ended: `exited with code 1`.
    pub state: String,
    /// Whether it runs.
    pub runs: bool,
    /// When its program was executed, in Unix milliseconds.
    pub started_at: autostack_domain::UnixMillis,
    /// What it runs.
    pub command: String,
}

impl Platform {
    /// What of the app runs, and what should.
    pub async fn processes(&self, actor: &Actor, name: &AppName) -> Result<ProcessesView, PlatformError> {
        let app = self.app_for(actor, name, Action::ViewApp, "see").await?;
        let release = self.live_release(&app).await?;
        let listing = self.parts().runtime.listing().await;
        let listing =
            listing.map_err(|error| PlatformError::internal("what runs cannot be listed", &error))?;
        let mine = listing.observed.iter().filter(|instance| instance.spec.app == *name);
        let mut instances: Vec<InstanceView> = mine.map(InstanceView::of).collect();
        instances.sort_by(|a, b| (&a.name, a.started_at.0).cmp(&(&b.name, b.started_at.0)));
        Ok(ProcessesView {
            app: app.name,
            release: app.current_release,
            is_stopped: app.is_stopped,
            formation: match &release {
                Some(release) => Formation::of_live(release, &app.formation),
                None => app.formation,
            },
            commands: release.map(|release| release.processes).unwrap_or_default(),
            instances,
        })
    }

    /// Sets how many instances there should be of some process types, and starts or ends the difference; only sets it
    /// with `skip`. When an instance does not get ready nothing has changed.
    pub async fn scale(
        &self,
        actor: &Actor,
        name: &AppName,
        counts: BTreeMap<ProcessType, u32>,
        skip: bool,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<(), PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "scale").await?;
        self.check_processes(&app, counts.keys()).await?;
        if let Some((process, _)) =
            counts.iter().find(|(_, count)| **count > limits::INSTANCES_PER_PROCESS_MAX)
        {
            let message =
                format!("{process} can have {} instances at most", limits::INSTANCES_PER_PROCESS_MAX);
            return Err(PlatformError::new(ErrorKind::Invalid, message));
        }
        if !skip {
            return self.roll(actor, name, Change::Scale(counts), screen, gone).await;
        }
        let set: Vec<_> = counts.iter().map(|(process, count)| format!("{process}={count}")).collect();
        self.event(actor, name, "scale", format!("Scale to {} with the next release", set.join(" ")));
        let name = name.clone();
        let write = move |store: &Store| store.update_app(&name, |app| app.formation.0.extend(counts));
        self.parts().store.call(write).await?;
        Ok(())
    }

    /// Puts new instances in the place of those of some process types, or of all, without losing a request.
    pub async fn restart(
        &self,
        actor: &Actor,
        name: &AppName,
        only: Option<BTreeSet<ProcessType>>,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<(), PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "restart").await?;
        self.check_deployed(&app)?;
        if app.is_stopped {
            let message = format!("the app {name} is stopped");
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint(format!("ps:start {name}")));
        }
        self.check_processes(&app, only.iter().flatten()).await?;
        self.roll(actor, name, Change::Restart(only), screen, gone).await
    }

    /// Ends everything of the app; visitors are told so, also after a restart of the agent, until it is started or
    /// something new is pushed.
    pub async fn stop_app(
        &self,
        actor: &Actor,
        name: &AppName,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<(), PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "stop").await?;
        self.check_deployed(&app)?;
        self.roll(actor, name, Change::Stop, screen, gone).await
    }

    /// Starts what was stopped.
    pub async fn start_app(
        &self,
        actor: &Actor,
        name: &AppName,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<(), PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "start").await?;
        self.check_deployed(&app)?;
        self.roll(actor, name, Change::Start, screen, gone).await
    }

    /// Takes what the app's branch holds through the whole pipeline again. What came as an image is not built: the same
    /// image gets new instances and the config of now.
    pub async fn rebuild(
        &self,
        actor: &Actor,
        name: &AppName,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "rebuild").await?;
        let live = self.live_release(&app).await?;
        if let Some(ReleaseSource::Image { .. }) = live.map(|release| release.source) {
            let outcome = self.redeploy(actor, name, "Rebuild", screen, gone).await?;
            return Ok(outcome.unwrap_or(Outcome::Failed));
        }
        let Some(branch) = &app.deploy_branch else {
            return Err(not_deployed(name));
        };
        let git_ref = RefName::of_branch(branch)?;
        let (repositories, owner, wanted) =
            (self.parts().repositories.clone(), name.clone(), git_ref.clone());
        let read = move || repositories.head_of(&owner, &wanted);
        let head = self.parts().tasks.blocking("read ref", read).await;
        let head =
            head.map_err(|panic| PlatformError::internal("the app's repository cannot be read", &panic))??;
        let Some(commit) = head else { return Err(not_deployed(name)) };
        self.event(actor, name, "rebuild", format!("Rebuild of {}", commit.short()));
        let pushed = Pushed {
            replaces: commit.clone(),
            commit,
            git_ref,
            quarantine: None,
            remote: None,
            env: EnvMap::new(),
        };
        self.deploy(actor, name, Input::Commit(pushed), screen, gone).await
    }

    /// Brings what runs in line with what should; the owner of the app does so by itself after every change.
    pub async fn restore(&self, actor: &Actor, name: &AppName) -> Result<(), PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "restore").await?;
        self.check_deployed(&app)?;
        self.0.deployer.refresh(name).await;
        Ok(())
    }

    /// Hands a change to the app's owner, and shows how it goes.
    async fn roll(
        &self,
        actor: &Actor,
        name: &AppName,
        change: Change,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<(), PlatformError> {
        self.0.leaving.check(name)?;
        let kind = match &change {
            Change::Scale(_) => "scale",
            Change::Restart(_) => "restart",
            Change::Stop => "stop",
            Change::Start => "start",
        };
        let text = change.to_string();
        let (lines, mut shown) = mpsc::channel(ROLL_LINES_MAX);
        let roll = Roll { change, screen: lines, cancel: gone.child_token() };
        let show = async {
            while let Some(line) = shown.recv().await {
                // Who has gone reads nothing; what has begun ends by `gone`.
                let _reader_gone = screen.show(line).await;
            }
        };
        let (outcome, ()) = tokio::join!(self.0.deployer.roll(name, roll), show);
        if let Err(failure) = outcome {
            show_all(screen, failure.evidence.iter().map(Line::trouble).collect()).await;
            return Err(refusal(&failure));
        }
        self.event(actor, name, kind, text);
        Ok(())
    }

    /// The release that is live.
    pub(crate) async fn live_release(&self, app: &App) -> Result<Option<Release>, PlatformError> {
        let Some(number) = app.current_release else { return Ok(None) };
        let name = app.name.clone();
        Ok(self.parts().store.call(move |store: &Store| store.release(&name, number)).await?)
    }

    fn check_deployed(&self, app: &App) -> Result<(), PlatformError> {
        if app.current_release.is_some() { Ok(()) } else { Err(not_deployed(&app.name)) }
    }

    /// Refuses process types that the live release does not have; before the first one nobody knows.
    async fn check_processes(
        &self,
        app: &App,
        named: impl IntoIterator<Item = &ProcessType>,
    ) -> Result<(), PlatformError> {
        let release = self.live_release(app).await?;
        for process in named {
            if process.is_release() {
                let message = "release runs once for each deployment and has no instances";
                return Err(PlatformError::new(ErrorKind::Invalid, message));
            }
            let Some(release) = release.as_ref().filter(|release| !release.processes.contains_key(process))
            else {
                continue;
            };
            let there: Vec<&str> =
                release.processes.keys().filter(|process| !process.is_release()).map(AsRef::as_ref).collect();
            let message = format!("the app {} has no process type {process}", app.name);
            let hint = if there.is_empty() {
                format!("{} {} is served by the platform and has none", app.name, release.number)
            } else {
                format!("it has {}", there.join(" and "))
            };
            return Err(PlatformError::new(ErrorKind::Conflict, message).hint(hint));
        }
        Ok(())
    }
}

impl InstanceView {
    fn of(instance: &Observed) -> Self {
        let spec = &instance.spec;
        Self {
            name: spec.dyno(),
            id: spec.id.clone(),
            release: spec.release,
            endpoint: instance.endpoint,
            state: match instance.state {
                InstanceState::Running => "running".to_owned(),
                InstanceState::Exited(exit) => exit.to_string(),
            },
            runs: matches!(instance.state, InstanceState::Running),
            started_at: instance.started_at,
            command: spec.program.to_string(),
        }
    }
}

fn not_deployed(name: &AppName) -> PlatformError {
    PlatformError::new(ErrorKind::Conflict, format!("the app {name} has not been deployed yet"))
        .hint("push to it first")
}

/// Why instances were not changed, in one sentence and its evidence.
fn refusal(failure: &Failure) -> PlatformError {
    let kind = match failure.kind {
        FailureKind::Internal => ErrorKind::Internal,
        FailureKind::DiskFull => ErrorKind::NoSpace,
        _ => ErrorKind::Conflict,
    };
    let message = format!("{}; nothing was changed", failure.cause);
    let error = PlatformError::new(kind, message);
    if failure.hint.is_empty() { error } else { error.hint(failure.hint.clone()) }
}
