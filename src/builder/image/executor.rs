//! Makes an image of a plan: base images, Dockerfile, build, and the files of a site.

use std::{
    collections::BTreeMap,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use autostack_base::{
    settings::{BuilderChoice as BuilderSetting, Settings},
    tasks::Tasks,
};
use autostack_domain::{
    AppName, DeploymentId, EnvMap, Failure, FailureKind, RegistryLogin, Secret, Stage,
    docker_options::DockerOption,
    image::{Digest, ImageReference},
};
use autostack_engine::{
    Engine, EngineError, ImageFacts,
    build::{Budget, Build, BuilderChoice, Built, Dockerfile},
};
use autostack_logs::BuildLog;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    DockerfileFacts,
    base::Bases,
    config,
    failures::{cancelled, failed_build, of_engine, timed_out},
    generate::{CERTIFICATES_SECRET, CONFIG_SECRET, Generator, Mounts},
    lambda::is_lambda,
    listen::Listener,
    site,
};
use crate::{builder::Made, environment::HOST_CERTIFICATES, plan::BuildPlan};

/// Bytes that BuildKit lets a secret have.
const SECRET_BYTES_MAX: usize = 500 * 1024;

/// Finds the login of an app at a registry. May block.
pub type Logins = Arc<dyn Fn(&AppName, &str) -> Option<RegistryLogin> + Send + Sync>;

/// One image to make, and everything that is needed for it.
pub(crate) struct ImageBuild<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) logins: &'a Logins,
    pub(crate) settings: &'a Settings,
    pub(crate) tasks: &'a Tasks,
    pub(crate) app: &'a AppName,
    pub(crate) deployment: &'a DeploymentId,
    /// The source, and afterwards the artifact's folder.
    pub(crate) dir: &'a Path,
    pub(crate) plan: &'a BuildPlan,
    pub(crate) config: &'a EnvMap,
    pub(crate) app_cache: &'a Path,
    pub(crate) log: &'a BuildLog,
    pub(crate) cancel: &'a CancellationToken,
    /// When all of it must have ended.
    pub(crate) deadline: Instant,
}

/// What differs between an app's own Dockerfile and a generated one.
struct Order {
    context: PathBuf,
    dockerfile: Dockerfile,
    args: Vec<(String, String)>,
    secrets: Vec<(String, Arc<Secret<Vec<u8>>>)>,
    target: Option<String>,
    no_cache: bool,
}

