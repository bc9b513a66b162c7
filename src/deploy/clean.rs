//! What the engine keeps for nobody: images that no release and no deployment under way needs.
//!
//! A deployment removes what it made when it fails, and a release what it leaves when it is pruned; this finds what
//! was cut off in between, or could not be removed because the engine was away.

use std::{collections::HashSet, time::Duration};

use autostack_base::clock;
use autostack_domain::{AppName, DeploymentId};
use autostack_engine::{Engine, EngineError, OurImage};
use autostack_store::{Store, StoreError};
use tokio::time::sleep;

use crate::deployer::{Deployer, Parts};

/// Seconds after which an image without a name is a leftover.
const NAMELESS_AGE_MIN_S: i64 = 24 * 3600;
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Why the engine could not be cleared.
#[derive(Debug, thiserror::Error)]
enum CleanError {
    #[error("what is needed cannot be read")]
    Store(#[from] StoreError),
    #[error("what the engine keeps cannot be listed")]
    Engine(#[from] EngineError),
}

impl Deployer {
    /// Clears the engine again and again, for as long as the agent runs. Ends at once without an engine.
    pub async fn keep_engine_clean(self) {
        let stopping = self.parts.tasks.shutdown_token();
        while let Some(engine) = &self.parts.engine {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.parts.runtime.engine_reachable() => {}
            }
            match clean(&self.parts, engine).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "images that nothing needs are removed"),
                Err(error) => {
                    tracing::warn!(
                        error = autostack_base::error_chain(&error),
                        "the engine could not be cleared"
                    );
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// Removes everything of an app that is gone.
pub(crate) async fn forget(parts: &Parts, app: &AppName) {
    let Some(engine) = &parts.engine else { return };
    match engine.images_of_agent(Some(app)).await {
        Ok(images) => {
            remove(engine, &images, &HashSet::new()).await;
        }
        // The next look finds it.
        Err(error) => tracing::warn!(%app, %error, "the images of a destroyed app could not be listed"),
    }
}

async fn clean(parts: &Parts, engine: &Engine) -> Result<usize, CleanError> {
    // Listed first: what is made meanwhile is not in the list.
    let images = engine.images_of_agent(None).await?;
    let needed = parts.store.call(needed).await?;
    let needed: HashSet<String> =
        needed.iter().map(|(app, deployment)| engine.image_name(app, deployment)).collect();
    Ok(remove(engine, &images, &needed).await)
}

/// The deployments whose images are needed: those of all releases, and those that are still under way.
fn needed(store: &Store) -> Result<Vec<(AppName, DeploymentId)>, StoreError> {
    let mut needed = Vec::new();
    for app in store.apps()? {
        let releases = store.releases(&app.name)?;
        needed.extend(
            releases.into_iter().map(|release| (app.name.clone(), release.artifact.built_by().clone())),
        );
    }
    needed.extend(
        store.unfinished_deployments()?.into_iter().map(|deployment| (deployment.app, deployment.id)),
    );
    Ok(needed)
}

/// Whether it lost its name, or never got one, some time ago: a build names its image as its last step.
fn is_left_over(image: &OurImage) -> bool {
    let age_s = clock::now().0 / 1000 - image.created_s;
    image.tags.is_empty() && age_s > NAMELESS_AGE_MIN_S
}

/// Removes what has none of the needed names; gives how many names and nameless images went.
async fn remove(engine: &Engine, images: &[OurImage], needed: &HashSet<String>) -> usize {
    let mut removed = 0;
    for image in images {
        // Podman writes where an image lives that lives nowhere.
        let is_needed = |tag: &str| needed.contains(tag.strip_prefix("localhost/").unwrap_or(tag));
        let ours = image.tags.iter().map(String::as_str).filter(|tag| engine.is_own_name(tag));
        let nameless = Some(image.id.as_str()).filter(|_| is_left_over(image));
        for name in ours.filter(|tag| !is_needed(tag)).chain(nameless) {
            match engine.remove_image(name).await {
                Ok(_) => removed += 1,
                Err(error) if error.is_conflict() => {
                    tracing::debug!(name, %error, "an image is still in use");
                }
                Err(error) => tracing::warn!(name, %error, "an image could not be removed"),
            }
        }
    }
    removed
}
