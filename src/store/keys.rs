//! Verbs of the SSH keys that users log in with.

use autostack_domain::SshKeyRecord;

use crate::{
    error::StoreError,
    record::first_version,
    store::Store,
    tables::{SSH_KEYS, USERS},
};

first_version!(SshKeyRecord);

impl Store {
    /// Records a key of a user who is there; [`StoreError::Exists`] if anybody has this key already.
    pub fn add_key(&self, key: &SshKeyRecord) -> Result<(), StoreError> {
        self.write(|txn| {
            if USERS.write(txn)?.get(key.user.as_str())?.is_none() {
                return Err(StoreError::not_found("user", &key.user));
            }
            let mut keys = SSH_KEYS.write(txn)?;
            if keys.get(key.fingerprint.as_str())?.is_some() {
                return Err(StoreError::exists("SSH key", &key.fingerprint));
            }
            keys.put(key.fingerprint.as_str(), key)
        })
    }

    /// The key with a fingerprint (`SHA256:…`).
    pub fn key(&self, fingerprint: &str) -> Result<Option<SshKeyRecord>, StoreError> {
        self.read(|txn| SSH_KEYS.read(txn)?.get(fingerprint))
    }

    /// All keys, by fingerprint.
    pub fn keys(&self) -> Result<Vec<SshKeyRecord>, StoreError> {
        self.read(|txn| SSH_KEYS.read(txn)?.range::<&str>(..))
    }

    /// Removes a key; [`StoreError::NotFound`] if nobody has it.
    pub fn remove_key(&self, fingerprint: &str) -> Result<(), StoreError> {
        self.write(|txn| match SSH_KEYS.write(txn)?.remove(fingerprint)? {
            true => Ok(()),
            false => Err(StoreError::not_found("SSH key", fingerprint)),
        })
    }
}
