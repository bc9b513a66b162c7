//! The door to the owner tasks: finds or makes the task of an app and asks it.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use autostack_base::{
    clock,
    settings::{Settings, SettingsWatch},
    tasks::Tasks,
    telemetry::metrics::Metrics,
};
use autostack_builder::Builder;
use autostack_domain::{
    App, AppName, By, CommitId, DeploymentId, EnvMap, Failure, FailureKind, Host, ImageReference, LineKind,
    RefName, RegistryLogin, Release, ReleaseNumber, RemoteUrl, Source, Stage, limits,
};
use autostack_engine::Engine;
use autostack_git::Repositories;
use autostack_logs::{BuildLog, Entry, Logs, Origin};
use autostack_proxy::Proxy;
use autostack_runtime::Runtimes;
use autostack_store::{GoingLive, Store, StoreError};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    again,
    cron::Starting,
    launch::Launchable,
    one_off::Attended,
    owner::{Owner, Request},
    plan::Slot,
    roll::Roll,
};

/// Everything that a deployment touches. Made once, at the start of the agent.
pub struct Parts {
    /// What should be.
    pub store: Store,
    /// Build and app logs.
    pub logs: Logs,
    /// The apps' bare repositories.
    pub repositories: Repositories,
    /// Makes artifacts.
    pub builder: Builder,
    /// Runs instances.
    pub runtime: Arc<Runtimes>,
    /// Builds, fetches and keeps images; none where instances are processes only.
    pub engine: Option<Engine>,
    /// Meets visitors.
    pub proxy: Arc<Proxy>,
    /// Counts what becomes of deployments and instances.
    pub metrics: Metrics,
    /// Spawns.
    pub tasks: Tasks,
    /// The settings in force.
    pub settings: SettingsWatch,
    /// Where visitors reach the proxy.
    pub site: Site,
    /// Told when the engine keeps something that could not be removed when its time had come.
    pub left_over: Notify,
    /// A place for each fetch from elsewhere that may go on at a time; [`fetch_places`] makes them.
    pub fetches: Semaphore,
    /// Told when cron tasks may have changed: a release went live, an operator has set something.
    pub timetable: Notify,
}

/// Places for as many fetches as may go on at a time.
pub fn fetch_places() -> Semaphore {
    Semaphore::new(limits::FETCHES_MAX)
}

/// Where visitors reach the proxy.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The port that the proxy listens on; part of a URL unless it is 80.
    pub http_port: u16,
}

/// Something that somebody wants live.
pub struct Job {
    /// The deployment, already recorded as queued.
    pub id: DeploymentId,
    /// The app.
    pub app: AppName,
    /// What to deploy.
    pub input: Input,
    /// Who asked for it.
    pub by: Box<By>,
    /// Ends it on purpose.
    pub cancel: CancellationToken,
    /// Who has ended it, where that was somebody else than whoever waits for it.
    pub cancelled_by: Arc<OnceLock<String>>,
    /// The build log, which is also what the pusher reads.
    pub log: BuildLog,
}

/// What a deployment begins with; decides at which step of the pipeline it enters.
pub enum Input {
    /// A commit that somebody is pushing.
    Commit(Pushed),
    /// An image in a registry.
    Pull {
        /// Its name.
        reference: ImageReference,
        /// The login at its registry, where there is one.
        login: Option<RegistryLogin>,
    },
    /// An archive of one image, made by `docker save`.
    Archive {
        /// The name under which people know it.
        reference: ImageReference,
        /// Its bytes; taken once.
        bytes: Mutex<Option<ArchiveBytes>>,
    },
    /// The artifact of an earlier release: nothing is built, the new release differs in its config alone.
    Again {
        /// The release; `None` for the one that is live when its turn comes.
        of: Option<ReleaseNumber>,
        /// Where its config comes from.
        config: ConfigOf,
        /// Why, for people: `Set DATABASE_URL`, `Rollback to v3`.
        reason: String,
    },
}

/// Whose config a release of an artifact that is there already gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigOf {
    /// The app's as it is now.
    App,
    /// The earlier release's, which becomes the app's own when the new release goes live.
    Release,
}

/// The bytes of an archive, as they come in.
pub type ArchiveBytes = BoxStream<'static, io::Result<Bytes>>;

/// A commit on its way into a repository.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The commit.
    pub commit: CommitId,
    /// The ref that git moves when it succeeds.
    pub git_ref: RefName,
    /// What the ref names until then; null for a new one. Git refuses to move a ref that another push has moved.
    pub replaces: CommitId,
    /// Where git keeps the pushed objects until the hook accepts them.
    pub quarantine: Option<PathBuf>,
    /// Where it was fetched from, where it was.
    pub remote: Option<RemoteUrl>,
    /// Config that the app gets with it when it goes live.
    pub env: EnvMap,
}

