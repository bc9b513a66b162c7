//! Two scripted runtimes side by side, one of them behind an engine that comes and goes.

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use autostack_base::tasks::Tasks;
use autostack_domain::{EnvMap, ProcessType, ReleaseNumber, resources::InstanceLimits};
use autostack_engine::{EngineError, EngineHost};
use autostack_logs::{LogLimits, Logs};
use tempfile::TempDir;

use super::*;
use crate::memory::{MemoryBackend, Program as Script};

/// A scripted runtime that fails as a container engine does while it is away.
struct Engine {
    inner: MemoryBackend,
    is_away: AtomicBool,
    /// Fails, though the engine answers.
    is_broken: AtomicBool,
}

impl Engine {
    fn reach(&self) -> Result<&MemoryBackend, RuntimeError> {
        let host = EngineHost::Unix(PathBuf::from("/nowhere.sock"));
        let away = EngineError::Unreachable { host, why: "the socket does not exist".into() };
        if self.is_away.load(Ordering::SeqCst) {
            return Err(RuntimeError::engine("ask the engine")(away));
        }
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(RuntimeError::system("ask the engine")(io::ErrorKind::Other.into()));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Backend for Engine {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        self.reach()?.start(spec).await
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        self.reach()?.stop(id, grace).await
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.reach()?.list().await
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        self.reach()?.wait(id).await
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        self.reach()?.listening(id).await
    }

    async fn run(
        &self,
        spec: &InstanceSpec,
        output: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        self.reach()?.run(spec, output, cancel).await
    }

    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        self.reach()?.stats(id).await
    }

    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.reach()?.exec(id, request).await
    }

    async fn attach(
        &self,
        spec: &InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError> {
        self.reach()?.attach(spec, terminal).await
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        self.reach().map(drop)
    }

    fn is_up(&self) -> bool {
        !self.is_away.load(Ordering::SeqCst)
    }
}

struct World {
    process: Arc<MemoryBackend>,
    engine: Arc<Engine>,
    both: Runtimes,
    logs: Logs,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path().join("logs"), LogLimits::default()).unwrap();
        let memory = || MemoryBackend::new(logs.clone(), Tasks::new());
        let (process, inner) = (Arc::new(memory()), memory());
        let engine = Engine { inner, is_away: AtomicBool::new(false), is_broken: AtomicBool::new(false) };
        let engine = Arc::new(engine);
        let both = Runtimes::new(Arc::<MemoryBackend>::clone(&process), Some(Arc::<Engine>::clone(&engine)));
        Self { process, engine, both, logs, _dir: dir }
    }
}

fn spec(random: u32, program: Program) -> InstanceSpec {
    let (app, process) = ("shop".parse().unwrap(), ProcessType::web());
    let id = InstanceId::compose(&app, &process, 1, random);
    let limits = InstanceLimits::default();
    let (env, mounts, options) = (EnvMap::new(), Vec::new(), Vec::new());
    InstanceSpec {
        id,
        app,
        release: ReleaseNumber(1),
        process,
        index: 1,
        round: 0,
        program,
        env,
        limits,
        mounts,
        options,
    }
}

fn folder(random: u32) -> InstanceSpec {
    spec(random, Program::Folder { dir: PathBuf::from("/"), command: "serve".into() })
}

fn image(random: u32) -> InstanceSpec {
    let image = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    spec(random, Program::Image { image, command: Some("serve".into()), port: 80 })
}

fn ids(observed: &[Observed]) -> Vec<InstanceId> {
    observed.iter().map(|one| one.spec.id.clone()).collect()
}

