//! [`EngineError`]: why the engine could not do what it was asked; one sentence, a kind and a hint each.

use std::{io, path::PathBuf, time::Duration};

use autostack_domain::FailureKind;

use crate::{EngineHost, about::ApiVersion, pull_refusal::PullRefusal};

/// Why an operation of the engine failed. Texts that come from the engine are cut to
/// [`EngineError::EVIDENCE_CHARS_MAX`] and may hold anything: they are shown escaped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens where the engine should be.
    #[error("no container engine answers at {host}: {why}")]
    Unreachable {
        /// The address that was tried.
        host: EngineHost,
        /// What the system said, as a person would: `the socket does not exist`.
        why: String,
    },
    /// The engine's socket is there, and the agent may not use it.
    #[error("user {user} may not use the container engine at {host}{}", owned_by(.group.as_deref()))]
    Denied {
        /// The address that was tried.
        host: EngineHost,
        /// Who the agent is.
        user: String,
        /// The group that owns the socket; `None` where even that cannot be seen.
        group: Option<String>,
    },
    /// The engine speaks an API that is too old.
    #[error("the container engine ({product} {version}) offers API {api}, and {needed} is needed")]
    TooOld {
        /// Its name.
        product: String,
        /// Its version.
        version: String,
        /// The newest API that it offers.
        api: ApiVersion,
        /// The oldest API that the agent knows.
        needed: ApiVersion,
    },
    /// The engine took the request and did not answer in time.
    #[error("the container engine did not {operation} within {} s", .within.as_secs())]
    TimedOut {
        /// What it was asked, as a verb: `inspect the image`.
        operation: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// The connection was lost while the engine was at it.
    #[error("the container engine went away while asked to {operation}")]
    Gone {
        /// What it was asked.
        operation: &'static str,
        /// What was seen of it.
        evidence: String,
    },
    /// What the request names does not exist.
    #[error("the container engine could not {operation}: {evidence}")]
    NotFound {
        /// What it was asked.
        operation: &'static str,
        /// Its own words.
        evidence: String,
    },
    /// The request contradicts the state of the engine: the name is taken, the image is in use.
    #[error("the container engine could not {operation}: {evidence}")]
    Conflict {
        /// What it was asked.
        operation: &'static str,
        /// Its own words.
        evidence: String,
    },
    /// The engine's disk is full.
    #[error("the container engine has no space left to {operation}")]
    NoSpace {
        /// What it was asked.
        operation: &'static str,
        /// Its own words.
        evidence: String,
    },
    /// An image could not be fetched from its registry.
    #[error("image {reference} cannot be pulled: {why}")]
    PullFailed {
        /// The image.
        reference: String,
        /// Which of the known reasons.
        why: PullRefusal,
        /// The engine's own words.
        evidence: String,
    },
    /// What was to be loaded is not an archive of images.
    #[error("this is not an archive made by `docker save`: {evidence}")]
    NotAnArchive {
        /// The engine's own words, or what is missing.
        evidence: String,
    },
    /// The bytes that were to be sent to the engine could not be read to their end.
    #[error("the stream to {operation} ended early")]
    Input {
        /// What it was for.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The engine refused, for another reason.
    #[error("the container engine refused to {operation}: {evidence}")]
    Refused {
        /// What it was asked.
        operation: &'static str,
        /// The HTTP status; 200 where the refusal came in the middle of a stream.
        status: u16,
        /// Its own words.
        evidence: String,
    },
    /// The engine answered something that the agent does not understand.
    #[error("the answer of the container engine when asked to {operation} could not be read: {evidence}")]
    Unexpected {
        /// What it was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        evidence: String,
    },
    /// The agent's own mark could not be read or written.
    #[error("the agent's mark in {path}")]
    Mark {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The caller gave it up.
    #[error("cancelled")]
    Cancelled,
}

fn owned_by(group: Option<&str>) -> String {
    group.map(|group| format!(", which belongs to group {group}")).unwrap_or_default()
}

impl EngineError {
    /// Characters of the engine's own words that are kept.
    pub const EVIDENCE_CHARS_MAX: usize = 2_000;

    /// What kind of failure it is, for whoever records one.
    pub fn kind(&self) -> FailureKind {
        match self {
            EngineError::Unreachable { .. }
            | EngineError::Denied { .. }
            | EngineError::TooOld { .. }
            | EngineError::TimedOut { .. }
            | EngineError::Gone { .. } => FailureKind::EngineUnavailable,
            EngineError::PullFailed { .. } => FailureKind::ImageUnavailable,
            EngineError::NotAnArchive { .. } | EngineError::Input { .. } => FailureKind::BadSource,
            EngineError::NoSpace { .. } => FailureKind::DiskFull,
            EngineError::Cancelled => FailureKind::Cancelled,
            EngineError::NotFound { .. }
            | EngineError::Conflict { .. }
            | EngineError::Refused { .. }
            | EngineError::Unexpected { .. }
            | EngineError::Mark { .. } => FailureKind::Internal,
        }
    }

    /// What to try next; empty where nothing sensible can be said.
    pub fn hint(&self) -> String {
        match self {
            EngineError::Unreachable { host, .. } => start_it(host),
            EngineError::Denied { user, group: Some(group), .. } => {
                format!("usermod -aG {group} {user}, then restart autostack")
            }
            EngineError::Denied { user, group: None, .. } => format!(
                "let {user} enter the folder of the socket, or set docker.host to a socket that it may use"
            ),
            EngineError::TooOld { needed, .. } => {
                format!("install an engine that offers API {needed} (Docker 20.10, Podman 4)")
            }
            EngineError::TimedOut { .. } => {
                "look at the engine's own log (journalctl -u docker), then try again".into()
            }
            EngineError::Gone { .. } => "once the engine is back, try again".into(),
            EngineError::NoSpace { .. } => {
                "make room on the disk of the engine (docker system df shows what takes it), then try again"
                    .into()
            }
            EngineError::PullFailed { reference, why, .. } => why.hint(reference),
            EngineError::NotAnArchive { .. } => "send the output of `docker save IMAGE`".into(),
            EngineError::Input { .. } => "send it again".into(),
            EngineError::Mark { path, .. } => format!(
                "make {} readable, or put the one from a backup back; without it the agent does not know its own",
                path.display()
            ),
            EngineError::NotFound { .. }
            | EngineError::Conflict { .. }
            | EngineError::Refused { .. }
            | EngineError::Unexpected { .. }
            | EngineError::Cancelled => String::new(),
        }
    }

    /// What the engine itself said, where that is more than the sentence tells.
    pub fn evidence(&self) -> Option<&str> {
        match self {
            EngineError::Gone { evidence, .. }
            | EngineError::NoSpace { evidence, .. }
            | EngineError::PullFailed { evidence, .. } => Some(evidence),
            EngineError::Unreachable { .. }
            | EngineError::Denied { .. }
            | EngineError::TooOld { .. }
            | EngineError::TimedOut { .. }
            | EngineError::NotFound { .. }
            | EngineError::Conflict { .. }
            | EngineError::NotAnArchive { .. }
            | EngineError::Input { .. }
            | EngineError::Refused { .. }
            | EngineError::Unexpected { .. }
            | EngineError::Mark { .. }
            | EngineError::Cancelled => None,
        }
    }

    /// Whether the engine as a whole does not answer: the same call may work later, and nothing is known about
    /// what it did so far.
    pub fn is_away(&self) -> bool {
        self.kind() == FailureKind::EngineUnavailable
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, EngineError::NotFound { .. })
    }

    /// Whether the name is taken or the thing is in use.
    pub fn is_conflict(&self) -> bool {
        matches!(self, EngineError::Conflict { .. })
    }
}

/// How the engine that should be at `host` is started.
fn start_it(host: &EngineHost) -> String {
    let command = match host.socket().map(|path| path.to_string_lossy()) {
        Some(path) if path.contains("podman") && path.starts_with("/run/podman") => {
            "start it with `systemctl start podman.socket`"
        }
        Some(path) if path.contains("podman") => "start it with `systemctl --user start podman.socket`",
        Some(path) if path.starts_with("/run/user") => "start it with `systemctl --user start docker`",
        Some(path) if path == "/var/run/docker.sock" || path == "/run/docker.sock" => {
            "start it with `systemctl start docker` (Debian: apt install docker.io)"
        }
        Some(_) | None => "start the engine there",
    };
    format!("{command}, or set docker.host to where one listens")
}

/// The head of what the engine said, without blanks around it.
pub(crate) fn evidence(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(EngineError::EVIDENCE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
