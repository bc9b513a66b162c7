//! A backend in a folder of its own, and the shim inside of the test binary.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use autostack_base::{settings::PortRange, tasks::Tasks};
use autostack_domain::{
    EnvMap, InstanceId, InstanceSpec, ProcessType, Program, ReleaseNumber, resources::InstanceLimits,
};
use autostack_logs::{LogLimits, Logs};
use tempfile::TempDir;

use crate::{
    Backend, ProcessBackend, ShimCommand,
    process::{
        leftovers::kill_marked,
        output::OutputLimits,
        procfs::{MARK, Stat, mark_of, processes},
        shim_main,
    },
};

/// The first argument of a test binary that is to be a shim.
const SHIM: &str = "shim-of-the-tests";

/// Runs before `main`, where the test harness would make threads: a shim has one.
#[used]
#[unsafe(link_section = ".init_array")]
static BE_A_SHIM: extern "C" fn() = {
    extern "C" fn be_a_shim() {
        let mut args = env::args_os().skip(1);
        if args.next().as_deref() == Some(OsStr::new(SHIM)) {
            let done = shim_main(args) == ExitCode::SUCCESS;
            std::process::exit(i32::from(!done));
        }
    }
    be_a_shim
};

/// How long anything may take that takes no time.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// A folder with logs and instances, and the backend in it.
pub(super) struct World {
    pub(super) backend: ProcessBackend,
    pub(super) logs: Logs,
    pub(super) tasks: Tasks,
    pub(super) dir: Folder,
}

/// Ends what a test left running in it.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let names = fs::read_dir(self.0.path().join("instances")).into_iter().flatten();
        let names: Vec<String> =
            names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        if !names.is_empty() {
            let _ = kill_marked(&names.iter().map(String::as_str).collect());
        }
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(OutputLimits::default()).await
    }

    pub(super) async fn with(limits: OutputLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("app")).unwrap();
        Self::open(Folder(dir), limits).await
    }

    async fn open(dir: Folder, limits: OutputLimits) -> Self {
        let (logs, tasks) = (open_logs(dir.path()), Tasks::new());
        let backend = open_backend(dir.path(), &logs, &tasks, limits).await;
        Self { dir, logs, tasks, backend }
    }

    /// The agent goes away and comes back; `meanwhile` happens in between.
    pub(super) async fn reopened(self, meanwhile: impl FnOnce(&Path)) -> Self {
        let Self { dir, logs, tasks, backend } = self;
        drop(backend);
        assert!(tasks.wait(SOON).await.is_empty());
        drop(logs);
        meanwhile(dir.path());
        Self::open(dir, OutputLimits::default()).await
    }

    pub(super) fn spec(&self, command: &str) -> InstanceSpec {
        spec(self.dir.path(), command)
    }

    /// Where programs start.
    pub(super) fn app_dir(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    pub(super) fn instance_dir(&self, id: &InstanceId) -> PathBuf {
        self.dir.path().join("instances").join(id.as_str())
    }

    /// Starts a command and gives its spec.
    pub(super) async fn start(&self, command: &str) -> InstanceSpec {
        let spec = self.spec(command);
        self.backend.start(&spec).await.unwrap();
        spec
    }

    /// The lines of an instance so far.
    pub(super) fn lines(&self, spec: &InstanceSpec) -> Vec<String> {
        let found = crate::contract::lines_of(&self.logs, spec).unwrap();
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
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(super) fn open_logs(dir: &Path) -> Logs {
    let limits = LogLimits { app_bytes_max: 1 << 30, ..LogLimits::default() };
    Logs::open(dir.join("logs"), limits).unwrap()
}

pub(super) async fn open_backend(
    dir: &Path,
    logs: &Logs,
    tasks: &Tasks,
    limits: OutputLimits,
) -> ProcessBackend {
    // A stretch for each backend, as tests run side by side: a port is nobody's until its app binds it.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let stretch = (std::process::id() % 8) * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
    let first = 10_000 + u16::try_from(stretch).unwrap() * 25;
    let ports = PortRange(first..=first + 24);
    let instances = dir.join("instances");
    ProcessBackend::open_with(&instances, shim(), ports, logs.clone(), tasks, limits).await.unwrap()
}

pub(super) fn shim() -> ShimCommand {
    ShimCommand { program: PathBuf::from("/proc/self/exe"), args: vec![OsString::from(SHIM)] }
}

pub(super) fn spec(dir: &Path, command: &str) -> InstanceSpec {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let (app, process) = ("shop".parse().unwrap(), ProcessType::web());
    InstanceSpec {
        id: InstanceId::compose(&app, &process, 1, u32::try_from(random >> 32).unwrap()),
        app,
        release: ReleaseNumber(1),
        process,
        index: 1,
        round: 0,
        program: Program::Folder { dir: dir.join("app"), command: command.to_owned() },
        env: EnvMap::new(),
        limits: InstanceLimits::default(),
        mounts: Vec::new(),
        options: Vec::new(),
    }
}

/// The processes that carry the mark of an instance, its shim included.
pub(super) fn marked(id: &InstanceId) -> Vec<Stat> {
    let all = processes().unwrap();
    all.into_iter().filter(|stat| mark_of(stat.pid).as_deref() == Some(id.as_str())).collect()
}

/// Waits until it is so; level, not edge.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_mark_is_spelled_as_documented() {
    assert_eq!(MARK, "AUTOSTACK_INSTANCE");
}
