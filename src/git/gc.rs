//! A repository that is packed anew: `git gc` as a child.

use std::{fs, io, path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, runtime::Handle, time::timeout};

use crate::command::{self, GitMissing};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Bytes that packing may take of the host's memory.
const WINDOW_MEMORY: &str = "pack.windowMemory=64m";

/// Why a repository could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// No git on this host.
    #[error(transparent)]
    GitMissing(#[from] GitMissing),
    /// It could not be started or read.
    #[error("git gc cannot be run")]
    Run(#[from] io::Error),
    /// It failed.
    #[error("git gc ended with {0}")]
    Failed(String),
}

/// Packs a bare repository, an absolute path. What nobody names goes after two weeks, so pushes may go on meanwhile.
/// Gives the size of its objects before and after, in bytes.
///
/// # Errors
/// Git is missing, fails or takes longer than ten minutes; the repository is as good as before.
pub async fn collect(repository: &Path) -> Result<(u64, u64), GcError> {
    let before = size(repository).await?;
    let mut git = command::git(repository)?;
    for setting in [WINDOW_MEMORY, "pack.threads=1", "gc.pruneExpire=2.weeks.ago", "core.fsync=committed"] {
        git.arg("-c").arg(setting);
    }
    git.arg("--git-dir").arg(repository).args(["gc", "--quiet"]);
    let mut child = Command::from(git);
    child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let ended = timeout(LIMIT, child.status()).await;
    let status = ended.map_err(|_| GcError::Failed(format!("no answer within {} s", LIMIT.as_secs())))??;
    if !status.success() {
        return Err(GcError::Failed(status.to_string()));
    }
    Ok((before, size(repository).await?))
}

async fn size(repository: &Path) -> io::Result<u64> {
    let objects = repository.join("objects");
    let counted = Handle::current().spawn_blocking(move || size_below(&objects)).await;
    counted.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Bytes of the files below a folder. What goes away meanwhile counts nothing.
fn size_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_below(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(_gone) => 0,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{REMOTE, World};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_repository_is_packed_and_stays_whole() {
        let world = World::new();
        for number in 0..5 {
            world.write("a", format!("{number}"));
            world.commit("another");
            world.push(&[REMOTE, "HEAD:refs/heads/main"]).await;
        }
        let packs = || {
            fs::read_dir(world.bare().join("objects/pack"))
                .unwrap()
                .filter(|entry| {
                    entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "pack")
                })
                .count()
        };
        assert_eq!(packs(), 5);
        let (before, after) = collect(&world.bare()).await.unwrap();
        assert!(before > 0 && after > 0, "{before} {after}");
        assert_eq!(packs(), 1);
        world.client(&["fsck", "--strict"], &world.bare());
        assert!(collect(&world.root().join("missing")).await.is_err());
    }
}