impl Job {
    /// What is deployed, for records and for people.
    pub fn source(&self) -> Source {
        match &self.input {
            Input::Commit(pushed) => {
                Source::Commit { commit: pushed.commit.clone(), git_ref: pushed.git_ref.clone() }
            }
            Input::Pull { reference, .. } | Input::Archive { reference, .. } => {
                Source::Image { reference: reference.clone() }
            }
            Input::Again { of, reason, .. } => Source::Again { reason: reason.clone(), again: *of },
        }
    }

    /// Whether it goes back to code and config that have run before.
    pub(crate) fn goes_back(&self) -> bool {
        matches!(self.input, Input::Again { config: ConfigOf::Release, .. })
    }

    /// Whether an app that was stopped runs again once it is live.
    pub(crate) fn starts_app(&self) -> bool {
        !matches!(self.input, Input::Again { .. })
    }
}

/// A release whose instances are ready and which no visitor sees yet.
pub struct Candidate {
    pub(crate) launch: Arc<Launchable>,
    pub(crate) ready: Vec<(Slot, Ready)>,
    /// The app as it was when the instances were chosen.
    pub(crate) app: Arc<App>,
    /// Its config then.
    pub(crate) config_since: EnvMap,
    /// What is run once it is live.
    pub(crate) scripts: Vec<Script>,
}

/// A command line of `app.json` that is run after the switch.
pub(crate) struct Script {
    /// Where it stands in the file.
    pub(crate) key: &'static str,
    pub(crate) command: String,
}

/// An instance that has passed its checks.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) id: autostack_domain::InstanceId,
    pub(crate) endpoint: SocketAddr,
    pub(crate) since: tokio::time::Instant,
}

impl Parts {
    /// The settings in force at this moment.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Where the artifact of a deployment stands.
    pub(crate) fn artifact_dir(&self, app: &AppName, id: &DeploymentId) -> PathBuf {
        self.artifacts_dir().join(app.as_str()).join(id.as_str())
    }

    /// Where the artifacts of all apps stand.
    pub(crate) fn artifacts_dir(&self) -> PathBuf {
        self.settings().data_dir.join("artifacts")
    }

    /// The host by which the platform itself asks an app.
    pub(crate) fn host(&self, app: &AppName) -> Host {
        match self.global_domains().first() {
            Some(domain) => Host::of_app(app, domain),
            None => Host::of_app(app, &self.settings().domain),
        }
    }

    /// Records that a prepared release is the live one, with the config that it brings, and points the repository's
    /// HEAD to its branch, where it came by a push.
    pub(crate) async fn record_commit(
        &self,
        app: &AppName,
        number: ReleaseNumber,
        deployment: &DeploymentId,
        source: &Source,
        config_since: Option<EnvMap>,
    ) -> Result<(), StoreError> {
        let git_ref = match source {
            Source::Commit { git_ref, .. } => Some(git_ref),
            Source::Image { .. } | Source::Again { .. } => None,
        };
        let (name, id) = (app.clone(), deployment.clone());
        let branch = git_ref.map(|git_ref| git_ref.short().to_owned());
        let starts = !matches!(source, Source::Again { .. });
        let commit = move |store: &Store| {
            let (deploy_branch, config_since) = (branch.as_deref(), config_since.as_ref());
            let brings = GoingLive { deploy_branch, config_since, starts };
            store.commit_release(&name, number, &id, brings, clock::now())
        };
        self.store.call(commit).await?;
        let Some(git_ref) = git_ref else { return Ok(()) };
        let (repositories, name, git_ref) = (self.repositories.clone(), app.clone(), git_ref.clone());
        let head = self.tasks.blocking("set HEAD", move || repositories.set_head(&name, &git_ref)).await;
        if !matches!(head, Ok(Ok(()))) {
            tracing::warn!(%app, ?head, "HEAD of the repository could not be set; a clone checks out nothing");
        }
        Ok(())
    }

    /// Writes a line of the platform's own into an app's log.
    pub(crate) fn say(&self, app: &AppName, kind: LineKind, text: impl Into<String>) {
        let entry =
            Entry { at: clock::now(), origin: Origin::Platform(kind), text: text.into().into_bytes() };
        let appended = self
            .logs
            .app(app)
            .map_err(|error| error.to_string())
            .and_then(|stream| stream.append(&[entry]).map_err(|error| error.to_string()));
        if let Err(error) = appended {
            tracing::error!(%app, %error, "a line could not be written to the app's log");
        }
    }
}

/// Hands requests to the owner tasks of the apps. Cheap to clone.
#[derive(Clone)]
pub struct Deployer {
    pub(crate) parts: Arc<Parts>,
    owners: Arc<Mutex<HashMap<AppName, mpsc::Sender<Request>>>>,
    pub(crate) attended: Arc<Attended>,
    pub(crate) starting: Arc<Starting>,
}

