//! A pushed commit as a source tree: looked through first, then written to disk.
//!
//! [`Source::open`] reads a repository and, before `pre-receive` has answered, the quarantine beside it.
//! [`Source::inspect`] walks the commit's trees without reading the files, holds it to the limits and
//! refuses what git's own checks let pass (threats C9 to C11). Only the [`SourceReport`] that it gives can
//! be handed to [`Source::export`].
//!
//! In reading order: `report` (what comes out), `objects` (commits and trees, raw), `rules` (names, modes,
//! symbolic links), `gitmodules`, `inspect`, `submodules`, `export`, `git_dir`, `big_file` (files too large for the agent's memory).
//! Everything here blocks; nothing here follows a symbolic link, runs a hook or fetches anything.

mod big_file;
mod export;
mod git_dir;
mod gitmodules;
mod inspect;
mod objects;
mod report;
pub(crate) mod rules;
mod submodules;

#[cfg(test)]
mod exports;
#[cfg(test)]
mod hostile;

use std::path::{Path, PathBuf};

use autostack_domain::CommitId;
use tokio_util::sync::CancellationToken;

use crate::quarantine;

pub(crate) use report::spoken_bytes;
pub use report::{SourceError, SourceLimits, SourceReport, Submodule};

/// The objects of one repository, with or without one push's quarantine.
pub struct Source {
    objects: objects::Objects,
    repository: PathBuf,
    quarantine: Option<PathBuf>,
}

/// As [`Source::open`].
pub fn open(repository: &Path, quarantine: Option<&Path>) -> Result<Source, SourceError> {
    Source::open(repository, quarantine)
}

impl Source {
    /// Opens a bare repository, an absolute path. A `quarantine` that is not one of this repository is
    /// refused.
    pub fn open(repository: &Path, quarantine: Option<&Path>) -> Result<Self, SourceError> {
        if let Some(path) = quarantine.filter(|path| !quarantine::belongs_to(path, repository)) {
            return Err(SourceError::ForeignQuarantine { path: path.to_owned() });
        }
        Ok(Self {
            objects: objects::Objects::open(repository, quarantine)?,
            repository: repository.to_owned(),
            quarantine: quarantine.map(Path::to_owned),
        })
    }

    /// Looks through a commit without writing anything: what is in it, or why it is refused. `commit` may
    /// be the id of an annotated tag; then the tagged commit is meant. Takes time and memory in proportion
    /// to the limits, not to what the commit claims to hold.
    pub fn inspect(&self, commit: &CommitId, limits: &SourceLimits) -> Result<SourceReport, SourceError> {
        self.inspect_until(commit, limits, &CancellationToken::new())
    }

    /// As [`inspect`](Self::inspect), for whoever may lose interest: ends soon after `cancel` is cancelled,
    /// with [`SourceError::Cancelled`]. The limits hold for one commit; a caller with many bounds the time
    /// of all of them by this.
    pub fn inspect_until(
        &self,
        commit: &CommitId,
        limits: &SourceLimits,
        cancel: &CancellationToken,
    ) -> Result<SourceReport, SourceError> {
        inspect::inspect(&self.objects, commit, limits, cancel)
    }

    /// Writes the tree of an inspected commit into `dest`, which is made, or is an empty folder. Files get
    /// the mode 0644 or 0755, folders 0755. Ends soon after `cancel` is cancelled. On an error `dest` is
    /// removed.
    pub fn export(
        &self,
        report: &SourceReport,
        dest: &Path,
        cancel: &CancellationToken,
    ) -> Result<(), SourceError> {
        export::export(self, report, dest, cancel)
    }

    /// Adds a `.git` folder to an exported commit: its history, and nothing else of the repository.
    pub fn add_git_dir(
        &self,
        report: &SourceReport,
        dest: &Path,
        cancel: &CancellationToken,
    ) -> Result<(), SourceError> {
        git_dir::write(self, report, dest, cancel)
    }
}
