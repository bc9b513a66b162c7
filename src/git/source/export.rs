//! Writes an inspected commit to disk.
//!
//! Every name is created by its last part alone, relative to a folder that this export made and still
//! holds open: no path is ever resolved, so no symbolic link is ever followed, whoever runs this.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::Path,
};

use git2::Oid;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::{Mode, fchmod, mkdirat},
    unistd::symlinkat,
};
use tokio_util::sync::CancellationToken;

use super::{
    Source,
    big_file::{BigFiles, STREAMED_FROM_BYTES},
    objects::{Entry, entries},
    report::{SourceError, SourceReport, spoken},
    rules::{self, Kind},
};

struct Export<'a> {
    source: &'a Source,
    cancel: &'a CancellationToken,
    big_files: Option<BigFiles>,
    path: Vec<u8>,
}

pub(super) fn export(
    source: &Source,
    report: &SourceReport,
    dest: &Path,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    let root = make_root(dest)?;
    let mut export = Export { source, cancel, big_files: None, path: Vec::new() };
    export.folder(report.tree, root.as_fd(), 0).inspect_err(|_| {
        // The first error is the one to tell; this never follows a link either.
        let _removed = fs::remove_dir_all(dest);
    })
}

fn make_root(dest: &Path) -> Result<OwnedFd, SourceError> {
    let fail = |source: io::Error| SourceError::Write { path: dest.display().to_string(), source };
    match fs::DirBuilder::new().mode(0o755).create(dest) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(dest).map_err(fail)?.next().is_some() {
                return Err(SourceError::NotEmpty { path: dest.to_owned() });
            }
        }
        Err(error) => return Err(fail(error)),
    }
    let root = open(dest, FOLDER, Mode::empty()).map_err(|errno| fail(errno.into()))?;
    fchmod(&root, mode(0o755)).map_err(|errno| fail(errno.into()))?;
    Ok(root)
}

const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

impl Export<'_> {
    fn folder(&mut self, tree: Oid, folder: BorrowedFd<'_>, depth: usize) -> Result<(), SourceError> {
        let source = self.source;
        let tree = source.objects.tree(tree, &self.path)?;
        for entry in entries(tree.data()) {
            if self.cancel.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            let entry = entry.ok_or_else(|| SourceError::Broken {
                what: spoken(&self.path),
                why: "its list of files cannot be read",
            })?;
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(entry.name);
            self.entry(&entry, folder, depth)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, folder: BorrowedFd<'_>, depth: usize) -> Result<(), SourceError> {
        // Inspected already; looked at again where it matters, for it is cheap here.
        if let Some(why) = rules::name_fault(entry.name) {
            return Err(self.refused(why));
        }
        let name = OsStr::from_bytes(entry.name);
        match Kind::of(entry.mode) {
            Some(Kind::Folder) => {
                let inner = self.make_folder(folder, name)?;
                self.folder(entry.id, inner.as_fd(), depth + 1)
            }
            // A submodule is an empty folder, as in a clone without --recurse-submodules.
            Some(Kind::Submodule) => self.make_folder(folder, name).map(drop),
            Some(Kind::File { executable }) => self.file(entry.id, folder, name, executable),
            Some(Kind::Link) => self.link(entry.id, folder, name, depth),
            None => Err(self.refused("it is neither a file, a folder, a link nor a submodule")),
        }
    }

    fn make_folder(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, SourceError> {
        let make = || {
            mkdirat(parent, name, mode(0o755))?;
            let folder = openat(parent, name, FOLDER, Mode::empty())?;
            fchmod(&folder, mode(0o755))?;
            Ok(folder)
        };
        make().map_err(|errno: Errno| self.unwritten(errno.into()))
    }

    fn file(
        &mut self,
        id: Oid,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        executable: bool,
    ) -> Result<(), SourceError> {
        let bits = mode(if executable { 0o755 } else { 0o644 });
        let create = || {
            let file = openat(folder, name, NEW_FILE, bits)?;
            // The umask may have cut the bits.
            fchmod(&file, bits)?;
            Ok(file)
        };
        let mut file = File::from(create().map_err(|errno: Errno| self.unwritten(errno.into()))?);
        let bytes = self.source.objects.blob_bytes(id, &self.path)?;
        if bytes >= STREAMED_FROM_BYTES {
            return self.big_file(id, bytes, &mut file);
        }
        let blob = self.source.objects.blob(id, STREAMED_FROM_BYTES, &self.path)?;
        file.write_all(blob.data()).map_err(|source| self.unwritten(source))
    }

    fn big_file(&mut self, id: Oid, bytes: u64, file: &mut File) -> Result<(), SourceError> {
        let big_files = match &mut self.big_files {
            Some(running) => running,
            none => none.insert(BigFiles::start(&self.source.repository, self.source.quarantine.as_deref())?),
        };
        big_files.copy(id, bytes, &spoken(&self.path), file, self.cancel)
    }

    fn link(&self, id: Oid, folder: BorrowedFd<'_>, name: &OsStr, depth: usize) -> Result<(), SourceError> {
        let target = self.source.objects.blob(id, rules::LINK_BYTES_MAX, &self.path)?;
        match rules::link_climb(target.data()) {
            Err(why) => Err(self.refused(why)),
            Ok(climb) if climb > depth => Err(self.refused(rules::LEAVES_TREE)),
            Ok(_) => symlinkat(OsStr::from_bytes(target.data()), folder, name)
                .map_err(|errno| self.unwritten(errno.into())),
        }
    }

    fn refused(&self, why: &str) -> SourceError {
        SourceError::Refused { path: spoken(&self.path), why: why.to_owned() }
    }

    fn unwritten(&self, source: io::Error) -> SourceError {
        match source.kind() {
            // Nothing else writes here, so the commit itself names it twice.
            io::ErrorKind::AlreadyExists => self.refused("it stands twice in its folder"),
            _ => SourceError::Write { path: spoken(&self.path), source },
        }
    }
}
