//! What an operation can answer instead of doing what was asked.

use autostack_base::error_chain;
use autostack_domain::{
    AppName, Invalid,
    account::Scope,
    permission::{Action, Actor},
};
use autostack_git::{RepositoryError, SpawnError};
use autostack_logs::LogError;
use autostack_store::StoreError;

/// What kind of refusal or failure it is; each door has its own way to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such app, or the actor may not know that there is.
    NoApp,
    /// Something else that was named is not there, or the actor may not know that it is.
    NotFound,
    /// The actor may not do that.
    Denied,
    /// Whoever asks has not proved who they are.
    Unauthenticated,
    /// The password was right, and the account has a second factor.
    CodeNeeded,
    /// It was asked for too often.
    TooMany {
        /// Seconds after which it may be asked for again.
        seconds: u64,
    },
    /// Too much is being done at this moment.
    Busy,
    /// What was given is not valid.
    Invalid,
    /// It is there already, or its state does not allow that.
    Conflict,
    /// The host has no space left for it.
    NoSpace,
    /// The platform's own fault.
    Internal,
}

/// A refusal or failure, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlatformError {
    /// What kind it is.
    pub kind: ErrorKind,
    /// One sentence without a full stop: what failed and why.
    pub message: String,
    /// What to try next.
    pub hint: Option<String>,
}

impl PlatformError {
    /// An error without a hint.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Says what to try next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code of a command that ended with it (`contract.md`).
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::NoApp => 20,
            ErrorKind::Invalid => 2,
            ErrorKind::NotFound
            | ErrorKind::Denied
            | ErrorKind::Unauthenticated
            | ErrorKind::CodeNeeded
            | ErrorKind::TooMany { .. }
            | ErrorKind::Busy
            | ErrorKind::Conflict
            | ErrorKind::NoSpace
            | ErrorKind::Internal => 1,
        }
    }

    pub(crate) fn no_such_app(app: &AppName) -> Self {
        Self::new(ErrorKind::NoApp, format!("there is no app {app}"))
            .hint("apps:list shows your apps; apps:create NAME or a first push makes one")
    }

    pub(crate) fn denied(app: &AppName, what: &str) -> Self {
        Self::new(ErrorKind::Denied, format!("you may not {what} {app}")).hint("ask its owner for access")
    }

    /// Says so where it is the API key that is good for too little, and not its owner.
    pub(crate) fn of_reach(self, actor: &Actor, action: Action) -> Self {
        if actor.reach.covers(action) {
            return self;
        }
        self.hint(format!("an API key needs the scope {} for that", Scope::of(action)))
    }

    /// Keeps the details for the operator: they name paths of the host.
    pub fn internal(what: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = error_chain(error), "{what}");
        Self::new(ErrorKind::Internal, what)
            .hint("try again; if it stays, look at the agent's log on the host")
    }

    pub(crate) fn no_space() -> Self {
        Self::new(ErrorKind::NoSpace, "no space is left on the host's disk")
            .hint("free space on the host, then try again")
    }
}

impl From<Invalid> for PlatformError {
    fn from(invalid: Invalid) -> Self {
        Self::new(ErrorKind::Invalid, invalid.to_string())
    }
}

impl From<StoreError> for PlatformError {
    fn from(error: StoreError) -> Self {
        if error.is_no_space() {
            Self::no_space()
        } else {
            Self::internal("the store cannot be used", &error)
        }
    }
}

impl From<LogError> for PlatformError {
    fn from(error: LogError) -> Self {
        if error.is_no_space() { Self::no_space() } else { Self::internal("the log cannot be used", &error) }
    }
}

impl From<RepositoryError> for PlatformError {
    fn from(error: RepositoryError) -> Self {
        Self::internal("the app's repository cannot be used", &error)
    }
}

impl From<SpawnError> for PlatformError {
    fn from(error: SpawnError) -> Self {
        Self::internal("git cannot be started", &error)
    }
}
