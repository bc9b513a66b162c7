//! The bare repositories: where they are, how they come to be, and how they go.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use autostack_domain::{AppName, CommitId, RefName};
use nix::unistd::syncfs;

use crate::{libgit, quarantine};

/// How the name of a folder begins that is still being made, or already being removed. No app name begins
/// with a dot.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// Something about a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The folder of the repositories cannot be made or read.
    #[error("folder of the repositories {path:?} cannot be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A repository cannot be made.
    #[error("repository of app {app} cannot be made")]
    Create {
        /// The app.
        app: AppName,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A repository cannot be removed.
    #[error("repository of app {app} cannot be removed")]
    Remove {
        /// The app.
        app: AppName,
        /// Why.
        source: io::Error,
    },
    /// A repository cannot be moved.
    #[error("repository of app {app} cannot be moved")]
    Rename {
        /// The app, by its old name.
        app: AppName,
        /// Why.
        source: io::Error,
    },
    /// A ref cannot be read.
    #[error("{name} of app {app} cannot be read")]
    ReadRef {
        /// The app.
        app: AppName,
        /// The ref.
        name: String,
        /// Why.
        source: git2::Error,
    },
    /// A ref names something else than was expected, or cannot be moved.
    #[error("{name} of app {app} cannot be moved")]
    MoveRef {
        /// The app.
        app: AppName,
        /// The ref.
        name: RefName,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// HEAD cannot be written.
    #[error("HEAD of app {app} cannot be set to {name}")]
    SetHead {
        /// The app.
        app: AppName,
        /// The branch that it should name.
        name: RefName,
        /// Why.
        source: io::Error,
    },
}

/// All bare repositories of the agent: `DIR/APP.git`. Cheap to clone; every method blocks for the disk.
#[derive(Debug, Clone)]
pub struct Repositories {
    dir: PathBuf,
    hooks_dir: PathBuf,
}

impl Repositories {
    /// Names the places; touches nothing. `dir` and `hooks_dir` are absolute.
    pub fn new(dir: impl Into<PathBuf>, hooks_dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), hooks_dir: hooks_dir.into() }
    }

    /// Where the hooks are installed, for [`SpawnOptions`](crate::SpawnOptions).
    pub fn hooks_dir(&self) -> &Path {
        &self.hooks_dir
    }

    /// Where the repository of an app is, or would be.
    pub fn path(&self, app: &AppName) -> PathBuf {
        self.dir.join(format!("{app}.git"))
    }

    /// Whether the app has a repository.
    pub fn exists(&self, app: &AppName) -> bool {
        self.path(app).join("HEAD").is_file()
    }

    /// Makes the app's repository unless it is there. It appears whole or not at all.
    pub fn ensure(&self, app: &AppName) -> Result<(), RepositoryError> {
        if self.exists(app) {
            return Ok(());
        }
        self.ensure_dir()?;
        let fresh = self.temporary(app);
        let made = init_bare(&fresh).and_then(|()| {
            match fs::rename(&fresh, self.path(app)) {
                // Another push made it meanwhile.
                Err(_) if self.exists(app) => Ok(fs::remove_dir_all(&fresh)?),
                other => Ok(other?),
            }
        });
        made.map_err(|source| {
            // Best effort: the error to tell is the first one, and a sweep comes by later.
            let _removed = fs::remove_dir_all(&fresh);
            RepositoryError::Create { app: app.clone(), source }
        })
    }

    /// Removes the app's repository if it is there. A push or fetch under way in it fails.
    pub fn remove(&self, app: &AppName) -> Result<(), RepositoryError> {
        let doomed = self.temporary(app);
        let removed = match fs::rename(self.path(app), &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => fs::remove_dir_all(&doomed),
        };
        removed.map_err(|source| RepositoryError::Remove { app: app.clone(), source })
    }

    /// Moves the repository of an app to another name, where none stands yet. One that is not there is fine.
    pub fn rename(&self, old: &AppName, new: &AppName) -> Result<(), RepositoryError> {
        match fs::rename(self.path(old), self.path(new)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RepositoryError::Rename { app: old.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// What a ref names; `None` if the ref or the repository is not there.
    pub fn head_of(&self, app: &AppName, name: &RefName) -> Result<Option<CommitId>, RepositoryError> {
        if !self.exists(app) {
            return Ok(None);
        }
        let found = libgit::init().and_then(|()| {
            let repository = git2::Repository::open_bare(self.path(app))?;
            match repository.refname_to_id(name.as_str()) {
                Ok(id) => Ok(id.to_string().parse().ok()),
                Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        });
        found.map_err(|source| RepositoryError::ReadRef { app: app.clone(), name: name.to_string(), source })
    }

    /// Moves a ref from `old`, null for none, to `new`, durably. One that names something else by now stays.
    pub fn move_ref(
        &self,
        app: &AppName,
        name: &RefName,
        old: &CommitId,
        new: &CommitId,
    ) -> Result<(), RepositoryError> {
        let path = self.path(app);
        let moved = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            libgit::init()?;
            let repository = git2::Repository::open_bare(&path)?;
            let id = git2::Oid::from_str(new.as_str())?;
            if old.is_null() {
                repository.reference(name.as_str(), id, false, "autostack")?;
            } else {
                let expected = git2::Oid::from_str(old.as_str())?;
                repository.reference_matching(name.as_str(), id, true, expected, "autostack")?;
            }
            Ok(syncfs(fs::File::open(&path)?)?)
        };
        moved().map_err(|source| RepositoryError::MoveRef { app: app.clone(), name: name.clone(), source })
    }

    /// Makes HEAD name a branch, which is what a clone checks out.
    pub fn set_head(&self, app: &AppName, name: &RefName) -> Result<(), RepositoryError> {
        let wanted = format!("ref: {name}\n");
        let head = self.path(app).join("HEAD");
        let set = || -> io::Result<()> {
            if fs::read(&head)? == wanted.as_bytes() {
                return Ok(());
            }
            write_beside(&head, wanted.as_bytes(), 0o644)
        };
        set().map_err(|source| RepositoryError::SetHead { app: app.clone(), name: name.clone(), source })
    }

    /// Removes what pushes left behind that were cut off: quarantines, lock files, half-made repositories.
    /// A repository with a push under way is left alone. To be called at start; returns how many there were.
    pub fn sweep_quarantines(&self) -> Result<usize, RepositoryError> {
        let fail = |source| RepositoryError::Folder { path: self.dir.clone(), source };
        self.ensure_dir()?;
        let mut swept = 0;
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let removed = if name.starts_with(TEMPORARY_PREFIX.as_bytes()) {
                fs::remove_dir_all(&path).map(|()| 1)
            } else if name.ends_with(b".git") {
                quarantine::sweep(&path)
            } else {
                Ok(0)
            };
            match removed {
                Ok(count) => swept += count,
                // One bad repository must not keep the agent from starting.
                Err(error) => tracing::warn!(path = %path.display(), %error, "repository cannot be swept"),
            }
        }
        Ok(swept)
    }

    /// As [`sweep_quarantines`](Self::sweep_quarantines), for one app.
    pub fn sweep_quarantines_of(&self, app: &AppName) -> Result<usize, RepositoryError> {
        let path = self.path(app);
        quarantine::sweep(&path).map_err(|source| RepositoryError::Folder { path, source })
    }

    fn ensure_dir(&self) -> Result<(), RepositoryError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|source| RepositoryError::Folder { path: self.dir.clone(), source })
    }

    fn temporary(&self, app: &AppName) -> PathBuf {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{TEMPORARY_PREFIX}{app}-{}-{number}", process::id()))
    }
}

