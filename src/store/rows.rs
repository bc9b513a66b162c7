//! Tables whose values are records: what `tables.rs` declares and the verbs use.

use std::{fmt::Debug, marker::PhantomData, ops::RangeBounds};

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::{
    error::StoreError,
    record::{Record, decode, encode},
};

/// A table whose values are records.
pub(crate) struct Records<K: Key + 'static, R> {
    name: &'static str,
    definition: TableDefinition<'static, K, &'static [u8]>,
    record: PhantomData<fn() -> R>,
}

impl<K: Key + 'static, R: Record> Records<K, R> {
    pub(crate) const fn new(name: &'static str) -> Self {
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

    /// The records under a range of keys, in the order of the keys.
    pub(crate) fn range<'k, K>(
        &self,
        range: impl RangeBounds<K::SelfType<'k>> + 'k,
    ) -> Result<Vec<R>, StoreError>
    where
        K: Key + 'static,
        for<'v> K::SelfType<'v>: Debug,
        T: ReadableTable<K, &'static [u8]>,
    {
        self.map_range::<K, R>(range, |_key, record| record)
    }

    /// What `f` makes of the keys and records under a range of keys, in the order of the keys.
    pub(crate) fn map_range<'k, K, T2>(
        &self,
        range: impl RangeBounds<K::SelfType<'k>> + 'k,
        f: impl for<'v> Fn(K::SelfType<'v>, R) -> T2,
    ) -> Result<Vec<T2>, StoreError>
    where
        K: Key + 'static,
        for<'v> K::SelfType<'v>: Debug,
        T: ReadableTable<K, &'static [u8]>,
    {
        let rows = self.table.range::<K::SelfType<'k>>(range)?;
        rows.map(|row| {
            let (key, stored) = row?;
            let record = self.decode(&key.value(), stored.value())?;
            Ok(f(key.value(), record))
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
    #[expect(clippy::needless_pass_by_value, reason = "keys are references, or tuples of them")]
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
