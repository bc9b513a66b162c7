//! What ends when somebody may no longer do it: every change of rights is announced, and whoever keeps something open
//! asks again.

use std::{future::pending, time::Duration};

use autostack_domain::{
    AppName,
    permission::{Action, Actor},
};
use tokio::sync::watch;

use crate::{error::ErrorKind, platform::Platform};

/// Announces changes of rights. What they are is read from the store.
pub(crate) struct Rights(watch::Sender<()>);

impl Default for Rights {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Platform {
    /// Somebody's rights may have become less.
    pub(crate) fn rights_changed(&self) {
        self.0.rights.0.send_replace(());
    }

    /// Changes of rights from here on.
    pub(crate) fn watch_rights(&self) -> RightsChanges {
        RightsChanges(self.0.rights.0.subscribe())
    }

    /// Returns when the actor may no longer do that with the app, or the app is gone.
    pub async fn until_forbidden(&self, actor: &Actor, app: &AppName, action: Action) {
        let mut changes = self.watch_rights();
        loop {
            match self.app_for(actor, app, action, "use").await {
                // A store that cannot be read takes nobody's rights away.
                Ok(_) => {}
                Err(error) if !matches!(error.kind, ErrorKind::NoApp | ErrorKind::Denied) => {}
                Err(_) => return,
            }
            changes.next().await;
        }
    }

    /// Returns when a key is not that of the actor any more.
    pub async fn until_locked_out(&self, fingerprint: &str, actor: &Actor) {
        let mut changes = self.watch_rights();
        loop {
            match self.authenticate_key(fingerprint).await {
                Ok(Some(known)) if (&known.user, known.is_admin) == (&actor.user, actor.is_admin) => {}
                // A store that cannot be read locks nobody out.
                Err(_) => {}
                Ok(_) => return,
            }
            changes.next().await;
        }
    }
}

/// Changes of rights, one after the other.
pub(crate) struct RightsChanges(watch::Receiver<()>);

impl RightsChanges {
    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The platform has ended; nothing changes any more.
            pending::<()>().await;
        }
    }

    /// Waits for the next, for so long at most.
    ///
    /// # Errors
    /// When the time is over.
    pub(crate) async fn next_within(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<(), tokio::time::error::Elapsed> {
        match limit {
            Some(limit) => tokio::time::timeout(limit, self.next()).await,
            None => {
                self.next().await;
                Ok(())
            }
        }
    }
}
