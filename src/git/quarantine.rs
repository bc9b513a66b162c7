//! The quarantine: the folder in which git keeps a pack until `pre-receive` has answered.
//!
//! Git does not remove it when a signal ends it. So each push holds a shared lock on its repository,
//! kept by the kernel until the agent ends it, or until the agent and every process of the push are gone:
//! git may outlive an agent that was killed. Whoever gets the exclusive one knows that no push is under way
//! there, and that what lies around was left behind.
//!
//! Nobody waits for either lock inside the kernel. The exclusive one is held only while a thread of the
//! blocking pool removes what was left, never across an await.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::{
    process::Command,
    runtime::Handle,
    time::{Instant, sleep},
};

/// How the folder's name begins, within `REPOSITORY/objects`.
pub const NAME_PREFIX: &str = "tmp_objdir-incoming-";

/// How long a push waits at most for a sweep of its repository: the time to remove a few full packs.
pub(crate) const SWEEP_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks whether the sweep is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

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
/// Returns how many there were; where some could not be removed, the first error.
pub fn sweep(repository: &Path) -> io::Result<usize> {
    remove_left(repository, true)
}

/// What lies around may belong to pushes under way: so a look without the lock is enough only where there
/// is nothing, and spares the pushes that begin meanwhile the wait.
fn remove_left(repository: &Path, locks_too: bool) -> io::Result<usize> {
    if left_in(repository, locks_too)?.is_empty() {
        return Ok(0);
    }
    let Some(_alone) = Alone::try_in(repository)? else { return Ok(0) };
    let left = left_in(repository, locks_too)?;
    let mut first_error = None;
    for path in &left {
        match remove(path) {
            Ok(()) => tracing::debug!(path = %path.display(), "removed what an aborted push left"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "left by an aborted push, not removed");
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(left.len()), Err)
}

/// Held while nobody else may use a repository.
struct Alone(File);

impl Alone {
    /// `None` if a push is under way, or somebody else sweeps.
    fn try_in(repository: &Path) -> io::Result<Option<Self>> {
        let lock = File::open(repository)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self(lock))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Closing is not enough: a child that is just being started may have a copy until it executes.
        let _unlocked = self.0.unlock();
    }
}

/// Held while a push runs in a repository. Dropped without a release, it ends with the last descriptor.
#[derive(Debug)]
pub(crate) struct PushLock {
    lock: File,
    repository: PathBuf,
}

impl PushLock {
    /// Holds the repository together with the other pushes. Fails with [`io::ErrorKind::WouldBlock`] while
    /// it is swept.
    pub(crate) fn try_shared(repository: &Path) -> io::Result<Self> {
        let lock = File::open(repository)?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self { lock, repository: repository.to_owned() }),
            Err(TryLockError::WouldBlock) => {
                let why = "what cut-off pushes have left there is being removed";
                Err(io::Error::new(io::ErrorKind::WouldBlock, why))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits out a sweep, `patience` at most, then holds the repository together with the other pushes.
    /// No thread is kept waiting.
    pub(crate) async fn shared(repository: &Path, patience: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + patience;
        loop {
            let path = repository.to_owned();
            let tried = Handle::current().spawn_blocking(move || Self::try_shared(&path)).await;
            match tried.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    sleep(LOOK_EVERY).await;
                }
                done => return done,
            }
        }
    }

    /// Hands the lock down to `command` and to whatever that starts.
    pub(crate) fn hand_down(&self, command: &mut Command) -> io::Result<()> {
        let inherited = self.lock.try_clone()?;
        let keep = move || {
            fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        };
        // SAFETY: it runs between fork and exec, and makes one system call (fcntl, async-signal-safe) on a
        // descriptor that the closure owns; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(keep) };
        Ok(())
    }

    /// Ends the hold. The last push of the repository to end removes what all of them have left. One that
    /// was not `aborted` has no lock files to look for, but another one may have left its quarantine. Goes
    /// on to its end if the future is dropped.
    pub(crate) async fn release(self, aborted: bool) {
        // An error means that the runtime goes down: the sweep at the next start comes by.
        let _ended = Handle::current().spawn_blocking(move || self.release_now(aborted)).await;
    }

    /// Ends the hold of an aborted push without waiting for it; inside a runtime, its workers do not wait
    /// for the disk.
    pub(crate) fn release_in_background(self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || self.release_now(true))),
            Err(_no_runtime) => self.release_now(true),
        }
    }

    fn release_now(self, aborted: bool) {
        // By word, not by closing: whoever of the push was killed just now may not be gone yet.
        if let Err(error) = self.lock.unlock().and_then(|()| remove_left(&self.repository, aborted))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(repository = %self.repository.display(), %error, "repository cannot be swept");
        }
    }
}

