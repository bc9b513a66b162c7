//! A deployer with everything that it touches, and an engine that can be taken away.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use autostack_base::{
    settings::{Settings, SettingsHandle},
    tasks::Tasks,
    telemetry::metrics::Metrics,
};
use autostack_builder::Builder;
use autostack_domain::{
    App, AppName, Artifact, By, Deployment, DeploymentId, DeploymentState, EngineHost, EnvMap, Exit, Failure,
    Formation, ImageReference, InstanceId, InstanceSpec, ProcessType, Program, Release, ReleaseNumber,
    ReleaseSource, Source, UnixMillis,
    release::{ConfigBrought, LaunchEnv},
    resources::InstanceLimits,
    route::Target,
};
use autostack_engine::EngineError;
use autostack_git::Repositories;
use autostack_logs::{BuildLog, Filter, LogLimits, Logs};
use autostack_proxy::{Proxy, ProxyLimits};
use autostack_runtime::{
    Backend, ExecRequest, ExecSession, MemoryBackend, Observed, RuntimeError, Runtimes, Started,
    TerminalSize, Usage,
};
use autostack_store::{GoingLive, Store};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{Change, ConfigOf, Deployer, Input, Job, Parts, Roll, Site};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// An engine that can be taken away; what it runs goes on meanwhile.
pub(super) struct Engine {
    pub(super) inner: MemoryBackend,
    is_away: AtomicBool,
    starts: AtomicUsize,
}

impl Engine {
    pub(super) fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub(super) fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// How often it was asked to start something.
    pub(super) fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    fn reached(&self) -> Result<&MemoryBackend, RuntimeError> {
        if self.is_up() {
            return Ok(&self.inner);
        }
        let host = EngineHost::Unix(PathBuf::from("/nowhere.sock"));
        let source = EngineError::Unreachable { host, why: "it is away".into() };
        Err(RuntimeError::engine("reach the container engine")(source))
    }

    /// What it runs, by id; also while it is away.
    pub(super) async fn runs(&self) -> Vec<InstanceId> {
        self.inner.list().await.unwrap().into_iter().map(|found| found.spec.id).collect()
    }
}

#[async_trait]
impl Backend for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        self.reached()?.start(spec).await
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        self.reached()?.stop(id, grace).await
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.reached()?.list().await
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        self.inner.wait(id).await
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        self.reached()?.listening(id).await
    }

    async fn run(
        &self,
        spec: &InstanceSpec,
        output: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        self.reached()?.run(spec, output, cancel).await
    }

    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        self.reached()?.stats(id).await
    }

    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.reached()?.exec(id, request).await
    }

    async fn attach(
        &self,
        spec: &InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError> {
        self.reached()?.attach(spec, terminal).await
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        self.reached().map(drop)
    }

    fn is_up(&self) -> bool {
        !self.is_away.load(Ordering::SeqCst)
    }
}

