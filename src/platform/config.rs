//! The config of an app: the environment that its next release gets.

use autostack_domain::{
    AppName, EnvMap,
    permission::{Action, Actor},
};
use autostack_store::{Store, StoreError};

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

impl Platform {
    /// The whole config, values byte for byte.
    pub async fn config(&self, actor: &Actor, name: &AppName) -> Result<EnvMap, PlatformError> {
        self.app_for(actor, name, Action::ManageConfig, "read the config of").await?;
        let name = name.clone();
        Ok(self.parts().store.call(move |store: &Store| store.config(&name)).await?)
    }

    /// Sets some variables and removes others, as one change. It counts from the next deployment.
    pub async fn change_config(
        &self,
        actor: &Actor,
        name: &AppName,
        set: EnvMap,
        unset: Vec<String>,
    ) -> Result<(), PlatformError> {
        self.app_for(actor, name, Action::ManageConfig, "change the config of").await?;
        let said = [
            ("set ", set.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")),
            ("unset ", unset.join(", ")),
        ];
        let app = name.clone();
        let change = move |store: &Store| store.change_config(&app, &set, &unset);
        self.parts().store.call(change).await.map_err(refused)?;
        let said = said.into_iter().filter(|(_, names)| !names.is_empty());
        let said: Vec<_> = said.map(|(verb, names)| format!("{verb}{names}")).collect();
        self.event(actor, name, "config", said.join("; "));
        Ok(())
    }
}

/// What a change was refused for is told; everything else is the platform's own fault.
pub(crate) fn refused(error: StoreError) -> PlatformError {
    match error {
        StoreError::Conflict { what, name, why } => {
            PlatformError::new(ErrorKind::Conflict, format!("the {what} of {name} cannot be changed: {why}"))
        }
        error => error.into(),
    }
}
