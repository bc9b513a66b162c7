//! Verbs of the storage directories: who has made which.

use autostack_domain::{
    UserId,
    storage::{StorageDirectory, StorageName},
};

use crate::{error::StoreError, record::first_version, store::Store, tables::STORAGE};

first_version!(StorageDirectory);

impl Store {
    /// A storage directory.
    pub fn storage_directory(&self, name: &StorageName) -> Result<Option<StorageDirectory>, StoreError> {
        self.read(|txn| STORAGE.read(txn)?.get(name.as_str()))
    }

    /// Records a storage directory, over the record that is there.
    pub fn put_storage_directory(&self, directory: &StorageDirectory) -> Result<(), StoreError> {
        self.write(|txn| STORAGE.write(txn)?.put(directory.name.as_str(), directory))
    }

    /// How many storage directories somebody has made.
    pub fn storage_directories_of(&self, owner: &UserId) -> Result<usize, StoreError> {
        let all = self.read(|txn| STORAGE.read(txn)?.range::<&str>(..))?;
        Ok(all.iter().filter(|directory| directory.owner == *owner).count())
    }
}
