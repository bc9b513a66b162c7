//! Opening: the first start makes the key file and the store file; a later one checks that both are whole
//! and belong together.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError};

use crate::{
    error::StoreError,
    key_file::{self, KeyBytes, file_error, parent, remove_if_there, sync_dir, with_suffix},
    seal::{Belonging, Sealer},
    store::{Store, begin_durable, commit},
    tables,
};

/// What redb keeps in memory. A host's whole state is a few MiB, and an idle agent shall stay small.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

const LAYOUT_KEY: &str = "layout";
const KEY_CHECK: &str = "key_check";
const KEY_CHECK_TEXT: &[u8] = b"this key belongs to this store";

pub(crate) fn open(path: &Path, key_file: &Path) -> Result<Store, StoreError> {
    let dir = parent(path);
    key_file::create_private_dir(&dir)?;
    let _one_at_a_time = lock_dir(&dir)?;
    let sealer = if exists(path)? {
        let key = key_file::read(key_file)?;
        let key = key.ok_or_else(|| StoreError::KeyMissing { path: key_file.to_owned() })?;
        Sealer::new(&key)?
    } else {
        let sealer = {
            let key = first_key(key_file)?;
            Sealer::new(&key)?
        };
        create_file(path, &dir, &sealer)?;
        sealer
    };
    let database = open_file(path)?;
    check(&database, &sealer, path, key_file)?;
    add_missing_tables(&database)?;
    let again = path.to_owned();
    Ok(Store::new(database, sealer, Box::new(move || open_file(&again))))
}

/// Two agents that start at the same moment must not both make a store. The lock ends with the opening;
/// from then on redb's own lock on the file keeps the second one out.
fn lock_dir(dir: &Path) -> Result<File, StoreError> {
    let file = File::open(dir).map_err(|source| file_error("open the directory", dir, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(file_error("lock the directory", dir, source)),
    }
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| file_error("look for", path, source))
}

/// The key of a store that is about to be made. One that is there was left by a first start that did not
/// get further, or put there by the operator.
fn first_key(key_file: &Path) -> Result<KeyBytes, StoreError> {
    match key_file::read(key_file)? {
        Some(key) => {
            tracing::warn!(key_file = %key_file.display(), "no store is there yet; a new one uses the key that is");
            Ok(key)
        }
        None => key_file::create(key_file),
    }
}

/// Makes an empty store beside and renames it, so that a crash leaves a whole store or none.
fn create_file(path: &Path, dir: &Path, sealer: &Sealer) -> Result<(), StoreError> {
    let beside = with_suffix(path, ".new");
    let failed = |source| file_error("make the store", path, source);
    remove_if_there(&beside).map_err(failed)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    let database = builder().create(&beside).map_err(|error| opening_error(error, &beside))?;
    initialise(&database, sealer)?;
    drop(database);
    File::open(&beside).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    sync_dir(dir)
}

/// Writes what every store holds from the beginning.
pub(crate) fn initialise(database: &Database, sealer: &Sealer) -> Result<(), StoreError> {
    let txn = begin_durable(database)?;
    tables::create_all(&txn)?;
    {
        let mut meta = txn.open_table(tables::META)?;
        meta.insert(LAYOUT_KEY, tables::LAYOUT.to_be_bytes().as_slice())?;
        meta.insert(KEY_CHECK, sealer.seal(Belonging::KeyCheck, KEY_CHECK_TEXT)?.as_slice())?;
    }
    commit(txn)
}

/// An older agent of the same layout may have made the store when there were fewer tables.
fn add_missing_tables(database: &Database) -> Result<(), StoreError> {
    let txn = begin_durable(database)?;
    let before = txn.list_tables()?.count();
    tables::create_all(&txn)?;
    if txn.list_tables()?.count() == before { Ok(txn.abort()?) } else { commit(txn) }
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    builder().open(path).map_err(|error| opening_error(error, path))
}

/// The settings that every opening shares.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // The check reads the whole file, which is small, and finds damage before it can be built upon.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

pub(crate) fn opening_error(error: DatabaseError, path: &Path) -> StoreError {
    let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { dir: parent(path) },
        DatabaseError::Storage(StorageError::Corrupted(why)) => damaged(why),
        DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(source.to_string()),
            _ => file_error("open the store", path, source),
        },
        DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_) => damaged(error.to_string()),
        other => StoreError::Unusable(other.into()),
    }
}

/// Whether the store is one of ours, of a layout that is known, and sealed with this key.
pub(crate) fn check(
    database: &Database,
    sealer: &Sealer,
    path: &Path,
    key_file: &Path,
) -> Result<(), StoreError> {
    let damaged = |why: &str| StoreError::Damaged { path: path.to_owned(), why: why.into() };
    let txn = database.begin_read()?;
    let meta = match txn.open_table(tables::META) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Err(damaged("it is not a store of autostack")),
        other => other?,
    };
    let layout =
        meta.get(LAYOUT_KEY)?.and_then(|bytes| bytes.value().try_into().ok().map(u16::from_be_bytes));
    match layout {
        Some(tables::LAYOUT) => {}
        Some(found) if found > tables::LAYOUT => {
            return Err(StoreError::TooNew { path: path.to_owned(), found, known: tables::LAYOUT });
        }
        _ => return Err(damaged("its layout is not recorded")),
    }
    let sealed = meta.get(KEY_CHECK)?.ok_or_else(|| damaged("its key check is missing"))?;
    match sealer.open(Belonging::KeyCheck, sealed.value()) {
        Ok(text) if text.as_slice() == KEY_CHECK_TEXT => Ok(()),
        _ => Err(StoreError::KeyForeign { key_file: key_file.to_owned(), store: path.to_owned() }),
    }
}
