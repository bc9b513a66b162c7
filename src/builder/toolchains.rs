//! Which programs the host has.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use autostack_domain::{EnvMap, env_map::SYSTEM_PATH};

/// The folders in which programs are looked for, by builds and by apps alike. Looks at the disk at each
/// question, so a program that an operator installs is there for the next push.
#[derive(Debug, Clone)]
pub struct Toolchains {
    path: String,
}

impl Default for Toolchains {
    fn default() -> Self {
        Self::new(SYSTEM_PATH)
    }
}

impl Toolchains {
    /// Looks in these folders, separated by colons; anything but an absolute folder is left out.
    pub fn new(path: &str) -> Self {
        let absolute: Vec<&str> = path.split(':').filter(|folder| folder.starts_with('/')).collect();
        Self { path: absolute.join(":") }
    }

    /// Looks where an app with this config looks: in its `PATH`, else in the system's.
    pub fn of(config: &EnvMap) -> Self {
        match config.get("PATH").map(String::from_utf8_lossy) {
            Some(path) => Self::new(&path),
            None => Self::default(),
        }
    }

    /// The folders, as a value of `PATH`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the program is; `None` if it is not installed.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            return None;
        }
        self.path.split(':').map(|folder| Path::new(folder).join(program)).find(|file| is_executable(file))
    }

    /// Whether the program is installed.
    pub fn has(&self, program: &str) -> bool {
        self.find(program).is_some()
    }

    /// Text that changes when the program is replaced: an upgrade, another version.
    pub fn identity(&self, program: &str) -> Option<String> {
        let file = fs::canonicalize(self.find(program)?).ok()?;
        let known = fs::metadata(&file).ok()?;
        Some(format!("{} {} {}.{}", file.display(), known.len(), known.mtime(), known.mtime_nsec()))
    }
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_files_in_absolute_folders_count() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        fs::write(&file, "").unwrap();
        let tools = Toolchains::new(&format!("relative::.:{}", dir.path().display()));
        assert_eq!(tools.path(), dir.path().to_str().unwrap());
        assert!(!tools.has("tool"), "not executable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(tools.find("tool"), Some(file.clone()));
        assert!(!tools.has("../tool"));
        let before = tools.identity("tool");
        fs::write(&file, "other").unwrap();
        assert_ne!(tools.identity("tool"), before);
        assert!(before.is_some());
    }
}
