//! Work that goes on when the client has gone: deployments, and whatever else takes its time.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use autostack_domain::{DeploymentId, Line, LineKind};
use autostack_platform::{ErrorKind, PlatformError, Screen};
use serde_json::Value;
use tokio::{sync::oneshot, time};
use tokio_util::sync::CancellationToken;

use crate::{error::ApiError, state::Api};

/// How long a client waits for what instances do: most of it takes less. What takes longer goes on.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(25);
/// Lines of evidence that an error carries; the last ones.
const EVIDENCE_LINES_MAX: usize = 40;

/// A screen that nobody sits before. It keeps the trouble, which is told if the work fails, and says which deployment
/// has begun.
pub(crate) struct Quiet {
    begun: Option<oneshot::Sender<DeploymentId>>,
    trouble: Arc<Mutex<Vec<String>>>,
}

impl Screen for Quiet {
    async fn show(&mut self, line: Line) -> io::Result<()> {
        if line.kind == LineKind::Trouble {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            if trouble.len() == EVIDENCE_LINES_MAX {
                trouble.remove(0);
            }
            trouble.push(line.text);
        }
        Ok(())
    }

    fn begun(&mut self, deployment: &DeploymentId) {
        if let Some(begun) = self.begun.take() {
            // Who asked may have gone.
            let _nobody_waits = begun.send(deployment.clone());
        }
    }
}

/// What came first of some work.
pub(crate) enum First<T> {
    /// It has recorded this deployment, and goes on.
    Deployment(DeploymentId),
    /// It has ended without one.
    End(T),
}

/// Begins work that may make a deployment; waits until that is recorded, or until there is nothing to wait for.
pub(crate) async fn begin<T, W>(
    api: &Api,
    name: &'static str,
    work: impl FnOnce(Quiet, CancellationToken) -> W,
) -> Result<First<T>, ApiError>
where
    T: Send + 'static,
    W: Future<Output = Result<T, PlatformError>> + Send + 'static,
{
    let Work { begun, ended, trouble } = spawn(api, name, work);
    tokio::select! {
        biased;
        Ok(deployment) = begun => Ok(First::Deployment(deployment)),
        end = ended => read(end, &trouble).map(First::End),
    }
}

/// Does work to its end; `None` when it takes longer than [`SETTLE_TIMEOUT`] and goes on.
pub(crate) async fn settle<T, W>(
    api: &Api,
    name: &'static str,
    work: impl FnOnce(Quiet, CancellationToken) -> W,
) -> Result<Option<T>, ApiError>
where
    T: Send + 'static,
    W: Future<Output = Result<T, PlatformError>> + Send + 'static,
{
    let Work { ended, trouble, .. } = spawn(api, name, work);
    match time::timeout(SETTLE_TIMEOUT, ended).await {
        Ok(end) => read(end, &trouble).map(Some),
        Err(_elapsed) => Ok(None),
    }
}

struct Work<T> {
    begun: oneshot::Receiver<DeploymentId>,
    ended: oneshot::Receiver<Result<T, PlatformError>>,
    trouble: Arc<Mutex<Vec<String>>>,
}

fn spawn<T, W>(api: &Api, name: &'static str, work: impl FnOnce(Quiet, CancellationToken) -> W) -> Work<T>
where
    T: Send + 'static,
    W: Future<Output = Result<T, PlatformError>> + Send + 'static,
{
    let (said, begun) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let trouble = Arc::<Mutex<Vec<String>>>::default();
    // Nobody's going ends it: a client asks again by the id of the deployment, and cancels by it.
    let work = work(Quiet { begun: Some(said), trouble: Arc::clone(&trouble) }, CancellationToken::new());
    api.tasks.spawn(name, async move {
        let _nobody_waits = end.send(work.await);
    });
    Work { begun, ended, trouble }
}

fn read<T>(
    end: Result<Result<T, PlatformError>, oneshot::error::RecvError>,
    trouble: &Mutex<Vec<String>>,
) -> Result<T, ApiError> {
    let end = end.unwrap_or_else(|_ended_without_a_word| {
        Err(PlatformError::new(ErrorKind::Internal, "the work ended without a result"))
    });
    end.map_err(|error| {
        let trouble = std::mem::take(&mut *trouble.lock().unwrap_or_else(PoisonError::into_inner));
        let error = ApiError::from(error);
        if trouble.is_empty() { error } else { error.detail("evidence", Value::from(trouble)) }
    })
}