impl ImageBuild<'_> {
    /// Makes the image, or the files of a site.
    pub(crate) async fn run(&self) -> Result<Made, Failure> {
        let order = match &self.plan.dockerfile {
            Some(facts) => self.order_own(facts).await?,
            None => self.order_generated().await?,
        };
        let built = self.build(order).await?;
        for warning in &built.warnings {
            self.log.trouble(warning.clone());
        }
        for limit in &built.unenforced {
            self.log.detail(format!("Not limited in this build: {}, because {}", limit.what, limit.why));
        }
        if let Some((from, root)) = Generator::site_of(self.plan) {
            let is_alone = self.plan.processes.is_empty();
            // Without a step the source is what the image has.
            if is_alone || !self.plan.steps.is_empty() {
                self.take_site(&built.image, &from, root, is_alone).await?;
            }
            if is_alone {
                return Ok(Made::Directory);
            }
        }
        self.made(built.image).await
    }

    async fn made(&self, image: ImageFacts) -> Result<Made, Failure> {
        let is_own = self.plan.dockerfile.is_some();
        let has_command = !image.entrypoint.is_empty() || !image.cmd.is_empty();
        if !has_command && self.plan.processes.values().any(Option::is_none) {
            self.remove(&image.id).await;
            let cause = "the image says no command, and there is no Procfile";
            return Err(Failure::new(Stage::Build, FailureKind::BadAppFile, cause).hint(
                "end the Dockerfile with a CMD, or add a Procfile with a line such as `web: ./serve`",
            ));
        }
        self.log.detail(format!("Image {}, {} MiB", image.id.short(), image.size_bytes >> 20));
        let is_lambda = is_lambda(&image);
        // What a base image of ours exposes says nothing of the app, which listens on `PORT`.
        let ports = if is_own { image.ports } else { Vec::new() };
        Ok(Made::Image { image: image.id, ports, is_lambda })
    }

    /// The app's own Dockerfile, with what of the config it asks for by name.
    async fn order_own(&self, planned: &DockerfileFacts) -> Result<Order, Failure> {
        let context = self.dir.join(&self.plan.root);
        let mut args = Vec::new();
        for name in &planned.build_args {
            match self.config.get(name).map(|value| String::from_utf8(value.to_vec())) {
                Some(Ok(value)) => args.push((name.clone(), value)),
                Some(Err(_)) => {
                    self.log.trouble(format!("Build argument {name} is not given: it is not UTF-8 text"));
                }
                None => self.log.detail(format!("Build argument {name} is not in the app's config")),
            }
        }
        let (mut target, mut no_cache) = (None, false);
        for option in &planned.options {
            match option {
                DockerOption::BuildArg(name, value) => {
                    args.retain(|(known, _)| known != name);
                    args.push((name.clone(), value.clone()));
                }
                DockerOption::Target(stage) => target = Some(stage.clone()),
                DockerOption::NoCache => no_cache = true,
                _ => {}
            }
        }
        let facts = self.facts_with(planned, &context, &args)?;
        for image in &facts.images {
            self.have_named(image).await?;
        }
        let mut secrets = Vec::new();
        for name in &facts.secrets {
            match self.config.get(name) {
                Some(value) => secrets.push((name.clone(), Arc::new(Secret::new(value.to_vec())))),
                None => self.log.detail(format!("Secret {name} is not in the app's config")),
            }
        }
        let dockerfile = Dockerfile::File(planned.path.clone());
        Ok(Order { context, dockerfile, args, secrets, target, no_cache })
    }

    /// The facts once more: an argument may name the image that it is built on.
    fn facts_with(
        &self,
        planned: &DockerfileFacts,
        context: &Path,
        args: &[(String, String)],
    ) -> Result<DockerfileFacts, Failure> {
        if args.is_empty() {
            return Ok(planned.clone());
        }
        let source = crate::source::Source::open(context).map_err(|error| internal(error.to_string()))?;
        let given: BTreeMap<String, String> = args.iter().cloned().collect();
        DockerfileFacts::read(&planned.path, &source.words(&planned.path), &given)
            .map_err(|bad| crate::draft::bad_app_file(&planned.path, bad))
    }

    /// The Dockerfile of the plan.
    async fn order_generated(&self) -> Result<Order, Failure> {
        let bases = Bases::choose(self.plan, &self.settings.images)?;
        bases.warnings.iter().for_each(|warning| self.log.trouble(warning.clone()));
        let has_buildkit = self.has_buildkit().await?;
        let build = self.have(&bases.build).await?;
        for image in [Some(&bases.run), bases.node.as_ref(), bases.composer.as_ref()].into_iter().flatten() {
            if *image != bases.build {
                self.have(image).await?;
            }
        }
        let mut secrets = Vec::new();
        let has_config = config::for_steps(self.config).next().is_some();
        let mounts = match has_buildkit {
            true => Some(self.mounts(has_config, &mut secrets)?),
            false => None,
        };
        if !has_buildkit && has_config && !self.plan.steps.is_empty() {
            self.log.trouble(
                "The classic builder can give the steps no secret: they do not see the app's config",
            );
        }
        let mark = autostack_engine::cache_mark(self.engine.mark(), self.app);
        let generator = Generator {
            plan: self.plan,
            bases: &bases,
            base_mark: build.id.short(),
            mark: &mark,
            labels: &self.engine.labels(self.app).into_iter().collect(),
            mounts,
            has: &|path| self.dir.join(path).symlink_metadata().is_ok(),
        };
        let dockerfile = Dockerfile::Text(generator.text());
        let context = self.dir.to_owned();
        Ok(Order { context, dockerfile, args: Vec::new(), secrets, target: None, no_cache: false })
    }

    fn mounts(
        &self,
        has_config: bool,
        secrets: &mut Vec<(String, Arc<Secret<Vec<u8>>>)>,
    ) -> Result<Mounts, Failure> {
        let mut mounts = Mounts { config: None, has_certificates: false };
        if has_config {
            let script = config::script(self.config);
            if script.len() > SECRET_BYTES_MAX {
                let cause = format!("the app's config has {} KiB; a build takes 500 KiB", script.len() >> 10);
                return Err(Failure::new(Stage::Build, FailureKind::OverLimit, cause)
                    .hint("keep large values elsewhere, unset them, and push again"));
            }
            let words = config::words(self.config, self.app_cache)
                .map_err(|error| internal(format!("the app's cache is not writable: {error}")))?;
            mounts.config = Some(words);
            secrets.push((CONFIG_SECRET.to_owned(), Arc::new(Secret::new(script))));
        }
        // As on the host: a proxy or a registry whose certificate the operator has added.
        let certificates = fs::read(HOST_CERTIFICATES).unwrap_or_default();
        if !certificates.is_empty() && certificates.len() <= SECRET_BYTES_MAX {
            mounts.has_certificates = true;
            secrets.push((CERTIFICATES_SECRET.to_owned(), Arc::new(Secret::new(certificates))));
        }
        Ok(mounts)
    }

    async fn has_buildkit(&self) -> Result<bool, Failure> {
        match self.settings.docker.builder {
            BuilderSetting::Classic => Ok(false),
            BuilderSetting::BuildKit => Ok(true),
            BuilderSetting::Auto => {
                self.engine.about().await.map(|about| about.has_buildkit).map_err(|error| of_engine(&error))
            }
        }
    }

    /// An image of a Dockerfile, where its name can be read; the builder says what is wrong with another.
    async fn have_named(&self, name: &str) -> Result<(), Failure> {
        match name.parse::<ImageReference>() {
            Ok(image) => self.have(&image).await.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Pulls an image that the engine does not have, with the app's login: a builder would have none.
    async fn have(&self, image: &ImageReference) -> Result<ImageFacts, Failure> {
        let name = name_of(image);
        if let Some(facts) = self.engine.inspect_image(&name).await.map_err(|error| of_engine(&error))? {
            return Ok(facts);
        }
        let (logins, app, registry) =
            (Arc::clone(self.logins), self.app.clone(), image.registry().to_owned());
        let login = self.tasks.blocking("look up a registry login", move || logins(&app, &registry)).await;
        let login = login.map_err(|panicked| internal(panicked.to_string()))?;
        let listener = Listener::new(self.log, None);
        let hear = |output: autostack_engine::Output<'_>| listener.hear(output);
        let pull = self.engine.pull(image, login.as_ref(), &hear, self.cancel);
        let facts = match timeout_at(self.deadline, pull).await {
            Err(_elapsed) => return Err(timed_out(self.limit(), &format!("pull {image}"), "")),
            Ok(Err(EngineError::Cancelled)) => return Err(cancelled()),
            Ok(Err(error)) => return Err(of_engine(&error)),
            Ok(Ok(facts)) => facts,
        };
        if image.digest().is_none() {
            // It was pulled by its digest, and a Dockerfile asks for it by its tag.
            self.engine.tag(&facts.id, &name).await.map_err(|error| of_engine(&error))?;
        }
        Ok(facts)
    }

    async fn build(&self, order: Order) -> Result<Built, Failure> {
        let settings = self.settings;
        let plan = self.plan.dockerfile.is_none().then_some(self.plan);
        let listener = Listener::new(self.log, plan);
        let build = Build {
            app: self.app,
            deployment: self.deployment.clone(),
            context: &order.context,
            dockerfile: order.dockerfile,
            args: order.args,
            secrets: order.secrets,
            target: order.target,
            tag: self.engine.image_name(self.app, self.deployment),
            labels: HashMap::new(),
            no_cache: order.no_cache,
            builder: match settings.docker.builder {
                BuilderSetting::Auto => BuilderChoice::Auto,
                BuilderSetting::BuildKit => BuilderChoice::BuildKit,
                BuilderSetting::Classic => BuilderChoice::Classic,
            },
            budget: Budget {
                memory_bytes: settings.build.memory_bytes_max,
                cpus: settings.build.cpus_max.map(|cpus| f64::from(cpus.0) / 1000.0),
            },
            time_limit: self.deadline.saturating_duration_since(Instant::now()),
        };
        let hear = |output: autostack_engine::Output<'_>| listener.hear(output);
        let built = self.engine.build(build, &hear, self.cancel).await;
        self.log.flush();
        built.map_err(|error| failed_build(error, &listener, self.limit(), self.dir))
    }

    /// Replaces the source by the files of the site. An image that has nothing else is forgotten.
    async fn take_site(
        &self,
        image: &ImageFacts,
        from: &str,
        root: &str,
        is_alone: bool,
    ) -> Result<(), Failure> {
        self.log.step("Taking the files of the site out of the image");
        let files = site::Files { image: &image.id, from, dir: self.dir, root };
        let taken = files.take(self.engine, self.tasks, self.cancel, self.deadline).await;
        if is_alone || taken.is_err() {
            self.remove(&image.id).await;
        }
        taken.map_err(|error| error.failure(self.limit()))
    }

    /// Removes what was made by this build. What stays is found by its label at the next clean-up.
    async fn remove(&self, image: &Digest) {
        let name = self.engine.image_name(self.app, self.deployment);
        if let Err(error) = self.engine.remove_image(&name).await {
            tracing::warn!(%error, %image, "an image is left for the next clean-up");
        }
    }

    fn limit(&self) -> Duration {
        self.settings.build.timeout
    }
}

/// The name by which the engine keeps an image.
fn name_of(image: &ImageReference) -> String {
    match (image.digest(), image.tag()) {
        (Some(_), _) | (None, None) => image.to_string(),
        (None, Some(tag)) => format!("{}:{tag}", image.repository()),
    }
}

fn internal(cause: impl Into<String>) -> Failure {
    Failure::new(Stage::Build, FailureKind::Internal, cause)
        .hint("ask the operator of the host to look at its log")
}

/// Removes everything in a folder. Blocks.
pub(super) fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
