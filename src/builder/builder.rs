//! Runs a plan: waits for a free slot, then runs the steps in the artifact and keeps what may be reused, or has
//! an image made of it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use autostack_base::{settings::SettingsWatch, tasks::Tasks};
use autostack_domain::{AppName, DeploymentId, EnvMap, Failure, FailureKind, Stage, image::Digest};
use autostack_engine::Engine;
use autostack_logs::BuildLog;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    cache, diagnose,
    environment::Environment,
    image::{ImageBuild, Logins},
    leftovers,
    plan::{BuildPlan, Step},
    process::{self, Ended, Surroundings, Tail},
    reuse::{self, Kept},
    slots::{Slot, Slots},
    toolchains::Toolchains,
    tree::ProcessTree,
};

/// The mark of a cache folder that is complete.
const FILLED: &str = ".autostack-filled";

/// Runs builds, so many at once as `build.concurrency` says. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Builder {
    inner: Arc<Inner>,
    images: Option<Images>,
}

/// What a build has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The folder that held the source is the artifact; of a site that was built in an image, it has its files now.
    Directory,
    /// An image, named [`Engine::image_name`], is the artifact.
    Image {
        /// Its id in the engine.
        image: Digest,
        /// TCP ports that the app's Dockerfile exposes, in ascending order; empty for an app that listens on
        /// `PORT`.
        ports: Vec<u16>,
        /// Whether it is a function for AWS Lambda.
        is_lambda: bool,
    },
}

/// Where images are built, and how registries let the agent in.
#[derive(Clone)]
struct Images {
    engine: Engine,
    logins: Logins,
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("engine", &self.engine).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Inner {
    cache_dir: PathBuf,
    settings: SettingsWatch,
    tasks: Tasks,
    slots: Slots,
}

impl Builder {
    /// Keeps the caches of all apps in `cache_dir`, a folder an app.
    pub fn new(cache_dir: impl Into<PathBuf>, settings: SettingsWatch, tasks: Tasks) -> Self {
        let inner = Inner { cache_dir: cache_dir.into(), settings, tasks, slots: Slots::new() };
        Self { inner: Arc::new(inner), images: None }
    }

    /// Builds images from now on, on this engine. `logins` finds the login of an app at a registry, for images
    /// that the engine does not have; it is called where blocking is allowed.
    #[must_use]
    pub fn with_engine(self, engine: Engine, logins: Logins) -> Self {
        Self { images: Some(Images { engine, logins }), ..self }
    }

    /// Whether builds make images.
    pub fn makes_images(&self) -> bool {
        self.images.is_some()
    }

    /// The programs with which an app of this config is planned.
    pub fn tools(&self, config: &EnvMap) -> Toolchains {
        if self.makes_images() { Toolchains::of_an_image() } else { Toolchains::of(config) }
    }

    /// Ends the builds that an agent left when it was killed, with their processes and temporary folders. Called
    /// once, before the first build. Returns how many there were. Blocks.
    ///
    /// # Errors
    /// A folder could not be read or removed.
    pub fn sweep(&self) -> io::Result<usize> {
        leftovers::sweep(&self.inner.cache_dir)
    }

