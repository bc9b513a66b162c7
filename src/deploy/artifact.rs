//! The first stages: a commit is exported and built, an image is fetched; either way there is an artifact afterwards.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use autostack_builder::BuildPlan;
use autostack_domain::{
    Artifact, EnvMap, Failure, FailureKind, ImageReference, ProcessType, RegistryLogin, ReleaseNumber,
    ReleaseSource, Stage, cron::CronTask, health::HealthCheck, release::ConfigBrought,
};
use autostack_engine::{Engine, ImageFacts, Output};
use futures_util::{StreamExt, stream};

use crate::{
    again,
    asked::Config,
    deployer::{ArchiveBytes, Input, Job, Parts, Pushed, Script},
    ending::engine_failure,
    pipeline::{AppFacts, check_cancelled},
    source,
    workspace::{self, Workspace},
};

/// An artifact, and what it says about how it is run.
pub(crate) struct Made {
    pub(crate) artifact: Artifact,
    pub(crate) source: ReleaseSource,
    /// Command line of each process type; `None` for the command of the image.
    pub(crate) processes: BTreeMap<ProcessType, Option<String>>,
    pub(crate) checks: BTreeMap<ProcessType, Vec<HealthCheck>>,
    pub(crate) formation_asked: BTreeMap<ProcessType, u32>,
    pub(crate) cron: Vec<CronTask>,
    /// The config that it runs with, where that is not the app's.
    pub(crate) config: Option<EnvMap>,
    /// What is run once the release is live.
    pub(crate) scripts: Vec<Script>,
    /// Which of that becomes the app's.
    pub(crate) brings: ConfigBrought,
    /// The release whose artifact it is, where none was made.
    pub(crate) again: Option<ReleaseNumber>,
}

/// Makes the artifact of a deployment.
pub(crate) async fn make(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    facts: &AppFacts,
) -> Result<Made, Failure> {
    match &job.input {
        Input::Commit(pushed) => of_commit(pushed, job, work, parts, facts).await,
        Input::Pull { reference, login } => of_registry(reference, login.as_ref(), job, work, parts).await,
        Input::Archive { reference, bytes } => of_archive(reference, bytes, job, work, parts).await,
        Input::Again { of, config, .. } => again::of_release(*of, *config, job, parts, &facts.app).await,
    }
}

async fn of_commit(
    pushed: &Pushed,
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    facts: &AppFacts,
) -> Result<Made, Failure> {
    let mut config = Config::of_push(facts, pushed);
    source::check_ref(pushed, job, parts).await?;
    source::export(pushed, job, work, parts, &facts.git).await?;
    let plan = choose_recipe(job, work, parts, &config.env, facts)?;
    config.fill(&plan.env_asked, job, facts.app.current_release.is_none())?;
    work.enter(Stage::Build);
    work.will_make_image();
    let built =
        parts.builder.build(&job.app, &job.id, &work.dir, &plan, &config.env, &job.log, &job.cancel).await?;
    check_cancelled(job, work)?;
    let artifact = match built {
        autostack_builder::Made::Directory => Artifact::Directory {
            built_by: job.id.clone(),
            launch: plan.launch.clone(),
            static_site: plan.static_site.clone(),
        },
        autostack_builder::Made::Image { image, ports, is_lambda } => {
            let static_site = plan.static_site.clone();
            if static_site.is_none() {
                // The image has all of it.
                workspace::remove_dir(&work.dir).await;
            }
            Artifact::Image { built_by: job.id.clone(), image, ports, is_lambda, static_site }
        }
    };
    let is_first = facts.app.current_release.is_none();
    let first = plan.first_postdeploy.filter(|_| is_first).map(|command| ("scripts.postdeploy", command));
    let each = plan.postdeploy.map(|command| ("scripts.dokku.postdeploy", command));
    let scripts = first.into_iter().chain(each).map(|(key, command)| Script { key, command }).collect();
    Ok(Made {
        processes: plan.processes,
        artifact,
        source: ReleaseSource::Commit { commit: pushed.commit.clone() },
        checks: plan.checks,
        formation_asked: plan.formation_asked,
        cron: plan.cron,
        config: Some(config.env),
        scripts,
        brings: config.brings,
        again: None,
    })
}

