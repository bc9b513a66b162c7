//! A change of what operators set for one app: the one way that all of them go.

use autostack_domain::{
    App, AppName, AppSettings,
    permission::{Action, Actor},
};
use autostack_store::Store;

use crate::{error::PlatformError, platform::Platform};

impl Platform {
    /// Changes the settings of an app: authorised, recorded in one transaction, told to the owner task, which carries it
    /// out. `what` completes "you may not … APP". A change that refuses writes nothing. Gives back the app as it is now,
    /// and what `change` says. The caller records the event: it knows what to tell.
    pub(crate) async fn change_app<T: Send + 'static>(
        &self,
        actor: &Actor,
        name: &AppName,
        action: Action,
        what: &str,
        change: impl FnOnce(&mut AppSettings) -> Result<T, PlatformError> + Send + 'static,
    ) -> Result<(App, T), PlatformError> {
        self.app_for(actor, name, action, what).await?;
        self.0.leaving.check(name)?;
        let app = name.clone();
        let update = move |store: &Store| store.try_update_app(&app, |app| change(&mut app.settings));
        let changed = self.parts().store.call(update).await??;
        tracing::info!(app = %name, by = actor.name, "{what}");
        self.0.deployer.refresh(name).await;
        Ok(changed)
    }

    /// The settings of an app, for a report.
    pub(crate) async fn settings_of(&self, actor: &Actor, name: &AppName) -> Result<App, PlatformError> {
        self.app_for(actor, name, Action::ViewApp, "see").await
    }
}
