//! A tar of an image's files → a folder of the host. The files come from an app's build: nothing is written
//! outside of the folder, and nothing but folders, files and links that stay inside is made.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use autostack_domain::limits::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, SOURCE_FILES_MAX, SOURCE_PATH_BYTES_MAX};
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{Mode, mkdirat},
    unistd::symlinkat,
};
use tar::{Archive, Entry, EntryType};

/// Bounds of what is unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries of any kind.
    pub(crate) entries_max: u64,
    /// Bytes of all files together.
    pub(crate) bytes_max: u64,
}

impl Default for Limits {
    /// What a commit may have, too.
    fn default() -> Self {
        Self { entries_max: SOURCE_FILES_MAX, bytes_max: SOURCE_BYTES_MAX }
    }
}

/// Why the files were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The tar cannot be read to its end.
    #[error("the files of the image cannot be read")]
    Read(#[source] io::Error),
    /// An entry that is not taken, whoever made it.
    #[error("the files of the image hold {path:?}, {why}")]
    Refused {
        /// Its name in the tar.
        path: String,
        /// What is wrong with it, behind its name.
        why: &'static str,
    },
    /// A bound is passed.
    #[error("the files of the image are more than {limit}")]
    TooMuch {
        /// The bound, with its unit.
        limit: String,
    },
    /// The folder cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The path inside the folder.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Unpacks what lies below `top` in the tar into a folder that is there and empty. Blocks.
pub(crate) fn unpack(tar: impl Read, top: &str, into: &Path, limits: Limits) -> Result<(), UnpackError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(into, flags, Mode::empty()).map_err(|errno| written(into, errno.into()))?;
    let mut unpacker = Unpacker { root, limits, entries: 0, bytes: 0 };
    let mut archive = Archive::new(tar);
    for entry in archive.entries().map_err(UnpackError::Read)? {
        unpacker.take(entry.map_err(UnpackError::Read)?, top)?;
    }
    Ok(())
}

struct Unpacker {
    root: OwnedFd,
    limits: Limits,
    entries: u64,
    bytes: u64,
}

