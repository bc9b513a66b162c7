//! Verbs of the logins at image registries: of one app, or of the host for every app. Sealed.

use autostack_domain::{AppName, EnvMap, RegistryLogin, RegistryName, Secret, limits};
use redb::ReadableTable;

use crate::{
    apps,
    error::StoreError,
    seal::Belonging,
    store::Store,
    tables::{APPS, REGISTRY_LOGINS},
};

/// A login is sealed as two variables.
const USERNAME: &str = "USERNAME";
const PASSWORD: &str = "PASSWORD";

impl Store {
    /// Keeps a login; one that is there for the same registry is replaced. Without an app it serves every app.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for one login too many.
    pub fn set_registry_login(&self, app: Option<&AppName>, login: &RegistryLogin) -> Result<(), StoreError> {
        let registry = &login.registry;
        let mut env = EnvMap::new();
        env.put(USERNAME, &login.username);
        env.put(PASSWORD, login.password.expose());
        let sealed = self.sealer().seal_env(Belonging::RegistryLogin(app, registry), &env)?;
        self.write(|txn| {
            if let Some(app) = app {
                apps::get(txn, app)?;
            }
            let mut logins = txn.open_table(REGISTRY_LOGINS)?;
            logins.insert((scope(app), registry.as_str()), sealed.as_slice())?;
            if logins.range((scope(app), "")..(end(app).as_str(), ""))?.count() > limits::REGISTRY_LOGINS_MAX
            {
                let name = app.map_or_else(|| "the host".to_owned(), ToString::to_string);
                let why = format!("there are {} already", limits::REGISTRY_LOGINS_MAX);
                return Err(StoreError::Conflict { what: "registry logins", name, why });
            }
            Ok(())
        })
    }

    /// Forgets a login. Whether there was one.
    pub fn remove_registry_login(
        &self,
        app: Option<&AppName>,
        registry: &RegistryName,
    ) -> Result<bool, StoreError> {
        self.write(|txn| {
            let removed = txn.open_table(REGISTRY_LOGINS)?.remove((scope(app), registry.as_str()))?.is_some();
            Ok(removed)
        })
    }

    /// The login that an app has at a registry: its own, else the host's.
    pub fn registry_login(
        &self,
        app: &AppName,
        registry: &RegistryName,
    ) -> Result<Option<RegistryLogin>, StoreError> {
        self.read(|txn| {
            let logins = txn.open_table(REGISTRY_LOGINS)?;
            for owner in [Some(app), None] {
                if let Some(sealed) = logins.get((scope(owner), registry.as_str()))? {
                    return self.open_login(owner, registry.clone(), sealed.value()).map(Some);
                }
            }
            Ok(None)
        })
    }

    /// All logins of an app, or of the host, by registry.
    pub fn registry_logins(&self, app: Option<&AppName>) -> Result<Vec<RegistryLogin>, StoreError> {
        self.read(|txn| {
            if let Some(app) = app
                && APPS.read(txn)?.get(app.as_str())?.is_none()
            {
                return Err(StoreError::not_found("app", app));
            }
            let mut found = Vec::new();
            let logins = txn.open_table(REGISTRY_LOGINS)?;
            for entry in logins.range((scope(app), "")..(end(app).as_str(), ""))? {
                let (key, sealed) = entry?;
                // Only names that parsed were ever stored.
                if let Ok(registry) = key.value().1.parse() {
                    found.push(self.open_login(app, registry, sealed.value())?);
                }
            }
            Ok(found)
        })
    }

    fn open_login(
        &self,
        app: Option<&AppName>,
        registry: RegistryName,
        sealed: &[u8],
    ) -> Result<RegistryLogin, StoreError> {
        let env = self.sealer().open_env(Belonging::RegistryLogin(app, &registry), sealed)?;
        let text = |name| String::from_utf8_lossy(env.get(name).unwrap_or_default()).into_owned();
        Ok(RegistryLogin { username: text(USERNAME), password: Secret::new(text(PASSWORD)), registry })
    }
}

/// What comes behind the last key of an app, or of the host.
fn end(app: Option<&AppName>) -> String {
    app.map_or_else(|| "\0".to_owned(), apps::after)
}

/// The first half of the key: the app, or nothing for the host.
fn scope(app: Option<&AppName>) -> &str {
    app.map_or("", AppName::as_str)
}
