//! [`Tree`]: the files of an exported commit, in the one order that both builders send them in.
//!
//! A link is sent as a link and never followed. Owner is root and the time is the build's own for all: engines
//! leave it out of their cache keys, and a time that is the same in every build would make web servers answer
//! "not modified" for a file that did change.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use autostack_domain::limits::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, SOURCE_FILES_MAX};
use nix::fcntl::OFlag;

use super::dockerignore::{DockerIgnore, Matched};

/// What is sent, folders before what is in them, names in byte order.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
    /// The time that every file gets.
    pub(crate) modified: SystemTime,
    /// What is sent.
    pub(crate) entries: Vec<Entry>,
}

/// A folder, a file or a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the root, never empty.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A file with so many bytes.
    File { bytes: u64, is_executable: bool },
    /// A link to whatever.
    Link { target: PathBuf },
}

impl Tree {
    /// Lists what is below `root` and not left out. Blocks.
    ///
    /// # Errors
    /// A folder cannot be read, something is neither folder, file nor link, or a limit is passed.
    pub(crate) fn list(root: &Path, ignore: &DockerIgnore) -> io::Result<Self> {
        Self::list_of(root, ignore, None)
    }

    /// Lists only these paths, what is below them and the folders above them; `None` for everything. Blocks.
    ///
    /// # Errors
    /// As [`Tree::list`].
    pub(crate) fn list_of(root: &Path, ignore: &DockerIgnore, only: Option<&[PathBuf]>) -> io::Result<Self> {
        let mut walk = Walk { root, ignore, only, entries: Vec::new(), bytes: 0 };
        walk.folder(Path::new(""), &Matched::default(), false, 0)?;
        Ok(Self { root: root.to_owned(), modified: SystemTime::now(), entries: walk.entries })
    }

    /// Opens the file of an entry; a link in its place is refused. Blocks.
    pub(crate) fn open(&self, entry: &Entry) -> io::Result<File> {
        File::options().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(self.root.join(&entry.path))
    }
}

impl Entry {
    /// Permission bits: only whether a file is executable is kept, as in git.
    pub(crate) fn mode(&self) -> u32 {
        match self.kind {
            Kind::Folder | Kind::File { is_executable: true, .. } => 0o755,
            Kind::File { is_executable: false, .. } => 0o644,
            Kind::Link { .. } => 0o777,
        }
    }

    /// Bytes of content.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::File { bytes, .. } => *bytes,
            Kind::Link { target } => target.as_os_str().as_bytes().len() as u64,
            Kind::Folder => 0,
        }
    }
}

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a DockerIgnore,
    only: Option<&'a [PathBuf]>,
    entries: Vec<Entry>,
    bytes: u64,
}

impl Walk<'_> {
    /// Lists what is in a folder. Where the folder itself is left out, `is_out`, it is sent after all in front
    /// of the first thing below it that is brought back.
    fn folder(&mut self, folder: &Path, above: &Matched, is_out: bool, depth: usize) -> io::Result<()> {
        if depth > SOURCE_DEPTH_MAX {
            return Err(over(&format!("more than {SOURCE_DEPTH_MAX} folders within one another")));
        }
        let mut is_sent = !is_out || folder.as_os_str().is_empty();
        let names = fs::read_dir(self.root.join(folder))?.map(|entry| Ok(entry?.file_name()));
        let mut names: Vec<_> = names.collect::<io::Result<_>>()?;
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            let path = folder.join(name);
            if !self.is_asked_for(&path) {
                continue;
            }
            let (leaves_out, matched) = self.ignore.decide(&path.to_string_lossy(), above);
            let metadata = self.root.join(&path).symlink_metadata()?;
            let from = self.entries.len();
            if metadata.is_dir() {
                if !leaves_out {
                    self.add(Entry { path: path.clone(), kind: Kind::Folder })?;
                }
                if !leaves_out || self.ignore.has_exceptions() {
                    self.folder(&path, &matched, leaves_out, depth + 1)?;
                }
            } else if !leaves_out {
                let kind = self.kind_of(&path, &metadata)?;
                self.add(Entry { path, kind })?;
            }
            if !is_sent && self.entries.len() > from {
                self.entries.insert(from, Entry { path: folder.to_owned(), kind: Kind::Folder });
                is_sent = true;
            }
        }
        Ok(())
    }

    fn is_asked_for(&self, path: &Path) -> bool {
        let touches = |asked: &PathBuf| asked.starts_with(path) || path.starts_with(asked);
        self.only.is_none_or(|only| only.iter().any(touches))
    }

    fn kind_of(&self, path: &Path, metadata: &fs::Metadata) -> io::Result<Kind> {
        if metadata.is_file() {
            let is_executable = metadata.mode() & 0o111 != 0;
            Ok(Kind::File { bytes: metadata.len(), is_executable })
        } else if metadata.is_symlink() {
            Ok(Kind::Link { target: fs::read_link(self.root.join(path))? })
        } else {
            let message = format!("{} is neither a file, a folder nor a link", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }

    fn add(&mut self, entry: Entry) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > SOURCE_BYTES_MAX {
            return Err(over(&format!("more than {} MiB", SOURCE_BYTES_MAX >> 20)));
        }
        if self.entries.len() as u64 >= SOURCE_FILES_MAX {
            return Err(over(&format!("more than {SOURCE_FILES_MAX} files")));
        }
        self.entries.push(entry);
        Ok(())
    }
}

