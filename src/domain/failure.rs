//! Why a deployment did not go live, in the four parts that its reader needs: stage, cause, evidence and
//! the next thing to do.

use serde::{Deserialize, Serialize};

use crate::{deployment::Stage, screen::Line};

/// What kind of thing went wrong; stable, for scripts and for statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The pusher or an operator ended it.
    Cancelled,
    /// The agent stopped in the middle.
    Interrupted,
    /// The commit cannot be read or holds what is refused.
    BadSource,
    /// A file that the app brings (Procfile, app.json) does not parse.
    BadAppFile,
    /// Config is not set that the app requires.
    MissingConfig,
    /// No recipe knows this kind of app.
    NoRecipe,
    /// A program that the recipe needs is not installed on the host.
    MissingTool,
    /// A build step ended with an error.
    BuildFailed,
    /// A stage took longer than its limit.
    TimedOut,
    /// The release command ended with an error.
    ReleaseCommandFailed,
    /// An instance ended before it was ready.
    InstanceExited,
    /// An instance runs and listens, but not on `PORT`.
    ListensElsewhere,
    /// An instance runs and does not listen at all.
    NotListening,
    /// A health check of the app's own did not pass.
    CheckFailed,
    /// The container engine does not answer, or refuses the agent.
    EngineUnavailable,
    /// An image cannot be had: it does not exist, needs a login, or its registry does not answer.
    ImageUnavailable,
    /// An instance or a build used more memory than its limit.
    OutOfMemory,
    /// No space or no inode is left.
    DiskFull,
    /// A folder of the host that is mounted cannot be shown to an instance.
    StorageUnavailable,
    /// No port is left in `runtime.port_range`.
    NoPort,
    /// A limit of the platform was met.
    OverLimit,
    /// The platform's own fault.
    Internal,
}

/// A failure as it is recorded and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// Where it happened.
    pub stage: Stage,
    /// What kind of thing it is.
    pub kind: FailureKind,
    /// One sentence, without a full stop at the end: what failed and why.
    pub cause: String,
    /// What shows it: exit code, HTTP status, last lines of the app.
    pub evidence: Vec<String>,
    /// What to try next.
    pub hint: String,
}

impl Failure {
    /// A failure without evidence and hint yet.
    pub fn new(stage: Stage, kind: FailureKind, cause: impl Into<String>) -> Self {
        Self { stage, kind, cause: cause.into(), evidence: Vec::new(), hint: String::new() }
    }

    /// Adds lines that show it.
    #[must_use]
    pub fn evidence<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.evidence.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Says what to try next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The lines that end a rejected push.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::trouble(format!("Failed at {}: {}.", self.stage, self.cause))];
        lines.extend(self.evidence.iter().map(|line| Line::trouble(format!("  {line}"))));
        if !self.hint.is_empty() {
            lines.push(Line::trouble(format!("Next: {}", self.hint)));
        }
        lines
    }
}
