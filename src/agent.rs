//! The composition root: start-up and shut-down as one readable list. Sockets are bound early and served late; what
//! was started last is stopped first.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use autostack_base::{
    error_chain,
    health::{Health, HealthSource, Part},
    settings::{RuntimeSettings, Settings, SettingsError, SettingsHandle, Sources},
    tasks::Tasks,
    telemetry::{self, TelemetryError, metrics::Metrics},
};
use autostack_builder::{Builder, Logins};
use autostack_deploy::{Deployer, Parts, RecoveryError, Site, fetch_places};
use autostack_engine::{Engine, EngineError};
use autostack_git::{Repositories, RepositoryError, install_hooks};
use autostack_logs::{LogError, LogLimits, Logs};
use autostack_platform::{Addresses, HookAccess, Platform};
use autostack_proxy::{Proxy, ProxyLimits};
use autostack_runtime::{
    Backend, ContainerLimits, DockerBackend, DockerOptions, ProcessBackend, RuntimeError, Runtimes,
    ShimCommand,
};
use autostack_ssh::{HostKey, HostKeyError, Limits};
use autostack_store::{Store, StoreError};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal},
};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal as Signals, SignalKind, signal},
    sync::Notify,
};

use crate::{
    engine_choice,
    sockets::{ListenError, Passed},
    terminal,
};

