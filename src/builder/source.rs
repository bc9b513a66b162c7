//! The source tree as a recipe sees it: a few small files, read within bounds.
//!
//! The tree came from outside: nothing is reached through a symlink, only regular files are opened, and of
//! each file only so much is read.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// Bytes of a file that recipes look into; a larger one counts as not understood.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Entries of a folder that are listed.
const ENTRIES_MAX: usize = 2_000;

/// A source tree, opened once.
#[derive(Debug)]
pub(crate) struct Source {
    root: OwnedFd,
}

/// A file of the tree could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The tree itself could not be opened.
    #[error("cannot open the source tree {dir}")]
    Open {
        /// The tree.
        dir: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A file that is there could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file inside the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than anything of its kind.
    #[error("{path} has {bytes} bytes; the limit is {FILE_BYTES_MAX} bytes")]
    TooLarge {
        /// The file inside the tree.
        path: String,
        /// Its size.
        bytes: u64,
    },
}

impl Source {
    /// Opens a tree.
    pub(crate) fn open(dir: &Path) -> Result<Self, SourceError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(dir, flags, Mode::empty())
            .map_err(|source| SourceError::Open { dir: dir.to_owned(), source })?;
        Ok(Self { root })
    }

    /// Opens a folder of the tree as a tree of its own; `None` if there is no such folder. Neither `..` nor a
    /// symlink leads to one.
    pub(crate) fn folder(&self, path: &str) -> Option<Self> {
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return None;
        }
        let root = self.open_inside(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).ok()?;
        Some(Self { root })
    }

    fn open_inside(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        // O_NONBLOCK: a FIFO without a writer must not hold up the agent.
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        openat2(&self.root, path, OpenHow::new().flags(flags).resolve(resolve))
    }

    fn open_file(&self, path: &str) -> Option<(File, fs::Metadata)> {
        let file = File::from(self.open_inside(path, OFlag::O_RDONLY).ok()?);
        let known = file.metadata().ok()?;
        known.is_file().then_some((file, known))
    }

    /// Whether there is a regular file.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.open_file(path).is_some()
    }

    /// Whether there is a regular file that may be executed.
    pub(crate) fn has_executable(&self, path: &str) -> bool {
        self.open_file(path).is_some_and(|(_, known)| known.permissions().mode() & 0o111 != 0)
    }

    /// The content of a file; `None` if there is none.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some((file, known)) = self.open_file(path) else {
            return Ok(None);
        };
        if known.len() > FILE_BYTES_MAX {
            return Err(SourceError::TooLarge { path: path.to_owned(), bytes: known.len() });
        }
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX)
            .read_to_end(&mut content)
            .map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
        Ok(Some(content))
    }

    /// The text of a file to look for words in: its head, if it is large; bytes that are not UTF-8 are
    /// replaced; a file that is not there is empty.
    pub(crate) fn words(&self, path: &str) -> String {
        let mut content = Vec::new();
        if let Some((file, _)) = self.open_file(path) {
            // What was read before an error is as good as a shorter file.
            let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut content);
        }
        String::from_utf8_lossy(&content).into_owned()
    }

    /// Names of the files and folders in a folder of the tree (`""` for the tree itself), sorted, folders
    /// with a slash at their end.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let inside = if folder.is_empty() { "." } else { folder };
        let Ok(opened) = self.open_inside(inside, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else {
            return Vec::new();
        };
        let Ok(mut dir) = nix::dir::Dir::from_fd(opened) else {
            return Vec::new();
        };
        let mut names: Vec<String> = dir
            .iter()
            .filter_map(Result::ok)
            .take(ENTRIES_MAX)
            .filter_map(|entry| {
                let name = entry.file_name().to_str().ok()?.to_owned();
                let slash = if entry.file_type() == Some(nix::dir::Type::Directory) { "/" } else { "" };
                (!matches!(name.as_str(), "." | "..")).then(|| format!("{name}{slash}"))
            })
            .collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn c10_nothing_is_read_through_a_symlink_or_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("sub")).unwrap();
        fs::write(tree.path().join("sub/file"), "text").unwrap();
        symlink(outside.path().join("secret"), tree.path().join("Procfile")).unwrap();
        symlink(outside.path(), tree.path().join("dir")).unwrap();
        symlink("sub/file", tree.path().join("inner")).unwrap();
        let source = Source::open(tree.path()).unwrap();
        assert_eq!(source.read("sub/file").unwrap().as_deref(), Some(b"text".as_slice()));
        for path in
            ["Procfile", "dir/secret", "inner", "../secret", "/etc/passwd", "sub", "absent", "sub/../.."]
        {
            assert_eq!(source.read(path).unwrap(), None, "{path}");
        }
        assert_eq!(source.list(""), ["Procfile", "dir", "inner", "sub/"]);
        assert_eq!(source.list("dir"), [""; 0]);
        assert!(source.folder("sub").unwrap().has_file("file"));
        assert!(source.folder("sub").unwrap().read("../Procfile").unwrap().is_none());
        for path in ["dir", "..", "sub/..", "/etc", "absent", "sub/file", ""] {
            assert!(source.folder(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_fifo_and_a_huge_file_do_not_hold_up_the_agent() {
        let tree = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&tree.path().join("package.json"), Mode::S_IRWXU).unwrap();
        File::create(tree.path().join("app.json")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let source = Source::open(tree.path()).unwrap();
        assert_eq!(source.read("package.json").unwrap(), None);
        assert!(matches!(source.read("app.json"), Err(SourceError::TooLarge { .. })));
        assert_eq!(source.words("app.json").len() as u64, FILE_BYTES_MAX);
        assert_eq!(source.words("package.json"), "");
    }
}
