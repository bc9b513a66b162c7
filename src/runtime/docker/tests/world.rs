//! An engine with a mark of its own, logs in a folder, and the backend on them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use autostack_base::{
    settings::{EndpointChoice, PortRange},
    tasks::Tasks,
};
use autostack_domain::{
    Digest, EnvMap, InstanceId, InstanceSpec, ProcessType, Program, ReleaseNumber, resources::InstanceLimits,
};
use autostack_engine::{
    Engine,
    bollard::{
        models::ContainerInspectResponse,
        query_parameters::{ListContainersOptions, ListNetworksOptions},
    },
    testing::{TestEngine, busybox},
};
use autostack_logs::{LogLimits, Logs};
use tempfile::TempDir;

use crate::{
    Backend, ContainerLimits, DockerBackend, DockerOptions, contract, docker::labels::container_name,
};

/// Longest that anything may take that takes no time; an engine that is busy with others takes some.
pub(super) const SOON: Duration = Duration::from_secs(60);
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// The port that programs serve on within their containers.
pub(super) const PORT: u16 = 8080;

pub(super) const MODEST: ContainerLimits =
    ContainerLimits { memory_bytes_max: Some(256 << 20), cpus_max: None, pids_max: 100 };

/// Waits, when it is dropped, until nothing is under way any more, so that what is swept up afterwards is all.
struct Quiet(Tasks);

impl Drop for Quiet {
    fn drop(&mut self) {
        let deadline = Instant::now() + SOON;
        while !self.0.running().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// An agent's worth of containers. Dropped from above to below: the backend first, the engine last.
pub(super) struct World {
    pub(super) backend: DockerBackend,
    pub(super) logs: Logs,
    pub(super) tasks: Tasks,
    quiet: Quiet,
    pub(super) image: Digest,
    pub(super) limits: Arc<Mutex<ContainerLimits>>,
    endpoints: EndpointChoice,
    dir: TempDir,
    pub(super) engine: TestEngine,
}

impl World {
    /// On the engine of this machine.
    pub(super) async fn new() -> Self {
        Self::with(EndpointChoice::Auto).await
    }

    pub(super) async fn with(endpoints: EndpointChoice) -> Self {
        Self::on(TestEngine::find(), endpoints).await
    }

    pub(super) async fn on(engine: TestEngine, endpoints: EndpointChoice) -> Self {
        let image = busybox(&engine).await;
        let (dir, limits) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(MODEST)));
        let (logs, tasks) = (open_logs(dir.path()), Tasks::new());
        let backend = open(&engine, endpoints, &limits, &logs, &tasks).await;
        tokio::time::timeout(SOON, backend.reachable()).await.unwrap();
        let quiet = Quiet(tasks.clone());
        Self { backend, logs, tasks, quiet, image, limits, endpoints, dir, engine }
    }

    /// The agent goes away and comes back; `meanwhile` happens in between.
    pub(super) async fn reopened(self, meanwhile: impl AsyncFnOnce(&Engine)) -> Self {
        let Self { backend, logs, tasks, quiet, image, limits, endpoints, dir, engine } = self;
        drop(backend);
        let left = tasks.wait(SOON).await;
        assert!(left.is_empty(), "{left:?}");
        drop((quiet, logs));
        meanwhile(&engine).await;
        let (logs, tasks) = (open_logs(dir.path()), Tasks::new());
        let backend = open(&engine, endpoints, &limits, &logs, &tasks).await;
        tokio::time::timeout(SOON, backend.reachable()).await.unwrap();
        let quiet = Quiet(tasks.clone());
        Self { backend, logs, tasks, quiet, image, limits, endpoints, dir, engine }
    }

    /// An instance of the app `shop`.
    pub(super) fn spec(&self, command: &str) -> InstanceSpec {
        self.spec_of("shop", command)
    }

    pub(super) fn spec_of(&self, app: &str, command: &str) -> InstanceSpec {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let (app, process) = (app.parse().unwrap(), ProcessType::web());
        InstanceSpec {
            id: InstanceId::compose(&app, &process, 1, 0xd0c0_0000 + NEXT.fetch_add(1, Ordering::Relaxed)),
            app,
            release: ReleaseNumber(1),
            process,
            index: 1,
            round: 0,
            program: Program::Image {
                image: self.image.clone(),
                command: Some(command.to_owned()),
                port: PORT,
            },
            env: EnvMap::new(),
            limits: InstanceLimits::default(),
            mounts: Vec::new(),
            options: Vec::new(),
        }
    }

    /// Starts a command and gives its spec.
    pub(super) async fn start(&self, command: &str) -> InstanceSpec {
        let spec = self.spec(command);
        self.backend.start(&spec).await.unwrap();
        spec
    }

    pub(super) async fn stop(&self, spec: &InstanceSpec) {
        self.backend.stop(&spec.id, GRACE).await.unwrap();
    }

    /// The lines of an instance so far.
    pub(super) fn lines(&self, spec: &InstanceSpec) -> Vec<String> {
        let found = contract::lines_of(&self.logs, spec).unwrap();
        found.into_iter().map(|(_, line)| line).collect()
    }

    /// Waits until an instance has said so many lines.
    pub(super) async fn said(&self, spec: &InstanceSpec, lines: usize) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let found = self.lines(spec);
            if found.len() >= lines {
                return found;
            }
            assert!(Instant::now() < deadline, "{} said {found:?}", spec.id);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn container(&self, spec: &InstanceSpec) -> String {
        container_name(self.engine.mark(), &spec.id)
    }

    pub(super) async fn inspect(&self, spec: &InstanceSpec) -> ContainerInspectResponse {
        let docker = self.engine.docker().await.unwrap();
        docker.inspect_container(&self.container(spec), None).await.unwrap()
    }

    /// Names of what carries the agent's mark: containers and networks.
    pub(super) async fn left(&self) -> Vec<String> {
        left(&self.engine).await
    }

    pub(super) async fn assert_nothing_left(&self) {
        let deadline = Instant::now() + SOON;
        loop {
            let left = self.left().await;
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{left:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until it is so; level, not edge.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn left(engine: &Engine) -> Vec<String> {
    let docker = engine.docker().await.unwrap();
    let filters = Some(engine.label_filter(None));
    let options = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
    let containers = docker.list_containers(Some(options)).await.unwrap();
    let networks = docker.list_networks(Some(ListNetworksOptions { filters })).await.unwrap();
    let containers = containers.into_iter().flat_map(|one| one.names.unwrap());
    containers.chain(networks.into_iter().map(|one| one.name.unwrap())).collect()
}

pub(super) fn open_logs(dir: &Path) -> Logs {
    let limits = LogLimits { app_bytes_max: 1 << 30, ..LogLimits::default() };
    Logs::open(dir.join("logs"), limits).unwrap()
}

pub(super) async fn open(
    engine: &Engine,
    endpoints: EndpointChoice,
    limits: &Arc<Mutex<ContainerLimits>>,
    logs: &Logs,
    tasks: &Tasks,
) -> DockerBackend {
    // A stretch for each backend, as tests run side by side: a port is nobody's until it is published.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let stretch = (std::process::id() % 8) * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
    let first = 20_000 + u16::try_from(stretch).unwrap() * 10;
    let limits = Arc::clone(limits);
    let options = DockerOptions {
        endpoints,
        port_range: PortRange(first..=first + 9),
        limits: Arc::new(move || *limits.lock().unwrap()),
    };
    DockerBackend::open(engine.clone(), options, logs.clone(), tasks.clone()).await.unwrap()
}
