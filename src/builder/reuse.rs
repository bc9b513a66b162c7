//! What an install step made, kept for the next build: copied back when everything that decides it is the
//! same, byte for byte.
//!
//! One kept folder for each app and folder name, in `CACHE/APP/reuse/FOLDER`: `key` holds what decided,
//! `made_in` the artifact it was made in, `tree` the folder. The key is removed first and written last, so
//! a half-written folder is never used.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use autostack_domain::EnvMap;

use crate::{
    plan::{Reuse, Step},
    source::Source,
    toolchains::Toolchains,
};

/// Copies a folder with everything that matters; shares blocks where the filesystem can.
pub(crate) const COPY: &str =
    r#"mkdir -p -- "${AUTOSTACK_TO%/*}" && cp -a --reflink=auto -- "$AUTOSTACK_FROM" "$AUTOSTACK_TO""#;

/// A folder that may be reused, and where it is kept.
pub(crate) struct Kept {
    home: PathBuf,
    key: Vec<u8>,
    made: PathBuf,
    dir: PathBuf,
}

impl Kept {
    /// What `reuse` means for the artifact in `dir`; `None` where something that decides cannot be read.
    pub(crate) fn new(
        reuse: &Reuse,
        step: &Step,
        dir: &Path,
        app_cache: &Path,
        env: &EnvMap,
        tools: &Toolchains,
    ) -> Option<Self> {
        let source = Source::open(dir).ok()?;
        let mut key = Vec::new();
        add(&mut key, step.command.as_bytes());
        add(&mut key, tools.identity(&reuse.tool)?.as_bytes());
        for file in &reuse.decided_by {
            add(&mut key, &source.read(file).ok()?.unwrap_or_default());
        }
        // What an install obeys besides its files: a registry, a platform, flags for native code.
        for (name, value) in env.iter().filter(|(name, _)| decides_an_install(name)) {
            add(&mut key, name.as_bytes());
            add(&mut key, value);
        }
        Some(Self {
            home: app_cache.join("reuse").join(reuse.folder.replace('/', "_")),
            key,
            made: dir.join(&reuse.folder),
            dir: dir.to_owned(),
        })
    }

    /// Whether the kept folder is the one that the step would make.
    pub(crate) fn fits(&self) -> bool {
        !self.made.exists() && fs::read(self.home.join("key")).is_ok_and(|key| key == self.key)
    }

    /// From where to where the kept folder is copied into the artifact.
    pub(crate) fn restore_paths(&self) -> (PathBuf, PathBuf) {
        (self.home.join("tree"), self.made.clone())
    }

    /// Finishes a restored folder: programs of a virtual environment name the artifact that they were made
    /// in.
    pub(crate) fn relocate(&self) -> io::Result<()> {
        let old = fs::read(self.home.join("made_in"))?;
        let new = self.dir.as_os_str().as_encoded_bytes();
        let bin = self.made.join("bin");
        if old == new || !bin.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(bin)? {
            rewrite_paths(&entry?.path(), &old, new)?;
        }
        let settings = self.made.join("pyvenv.cfg");
        if settings.exists() { rewrite_paths(&settings, &old, new) } else { Ok(()) }
    }

    /// Makes room for a new copy, and says from where to where it goes; `None` if there is nothing to keep.
    pub(crate) fn begin_keep(&self) -> io::Result<Option<(PathBuf, PathBuf)>> {
        if !self.made.is_dir() {
            return Ok(None);
        }
        fs::create_dir_all(&self.home)?;
        for old in ["key", "made_in"] {
            remove_if_there(fs::remove_file(self.home.join(old)))?;
        }
        remove_if_there(fs::remove_dir_all(self.home.join("tree")))?;
        Ok(Some((self.made.clone(), self.home.join("tree"))))
    }

    /// The copy is complete: from now on it may be used.
    pub(crate) fn end_keep(&self) -> io::Result<()> {
        fs::write(self.home.join("made_in"), self.dir.as_os_str().as_encoded_bytes())?;
        fs::write(self.home.join("key.new"), &self.key)?;
        fs::rename(self.home.join("key.new"), self.home.join("key"))
    }
}

/// Adds a part with its length, so that two parts never look like two others.
fn add(key: &mut Vec<u8>, part: &[u8]) {
    key.extend(part.len().to_le_bytes());
    key.extend(part);
}

/// Whether a variable of the config tells installers where to fetch, or compilers how to compile.
pub(crate) fn decides_an_install(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["NPM_CONFIG_", "PIP_", "UV_", "YARN_", "NODE_", "PYTHON", "CC", "CXX", "CFLAGS", "LDFLAGS"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn remove_if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Replaces `old` by `new` in a regular text file.
fn rewrite_paths(file: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    /// Larger files are programs, not scripts.
    const SCRIPT_BYTES_MAX: u64 = 256 * 1024;
    let known = fs::symlink_metadata(file)?;
    if !known.is_file() || known.len() > SCRIPT_BYTES_MAX {
        return Ok(());
    }
    let content = fs::read(file)?;
    if content.contains(&0) {
        return Ok(());
    }
    let mut written = Vec::with_capacity(content.len());
    let mut rest = content.as_slice();
    while let Some(at) = rest.windows(old.len()).position(|window| window == old) {
        written.extend(&rest[..at]);
        written.extend(new);
        rest = &rest[at + old.len()..];
    }
    written.extend(rest);
    if written == content { Ok(()) } else { fs::write(file, written) }
}
