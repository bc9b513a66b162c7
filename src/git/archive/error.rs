//! Why an archive does not become a commit.

use std::io;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read as what it is.
    #[error("the archive cannot be used: {why}")]
    Broken {
        /// What is wrong with it.
        why: String,
    },
    /// It holds what is not accepted from anybody.
    #[error("{path} of the archive is refused: {why}")]
    Refused {
        /// The name in the archive.
        path: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// It holds more than allowed.
    #[error("the archive has {what}, and the limit is {limit}")]
    OverLimit {
        /// What there is.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The objects cannot be written.
    #[error("the files of the archive cannot be kept")]
    Store(#[from] git2::Error),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl ArchiveError {
    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::Broken { why: why.into() }
    }

    pub(super) fn refused(path: &[u8], why: &'static str) -> Self {
        Self::Refused { path: String::from_utf8_lossy(path).into_owned(), why }
    }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<ArchiveError>() {
            // A reader of our own has said it already.
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::broken("it ends in the middle")
            }
            Err(error) => Self::broken(error.to_string()),
        }
    }
}
