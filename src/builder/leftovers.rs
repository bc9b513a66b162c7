//! What an agent that was killed in the middle of its builds has left: their processes and temporary folders.

use std::{fs, io, path::Path};

use crate::tree::ProcessTree;

/// The folder in an app's cache that holds one folder for each build under way, named by the build's id.
pub(crate) const TEMPORARY: &str = "tmp";

/// Ends every process of a build whose temporary folder is still there, and removes the folder. For an agent that
/// runs no build yet. Returns how many builds there were.
pub(crate) fn sweep(cache_dir: &Path) -> io::Result<usize> {
    let mut found = 0;
    for app in names(cache_dir)? {
        let builds = cache_dir.join(app).join(TEMPORARY);
        for id in names(&builds)? {
            let folder = builds.join(&id);
            ProcessTree::new(&id, &folder).kill();
            fs::remove_dir_all(&folder)?;
            found += 1;
        }
    }
    Ok(found)
}

/// The folders in a folder; none where it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;
    use crate::tree::MARK;

    #[test]
    fn builds_that_were_cut_off_are_ended_and_others_left_alone() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(sweep(&cache.path().join("nothing")).unwrap(), 0);
        let id = "0c6b2e30-sweep-of-a-cut-off-build";
        let folder = cache.path().join("shop").join(TEMPORARY).join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(cache.path().join("shop/npm")).unwrap();
        let sleeper = |mark: &str| Command::new("sleep").arg("1000").env(MARK, mark).spawn().unwrap();
        let (mut left, mut other) = (sleeper(id), sleeper("0c6b2e30-another"));
        assert_eq!(sweep(cache.path()).unwrap(), 1);
        assert_eq!(left.wait().unwrap().signal(), Some(9));
        assert!(!folder.exists() && cache.path().join("shop/npm").exists());
        assert!(other.try_wait().unwrap().is_none(), "a build of somebody else runs on");
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(sweep(cache.path()).unwrap(), 0);
    }
}
