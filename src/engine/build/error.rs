//! [`BuildError`]: why a build made no image, in the parts that a reader needs.

use std::{fmt, time::Duration};

use autostack_domain::FailureKind;

use crate::error::EngineError;

/// Why a build made no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// What kind of failure it is, for whoever records one.
    pub kind: FailureKind,
    /// One sentence without a full stop: what failed and why.
    pub message: String,
    /// Lines that show it: the line of the Dockerfile, the last lines of a command. At most
    /// [`autostack_domain::limits::EVIDENCE_LINES_MAX`] of a command's; harmless to a terminal.
    pub evidence: Vec<String>,
    /// What to try next.
    pub hint: String,
}

impl BuildError {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), evidence: Vec::new(), hint: String::new() }
    }

    pub(crate) fn evidence<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.evidence.extend(lines.into_iter().map(Into::into));
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "the build was cancelled")
            .hint("nothing was changed; push again when you are ready")
    }

    pub(crate) fn timed_out(limit: Duration, during: Option<&str>) -> Self {
        let during = during.map(|step| format!(" during `{step}`")).unwrap_or_default();
        let message =
            format!("the build took longer than {} s (build.timeout) and was ended{during}", limit.as_secs());
        Self::new(FailureKind::TimedOut, message)
            .hint("see in the last lines what it waited for; an operator can raise build.timeout")
    }

    /// The agent's own trouble.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message).hint("ask the operator of the host to look at its log")
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildError {}

impl From<EngineError> for BuildError {
    fn from(error: EngineError) -> Self {
        Self::new(error.kind(), error.to_string())
            .evidence(error.evidence().map(str::to_owned))
            .hint(error.hint())
    }
}
