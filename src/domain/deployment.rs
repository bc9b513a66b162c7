//! One attempt to make a source live, from queued to its end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    image::ImageReference,
    names::{AppName, DeploymentId, ReleaseNumber, UserId},
    push::{CommitId, RefName},
    time::UnixMillis,
};

/// The timed steps of a deployment, in their order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The commit is read and exported.
    Source,
    /// A recipe is chosen.
    Detect,
    /// The artifact is made.
    Build,
    /// The release command runs.
    Release,
    /// The instances of the new release start.
    Start,
    /// They pass their checks.
    Health,
    /// Git moves the ref and the route table is replaced.
    Switch,
    /// The old instances finish what is in flight and end.
    Drain,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Source => "source",
            Stage::Detect => "detect",
            Stage::Build => "build",
            Stage::Release => "release",
            Stage::Start => "start",
            Stage::Health => "health",
            Stage::Switch => "switch",
            Stage::Drain => "drain",
        })
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Waits behind another deployment of the app, or for a free build slot.
    Queued,
    /// At work.
    Running,
    /// All instances of the new release are ready; git may move the ref.
    Prepared,
    /// Live.
    Success,
    /// Ended by a failure; nothing that a visitor sees has changed.
    Failed,
    /// Ended on purpose; nothing that a visitor sees has changed.
    Cancelled,
}

impl DeploymentState {
    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        match self {
            DeploymentState::Queued | DeploymentState::Running | DeploymentState::Prepared => false,
            DeploymentState::Success | DeploymentState::Failed | DeploymentState::Cancelled => true,
        }
    }
}

/// When a stage began and ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageRecord {
    /// Which stage.
    pub stage: Stage,
    /// When it began.
    pub started_at: UnixMillis,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<UnixMillis>,
}

/// What somebody wants live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A commit of a push.
    Commit {
        /// The commit.
        commit: CommitId,
        /// The ref that git moves when it succeeds.
        git_ref: RefName,
    },
    /// An image that was made elsewhere: pulled from a registry, or loaded.
    Image {
        /// Its name, as it was given.
        reference: ImageReference,
    },
    /// The artifact of an earlier release, with another config or to go back to it.
    Again {
        /// Why, for people: `Set DATABASE_URL`, `Rollback to v3`.
        reason: String,
        /// The release; `None` for the one that was live when its turn came.
        again: Option<ReleaseNumber>,
    },
}

impl fmt::Display for Source {
    /// As people name it: the short commit, or the image.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Commit { commit, .. } => f.write_str(commit.short()),
            Source::Image { reference } => write!(f, "{reference}"),
            Source::Again { reason, .. } => f.write_str(reason),
        }
    }
}

/// The record of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id; also names its build log and its artifact.
    pub id: DeploymentId,
    /// The app.
    pub app: AppName,
    /// Who pushed.
    pub user: UserId,
    /// What is deployed.
    #[serde(flatten)]
    pub source: Source,
    /// How far it is.
    pub state: DeploymentState,
    /// Its stages so far.
    pub stages: Vec<StageRecord>,
    /// The release that it made, once there is one.
    pub release: Option<ReleaseNumber>,
    /// Why it failed or was cancelled.
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub created_at: UnixMillis,
    /// When it reached a final state.
    pub ended_at: Option<UnixMillis>,
}
