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
/// Bytes of an annotated tag: as of a commit.
const TAG_BYTES_MAX: u64 = COMMIT_BYTES_MAX;
/// Tags of tags that are followed on the way to a commit.
const TAG_DEPTH_MAX: usize = 5;

/// The objects of a repository and of a quarantine.
pub(super) struct Objects {
    odb: Odb<'static>,
}

/// A commit, as far as it matters here.
pub(super) struct Commit {
    pub(super) id: Oid,
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

    /// Reads a commit, by its own id or by that of an annotated tag of it. Whatever else bears the id is
    /// refused.
    pub(super) fn commit(&self, id: &str) -> Result<Commit, SourceError> {
        let named = || format!("commit {id}");
        let pushed = Oid::from_str(id).map_err(|source| SourceError::Read { what: named(), source })?;
        let oid = self.peel(pushed)?;
        let object = self.read(oid, ObjectType::Commit, COMMIT_BYTES_MAX, named)?;
        parse_commit(oid, object.data())
            .ok_or_else(|| SourceError::Broken { what: named(), why: "it names no tree" })
    }

    /// The commit that a tag stands for; a commit stands for itself. What a tag says of the kind of its
    /// object is not relied on.
    fn peel(&self, pushed: Oid) -> Result<Oid, SourceError> {
        let mut oid = pushed;
        for depth in 0..=TAG_DEPTH_MAX {
            let (_, kind) = self
                .odb
                .read_header(oid)
                .map_err(|source| SourceError::Read { what: format!("commit {oid}"), source })?;
            oid = match kind {
                ObjectType::Commit => return Ok(oid),
                ObjectType::Tag => self.tagged(oid)?,
                _ => return Err(not_a_commit(pushed, depth > 0, kind)),
            };
        }
        let why = format!("it is a tag of a tag, and leads to no commit within {TAG_DEPTH_MAX} steps");
        Err(SourceError::Refused { path: format!("tag {pushed}"), why })
    }

    fn tagged(&self, tag: Oid) -> Result<Oid, SourceError> {
        let named = || format!("tag {tag}");
        let object = self.read(tag, ObjectType::Tag, TAG_BYTES_MAX, named)?;
        id_after(object.data(), b"object ")
            .ok_or_else(|| SourceError::Broken { what: named(), why: "it names no object" })
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

fn not_a_commit(pushed: Oid, is_tag: bool, kind: ObjectType) -> SourceError {
    let what = if kind == ObjectType::Tree { "folder" } else { "file" };
    let (named, verb) = if is_tag { ("tag", "names") } else { ("object", "is") };
    let why = format!("it {verb} a {what}, and only commits and tags of commits are taken");
    SourceError::Refused { path: format!("{named} {pushed}"), why }
}

/// The id that follows `head` at the start of an object.
fn id_after(raw: &[u8], head: &[u8]) -> Option<Oid> {
    let hex = raw.strip_prefix(head)?.get(..40)?;
    Oid::from_str(std::str::from_utf8(hex).ok()?).ok()
}

fn parse_commit(id: Oid, raw: &[u8]) -> Option<Commit> {
    let tree = id_after(raw, b"tree ")?;
    let body = raw.windows(2).position(|pair| pair == b"\n\n").map_or(&[][..], |at| &raw[at + 2..]);
    let line = body.split(|b| *b == b'\n').next().unwrap_or_default();
    let subject = String::from_utf8_lossy(line).chars().take(SourceReport::SUBJECT_CHARS_MAX).collect();
    Some(Commit { id, tree, subject })
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
