//! Images made by the real engine, on a base made on the spot.

mod generated;
mod languages;
mod own;
mod snapshots;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use autostack_base::{
    settings::{Settings, SettingsHandle},
    tasks::Tasks,
};
use autostack_domain::{AppName, DeploymentId, EnvMap, Failure, image::Digest};
use autostack_engine::{
    ImageFacts,
    testing::{BUSYBOX, TestEngine, busybox},
};
use autostack_logs::{BuildLog, Filter, LogLimits, Logs};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{BuildPlan, Builder, Made};

/// All base images are the one that tests have.
const BASES: &str = "node = \"autostack-test/busybox:1\"\npython = \"autostack-test/busybox:1\"\nrun = \
                     \"autostack-test/busybox:1\"\n";

/// A builder of images with folders of its own, and one app in it.
struct Yard {
    engine: TestEngine,
    dir: TempDir,
    app: AppName,
    builder: Builder,
    cancel: CancellationToken,
    log: BuildLog,
    env: EnvMap,
    deployments: AtomicU32,
}

impl Yard {
    async fn new() -> Self {
        Self::with_settings("").await
    }

    async fn with_settings(more: &str) -> Self {
        Self::on(BASES, more).await
    }

    /// On other base images.
    async fn on(bases: &str, more: &str) -> Self {
        let engine = TestEngine::find();
        busybox(&engine).await;
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::from_text("test", &format!("[images]\n{bases}{more}")).unwrap();
        let watch = SettingsHandle::fixed(settings).watch();
        let logins: super::Logins = Arc::new(|_, _| None);
        let builder =
            Builder::new(dir.path().join("cache"), watch, Tasks::new()).with_engine(engine.clone(), logins);
        let logs = Logs::open(dir.path().join("logs"), LogLimits::default()).unwrap();
        let id: DeploymentId = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self {
            app: "sample".parse().unwrap(),
            builder,
            cancel: CancellationToken::new(),
            log: logs.build_log(&id).unwrap(),
            env: EnvMap::new(),
            deployments: AtomicU32::new(1),
            engine,
            dir,
        }
    }

    /// The source, and afterwards the artifact.
    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.source().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn plan(&self) -> BuildPlan {
        crate::plan(&self.source(), &self.builder.tools(&self.env))
            .unwrap_or_else(|failure| panic!("{failure:#?}"))
    }

    async fn build(&self, plan: &BuildPlan) -> Result<Made, Failure> {
        let number = self.deployments.fetch_add(1, Ordering::Relaxed);
        let id: DeploymentId = format!("00000000-0000-7000-8000-{number:012}").parse().unwrap();
        let (dir, log) = (self.source(), &self.log);
        self.builder.build(&self.app, &id, &dir, plan, &self.env, log, &self.cancel).await
    }

    /// Plans and builds what must become an image.
    async fn image(&self) -> ImageFacts {
        self.image_of(&self.plan()).await
    }

    async fn image_of(&self, plan: &BuildPlan) -> ImageFacts {
        match self.build(plan).await {
            Ok(Made::Image { image, .. }) => {
                self.engine.inspect_image(image.as_str()).await.unwrap().unwrap()
            }
            other => panic!("{other:#?}\n{}", self.printed()),
        }
    }

    /// Everything that stands in the build log.
    fn printed(&self) -> String {
        let stream = Arc::clone(self.log.stream());
        let (entries, _) = stream.tail(100_000, &Filter::default()).unwrap();
        entries.iter().map(|(_, entry)| format!("{}\n", String::from_utf8_lossy(&entry.text))).collect()
    }

    /// What a command prints in an image, started as an app is.
    fn run(&self, image: &Digest, command: &str) -> String {
        let line =
            ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image.as_str(), "-c", command];
        docker(&line)
    }

    /// Everything that an image says and holds, as bytes: its history, its settings, all of its layers.
    fn bytes_of(&self, image: &Digest) -> Vec<u8> {
        let file = self.dir.path().join("saved.tar");
        docker(&["save", "--output", file.to_str().unwrap(), image.as_str()]);
        let mut bytes = fs::read(file).unwrap();
        bytes.extend(docker(&["history", "--no-trunc", image.as_str()]).into_bytes());
        bytes.extend(docker(&["image", "inspect", image.as_str()]).into_bytes());
        bytes
    }
}

/// Whether some words stand in bytes.
fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

/// The engine's own client.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("apt-get install docker.io");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every file below a folder, and its text.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(current).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let path = entry.path().strip_prefix(folder).unwrap().display().to_string();
                    found.insert(path, fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
    }
    found
}

/// A deployment runs in a task of its own, which any thread may take on.
#[tokio::test]
async fn a_build_can_be_a_part_of_a_task() {
    fn in_a_task(_: &(impl Future<Output = Result<Made, Failure>> + Send)) {}
    let yard = Yard::new().await;
    yard.write("Procfile", "web: ./serve\n");
    let (plan, id) = (yard.plan(), "00000000-0000-7000-8000-000000000001".parse().unwrap());
    let (dir, env) = (yard.source(), EnvMap::new());
    in_a_task(&yard.builder.build(&yard.app, &id, &dir, &plan, &env, &yard.log, &yard.cancel));
}
