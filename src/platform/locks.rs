//! The lock of an app: nothing is deployed to it, by whatever way, until somebody takes the lock off. What runs goes on.

use autostack_base::clock;
use autostack_domain::{
    App, AppName, AppSettings, DeployLock,
    permission::{Action, Actor},
};
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

impl Platform {
    /// Locks an app; one that is locked stays as it is. Whether it was unlocked before.
    pub async fn lock_app(&self, actor: &Actor, name: &AppName) -> Result<bool, PlatformError> {
        let lock = DeployLock { by: actor.name.clone(), at: clock::now() };
        let change = move |settings: &mut AppSettings| {
            let is_new = settings.lock.is_none();
            settings.lock.get_or_insert(lock);
            Ok(is_new)
        };
        let (_app, is_new) = self.change_app(actor, name, Action::Operate, "lock", change).await?;
        if is_new {
            self.event(actor, name, "apps:lock", "");
        }
        Ok(is_new)
    }

    /// Takes the lock off. Whether there was one.
    pub async fn unlock_app(&self, actor: &Actor, name: &AppName) -> Result<bool, PlatformError> {
        let change = |settings: &mut AppSettings| Ok(settings.lock.take().is_some());
        let (_app, was_locked) = self.change_app(actor, name, Action::Operate, "unlock", change).await?;
        if was_locked {
            self.event(actor, name, "apps:unlock", "");
        }
        Ok(was_locked)
    }

    /// Who locked an app.
    pub async fn lock_of(&self, actor: &Actor, name: &AppName) -> Result<Option<DeployLock>, PlatformError> {
        Ok(self.settings_of(actor, name).await?.settings.lock)
    }

    /// Refuses what would deploy to a locked app.
    pub(crate) async fn check_lock(&self, name: &AppName) -> Result<(), PlatformError> {
        let asked = name.clone();
        match self.parts().store.call(move |store: &Store| store.app(&asked)).await? {
            Some(app) => check_unlocked(&app),
            None => Err(PlatformError::no_such_app(name)),
        }
    }
}

/// Refuses what would deploy to a locked app.
pub(crate) fn check_unlocked(app: &App) -> Result<(), PlatformError> {
    let Some(lock) = &app.settings.lock else { return Ok(()) };
    let message = format!("nothing may be deployed to {}: {} has locked it", app.name, lock.by);
    Err(PlatformError::new(ErrorKind::Conflict, message).hint(format!("apps:unlock {}", app.name)))
}
