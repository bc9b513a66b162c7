//! Verbs of what users prove themselves with besides keys: passwords and second factors, sealed; and of the keys that sign
//! their tokens, sealed as well.

use autostack_domain::{
    UserId,
    account::{Credentials, KeptKey},
};
use redb::ReadableTable;

use crate::{
    error::StoreError,
    record::first_version,
    seal::Belonging,
    store::Store,
    tables::{CREDENTIALS, SIGNING_KEYS, USERS},
};

first_version!(Credentials, Vec<KeptKey>);

/// The one row of the signing keys.
const ALL: &str = "all";

impl Store {
    /// What a user proves themselves with; empty where nothing was set.
    pub fn credentials(&self, user: &UserId) -> Result<Credentials, StoreError> {
        self.read(|txn| match txn.open_table(CREDENTIALS)?.get(user.as_str())? {
            Some(sealed) => self.sealer().open_record(Belonging::Credentials(user), sealed.value()),
            None => Ok(Credentials::default()),
        })
    }

    /// Changes what a user proves themselves with, as one step: two who show the same code at once do not both succeed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a user.
    pub fn update_credentials<T>(
        &self,
        user: &UserId,
        change: impl FnOnce(&mut Credentials) -> T,
    ) -> Result<T, StoreError> {
        self.write(|txn| {
            if USERS.write(txn)?.get(user.as_str())?.is_none() {
                return Err(StoreError::not_found("user", user));
            }
            let mut rows = txn.open_table(CREDENTIALS)?;
            let belonging = Belonging::Credentials(user);
            let before: Credentials = match rows.get(user.as_str())? {
                Some(sealed) => self.sealer().open_record(belonging, sealed.value())?,
                None => Credentials::default(),
            };
            let mut after = before.clone();
            let said = change(&mut after);
            if after != before {
                rows.insert(user.as_str(), self.sealer().seal_record(belonging, &after)?.as_slice())?;
            }
            Ok(said)
        })
    }

    /// The keys that sign tokens.
    pub fn signing_keys(&self) -> Result<Vec<KeptKey>, StoreError> {
        self.read(|txn| match txn.open_table(SIGNING_KEYS)?.get(ALL)? {
            Some(sealed) => self.sealer().open_record(Belonging::SigningKeys, sealed.value()),
            None => Ok(Vec::new()),
        })
    }

    /// Replaces the keys that sign tokens.
    pub fn set_signing_keys(&self, keys: &[KeptKey]) -> Result<(), StoreError> {
        let sealed = self.sealer().seal_record(Belonging::SigningKeys, &keys.to_vec())?;
        self.write(|txn| {
            txn.open_table(SIGNING_KEYS)?.insert(ALL, sealed.as_slice())?;
            Ok(())
        })
    }
}