impl Unpacker {
    fn take(&mut self, mut entry: Entry<'_, impl Read>, top: &str) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(UnpackError::TooMuch { limit: format!("{} entries", self.limits.entries_max) });
        }
        let name = entry.path().map_err(UnpackError::Read)?.into_owned();
        let refused = |why| UnpackError::Refused { path: name.display().to_string(), why };
        let path = plain(&name).ok_or_else(|| refused("a path that leads out of its folder"))?;
        let path = path.strip_prefix(top).map_err(|_| refused("which lies beside the site"))?.to_owned();
        if path.as_os_str().len() > SOURCE_PATH_BYTES_MAX || path.components().count() > SOURCE_DEPTH_MAX {
            return Err(refused("whose path is too long"));
        }
        if path.as_os_str().is_empty() {
            return if entry.header().entry_type().is_dir() {
                Ok(())
            } else {
                Err(refused("where a folder should be"))
            };
        }
        match entry.header().entry_type() {
            EntryType::Directory => self.folder(&path).map(drop),
            EntryType::Regular | EntryType::Continuous => self.file(&path, &mut entry),
            EntryType::Symlink => {
                let target = entry.link_name().map_err(UnpackError::Read)?.unwrap_or_default().into_owned();
                if !stays_inside(&path, &target) {
                    return Err(refused("a link that leads out of its folder"));
                }
                let (folder, name) = self.place(&path)?;
                symlinkat(&target, &folder, &name).map_err(|errno| written(&path, errno.into()))
            }
            EntryType::Link => {
                let target = entry.link_name().map_err(UnpackError::Read)?.unwrap_or_default().into_owned();
                let target =
                    plain(&target).and_then(|target| target.strip_prefix(top).ok().map(Path::to_owned));
                let target = target.ok_or_else(|| refused("a link to a file outside of the site"))?;
                self.same_file(&path, &target)
                    .map_err(|error| error.unwrap_or_else(|| refused("a link to no file of the site")))
            }
            _ => Err(refused("which is neither a file nor a folder nor a link")),
        }
    }

    /// Makes a folder and those above it, and opens it.
    fn folder(&self, path: &Path) -> Result<OwnedFd, UnpackError> {
        let failed = |errno: Errno| written(path, errno.into());
        let mut folder = self.root.try_clone().map_err(|error| written(path, error))?;
        for part in path.components() {
            let part = Path::new(part.as_os_str());
            match mkdirat(&folder, part, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            // A link in its place is not followed, whoever put it there.
            folder =
                beneath(&folder, part, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?;
        }
        Ok(folder)
    }

    /// The folder that something is put into, and its name there.
    fn place(&self, path: &Path) -> Result<(OwnedFd, PathBuf), UnpackError> {
        let folder = self.folder(path.parent().unwrap_or(Path::new("")))?;
        Ok((folder, PathBuf::from(path.file_name().unwrap_or_default())))
    }

    fn file(&mut self, path: &Path, entry: &mut Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let is_executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mut file = self.new_file(path, is_executable)?;
        self.copy(path, entry, &mut file)
    }

    fn new_file(&self, path: &Path, is_executable: bool) -> Result<File, UnpackError> {
        let (folder, name) = self.place(path)?;
        let mode = Mode::from_bits_truncate(if is_executable { 0o755 } else { 0o644 });
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let opened = beneath(&folder, &name, flags, mode);
        opened.map(File::from).map_err(|errno| written(path, errno.into()))
    }

    /// Makes a copy of a file that was unpacked before; the inner `None`: there is no such file.
    fn same_file(&mut self, path: &Path, target: &Path) -> Result<(), Option<UnpackError>> {
        let opened = beneath(&self.root, target, OFlag::O_RDONLY, Mode::empty()).map_err(|_| None)?;
        let mut from = File::from(opened);
        if !from.metadata().is_ok_and(|known| known.is_file()) {
            return Err(None);
        }
        let mut file = self.new_file(path, false).map_err(Some)?;
        self.copy(path, &mut from, &mut file).map_err(Some)
    }

    fn copy(&mut self, path: &Path, from: &mut impl Read, to: &mut File) -> Result<(), UnpackError> {
        let left = self.limits.bytes_max - self.bytes;
        let mut bounded = from.take(left + 1);
        let copied = io::copy(&mut bounded, to).map_err(|source| written(path, source))?;
        self.bytes += copied;
        if copied > left {
            return Err(UnpackError::TooMuch { limit: format!("{} bytes", self.limits.bytes_max) });
        }
        Ok(())
    }
}

fn beneath(folder: impl AsFd, path: &Path, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    openat2(folder, path, how)
}

fn written(path: &Path, source: io::Error) -> UnpackError {
    UnpackError::Write { path: path.display().to_string(), source }
}

/// The path without `.`; `None` where it is absolute, goes up or holds a NUL.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) if !part.as_bytes().contains(&0) => plain.push(part),
            Component::CurDir => {}
            Component::Normal(_) | Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return None;
            }
        }
    }
    Some(plain)
}

