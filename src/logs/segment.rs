//! The files of a stream: `START.log`, where `START` is the offset of the file's first byte.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    error::LogError,
    frame::{self, HEADER_BYTES, Salt},
    window::Window,
};

/// The file of the segment that begins at `start`; 20 digits, so that names sort as numbers do.
pub(crate) fn path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}.log"))
}

/// Where the segments of a folder begin, the oldest first; none if there is no folder. Other files are
/// left alone.
pub(crate) fn list(dir: &Path) -> Result<Vec<u64>, LogError> {
    let failed = |source| LogError::OpenFolder { path: dir.to_owned(), source };
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut starts = Vec::new();
    for item in listing {
        starts.extend(start_of(&item.map_err(failed)?.file_name().to_string_lossy()));
    }
    starts.sort_unstable();
    Ok(starts)
}

fn start_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Makes a segment with a header and `first` frames behind it, whole or not at all. A file that already
/// has the name is what is left of a power cut: it is replaced, and kept, empty, if that fails, because its
/// name alone may keep the offset.
pub(crate) fn create(dir: &Path, start: u64, salt: Salt, frames: &[u8]) -> Result<File, LogError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| LogError::OpenFolder { path: dir.to_owned(), source })?;
    let path = path(dir, start);
    let is_kept = path.exists();
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).and_then(
        |mut file| {
            file.write_all(&frame::header(salt))?;
            file.write_all(frames)?;
            Ok(file)
        },
    );
    made.map_err(|source| {
        let undone = if is_kept {
            OpenOptions::new().write(true).truncate(true).open(&path).map(|_| ())
        } else {
            fs::remove_file(&path)
        };
        if let Err(error) = undone {
            tracing::warn!(path = %path.display(), %error, "an unfinished log segment is left behind");
        }
        LogError::Write { path, source }
    })
}

/// Opens a segment for writing; `None` if its header is damaged or somebody took the file, so that nothing
/// can be added to it.
pub(crate) fn open(dir: &Path, start: u64) -> Result<Option<(File, Salt)>, LogError> {
    let path = path(dir, start);
    let failed = |source| LogError::OpenSegment { path: path.clone(), source };
    match OpenOptions::new().write(true).open(&path) {
        Ok(file) => {
            let salt = salt(&mut Window::new(path.clone())).map_err(failed)?;
            Ok(salt.map(|salt| (file, salt)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The salt of a segment; `None` if its header is damaged.
pub(crate) fn salt(window: &mut Window) -> io::Result<Option<Salt>> {
    window.set_limit(HEADER_BYTES);
    let header = window.forward(0, HEADER_BYTES)?;
    Ok(frame::salt_of(header))
}

/// Makes what was done to the folder itself durable: files made, renamed, removed.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_listed_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["00000000000000000100.log", "00000000000000000009.log", "notes.log", "1.log", "x"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(list(dir.path()).unwrap(), [9, 100]);
        assert!(list(&dir.path().join("missing")).unwrap().is_empty());
        assert_eq!(start_of(path(dir.path(), 77).file_name().unwrap().to_str().unwrap()), Some(77));
    }
}