fn init_bare(path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    libgit::init()?;
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).no_reinit(true).mkdir(true).external_template(false).initial_head("main");
    git2::Repository::init_opts(path, &options)?;
    // On disk before it gets its name: half a repository would refuse every push after a power cut.
    for part in ["HEAD", "config", "."] {
        fs::File::open(path.join(part))?.sync_all()?;
    }
    Ok(())
}

/// Writes a file beside its place, syncs it and renames it, so that a reader sees the old or the new one.
pub(crate) fn write_beside(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}-{number}.new", process::id()));
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        io::Write::write_all(&mut file, content)?;
        // The mode again: the one given to open is cut by the umask.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().inspect_err(|_| {
        let _removed = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repositories() -> (tempfile::TempDir, Repositories, AppName) {
        let dir = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(dir.path().join("repos"), dir.path().join("hooks"));
        (dir, repositories, "shop".parse().unwrap())
    }

    #[test]
    fn a_repository_is_made_once_and_removed() {
        let (_dir, repositories, app) = repositories();
        assert!(!repositories.exists(&app));
        repositories.ensure(&app).unwrap();
        let marker = repositories.path(&app).join("marker");
        fs::write(&marker, "").unwrap();
        repositories.ensure(&app).unwrap();
        assert!(repositories.exists(&app) && marker.exists(), "what is there is left alone");
        repositories.remove(&app).unwrap();
        repositories.remove(&app).unwrap();
        assert!(!repositories.exists(&app));
        assert_eq!(fs::read_dir(&repositories.dir).unwrap().count(), 0, "nothing left beside");
    }

    #[test]
    fn many_first_pushes_at_once_make_one_repository() {
        let (_dir, repositories, app) = repositories();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| repositories.ensure(&app).unwrap());
            }
        });
        assert_eq!(fs::read_dir(&repositories.dir).unwrap().count(), 1);
    }

    #[test]
    fn head_names_the_branch_that_it_was_set_to() {
        let (_dir, repositories, app) = repositories();
        repositories.ensure(&app).unwrap();
        let head = repositories.path(&app).join("HEAD");
        assert_eq!(fs::read_to_string(&head).unwrap(), "ref: refs/heads/main\n");
        let trunk: RefName = "refs/heads/trunk".parse().unwrap();
        repositories.set_head(&app, &trunk).unwrap();
        assert_eq!(fs::read_to_string(&head).unwrap(), "ref: refs/heads/trunk\n");
        assert_eq!(repositories.head_of(&app, &trunk).unwrap(), None);
        let missing: AppName = "missing".parse().unwrap();
        assert_eq!(repositories.head_of(&missing, &trunk).unwrap(), None);
        assert!(repositories.set_head(&missing, &trunk).is_err());
    }
}
