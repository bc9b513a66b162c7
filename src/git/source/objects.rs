//! Commits and trees as git stores them, read through libgit2's object store alone: no repository
//! configuration, no refs, no check-out machinery.

use std::path::Path;

use git2::{ObjectType, Odb, OdbObject, Oid};

use super::report::{SourceError, SourceReport, spoken};
use crate::libgit;

/// Bytes of a commit object: a message of any sense, and a signature.
const COMMIT_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of a tree object: one folder with all the files that a commit may have, at 300 bytes each.
const TREE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The objects of a repository and of a quarantine.
pub(super) struct Objects {
    odb: Odb<'static>,
}

/// A commit, as far as it matters here.
pub(super) struct Commit {
    pub(super) tree: Oid,
    pub(super) subject: String,
}

/// One line of a tree object.
pub(super) struct Entry<'a> {
    pub(super) mode: u32,
    pub(super) name: &'a [u8],
    pub(super) id: Oid,
}

impl Objects {
    pub(super) fn open(repository: &Path, quarantine: Option<&Path>) -> Result<Self, SourceError> {
        let open = || -> Result<Odb<'static>, git2::Error> {
            libgit::init()?;
            let odb = Odb::new()?;
            for folder in quarantine.into_iter().chain([repository.join("objects").as_path()]) {
                let path = folder.to_str().ok_or_else(|| git2::Error::from_str("its path is not UTF-8"))?;
                odb.add_disk_alternate(path)?;
            }
            Ok(odb)
        };
        Ok(Self { odb: open().map_err(|source| SourceError::Open { path: repository.to_owned(), source })? })
    }

    /// Reads a commit. Whatever else bears the id is refused.
    pub(super) fn commit(&self, id: &str) -> Result<Commit, SourceError> {
        let named = format!("commit {id}");
        let oid = Oid::from_str(id).map_err(|source| SourceError::Read { what: named.clone(), source })?;
        let object = self.read(oid, ObjectType::Commit, COMMIT_BYTES_MAX, || named.clone())?;
        parse_commit(object.data()).ok_or(SourceError::Broken { what: named, why: "it names no tree" })
    }

    /// Reads the tree at `path`; its lines by [`entries`].
    pub(super) fn tree(&self, id: Oid, path: &[u8]) -> Result<OdbObject<'_>, SourceError> {
        self.read(id, ObjectType::Tree, TREE_BYTES_MAX, || spoken(path))
    }

    /// Reads the file at `path`, which must not be larger than `bytes_max`.
    pub(super) fn blob(&self, id: Oid, bytes_max: u64, path: &[u8]) -> Result<OdbObject<'_>, SourceError> {
        self.read(id, ObjectType::Blob, bytes_max, || spoken(path))
    }

    /// The size of the file at `path` in bytes, without inflating it.
    pub(super) fn blob_bytes(&self, id: Oid, path: &[u8]) -> Result<u64, SourceError> {
        self.header(id, ObjectType::Blob, || spoken(path))
    }

    fn header(&self, id: Oid, kind: ObjectType, what: impl Fn() -> String) -> Result<u64, SourceError> {
        let (bytes, found) =
            self.odb.read_header(id).map_err(|source| SourceError::Read { what: what(), source })?;
        if found == kind {
            Ok(bytes as u64)
        } else {
            Err(SourceError::Broken { what: what(), why: "it is another kind of object than it should be" })
        }
    }

    fn read(
        &self,
        id: Oid,
        kind: ObjectType,
        bytes_max: u64,
        what: impl Fn() -> String,
    ) -> Result<OdbObject<'_>, SourceError> {
        if self.header(id, kind, &what)? > bytes_max {
            return Err(SourceError::Broken { what: what(), why: "it is too large for what it is" });
        }
        self.odb.read(id).map_err(|source| SourceError::Read { what: what(), source })
    }
}

fn parse_commit(raw: &[u8]) -> Option<Commit> {
    let hex = raw.strip_prefix(b"tree ")?.get(..40)?;
    let tree = Oid::from_str(std::str::from_utf8(hex).ok()?).ok()?;
    let body = raw.windows(2).position(|pair| pair == b"\n\n").map_or(&[][..], |at| &raw[at + 2..]);
    let line = body.split(|b| *b == b'\n').next().unwrap_or_default();
    let subject = String::from_utf8_lossy(line).chars().take(SourceReport::SUBJECT_CHARS_MAX).collect();
    Some(Commit { tree, subject })
}

/// The lines of a tree object; `None` where the rest cannot be read.
pub(super) fn entries(raw: &[u8]) -> impl Iterator<Item = Option<Entry<'_>>> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = parse_entry(rest);
        rest = parsed.as_ref().map_or(&[][..], |(_, tail)| tail);
        Some(parsed.map(|(entry, _)| entry))
    })
}

/// `MODE SP NAME NUL ID`: the mode in octal digits, the id as 20 bytes.
fn parse_entry(raw: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let space = raw.iter().take(8).position(|b| *b == b' ')?;
    let mode = u32::from_str_radix(std::str::from_utf8(&raw[..space]).ok()?, 8).ok()?;
    let named = &raw[space + 1..];
    let nul = named.iter().position(|b| *b == 0)?;
    let id = named.get(nul + 1..nul + 21)?;
    Some((Entry { mode, name: &named[..nul], id: Oid::from_bytes(id).ok()? }, &named[nul + 21..]))
}
