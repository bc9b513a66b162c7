//! [`Runtimes`]: processes and containers side by side; the program of an instance decides which it is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use autostack_domain::{Exit, InstanceId, InstanceSpec, Program};
use autostack_engine::EngineError;
use autostack_logs::BuildLog;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::{Backend, LocalBackend, Observed, RuntimeError, Started, Usage},
    exec::{ExecRequest, ExecSession, TerminalSize},
};

/// Pause between two looks whether an engine that is away has come back.
const PING_PAUSE: Duration = Duration::from_millis(500);
/// How long an engine may take to say what it runs before it counts as away: the processes do not wait for it longer.
const LISTING_TIMEOUT: Duration = Duration::from_secs(10);

/// The process runtime, and beside it a container engine where the host has one.
pub struct Runtimes {
    process: Arc<dyn LocalBackend>,
    engine: Option<Arc<dyn Backend>>,
}

/// What is known of all instances.
#[derive(Debug)]
pub struct Listing {
    /// The instances of every runtime that answers, by id.
    pub observed: Vec<Observed>,
    /// Why the container engine does not: what runs there is not known.
    pub unreachable: Option<RuntimeError>,
}

impl Runtimes {
    /// Both, or processes alone.
    pub fn new(process: Arc<dyn LocalBackend>, engine: Option<Arc<dyn Backend>>) -> Self {
        Self { process, engine }
    }

    /// All instances that can be known now. Unlike [`Backend::list`] it does not fail for an engine that is away, hangs
    /// or refuses.
    ///
    /// # Errors
    /// When the process runtime cannot be asked, or the agent is going down.
    pub async fn listing(&self) -> Result<Listing, RuntimeError> {
        let mut observed = self.process.list().await?;
        let unreachable = match &self.engine {
            None => None,
            Some(engine) => match timeout(LISTING_TIMEOUT, engine.list()).await {
                Ok(Ok(more)) => {
                    observed.extend(more);
                    None
                }
                Ok(Err(error @ RuntimeError::Engine { .. })) => Some(error),
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => Some(too_late()),
            },
        };
        observed.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        Ok(Listing { observed, unreachable })
    }

    /// Waits until the container engine answers; at once where there is none.
    pub async fn engine_reachable(&self) {
        let Some(engine) = &self.engine else { return };
        while engine.ping().await.is_err() {
            sleep(PING_PAUSE).await;
        }
    }

    fn of_program(&self, spec: &InstanceSpec) -> Result<&dyn Backend, RuntimeError> {
        match &spec.program {
            Program::Folder { .. } => Ok(self.process.as_ref()),
            Program::Image { .. } => {
                self.engine.as_deref().ok_or_else(|| RuntimeError::NoEngine { id: spec.id.clone() })
            }
        }
    }

    /// Who has an instance, or would have it.
    fn holder(&self, id: &InstanceId) -> &dyn Backend {
        match &self.engine {
            Some(engine) if !self.process.holds(id) => engine.as_ref(),
            Some(_) | None => self.process.as_ref(),
        }
    }
}

fn too_late() -> RuntimeError {
    let source = EngineError::TimedOut { operation: "list what it runs", within: LISTING_TIMEOUT };
    RuntimeError::Engine { operation: "reach the container engine", source }
}

#[async_trait]
impl Backend for Runtimes {
    fn name(&self) -> &'static str {
        self.engine.as_ref().map_or_else(|| self.process.name(), |engine| engine.name())
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        self.of_program(spec)?.start(spec).await
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        self.holder(id).stop(id, grace).await
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        let Listing { observed, unreachable } = self.listing().await?;
        unreachable.map_or(Ok(observed), Err)
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        self.holder(id).wait(id).await
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        self.holder(id).listening(id).await
    }

    async fn run(
        &self,
        spec: &InstanceSpec,
        output: &BuildLog,
        cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        self.of_program(spec)?.run(spec, output, cancel).await
    }

    async fn stats(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        self.holder(id).stats(id).await
    }

    async fn exec(&self, id: &InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.holder(id).exec(id, request).await
    }

    async fn unenforced(&self, spec: &InstanceSpec) -> Vec<String> {
        match self.of_program(spec) {
            Ok(backend) => backend.unenforced(spec).await,
            // It will not start at all.
            Err(_no_engine) => Vec::new(),
        }
    }

    async fn attach(
        &self,
        spec: &InstanceSpec,
        terminal: Option<TerminalSize>,
    ) -> Result<ExecSession, RuntimeError> {
        self.of_program(spec)?.attach(spec, terminal).await
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        match &self.engine {
            Some(engine) => engine.ping().await,
            None => Ok(()),
        }
    }

    fn is_up(&self) -> bool {
        self.engine.as_ref().is_none_or(|engine| engine.is_up())
    }
}

#[cfg(test)]
mod tests;