impl Deployer {
    /// A deployer without owner tasks yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            owners: Arc::default(),
            attended: Arc::default(),
            starting: Arc::default(),
        }
    }

    /// What it works with.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Takes a commit through every stage before the switch. When it returns `Ok` the release is *prepared*:
    /// recorded, running beside the old one, and seen by nobody. Every prepared release is later committed or
    /// discarded by its deployment id.
    pub async fn prepare(&self, job: Job) -> Result<ReleaseNumber, Failure> {
        let app = job.app.clone();
        self.ask(&app, |reply| Request::Prepare { job, reply }).await?
    }

    /// Takes something to the visitors that needs nobody's word in between: every stage, and the switch.
    pub async fn go_live(&self, job: Job) -> Result<ReleaseNumber, Failure> {
        let (app, id) = (job.app.clone(), job.id.clone());
        let number = self.prepare(job).await?;
        self.commit(&app, &id).await?;
        Ok(number)
    }

    /// Makes a prepared release the one that visitors meet. Idempotent for the last committed deployment.
    pub async fn commit(&self, app: &AppName, deployment: &DeploymentId) -> Result<(), Failure> {
        let owner = self.owners().get(app).cloned().ok_or_else(destroyed)?;
        let deployment = deployment.clone();
        let answer = ask_owner(&owner, |reply| Request::Commit { deployment, reply }).await;
        answer.unwrap_or_else(|gone| {
            Err(gone.hint(
                "nothing to push again: git has moved the ref, so the agent makes it live when it is back",
            ))
        })
    }

    /// Gives a prepared release up; one that is not there (any more) is fine.
    pub async fn discard(
        &self,
        app: &AppName,
        deployment: &DeploymentId,
        failure: Failure,
    ) -> Result<(), Failure> {
        let Some(owner) = self.owners().get(app).cloned() else { return Ok(()) };
        let deployment = deployment.clone();
        ask_owner(&owner, |reply| Request::Discard { deployment, failure, reply }).await
    }

    /// Tells the owner task of an app that its record has changed: its route is published anew, and what runs is brought
    /// in line with it. Returns when that has begun; places that are new get their instances after it. An app without an
    /// owner task runs nothing.
    pub async fn refresh(&self, app: &AppName) {
        self.parts.timetable.notify_one();
        let Some(owner) = self.owners().get(app).cloned() else { return };
        // One that is gone has nothing to publish.
        let _gone = ask_owner(&owner, |reply| Request::Refresh { reply }).await;
    }

    /// What is missing of a release's artifact, so that it cannot be run again; `None` where all of it is there.
    pub async fn missing(&self, release: &Release) -> Result<Option<&'static str>, Failure> {
        again::missing(&self.parts, release).await
    }

    /// Changes which instances of the live release run. New ones start beside the old ones and pass their checks,
    /// then it is recorded, the route is replaced, and the old ones finish what they were given. When it fails,
    /// nothing has changed.
    pub async fn roll(&self, app: &AppName, roll: Roll) -> Result<(), Failure> {
        self.ask(app, |reply| Request::Roll { roll, reply }).await?
    }

    /// Ends everything that runs for the app, withdraws its route, and ends its owner task.
    pub async fn destroy(&self, app: &AppName) -> Result<(), Failure> {
        self.end_one_offs(app).await;
        let owner = self.owner(app);
        let ended = ask_owner(&owner, |reply| Request::Destroy { reply }).await;
        let mut owners = self.owners();
        if owners.get(app).is_some_and(|known| known.same_channel(&owner)) {
            owners.remove(app);
        }
        ended
    }

    pub(crate) async fn ask<T>(
        &self,
        app: &AppName,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Failure> {
        ask_owner(&self.owner(app), request).await
    }

    /// The owner task of an app; made where there is none yet.
    fn owner(&self, app: &AppName) -> mpsc::Sender<Request> {
        let mut owners = self.owners();
        if let Some(sender) = owners.get(app).filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        let (sender, requests) = mpsc::channel(limits::DEPLOYMENT_QUEUE_PER_APP_MAX);
        let owner = Owner::new(app.clone(), Arc::clone(&self.parts), requests);
        self.parts.tasks.spawn("app owner", owner.run());
        owners.insert(app.clone(), sender.clone());
        sender
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, HashMap<AppName, mpsc::Sender<Request>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask_owner<T>(
    owner: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Failure> {
    let gone = || {
        Failure::new(
            Stage::Source,
            FailureKind::Interrupted,
            "the agent is stopping, or the app was destroyed",
        )
        .hint("push again in a moment")
    };
    let (reply, answer) = oneshot::channel();
    owner.send(request(reply)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

fn destroyed() -> Failure {
    Failure::new(Stage::Switch, FailureKind::Cancelled, "the app was destroyed meanwhile").hint("push again")
}
