//! Objects that the agent itself brings into a repository: kept apart, as git keeps those of a push, until it is
//! decided that they stay.
//!
//! The folder is a quarantine like any other, so [`Source`](crate::Source) reads it and a sweep after a crash finds
//! it. It is a bare repository at the same time: its `objects` leads to the folder itself, and the objects of the
//! app's repository are its alternates. So git and libgit2 write into it without a word about it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::unistd::syncfs;

use crate::{
    libgit,
    quarantine::{NAME_PREFIX, PushLock, SWEEP_PATIENCE},
};

/// Names that are tried for the folder, where earlier agents left theirs.
const TRIES_MAX: usize = 1_000;

/// The folder, until it is dropped.
#[derive(Debug)]
pub struct Incoming {
    repository: PathBuf,
    dir: PathBuf,
    lock: Option<PushLock>,
}

impl Incoming {
    /// Makes the folder in a bare repository, an absolute path; waits until nobody sweeps there, ten seconds at most.
    ///
    /// # Errors
    /// The repository is not there, or the folder cannot be made.
    pub async fn begin(repository: &Path) -> io::Result<Self> {
        let lock = PushLock::shared(repository, SWEEP_PATIENCE).await?;
        Self::make(repository, lock)
    }

    fn make(repository: &Path, lock: PushLock) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let objects = repository.join("objects");
        for _ in 0..TRIES_MAX {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let dir = objects.join(format!("{NAME_PREFIX}own{}x{number}", process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let made = Self { repository: repository.to_owned(), dir, lock: Some(lock) };
                    made.furnish(&objects)?;
                    return Ok(made);
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many folders of that kind were left behind"))
    }

    fn furnish(&self, objects: &Path) -> io::Result<()> {
        for folder in ["info", "pack", "refs"] {
            fs::create_dir(self.dir.join(folder))?;
        }
        symlink(".", self.dir.join("objects"))?;
        fs::write(self.dir.join("HEAD"), "ref: refs/heads/none\n")?;
        fs::write(self.dir.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
        let mut alternate = objects.as_os_str().as_encoded_bytes().to_owned();
        alternate.push(b'\n');
        fs::write(self.dir.join("info/alternates"), alternate)
    }

    /// The folder: a quarantine of the repository, and a bare repository itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The repository that the objects are for.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// A file without a name, for what has to be read more than once; gone when it is closed.
    pub fn spool(&self) -> io::Result<File> {
        let path = self.dir.join("spool");
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    /// Opens the folder to write objects into it.
    pub(crate) fn open(&self) -> Result<git2::Repository, git2::Error> {
        libgit::init()?;
        git2::Repository::open_bare(&self.dir)
    }

    /// Moves the objects into the repository, durably; only then may a ref name them. Whoever moves the ref keeps this
    /// until then: a sweep, which would take the ref's lock for a left one, stays away as long as it is there.
    ///
    /// # Errors
    /// Something could not be moved. What was moved so far is named by no ref, and harms nobody.
    pub fn accept(&self) -> io::Result<()> {
        let objects = self.repository.join("objects");
        syncfs(File::open(&self.dir)?)?;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if is_fan_out(&entry.file_name()) && entry.file_type()?.is_dir() {
                move_all(&entry.path(), &objects.join(entry.file_name()), |_| true)?;
            }
        }
        // A pack is seen by its index, which comes when the rest of it is there.
        let is_index = |name: &OsStr| name.as_encoded_bytes().ends_with(b".idx");
        move_all(&self.dir.join("pack"), &objects.join("pack"), |name| !is_index(name))?;
        move_all(&self.dir.join("pack"), &objects.join("pack"), is_index)?;
        syncfs(File::open(&objects)?)?;
        Ok(())
    }
}

/// Two digits: the folder of the loose objects whose ids begin with them.
fn is_fan_out(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit)
}

fn move_all(from: &Path, to: &Path, takes: impl Fn(&OsStr) -> bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if takes(&name) && entry.file_type()?.is_file() && !name.as_encoded_bytes().starts_with(b"tmp_") {
            // An object that is there already is the same one.
            fs::rename(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(path = %self.dir.display(), %error, "objects that nobody wants are removed later");
        }
        if let Some(lock) = self.lock.take() {
            lock.release_in_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, SourceLimits, testing::World};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn objects_are_seen_from_outside_only_once_they_are_accepted() {
        let world = World::new();
        let incoming = Incoming::begin(&world.bare()).await.unwrap();
        let repository = incoming.open().unwrap();
        let blob = repository.blob(b"hello").unwrap();
        let mut tree = repository.treebuilder(None).unwrap();
        tree.insert("a", blob, 0o100_644).unwrap();
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        let ada = git2::Signature::new("Ada", "ada@shop.test", &git2::Time::new(1, 0)).unwrap();
        let commit = repository.commit(None, &ada, &ada, "hello", &tree, &[]).unwrap();
        let id = commit.to_string().parse().unwrap();

        let limits = SourceLimits::default();
        let inside = Source::open(&world.bare(), Some(incoming.path())).unwrap();
        assert_eq!(inside.inspect(&id, &limits).unwrap().files, 1);
        assert!(Source::open(&world.bare(), None).unwrap().inspect(&id, &limits).is_err());
        let dir = incoming.path().to_owned();
        incoming.accept().unwrap();
        drop(incoming);
        assert!(!dir.exists());
        assert_eq!(Source::open(&world.bare(), None).unwrap().inspect(&id, &limits).unwrap().files, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_accepted_leaves_nothing() {
        let world = World::new();
        let before = fs::read_dir(world.bare().join("objects")).unwrap().count();
        let incoming = Incoming::begin(&world.bare()).await.unwrap();
        incoming.open().unwrap().blob(b"hello").unwrap();
        drop(incoming);
        assert_eq!(fs::read_dir(world.bare().join("objects")).unwrap().count(), before);
    }
}
