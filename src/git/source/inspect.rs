//! Looks through a commit before anything of it is written.
//!
//! Each tree object is read once, however often it stands in the commit, and what is below it is summed up
//! from its parts: ten objects of ten lines that claim to be 10^10 files cost ten reads.

use std::collections::{BTreeMap, HashMap};

use autostack_domain::{CommitId, limits};
use git2::Oid;
use tokio_util::sync::CancellationToken;

use super::{
    gitmodules,
    objects::{Entry, Objects, entries},
    report::{SourceError, SourceLimits, SourceReport, spoken, spoken_bytes},
    rules::{self, Kind},
    submodules::{self, Places},
};

/// LFS files that are named one by one; the rest is counted.
const NAMED_MAX: usize = 5;
/// How an LFS pointer begins.
const LFS_HEAD: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Bytes between which the size of an LFS pointer lies: its three lines, and room for an extension.
const LFS_BYTES: std::ops::RangeInclusive<u64> = 120..=512;

/// What is below a tree object, wherever it stands.
#[derive(Debug, Clone, Default)]
struct Below {
    files: u64,
    folders: u64,
    bytes: u64,
    submodules: usize,
    /// Folders within folders below it.
    depth: usize,
    /// Longest path below it, in bytes.
    path_bytes: usize,
    /// The link that climbs highest above this folder: how far, and its path from here.
    climber: Option<(usize, Vec<u8>)>,
}

struct Inspection<'a> {
    objects: &'a Objects,
    limits: &'a SourceLimits,
    cancel: &'a CancellationToken,
    seen: HashMap<Oid, Below>,
    /// Entries of all trees read so far: a lower bound of what the commit holds.
    entries_read: u64,
    said: BTreeMap<Vec<u8>, gitmodules::Said>,
    lfs_files: Named,
}

pub(super) fn inspect(
    objects: &Objects,
    id: &CommitId,
    limits: &SourceLimits,
    cancel: &CancellationToken,
) -> Result<SourceReport, SourceError> {
    let commit = objects.commit(id.as_str())?;
    let commit_id = commit
        .id
        .to_string()
        .parse()
        .map_err(|_| SourceError::Broken { what: format!("commit {id}"), why: "it has no id of a commit" })?;
    let mut inspection = Inspection {
        objects,
        limits,
        cancel,
        seen: HashMap::new(),
        entries_read: 0,
        said: BTreeMap::new(),
        lfs_files: Named::default(),
    };
    let below = inspection.folder(commit.tree, &mut Vec::new(), 0)?;
    // Whoever shares a tree object with others has been seen once, so their places are looked up again.
    let has_submodules = |tree| inspection.seen.get(&tree).is_some_and(|below| below.submodules > 0);
    let places = Places::find(objects, commit.tree, &inspection.said, &has_submodules)?;
    let mut notes = inspection.notes();
    notes.extend(places.notes);
    Ok(SourceReport {
        commit: commit_id,
        subject: commit.subject,
        files: below.files,
        bytes: below.bytes,
        submodules: places.wanted,
        notes,
        tree: commit.tree,
    })
}

