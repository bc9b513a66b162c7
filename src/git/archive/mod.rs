//! An archive of source as a commit: `tar`, `tar.gz` and `zip`, read into objects and never unpacked to disk.
//!
//! In reading order: `error` (why one is refused), `bounded` (no stream without an end), `files` (what was read so
//! far, and its tree objects), `tarball`, `zip`. Nothing of an archive becomes a path of the file system: a name is
//! a name in a tree object, checked by the rules for pushed commits (threats E3, C11), and the commit goes the way
//! of a pushed one afterwards.

mod bounded;
mod error;
mod files;
mod tarball;
mod zip;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    str::FromStr,
};

use autostack_domain::{CommitId, Invalid};
use tokio_util::sync::CancellationToken;

pub use self::error::ArchiveError;
use self::files::Files;
use crate::{Incoming, SourceLimits};

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// As it is.
    Tar,
    /// Compressed with gzip.
    TarGz,
    /// With a directory at its end.
    Zip,
}

impl FromStr for ArchiveKind {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        match given {
            "tar" => Ok(Self::Tar),
            "tar.gz" | "tgz" => Ok(Self::TarGz),
            "zip" => Ok(Self::Zip),
            _ => Err(Invalid::new("archive type", given, "there are tar, tar.gz and zip")),
        }
    }
}

/// What the commit of an archive says of itself.
#[derive(Debug, Clone)]
pub struct CommitWords {
    /// Its message.
    pub message: String,
    /// Who made it.
    pub name: String,
    /// Their address.
    pub email: String,
    /// When, in seconds since 1970.
    pub seconds: i64,
    /// The commit before it.
    pub parent: Option<CommitId>,
}

/// What came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The commit, among the incoming objects.
    pub commit: CommitId,
    /// Files in it.
    pub files: u64,
}

/// Reads an archive into `incoming` and makes a commit of it. A single folder around everything is left away. Ends
/// soon after `cancel` is cancelled.
///
/// # Errors
/// It is none of the known kinds, is broken, or holds what is refused; then the incoming objects are of no use.
pub fn import(
    incoming: &Incoming,
    mut archive: File,
    kind: Option<ArchiveKind>,
    words: &CommitWords,
    limits: SourceLimits,
    cancel: &CancellationToken,
) -> Result<Imported, ArchiveError> {
    let found = look(&mut archive)?;
    if let (Some(asked), Some(found)) = (kind, found)
        && asked != found
    {
        return Err(ArchiveError::broken(format!("it is packed as {}", found.name())));
    }
    let repository = incoming.open()?;
    let mut files = Files::new(&repository, limits, cancel)?;
    match kind.or(found) {
        Some(ArchiveKind::Tar) => tarball::read(archive, &mut files)?,
        Some(ArchiveKind::TarGz) => tarball::read(flate2::read::MultiGzDecoder::new(archive), &mut files)?,
        Some(ArchiveKind::Zip) => zip::read(archive, &mut files)?,
        None => return Err(ArchiveError::broken("it is neither tar nor tar.gz nor zip")),
    }
    let count = files.count();
    let tree = repository.find_tree(files.write()?)?;
    let time = git2::Time::new(words.seconds, 0);
    let signature = git2::Signature::new(&words.name, &words.email, &time)?;
    let parent = words
        .parent
        .as_ref()
        .map(|id| repository.find_commit(git2::Oid::from_str(id.as_str())?))
        .transpose()?;
    let parents: Vec<_> = parent.iter().collect();
    let id = repository.commit(None, &signature, &signature, &words.message, &tree, &parents)?;
    let commit = id.to_string().parse().map_err(|_| ArchiveError::broken("its commit has no id"))?;
    Ok(Imported { commit, files: count })
}

impl ArchiveKind {
    fn name(self) -> &'static str {
        match self {
            ArchiveKind::Tar => "tar",
            ArchiveKind::TarGz => "tar.gz",
            ArchiveKind::Zip => "zip",
        }
    }
}

/// What its first bytes say.
fn look(archive: &mut File) -> Result<Option<ArchiveKind>, ArchiveError> {
    let mut head = Vec::with_capacity(512);
    archive.seek(SeekFrom::Start(0))?;
    archive.by_ref().take(512).read_to_end(&mut head)?;
    archive.seek(SeekFrom::Start(0))?;
    if head.is_empty() {
        return Err(ArchiveError::broken("it is empty"));
    }
    for (magic, name) in [
        (&b"\xfd7zXZ"[..], "xz"),
        (b"BZh", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf", "7-Zip"),
        (b"Rar!", "rar"),
    ] {
        if head.starts_with(magic) {
            return Err(ArchiveError::broken(format!("it is packed with {name}: send tar, tar.gz or zip")));
        }
    }
    Ok(if head.starts_with(b"\x1f\x8b") {
        Some(ArchiveKind::TarGz)
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        Some(ArchiveKind::Zip)
    } else if head.get(257..262) == Some(b"ustar") {
        Some(ArchiveKind::Tar)
    } else {
        None
    })
}
