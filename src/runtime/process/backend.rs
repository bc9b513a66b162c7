//! [`ProcessBackend`].

use std::{net::SocketAddr, path::Path, time::Duration};

use async_trait::async_trait;
use autostack_base::{settings::PortRange, tasks::Tasks};
use autostack_domain::{Exit, InstanceId, InstanceSpec};
use autostack_logs::{BuildLog, Logs};
use tokio_util::sync::CancellationToken;

use super::shim_command::ShimCommand;
use crate::backend::{Backend, Observed, RuntimeError, Started};

/// The process runtime.
#[derive(Debug)]
pub struct ProcessBackend {}

impl ProcessBackend {
    /// Opens `dir` (`DATA_DIR/instances`), adopts the instances that still run, completes the record of
    /// those that ended meanwhile, and goes on with their output where it stopped.
    ///
    /// # Errors
    /// When the folder cannot be read or watched.
    pub async fn open(
        dir: impl AsRef<Path>,
        _shim: ShimCommand,
        _ports: PortRange,
        _logs: Logs,
        _tasks: Tasks,
    ) -> Result<Self, RuntimeError> {
        Err(RuntimeError::File {
            operation: "open",
            path: dir.as_ref().to_owned(),
            source: std::io::ErrorKind::Unsupported.into(),
        })
    }
}

#[async_trait]
impl Backend for ProcessBackend {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Started, RuntimeError> {
        Err(RuntimeError::not_found(&spec.id))
    }

    async fn stop(&self, _id: &InstanceId, _grace: Duration) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, RuntimeError> {
        Err(RuntimeError::not_found(id))
    }

    async fn listening(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, RuntimeError> {
        Err(RuntimeError::not_found(id))
    }

    async fn run(
        &self,
        spec: &InstanceSpec,
        _output: &BuildLog,
        _cancel: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        Err(RuntimeError::not_found(&spec.id))
    }
}
