//! [`Build`] and [`Built`]: what a build is asked, and what comes of it.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use autostack_domain::{AppName, DeploymentId, Secret};

use crate::images::ImageFacts;

/// An image to build.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// Whose it is.
    pub app: &'a AppName,
    /// The deployment that builds it.
    pub deployment: DeploymentId,
    /// Root of the exported commit. Nobody else changes it while the build runs.
    pub context: &'a Path,
    /// What is done.
    pub dockerfile: Dockerfile,
    /// `ARG`s. They stand in the history of the image, readable for everybody who has it: no secrets.
    pub args: Vec<(String, String)>,
    /// What `RUN --mount=type=secret,id=NAME` may read. 500 KiB each at most.
    pub secrets: Vec<(String, Arc<Secret<Vec<u8>>>)>,
    /// The stage to build; `None` for the last.
    pub target: Option<String>,
    /// Name and tag of the result: `autostack/APP:DEPLOYMENT`.
    pub tag: String,
    /// Labels besides [`crate::Engine::labels`] and [`crate::labels::DEPLOYMENT`], which are always set.
    pub labels: HashMap<String, String>,
    /// Whether every step is done again.
    pub no_cache: bool,
    /// Which builder.
    pub builder: BuilderChoice,
    /// What the commands of the build may use.
    pub budget: Budget,
    /// How long it may take, from the call on.
    pub time_limit: Duration,
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// In the commit, at this path relative to its root.
    File(String),
    /// Here: it does not become part of the context.
    Text(String),
}

/// Which builder is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuilderChoice {
    /// BuildKit where the engine has it, else the classic one.
    #[default]
    Auto,
    /// BuildKit; an engine without it is an error.
    BuildKit,
    /// The builder that every engine has: no secrets, no mounts, no heredocs.
    Classic,
}

/// What the commands of a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// Bytes of memory, swap included; `None` for no limit. BuildKit knows one budget for all builds on the
    /// engine together, the classic builder one for each command.
    pub memory_bytes: Option<u64>,
    /// Processors at most, 0.01 at least; `None` for all. Running containers come first either way.
    pub cpus: Option<f64>,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub image: ImageFacts,
    /// What the builder warns of, a line each, as it says it; 20 at most.
    pub warnings: Vec<String>,
    /// Limits that could not be set.
    pub unenforced: Vec<Unenforced>,
}

/// A limit that could not be set on this engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unenforced {
    /// What is not limited: `memory`.
    pub what: &'static str,
    /// Why, as it stands behind "because": `the agent does not run as root`.
    pub why: String,
}
