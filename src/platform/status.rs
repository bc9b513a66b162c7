//! What the agent says of itself to the operator.

use autostack_base::health::Part;
use autostack_store::Store;
use serde::Serialize;

use crate::{
    error::PlatformError,
    platform::{Addresses, Platform},
};

/// A few figures and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The agent's version.
    pub version: &'static str,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Where the doors listen.
    pub addresses: Addresses,
    /// The runtime's name.
    pub runtime: &'static str,
    /// How many apps there are.
    pub apps: usize,
    /// How many instances run.
    pub instances: usize,
    /// How many pushes are under way.
    pub pushes: usize,
    /// How many tasks have panicked since the start.
    pub panics: u64,
}

impl Platform {
    /// How the parts below the doors are; quick, and without waiting.
    pub fn parts_health(&self) -> [(&'static str, Part); 3] {
        let parts = self.parts();
        let store = match parts.store.unfinished_deployments() {
            Ok(_) => Part::ok(),
            Err(error) => Part::down(format!("the store cannot be read: {error}")),
        };
        let disk = self.check_space().map_or_else(|full| Part::degraded(full.message), |()| Part::ok());
        let runtime = Part { detail: Some(parts.runtime.name().to_owned()), ..Part::ok() };
        [("store", store), ("disk", disk), ("runtime", runtime)]
    }

    /// Looks.
    pub async fn status(&self) -> Result<Status, PlatformError> {
        let parts = self.parts();
        let apps = parts.store.call(Store::apps).await?.len();
        let instances = parts.runtime.list().await;
        let instances =
            instances.map_err(|error| PlatformError::internal("what runs cannot be listed", &error))?;
        Ok(Status {
            version: self.version(),
            uptime_seconds: self.0.started.elapsed().as_secs(),
            addresses: self.0.addresses,
            runtime: parts.runtime.name(),
            apps,
            instances: instances.len(),
            pushes: self.0.pushes.count(),
            panics: parts.tasks.panics(),
        })
    }
}
