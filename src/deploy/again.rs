//! An earlier release as the input of a new one: the same artifact, for another config or to go back.

use autostack_domain::{
    App, Artifact, Failure, FailureKind, Release, ReleaseNumber, Stage, release::ConfigBrought,
};
use autostack_store::Store;

use crate::{
    artifact::Made,
    deployer::{ConfigOf, Job, Parts},
    ending::{engine_failure, store_failure},
};

/// Finds the release and what it needs to run.
pub(crate) async fn of_release(
    of: Option<ReleaseNumber>,
    config: ConfigOf,
    job: &Job,
    parts: &Parts,
    app: &App,
) -> Result<Made, Failure> {
    let Some(number) = of.or(app.current_release) else {
        let cause = format!("{} has no release yet", app.name);
        return Err(Failure::new(Stage::Source, FailureKind::BadSource, cause).hint("push to it first"));
    };
    let name = app.name.clone();
    let read = move |store: &Store| {
        let Some(release) = store.release(&name, number)? else { return Ok(None) };
        Ok(Some((release, store.release_config(&name, number)?)))
    };
    let found = parts.store.call(read).await.map_err(|error| store_failure(Stage::Source, &error))?;
    let Some((release, its_config)) = found else {
        return Err(is_gone(number, app, "it was removed, as releases.keep says"));
    };
    if let Some(why) = missing(parts, &release).await? {
        return Err(is_gone(number, app, why));
    }
    job.log.step(format!("{}: {} of {number} again", job.source(), release.source));
    Ok(Made {
        formation_asked: release.formation.0,
        artifact: release.artifact,
        source: release.source,
        processes: release.processes,
        checks: release.checks,
        cron: release.cron,
        config: match config {
            ConfigOf::App => None,
            ConfigOf::Release => Some(its_config),
        },
        scripts: Vec::new(),
        brings: ConfigBrought::default(),
        again: Some(number),
    })
}

/// What is missing of a release's artifact; `None` where all of it is there.
pub(crate) async fn missing(parts: &Parts, release: &Release) -> Result<Option<&'static str>, Failure> {
    let has_folder = || parts.artifact_dir(&release.app, release.artifact.built_by()).is_dir();
    let (image, needs_folder) = match &release.artifact {
        Artifact::Directory { .. } => (None, true),
        Artifact::Image { image, static_site, .. } => (Some(image), static_site.is_some()),
    };
    if needs_folder && !has_folder() {
        return Ok(Some("the folder of its artifact is not there any more"));
    }
    let Some(image) = image else { return Ok(None) };
    let Some(engine) = &parts.engine else {
        return Ok(Some("it runs an image, and this host has no container engine now"));
    };
    let facts = engine.inspect_image(image.as_str()).await;
    let facts = facts.map_err(|error| engine_failure(Stage::Source, &error))?;
    Ok(facts.is_none().then_some("the container engine does not have its image any more"))
}

fn is_gone(number: ReleaseNumber, app: &App, why: &str) -> Failure {
    let cause = format!("{number} of {} cannot be run again: {why}", app.name);
    Failure::new(Stage::Source, FailureKind::BadSource, cause)
        .hint(format!("releases:list {} shows which can", app.name))
}
