//! The contract that every runtime keeps, and the words that it is written in.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use autostack_domain::{Exit, FailureKind, InstanceId, InstanceSpec, UnixMillis};
use autostack_engine::EngineError;
use autostack_logs::BuildLog;
use tokio_util::sync::CancellationToken;

use crate::exec::{ExecRequest, ExecSession, TerminalSize};

/// What runs instances.
///
/// An instance exists from [`Backend::start`] until [`Backend::stop`], also after its process has ended
/// and also while no agent runs; whoever opens the backend again finds it in [`Backend::list`]. Its
/// output is in the log of its app, every line once and in the order in which it was written.
///
/// Every future may be dropped at any moment: an operation that had begun is finished or undone behind
/// the scenes, so that nothing is left that [`Backend::list`] does not show.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The name of the backend in the settings: `process`.
    fn name(&self) -> &'static str;

    /// Starts an instance and gives it a free `PORT`. Returns once its program has been executed; whether
    /// it is ready is for the caller to find out. A start that is given up leaves nothing behind.
    ///
    /// # Errors
    /// [`RuntimeError::AlreadyExists`], [`RuntimeError::NoPort`], or what stood in the way.
    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError>;

    /// Ends an instance and removes every trace of it: SIGTERM to all its processes, SIGKILL to those that
    /// are left after `grace`. Afterwards no process is left, its port is free, its files are gone and its
    /// output is in the log. An instance that does not exist is stopped already.
    ///
    /// # Errors
    /// What could not be removed; calling it again goes on where it stopped.
    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError>;

    /// All instances that exist, running and ended, by id.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    async fn list(&self) -> Result<Vec<Observed>, RuntimeError>;

    /// Waits until an instance has ended; at once if it already has. Its last words are in the log by then.
    /// When the agent goes down first this never resolves: the instance may well run on.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`] for an instance that does not exist, or was stopped meanwhile.
    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError>;

    /// All addresses that the processes of an instance listen on, sorted; for telling a person that it
    /// listens elsewhere.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], or why the backend cannot tell.
    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError>;

    /// Runs a command once, in the environment that an instance of `spec` would get but for `PORT` (one
    /// that stands in `spec.env` is kept), and waits for its end. Its output goes to `output` line by line.
    /// Cancelling kills all its processes, and so does the end of the agent; it is never listed.
    ///
    /// # Errors
    /// [`RuntimeError::Cancelled`], or what stood in the way of starting it.
    async fn run(
        &self,
        spec: &InstanceSpec,
        output: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError>;

    /// What a running instance uses now. What runs beside it by [`Backend::exec`] may be in it or not.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], [`RuntimeError::NotRunning`], or why the backend cannot tell.
    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError>;

    /// Runs a command beside a running instance: in its folder and with its environment, `PORT` included.
    /// Returns once the command has been executed. It ends with the session, with the instance and with the
    /// agent, and everything that it started ends with it; it is never listed.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], [`RuntimeError::NotRunning`], or what stood in the way of starting it.
    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError>;

    /// The limits of a spec that would not hold, each with the reason, for people; empty where all do.
    async fn unenforced(&self, spec: &InstanceSpec) -> Vec<String> {
        let _all_hold = spec;
        Vec::new()
    }

    /// Runs the program of `spec` in an instance of its own that somebody talks to: in a terminal of this size, or by
    /// pipes. Its environment is that of the spec, without a `PORT` that does not stand there. Returns once it has
    /// been executed. It ends with the session and with the agent, however the agent ends, and everything that it
    /// started ends with it; it is never listed, and its output is in no log.
    ///
    /// # Errors
    /// [`RuntimeError::AlreadyExists`], or what stood in the way of starting it.
    async fn attach(
        &self,
        spec: &InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError>;

    /// Asks what the backend stands on whether it answers at all; one that stands on nothing always does.
    ///
    /// # Errors
    /// Why it does not.
    async fn ping(&self) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Whether what the backend stands on answered last; asks nobody.
    fn is_up(&self) -> bool {
        true
    }
}

/// A backend that knows its instances without asking anybody.
pub trait LocalBackend: Backend {
    /// Whether an instance of this id exists.
    fn holds(&self, id: &InstanceId) -> bool;
}

/// What a running instance uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory that all its processes hold, in bytes; what they share counts about once.
    pub memory_bytes: u64,
    /// Memory that it may use; `None` without a limit.
    pub memory_bytes_max: Option<u64>,
    /// CPU time since its start, in all its processes, those that have ended included. Never goes back.
    pub cpu: Duration,
    /// How many processes it has.
    pub processes: u32,
}

/// An instance that has just been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Where it is reached once it listens on `PORT`.
    pub endpoint: SocketAddr,
}

