//! What all connections of a server share, and how busy each of them is.

use std::sync::Arc;

use autostack_base::tasks::{Shutdown, Tasks};
use tokio::sync::watch;

use crate::limits::Limits;

/// What all connections share.
pub(crate) struct Door<S> {
    pub(crate) service: S,
    pub(crate) limits: Limits,
    pub(crate) tasks: Tasks,
    /// Cancelled when the server stops: nothing new begins.
    pub(crate) stopping: Shutdown,
}

/// Counts the sessions of one connection that run a command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<watch::Sender<usize>>);

/// A session that runs; dropped at its end.
#[derive(Debug)]
pub(crate) struct Busy(Sessions);

impl Sessions {
    pub(crate) fn begin(&self) -> Busy {
        self.0.send_modify(|count| *count += 1);
        Busy(self.clone())
    }

    /// Returns when no session runs.
    pub(crate) async fn idle(&self) {
        // The sender lives as long as `self`: it cannot end before it is idle.
        let mut count = self.0.subscribe();
        let _idle = count.wait_for(|count| *count == 0).await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
