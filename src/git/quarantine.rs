//! The quarantine: the folder in which git keeps a pack until `pre-receive` has answered.
//!
//! Git does not remove it when a signal ends it. So each push holds a shared lock on its repository
//! (kept by the kernel, gone with the agent); whoever gets the exclusive one knows that no push is under
//! way there, and that what lies around was left behind.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// How the folder's name begins, within `REPOSITORY/objects`.
pub const NAME_PREFIX: &str = "tmp_objdir-incoming-";

/// Folders within `refs` that are looked through for left lock files.
const REF_DEPTH_MAX: usize = 32;

/// Whether `quarantine` is a quarantine of `repository`: a real folder of the right name, directly inside
/// its `objects`.
pub fn belongs_to(quarantine: &Path, repository: &Path) -> bool {
    let named = quarantine
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix(NAME_PREFIX))
        .is_some_and(|random| !random.is_empty() && random.bytes().all(|b| b.is_ascii_alphanumeric()));
    let same_place = || -> io::Result<bool> {
        let holder = fs::metadata(quarantine.parent().unwrap_or(quarantine))?;
        let objects = fs::metadata(repository.join("objects"))?;
        let is_folder = fs::symlink_metadata(quarantine)?.is_dir();
        Ok(is_folder && (holder.dev(), holder.ino()) == (objects.dev(), objects.ino()))
    };
    named && same_place().unwrap_or(false)
}

/// Removes every left quarantine and lock file of `repository`, unless a push is under way there.
/// Returns how many there were.
pub fn sweep(repository: &Path) -> io::Result<usize> {
    match Flock::lock(File::open(repository)?, FlockArg::LockExclusiveNonblock) {
        Ok(_held) => {
            let mut left = quarantines_in(repository)?;
            left.extend(locks_in(repository)?);
            left.iter().try_for_each(|path| remove(path))?;
            Ok(left.len())
        }
        Err(_push_under_way) => Ok(0),
    }
}

/// Held while a push runs in a repository.
#[derive(Debug)]
pub(crate) struct PushLock {
    lock: Flock<File>,
    repository: PathBuf,
}

impl PushLock {
    /// Waits out a sweep, then holds the repository together with the other pushes.
    pub(crate) fn shared(repository: &Path) -> io::Result<Self> {
        let lock = Flock::lock(File::open(repository)?, FlockArg::LockShared).map_err(|(_, errno)| errno)?;
        Ok(Self { lock, repository: repository.to_owned() })
    }

    /// Ends the hold of a push that was cut off. The last push of the repository to end removes what all
    /// of them have left.
    pub(crate) fn release_aborted(self) {
        for path in self.left(true) {
            report(&path, remove(&path));
        }
    }

    /// Ends the hold, without keeping an async thread waiting for the disk. `aborted` as above; a push that
    /// ended by itself has no lock files to look for, but another one may have left its quarantine.
    pub(crate) async fn release(self, aborted: bool) {
        for path in self.left(aborted) {
            let removed = if path.is_dir() {
                tokio::fs::remove_dir_all(&path).await
            } else {
                tokio::fs::remove_file(&path).await
            };
            report(&path, gone_is_fine(removed));
        }
    }

    fn left(&self, locks_too: bool) -> Vec<PathBuf> {
        if self.lock.relock(FlockArg::LockExclusiveNonblock).is_err() {
            // Another push is under way, and cleans up after us.
            return Vec::new();
        }
        let mut left = quarantines_in(&self.repository).unwrap_or_default();
        if locks_too {
            left.extend(locks_in(&self.repository).unwrap_or_default());
        }
        left
    }
}

fn report(path: &Path, removed: io::Result<()>) {
    match removed {
        Ok(()) => tracing::debug!(path = %path.display(), "removed what an aborted push left"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "left by an aborted push, not removed"),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    gone_is_fine(if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) })
}

fn gone_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn quarantines_in(repository: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository.join("objects"))? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(NAME_PREFIX.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Lock files: one that is left refuses every later push to the same ref.
fn locks_in(repository: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in ["HEAD.lock", "packed-refs.lock", "shallow.lock", "config.lock"] {
        let path = repository.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            found.push(path);
        }
    }
    ref_locks(&repository.join("refs"), REF_DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn ref_locks(folder: &Path, depth_left: usize, left: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if depth_left > 0 {
                ref_locks(&entry.path(), depth_left - 1, left)?;
            }
        } else if entry.file_name().as_encoded_bytes().ends_with(b".lock") {
            left.push(entry.path());
        }
    }
    Ok(())
}
