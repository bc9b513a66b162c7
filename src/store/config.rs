//! Verbs of the config: the environment of an app, and what every app of the host gets beneath its own. Sealed.

use autostack_domain::{AppName, EnvMap, ReleaseNumber, limits, release::ConfigBrought};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::{
    apps,
    error::StoreError,
    seal::Belonging,
    store::Store,
    tables::{APPS, CONFIG, RELEASE_CONFIG},
};

/// Under which the host's own config stands: no app has an empty name.
const HOST: &str = "";

impl Store {
    /// The app's own config; empty until it is set.
    pub fn config(&self, app: &AppName) -> Result<EnvMap, StoreError> {
        self.read(|txn| self.own_config(txn, app))
    }

    /// The config of the host, which every app gets beneath its own.
    pub fn host_config(&self) -> Result<EnvMap, StoreError> {
        self.read(|txn| self.open_config(txn, None))
    }

    /// What the next release of an app gets: the host's config, over it the app's own.
    pub fn merged_config(&self, app: &AppName) -> Result<EnvMap, StoreError> {
        self.read(|txn| {
            let own = self.own_config(txn, app)?;
            let mut merged = self.open_config(txn, None)?;
            merged.extend(&own);
            Ok(merged)
        })
    }

    /// Changes the config of an app, or of the host, as one. Whether it is another one afterwards.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a config that would be too large.
    pub fn update_config(
        &self,
        app: Option<&AppName>,
        change: impl FnOnce(&mut EnvMap),
    ) -> Result<bool, StoreError> {
        self.write(|txn| {
            if let Some(app) = app {
                apps::get(txn, app)?;
            }
            let (key, belonging) = place(app);
            let mut configs = txn.open_table(CONFIG)?;
            let before = match configs.get(key)? {
                Some(sealed) => self.sealer().open_env(belonging, sealed.value())?,
                None => EnvMap::new(),
            };
            let mut env = before.clone();
            change(&mut env);
            if env == before {
                return Ok(false);
            }
            if env.bytes() > limits::CONFIG_BYTES_MAX {
                let name = app.map_or_else(|| "the host".to_owned(), ToString::to_string);
                let why = format!("it would have more than {} KiB", limits::CONFIG_BYTES_MAX >> 10);
                return Err(StoreError::Conflict { what: "config", name, why });
            }
            configs.insert(key, self.sealer().seal_env(belonging, &env)?.as_slice())?;
            Ok(true)
        })
    }

    /// Sets some variables of an app's config and removes others, as one change.
    ///
    /// # Errors
    /// As [`Store::update_config`].
    pub fn change_config(&self, app: &AppName, set: &EnvMap, unset: &[String]) -> Result<(), StoreError> {
        let change = |env: &mut EnvMap| {
            env.extend(set);
            for name in unset {
                env.remove(name);
            }
        };
        self.update_config(Some(app), change).map(drop)
    }

    /// Makes the config of a release the app's own, but for what the host gives every app anyway. `before` is the
    /// app's own config of some time ago: what was changed since then wins.
    pub(crate) fn take_config_of(
        &self,
        txn: &WriteTransaction,
        app: &AppName,
        release: ReleaseNumber,
        before: &EnvMap,
    ) -> Result<(), StoreError> {
        let taken = self.config_of(txn, app, release)?;
        let mut configs = txn.open_table(CONFIG)?;
        let open = |owner: Option<&AppName>| {
            let (key, belonging) = place(owner);
            match configs.get(key)? {
                Some(sealed) => self.sealer().open_env(belonging, sealed.value()),
                None => Ok(EnvMap::new()),
            }
        };
        let (host, now) = (open(None)?, open(Some(app))?);
        let mut own = taken.clone();
        for (name, value) in taken.iter() {
            if before.get(name).is_none() && host.get(name) == Some(value) {
                own.remove(name);
            }
        }
        let own = own.with_changes(before, &now);
        let (key, belonging) = place(Some(app));
        configs.insert(key, self.sealer().seal_env(belonging, &own)?.as_slice())?;
        Ok(())
    }

    /// Sets what a release brings in the app's own config.
    pub(crate) fn bring_config_of(
        &self,
        txn: &WriteTransaction,
        app: &AppName,
        release: ReleaseNumber,
        brings: &ConfigBrought,
    ) -> Result<(), StoreError> {
        let brought = self.config_of(txn, app, release)?;
        let (key, belonging) = place(Some(app));
        let mut configs = txn.open_table(CONFIG)?;
        let mut own = match configs.get(key)? {
            Some(sealed) => self.sealer().open_env(belonging, sealed.value())?,
            None => EnvMap::new(),
        };
        let filled: Vec<_> = brings.filled.iter().filter(|name| own.get(name).is_none()).collect();
        let mut env = EnvMap::new();
        for name in brings.set.iter().chain(filled) {
            if let Some(value) = brought.get(name) {
                env.set(name, value).map_err(|invalid| StoreError::Conflict {
                    what: "config",
                    name: app.to_string(),
                    why: invalid.to_string(),
                })?;
            }
        }
        own.extend(&env);
        configs.insert(key, self.sealer().seal_env(belonging, &own)?.as_slice())?;
        Ok(())
    }

    fn config_of(
        &self,
        txn: &WriteTransaction,
        app: &AppName,
        release: ReleaseNumber,
    ) -> Result<EnvMap, StoreError> {
        let of_release = Belonging::ReleaseConfig(app, release);
        match txn.open_table(RELEASE_CONFIG)?.get((app.as_str(), release.0))? {
            Some(sealed) => self.sealer().open_env(of_release, sealed.value()),
            None => Err(StoreError::not_found("release", &format!("{app} {release}"))),
        }
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

    fn own_config(&self, txn: &ReadTransaction, app: &AppName) -> Result<EnvMap, StoreError> {
        if APPS.read(txn)?.get(app.as_str())?.is_none() {
            return Err(StoreError::not_found("app", app));
        }
        self.open_config(txn, Some(app))
    }

    fn open_config(&self, txn: &ReadTransaction, app: Option<&AppName>) -> Result<EnvMap, StoreError> {
        let (key, belonging) = place(app);
        match txn.open_table(CONFIG)?.get(key)? {
            Some(sealed) => self.sealer().open_env(belonging, sealed.value()),
            None => Ok(EnvMap::new()),
        }
    }
}

fn place(app: Option<&AppName>) -> (&str, Belonging<'_>) {
    app.map_or((HOST, Belonging::HostConfig), |app| (app.as_str(), Belonging::Config(app)))
}
