//! [`Store`]: reading and writing transactions, and coming back after an I/O error.

use std::{
    path::Path,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::{error::StoreError, open, seal::Sealer};

/// The store. Clones are handles on the same one; it is closed when the last is dropped.
///
/// Verbs are synchronous: a reading one takes microseconds, a writing one waits for the disk. From async
/// code use [`Store::call`]. Writing verbs queue behind one another; reading ones never wait for them.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` between an I/O error and a reopening that worked.
    database: RwLock<Option<Database>>,
    /// Set by an I/O error: redb refuses all further work until it is reopened.
    must_reopen: AtomicBool,
    reopen: Reopen,
    sealer: Sealer,
}

/// Opens the database again after an I/O error.
pub(crate) type Reopen = Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>;

impl Store {
    /// Opens the store file, or makes it together with its key file at the first start. Waits for nothing:
    /// another process that has it open is [`StoreError::InUse`].
    ///
    /// Refuses a key file that is missing, exposed, of the wrong size or of another store, and a store file
    /// that is damaged; each message says what to restore. Nothing is replaced.
    pub fn open(path: &Path, key_file: &Path) -> Result<Self, StoreError> {
        open::open(path, key_file)
    }

    pub(crate) fn new(database: Database, sealer: Sealer, reopen: Reopen) -> Self {
        let inner = Inner {
            database: RwLock::new(Some(database)),
            must_reopen: AtomicBool::new(false),
            reopen,
            sealer,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs verbs on the threads for blocking work. Dropping the future does not stop the verb: it runs to
    /// its end. A panic in `f` goes on in the caller.
    pub async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || f(&store)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Stopping),
            },
        }
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    /// One consistent view of everything.
    pub(crate) fn read<T>(
        &self,
        f: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with_database(|database| f(&database.begin_read()?))
    }

    /// One change, all of it or nothing: durable when this returns `Ok`, not there when `f` failed.
    pub(crate) fn write<T>(
        &self,
        f: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with_database(|database| {
            let txn = begin_durable(database)?;
            let result = f(&txn)?;
            commit(txn)?;
            Ok(result)
        })
    }

    fn with_database<T>(&self, f: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let guard = self.database()?;
        let Some(database) = guard.as_ref() else { return Err(closed()) };
        let result = f(database);
        if let Err(error) = &result
            && needs_reopening(error)
        {
            self.inner.must_reopen.store(true, Ordering::Release);
        }
        result
    }

    /// The open database; opens it again first if an I/O error has made it unusable.
    fn database(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, StoreError> {
        let inner = &self.inner;
        if inner.must_reopen.load(Ordering::Acquire) {
            let mut database = inner.database.write().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have been first while this one waited for the lock.
            if inner.must_reopen.load(Ordering::Acquire) {
                // The file must be closed before it can be opened: its lock is the agent's own.
                database.take();
                *database = Some((inner.reopen)()?);
                inner.must_reopen.store(false, Ordering::Release);
                tracing::warn!("the store is open again after an input/output error");
            }
        }
        Ok(inner.database.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A transaction whose commit returns when the disk has it.
///
/// Two-phase: a second sync, for which redb can tell a torn commit from a damaged one. With one phase it
/// would answer damage in the last commit by going back to the one before, silently, and tenants who know
/// what they store and when the agent dies could steer it.
pub(crate) fn begin_durable(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate).map_err(|error| StoreError::Unusable(error.into()))?;
    txn.set_two_phase_commit(true);
    Ok(txn)
}

/// Commits; an error leaves it open whether the change is there.
pub(crate) fn commit(txn: WriteTransaction) -> Result<(), StoreError> {
    txn.commit().map_err(|error| StoreError::OutcomeUnknown(error.into()))
}

fn closed() -> StoreError {
    StoreError::Unusable(redb::Error::DatabaseClosed)
}

fn needs_reopening(error: &StoreError) -> bool {
    match error {
        StoreError::OutcomeUnknown(_) => true,
        StoreError::Unusable(error) => matches!(
            error,
            redb::Error::Io(_)
                | redb::Error::PreviousIo
                | redb::Error::DatabaseClosed
                | redb::Error::Corrupted(_)
        ),
        _ => false,
    }
}
