//! A release: artifact + config + process types. The config is kept beside it, sealed, by the store.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    app::Formation,
    cron::CronTask,
    health::HealthCheck,
    image::{Digest, ImageReference},
    names::{AppName, DeploymentId, ProcessType, ReleaseNumber},
    push::CommitId,
    time::UnixMillis,
};

/// What a build made; nothing changes it afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Artifact {
    /// `DATA_DIR/artifacts/APP/ID`, made by the deployment of that id.
    Directory {
        /// The deployment that built it.
        built_by: DeploymentId,
        /// What the recipe wants in the environment of every process, beneath the app's config.
        launch: LaunchEnv,
        /// Set where the agent itself serves the files and no `web` process runs.
        static_site: Option<StaticSite>,
    },
    /// An image in the engine.
    Image {
        /// The deployment that built or fetched it.
        built_by: DeploymentId,
        /// Its id in the engine.
        image: Digest,
        /// TCP ports that it exposes, in ascending order.
        ports: Vec<u16>,
        /// Whether it is a function for AWS Lambda, which is invoked and does not serve HTTP itself.
        is_lambda: bool,
        /// Set where the agent itself serves the files, which were taken out of the image into
        /// `DATA_DIR/artifacts/APP/ID`, and containers run only beside them: workers.
        static_site: Option<StaticSite>,
    },
}

impl Release {
    /// When an instance of the process type is ready; empty where nothing special was asked for.
    pub fn checks_of(&self, process: &ProcessType) -> &[HealthCheck] {
        self.checks.get(process).map_or(&[], Vec::as_slice)
    }
}

impl Artifact {
    /// The deployment that built it; names its folder.
    pub fn built_by(&self) -> &DeploymentId {
        match self {
            Artifact::Directory { built_by, .. } | Artifact::Image { built_by, .. } => built_by,
        }
    }

    /// What the agent itself serves of it.
    pub fn static_site(&self) -> Option<&StaticSite> {
        match self {
            Artifact::Directory { static_site, .. } | Artifact::Image { static_site, .. } => {
                static_site.as_ref()
            }
        }
    }
}

/// Environment that belongs to the artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchEnv {
    /// Folders inside the artifact that stand first in `PATH`: `node_modules/.bin`, `.venv/bin`.
    pub path: Vec<String>,
    /// Variables with fixed values: `NODE_ENV=production`.
    pub vars: BTreeMap<String, String>,
}

/// A folder of files that the proxy serves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticSite {
    /// The folder inside the artifact; empty for the artifact itself.
    pub root: String,
    /// The page for a path that is not there, inside `root`: `404.html`.
    pub not_found: Option<String>,
    /// Whether every path that is not a file gets `index.html` (a single-page app).
    pub single_page: bool,
}

/// What an artifact was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReleaseSource {
    /// A commit of the app's repository.
    Commit {
        /// The commit.
        commit: CommitId,
    },
    /// An image that was made elsewhere.
    Image {
        /// Its name, pinned to its digest where it comes from a registry.
        reference: ImageReference,
    },
}

impl fmt::Display for ReleaseSource {
    /// As people name it: the short commit, or the image.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseSource::Commit { commit } => f.write_str(commit.short()),
            ReleaseSource::Image { reference } => write!(f, "{reference}"),
        }
    }
}

/// Names of variables that a release brings to the config of its app when it goes live. Their values stand in the config
/// of the release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigBrought {
    /// Set by whoever pushed it, whatever the app had before.
    pub set: Vec<String>,
    /// Made because the app asks for them; what was set meanwhile stays.
    pub filled: Vec<String>,
}

impl ConfigBrought {
    /// Whether it brings nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.filled.is_empty()
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.set.iter().chain(&self.filled).map(String::as_str)
    }
}

/// The record of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The app.
    pub app: AppName,
    /// Its number within the app.
    pub number: ReleaseNumber,
    /// What runs.
    pub artifact: Artifact,
    /// What the artifact was made from.
    #[serde(flatten)]
    pub source: ReleaseSource,
    /// Command line of each process type, for `/bin/sh -c`; `None` for the command of the image.
    pub processes: BTreeMap<ProcessType, Option<String>>,
    /// How many of each were asked for when it was made.
    pub formation: Formation,
    /// When an instance of a process type is ready; without an entry: when it listens on `PORT`.
    pub checks: BTreeMap<ProcessType, Vec<HealthCheck>>,
    /// What it has done at set times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<CronTask>,
    /// Which of its config becomes the app's own when it goes live.
    #[serde(default, skip_serializing_if = "ConfigBrought::is_empty")]
    pub brings: ConfigBrought,
    /// The variable in which its instances find their commit; `None` for the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev_env_var: Option<String>,
    /// Why it was made, for people: `Deploy 3f9c2a1`.
    pub description: String,
    /// The release whose artifact it is, where it was made for another config or to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<ReleaseNumber>,
    /// The deployment that made it.
    pub deployment: DeploymentId,
    /// When it was made.
    pub created_at: UnixMillis,
}
