//! How the owner of an app ends: with the agent, or with the app.

use autostack_domain::Stage;

use super::{Busy, Event, Owner, Waiting};
use crate::{clean, ending, live::Live, stop::stop_all, workspace};

/// What becomes of a release that waits for git's word.
pub(super) enum Prepared {
    /// The agent stops: when it starts again it looks whether git has moved the ref.
    Stays,
    /// The app goes.
    IsDiscarded,
}

impl Owner {
    /// Cancels what is under way and waits until it is undone.
    pub(super) async fn cancel_deployments(&mut self, prepared: Prepared) {
        while let Some(Waiting { job, .. }) = self.queue.front() {
            let id = job.id.clone();
            self.leave_queue(&id).await;
        }
        loop {
            match &self.busy {
                None => return,
                Some(Busy::Prepared { .. }) if matches!(prepared, Prepared::Stays) => return,
                Some(Busy::Prepared { job, .. }) => {
                    let id = job.id.clone();
                    self.discard(&id, ending::cancelled(Stage::Switch)).await;
                    self.start_next();
                }
                Some(Busy::Preparing { id, cancel, .. }) => {
                    tracing::info!(deployment = %id, "a deployment is cancelled");
                    cancel.cancel();
                    match self.events.recv().await {
                        Some(event) => self.on_event(event).await,
                        None => return,
                    }
                }
            }
        }
    }

    pub(super) async fn destroy(&mut self) {
        self.rolls.give_up();
        self.scripts.cancel();
        self.cancel_deployments(Prepared::IsDiscarded).await;
        let retired = self.parts().proxy.withdraw(&self.app);
        let old = self.live.take().map(Live::replace).unwrap_or_default();
        retired.drained(self.parts().settings().deploy.drain_timeout).await;
        stop_all(self.parts(), &old).await;
        self.stop_restarted().await;
        for drain in self.drains.drain(..) {
            // A drain that panicked was reported where it was spawned.
            let _ended = drain.await;
        }
        workspace::remove_dir(&self.parts().artifacts_dir().join(self.app.as_str())).await;
        clean::forget(self.parts(), &self.app).await;
        self.parts().metrics.forget(&self.app);
    }

    /// Instances that were started again while the app was being destroyed, and that nobody has heard of yet. Those
    /// that come later find nobody to tell, and are stopped by the task that started them.
    async fn stop_restarted(&mut self) {
        self.events.close();
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Restarted { outcome: Ok(ready), .. } => stop_all(self.parts(), &[ready.id]).await,
                Event::Rolled { outcome: Ok(ready) } => {
                    let ids: Vec<_> = ready.into_iter().map(|(_, ready)| ready.id).collect();
                    stop_all(self.parts(), &ids).await;
                }
                _ => {}
            }
        }
    }
}