fn choose_recipe(
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    config: &EnvMap,
    facts: &AppFacts,
) -> Result<BuildPlan, Failure> {
    work.enter(Stage::Detect);
    check_cancelled(job, work)?;
    let tools = parts.builder.tools(config);
    let mut plan = autostack_builder::plan_for(&work.dir, &facts.build, config, &tools)?;
    job.log.step(format!("{} app detected", plan.recipe));
    plan.reasons.iter().for_each(|reason| job.log.detail(reason.clone()));
    plan.warnings.iter().for_each(|warning| job.log.trouble(warning.clone()));
    let options = &facts.app.settings.docker.build;
    match &mut plan.dockerfile {
        Some(dockerfile) => {
            options.iter().for_each(|option| job.log.detail(format!("docker-options: {}", option.summary())));
            dockerfile.options.clone_from(options);
        }
        None if options.is_empty() => {}
        None => {
            job.log.trouble("docker-options for build are not used: they are for the app's own Dockerfile");
        }
    }
    Ok(plan)
}

async fn of_registry(
    reference: &ImageReference,
    login: Option<&RegistryLogin>,
    job: &Job,
    work: &Workspace,
    parts: &Parts,
) -> Result<Made, Failure> {
    let engine = engine(parts)?;
    job.log.step(format!("Deploying {} from image {reference}", job.app));
    work.will_make_image();
    let image = engine
        .pull(reference, login, &say_to(job), &job.cancel)
        .await
        .map_err(|error| engine_failure(Stage::Source, &error))?;
    let pinned = match image.digest_for(reference) {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone(),
    };
    keep(engine, &image, pinned, job, work).await
}

async fn of_archive(
    reference: &ImageReference,
    bytes: &Mutex<Option<ArchiveBytes>>,
    job: &Job,
    work: &Workspace,
    parts: &Parts,
) -> Result<Made, Failure> {
    let engine = engine(parts)?;
    job.log.step(format!("Deploying {} from an archive of {reference}", job.app));
    let taken = bytes.lock().unwrap_or_else(PoisonError::into_inner).take();
    let bytes = taken.unwrap_or_else(|| stream::empty().boxed());
    work.will_make_image();
    let loaded = engine
        .load(bytes, &say_to(job), &job.cancel)
        .await
        .map_err(|error| engine_failure(Stage::Source, &error))?;
    match loaded.as_slice() {
        [image] => keep(engine, image, reference.clone(), job, work).await,
        several => {
            // One that has a name, or was pulled by its digest, was there before.
            let is_new = |image: &&ImageFacts| image.tags.is_empty() && image.repo_digests.is_empty();
            for image in several.iter().filter(is_new) {
                // What somebody else's container uses stays.
                let _in_use = engine.remove_image(image.id.as_str()).await;
            }
            let cause = format!("the archive holds {} images, and an app runs one", several.len());
            Err(Failure::new(Stage::Source, FailureKind::BadSource, cause)
                .hint("save one image: docker save IMAGE | ssh HOST git:load-image APP IMAGE"))
        }
    }
}

/// Shows in the build log what the engine says.
fn say_to(job: &Job) -> impl Fn(Output<'_>) + Send + Sync + 'static {
    let log = job.log.clone();
    move |output| match output {
        Output::Step(text) => log.step(text),
        Output::Detail(text) => log.detail(text),
        Output::Raw(bytes) => log.raw(bytes),
    }
}

/// Puts the deployment's own name on an image that was made elsewhere.
async fn keep(
    engine: &Engine,
    image: &ImageFacts,
    reference: ImageReference,
    job: &Job,
    work: &Workspace,
) -> Result<Made, Failure> {
    let name = engine.image_name(&job.app, &job.id);
    engine.adopt(image, &name).await.map_err(|error| engine_failure(Stage::Source, &error))?;
    // Only now, when it has a name by which it can be removed.
    check_cancelled(job, work)?;
    let is_lambda = autostack_builder::is_lambda(image);
    if is_lambda {
        job.log.detail("It is a function for AWS Lambda: requests become events");
    }
    Ok(Made {
        artifact: Artifact::Image {
            built_by: job.id.clone(),
            image: image.id.clone(),
            ports: image.ports.clone(),
            is_lambda,
            static_site: None,
        },
        source: ReleaseSource::Image { reference },
        processes: [(ProcessType::web(), None)].into(),
        checks: BTreeMap::new(),
        formation_asked: BTreeMap::new(),
        cron: Vec::new(),
        config: None,
        scripts: Vec::new(),
        brings: ConfigBrought::default(),
        again: None,
    })
}

fn engine(parts: &Parts) -> Result<&Engine, Failure> {
    parts.engine.as_ref().ok_or_else(|| {
        let cause = "this host runs no containers: its setting runtime.backend has no container engine";
        Failure::new(Stage::Source, FailureKind::EngineUnavailable, cause).hint(
            "ask the operator of the host to install Docker or Podman, and to set runtime.backend to \"docker\"",
        )
    })
}
