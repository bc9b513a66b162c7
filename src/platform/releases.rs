//! Releases: what was live, a new one for another config, and back to an earlier one.

use autostack_deploy::{ConfigOf, Input};
use autostack_domain::{AppName, permission::Actor};
use autostack_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{deployments::Outcome, error::PlatformError, platform::Platform, screen::Screen};

impl Platform {
    /// Makes a new release of what is live, with the config that the app has when its turn comes: nothing is built, the
    /// new instances start beside the old ones, and no request is lost. `reason` is for people: `Set DATABASE_URL`.
    /// `None` for an app without a release, whose first one gets the config anyway. The caller has asked whether the
    /// actor may.
    pub(crate) async fn redeploy(
        &self,
        actor: &Actor,
        app: &AppName,
        reason: impl Into<String>,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Option<Outcome>, PlatformError> {
        let name = app.clone();
        let found = self.parts().store.call(move |store: &Store| store.app(&name)).await?;
        if found.ok_or_else(|| PlatformError::no_such_app(app))?.current_release.is_none() {
            return Ok(None);
        }
        let input = Input::Again { of: None, config: ConfigOf::App, reason: reason.into() };
        self.deploy(actor, app, input, screen, gone).await.map(Some)
    }
}
