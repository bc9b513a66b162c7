//! `git clone` and `git fetch` of an app's code.

use autostack_domain::{
    AppName,
    permission::{Action, Actor},
};
use autostack_git::{GitChild, GitProtocol, Service, SpawnOptions, service::spawn};

use crate::{error::PlatformError, platform::Platform};

/// A fetch under way: the door moves bytes between the client and the child. Dropping it kills the child.
pub struct Fetch {
    /// `git upload-pack`.
    pub child: GitChild,
}

impl Platform {
    /// Starts a fetch.
    pub async fn begin_fetch(
        &self,
        actor: &Actor,
        name: &AppName,
        protocol: Option<GitProtocol>,
    ) -> Result<Fetch, PlatformError> {
        self.app_for(actor, name, Action::FetchCode, "fetch the code of").await?;
        let options = SpawnOptions { protocol, ..SpawnOptions::default() };
        let child = spawn(Service::UploadPack, &self.parts().repositories.path(name), &options)?;
        Ok(Fetch { child })
    }
}
