//! Verbs of the config: the environment of an app, sealed.

use autostack_domain::{AppName, EnvMap};

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
