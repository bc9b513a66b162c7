//! The key file: 32 random bytes that only the agent's user can read, made once and never replaced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::{error::StoreError, seal::KEY_BYTES};

/// The key itself; wiped when dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// Reads the key; `None` where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<KeyBytes>, StoreError> {
    let failed = |source| file_error("read the key file", path, source);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::KeyExposed { path: path.to_owned(), mode });
    }
    if metadata.len() != KEY_BYTES as u64 {
        let found = metadata.len();
        return Err(StoreError::KeyWrongSize { path: path.to_owned(), found, expected: KEY_BYTES });
    }
    let mut key = KeyBytes::default();
    file.read_exact(key.as_mut()).map_err(failed)?;
    Ok(Some(key))
}

/// Makes a new key. It is written beside, synced and renamed, so that the file is whole or not there.
pub(crate) fn create(path: &Path) -> Result<KeyBytes, StoreError> {
    let mut key = KeyBytes::default();
    rand::fill(key.as_mut()).map_err(|_| StoreError::Crypto)?;
    let failed = |source| file_error("write the key file", path, source);
    let dir = parent(path);
    create_private_dir(&dir)?;
    let beside = with_suffix(path, ".new");
    // What a crash left behind was never used.
    remove_if_there(&beside).map_err(failed)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(key.as_ref()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    sync_dir(&dir)?;
    Ok(key)
}

/// Makes a directory that only its owner can enter, and those above it.
pub(crate) fn create_private_dir(dir: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| file_error("make the directory", dir, source))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| file_error("sync the directory", dir, source))
}

/// The directory that a file is in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A name beside a file.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn file_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File { action, path: path.to_owned(), source }
}
