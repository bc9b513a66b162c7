//! Builds on the real engine.

mod budget;
mod cache;
mod cancel;
mod differential;
mod failures;
mod images;
mod leftovers;
mod secrets;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use autostack_domain::{AppName, DeploymentId};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Budget, Build, BuildError, BuilderChoice, Built, Dockerfile};
use crate::{
    Output,
    testing::{BUSYBOX, TestEngine, busybox},
};

/// An engine with a base image, and an app with its files.
struct World {
    engine: TestEngine,
    app: AppName,
    dir: TempDir,
}

/// What a build said, one line for each thing.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn hear(&self) -> impl Fn(Output<'_>) + Send + Sync + 'static {
        let text = Arc::clone(&self.0);
        move |output| {
            let mut text = text.lock().unwrap();
            match output {
                Output::Step(line) => text.push_str(&format!("> {line}\n")),
                Output::Detail(line) => text.push_str(&format!("  {line}\n")),
                Output::Raw(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
            }
        }
    }
}

static APPS: AtomicU64 = AtomicU64::new(0);

impl World {
    async fn new() -> Self {
        let engine = TestEngine::find();
        busybox(&engine).await;
        let number = APPS.fetch_add(1, Ordering::Relaxed);
        let app = format!("build-{}-{number}", std::process::id()).parse().unwrap();
        Self { engine, app, dir: tempfile::tempdir().unwrap() }
    }

    /// A world whose Dockerfile starts from the base image.
    async fn with(dockerfile: &str) -> Self {
        let world = Self::new().await;
        world.write("Dockerfile", &format!("FROM {BUSYBOX}\n{dockerfile}"));
        world
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn make_executable(&self, path: &str) {
        fs::set_permissions(self.dir.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn order(&self, builder: BuilderChoice) -> Build<'_> {
        let deployment: DeploymentId = uuid::Uuid::now_v7().to_string().parse().unwrap();
        Build {
            app: &self.app,
            context: self.dir.path(),
            dockerfile: Dockerfile::File("Dockerfile".into()),
            args: Vec::new(),
            secrets: Vec::new(),
            target: None,
            tag: self.engine.image_name(&self.app, &deployment),
            deployment,
            labels: HashMap::new(),
            no_cache: false,
            builder,
            budget: Budget::default(),
            time_limit: Duration::from_secs(120),
        }
    }

    async fn build(&self, order: Build<'_>) -> (Result<Built, BuildError>, String) {
        let said = Said::default();
        let built = self.engine.build(order, &said.hear(), &CancellationToken::new()).await;
        (built, said.text())
    }

    /// Builds what must go well.
    async fn built(&self, order: Build<'_>) -> (Built, String) {
        let (built, said) = self.build(order).await;
        let built = built.unwrap_or_else(|error| panic!("{error:#?}\n{said}"));
        (built, said)
    }

    /// Builds what must not.
    async fn refused(&self, order: Build<'_>) -> BuildError {
        let (built, said) = self.build(order).await;
        built.map(|built| panic!("{built:?}\n{said}")).unwrap_err()
    }

    /// What a command prints in an image.
    fn run(&self, image: &str, command: &str) -> String {
        docker(&["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", command])
    }
}

/// Both builders.
const BOTH: [BuilderChoice; 2] = [BuilderChoice::BuildKit, BuilderChoice::Classic];

/// The engine's own client.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new(DOCKER).args(arguments).output().expect("apt-get install docker.io");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Debian's client: the one that builds by BuildKit without a plug-in.
const DOCKER: &str = "/usr/bin/docker";

/// Whether a process with these words in its command line runs on this machine.
fn runs(words: &str) -> bool {
    let own = std::process::id().to_string();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name != own && name.parse::<u32>().is_ok());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        is_process && String::from_utf8_lossy(&line).replace('\0', " ").contains(words)
    })
}

/// Waits for something with a bound.
async fn eventually(within: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + within;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The files below a folder of an image.
async fn files_in(world: &World, image: &str, folder: &str) -> Vec<String> {
    let facts = world.engine.inspect_image(image).await.unwrap().unwrap();
    let chunks: Vec<Bytes> =
        world.engine.files_of(&facts.id, folder).await.unwrap().try_collect().await.unwrap();
    let bytes = chunks.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let paths = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    let mut paths: Vec<String> = paths.map(|path| path.trim_end_matches('/').to_owned()).collect();
    paths.sort();
    paths
}
