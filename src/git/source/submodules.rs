//! Where the submodules of an inspected commit are: the tree says where and which commit, `.gitmodules` says from whom.

use std::collections::BTreeMap;

use autostack_domain::limits;
use git2::Oid;

use super::{
    gitmodules::Said,
    inspect::{Named, join},
    objects::{Objects, entries},
    report::{SourceError, Submodule},
    rules::Kind,
};

/// The submodules of a commit.
#[derive(Default)]
pub(super) struct Places {
    /// Those to be fetched, as they stand in the tree.
    pub(super) wanted: Vec<Submodule>,
    /// A sentence for those that are not.
    pub(super) notes: Vec<String>,
}

struct Search<'a> {
    objects: &'a Objects,
    said: &'a BTreeMap<Vec<u8>, Said>,
    has_submodules: &'a dyn Fn(Oid) -> bool,
    wanted: Vec<Submodule>,
    unknown: Named,
    left_out: Named,
}

impl Places {
    /// Looks below a tree that was inspected; only the folders that `has_submodules` are read.
    pub(super) fn find(
        objects: &Objects,
        tree: Oid,
        said: &BTreeMap<Vec<u8>, Said>,
        has_submodules: &dyn Fn(Oid) -> bool,
    ) -> Result<Self, SourceError> {
        if !has_submodules(tree) {
            return Ok(Self::default());
        }
        let (unknown, left_out) = (Named::default(), Named::default());
        let mut search = Search { objects, said, has_submodules, wanted: Vec::new(), unknown, left_out };
        search.folder(tree, &mut Vec::new())?;
        let mut notes = Vec::new();
        if let Some(names) = search.unknown.spoken() {
            notes.push(format!(
                "Submodule {names} is not fetched: .gitmodules does not say from where, so its folder stays empty. \
                 Add it with git submodule add URL, or commit its files."
            ));
        }
        if let Some(names) = search.left_out.spoken() {
            notes.push(format!("Submodule {names} is left out: .gitmodules says update = none."));
        }
        Ok(Self { wanted: search.wanted, notes })
    }
}

impl Search<'_> {
    fn folder(&mut self, tree: Oid, path: &mut Vec<u8>) -> Result<(), SourceError> {
        let tree = self.objects.tree(tree, path)?;
        for entry in entries(tree.data()).flatten() {
            let length = path.len();
            join(path, entry.name);
            match Kind::of(entry.mode) {
                Some(Kind::Folder) if (self.has_submodules)(entry.id) => self.folder(entry.id, path)?,
                Some(Kind::Submodule) => self.place(path, entry.id)?,
                _ => {}
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn place(&mut self, path: &[u8], commit: Oid) -> Result<(), SourceError> {
        let said = self.said.get(path);
        let known = said.and_then(Said::url).zip(std::str::from_utf8(path).ok());
        match (said, known) {
            (Some(said), _) if said.is_left_out() => self.left_out.add(path),
            (_, Some((url, path))) => {
                let commit = commit.to_string().parse().map_err(|_| SourceError::Broken {
                    what: path.to_owned(),
                    why: "it has no id of a commit",
                })?;
                self.wanted.push(Submodule { path: path.to_owned(), commit, url: url.to_owned() });
            }
            _ => self.unknown.add(path),
        }
        Ok(())
    }
}

/// Said of a commit, and of all that belong to it.
pub(super) fn too_many(count: usize) -> SourceError {
    SourceError::OverLimit {
        what: format!("the commit has at least {count} submodules"),
        limit: limits::SUBMODULES_MAX.to_string(),
    }
}
