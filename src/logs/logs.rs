//! All logs of the agent, by app and by deployment.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use autostack_domain::{AppName, DeploymentId};

use crate::{build_log::BuildLog, error::LogError, limits::LogLimits, stream::Stream};

/// All logs below one folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limits: LogLimits,
    streams: Mutex<HashMap<PathBuf, Arc<Stream>>>,
}

impl Logs {
    /// Opens the folder, making it where it is missing.
    pub fn open(dir: impl AsRef<Path>, limits: LogLimits) -> Result<Self, LogError> {
        let dir = dir.as_ref().to_owned();
        std::fs::create_dir_all(&dir).map_err(|source| LogError::OpenFolder { path: dir.clone(), source })?;
        Ok(Self(Arc::new(Inner { dir, limits, streams: Mutex::default() })))
    }

    /// The log of an app.
    pub fn app(&self, app: &AppName) -> Result<Arc<Stream>, LogError> {
        self.stream(self.0.dir.join("apps").join(app.as_str()))
    }

    /// The build log of a deployment.
    pub fn deployment(&self, id: &DeploymentId) -> Result<Arc<Stream>, LogError> {
        self.stream(self.0.dir.join("deployments").join(id.as_str()))
    }

    /// A pen for the build log of a deployment.
    pub fn build_log(&self, id: &DeploymentId) -> Result<BuildLog, LogError> {
        Ok(BuildLog::new(self.deployment(id)?, self.0.limits.build_bytes_max))
    }

    /// Removes the log of an app; whoever still holds it can add nothing more, and its readers end.
    pub fn remove_app(&self, app: &AppName) -> Result<(), LogError> {
        self.remove(&self.0.dir.join("apps").join(app.as_str()))
    }

    /// Removes the log of a deployment likewise.
    pub fn remove_deployment(&self, id: &DeploymentId) -> Result<(), LogError> {
        self.remove(&self.0.dir.join("deployments").join(id.as_str()))
    }

    fn stream(&self, dir: PathBuf) -> Result<Arc<Stream>, LogError> {
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = streams.get(&dir) {
            return Ok(Arc::clone(stream));
        }
        let stream = Arc::new(Stream::open(dir.clone())?);
        streams.insert(dir, Arc::clone(&stream));
        Ok(stream)
    }

    fn remove(&self, dir: &Path) -> Result<(), LogError> {
        let removed = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(dir);
        removed.map_or(Ok(()), |stream| stream.seal())
    }
}