impl Inspection<'_> {
    /// `depth` is how many folders lie above this one within the commit.
    fn folder(&mut self, id: Oid, path: &mut Vec<u8>, depth: usize) -> Result<Below, SourceError> {
        // Here for commits without files, and in `entry` for folders with many.
        self.check_cancelled()?;
        if depth > self.limits.depth_max {
            return Err(self.too_deep(path));
        }
        if let Some(below) = self.seen.get(&id) {
            let below = below.clone();
            return self.hold_to_limits(below, path, depth);
        }
        let tree = self.objects.tree(id, path)?;
        let mut below = Below::default();
        let mut previous: &[u8] = &[];
        for entry in entries(tree.data()) {
            let entry = entry.ok_or_else(|| SourceError::Broken {
                what: spoken(path),
                why: "its list of files cannot be read",
            })?;
            let length = path.len();
            join(path, entry.name);
            if entry.name == previous {
                return Err(refused(path, "it stands twice in its folder"));
            }
            previous = entry.name;
            self.entry(&entry, path, depth, &mut below)?;
            path.truncate(length);
        }
        self.seen.insert(id, below.clone());
        self.hold_to_limits(below, path, depth)
    }

    fn entry(
        &mut self,
        entry: &Entry<'_>,
        path: &mut Vec<u8>,
        depth: usize,
        below: &mut Below,
    ) -> Result<(), SourceError> {
        self.check_cancelled()?;
        self.entries_read += 1;
        if self.entries_read > self.limits.files_max.saturating_mul(2) {
            return Err(self.too_many("files and folders", self.entries_read));
        }
        if let Some(why) = rules::name_fault(entry.name) {
            return Err(refused(path, why));
        }
        below.path_bytes = below.path_bytes.max(entry.name.len());
        match Kind::of(entry.mode) {
            Some(Kind::Folder) => {
                let inner = self.folder(entry.id, path, depth + 1)?;
                below.take_over(&inner, entry.name);
            }
            Some(Kind::File { .. }) => {
                below.files += 1;
                below.bytes = below.bytes.saturating_add(self.file(entry, path, depth)?);
            }
            Some(Kind::Link) => {
                below.files += 1;
                self.link(entry, path, depth, below)?;
            }
            Some(Kind::Submodule) => {
                below.folders += 1;
                below.submodules += 1;
            }
            None => return Err(refused(path, "it is neither a file, a folder, a link nor a submodule")),
        }
        Ok(())
    }

    fn check_cancelled(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() { Err(SourceError::Cancelled) } else { Ok(()) }
    }

    fn file(&mut self, entry: &Entry<'_>, path: &[u8], depth: usize) -> Result<u64, SourceError> {
        let bytes = self.objects.blob_bytes(entry.id, path)?;
        if bytes > self.limits.file_bytes_max {
            return Err(SourceError::OverLimit {
                what: format!("{} has {}", spoken(path), spoken_bytes(bytes)),
                limit: format!("{} for one file", spoken_bytes(self.limits.file_bytes_max)),
            });
        }
        if LFS_BYTES.contains(&bytes) {
            let blob = self.objects.blob(entry.id, *LFS_BYTES.end(), path)?;
            if blob.data().starts_with(LFS_HEAD) {
                self.lfs_files.add(path);
            }
        }
        if depth == 0 && entry.name == b".gitmodules" {
            let blob = self.objects.blob(entry.id, gitmodules::BYTES_MAX, path)?;
            if let Some(why) = gitmodules::fault(blob.data()) {
                return Err(refused(path, &why));
            }
            self.said = gitmodules::places(blob.data()).map_err(|why| refused(path, &why))?;
        }
        Ok(bytes)
    }

    fn link(
        &self,
        entry: &Entry<'_>,
        path: &[u8],
        depth: usize,
        below: &mut Below,
    ) -> Result<(), SourceError> {
        let target = self.objects.blob(entry.id, rules::LINK_BYTES_MAX, path)?;
        let climb = rules::link_climb(target.data()).map_err(|why| refused(path, why))?;
        if climb > depth {
            return Err(refused(path, rules::LEAVES_TREE));
        }
        below.climbs(climb, || entry.name.to_vec());
        Ok(())
    }

    /// What is below a folder is known; whether it fits depends on where the folder stands.
    fn hold_to_limits(&self, below: Below, path: &[u8], depth: usize) -> Result<Below, SourceError> {
        if let Some((climb, link)) = &below.climber
            && *climb > depth
        {
            let mut full = path.to_vec();
            join(&mut full, link);
            return Err(refused(&full, rules::LEAVES_TREE));
        }
        if depth + below.depth > self.limits.depth_max {
            return Err(self.too_deep(path));
        }
        if path.len() + 1 + below.path_bytes > self.limits.path_bytes_max {
            return Err(SourceError::OverLimit {
                what: format!("a path in {} has {} bytes", spoken(path), path.len() + 1 + below.path_bytes),
                limit: format!("{} bytes", self.limits.path_bytes_max),
            });
        }
        if below.files > self.limits.files_max {
            return Err(self.too_many("files", below.files));
        }
        if below.folders > self.limits.files_max {
            return Err(self.too_many("folders", below.folders));
        }
        if below.submodules > limits::SUBMODULES_MAX {
            return Err(submodules::too_many(below.submodules));
        }
        if below.bytes > self.limits.bytes_max {
            return Err(SourceError::OverLimit {
                what: format!("the commit has at least {}", spoken_bytes(below.bytes)),
                limit: spoken_bytes(self.limits.bytes_max),
            });
        }
        Ok(below)
    }

    fn too_many(&self, what: &str, count: u64) -> SourceError {
        SourceError::OverLimit {
            what: format!("the commit has at least {count} {what}"),
            limit: self.limits.files_max.to_string(),
        }
    }

    fn too_deep(&self, path: &[u8]) -> SourceError {
        SourceError::OverLimit {
            what: format!("{} holds folders too deep within folders", spoken(path)),
            limit: format!("{} levels", self.limits.depth_max),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(names) = self.lfs_files.spoken() {
            notes.push(format!(
                "Git LFS is not supported: {names} is a pointer, not the file itself. \
                 Commit the file without LFS: git lfs migrate export --everything --include='*'."
            ));
        }
        notes
    }
}

impl Below {
    /// Adds what is in the folder `name`, and the folder itself.
    fn take_over(&mut self, inner: &Below, name: &[u8]) {
        self.files = self.files.saturating_add(inner.files);
        self.folders = self.folders.saturating_add(inner.folders).saturating_add(1);
        self.bytes = self.bytes.saturating_add(inner.bytes);
        self.submodules = self.submodules.saturating_add(inner.submodules);
        self.depth = self.depth.max(inner.depth + 1);
        self.path_bytes = self.path_bytes.max(name.len() + 1 + inner.path_bytes);
        if let Some((climb, link)) = &inner.climber {
            self.climbs(climb - 1, || {
                let mut path = name.to_vec();
                join(&mut path, link);
                path
            });
        }
    }

    fn climbs(&mut self, climb: usize, path: impl FnOnce() -> Vec<u8>) {
        if climb > self.climber.as_ref().map_or(0, |(highest, _)| *highest) {
            self.climber = Some((climb, path()));
        }
    }
}

/// Paths for a note: the first few, and how many there are.
#[derive(Default)]
pub(super) struct Named {
    first: Vec<String>,
    count: usize,
}

impl Named {
    pub(super) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push(spoken(path));
        }
    }

    pub(super) fn spoken(&self) -> Option<String> {
        let names = self.first.join(", ");
        match self.count - self.first.len() {
            _ if self.count == 0 => None,
            0 => Some(names),
            more => Some(format!("{names} and {more} more")),
        }
    }
}

pub(super) fn join(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

fn refused(path: &[u8], why: &str) -> SourceError {
    SourceError::Refused { path: spoken(path), why: why.to_owned() }
}
