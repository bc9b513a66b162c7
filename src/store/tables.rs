//! Every table of the store: its key, its record, and what it is for.

use std::{fmt::Debug, marker::PhantomData, ops::RangeBounds};

use autostack_domain::{App, Deployment, Release, SshKeyRecord, User, permission::Role};
use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::{
    error::StoreError,
    record::{Record, decode, encode},
};

// The truth.
pub(crate) const APPS: Records<&str, App> = Records::new("apps"); // app
pub(crate) const MEMBERS: Records<(&str, &str), Role> = Records::new("members"); // app, user; without the owner
pub(crate) const USERS: Records<&str, User> = Records::new("users"); // user
pub(crate) const SSH_KEYS: Records<&str, SshKeyRecord> = Records::new("ssh_keys"); // fingerprint
pub(crate) const RELEASES: Records<(&str, u32), Release> = Records::new("releases"); // app, number
pub(crate) const DEPLOYMENTS: Records<&str, Deployment> = Records::new("deployments"); // deployment

// Sealed (`seal.rs`).
pub(crate) const CONFIG: TableDefinition<&str, &[u8]> = TableDefinition::new("config"); // app
pub(crate) const RELEASE_CONFIG: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("release_config"); // app, number

// Indexes, changed in the transaction that changes what they point to.
pub(crate) const USERS_BY_EMAIL: TableDefinition<&str, &str> = TableDefinition::new("users_by_email"); // lower case → user
pub(crate) const DEPLOYMENTS_BY_APP: TableDefinition<(&str, i64, &str), ()> =
    TableDefinition::new("deployments_by_app"); // app, created_at, deployment
pub(crate) const UNFINISHED: TableDefinition<&str, ()> = TableDefinition::new("unfinished_deployments"); // deployment

// About the store itself: `layout` (version of this page), `key_check` (a sealed constant).
pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(crate) const LAYOUT: u16 = 1;

/// Makes every table that is not there yet, so that a reader finds all of them.
pub(crate) fn create_all(txn: &WriteTransaction) -> Result<(), StoreError> {
    APPS.write(txn)?;
    MEMBERS.write(txn)?;
    USERS.write(txn)?;
    SSH_KEYS.write(txn)?;
    RELEASES.write(txn)?;
    DEPLOYMENTS.write(txn)?;
    txn.open_table(CONFIG)?;
    txn.open_table(RELEASE_CONFIG)?;
    txn.open_table(USERS_BY_EMAIL)?;
    txn.open_table(DEPLOYMENTS_BY_APP)?;
    txn.open_table(UNFINISHED)?;
    txn.open_table(META)?;
    Ok(())
}

/// A table whose values are records.
pub(crate) struct Records<K: Key + 'static, R> {
    name: &'static str,
    definition: TableDefinition<'static, K, &'static [u8]>,
    record: PhantomData<fn() -> R>,
}

impl<K: Key + 'static, R: Record> Records<K, R> {
    const fn new(name: &'static str) -> Self {
        Self { name, definition: TableDefinition::new(name), record: PhantomData }
    }

    /// The table as a reading transaction sees it.
    pub(crate) fn read(
        &self,
        txn: &ReadTransaction,
    ) -> Result<Rows<redb::ReadOnlyTable<K, &'static [u8]>, R>, StoreError> {
        Ok(Rows { name: self.name, table: txn.open_table(self.definition)?, record: PhantomData })
    }

    /// The table as a writing transaction sees and changes it.
    pub(crate) fn write<'txn>(
        &self,
        txn: &'txn WriteTransaction,
    ) -> Result<Rows<redb::Table<'txn, K, &'static [u8]>, R>, StoreError> {
        Ok(Rows { name: self.name, table: txn.open_table(self.definition)?, record: PhantomData })
    }
}

/// An open table of records.
pub(crate) struct Rows<T, R> {
    name: &'static str,
    table: T,
    record: PhantomData<fn() -> R>,
}

impl<T, R: Record> Rows<T, R> {
    fn decode(&self, key: &impl Debug, stored: &[u8]) -> Result<R, StoreError> {
        decode(stored).map_err(|source| StoreError::Record {
            table: self.name,
            key: format!("{key:?}"),
            source,
        })
    }

    /// The record under a key.
    pub(crate) fn get<'k, K>(&self, key: K::SelfType<'k>) -> Result<Option<R>, StoreError>
    where
        K: Key + 'static,
        K::SelfType<'k>: Debug,
        T: ReadableTable<K, &'static [u8]>,
    {
        match self.table.get(&key)? {
            Some(stored) => self.decode(&key, stored.value()).map(Some),
            None => Ok(None),
        }
    }

    /// The records under a range of keys, in the order of the keys; `keep` sees each key first.
    pub(crate) fn range<'k, K>(
        &self,
        range: impl RangeBounds<K::SelfType<'k>> + 'k,
    ) -> Result<Vec<R>, StoreError>
    where
        K: Key + 'static,
        for<'v> K::SelfType<'v>: Debug,
        T: ReadableTable<K, &'static [u8]>,
    {
        let rows = self.table.range::<K::SelfType<'k>>(range)?;
        rows.map(|row| {
            let (key, stored) = row?;
            self.decode(&key.value(), stored.value())
        })
        .collect()
    }
}

impl<K: Key + 'static, R: Record> Rows<redb::Table<'_, K, &'static [u8]>, R> {
    /// Puts a record under a key, over the one that is there.
    pub(crate) fn put<'k>(&mut self, key: K::SelfType<'k>, record: &R) -> Result<(), StoreError>
    where
        K::SelfType<'k>: Debug,
    {
        let stored = encode(record).map_err(|source| StoreError::Record {
            table: self.name,
            key: format!("{key:?}"),
            source,
        })?;
        self.table.insert(&key, stored.as_slice())?;
        Ok(())
    }

    /// Takes the record under a key away; whether there was one.
    pub(crate) fn remove<'k>(&mut self, key: K::SelfType<'k>) -> Result<bool, StoreError> {
        Ok(self.table.remove(&key)?.is_some())
    }

    /// Takes every record under a range of keys away.
    pub(crate) fn remove_range<'k>(
        &mut self,
        range: impl RangeBounds<K::SelfType<'k>> + 'k,
    ) -> Result<(), StoreError> {
        self.table.retain_in::<K::SelfType<'k>, _>(range, |_, _| false)?;
        Ok(())
    }
}