    /// Makes the artifact: in place, where `dir` holds the source, and afterwards what runs; or, with an engine,
    /// as an image of the source in `dir`. The plan must have been made with [`Builder::tools`]. `env` is the
    /// app's config. Everything that the tools print goes to `log` as it comes.
    ///
    /// Ends within a second of `cancel`, and at `build.timeout` after the first step began; either way, and
    /// when the returned future is dropped, no process of the build is left.
    ///
    /// # Errors
    /// The failure of the first step that did not end well, [`FailureKind::TimedOut`] or
    /// [`FailureKind::Cancelled`], and those of an engine. What is in `dir` is then of no use, and the caller's
    /// to remove; there is no image.
    // One deployment has all of these, and nothing else has them together.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another thing, and a struct would only rename them"
    )]
    pub async fn build(
        &self,
        app: &AppName,
        deployment: &DeploymentId,
        dir: &Path,
        plan: &BuildPlan,
        env: &EnvMap,
        log: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Made, Failure> {
        let has_nothing_to_build = plan.steps.is_empty() && plan.dockerfile.is_none();
        let is_files = plan.static_site.is_some() && plan.processes.is_empty();
        if has_nothing_to_build && (self.images.is_none() || is_files) {
            return Ok(Made::Directory);
        }
        let _slot = self.wait_for_slot(log, cancel).await?;
        let limit = self.inner.settings.borrow().build.timeout;
        let app_cache = self.inner.cache_dir.join(app.as_str());
        if let Some(images) = &self.images {
            let settings = self.inner.settings.borrow().clone();
            let build = ImageBuild {
                engine: &images.engine,
                logins: &images.logins,
                settings: &settings,
                tasks: &self.inner.tasks,
                app,
                deployment,
                dir,
                plan,
                config: env,
                app_cache: &app_cache,
                log,
                cancel,
                deadline: Instant::now() + limit,
            };
            return build.run().await;
        }
        self.bound_cache(app_cache.clone(), log).await;
        let tools = Toolchains::of(env);
        let environment = Environment::prepare(plan, env, dir, &app_cache, &tools)
            .map_err(|error| storage_failure("the build's folders could not be made", &error))?;
        let tree = Arc::new(ProcessTree::new(environment.build_id(), dir));
        let build = Build {
            around: Surroundings {
                dir,
                log,
                deadline: Instant::now() + limit,
                cancel,
                tree: &tree,
                tasks: &self.inner.tasks,
            },
            environment: &environment,
            app_cache: &app_cache,
            config: env,
            tools: &tools,
            limit,
        };
        for step in &plan.steps {
            build.step(step).await?;
        }
        Ok(Made::Directory)
    }

    /// Removes everything that was kept for an app.
    ///
    /// # Errors
    /// The folder is there and could not be removed.
    pub fn remove_cache(&self, app: &AppName) -> io::Result<()> {
        match fs::remove_dir_all(self.inner.cache_dir.join(app.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Moves the cache of an app to another name. One that is not there is fine.
    ///
    /// # Errors
    /// The folder is there and could not be moved.
    pub fn rename_cache(&self, old: &AppName, new: &AppName) -> io::Result<()> {
        let dir = &self.inner.cache_dir;
        match fs::rename(dir.join(old.as_str()), dir.join(new.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// A cache that cannot be bounded costs space, never this build.
    async fn bound_cache(&self, app_cache: PathBuf, log: &BuildLog) {
        let look = move || cache::keep_within(&app_cache, cache::CACHE_BYTES_MAX, SystemTime::now());
        match self.inner.tasks.blocking("size of a build cache", look).await {
            Ok(Ok(Some(bytes))) => {
                log.detail(format!("The build cache had grown to {} MiB and was emptied", bytes >> 20));
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the size of a build cache could not be bounded"),
        }
    }

    async fn wait_for_slot(&self, log: &BuildLog, cancel: &CancellationToken) -> Result<Slot, Failure> {
        let at_once = self.inner.settings.borrow().build.concurrency;
        self.inner.slots.resize(at_once);
        if let Some(slot) = self.inner.slots.try_take() {
            return Ok(slot);
        }
        log.detail(format!("Waiting for a free build slot ({at_once} at a time on this host)"));
        tokio::select! {
            () = cancel.cancelled() => Err(cancelled()),
            slot = self.inner.slots.take() => slot.ok_or_else(|| internal("the build slots are gone")),
        }
    }
}

/// One build at work.
struct Build<'a> {
    around: Surroundings<'a>,
    environment: &'a Environment,
    app_cache: &'a Path,
    config: &'a EnvMap,
    tools: &'a Toolchains,
    limit: Duration,
}

impl Build<'_> {
    async fn step(&self, step: &Step) -> Result<(), Failure> {
        let kept = step.reuse.as_ref().and_then(|reuse| {
            Kept::new(reuse, step, self.around.dir, self.app_cache, self.config, self.tools)
        });
        if let Some(kept) = &kept
            && kept.fits()
            && self.restore(kept, step).await?
        {
            return Ok(());
        }
        let filled = step.fills.as_ref().and_then(|variable| self.environment.folder_of(variable));
        if filled.as_ref().is_some_and(|folder| folder.join(FILLED).exists()) {
            return Ok(());
        }
        self.around.log.step(format!("{}: {}", step.title, step.known_as));
        let mut tail = Tail::default();
        let env = self.environment.of_step(step);
        let ended = process::run(&step.command, &env, &self.around, &mut tail).await;
        self.judge(step, ended, &tail)?;
        if let Some(folder) = filled {
            // Only what has its mark is taken as filled: a step that was cut off is begun again.
            fs::write(folder.join(FILLED), b"")
                .map_err(|error| storage_failure("the cache is not writable", &error))?;
        }
        if let Some(kept) = &kept {
            self.keep(kept).await?;
        }
        Ok(())
    }

    fn judge(&self, step: &Step, ended: io::Result<Ended>, tail: &Tail) -> Result<(), Failure> {
        match ended {
            Ok(Ended::Exit(exit)) if exit.is_success() => Ok(()),
            Ok(Ended::Exit(exit)) => Err(diagnose::failed_step(step, exit, &tail.text(), self.around.dir)),
            Ok(Ended::Cancelled) => Err(cancelled()),
            Ok(Ended::TimedOut) => Err(self.timed_out(step, tail)),
            Err(error) => Err(storage_failure(&format!("`{}` could not be started", step.known_as), &error)),
        }
    }

    fn timed_out(&self, step: &Step, tail: &Tail) -> Failure {
        let cause = format!(
            "the build took longer than {} s (build.timeout) and was ended during `{}`",
            self.limit.as_secs(),
            step.known_as
        );
        Failure::new(Stage::Build, FailureKind::TimedOut, cause)
            .evidence(diagnose::last_lines(&tail.text()))
            .hint("see in the last lines what it waited for; an operator can raise build.timeout")
    }

    /// Copies the kept folder; `false` if that did not work and the step has to run after all.
    async fn restore(&self, kept: &Kept, step: &Step) -> Result<bool, Failure> {
        let (from, to) = kept.restore_paths();
        if !self.copy(&from, &to).await? || kept.relocate().is_err() {
            // A half copy must not be mistaken for something that the step made.
            let _ = fs::remove_dir_all(&to);
            return Ok(false);
        }
        self.around.log.step(format!("{}: reused from the last build, nothing changed", step.title));
        Ok(true)
    }

    /// Keeps what a step made. A failure costs time at the next build, never this one.
    async fn keep(&self, kept: &Kept) -> Result<(), Failure> {
        match kept.begin_keep() {
            Ok(None) => {}
            Ok(Some((from, to))) => {
                if self.copy(&from, &to).await?
                    && let Err(error) = kept.end_keep()
                {
                    tracing::warn!(%error, "dependencies could not be kept for the next build");
                }
            }
            Err(error) => tracing::warn!(%error, "dependencies could not be kept for the next build"),
        }
        Ok(())
    }

    async fn copy(&self, from: &Path, to: &Path) -> Result<bool, Failure> {
        let mut env = self.environment.bare();
        env.put("AUTOSTACK_FROM", from.as_os_str().as_encoded_bytes());
        env.put("AUTOSTACK_TO", to.as_os_str().as_encoded_bytes());
        let mut tail = Tail::default();
        match process::run(reuse::COPY, &env, &self.around, &mut tail).await {
            Ok(Ended::Exit(exit)) => Ok(exit.is_success()),
            Ok(Ended::Cancelled) => Err(cancelled()),
            Ok(Ended::TimedOut) => Err(self.timed_out(&Step::new("Copying dependencies", "cp"), &tail)),
            Err(_) => Ok(false),
        }
    }
}

pub(crate) fn cancelled() -> Failure {
    Failure::new(Stage::Build, FailureKind::Cancelled, "the build was cancelled")
        .hint("nothing was changed; push again when you are ready")
}

fn internal(cause: impl Into<String>) -> Failure {
    Failure::new(Stage::Build, FailureKind::Internal, cause)
        .hint("ask the operator of the host to look at its log")
}

/// The host's own trouble with files or processes.
fn storage_failure(what: &str, error: &io::Error) -> Failure {
    let cause = format!("{what}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => diagnose::disk_full(Stage::Build, cause),
        _ => internal(cause),
    }
}
