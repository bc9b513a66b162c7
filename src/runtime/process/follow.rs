//! The task beside each shim: moves its output as it is written, and sees its end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use autostack_base::tasks::{Backoff, Shutdown, Tasks};
use autostack_domain::{Exit, InstanceId};
use tokio::{
    io::unix::AsyncFd,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{layout::InstanceDir, leftovers, pidfd::PidFd, tail::Tail};

/// Failures to move the last output after which it is given up, about ten seconds' worth.
const LAST_TRIES_MAX: u32 = 10;

/// What is followed.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) id: InstanceId,
    pub(crate) dir: InstanceDir,
    /// `None` where it has ended already.
    pub(crate) shim: Option<Arc<AsyncFd<PidFd>>>,
    pub(crate) wake: Arc<Notify>,
    /// `None` once it is lost: the end is still seen.
    pub(crate) tail: Option<Tail>,
    pub(crate) tasks: Tasks,
}

impl Follow {
    /// Follows until the shim has ended, all output is moved and no process is left; gives how the
    /// program ended. `None` when `until` came first: everything goes on without us.
    pub(crate) async fn run(mut self, until: &Shutdown) -> Option<Exit> {
        if let Some(shim) = self.shim.take() {
            self = tokio::select! {
                biased;
                () = until.cancelled() => return None,
                followed = self.follow(&shim) => followed,
            };
            shim.get_ref().reap();
        }
        let Self { id, dir, tail, tasks, .. } = self;
        tokio::select! {
            biased;
            () = until.cancelled() => return None,
            () = move_last(&id, tail, &tasks) => {}
        }
        tasks.blocking("settle instance", move || settle(&id, &dir)).await.ok()
    }

    /// Resolves when the shim has ended.
    async fn follow(mut self, shim: &AsyncFd<PidFd>) -> Self {
        let mut backoff = backoff();
        loop {
            let (tail, moved) = pump(self.tail, &self.tasks).await;
            self.tail = tail;
            let retry = match moved {
                Ok(true) => continue,
                Ok(false) => {
                    backoff.reset();
                    None
                }
                Err(error) => {
                    tracing::warn!(instance = %self.id, error = &error as &dyn std::error::Error, "output waits");
                    Some(Instant::now() + backoff.after_failure(Duration::ZERO))
                }
            };
            tokio::select! {
                _ = shim.readable() => return self,
                () = self.wake.notified() => {}
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
            }
        }
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2), Duration::MAX)
}

type Moved = Result<bool, super::tail::TailError>;

/// Moves output; the tail is lost when that panicked, which is logged, or the runtime goes down.
async fn pump(tail: Option<Tail>, tasks: &Tasks) -> (Option<Tail>, Moved) {
    let Some(mut tail) = tail else { return (None, Ok(false)) };
    let work = move || {
        let moved = tail.pump();
        (tail, moved)
    };
    match tasks.blocking("move output", work).await {
        Ok((tail, moved)) => (Some(tail), moved),
        Err(_lost) => (None, Ok(false)),
    }
}

/// Moves what a shim that has ended left behind.
async fn move_last(id: &InstanceId, mut tail: Option<Tail>, tasks: &Tasks) {
    let mut backoff = backoff();
    loop {
        let (back, moved) = pump(tail, tasks).await;
        tail = back;
        match moved {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if backoff.failures() >= LAST_TRIES_MAX => {
                tracing::error!(instance = %id, error = &error as &dyn std::error::Error, "last output is lost");
                return;
            }
            Err(_) => sleep(backoff.after_failure(Duration::ZERO)).await,
        }
    }
}

/// How it ended; where the shim was killed before it could say, its processes are ended first. Blocks.
fn settle(id: &InstanceId, dir: &InstanceDir) -> Exit {
    match dir.exit_record() {
        Ok(Some(record)) => return record.exit,
        Ok(None) => tracing::warn!(instance = %id, "ended without a record"),
        Err(error) => tracing::warn!(instance = %id, %error, "ended with an unreadable record"),
    }
    match leftovers::kill_marked(&HashSet::from([id.as_str()])) {
        Ok(true) => {}
        Ok(false) => tracing::error!(instance = %id, "processes are left that do not end"),
        Err(error) => tracing::error!(instance = %id, %error, "cannot look for processes that are left"),
    }
    Exit::Unknown
}