/// How long doors may take to finish what is under way when the agent stops.
const DOORS_STOP: Duration = Duration::from_secs(45);
/// How long the proxy may take to finish the requests in flight.
const PROXY_STOP: Duration = Duration::from_secs(30);
/// How long threads that block may take at the very end.
const THREADS_STOP: Duration = Duration::from_secs(1);
/// How long everything else may take.
const CORE_STOP: Duration = Duration::from_secs(10);

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The settings hold mistakes, all of them.
    #[error("the settings cannot be used: {}", list(.0))]
    Settings(Vec<SettingsError>),
    /// Logging did not begin.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The async runtime or its signal handlers could not be made.
    #[error("the agent cannot run")]
    Runtime(#[source] io::Error),
    /// A folder of the data directory could not be made.
    #[error("folder {} cannot be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An address is taken or not allowed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The Unix socket could not be made.
    #[error("socket {} cannot be made", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The logs did not open.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// The repositories could not be swept.
    #[error(transparent)]
    Repositories(#[from] RepositoryError),
    /// The runtime did not open.
    #[error("the runtime cannot be opened")]
    Instances(#[from] RuntimeError),
    /// The container engine could not be prepared for.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What should run and what runs could not be compared.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The host key could not be read or made.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
}

impl AgentError {
    fn exit_code(&self) -> ExitCode {
        if matches!(self, AgentError::Settings(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}

fn list(errors: &[SettingsError]) -> String {
    errors.iter().map(|error| error_chain(error)).collect::<Vec<_>>().join("; ")
}

/// Where things stand in the data directory.
#[derive(Debug, Clone)]
pub struct Layout(PathBuf);

impl Layout {
    /// The layout of a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.to_owned())
    }

    /// The agent's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The file that tells this agent's containers and images from those of others.
    pub(crate) fn engine_mark(&self) -> PathBuf {
        self.0.join("keys").join("engine.id")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes every folder, readable by the agent's own user only.
    fn make(&self) -> Result<(), AgentError> {
        let names = ["", "keys", "repos", "hooks", "artifacts", "cache", "logs", "instances"];
        names.iter().map(|name| self.folder(name)).try_for_each(|path| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|source| AgentError::Folder { path, source })
        })
    }
}

/// Runs the agent in the foreground until SIGTERM or Ctrl-C.
pub fn serve(config: Option<PathBuf>) -> ExitCode {
    let passed = Passed::from_environment();
    let outcome = telemetry::init().map_err(AgentError::from).and_then(|()| {
        block_on(async {
            // Before anything is started: a stop that comes early is obeyed in order too.
            let mut stop = StopSignals::listen()?;
            let agent = Agent::start(Sources::of_process(config), passed).await?;
            notify_systemd(&[sd_notify::NotifyState::Ready]);
            stop.received().await;
            notify_systemd(&[sd_notify::NotifyState::Stopping]);
            tracing::info!(pushes = agent.platform().pushes(), "agent stops; pushes under way get 20 s, a second signal cuts them off");
            tokio::select! {
                () = agent.stop() => {}
                () = stop.received() => tracing::warn!("stopped at once; the next start clears up what was cut off"),
            }
            Ok(())
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::trouble(&error_chain(&error), None);
            error.exit_code()
        }
    }
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, AgentError>>) -> Result<T, AgentError> {
    // A write beyond the file size limit shall be an error, not the end of the agent.
    // SAFETY: SIG_IGN installs no handler, and no other thread runs yet.
    let _previous = unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    raise_descriptor_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(AgentError::Runtime)?;
    let outcome = runtime.block_on(future);
    // Whatever still blocks a thread is left to the end of the process.
    runtime.shutdown_timeout(THREADS_STOP);
    outcome
}

/// Connections are descriptors: takes as many as the host allows. The shims set the limit of the apps themselves.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// The signals that end an agent in order: SIGTERM, Ctrl-C, and a terminal that is closed.
pub(crate) struct StopSignals([Signals; 3]);

impl StopSignals {
    /// From here on they no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, AgentError> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hangup] = kinds.map(|kind| signal(kind).map_err(AgentError::Runtime));
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    /// Waits for the first of them.
    pub(crate) async fn received(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn notify_systemd(states: &[sd_notify::NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// A running agent.
pub struct Agent {
    platform: Platform,
    addresses: Addresses,
    doors: Tasks,
    visitors: Tasks,
    core: Tasks,
}

impl Agent {
    /// Opens what is kept, brings what runs in line with it, then opens the doors.
    pub async fn start(sources: Sources, mut passed: Passed) -> Result<Self, AgentError> {
        let core = Tasks::new();
        let handle = SettingsHandle::start(sources, &core).map_err(AgentError::Settings)?;
        let settings = handle.current();
        let layout = Layout::new(&settings.data_dir);
        layout.make()?;
        tracing::info!(data_dir = %settings.data_dir.display(), version = env!("CARGO_PKG_VERSION"), "agent starts");

        let store = Store::open(&layout.folder("store.redb"), &layout.folder("keys").join("store.key"))?;
        let listeners = Listeners::bind(&settings, &layout, &mut passed)?;
        let addresses = listeners.addresses(&settings)?;

        let (visitors, doors) = (Tasks::new(), Tasks::new());
        let metrics = Metrics::default();
        let proxy = Proxy::new(ProxyLimits::default(), metrics.clone(), visitors.child());
        let deployer =
            open_deployer(store, &layout, &handle, &core, Arc::clone(&proxy), metrics, addresses).await?;
        let recovery = deployer.recover().await?;
        tracing::info!(?recovery, "first reconcile done");
        core.spawn("engine clean-up", deployer.clone().keep_engine_clean());
        core.spawn("cron", deployer.clone().keep_time());

        let access = HookAccess { socket: layout.socket(), binary: own_binary() };
        let platform = Platform::new(deployer, access, addresses);
        listeners.serve(&platform, &proxy, &visitors, &doors, health(&handle, &platform), &layout);
        tracing::info!(ssh = %addresses.ssh, http = %addresses.http, api = %addresses.api, "every door is open");
        Ok(Self { platform, addresses, doors, visitors, core })
    }

    /// Every operation, for a caller in the same process.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Where the doors listen.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Stops in the reverse order of the start: no new work, then the work under way, then the owners of the apps.
    /// Instances keep running; the next agent adopts them.
    pub async fn stop(self) {
        let steps = [
            (&self.doors, DOORS_STOP, "doors"),
            (&self.visitors, PROXY_STOP, "proxy"),
            (&self.core, CORE_STOP, "core"),
        ];
        for (tasks, budget, name) in steps {
            let left = tasks.stop(budget).await;
            if left.is_empty() {
                tracing::info!("{name} stopped");
            } else {
                tracing::warn!(tasks = ?left, "{name} did not stop in time");
            }
        }
    }
}

async fn open_deployer(
    store: Store,
    layout: &Layout,
    handle: &SettingsHandle,
    core: &Tasks,
    proxy: Arc<Proxy>,
    metrics: Metrics,
    addresses: Addresses,
) -> Result<Deployer, AgentError> {
    let settings = handle.current();
    let logs = Logs::open(layout.folder("logs"), LogLimits::from(&settings.logs))?;
    core.spawn("event sync", logs.clone().keep_events_synced(core.clone(), core.shutdown_token()));
    core.spawn("log sweep", logs.clone().keep_swept(core.clone(), core.shutdown_token()));
    // Stopped after the visitors: what they still asked for is noted too.
    proxy.keep_access_log(logs.clone(), core);
    let hooks_dir = layout.folder("hooks");
    install_hooks(&hooks_dir).map_err(|source| AgentError::Folder { path: hooks_dir.clone(), source })?;
    let repositories = Repositories::new(layout.folder("repos"), hooks_dir);
    repositories.sweep_quarantines()?;
    let engine = engine_choice::choose(&settings, layout).await?;
    let builder = Builder::new(layout.folder("cache"), handle.watch(), core.clone());
    let builder = match &engine {
        Some(engine) => builder.with_engine(engine.clone(), logins(&store)),
        None => builder,
    };
    match builder.sweep() {
        Ok(0) => {}
        Ok(builds) => tracing::warn!(builds, "builds that were cut off are ended"),
        Err(error) => tracing::error!(%error, "builds that were cut off could not be cleared away"),
    }
    let runtime = open_runtimes(layout, handle, engine.as_ref(), &logs, core).await?;
    Ok(Deployer::new(Parts {
        store,
        logs,
        repositories,
        builder,
        runtime: Arc::new(runtime),
        engine,
        proxy,
        metrics,
        tasks: core.clone(),
        settings: handle.watch(),
        site: Site { http_port: addresses.http.port() },
        left_over: Notify::new(),
        fetches: fetch_places(),
        timetable: Notify::new(),
    }))
}

/// How registries let the builds of an app in.
fn logins(store: &Store) -> Logins {
    let store = store.clone();
    Arc::new(move |app, registry| {
        let registry = registry.parse().ok()?;
        store.registry_login(app, &registry).unwrap_or_else(|error| {
            tracing::error!(%app, %registry, %error, "a login at a registry cannot be read");
            None
        })
    })
}

/// Processes, and containers where there is an engine.
async fn open_runtimes(
    layout: &Layout,
    handle: &SettingsHandle,
    engine: Option<&Engine>,
    logs: &Logs,
    core: &Tasks,
) -> Result<Runtimes, AgentError> {
    let settings = handle.current();
    let ports = settings.runtime.port_range.clone();
    let instances = layout.folder("instances");
    let process =
        ProcessBackend::open(instances, ShimCommand::own(), ports, logs.clone(), core.clone()).await?;
    let docker = match engine {
        Some(engine) => {
            let now = handle.watch();
            let options = DockerOptions {
                endpoints: settings.docker.endpoints,
                port_range: settings.runtime.port_range.clone(),
                limits: Arc::new(move || limits_of(&now.borrow().runtime)),
            };
            let docker = DockerBackend::open(engine.clone(), options, logs.clone(), core.clone()).await?;
            Some(Arc::new(docker) as Arc<dyn Backend>)
        }
        None => None,
    };
    Ok(Runtimes::new(Arc::new(process), docker))
}

fn limits_of(settings: &RuntimeSettings) -> ContainerLimits {
    ContainerLimits {
        memory_bytes_max: settings.memory_bytes_max,
        cpus_max: settings.cpus_max,
        pids_max: settings.pids_max,
    }
}

/// The binary that hooks execute: this very one, also after its file was replaced by an upgrade.
fn own_binary() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

fn health(handle: &SettingsHandle, platform: &Platform) -> HealthSource {
    let (handle, platform) = (handle.clone(), platform.clone());
    Arc::new(move || {
        let settings = handle.problem().map_or_else(Part::ok, Part::degraded);
        let tasks = match platform.panics() {
            0 => Part::ok(),
            count => Part::degraded(format!("{count} tasks have panicked since the start")),
        };
        let health = Health::default().with("settings", settings).with("tasks", tasks);
        platform.parts_health().into_iter().fold(health, |health, (name, part)| health.with(name, part))
    })
}

/// The listeners of all doors, bound and not yet served.
struct Listeners {
    ssh: TcpListener,
    http: TcpListener,
    api: TcpListener,
    local: UnixListener,
    host_key: HostKey,
}

impl Listeners {
    fn bind(settings: &Settings, layout: &Layout, passed: &mut Passed) -> Result<Self, AgentError> {
        let path = layout.socket();
        let local =
            autostack_local::server::bind(&path).map_err(|source| AgentError::Socket { path, source })?;
        Ok(Self {
            ssh: passed.listener("ssh", "ssh.listen", settings.ssh.listen)?,
            http: passed.listener("http", "http.listen", settings.http.listen)?,
            api: passed.listener("api", "api.listen", settings.api.listen)?,
            local,
            host_key: HostKey::open(&layout.folder("keys").join("ssh_host_ed25519"))?,
        })
    }

    /// Where they listen; a port of 0 in the settings has become a real one.
    fn addresses(&self, settings: &Settings) -> Result<Addresses, ListenError> {
        let of = |listener: &TcpListener, key: &'static str, address: SocketAddr| {
            listener.local_addr().map_err(|source| ListenError { address, key, source })
        };
        Ok(Addresses {
            ssh: of(&self.ssh, "ssh.listen", settings.ssh.listen)?,
            http: of(&self.http, "http.listen", settings.http.listen)?,
            api: of(&self.api, "api.listen", settings.api.listen)?,
        })
    }

    fn serve(
        self,
        platform: &Platform,
        proxy: &Arc<Proxy>,
        visitors: &Tasks,
        doors: &Tasks,
        health: HealthSource,
        layout: &Layout,
    ) {
        let (proxy, stop) = (Arc::clone(proxy), visitors.shutdown_token());
        visitors.spawn("proxy", async move { proxy.serve(self.http, stop).await });
        let local = autostack_local::server::serve(
            self.local,
            layout.socket(),
            platform.clone(),
            visitors.clone(),
            visitors.shutdown_token(),
        );
        visitors.spawn("local door", local);
        let monitoring = platform.clone().keep_monitoring(doors.clone(), doors.shutdown_token());
        doors.spawn("monitoring", monitoring);
        let router = autostack_api::router(autostack_api::Api::new(platform.clone(), health, doors.clone()));
        let api = autostack_api::serve(self.api, router, doors.clone(), doors.shutdown_token());
        doors.spawn("api door", api);
        let ssh =
            autostack_ssh::Server::new(platform.clone(), self.host_key, Limits::default(), doors.clone());
        let stop = doors.shutdown_token();
        doors.spawn("ssh door", async move { ssh.serve(self.ssh, stop).await });
    }
}