fn left_in(repository: &Path, locks_too: bool) -> io::Result<Vec<PathBuf>> {
    let mut left = quarantines_in(repository)?;
    if locks_too {
        left.extend(locks_in(repository)?);
    }
    Ok(left)
}

fn remove(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    match if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Service, SpawnError, SpawnOptions, service,
        testing::{PATIENCE, World},
    };

    /// What a sweep would remove.
    fn leave(world: &World) -> PathBuf {
        let left = world.bare().join("objects").join(format!("{NAME_PREFIX}Abc123"));
        fs::create_dir_all(left.join("pack")).unwrap();
        left
    }

    fn spawn(world: &World) -> Result<service::GitChild, SpawnError> {
        service::spawn(Service::ReceivePack, &world.bare(), &SpawnOptions::default())
    }

    // One thread runs all of it: a push that waited in the kernel would wait for ever.
    #[tokio::test]
    async fn a_push_waits_out_a_sweep_without_keeping_a_worker() {
        let world = World::new();
        let alone = Alone::try_in(&world.bare()).unwrap().unwrap();
        let refused = spawn(&world).unwrap_err();
        assert!(matches!(refused, SpawnError::Repository { .. }), "{refused:?}");
        let impatient = PushLock::shared(&world.bare(), LOOK_EVERY).await.unwrap_err();
        assert_eq!(impatient.kind(), io::ErrorKind::WouldBlock);

        let (bare, options) = (world.bare(), SpawnOptions::default());
        let starting = service::start(Service::ReceivePack, &bare, &options);
        tokio::pin!(starting);
        let early = tokio::time::timeout(5 * LOOK_EVERY, &mut starting).await;
        assert!(early.is_err(), "it waits, and the timer fires: {early:?}");
        drop(alone);
        let mut child = tokio::time::timeout(PATIENCE, starting).await.unwrap().unwrap();
        assert!(Alone::try_in(&bare).unwrap().is_none(), "the push holds the repository");
        child.kill_tree().await;
        assert!(Alone::try_in(&bare).unwrap().is_some());
    }

    #[tokio::test]
    async fn pushes_do_not_wait_for_each_other() {
        let world = World::new();
        let (first, second) = (spawn(&world).unwrap(), spawn(&world).unwrap());
        let left = leave(&world);
        for (mut child, is_last) in [(first, false), (second, true)] {
            child.kill_tree().await;
            assert_eq!(left.exists(), !is_last);
        }
    }

    #[test]
    fn a_dropped_push_is_cleaned_up_by_the_blocking_pool() {
        let world = World::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let child = spawn(&world).unwrap();
            let left = leave(&world);
            let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
            let busy = Handle::current().spawn_blocking(move || wait.recv());
            drop(child);
            assert!(left.exists(), "the pool has not come to it yet");
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            // The only thread of the pool takes one after the other.
            Handle::current().spawn_blocking(|| ()).await.unwrap();
            assert!(!left.exists());
        });
        // Without a runtime, who drops it does it.
        let child = runtime.block_on(async { spawn(&world).unwrap() });
        let left = leave(&world);
        drop(child);
        assert!(!left.exists());
    }

    /// As when the agent is killed: its descriptors are closed, and nothing else happens.
    fn die_holding(child: &mut service::GitChild) {
        drop(child.take_lock().unwrap());
    }

    #[tokio::test]
    async fn a_git_that_outlives_the_agent_keeps_its_quarantine() {
        let world = World::new();
        let mut child = spawn(&world).unwrap();
        let left = leave(&world);
        die_holding(&mut child);
        assert_eq!(sweep(&world.bare()).unwrap(), 0, "git lives");
        assert!(left.exists());
        // Others may push meanwhile, and leave it alone too.
        let mut other = spawn(&world).unwrap();
        other.kill_tree().await;
        assert!(left.exists());

        drop(child.stdin.take());
        tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert_eq!(sweep(&world.bare()).unwrap(), 1);
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn only_the_git_of_a_push_inherits_its_lock() {
        let world = World::new();
        let mut push = spawn(&world).unwrap();
        let mut fetch = service::spawn(Service::UploadPack, &world.bare(), &SpawnOptions::default()).unwrap();
        let descriptors = |child: &service::GitChild| -> Vec<PathBuf> {
            let entries = fs::read_dir(format!("/proc/{}/fd", child.pid())).unwrap();
            entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect()
        };
        let holds = |child| descriptors(child).iter().filter(|path| **path == world.bare()).count();
        assert_eq!((holds(&push), holds(&fetch)), (1, 0));
        push.kill_tree().await;
        fetch.kill_tree().await;
    }
}
