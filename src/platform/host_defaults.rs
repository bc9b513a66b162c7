//! What admins say about the code and the builds of every app that says nothing else.

use autostack_domain::{HostDefaults, permission::Actor};
use autostack_store::Store;

use crate::{error::PlatformError, keys::check_host, platform::Platform};

impl Platform {
    /// What holds for apps that say nothing else.
    pub async fn host_defaults(&self, actor: &Actor) -> Result<HostDefaults, PlatformError> {
        check_host(actor, "see what holds for the whole host")?;
        Ok(self.parts().store.call(Store::host_defaults).await?)
    }

    /// Changes that, from the next deployment of each app on; `told` is the kind of the event and what it says.
    pub(crate) async fn change_host_defaults(
        &self,
        actor: &Actor,
        told: (&str, String),
        change: impl FnOnce(&mut HostDefaults) -> Result<(), PlatformError> + Send + 'static,
    ) -> Result<(), PlatformError> {
        check_host(actor, "change what holds for the whole host")?;
        let update = move |store: &Store| store.try_update_host_defaults(change);
        self.parts().store.call(update).await??;
        self.event(actor, None, told.0, told.1);
        Ok(())
    }
}
