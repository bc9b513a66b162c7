//! What the engine keeps for nobody: images that no release and no deployment under way needs, and build cache.
//!
//! A deployment removes what it made when it fails, and a release what it leaves when it is pruned; this finds what
//! was cut off in between, or could not be removed because the engine was away.

use std::{collections::HashSet, time::Duration};

use autostack_base::{clock, tasks::Backoff};
use autostack_domain::{AppName, DeploymentId, UnixMillis};
use autostack_engine::{CacheRecord, Engine, EngineError, OurImage, images::names::plain_name};
use autostack_store::{Store, StoreError};
use tokio::time::sleep;

use crate::deployer::{Deployer, Parts};

/// Seconds after which an image without a name is a leftover.
const NAMELESS_AGE_MIN_S: i64 = 24 * 3600;
/// Milliseconds after which build cache that nobody used goes: 30 days.
const CACHE_AGE_MAX_MS: i64 = 30 * 24 * 3600 * 1000;
/// Records that one pass removes: an engine looks through all it has for each, and builds wait meanwhile.
const CACHE_RECORDS_MAX: usize = 64;
/// Steps of an image build that stand on one another; more wait for the next look.
const CACHE_LAYERS_MAX: usize = 32;
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// First pause where something could not be removed yet: a container that is being stopped uses it, or the engine went
/// away. It doubles up to [`LOOK_EVERY`].
const LOOK_AGAIN_FIRST: Duration = Duration::from_secs(1);

/// Why the engine could not be cleared.
#[derive(Debug, thiserror::Error)]
enum CleanError {
    #[error("what is needed cannot be read")]
    Store(#[from] StoreError),
    #[error("what the engine keeps cannot be listed")]
    Engine(#[from] EngineError),
}

impl Deployer {
    /// Clears the engine again and again, for as long as the agent runs; at once when something was left over. Ends at
    /// once without an engine.
    pub async fn keep_engine_clean(self) {
        let stopping = self.parts.tasks.shutdown_token();
        let fresh = || Backoff::new(LOOK_AGAIN_FIRST, LOOK_EVERY, LOOK_EVERY);
        let mut pauses = fresh();
        while let Some(engine) = &self.parts.engine {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.parts.runtime.engine_reachable() => {}
            }
            // First: they keep images from being removed.
            match engine.remove_leftovers().await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "containers that files were read from are removed"),
                Err(error) => could_not(&error.into()),
            }
            let cleared = clean_images(&self.parts, engine).await;
            let is_clear = cleared.as_ref().is_ok_and(|cleared| cleared.left == 0);
            match cleared {
                Ok(Cleared { removed: 0, .. }) => {}
                Ok(Cleared { removed, .. }) => {
                    tracing::info!(count = removed, "images that nothing needs are removed");
                }
                Err(error) => could_not(&error),
            }
            match clean_cache(&self.parts, engine).await {
                Ok(0) => {}
                Ok(bytes) => {
                    tracing::info!(bytes, "build cache that is old, nobody's or too much is removed");
                }
                Err(error) => could_not(&error),
            }
            let pause = if is_clear { LOOK_EVERY } else { pauses.after_failure(Duration::ZERO) };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.parts.left_over.notified() => pauses = fresh(),
                () = sleep(pause) => {}
            }
        }
    }
}

/// What a look has done about images.
#[derive(Default)]
struct Cleared {
    /// Names and nameless images that went.
    removed: usize,
    /// Those that could not be removed yet.
    left: usize,
}

/// Removes everything of an app that is gone.
pub(crate) async fn forget(parts: &Parts, app: &AppName) {
    let Some(engine) = &parts.engine else { return };
    // Another app may have them under a name of its own: this one, renamed.
    let Ok(needed) = parts.store.call(needed).await else { return parts.left_over.notify_one() };
    let needed: HashSet<String> =
        needed.iter().map(|(app, deployment)| engine.image_name(app, deployment)).collect();
    match engine.images_of_agent(Some(app)).await {
        Ok(images) => {
            if remove(engine, &images, &needed).await.left > 0 {
                parts.left_over.notify_one();
            }
        }
        Err(error) => {
            tracing::warn!(%app, %error, "the images of a destroyed app could not be listed");
            parts.left_over.notify_one();
        }
    }
}

