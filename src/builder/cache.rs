//! The bound of an app's cache: emptied whole when it has grown too large, looked at once a day.
//!
//! Tools never remove what no lock file names any more, and which of it is still of use only they know; the
//! next build fetches again what it needs.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

/// Bytes that the cache of one app may take.
pub(crate) const CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// How long a look is good for.
const LOOK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The file whose age says when the cache was last looked at.
const LOOKED: &str = ".autostack-looked";

/// Empties the cache if it is larger than `bytes_max` and was not looked at for a day. Returns how large it
/// was if it was emptied.
pub(crate) fn keep_within(app_cache: &Path, bytes_max: u64, now: SystemTime) -> io::Result<Option<u64>> {
    let looked = app_cache.join(LOOKED);
    let age = fs::metadata(&looked).and_then(|known| known.modified()).map(|at| now.duration_since(at));
    if matches!(age, Ok(Ok(age)) if age < LOOK_INTERVAL) || !app_cache.is_dir() {
        return Ok(None);
    }
    let bytes = size(app_cache)?;
    if bytes > bytes_max {
        fs::remove_dir_all(app_cache)?;
        return Ok(Some(bytes));
    }
    fs::write(looked, b"")?;
    Ok(None)
}

/// Bytes of all files below a folder; symlinks are not followed.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let known = entry.metadata()?;
            if known.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += known.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_has_grown_too_large_is_emptied_once_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("app");
        fs::create_dir_all(cache.join("npm")).unwrap();
        fs::write(cache.join("npm/a"), vec![0; 100]).unwrap();
        std::os::unix::fs::symlink("/", cache.join("npm/root")).unwrap();
        let now = SystemTime::now();
        assert_eq!(keep_within(&cache, 1000, now).unwrap(), None);
        fs::write(cache.join("npm/b"), vec![0; 2000]).unwrap();
        assert_eq!(keep_within(&cache, 1000, now).unwrap(), None, "looked at a moment ago");
        let tomorrow = now + LOOK_INTERVAL + Duration::from_secs(5);
        assert!(keep_within(&cache, 1000, tomorrow).unwrap().unwrap() > 2000);
        assert!(!cache.exists());
        assert_eq!(keep_within(&cache, 1000, tomorrow).unwrap(), None);
    }
}
