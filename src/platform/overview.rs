//! What the actor's apps are doing, in figures.

use std::collections::HashSet;

use autostack_base::clock;
use autostack_domain::{AppName, DeploymentState, UnixMillis, permission::Actor};
use autostack_runtime::InstanceState;
use autostack_store::{DeploymentQuery, Store, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{error::PlatformError, platform::Platform};

/// Deployments of a day that are counted; those before the newest ones are left out.
const COUNTED_MAX: usize = 1000;
/// Milliseconds of a day.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Figures of the apps that somebody may see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Overview {
    /// How many apps there are.
    pub apps: usize,
    /// How many of them have a release.
    pub deployed_apps: usize,
    /// How many instances run.
    pub instances: usize,
    /// The deployments of the last 24 hours.
    pub deployments: DeploymentFigures,
}

/// Figures of some deployments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeploymentFigures {
    /// How many have gone live.
    pub success: usize,
    /// How many have failed.
    pub failed: usize,
    /// How many were cancelled.
    pub cancelled: usize,
    /// How many go on.
    pub unfinished: usize,
    /// Milliseconds from request to live, the middle one; `null` where none went live.
    pub median_ms: Option<u64>,
}

impl Platform {
    /// Figures of the apps that the actor may see.
    pub async fn overview(&self, actor: &Actor) -> Result<Overview, PlatformError> {
        let apps = self.apps(actor).await?;
        let names: Vec<AppName> = apps.iter().map(|app| app.name.clone()).collect();
        let listing = self.parts().runtime.listing().await;
        let listing =
            listing.map_err(|error| PlatformError::internal("what runs cannot be listed", &error))?;
        let mine: HashSet<&AppName> = names.iter().collect();
        let runs = listing.observed.iter().filter(|instance| {
            mine.contains(&instance.spec.app) && matches!(instance.state, InstanceState::Running)
        });
        let (instances, since) = (runs.count(), UnixMillis(clock::now().0 - DAY_MILLIS));
        let asked = names.clone();
        let deployments = move |store: &Store| figures(store, asked, since);
        Ok(Overview {
            apps: apps.len(),
            deployed_apps: apps.iter().filter(|app| app.release.is_some()).count(),
            instances,
            deployments: self.parts().store.call(deployments).await?,
        })
    }
}

fn figures(store: &Store, apps: Vec<AppName>, since: UnixMillis) -> Result<DeploymentFigures, StoreError> {
    let mut figures = DeploymentFigures::default();
    let mut durations = Vec::new();
    let query = DeploymentQuery { apps, limit: COUNTED_MAX, ..DeploymentQuery::default() };
    let page = store.deployment_page(&query)?;
    for deployment in page.deployments.iter().take_while(|deployment| deployment.created_at >= since) {
        match deployment.state {
            DeploymentState::Success => {
                figures.success += 1;
                durations.extend(deployment.ended_at.map(|end| end.since(deployment.created_at)));
            }
            DeploymentState::Failed => figures.failed += 1,
            DeploymentState::Cancelled => figures.cancelled += 1,
            DeploymentState::Queued | DeploymentState::Running | DeploymentState::Prepared => {
                figures.unfinished += 1;
            }
        }
    }
    durations.sort_unstable();
    figures.median_ms = durations.get(durations.len() / 2).copied();
    Ok(figures)
}
