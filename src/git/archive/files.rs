//! The files of an archive as they come: their contents are objects already, their names a tree in memory.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{self, Read, Write},
};

use git2::{ObjectType, Odb, Oid, Repository};
use tokio_util::sync::CancellationToken;

use super::ArchiveError;
use crate::{
    SourceLimits,
    source::{rules, spoken_bytes},
};

/// Files up to this size are held in memory; larger ones are streamed.
const HELD_BYTES_MAX: u64 = 4 * 1024 * 1024;

type Folder = BTreeMap<Vec<u8>, Node>;

enum Node {
    Folder(Folder),
    File { id: Oid, mode: u32 },
}

const PLAIN: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
const LINK: u32 = 0o120_000;
const FOLDER: u32 = 0o040_000;

pub(super) struct Files<'a> {
    odb: Odb<'a>,
    limits: SourceLimits,
    cancel: &'a CancellationToken,
    root: Folder,
    files: u64,
    entries: u64,
    bytes: u64,
}

impl<'a> Files<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        limits: SourceLimits,
        cancel: &'a CancellationToken,
    ) -> Result<Self, ArchiveError> {
        let odb = repository.odb()?;
        Ok(Self { odb, limits, cancel, root: Folder::new(), files: 0, entries: 0, bytes: 0 })
    }

    pub(super) fn limits(&self) -> &SourceLimits {
        &self.limits
    }

    pub(super) fn cancel(&self) -> &'a CancellationToken {
        self.cancel
    }

    /// Files so far.
    pub(super) fn count(&self) -> u64 {
        self.files
    }

    /// A folder; one that is there already is fine.
    pub(super) fn folder(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.begin_entry()?;
        let parts = parts(path, &self.limits)?;
        self.open(path, &parts).map(drop)
    }

    /// A file of `bytes` bytes.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        bytes: u64,
        executable: bool,
        content: &mut impl Read,
    ) -> Result<(), ArchiveError> {
        self.begin_entry()?;
        if bytes > self.limits.file_bytes_max {
            let what = format!("{} of {}", String::from_utf8_lossy(path), spoken_bytes(bytes));
            return Err(ArchiveError::OverLimit {
                what,
                limit: format!("{} for one file", spoken_bytes(self.limits.file_bytes_max)),
            });
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes_max {
            let what = format!("at least {}", spoken_bytes(self.bytes));
            return Err(ArchiveError::OverLimit { what, limit: spoken_bytes(self.limits.bytes_max) });
        }
        // The name first: of a file that is refused nothing needs to be read.
        parts(path, &self.limits)?;
        let id = self.blob(bytes, content)?;
        self.put(path, id, if executable { EXECUTABLE } else { PLAIN })
    }

    /// A symbolic link. Where it leads is looked at with the whole commit.
    pub(super) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        self.begin_entry()?;
        rules::link_climb(target).map_err(|why| ArchiveError::refused(path, why))?;
        let id = self.odb.write(ObjectType::Blob, target)?;
        self.put(path, id, LINK)
    }

    /// Another name of a file that the archive has brought already.
    pub(super) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        self.begin_entry()?;
        let outside =
            || ArchiveError::refused(path, "it is a hard link to what is no earlier file of the archive");
        let parts = parts(target, &self.limits).map_err(|_| outside())?;
        let (last, above) = parts.split_last().ok_or_else(outside)?;
        let mut folder = &self.root;
        for part in above {
            let Some(Node::Folder(inner)) = folder.get(*part) else { return Err(outside()) };
            folder = inner;
        }
        match folder.get(*last) {
            Some(Node::File { id, mode }) if *mode != LINK => {
                let (id, mode) = (*id, *mode);
                self.put(path, id, mode)
            }
            _ => Err(outside()),
        }
    }

    fn begin_entry(&mut self) -> Result<(), ArchiveError> {
        if self.cancel.is_cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        self.entries += 1;
        if self.entries > self.limits.files_max.saturating_mul(2) {
            let what = format!("more than {} entries", self.entries - 1);
            return Err(ArchiveError::OverLimit { what, limit: format!("{} files", self.limits.files_max) });
        }
        Ok(())
    }

    fn blob(&self, bytes: u64, content: &mut impl Read) -> Result<Oid, ArchiveError> {
        let mut content = content.take(bytes);
        let length = usize::try_from(bytes).map_err(|_| ArchiveError::broken("a file is too large"))?;
        if bytes <= HELD_BYTES_MAX {
            let mut held = Vec::with_capacity(length);
            content.read_to_end(&mut held)?;
            if held.len() != length {
                return Err(ArchiveError::broken("it ends in the middle"));
            }
            return Ok(self.odb.write(ObjectType::Blob, &held)?);
        }
        let mut writer = self.odb.writer(length, ObjectType::Blob)?;
        let copied = io::copy(&mut content, &mut writer)?;
        writer.flush()?;
        if copied != bytes {
            return Err(ArchiveError::broken("it ends in the middle"));
        }
        Ok(writer.finalize()?)
    }

    fn put(&mut self, path: &[u8], id: Oid, mode: u32) -> Result<(), ArchiveError> {
        self.files += 1;
        if self.files > self.limits.files_max {
            let what = format!("at least {} files", self.files);
            return Err(ArchiveError::OverLimit { what, limit: self.limits.files_max.to_string() });
        }
        let parts = parts(path, &self.limits)?;
        let Some((last, above)) = parts.split_last() else {
            return Err(ArchiveError::refused(path, "it is not the name of a file"));
        };
        match self.open(path, above)?.entry(last.to_vec()) {
            Entry::Occupied(_) => Err(ArchiveError::refused(path, "it stands twice in the archive")),
            Entry::Vacant(place) => {
                place.insert(Node::File { id, mode });
                Ok(())
            }
        }
    }

    /// The folder at the end of the parts; made where it is not there. A link is never followed.
    fn open(&mut self, path: &[u8], parts: &[&[u8]]) -> Result<&mut Folder, ArchiveError> {
        let mut folder = &mut self.root;
        for part in parts {
            let node = folder.entry(part.to_vec()).or_insert_with(|| Node::Folder(Folder::new()));
            match node {
                Node::Folder(inner) => folder = inner,
                Node::File { .. } => {
                    return Err(ArchiveError::refused(path, "it lies below something that is not a folder"));
                }
            }
        }
        Ok(folder)
    }

    /// Writes the tree objects; gives that of the top, without a single folder around everything.
    pub(super) fn write(mut self) -> Result<Oid, ArchiveError> {
        if self.files == 0 {
            return Err(ArchiveError::broken("it holds no file"));
        }
        if self.root.len() == 1
            && let Some((name, node)) = self.root.pop_first()
        {
            match node {
                Node::Folder(inner) => self.root = inner,
                file @ Node::File { .. } => {
                    self.root.insert(name, file);
                }
            }
        }
        let root = std::mem::take(&mut self.root);
        self.tree(&root)?.ok_or_else(|| ArchiveError::broken("it holds no file"))
    }

    /// `None` for a folder without a file, which git does not know.
    fn tree(&self, folder: &Folder) -> Result<Option<Oid>, ArchiveError> {
        if self.cancel.is_cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        let mut lines: Vec<(Vec<u8>, u32, &[u8], Oid)> = Vec::with_capacity(folder.len());
        for (name, node) in folder {
            match node {
                Node::File { id, mode } => lines.push((name.clone(), *mode, name, *id)),
                Node::Folder(inner) => {
                    if let Some(id) = self.tree(inner)? {
                        // Git sorts a folder as if its name ended with a slash.
                        lines.push(([name.as_slice(), b"/"].concat(), FOLDER, name, id));
                    }
                }
            }
        }
        if lines.is_empty() {
            return Ok(None);
        }
        lines.sort();
        let mut object = Vec::new();
        for (_, mode, name, id) in &lines {
            object.extend_from_slice(format!("{mode:o} ").as_bytes());
            object.extend_from_slice(name);
            object.push(0);
            object.extend_from_slice(id.as_bytes());
        }
        Ok(Some(self.odb.write(ObjectType::Tree, &object)?))
    }
}

/// The names along a path, each of them one that a tree may have.
fn parts<'p>(path: &'p [u8], limits: &SourceLimits) -> Result<Vec<&'p [u8]>, ArchiveError> {
    if path.first() == Some(&b'/') {
        return Err(ArchiveError::refused(path, "it is an absolute path"));
    }
    if path.len() > limits.path_bytes_max {
        let what = format!("a path of {} bytes", path.len());
        return Err(ArchiveError::OverLimit { what, limit: format!("{} bytes", limits.path_bytes_max) });
    }
    if path.contains(&0) {
        return Err(ArchiveError::refused(path, "its name holds a NUL byte"));
    }
    let parts: Vec<&[u8]> =
        path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    for part in &parts {
        if *part == b".." {
            return Err(ArchiveError::refused(path, "it leads out of the archive"));
        }
        if let Some(why) = rules::name_fault(part) {
            return Err(ArchiveError::refused(path, why));
        }
    }
    if parts.len() > limits.depth_max + 1 {
        let what = "folders too deep within folders".to_owned();
        return Err(ArchiveError::OverLimit { what, limit: format!("{} levels", limits.depth_max) });
    }
    Ok(parts)
}