#[tokio::test]
async fn the_program_decides_who_runs_an_instance_and_its_holder_is_found_again() {
    let world = World::new();
    // Between two processes in the order of ids.
    let specs = [folder(1), image(2), folder(3)];
    for spec in &specs {
        world.both.start(spec).await.unwrap();
    }
    assert_eq!(ids(&world.process.list().await.unwrap()), [specs[0].id.clone(), specs[2].id.clone()]);
    assert_eq!(ids(&world.engine.list().await.unwrap()), [specs[1].id.clone()]);
    assert_eq!(ids(&world.both.list().await.unwrap()), specs.each_ref().map(|spec| spec.id.clone()));
    for spec in &specs {
        assert_eq!(world.both.listening(&spec.id).await.unwrap().len(), 1);
        assert_eq!(world.both.stats(&spec.id).await.unwrap().processes, 1);
        world.process.script("look", Script::ends(Exit::Code(1)));
        world.engine.inner.script("look", Script::ends(Exit::Code(2)));
        let look = ExecRequest { command: "look".into(), ..ExecRequest::default() };
        let by = world.both.exec(&spec.id, look).await.unwrap().wait().await.unwrap();
        let is_image = matches!(spec.program, Program::Image { .. });
        assert_eq!(by, Exit::Code(1 + i32::from(is_image)));
        world.both.stop(&spec.id, Duration::ZERO).await.unwrap();
        assert!(matches!(world.both.wait(&spec.id).await, Err(RuntimeError::NotFound { .. })));
    }
    assert!(world.both.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_command_runs_where_its_program_belongs() {
    let world = World::new();
    world.process.script("serve", Script::ends(Exit::Code(1)));
    world.engine.inner.script("serve", Script::ends(Exit::Code(2)));
    let log = world.logs.build_log(&"01890000-0000-7000-8000-000000000001".parse().unwrap()).unwrap();
    let cancel = CancellationToken::new();
    assert_eq!(world.both.run(&folder(1), &log, &cancel).await.unwrap(), Exit::Code(1));
    assert_eq!(world.both.run(&image(2), &log, &cancel).await.unwrap(), Exit::Code(2));
}

#[tokio::test]
async fn without_an_engine_an_image_is_refused_in_so_many_words() {
    let World { process, logs, _dir, .. } = World::new();
    let alone = Runtimes::new(process, None);
    assert_eq!((alone.name(), alone.is_up()), ("memory", true));
    let refused = alone.start(&image(1)).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NoEngine { .. }), "{refused:?}");
    assert!(refused.to_string().contains("runtime.backend = process"), "{refused}");
    let log = logs.build_log(&"01890000-0000-7000-8000-000000000002".parse().unwrap()).unwrap();
    let refused = alone.run(&image(1), &log, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NoEngine { .. }), "{refused:?}");
    alone.start(&folder(2)).await.unwrap();
    assert_eq!(alone.list().await.unwrap().len(), 1);
    alone.ping().await.unwrap();
    alone.engine_reachable().await;
    alone.stop(&folder(2).id, Duration::ZERO).await.unwrap();
    alone.stop(&image(1).id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_away_hides_no_process() {
    let world = World::new();
    let (here, there) = (folder(1), image(2));
    world.both.start(&here).await.unwrap();
    world.both.start(&there).await.unwrap();
    world.engine.is_away.store(true, Ordering::SeqCst);
    assert!(!world.both.is_up());
    let listing = world.both.listing().await.unwrap();
    assert_eq!(ids(&listing.observed), std::slice::from_ref(&here.id));
    assert!(listing.unreachable.is_some_and(|why| why.is_engine_gone()));
    for refused in [
        world.both.list().await.map(drop),
        world.both.ping().await,
        world.both.stop(&there.id, Duration::ZERO).await,
        world.both.stats(&there.id).await.map(drop),
        world.both.start(&image(3)).await.map(drop),
    ] {
        assert!(refused.is_err_and(|error| error.is_engine_gone()));
    }
    world.both.stats(&here.id).await.unwrap();
    world.both.stop(&here.id, Duration::ZERO).await.unwrap();
    // What is broken otherwise is not taken for an engine that is away.
    world.engine.is_away.store(false, Ordering::SeqCst);
    world.engine.is_broken.store(true, Ordering::SeqCst);
    assert!(world.both.listing().await.is_err_and(|error| !error.is_engine_gone()));
}

#[tokio::test]
async fn an_engine_that_comes_back_is_noticed() {
    let world = World::new();
    world.engine.is_away.store(true, Ordering::SeqCst);
    let back = async {
        sleep(PING_PAUSE + PING_PAUSE / 2).await;
        world.engine.is_away.store(false, Ordering::SeqCst);
    };
    let both = async { tokio::join!(world.both.engine_reachable(), back) };
    timeout(20 * PING_PAUSE, both).await.unwrap();
    world.both.ping().await.unwrap();
}
