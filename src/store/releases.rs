//! Verbs of the releases; they are made and undone in `journal.rs`.

use autostack_domain::{AppName, DeploymentId, EnvMap, Release, ReleaseNumber};

use crate::{
    apps,
    error::StoreError,
    record::first_version,
    seal::Belonging,
    store::Store,
    tables::{RELEASE_CONFIG, RELEASES},
};

first_version!(Release);

impl Store {
    /// The number that [`Store::prepare_release`] will accept for the app's next release.
    pub fn next_release_number(&self, app: &AppName) -> Result<ReleaseNumber, StoreError> {
        let record = self.app(app)?.ok_or_else(|| StoreError::not_found("app", app))?;
        Ok(ReleaseNumber(record.last_release + 1))
    }

    /// A release.
    pub fn release(&self, app: &AppName, number: ReleaseNumber) -> Result<Option<Release>, StoreError> {
        self.read(|txn| RELEASES.read(txn)?.get((app.as_str(), number.0)))
    }

    /// The releases of an app, oldest first.
    pub fn releases(&self, app: &AppName) -> Result<Vec<Release>, StoreError> {
        let app = app.as_str();
        self.read(|txn| RELEASES.read(txn)?.range::<(&str, u32)>((app, 0)..=(app, u32::MAX)))
    }

    /// Removes the oldest releases with their config, so that `keep` are left, the live one and those after it
    /// included. Returns the deployments whose artifacts no release names any more; the caller removes those.
    pub fn prune_releases(&self, name: &AppName, keep: usize) -> Result<Vec<DeploymentId>, StoreError> {
        self.write(|txn| {
            let Some(live) = apps::get(txn, name)?.current_release else { return Ok(Vec::new()) };
            let app = name.as_str();
            let mut table = RELEASES.write(txn)?;
            let mut configs = txn.open_table(RELEASE_CONFIG)?;
            let all = table.range::<(&str, u32)>((app, 0)..=(app, u32::MAX))?;
            let (older, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|release| release.number < live);
            let room = keep.saturating_sub(kept.len());
            let (outdated, older) = older.split_at(older.len().saturating_sub(room));
            for release in outdated {
                table.remove((app, release.number.0))?;
                configs.remove((app, release.number.0))?;
            }
            let is_named =
                |id: &DeploymentId| kept.iter().chain(older).any(|release| release.artifact.built_by() == id);
            let artifacts = outdated.iter().map(|release| release.artifact.built_by());
            Ok(artifacts.filter(|id| !is_named(id)).cloned().collect())
        })
    }

    /// The config that a release was made with.
    pub fn release_config(&self, app: &AppName, number: ReleaseNumber) -> Result<EnvMap, StoreError> {
        self.read(|txn| {
            let configs = txn.open_table(RELEASE_CONFIG)?;
            let sealed = configs.get((app.as_str(), number.0))?;
            let sealed =
                sealed.ok_or_else(|| StoreError::not_found("release", &format!("{app} {number}")))?;
            self.sealer().open_env(Belonging::ReleaseConfig(app, number), sealed.value())
        })
    }
}
