//! One instance as the agent holds it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use autostack_domain::{Exit, InstanceSpec, UnixMillis};
use autostack_logs::Stream;
use nix::sys::signal::Signal;
use tokio::{io::unix::AsyncFd, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{layout::InstanceDir, pidfd::PidFd};
use crate::{
    backend::{InstanceState, Observed, RuntimeError},
    ports::PortClaim,
};

/// How much longer than the grace a shim may take before it is itself killed.
const OVERTIME: Duration = Duration::from_secs(10);

/// An instance that exists.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) spec: Arc<InstanceSpec>,
    pub(crate) endpoint: SocketAddr,
    pub(crate) started_at: UnixMillis,
    pub(crate) dir: InstanceDir,
    pub(crate) log: Arc<Stream>,
    /// The shim and its pid; `None` where it had ended when the agent came back.
    pub(crate) shim: Option<(Arc<AsyncFd<PidFd>>, i32)>,
    pub(crate) state: watch::Sender<State>,
    /// Given up with the last file.
    pub(crate) claim: Mutex<Option<PortClaim>>,
    /// The commands that run beside it; closed by a stop, which waits for them.
    pub(crate) commands: TaskTracker,
    /// A stop has begun.
    pub(crate) stopping: CancellationToken,
    /// The most CPU time that was seen.
    pub(crate) cpu_micros: AtomicU64,
}

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Exited(Exit),
    /// It was stopped and removed.
    Gone,
}

impl Instance {
    /// As the contract shows it; `None` once it is gone.
    pub(crate) fn observed(&self) -> Option<Observed> {
        let state = match *self.state.borrow() {
            State::Running => InstanceState::Running,
            State::Exited(exit) => InstanceState::Exited(exit),
            State::Gone => return None,
        };
        let spec = InstanceSpec::clone(&self.spec);
        Some(Observed { spec, endpoint: self.endpoint, state, started_at: self.started_at })
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> Result<Exit, RuntimeError> {
        let mut states = self.state.subscribe();
        match states.wait_for(|state| *state != State::Running).await.map(|state| *state) {
            Ok(State::Exited(exit)) => Ok(exit),
            Ok(State::Running | State::Gone) | Err(_) => Err(RuntimeError::not_found(&self.spec.id)),
        }
    }

    /// Ends all its processes: the shim does it; when even that does not end, the shim is killed, and the
    /// task that follows it ends the rest.
    pub(crate) async fn end(&self, grace: Duration) -> Result<(), RuntimeError> {
        let Some((shim, _)) = &self.shim else { return self.ended().await.map(drop) };
        let shim = shim.get_ref();
        let millis = usize::try_from(grace.as_millis()).unwrap_or(usize::MAX);
        shim.signal_with(Signal::SIGTERM, millis).map_err(RuntimeError::system("signal a shim"))?;
        if timeout(grace.saturating_add(OVERTIME), self.ended()).await.is_ok() {
            return Ok(());
        }
        tracing::error!(instance = %self.spec.id, "shim does not end; killing it");
        shim.signal(Signal::SIGKILL).map_err(RuntimeError::system("kill a shim"))?;
        match timeout(OVERTIME, self.ended()).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(RuntimeError::Unkillable { id: self.spec.id.clone() }),
        }
    }

    /// CPU time that was seen just now. A process that ends between two looks may be in neither: time does not
    /// go back for that.
    pub(crate) fn cpu_seen(&self, now: Duration) -> Duration {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.cpu_micros.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// Says that nothing of it is left, and lets go of its port.
    pub(crate) fn gone(&self) {
        self.log.forget_instance(&self.spec.id);
        drop(self.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.state.send_replace(State::Gone);
    }
}
