//! What can fail in a log, with the file that it failed on.

use std::{io, path::PathBuf};

/// A log operation that failed. The stream stays as it was before the call.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A folder of logs could not be listed or made.
    #[error("open log folder {path}")]
    OpenFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment could not be opened, or its torn tail not cut off.
    #[error("open log segment {path}")]
    OpenSegment {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment could not be read.
    #[error("read log segment {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Lines could not be written; none of them is in the log.
    #[error("write log segment {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why; see [`LogError::is_no_space`].
        source: io::Error,
    },
    /// A log could not be removed.
    #[error("remove log {path}")]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log was sealed: nothing is added to it any more.
    #[error("log {path} is sealed")]
    Sealed {
        /// The stream's folder.
        path: PathBuf,
    },
    /// The log was removed, with its app or deployment.
    #[error("log {path} was removed")]
    Removed {
        /// The stream's folder.
        path: PathBuf,
    },
}

impl LogError {
    /// Whether the disk, the quota or the file size limit is exhausted: the same call works once there is
    /// space again.
    pub fn is_no_space(&self) -> bool {
        let Some(source) = self.io() else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }

    fn io(&self) -> Option<&io::Error> {
        match self {
            LogError::OpenFolder { source, .. }
            | LogError::OpenSegment { source, .. }
            | LogError::Read { source, .. }
            | LogError::Write { source, .. }
            | LogError::Remove { source, .. } => Some(source),
            LogError::Sealed { .. } | LogError::Removed { .. } => None,
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> io::Error {
        let kind = match &error {
            LogError::Sealed { .. } => io::ErrorKind::PermissionDenied,
            LogError::Removed { .. } => io::ErrorKind::NotFound,
            other => other.io().map_or(io::ErrorKind::Other, io::Error::kind),
        };
        io::Error::new(kind, error)
    }
}
