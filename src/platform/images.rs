//! Images that were made elsewhere: deployed from a registry or from an archive, and the logins at registries.

use std::sync::Mutex;

use autostack_deploy::{ArchiveBytes, Input};
use autostack_domain::{
    AppName, ImageReference, RegistryLogin, RegistryName,
    permission::{Action, Actor, allows},
};
use autostack_store::Store;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    config::refused,
    deployments::Outcome,
    error::{ErrorKind, PlatformError},
    platform::Platform,
    screen::Screen,
};

/// A login as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoginView {
    /// The registry.
    pub registry: String,
    /// The user.
    pub username: String,
}

impl Platform {
    /// Pulls an image and takes it live. It is pinned to the digest that its name stands for now.
    pub async fn deploy_image(
        &self,
        actor: &Actor,
        name: &AppName,
        reference: ImageReference,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        self.app_for(actor, name, Action::Push, "deploy").await?;
        self.check_engine()?;
        let (app, registry) = (name.clone(), RegistryName::of(&reference));
        let login = self.parts().store.call(move |store| store.registry_login(&app, &registry)).await?;
        self.deploy(actor, name, Input::Pull { reference, login }, screen, gone).await
    }

    /// Loads an archive of one image, made by `docker save`, and takes it live under the given name.
    pub async fn deploy_archive(
        &self,
        actor: &Actor,
        name: &AppName,
        reference: ImageReference,
        bytes: ArchiveBytes,
        screen: &mut impl Screen,
        gone: &CancellationToken,
    ) -> Result<Outcome, PlatformError> {
        self.app_for(actor, name, Action::Push, "deploy").await?;
        self.check_engine()?;
        let input = Input::Archive { reference, bytes: Mutex::new(Some(bytes)) };
        self.deploy(actor, name, input, screen, gone).await
    }

    /// Keeps a login at a registry, of one app or, without one, of the host for every app.
    pub async fn registry_login(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        login: RegistryLogin,
    ) -> Result<(), PlatformError> {
        self.may_manage_registries(actor, app).await?;
        let said = format!("{} as {}", login.registry, login.username);
        let owner = app.cloned();
        let keep = move |store: &Store| store.set_registry_login(owner.as_ref(), &login);
        self.parts().store.call(keep).await.map_err(refused)?;
        self.event(actor, app, "registry:login", said);
        Ok(())
    }

    /// Forgets a login at a registry.
    pub async fn registry_logout(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
        registry: &RegistryName,
    ) -> Result<(), PlatformError> {
        self.may_manage_registries(actor, app).await?;
        let (owner, at) = (app.cloned(), registry.clone());
        let removed =
            self.parts().store.call(move |store| store.remove_registry_login(owner.as_ref(), &at)).await?;
        if !removed {
            let message = format!("there is no login at {registry}");
            return Err(
                PlatformError::new(ErrorKind::Conflict, message).hint("registry:report shows the logins")
            );
        }
        self.event(actor, app, "registry:logout", registry.to_string());
        Ok(())
    }

    /// The logins of an app or of the host, without their passwords.
    pub async fn registry_logins(
        &self,
        actor: &Actor,
        app: Option<&AppName>,
    ) -> Result<Vec<LoginView>, PlatformError> {
        self.may_manage_registries(actor, app).await?;
        let app = app.cloned();
        let logins =
            self.parts().store.call(move |store: &Store| store.registry_logins(app.as_ref())).await?;
        let view = |login: RegistryLogin| LoginView {
            registry: login.registry.to_string(),
            username: login.username,
        };
        Ok(logins.into_iter().map(view).collect())
    }

    async fn may_manage_registries(&self, actor: &Actor, app: Option<&AppName>) -> Result<(), PlatformError> {
        match app {
            Some(app) => {
                self.app_for(actor, app, Action::ManageRegistries, "change the registry logins of").await?;
                Ok(())
            }
            None if allows(actor, None, Action::ManageHost) => Ok(()),
            None => Err(PlatformError::new(ErrorKind::Denied, "only an admin may change the host's logins")
                .hint("name an app of yours instead of --global")),
        }
    }
}
