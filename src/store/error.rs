//! What can go wrong with the store: one variant for each thing that the caller or the operator would do
//! something different about.

use std::{io, path::PathBuf};

use crate::record::RecordError;

/// Why a verb, or the opening, failed. Never holds a config value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something of that name is there already.
    #[error("{what} {name} exists already")]
    Exists {
        /// What kind of thing: `app`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Nothing of that name is there.
    #[error("no such {what}: {name}")]
    NotFound {
        /// What kind of thing: `app`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// The change does not fit what is recorded; nothing was changed.
    #[error("{what} {name} cannot be changed like that: {why}")]
    Conflict {
        /// What kind of thing: `deployment`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What does not fit.
        why: String,
    },
    /// The write failed at a moment when it may or may not have become durable. The store reopens itself
    /// at the next verb; ask it what is there, or repeat the verb where that is harmless.
    #[error("writing to the store failed, and whether the change is kept is not known before the next read")]
    OutcomeUnknown(#[source] redb::Error),
    /// Reading failed, or a write failed before anything could become durable.
    #[error("the store cannot be used")]
    Unusable(#[source] redb::Error),
    /// A stored record cannot be read.
    #[error("the record {key} in table {table} of the store cannot be read")]
    Record {
        /// The table.
        table: &'static str,
        /// The key of the record.
        key: String,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// A sealed value does not open: it is damaged, or was put in another one's place.
    #[error("the encrypted {what} of {name} does not open: it is damaged or belongs to something else")]
    Unsealable {
        /// What it should be: `config`.
        what: &'static str,
        /// Whose it should be.
        name: String,
    },
    /// The crypto library or the system's random numbers failed.
    #[error("encrypting or decrypting failed")]
    Crypto,
    /// Another process has the store open.
    #[error("another agent uses {}: stop it first, or set another data_dir", .dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The store file is not what the agent last wrote.
    #[error(
        "the store {} is damaged: {why}; it was left as it is: restore it from a backup together with its key file",
        .path.display()
    )]
    Damaged {
        /// The store file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The store file was written by a newer agent.
    #[error("the store {} was written by a newer agent (layout {found}, this one knows {known}): install that version again", .path.display())]
    TooNew {
        /// The store file.
        path: PathBuf,
        /// The layout that it has.
        found: u16,
        /// The newest layout that this agent knows.
        known: u16,
    },
    /// The store is there and its key file is not.
    #[error(
        "the key file {} of the store is missing: restore it from a backup; without it the config of the apps cannot be decrypted",
        .path.display()
    )]
    KeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// The key file does not hold a key.
    #[error(
        "the key file {} is damaged: it holds {found} bytes, a key has {expected}: restore it from a backup",
        .path.display()
    )]
    KeyWrongSize {
        /// The key file.
        path: PathBuf,
        /// Bytes that it holds.
        found: u64,
        /// Bytes of a key.
        expected: usize,
    },
    /// The key file holds the key of another store.
    #[error(
        "the key file {} does not belong to the store {}: restore the one that does from a backup",
        .key_file.display(), .store.display()
    )]
    KeyForeign {
        /// The key file.
        key_file: PathBuf,
        /// The store file.
        store: PathBuf,
    },
    /// Others than its owner can read or write the key file.
    #[error(
        "the key file {path} can be used by others (mode {mode:04o}): run chmod 600 {path}",
        path = .path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file operation at opening failed.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// What was tried: `read the key file`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The agent is stopping, so that the verb was not begun.
    #[error("the agent is stopping")]
    Stopping,
}

impl StoreError {
    pub(crate) fn exists(what: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::Exists { what, name: name.to_string() }
    }

    pub(crate) fn not_found(what: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }

    pub(crate) fn conflict(
        what: &'static str,
        name: &(impl ToString + ?Sized),
        why: impl Into<String>,
    ) -> Self {
        Self::Conflict { what, name: name.to_string(), why: why.into() }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn is_no_space(&self) -> bool {
        let io = match self {
            Self::OutcomeUnknown(redb::Error::Io(io)) | Self::Unusable(redb::Error::Io(io)) => io,
            Self::File { source, .. } => source,
            _ => return false,
        };
        matches!(
            io.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// Everything that redb reports before a commit leaves the store as it was.
macro_rules! unusable_from {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Unusable(error.into())
            }
        })*
    };
}

unusable_from!(redb::StorageError, redb::TableError, redb::TransactionError);