async fn clean_images(parts: &Parts, engine: &Engine) -> Result<Cleared, CleanError> {
    // Listed first: what is made meanwhile is not in the list.
    let images = engine.images_of_agent(None).await?;
    let needed = parts.store.call(needed).await?;
    let needed: HashSet<String> =
        needed.iter().map(|(app, deployment)| engine.image_name(app, deployment)).collect();
    Ok(remove(engine, &images, &needed).await)
}

/// Removes build cache of apps that are gone, then what was not used for long, then the oldest of what is too much.
async fn clean_cache(parts: &Parts, engine: &Engine) -> Result<u64, CleanError> {
    let apps = parts.store.call(Store::apps).await?;
    let names: Vec<AppName> = apps.into_iter().map(|app| app.name).collect();
    let limit = parts.settings().docker.cache_bytes_max;
    let oldest = UnixMillis(clock::now().0 - CACHE_AGE_MAX_MS);
    let mut freed = 0;
    // A record on which others stand goes once they are gone.
    for _layer in 0..CACHE_LAYERS_MAX {
        let mut is_done = true;
        let records = engine.build_cache(&parts.tasks).await?;
        for record in superfluous(records, &names, limit, oldest).into_iter().take(CACHE_RECORDS_MAX) {
            if let Some(bytes) = engine.remove_cache(&record).await? {
                freed += bytes;
                is_done = false;
            }
        }
        if is_done {
            break;
        }
    }
    Ok(freed)
}

/// The records that go, the oldest first.
fn superfluous(
    mut records: Vec<CacheRecord>,
    apps: &[AppName],
    bytes_max: u64,
    oldest: UnixMillis,
) -> Vec<CacheRecord> {
    records.sort_by_key(|record| record.used_at.0);
    let mut bytes: u64 = records.iter().map(|record| record.bytes).sum();
    records.retain(|record| {
        let is_nobodys = !apps.iter().any(|app| record.is_of(app));
        let goes = is_nobodys || record.used_at.0 < oldest.0 || bytes > bytes_max;
        if goes {
            bytes = bytes.saturating_sub(record.bytes);
        }
        goes
    });
    records
}

fn could_not(error: &CleanError) {
    tracing::warn!(error = autostack_base::error_chain(error), "the engine could not be cleared");
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

/// Removes what has none of the needed names.
async fn remove(engine: &Engine, images: &[OurImage], needed: &HashSet<String>) -> Cleared {
    let mut cleared = Cleared::default();
    for image in images {
        // Podman writes where an image lives that lives nowhere.
        let is_needed = |tag: &str| needed.contains(plain_name(tag));
        let ours = image.tags.iter().map(String::as_str).filter(|tag| engine.is_own_name(tag));
        let nameless = Some(image.id.as_str()).filter(|_| is_left_over(image));
        for name in ours.filter(|tag| !is_needed(tag)).chain(nameless) {
            match engine.remove_image(name).await {
                Ok(_) => cleared.removed += 1,
                Err(error) => {
                    cleared.left += 1;
                    if error.is_conflict() {
                        tracing::debug!(name, %error, "an image is still in use");
                    } else {
                        tracing::warn!(name, %error, "an image could not be removed");
                    }
                }
            }
        }
    }
    cleared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_goes_that_is_nobodys_old_or_too_much() {
        let apps = ["shop".parse().unwrap()];
        let record = |(id, owner, bytes, used_at): &(&str, &str, u64, i64)| CacheRecord {
            id: (*id).into(),
            owner: (*owner).into(),
            bytes: *bytes,
            used_at: UnixMillis(*used_at),
        };
        let records = [
            ("new", "shop", 40, 900),
            ("old", "shop", 1, 100),
            ("folder", "shop-npm", 50, 800),
            ("lost", "gone", 9, 950),
        ];
        let gone = |bytes_max| {
            let gone = superfluous(records.iter().map(record).collect(), &apps, bytes_max, UnixMillis(500));
            gone.into_iter().map(|record| record.id).collect::<Vec<_>>()
        };
        assert_eq!(gone(1_000), ["old", "lost"]);
        assert_eq!(gone(60), ["old", "folder", "lost"]);
    }
}
