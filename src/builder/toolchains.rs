//! Which programs the host has, or an image will have.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use autostack_domain::{EnvMap, env_map::SYSTEM_PATH};

/// Where a plan's programs come from.
///
/// On a host they are looked for in folders, by builds and by apps alike. The disk is looked at at each
/// question, so a program that an operator installs is there for the next push.
#[derive(Debug, Clone)]
pub struct Toolchains {
    /// `None` where an image brings the programs.
    path: Option<String>,
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
        Self { path: Some(absolute.join(":")) }
    }

    /// Looks where an app with this config looks: in its `PATH`, else in the system's.
    pub fn of(config: &EnvMap) -> Self {
        match config.get("PATH").map(String::from_utf8_lossy) {
            Some(path) => Self::new(&path),
            None => Self::default(),
        }
    }

    /// For a plan that is carried out in an image: whatever it needs is brought by the base image that is
    /// chosen after the plan, and nothing of the host decides.
    pub fn of_an_image() -> Self {
        Self { path: None }
    }

    /// Whether an image brings the programs.
    pub fn are_of_an_image(&self) -> bool {
        self.path.is_none()
    }

    /// The folders, as a value of `PATH`.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(SYSTEM_PATH)
    }

    /// Where the program is on the host; `None` if it is not installed, and for an image's.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            return None;
        }
        let folders = self.path.as_deref()?.split(':');
        folders.map(|folder| Path::new(folder).join(program)).find(|file| is_executable(file))
    }

    /// Whether the program is installed on the host, or can be had in an image.
    pub fn has(&self, program: &str) -> bool {
        self.are_of_an_image() || self.find(program).is_some()
    }

    /// Text that changes when the program is replaced: an upgrade, another version.
    pub fn identity(&self, program: &str) -> Option<String> {
        let file = fs::canonicalize(self.find(program)?).ok()?;
        let known = fs::metadata(&file).ok()?;
        Some(format!("{} {} {}.{}", file.display(), known.len(), known.mtime(), known.mtime_nsec()))
    }

    /// The version that the installed program's file or folder is named after, without running it: Debian
    /// names most so (`ruby3.1`, `php8.2`, `/usr/lib/go-1.19/bin/go`, `java-17-openjdk-amd64`).
    pub fn version(&self, program: &str) -> Option<String> {
        let file = fs::canonicalize(self.find(program)?).ok()?;
        let names = file.components().rev().filter_map(|part| part.as_os_str().to_str().map(str::to_owned));
        names.into_iter().find_map(|name| version_in(&name, program))
    }
}

/// `ruby3.1` for `ruby` → `3.1`; `java-17-openjdk` for `java` → `17`.
fn version_in(name: &str, program: &str) -> Option<String> {
    let rest = name.strip_prefix(program)?;
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    rest.starts_with(|c: char| c.is_ascii_digit()).then(|| rest[..end].trim_end_matches('.').to_owned())
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

    #[test]
    fn versions_are_read_from_names() {
        assert_eq!(version_in("ruby3.1", "ruby"), Some("3.1".into()));
        assert_eq!(version_in("go-1.19", "go"), Some("1.19".into()));
        assert_eq!(version_in("java-17-openjdk-amd64", "java"), Some("17".into()));
        for (name, program) in [("ruby", "ruby"), ("gopher2", "go"), ("bin", "go"), ("node", "node")] {
            assert_eq!(version_in(name, program), None, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("ruby3.4");
        fs::write(&real, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&real, folder.path().join("ruby")).unwrap();
        let tools = Toolchains::new(folder.path().to_str().unwrap());
        assert_eq!(tools.version("ruby").as_deref(), Some("3.4"));
        assert_eq!(tools.version("gone"), None);
    }

    #[test]
    fn an_image_brings_what_a_plan_asks_for() {
        let tools = Toolchains::of_an_image();
        assert!(tools.has("go") && tools.has("python3.14"));
        assert_eq!((tools.find("sh"), tools.identity("sh"), tools.version("go")), (None, None, None));
    }
}