fn over(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, format!("the source has {what}"))
}

/// Reads a small text file of the commit. Links are followed as long as they stay within it. `None` where it
/// does not exist. Blocks.
///
/// # Errors
/// It leads out of the commit, is no file, is larger than `bytes_max`, or is not UTF-8.
pub(crate) fn read_text(root: &Path, path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    use std::io::Read;
    let real = match root.join(path).canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        other => other?,
    };
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if !real.starts_with(root.canonicalize()?) {
        return Err(invalid("it is a link that leads out of the repository".to_owned()));
    }
    if !real.metadata()?.is_file() {
        return Err(invalid("it is not a file".to_owned()));
    }
    let mut text = Vec::new();
    File::open(&real)?.take(bytes_max + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(invalid(format!("it is larger than {} KiB", bytes_max >> 10)));
    }
    String::from_utf8(text).map(Some).map_err(|_| invalid("it is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn listed(root: &Path, ignore: &str) -> Vec<String> {
        let tree = Tree::list(root, &DockerIgnore::parse(ignore).unwrap()).unwrap();
        tree.entries.iter().map(|entry| entry.path.display().to_string()).collect()
    }

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in
            [("a/b", "1"), ("a/c/d", "2"), ("a-b", "3"), ("run.sh", "4"), (".git-like/x", "5")]
        {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::set_permissions(dir.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("/etc/passwd", dir.path().join("link")).unwrap();
        dir
    }

    #[test]
    fn the_order_is_that_of_a_walk_and_links_stay_links() {
        let dir = sample();
        let expected = [".git-like", ".git-like/x", "a", "a/b", "a/c", "a/c/d", "a-b", "link", "run.sh"];
        // `a` before `a-b`, although `/` comes after `-`: a folder and what is in it stay together.
        assert_eq!(listed(dir.path(), ""), expected);
        let tree = Tree::list(dir.path(), &DockerIgnore::default()).unwrap();
        let of = |path: &str| tree.entries.iter().find(|entry| entry.path == Path::new(path)).unwrap();
        assert_eq!(of("link").kind, Kind::Link { target: "/etc/passwd".into() });
        assert_eq!((of("run.sh").mode(), of("a-b").mode(), of("a").mode()), (0o755, 0o644, 0o755));
        assert!(tree.open(of("link")).is_err());
    }

    #[test]
    fn a_folder_that_is_left_out_comes_back_with_what_is_in_it() {
        let dir = sample();
        assert_eq!(
            listed(dir.path(), "a\n!a/c/d"),
            [".git-like", ".git-like/x", "a", "a/c", "a/c/d", "a-b", "link", "run.sh"]
        );
        assert_eq!(listed(dir.path(), "*\n!run.sh"), ["run.sh"]);
        assert_eq!(listed(dir.path(), "*"), Vec::<String>::new());
    }

    #[test]
    fn text_is_read_within_the_commit_only() {
        let dir = sample();
        symlink("a/b", dir.path().join("inside")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let read = |path: &str| read_text(dir.path(), Path::new(path), 10);
        assert_eq!(read("inside").unwrap().as_deref(), Some("1"));
        assert_eq!(read("nothing").unwrap(), None);
        assert_eq!(read("a-b/x").unwrap(), None);
        assert_eq!(read("dangling").unwrap(), None);
        assert!(read("link").unwrap_err().to_string().contains("leads out"));
        assert!(read("../../etc/passwd").is_err());
        assert!(read("a").unwrap_err().to_string().contains("not a file"));
        fs::write(dir.path().join("large"), "12345678901").unwrap();
        assert!(read("large").unwrap_err().to_string().contains("larger"));
        fs::write(dir.path().join("binary"), [0xff]).unwrap();
        assert!(read("binary").unwrap_err().to_string().contains("UTF-8"));
    }
}
