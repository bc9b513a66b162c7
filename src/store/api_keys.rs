//! Verbs of the API keys: what is kept of a key is its digest.

use autostack_domain::{
    TokenId, UnixMillis,
    account::{ApiKey, SecretDigest},
    limits,
    names::UserId,
};

use crate::{
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{API_KEYS, USERS},
};

first_version!(ApiKey);

impl Store {
    /// Records a key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a user, [`StoreError::Conflict`] for one key too many or a second one of the same
    /// name.
    pub fn add_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.write(|txn| {
            if USERS.write(txn)?.get(key.user.as_str())?.is_none() {
                return Err(StoreError::not_found("user", &key.user));
            }
            let mut rows = API_KEYS.write(txn)?;
            let others = rows.range::<&str>(..)?.into_iter().filter(|other| other.user == key.user);
            let names: Vec<String> = others.map(|other| other.name).collect();
            if names.contains(&key.name) {
                return Err(StoreError::exists("API key", &key.name));
            }
            if names.len() >= limits::API_KEYS_PER_USER_MAX {
                let why = format!("there are {} already", limits::API_KEYS_PER_USER_MAX);
                return Err(StoreError::Conflict { what: "API keys", name: key.name.clone(), why });
            }
            rows.put(key.id.as_str(), key)
        })
    }

    /// The key with that id.
    pub fn api_key(&self, id: &TokenId) -> Result<Option<ApiKey>, StoreError> {
        self.read(|txn| API_KEYS.read(txn)?.get(id.as_str()))
    }

    /// The keys of a user, by id, which is by age.
    pub fn api_keys(&self, user: &UserId) -> Result<Vec<ApiKey>, StoreError> {
        let all = self.read(|txn| API_KEYS.read(txn)?.range::<&str>(..))?;
        Ok(all.into_iter().filter(|key| key.user == *user).collect())
    }

    /// Gives a key of a user another secret and another time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a key.
    pub fn rotate_api_key(
        &self,
        (user, id): (&UserId, &TokenId),
        digest: SecretDigest,
        now: UnixMillis,
        expires_at: Option<UnixMillis>,
    ) -> Result<ApiKey, StoreError> {
        self.change_api_key(user, id, |key| {
            *key = ApiKey { digest, created_at: now, expires_at, used_at: None, ..key.clone() };
        })
    }

    /// Records when a key was used.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a key.
    pub fn touch_api_key(&self, user: &UserId, id: &TokenId, now: UnixMillis) -> Result<ApiKey, StoreError> {
        self.change_api_key(user, id, |key| key.used_at = Some(now))
    }

    /// Takes a key of a user away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a key.
    pub fn remove_api_key(&self, user: &UserId, id: &TokenId) -> Result<ApiKey, StoreError> {
        self.write(|txn| {
            let mut rows = API_KEYS.write(txn)?;
            let found = rows.get(id.as_str())?.filter(|key| key.user == *user);
            let key = found.ok_or_else(|| StoreError::not_found("API key", id))?;
            rows.remove(id.as_str())?;
            Ok(key)
        })
    }

    fn change_api_key(
        &self,
        user: &UserId,
        id: &TokenId,
        change: impl FnOnce(&mut ApiKey),
    ) -> Result<ApiKey, StoreError> {
        self.write(|txn| {
            let mut rows = API_KEYS.write(txn)?;
            let found = rows.get(id.as_str())?.filter(|key| key.user == *user);
            let mut key = found.ok_or_else(|| StoreError::not_found("API key", id))?;
            change(&mut key);
            rows.put(id.as_str(), &key)?;
            Ok(key)
        })
    }
}
