//! An app under another name: its artifacts, code, logs and caches move from the one to the other. What is recorded moves
//! in one transaction of the store; a crash in between is made good when the agent starts.

use std::{fs, io, path::Path};

use autostack_base::error_chain;
use autostack_domain::{AppName, Artifact, Failure, FailureKind, Release, Stage};
use autostack_store::{Store, StoreError};

use crate::{
    deployer::{Deployer, Parts},
    workspace::remove_dir,
};

impl Deployer {
    /// Makes the artifacts of an app known under a second name, so that instances of both can run. Folders are linked,
    /// file by file; images get a second name.
    pub async fn share_artifacts(&self, old: &AppName, new: &AppName) -> Result<(), Failure> {
        let parts = &self.parts;
        let (from, to) = (parts.artifacts_dir().join(old.as_str()), parts.artifacts_dir().join(new.as_str()));
        remove_dir(&to).await;
        let link = move || if from.is_dir() { link_tree(&from, &to) } else { Ok(()) };
        match parts.tasks.blocking("link artifacts", link).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(not_shared(&error)),
            Err(panic) => return Err(not_shared(&panic)),
        }
        let name = old.clone();
        let releases = parts.store.call(move |store| store.releases(&name)).await;
        for release in releases.map_err(|error| not_shared(&error))? {
            name_image(parts, &release, new).await.map_err(|error| not_shared(error.as_ref()))?;
        }
        Ok(())
    }

    /// Makes the artifact of one release known under the name of another app, likewise.
    pub async fn share_artifact(&self, release: &Release, with: &AppName) -> Result<(), Failure> {
        let (parts, id) = (&self.parts, release.artifact.built_by());
        remove_dir(&parts.artifacts_dir().join(with.as_str())).await;
        let (from, to) = (parts.artifact_dir(&release.app, id), parts.artifact_dir(with, id));
        let link = move || if from.is_dir() { link_tree(&from, &to) } else { Ok(()) };
        match parts.tasks.blocking("link artifact", link).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(not_shared(&error)),
            Err(panic) => return Err(not_shared(&panic)),
        }
        name_image(parts, release, with).await.map_err(|error| not_shared(error.as_ref()))
    }

    /// Moves code, logs and caches.
    pub async fn move_files(&self, old: &AppName, new: &AppName) -> Result<(), Failure> {
        let (repositories, logs, builder) =
            (self.parts.repositories.clone(), self.parts.logs.clone(), self.parts.builder.clone());
        let (from, to) = (old.clone(), new.clone());
        let work = move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            if repositories.exists(&from) {
                repositories.remove(&to)?;
                repositories.rename(&from, &to)?;
            }
            logs.rename_app(&from, &to)?;
            builder.remove_cache(&to)?;
            Ok(builder.rename_cache(&from, &to)?)
        };
        match self.parts.tasks.blocking("move app files", work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(not_moved(error.as_ref())),
            Err(panic) => Err(not_moved(&panic)),
        }
    }

    /// Finishes what a crash cut off, before anything is adopted.
    pub(crate) async fn finish_renames(&self) -> Result<(), StoreError> {
        for (old, new) in self.parts.store.call(Store::unfinished_renames).await? {
            let artifacts = self.parts.artifacts_dir();
            let (from, to) = (artifacts.join(old.as_str()), artifacts.join(new.as_str()));
            if from.is_dir() {
                let link = move || link_missing(&from, &to);
                match self.parts.tasks.blocking("link artifacts", link).await {
                    Ok(Ok(())) => {}
                    other => {
                        tracing::error!(app = %new, ?other, "artifacts of a renamed app could not be moved");
                    }
                }
            }
            let code = self.parts.repositories.exists(&old);
            let moved = if code { self.move_files(&old, &new).await } else { Ok(()) };
            match moved {
                Ok(()) => {
                    tracing::info!(%old, %new, "finished a renaming that was cut off");
                    self.parts.store.call(move |store| store.finish_rename(&new)).await?;
                }
                Err(failure) => {
                    tracing::error!(%old, %new, cause = failure.cause, "a renaming could not be finished");
                }
            }
        }
        Ok(())
    }
}

/// Gives the image of a release the name that it has under another app.
async fn name_image(
    parts: &Parts,
    release: &Release,
    app: &AppName,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (Some(engine), Artifact::Image { built_by, image, .. }) = (&parts.engine, &release.artifact) else {
        return Ok(());
    };
    Ok(engine.tag(image, &engine.image_name(app, built_by)).await?)
}

/// Makes a second tree of the same files.
fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // A link is taken as a link, wherever it leads.
        if entry.file_type()?.is_dir() {
            link_tree(&entry.path(), &target)?;
        } else {
            fs::hard_link(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The same for each artifact that has no folder there yet.
fn link_missing(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !target.exists() {
            link_tree(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn not_shared(error: &(dyn std::error::Error + 'static)) -> Failure {
    failed("its artifacts cannot be taken along", error)
}

fn not_moved(error: &(dyn std::error::Error + 'static)) -> Failure {
    failed("its code, logs and caches cannot be moved", error)
}

fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::error!(error = error_chain(error), "an app cannot be renamed or cloned: {what}");
    Failure::new(Stage::Switch, FailureKind::Internal, what).hint("look at the agent's log on the host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_tree_outlives_the_first_and_keeps_links_as_links() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("id/bin")).unwrap();
        fs::write(from.join("id/bin/run"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("id/link")).unwrap();
        link_tree(&from, &to).unwrap();
        fs::create_dir_all(from.join("late")).unwrap();
        link_missing(&from, &to).unwrap();
        fs::remove_dir_all(&from).unwrap();
        assert_eq!(fs::read_to_string(to.join("id/bin/run")).unwrap(), "x");
        assert_eq!(fs::read_link(to.join("id/link")).unwrap(), Path::new("/etc/passwd"));
        assert!(to.join("late").is_dir());
    }
}