/// Whether a link at `path` leads to something below the top, by its text alone.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tar::{Builder, Header};

    use super::*;

    struct Tar(Builder<Vec<u8>>);

    impl Tar {
        fn new() -> Self {
            Tar(Builder::new(Vec::new()))
        }

        /// An entry whose names are written as they are, however bad.
        fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8], mode: u32) -> Self {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            header.set_cksum();
            self.0.append(&header, content).unwrap();
            self
        }

        fn file(self, name: &str, content: &[u8]) -> Self {
            self.entry(EntryType::Regular, name, "", content, 0o644)
        }

        fn into(self, dir: &Path) -> Result<(), UnpackError> {
            self.within(dir, Limits::default())
        }

        fn within(self, dir: &Path, limits: Limits) -> Result<(), UnpackError> {
            unpack(self.0.into_inner().unwrap().as_slice(), "site", dir, limits)
        }
    }

    #[test]
    fn files_folders_and_links_inside_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        Tar::new()
            .entry(EntryType::Directory, "site/", "", b"", 0o755)
            .entry(EntryType::Directory, "site/dist/", "", b"", 0o700)
            .file("site/dist/index.html", b"hello")
            .entry(EntryType::Regular, "site/dist/run", "", b"#!", 0o4755)
            .entry(EntryType::Symlink, "site/dist/latest", "../dist/index.html", b"", 0o777)
            .entry(EntryType::Link, "site/copy.html", "site/dist/index.html", b"", 0o644)
            .into(dir.path())
            .unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("dist/index.html")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(dir.path().join("dist/latest")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(dir.path().join("copy.html")).unwrap(), "hello");
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("dist/run"), mode("dist/index.html"), mode("dist")), (0o755, 0o644, 0o755));
    }

    #[test]
    fn e3_nothing_is_written_outside_and_no_device_is_made() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let out = outside.path().to_str().unwrap().to_owned();
        let link = EntryType::Symlink;
        let cases: Vec<(&str, Tar)> = vec![
            ("up", Tar::new().file("site/../../x", b"x")),
            ("absolute", Tar::new().file("/tmp/autostack-e3", b"x")),
            ("beside", Tar::new().file("other/x", b"x")),
            ("link up", Tar::new().entry(link, "site/l", "../x", b"", 0o777)),
            ("link up below", Tar::new().entry(link, "site/a/l", "b/../../../x", b"", 0o777)),
            ("link absolute", Tar::new().entry(link, "site/l", &out, b"", 0o777)),
            ("empty link", Tar::new().entry(link, "site/l", "", b"", 0o777)),
            ("through a link", Tar::new().entry(link, "site/l", "m", b"", 0o777).file("site/l/x", b"x")),
            ("over a link", Tar::new().entry(link, "site/l", "m", b"", 0o777).file("site/l", b"x")),
            ("twice", Tar::new().file("site/a", b"x").file("site/a", b"y")),
            ("hard link up", Tar::new().entry(EntryType::Link, "site/h", "site/../../secret", b"", 0o644)),
            ("hard link out", Tar::new().entry(EntryType::Link, "site/h", "/etc/passwd", b"", 0o644)),
            ("hard link to nothing", Tar::new().entry(EntryType::Link, "site/h", "site/none", b"", 0o644)),
            ("device", Tar::new().entry(EntryType::Char, "site/null", "", b"", 0o666)),
            ("fifo", Tar::new().entry(EntryType::Fifo, "site/fifo", "", b"", 0o666)),
            ("a file for the top", Tar::new().file("site", b"x")),
        ];
        for (what, tar) in cases {
            let dir = outside.path().join(what);
            fs::create_dir(&dir).unwrap();
            assert!(tar.into(&dir).is_err(), "{what}");
            fs::remove_dir_all(dir).unwrap();
        }
        let left: Vec<_> =
            fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["secret"]);
        assert!(!Path::new("/tmp/autostack-e3").exists());
    }

    #[test]
    fn e3_limits_hold() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { entries_max: 2, bytes_max: 10 };
        let folder = |name: &str| dir.path().join(name);
        for name in ["a", "b", "c"] {
            fs::create_dir(folder(name)).unwrap();
        }
        let many = Tar::new().file("site/a", b"").file("site/b", b"").file("site/c", b"");
        assert_eq!(many.within(&folder("a"), limits).unwrap_err().to_string(), {
            "the files of the image are more than 2 entries"
        });
        let large = Tar::new().file("site/a", b"123456").file("site/b", b"123456");
        assert_eq!(large.within(&folder("b"), limits).unwrap_err().to_string(), {
            "the files of the image are more than 10 bytes"
        });
        let deep = format!("site/{}x", "a/".repeat(40));
        let cut = Tar::new().file(&deep, b"123456").0.into_inner().unwrap();
        let cut = unpack(&cut[..515], "site", &folder("c"), Limits::default());
        assert!(cut.is_err(), "a tar that ends early is no success");
    }
}
