//! Plans of the sample apps, and real builds of some of them.

mod builds;
mod detection;
mod detection_trees;
mod killing;
mod kinds;
mod languages;
mod serving;
mod shapes;
pub(crate) mod snapshots;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use autostack_base::{
    settings::{Settings, SettingsHandle},
    tasks::Tasks,
};
use autostack_domain::{AppName, DeploymentId, EnvMap, Failure};
use autostack_logs::{BuildLog, Filter, LogLimits, Logs};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{BuildPlan, Builder, Made, Toolchains};

/// `tests/fixtures` of the workspace.
pub(crate) fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(folder)
}

/// A folder of programs that do nothing, so that plans do not depend on the host.
fn fake_tools(names: &[&str]) -> (TempDir, Toolchains) {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let file = dir.path().join(name);
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let tools = Toolchains::new(dir.path().to_str().unwrap());
    (dir, tools)
}

/// A builder with folders of its own, and one app in it.
struct Workshop {
    dir: TempDir,
    app: AppName,
    builder: Builder,
    cancel: CancellationToken,
    log: BuildLog,
    builds: std::cell::Cell<u32>,
}

impl Workshop {
    fn new() -> Self {
        Self::with_settings("")
    }

    fn with_settings(build: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::from_text("test", &format!("[build]\n{build}\n")).unwrap();
        let watch = SettingsHandle::fixed(settings).watch();
        let builder = Builder::new(dir.path().join("cache"), watch, Tasks::new());
        let logs = Logs::open(dir.path().join("logs"), LogLimits::default()).unwrap();
        let id: DeploymentId = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        Self {
            app: "sample".parse().unwrap(),
            builder,
            cancel: CancellationToken::new(),
            log: logs.build_log(&id).unwrap(),
            builds: std::cell::Cell::new(0),
            dir,
        }
    }

    /// A fresh copy of a sample app.
    fn artifact_of(&self, app: &str) -> PathBuf {
        let artifact = self.empty_artifact();
        fs::remove_dir(&artifact).unwrap();
        let copied =
            Command::new("cp").arg("-a").arg(fixtures("apps").join(app)).arg(&artifact).status().unwrap();
        assert!(copied.success());
        artifact
    }

    fn empty_artifact(&self) -> PathBuf {
        self.builds.set(self.builds.get() + 1);
        let artifact = self.dir.path().join(format!("artifacts/{}", self.builds.get()));
        fs::create_dir_all(&artifact).unwrap();
        artifact
    }

    fn deployment(&self) -> DeploymentId {
        "00000000-0000-7000-8000-000000000001".parse().unwrap()
    }

    async fn build(&self, artifact: &Path, plan: &BuildPlan, env: &EnvMap) -> Result<(), Failure> {
        let id = self.deployment();
        let made = self.builder.build(&self.app, &id, artifact, plan, env, &self.log, &self.cancel).await?;
        assert_eq!(made, Made::Directory);
        Ok(())
    }

    /// Plans and builds, as a deployment does.
    async fn make(&self, artifact: &Path) -> BuildPlan {
        self.make_with(artifact, &EnvMap::new()).await
    }

    /// Plans and builds with this config.
    async fn make_with(&self, artifact: &Path, config: &EnvMap) -> BuildPlan {
        let plan = crate::plan_with(artifact, config, &Toolchains::of(config))
            .unwrap_or_else(|failure| panic!("{failure:#?}"));
        if let Err(failure) = self.build(artifact, &plan, config).await {
            panic!("{failure:#?}\n{}", self.printed());
        }
        plan
    }

    /// Everything that stands in the build log.
    fn printed(&self) -> String {
        let stream = Arc::clone(self.log.stream());
        let (entries, _) = stream.tail(100_000, &Filter::default()).unwrap();
        entries.iter().map(|(_, entry)| format!("{}\n", String::from_utf8_lossy(&entry.text))).collect()
    }

    /// Runs a command line in the artifact with the environment that its processes get.
    fn run(&self, artifact: &Path, plan: &BuildPlan, command: &str) -> String {
        let output = launched(artifact, plan, &Toolchains::default(), command).output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

/// A command line with the environment that a process of the artifact gets.
fn launched(artifact: &Path, plan: &BuildPlan, tools: &Toolchains, command: &str) -> Command {
    let folders = plan.launch.path.iter().map(|folder| artifact.join(folder).display().to_string());
    let path = folders.chain([tools.path().to_owned()]).collect::<Vec<_>>().join(":");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).current_dir(artifact).env_clear();
    shell.env("PATH", path).envs(&plan.launch.vars);
    shell
}

/// A plan of one step.
fn plan_of(command: &str) -> BuildPlan {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("Procfile"), "web: ./serve\n").unwrap();
    let mut plan = crate::plan(tree.path(), &Toolchains::default()).unwrap();
    plan.steps.push(crate::Step::new("Testing", command));
    plan
}
