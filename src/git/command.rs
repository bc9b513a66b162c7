//! How every git child is started: which program, with which variables and which settings.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{AccessFlags, access};

/// `PATH` of a child if the agent itself has none.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Bytes from which git streams an object instead of holding it in memory (`core.bigFileThreshold`).
const STREAMED_FROM: &str = "core.bigFileThreshold=4m";

/// Settings that hold for every child, as `-c` arguments.
const SETTINGS: [&str; 9] = [
    // Only a repository that is named outright is opened, never one found by searching upwards.
    "safe.bareRepository=explicit",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.allow=never",
    STREAMED_FROM,
    "core.packedGitWindowSize=16m",
    "gc.auto=0",
    "maintenance.auto=false",
    "receive.autogc=false",
];

/// Git is not on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("git is not installed: no program of that name in {path:?}; install the package git")]
pub struct GitMissing {
    /// The `PATH` that was searched.
    pub path: OsString,
}

/// A command `git -c … ` for `repository`, an absolute path, with a cleared environment; the caller adds
/// its own settings and the verb.
pub(crate) fn git(repository: &Path) -> Result<Command, GitMissing> {
    let path = env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| PATH_DEFAULT.into());
    let mut command = Command::new(find(&path)?);
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for setting in SETTINGS {
        command.arg("-c").arg(setting);
    }
    // The data directory may belong to another user than the agent, after a restore for instance.
    let mut trusted = OsString::from("safe.directory=");
    trusted.push(repository);
    command.arg("-c").arg(trusted);
    Ok(command)
}

/// An absolute program path spares the child the search, and lets the standard library use `posix_spawn`.
fn find(path: &OsStr) -> Result<PathBuf, GitMissing> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("git"))
        .find(|program| program.is_file() && access(program, AccessFlags::X_OK).is_ok())
        .ok_or_else(|| GitMissing { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_git_is_named_as_such() {
        let error = find(OsStr::new("/nonexistent:relative")).unwrap_err();
        assert!(error.to_string().contains("git is not installed"), "{error}");
    }
}