/// An instance as the backend sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What it was started from.
    pub spec: InstanceSpec,
    /// Where it is reached.
    pub endpoint: SocketAddr,
    /// Whether it runs.
    pub state: InstanceState,
    /// When its program was executed.
    pub started_at: UnixMillis,
}

/// Whether an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It runs.
    Running,
    /// It has ended; [`Backend::stop`] removes what is left of it.
    Exited(Exit),
}

impl InstanceState {
    /// How it ended; `None` while it runs.
    pub fn exit(self) -> Option<Exit> {
        match self {
            InstanceState::Running => None,
            InstanceState::Exited(exit) => Some(exit),
        }
    }
}

/// Why a runtime could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No such instance.
    #[error("no instance {id}")]
    NotFound {
        /// The id that was asked for.
        id: InstanceId,
    },
    /// The instance has ended.
    #[error("instance {id} does not run any more")]
    NotRunning {
        /// The instance.
        id: InstanceId,
    },
    /// It is to run from an image, and there is no engine for that.
    #[error("{id} runs a container image, and runtime.backend = process has no engine for that")]
    NoEngine {
        /// The instance.
        id: InstanceId,
    },
    /// The container engine could not do its part.
    #[error("{operation}")]
    Engine {
        /// What was being done, as a verb: `create the container`.
        operation: &'static str,
        /// Why it failed.
        source: EngineError,
    },
    /// An instance of that id exists.
    #[error("instance {id} exists already")]
    AlreadyExists {
        /// The id.
        id: InstanceId,
    },
    /// Every port of the range is taken, by an instance or by another program.
    #[error("no free port between {first} and {last}")]
    NoPort {
        /// The first port of `runtime.port_range`.
        first: u16,
        /// The last port of it.
        last: u16,
    },
    /// The command could not be executed.
    #[error("start of {id}: {why}")]
    Start {
        /// The instance.
        id: InstanceId,
        /// What the system said.
        why: String,
    },
    /// An operation on a file of the runtime failed.
    #[error("{operation} {path}")]
    File {
        /// What was being done, as a verb: `write`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An operation of the system failed that is not about a file.
    #[error("{operation}")]
    System {
        /// What was being done: `watch instance folders`.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The log of the app could not be opened.
    #[error("log of {id}")]
    Log {
        /// The instance.
        id: InstanceId,
        /// Why.
        source: autostack_logs::LogError,
    },
    /// A folder of the host cannot be shown to the instance.
    #[error("storage of {id}: {why}")]
    Storage {
        /// The instance.
        id: InstanceId,
        /// Why, and what would do.
        why: String,
    },
    /// Processes of the instance could not be ended.
    #[error("{id} has processes that do not end")]
    Unkillable {
        /// The instance.
        id: InstanceId,
    },
    /// The caller gave it up.
    #[error("cancelled")]
    Cancelled,
    /// The agent is going down, or one of its tasks was lost.
    #[error("{operation} was interrupted")]
    Interrupted {
        /// What was going on.
        operation: &'static str,
    },
}

impl RuntimeError {
    /// Whether the disk or the quota is exhausted: the same call works once there is space again.
    pub fn is_no_space(&self) -> bool {
        match self {
            RuntimeError::File { source, .. } | RuntimeError::System { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            ),
            RuntimeError::Log { source, .. } => source.is_no_space(),
            RuntimeError::Engine { source, .. } => source.kind() == FailureKind::DiskFull,
            RuntimeError::NotFound { .. }
            | RuntimeError::NotRunning { .. }
            | RuntimeError::NoEngine { .. }
            | RuntimeError::AlreadyExists { .. }
            | RuntimeError::NoPort { .. }
            | RuntimeError::Start { .. }
            | RuntimeError::Storage { .. }
            | RuntimeError::Unkillable { .. }
            | RuntimeError::Cancelled
            | RuntimeError::Interrupted { .. } => false,
        }
    }

    /// Whether the container engine as a whole does not answer: the same call may work later, and nothing is
    /// known about what the failed one did.
    pub fn is_engine_gone(&self) -> bool {
        matches!(self, RuntimeError::Engine { source, .. } if source.is_away())
    }

    pub(crate) fn not_found(id: &InstanceId) -> Self {
        RuntimeError::NotFound { id: id.clone() }
    }

    pub(crate) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> RuntimeError {
        let path = path.into();
        move |source| RuntimeError::File { operation, path, source }
    }

    /// For an error of the engine, what was being done.
    pub fn engine(operation: &'static str) -> impl FnOnce(EngineError) -> RuntimeError {
        move |source| RuntimeError::Engine { operation, source }
    }

    pub(crate) fn system(operation: &'static str) -> impl FnOnce(io::Error) -> RuntimeError {
        move |source| RuntimeError::System { operation, source }
    }
}