/// One host.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) deployer: Deployer,
    pub(super) process: Arc<MemoryBackend>,
    _dir: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let text = format!("data_dir = {:?}\n", dir.path());
        let settings = SettingsHandle::fixed(Settings::from_text("test", &text).unwrap()).watch();
        let tasks = Tasks::new();
        let logs = Logs::open(at("logs"), LogLimits::default()).unwrap();
        let memory = || MemoryBackend::new(logs.clone(), tasks.clone());
        let (process, inner) = (Arc::new(memory()), memory());
        let engine = Arc::new(Engine { inner, is_away: AtomicBool::new(false), starts: AtomicUsize::new(0) });
        let beside = Arc::clone(&engine) as Arc<dyn Backend>;
        let deployer = Deployer::new(Parts {
            store: Store::open(&at("store.redb"), &at("store.key")).unwrap(),
            repositories: Repositories::new(at("repos"), at("hooks")),
            builder: Builder::new(at("cache"), settings.clone(), tasks.clone()),
            runtime: Arc::new(Runtimes::new(Arc::clone(&process) as _, Some(beside))),
            engine: None,
            proxy: Proxy::new(ProxyLimits::default(), Metrics::default(), tasks.child()),
            metrics: Metrics::default(),
            site: Site { http_port: 80 },
            left_over: Notify::new(),
            fetches: crate::fetch_places(),
            timetable: Notify::new(),
            logs,
            tasks,
            settings,
        });
        Self { engine, deployer, process, _dir: dir }
    }

    fn store(&self) -> &Store {
        &self.deployer.parts.store
    }

    /// An app with a live release of one web process.
    pub(super) fn app(&self, name: &str, artifact: fn(DeploymentId) -> Artifact) -> AppName {
        let app: AppName = name.parse().unwrap();
        let user = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        let id: DeploymentId = uuid::Uuid::now_v7().to_string().parse().unwrap();
        let source = Source::Image { reference: reference() };
        let web = ProcessType::web();
        let release = Release {
            app: app.clone(),
            number: ReleaseNumber(1),
            artifact: artifact(id.clone()),
            source: ReleaseSource::Image { reference: reference() },
            processes: [(web.clone(), None)].into(),
            formation: Formation([(web, 1)].into()),
            checks: Default::default(),
            cron: Vec::new(),
            brings: ConfigBrought::default(),
            rev_env_var: None,
            description: String::new(),
            again: None,
            deployment: id.clone(),
            created_at: UnixMillis(1),
        };
        let deployment = Deployment {
            id: id.clone(),
            app: app.clone(),
            user,
            source,
            state: DeploymentState::Running,
            stages: Vec::new(),
            release: None,
            failure: None,
            created_at: UnixMillis(1),
            ended_at: None,
        };
        let store = self.store();
        store.create_app(&App::new(app.clone(), deployment.user.clone(), UnixMillis(1))).unwrap();
        store.create_deployment(&deployment).unwrap();
        store.prepare_release(&release, &EnvMap::new(), &id, &[]).unwrap();
        store.commit_release(&app, release.number, &id, GoingLive::default(), UnixMillis(2)).unwrap();
        app
    }

    /// A container that an earlier agent has started.
    pub(super) async fn container(&self, app: &str, release: u32) -> InstanceId {
        let (app, process): (AppName, _) = (app.parse().unwrap(), ProcessType::web());
        let spec = InstanceSpec {
            id: InstanceId::compose(&app, &process, 1, release),
            app,
            release: ReleaseNumber(release),
            process,
            index: 1,
            round: 0,
            program: Program::Image { image: image(), command: None, port: 8080 },
            env: EnvMap::new(),
            limits: InstanceLimits::default(),
            mounts: Vec::new(),
            options: Vec::new(),
        };
        self.engine.inner.start(&spec).await.unwrap();
        spec.id
    }

    /// A process of an app's first release that an earlier agent has started, in a place of `web` and a round.
    pub(super) async fn process_of(&self, app: &AppName, index: u32, round: u32) -> InstanceId {
        let process = ProcessType::web();
        let spec = InstanceSpec {
            id: InstanceId::compose(app, &process, index, round),
            app: app.clone(),
            release: ReleaseNumber(1),
            process,
            index,
            round,
            program: Program::Folder { dir: PathBuf::from("/"), command: String::new() },
            env: EnvMap::new(),
            limits: InstanceLimits::default(),
            mounts: Vec::new(),
            options: Vec::new(),
        };
        self.process.start(&spec).await.unwrap();
        spec.id
    }

    /// As an operator changes what runs.
    pub(super) async fn roll(&self, app: &AppName, change: Change) -> Result<(), Failure> {
        let (screen, _nobody_reads) = mpsc::channel(64);
        self.deployer.roll(app, Roll { change, screen, cancel: CancellationToken::new() }).await
    }

    /// As the platform runs an artifact again.
    pub(super) async fn again(
        &self,
        app: &AppName,
        of: Option<ReleaseNumber>,
        config: ConfigOf,
    ) -> (DeploymentId, Result<ReleaseNumber, Failure>) {
        let id: DeploymentId = uuid::Uuid::now_v7().to_string().parse().unwrap();
        let log = self.deployer.parts.logs.build_log(&id).unwrap();
        let input = Input::Again { of, config, reason: "again".into() };
        let job = Job {
            id: id.clone(),
            app: app.clone(),
            input,
            by: Box::new(By::Platform),
            cancel: CancellationToken::new(),
            cancelled_by: Arc::default(),
            log,
        };
        let first = self.store().deployments(app, 10).unwrap().pop().unwrap();
        let deployment = Deployment {
            id: id.clone(),
            source: job.source(),
            state: DeploymentState::Queued,
            release: None,
            ..first
        };
        self.store().create_deployment(&deployment).unwrap();
        let outcome = self.deployer.go_live(job).await;
        (id, outcome)
    }

    /// Makes the folder of the artifact of an app's first release.
    pub(super) fn make_artifact(&self, app: &AppName) {
        let release = self.store().release(app, ReleaseNumber(1)).unwrap().unwrap();
        let dir = self.deployer.parts.artifact_dir(app, release.artifact.built_by());
        std::fs::create_dir_all(dir).unwrap();
    }

    pub(super) fn record(&self, app: &AppName) -> App {
        self.store().app(app).unwrap().unwrap()
    }

    pub(super) fn change_record(&self, app: &AppName, change: impl FnOnce(&mut App)) {
        self.store().update_app(app, change).unwrap();
    }

    pub(super) fn deployment(&self, id: &DeploymentId) -> Deployment {
        self.store().deployment(id).unwrap().unwrap()
    }

    pub(super) fn config(&self, app: &AppName) -> EnvMap {
        self.store().config(app).unwrap()
    }

    pub(super) fn set_config(&self, app: &AppName, env: &EnvMap) {
        self.store().set_config(app, env).unwrap();
    }

    /// The environment of an app's newest process.
    pub(super) async fn environment(&self, app: &AppName) -> EnvMap {
        let all = self.process.list().await.unwrap().into_iter();
        let newest = all.filter(|one| one.spec.app == *app).max_by_key(|one| one.spec.release);
        newest.unwrap().spec.env
    }

    /// What runs as a process, by id.
    pub(super) async fn process_ids(&self) -> BTreeSet<InstanceId> {
        self.process.list().await.unwrap().into_iter().map(|one| one.spec.id).collect()
    }

    /// As the platform destroys an app.
    pub(super) async fn destroy(&self, app: &AppName) {
        self.store().destroy_app(app).unwrap();
        self.deployer.destroy(app).await.unwrap();
    }

    /// How many endpoints the visitors of an app are led to; `None` without a route.
    pub(super) fn endpoints(&self, app: &AppName) -> Option<usize> {
        let routes = self.deployer.parts.proxy.routes();
        routes.iter().find(|route| route.app == *app).map(|route| match &route.target {
            Target::Endpoints(endpoints) | Target::Lambda(endpoints) => endpoints.len(),
            Target::Static { .. } => 0,
        })
    }

    /// How many processes run.
    pub(super) async fn processes(&self) -> usize {
        self.process.list().await.unwrap().len()
    }

    /// How many lines of an app's log hold this.
    pub(super) fn lines_with(&self, app: &AppName, text: &str) -> usize {
        let log = self.deployer.parts.logs.app(app).unwrap();
        let (lines, _) = log.tail(1_000, &Filter::default()).unwrap();
        lines.iter().filter(|(_, entry)| entry.text_lossy().contains(text)).count()
    }
}

/// Waits for a value.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waited).await.is_ok(), "{what}");
}

fn reference() -> ImageReference {
    "example.com/team/app:1".parse().unwrap()
}

fn image() -> autostack_domain::Digest {
    format!("sha256:{}", "0".repeat(64)).parse().unwrap()
}

/// Runs in the engine.
pub(super) fn an_image(built_by: DeploymentId) -> Artifact {
    Artifact::Image { built_by, image: image(), ports: vec![8080], is_lambda: false, static_site: None }
}

/// Runs as a process.
pub(super) fn a_folder(built_by: DeploymentId) -> Artifact {
    Artifact::Directory { built_by, launch: LaunchEnv::default(), static_site: None }
}
