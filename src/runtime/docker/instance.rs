//! One instance as the agent holds it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use autostack_domain::{Exit, InstanceSpec, UnixMillis};
use autostack_engine::{
    Engine, EngineError,
    bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions},
};
use autostack_logs::Stream;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::container::inspect;
use crate::{
    backend::{InstanceState, Observed, RuntimeError},
    ports::PortClaim,
};

/// How long a container may take to end that was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

/// An instance that exists, or existed until somebody else removed its container.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) spec: Arc<InstanceSpec>,
    /// The id of its container.
    pub(super) container: String,
    pub(super) endpoint: SocketAddr,
    /// Its address in the app's network, reached from this host or not.
    pub(super) address: Option<IpAddr>,
    pub(super) started_at: UnixMillis,
    /// Process 1 of it, as the engine's host counts.
    pub(super) pid: Option<i32>,
    pub(super) stop_signal: String,
    /// What it may use of memory, in bytes.
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) log: Arc<Stream>,
    pub(super) state: watch::Sender<State>,
    /// Told when the engine may have news of it.
    pub(super) news: Notify,
    /// Whether this agent has killed it: no other reason is looked for then.
    pub(super) was_killed: AtomicBool,
    /// Held by whoever stops it, so that a second one finds it gone.
    pub(super) stopping: tokio::sync::Mutex<()>,
    /// Given up with the container.
    pub(super) claim: Mutex<Option<PortClaim>>,
}

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Exited(Exit),
    /// It was stopped and removed.
    Gone,
}

impl Instance {
    /// As the contract shows it; `None` once it is gone.
    pub(super) fn observed(&self) -> Option<Observed> {
        let state = match *self.state.borrow() {
            State::Running => InstanceState::Running,
            State::Exited(exit) => InstanceState::Exited(exit),
            State::Gone => return None,
        };
        let spec = InstanceSpec::clone(&self.spec);
        Some(Observed { spec, endpoint: self.endpoint, state, started_at: self.started_at })
    }

    pub(super) fn is_running(&self) -> bool {
        *self.state.borrow() == State::Running
    }

    pub(super) fn was_killed(&self) -> bool {
        self.was_killed.load(Ordering::Relaxed)
    }

    /// Waits until it has ended and its last words are in the log.
    pub(super) async fn ended(&self) -> Result<Exit, RuntimeError> {
        let mut states = self.state.subscribe();
        match states.wait_for(|state| *state != State::Running).await.map(|state| *state) {
            Ok(State::Exited(exit)) => Ok(exit),
            Ok(State::Running | State::Gone) | Err(_) => Err(RuntimeError::not_found(&self.spec.id)),
        }
    }

    /// Ends all its processes, asking first if there is a grace.
    pub(super) async fn end(&self, engine: &Engine, grace: Duration) -> Result<(), RuntimeError> {
        if self.is_running() && !grace.is_zero() {
            self.signal(engine, &self.stop_signal).await?;
            if timeout(grace, self.ended()).await.is_ok() {
                return Ok(());
            }
        }
        if !self.is_running() {
            return Ok(());
        }
        self.was_killed.store(true, Ordering::Relaxed);
        self.signal(engine, "SIGKILL").await?;
        match timeout(KILL_TIMEOUT, self.ended()).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(RuntimeError::Unkillable { id: self.spec.id.clone() }),
        }
    }

    /// Sends a signal; that it has ended already, or is gone, is what was wanted.
    async fn signal(&self, engine: &Engine, signal: &str) -> Result<(), RuntimeError> {
        match kill(engine, &self.container, signal).await {
            Err(error) if error.is_conflict() && error.to_string().contains("paused") => {
                // A person has paused it; as it is, it could not even be killed.
                let operation = "unpause the container";
                let unpaused = engine
                    .call(operation, async |docker| docker.unpause_container(&self.container).await)
                    .await;
                unpaused.map_err(RuntimeError::engine(operation))?;
                let operation = "signal the container";
                kill(engine, &self.container, signal).await.map_err(RuntimeError::engine(operation))
            }
            Err(error) if error.is_not_found() || error.is_conflict() || is_not_running(&error) => {
                self.news.notify_one();
                Ok(())
            }
            sent => sent.map_err(RuntimeError::engine("signal the container")),
        }
    }

    /// Says how it ended, unless it was stopped and removed meanwhile.
    pub(super) fn exited(&self, exit: Exit) {
        let is_news = self.state.send_if_modified(|state| {
            let is_news = *state == State::Running;
            if is_news {
                *state = State::Exited(exit);
            }
            is_news
        });
        if is_news {
            tracing::info!(instance = %self.spec.id, %exit, "instance ended");
        }
    }

    /// Says that nothing of it is left, and lets go of its port.
    pub(super) fn gone(&self) {
        self.log.forget_instance(&self.spec.id);
        drop(self.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.state.send_replace(State::Gone);
    }
}

/// Whether Podman says that there is nothing to be signalled any more: it calls that an error of its own.
fn is_not_running(error: &EngineError) -> bool {
    matches!(error, EngineError::Refused { evidence, .. } if evidence.contains("can only kill running containers"))
}

/// Sends a signal to process 1 of a container.
pub(super) async fn kill(engine: &Engine, container: &str, signal: &str) -> Result<(), EngineError> {
    let options = KillContainerOptions { signal: signal.to_owned() };
    engine
        .call("signal the container", async |docker| docker.kill_container(container, Some(options)).await)
        .await
}

/// Removes a container and its anonymous volumes, killing it if need be. One that is gone is removed already.
pub(super) async fn remove(engine: &Engine, container: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions { v: true, force: true, link: false };
    let removed = engine
        .call("remove the container", async |docker| docker.remove_container(container, Some(options)).await);
    match removed.await {
        Err(error) if error.is_not_found() => Ok(()),
        // Somebody else is at it: done when it is done, which the engine says by "not found".
        Err(error) if error.is_conflict() && error.to_string().contains("already in progress") => {
            removed_by_others(engine, container).await
        }
        removed => removed,
    }
}

async fn removed_by_others(engine: &Engine, container: &str) -> Result<(), EngineError> {
    const PAUSE: Duration = Duration::from_millis(100);
    let operation = "remove the container";
    let gone = async {
        loop {
            match inspect(engine, container).await {
                Ok(_) => tokio::time::sleep(PAUSE).await,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    let elapsed = |_| EngineError::TimedOut { operation, within: KILL_TIMEOUT };
    timeout(KILL_TIMEOUT, gone).await.map_err(elapsed)?
}
