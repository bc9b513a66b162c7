//! Verbs of the apps.

use autostack_domain::{App, AppName, DeploymentId};
use redb::WriteTransaction;

use crate::{
    cron_runs, deployments,
    error::StoreError,
    one_offs,
    record::first_version,
    rename::check_free,
    store::Store,
    tables::{APPS, CERTIFICATES, CONFIG, MEMBERS, REGISTRY_LOGINS, RELEASE_CONFIG, RELEASES},
};

first_version!(App);

impl Store {
    /// Records a new app; [`StoreError::Exists`] if its name is taken, [`StoreError::Conflict`] while files of an app
    /// that had it are moved.
    pub fn create_app(&self, app: &App) -> Result<(), StoreError> {
        self.write(|txn| {
            check_free(txn, &app.name)?;
            APPS.write(txn)?.put(app.name.as_str(), app)
        })
    }

    /// An app.
    pub fn app(&self, name: &AppName) -> Result<Option<App>, StoreError> {
        self.read(|txn| APPS.read(txn)?.get(name.as_str()))
    }

    /// All apps, by name.
    pub fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.read(|txn| APPS.read(txn)?.range::<&str>(..))
    }

    /// Changes an app and returns it as it is now. Its name cannot change.
    pub fn update_app(&self, name: &AppName, change: impl FnOnce(&mut App)) -> Result<App, StoreError> {
        self.write(|txn| {
            let mut app = get(txn, name)?;
            change(&mut app);
            if app.name != *name {
                return Err(StoreError::conflict("app", name, "its name is fixed"));
            }
            APPS.write(txn)?.put(name.as_str(), &app)?;
            Ok(app)
        })
    }

    /// Changes an app, unless `change` refuses: then nothing is written, and its reason comes back inside.
    pub fn try_update_app<T, E>(
        &self,
        name: &AppName,
        change: impl FnOnce(&mut App) -> Result<T, E>,
    ) -> Result<Result<(App, T), E>, StoreError> {
        self.write(|txn| {
            let mut app = get(txn, name)?;
            let said = match change(&mut app) {
                Ok(said) => said,
                Err(refused) => return Ok(Err(refused)),
            };
            if app.name != *name {
                return Err(StoreError::conflict("app", name, "its name is fixed"));
            }
            APPS.write(txn)?.put(name.as_str(), &app)?;
            Ok(Ok((app, said)))
        })
    }

    /// Removes an app with its config, releases, deployments and members. Returns the ids of its
    /// deployments, whose logs and artifacts are the caller's to remove.
    pub fn destroy_app(&self, name: &AppName) -> Result<Vec<DeploymentId>, StoreError> {
        self.write(|txn| {
            let app = name.as_str();
            if !APPS.write(txn)?.remove(app)? {
                return Err(StoreError::not_found("app", name));
            }
            MEMBERS.write(txn)?.remove_range((app, "")..(after(name).as_str(), ""))?;
            txn.open_table(CONFIG)?.remove(app)?;
            txn.open_table(CERTIFICATES)?.remove(app)?;
            let mut logins = txn.open_table(REGISTRY_LOGINS)?;
            logins.retain_in::<(&str, &str), _>((app, "")..(after(name).as_str(), ""), |_, _| false)?;
            RELEASES.write(txn)?.remove_range((app, 0)..=(app, u32::MAX))?;
            let mut configs = txn.open_table(RELEASE_CONFIG)?;
            configs.retain_in::<(&str, u32), _>((app, 0)..=(app, u32::MAX), |_, _| false)?;
            one_offs::remove_all(txn, name)?;
            cron_runs::remove_all(txn, name)?;
            deployments::remove_all(txn, name)
        })
    }
}

/// The least string after every key that begins with this app: names hold no NUL.
pub(crate) fn after(name: &AppName) -> String {
    format!("{name}\0")
}

/// The app, which must be there.
pub(crate) fn get(txn: &WriteTransaction, name: &AppName) -> Result<App, StoreError> {
    APPS.write(txn)?.get(name.as_str())?.ok_or_else(|| StoreError::not_found("app", name))
}
