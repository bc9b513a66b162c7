//! What operators set for one app beyond its formation; one field a topic, each with its type in a file of its own.

use serde::{Deserialize, Serialize};

use crate::{
    build_settings::BuildSettings, checks::CheckSettings, cron::CronSettings, docker_options::DockerOptions,
    git_settings::GitSettings, lock::DeployLock, origin::Origin, resources::ResourceSettings,
    storage::StorageSettings, traffic::Traffic,
};

/// The settings of an app. What is as it was in the beginning is not written down, so that a new topic changes no
/// record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// Set while nothing may be deployed to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<DeployLock>,
    /// Where its code is said to come from.
    #[serde(skip_serializing_if = "Origin::is_default")]
    pub origin: Origin,
    /// What its instances may use of the host.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: ResourceSettings,
    /// How its releases replace one another.
    #[serde(skip_serializing_if = "is_default")]
    pub checks: CheckSettings,
    /// The folders of the host that its instances see.
    #[serde(skip_serializing_if = "is_default")]
    pub storage: StorageSettings,
    /// What is done at set times.
    #[serde(skip_serializing_if = "is_default")]
    pub cron: CronSettings,
    /// How its code is kept and shown to builds.
    #[serde(skip_serializing_if = "is_default")]
    pub git: GitSettings,
    /// How it is built.
    #[serde(skip_serializing_if = "is_default")]
    pub build: BuildSettings,
    /// What the engine is told of its build and its containers.
    #[serde(skip_serializing_if = "is_default")]
    pub docker: DockerOptions,
    /// How visitors reach it.
    #[serde(skip_serializing_if = "is_default")]
    pub traffic: Traffic,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl AppSettings {
    /// Whether nobody has set anything.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
