//! The steps of a release: prepared, then committed or discarded, each one transaction.
//!
//! ```text
//! queued, running --prepare_release--> prepared --commit_release---> success
//!                                               --discard_release--> failed, cancelled
//! ```

use autostack_domain::{
    AppName, Deployment, DeploymentId, DeploymentState, EnvMap, Failure, Release, ReleaseNumber, StageRecord,
    UnixMillis,
};

use crate::{
    apps, deployments,
    error::StoreError,
    seal::Belonging,
    store::Store,
    tables::{APPS, RELEASE_CONFIG, RELEASES},
};

/// What a release brings with it when it goes live.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoingLive<'a> {
    /// The branch that it was pushed to; becomes the app's own if it has none yet.
    pub deploy_branch: Option<&'a str>,
    /// Set to make the release's config the app's own, as a rollback does. It is the app's config as it was when the
    /// release was drafted: what was set or removed since then stays so.
    pub config_since: Option<&'a EnvMap>,
    /// Whether an app that was stopped runs again from now on, as after a push.
    pub starts: bool,
}

impl Store {
    /// Records a release whose instances are all ready, with the config that they have, and marks its
    /// deployment as prepared. Its number must be [`Store::next_release_number`]; the number stays used
    /// even if the release is discarded. A release whose artifact it uses again must still be there.
    pub fn prepare_release(
        &self,
        release: &Release,
        config: &EnvMap,
        id: &DeploymentId,
        stages: &[StageRecord],
    ) -> Result<(), StoreError> {
        let (name, number) = (&release.app, release.number);
        let sealed = self.sealer().seal_env(Belonging::ReleaseConfig(name, number), config)?;
        self.write(|txn| {
            let mut app = apps::get(txn, name)?;
            if number.0 != app.last_release + 1 {
                let why = format!("the next one is v{}", app.last_release + 1);
                return Err(StoreError::conflict("release", &format!("{name} {number}"), why));
            }
            if let Some(again) = release.again
                && RELEASES.write(txn)?.get((name.as_str(), again.0))?.is_none()
            {
                let why = "it was removed meanwhile, and its artifact with it";
                return Err(StoreError::conflict("release", &format!("{name} {again}"), why));
            }
            let before = deployment_of(name, deployments::get(txn, id)?)?;
            match before.state {
                DeploymentState::Queued | DeploymentState::Running => {}
                _ => return Err(wrong_state(&before, "prepared")),
            }
            app.last_release = number.0;
            APPS.write(txn)?.put(name.as_str(), &app)?;
            RELEASES.write(txn)?.put((name.as_str(), number.0), release)?;
            txn.open_table(RELEASE_CONFIG)?.insert((name.as_str(), number.0), sealed.as_slice())?;
            let mut after = before.clone();
            after.state = DeploymentState::Prepared;
            after.release = Some(number);
            after.stages = stages.to_vec();
            deployments::put(txn, &before, &after)
        })
    }

    /// Makes a prepared release the live one and its deployment a success, with what it brings. Repeating it is
    /// harmless, also after a later release went live.
    pub fn commit_release(
        &self,
        name: &AppName,
        number: ReleaseNumber,
        id: &DeploymentId,
        brings: GoingLive<'_>,
        ended_at: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write(|txn| {
            let mut app = apps::get(txn, name)?;
            let before = deployment_of(name, deployments::get(txn, id)?)?;
            if before.release != Some(number) {
                return Err(wrong_state(&before, &format!("committed as {number}")));
            }
            match before.state {
                DeploymentState::Success => return Ok(()),
                DeploymentState::Prepared => {}
                _ => return Err(wrong_state(&before, "committed")),
            }
            app.current_release = Some(number);
            app.deploy_branch = app.deploy_branch.or_else(|| brings.deploy_branch.map(str::to_owned));
            app.is_stopped = app.is_stopped && !brings.starts;
            if let Some(before) = brings.config_since {
                self.take_config_of(txn, name, number, before)?;
            }
            let release = RELEASES.write(txn)?.get((name.as_str(), number.0))?;
            if let Some(Release { brings, .. }) = release.filter(|release| !release.brings.is_empty()) {
                self.bring_config_of(txn, name, number, &brings)?;
            }
            APPS.write(txn)?.put(name.as_str(), &app)?;
            let mut after = before.clone();
            after.state = DeploymentState::Success;
            after.ended_at = Some(ended_at);
            deployments::put(txn, &before, &after)
        })
    }

    /// Removes a prepared release and ends its deployment as `state`, which is failed or cancelled. The
    /// deployment no longer names a release. Repeating it is harmless.
    pub fn discard_release(
        &self,
        name: &AppName,
        number: ReleaseNumber,
        id: &DeploymentId,
        failure: &Failure,
        state: DeploymentState,
        ended_at: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write(|txn| {
            let before = deployment_of(name, deployments::get(txn, id)?)?;
            let is_ending = matches!(state, DeploymentState::Failed | DeploymentState::Cancelled);
            match before.state {
                _ if !is_ending => return Err(wrong_state(&before, "discarded as anything but an end")),
                done if done == state && before.release.is_none() => return Ok(()),
                DeploymentState::Prepared if before.release == Some(number) => {}
                _ => return Err(wrong_state(&before, &format!("discarded as {number}"))),
            }
            RELEASES.write(txn)?.remove((name.as_str(), number.0))?;
            txn.open_table(RELEASE_CONFIG)?.remove((name.as_str(), number.0))?;
            let mut after = before.clone();
            after.state = state;
            after.release = None;
            after.failure = Some(failure.clone());
            after.ended_at = Some(ended_at);
            deployments::put(txn, &before, &after)
        })
    }
}

fn deployment_of(name: &AppName, deployment: Deployment) -> Result<Deployment, StoreError> {
    if deployment.app == *name {
        Ok(deployment)
    } else {
        Err(StoreError::conflict("deployment", &deployment.id, format!("it is not one of {name}")))
    }
}

fn wrong_state(deployment: &Deployment, wanted: &str) -> StoreError {
    let release = deployment.release.map_or_else(|| "no release".to_owned(), |number| number.to_string());
    let why = format!("it is {:?} with {release} and cannot be {wanted}", deployment.state);
    StoreError::conflict("deployment", &deployment.id, why)
}
