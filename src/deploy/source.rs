//! The first stage of a push: whether its ref can still be moved, and the files of its commit.

use std::path::Path;

use autostack_domain::{Failure, FailureKind, GitSettings, Stage};
use autostack_git::{Source, SourceError, SourceLimits, SourceReport};

use crate::{
    deployer::{Job, Parts, Pushed},
    ending::{cancelled, internal},
    submodules,
    workspace::Workspace,
};

/// A push that waited behind another one may have become outdated: then git would refuse it after all the work.
pub(crate) async fn check_ref(pushed: &Pushed, job: &Job, parts: &Parts) -> Result<(), Failure> {
    let (repositories, app, git_ref) = (parts.repositories.clone(), job.app.clone(), pushed.git_ref.clone());
    let head = parts.tasks.blocking("read ref", move || repositories.head_of(&app, &git_ref)).await;
    let is_unmoved = match &head {
        Ok(Ok(Some(head))) => *head == pushed.replaces,
        Ok(Ok(None)) => pushed.replaces.is_null(),
        // The export tells what is wrong with the repository.
        Ok(Err(_)) | Err(_) => true,
    };
    if is_unmoved {
        return Ok(());
    }
    let cause = format!("another push has moved {} while this one waited", pushed.git_ref.short());
    Err(Failure::new(Stage::Source, FailureKind::BadSource, cause)
        .hint("git fetch, bring both together, then push again"))
}

/// Reads the commit, refuses what may not be deployed, and writes its files into the artifact's folder.
pub(crate) async fn export(
    pushed: &Pushed,
    job: &Job,
    work: &Workspace,
    parts: &Parts,
    settings: &GitSettings,
) -> Result<(), Failure> {
    let keep_git_dir = settings.keeps_git_dir();
    job.log.step(format!(
        "Deploying {} from {} ({})",
        job.app,
        pushed.git_ref.short(),
        pushed.commit.short()
    ));
    let repository = parts.repositories.path(&job.app);
    let (quarantine, commit, dir) = (pushed.quarantine.clone(), pushed.commit.clone(), work.dir.clone());
    let cancel = job.cancel.clone();
    let export = move || -> Result<SourceReport, SourceError> {
        let source = Source::open(&repository, quarantine.as_deref())?;
        let report = source.inspect_until(&commit, &SourceLimits::default(), &cancel)?;
        if report.commit != commit {
            let why = format!(
                "a branch names commits, and this is a tag of {}; push that commit",
                report.commit.short()
            );
            return Err(SourceError::Refused { path: commit.to_string(), why });
        }
        make_parent(&dir)?;
        source.export(&report, &dir, &cancel)?;
        if keep_git_dir {
            source.add_git_dir(&report, &dir, &cancel)?;
        }
        Ok(report)
    };
    match parts.tasks.blocking("export", export).await {
        Ok(Ok(report)) => {
            let files = if report.files == 1 { "file" } else { "files" };
            job.log.detail(format!("{} ({} {files})", report.subject, report.files));
            report.notes.iter().for_each(|note| job.log.trouble(note.clone()));
            let remote = pushed.remote.as_ref().or(settings.remote.as_ref());
            submodules::fetch(&report, remote, job, work, parts).await
        }
        Ok(Err(SourceError::Cancelled)) => Err(cancelled(Stage::Source)),
        Ok(Err(error)) => Err(error.into()),
        Err(panic) => Err(internal(Stage::Source, &panic)),
    }
}

fn make_parent(dir: &Path) -> Result<(), SourceError> {
    let parent = dir.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent)
        .map_err(|source| SourceError::Write { path: parent.display().to_string(), source })
}
