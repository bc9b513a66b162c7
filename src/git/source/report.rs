//! What an inspection says: the report, the limits it was held to, and why it was refused.

use std::{io, path::PathBuf};

use autostack_domain::{CommitId, Failure, FailureKind, Stage, limits};
use git2::Oid;

use crate::command::GitMissing;

/// What one commit may hold. [`Default`] is what [`autostack_domain::limits`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimits {
    /// Files, symbolic links included; and as many folders.
    pub files_max: u64,
    /// Bytes of all files together.
    pub bytes_max: u64,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of one path.
    pub path_bytes_max: usize,
    /// Folders within folders.
    pub depth_max: usize,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            files_max: limits::SOURCE_FILES_MAX,
            bytes_max: limits::SOURCE_BYTES_MAX,
            file_bytes_max: limits::OBJECT_BYTES_MAX,
            path_bytes_max: limits::SOURCE_PATH_BYTES_MAX,
            depth_max: limits::SOURCE_DEPTH_MAX,
        }
    }
}

/// A commit that may be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// The commit; the tagged one where an annotated tag was looked through.
    pub commit: CommitId,
    /// The first line of its message, cut to [`SourceReport::SUBJECT_CHARS_MAX`]; any text at all.
    pub subject: String,
    /// Files in it, symbolic links included.
    pub files: u64,
    /// Bytes of its files together.
    pub bytes: u64,
    /// Submodules that are to be fetched into it.
    pub submodules: Vec<Submodule>,
    /// Plain sentences for the pusher: what is in the commit and is not supported.
    pub notes: Vec<String>,
    pub(super) tree: Oid,
}

/// A place in a commit where the files of another commit belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submodule {
    /// The place: a path of the commit, without a slash at either end.
    pub path: String,
    /// The other commit.
    pub commit: CommitId,
    /// Where `.gitmodules` says that it is, as it is written there.
    pub url: String,
}

impl SourceReport {
    /// Longer subjects are cut.
    pub const SUBJECT_CHARS_MAX: usize = 200;
}

/// Why a commit is not exported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The quarantine named is not one of the repository.
    #[error("{path:?} is not a quarantine of this repository")]
    ForeignQuarantine {
        /// What was named.
        path: PathBuf,
    },
    /// The repository cannot be opened.
    #[error("repository {path:?} cannot be opened")]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// An object is missing or broken.
    #[error("{what} cannot be read from the repository")]
    Read {
        /// The path in the commit, or the id.
        what: String,
        /// Why.
        source: git2::Error,
    },
    /// An object is not what the one that names it says.
    #[error("{what} is broken: {why}")]
    Broken {
        /// The path in the commit, or the id.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The commit holds what is not accepted from anybody.
    #[error("{path} is refused: {why}")]
    Refused {
        /// The path in the commit.
        path: String,
        /// The rule that it breaks.
        why: String,
    },
    /// The commit is larger than allowed.
    #[error("{what}, and the limit is {limit}")]
    OverLimit {
        /// What there is, as a sentence's head.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The destination is there and holds something.
    #[error("folder {path:?} is not empty")]
    NotEmpty {
        /// The destination.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The path in the commit, or the destination.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A large file cannot be read through git.
    #[error("{path} cannot be read through git")]
    BigFile {
        /// The path in the commit.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Git is not on this host.
    #[error(transparent)]
    GitMissing(#[from] GitMissing),
    /// The inspection or the export was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl From<SourceError> for Failure {
    /// The failure as the pusher reads it, at the stage `source`.
    fn from(error: SourceError) -> Failure {
        let (kind, hint) = match &error {
            SourceError::Refused { .. } => (
                FailureKind::BadSource,
                "change or remove it, commit, and push again (git commit --amend; git push --force)",
            ),
            SourceError::OverLimit { .. } => (
                FailureKind::OverLimit,
                "leave out what the app does not need to run (.gitignore; git rm -r --cached PATH), commit and push again",
            ),
            SourceError::Read { .. } | SourceError::Broken { .. } => {
                (FailureKind::BadSource, "check the repository with git fsck and push again")
            }
            SourceError::Write { source, .. } if is_disk_full(source) => {
                (FailureKind::DiskFull, "free space on the host (df -h, df -i) and push again")
            }
            SourceError::Cancelled => (FailureKind::Cancelled, "push again"),
            SourceError::GitMissing(_) => (FailureKind::MissingTool, "install git on the host"),
            SourceError::ForeignQuarantine { .. }
            | SourceError::Open { .. }
            | SourceError::NotEmpty { .. }
            | SourceError::Write { .. }
            | SourceError::BigFile { .. } => (FailureKind::Internal, "look at the log of the agent"),
        };
        let evidence = std::error::Error::source(&error).map(ToString::to_string);
        Failure::new(Stage::Source, kind, error.to_string()).evidence(evidence).hint(hint)
    }
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A path of a commit as text; bytes that are not UTF-8 are replaced.
pub(super) fn spoken(path: &[u8]) -> String {
    if path.is_empty() { "the commit's folder".into() } else { String::from_utf8_lossy(path).into_owned() }
}

/// A number of bytes as a person says it.
pub(crate) fn spoken_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) if bytes.is_multiple_of(size) => format!("{} {unit}", bytes / size),
        Some((unit, size)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_kind_they_are() {
        let write =
            |errno: i32| SourceError::Write { path: "a".into(), source: io::Error::from_raw_os_error(errno) };
        let full = Failure::from(write(28));
        assert_eq!((full.stage, full.kind), (Stage::Source, FailureKind::DiskFull));
        assert_eq!(Failure::from(write(13)).kind, FailureKind::Internal);
        assert!(full.evidence[0].contains("No space left"), "{:?}", full.evidence);
        assert_eq!(Failure::from(SourceError::Cancelled).kind, FailureKind::Cancelled);
    }

    #[test]
    fn bytes_are_said_in_the_unit_that_fits() {
        let said = [0, 1023, 1024, 1536, 100 << 20, (2 << 30) + (1 << 29)].map(spoken_bytes);
        assert_eq!(said, ["0 bytes", "1023 bytes", "1 KiB", "1.5 KiB", "100 MiB", "2.5 GiB"]);
    }
}
