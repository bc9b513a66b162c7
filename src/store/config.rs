//! Verbs of the config: the environment of an app, sealed.

use autostack_domain::{AppName, EnvMap, limits};
use redb::ReadableTable;

use crate::{
    apps,
    error::StoreError,
    seal::Belonging,
    store::Store,
    tables::{APPS, CONFIG},
};

impl Store {
    /// The config that the next release of an app gets; empty until it is set.
    pub fn config(&self, app: &AppName) -> Result<EnvMap, StoreError> {
        self.read(|txn| {
            if APPS.read(txn)?.get(app.as_str())?.is_none() {
                return Err(StoreError::not_found("app", app));
            }
            match txn.open_table(CONFIG)?.get(app.as_str())? {
                Some(sealed) => self.sealer().open_env(Belonging::Config(app), sealed.value()),
                None => Ok(EnvMap::new()),
            }
        })
    }

    /// Sets some variables of an app's config and removes others, as one change.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a config that would be too large.
    pub fn change_config(&self, app: &AppName, set: &EnvMap, unset: &[String]) -> Result<(), StoreError> {
        let belonging = || Belonging::Config(app);
        self.write(|txn| {
            apps::get(txn, app)?;
            let mut configs = txn.open_table(CONFIG)?;
            let mut env = match configs.get(app.as_str())? {
                Some(sealed) => self.sealer().open_env(belonging(), sealed.value())?,
                None => EnvMap::new(),
            };
            env.extend(set);
            for name in unset {
                env.remove(name);
            }
            if env.bytes() > limits::CONFIG_BYTES_MAX {
                let why = format!("it would have more than {} KiB", limits::CONFIG_BYTES_MAX >> 10);
                return Err(StoreError::Conflict { what: "config", name: app.to_string(), why });
            }
            let sealed = self.sealer().seal_env(belonging(), &env)?;
            configs.insert(app.as_str(), sealed.as_slice())?;
            Ok(())
        })
    }

    /// Sets the whole config of an app.
    pub fn set_config(&self, app: &AppName, env: &EnvMap) -> Result<(), StoreError> {
        let sealed = self.sealer().seal_env(Belonging::Config(app), env)?;
        self.write(|txn| {
            apps::get(txn, app)?;
            txn.open_table(CONFIG)?.insert(app.as_str(), sealed.as_slice())?;
            Ok(())
        })
    }
}
