//! The code of one repository in another: every ref, and what is reachable from it. The objects are lent first and packed
//! anew then, so that neither a push nor a `git gc` in the first one can take anything from the second.

use std::{fs, io, path::Path, process::Stdio, time::Duration};

use nix::unistd::syncfs;
use tokio::{process::Command, runtime::Handle, time::timeout};

use crate::{
    command::{self, GitMissing},
    libgit,
};

/// How long packing may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Where git reads whose objects are lent.
const LENT: &str = "objects/info/alternates";

/// Why code could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// No git on this host.
    #[error(transparent)]
    GitMissing(#[from] GitMissing),
    /// A repository cannot be read or written.
    #[error("the repository cannot be copied")]
    Run(#[from] io::Error),
    /// Its refs cannot be read or written.
    #[error("the refs cannot be copied")]
    Refs(#[from] git2::Error),
    /// Git failed.
    #[error("git repack ended with {0}")]
    Failed(String),
}

/// Copies every ref of a bare repository, an absolute path, with what it names, into a fresh one.
///
/// # Errors
/// Git is missing, fails or takes longer than ten minutes. What is in the second repository then is of no use.
pub async fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    let (lender, borrower) = (from.to_owned(), to.to_owned());
    let lent = Handle::current().spawn_blocking(move || lend(&lender, &borrower)).await;
    if lent.map_err(io::Error::other)?? == 0 {
        return Ok(fs::remove_file(to.join(LENT))?);
    }
    let mut git = command::git(to)?;
    for setting in ["pack.windowMemory=64m", "pack.threads=1", "core.fsync=committed"] {
        git.arg("-c").arg(setting);
    }
    git.arg("--git-dir").arg(to).args(["repack", "-a", "-d", "-q"]);
    let mut child = Command::from(git);
    child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let ended = timeout(LIMIT, child.status()).await;
    let status =
        ended.map_err(|_| CopyError::Failed(format!("no answer within {} s", LIMIT.as_secs())))??;
    if !status.success() {
        return Err(CopyError::Failed(status.to_string()));
    }
    fs::remove_file(to.join(LENT))?;
    Ok(syncfs(fs::File::open(to)?).map_err(io::Error::from)?)
}

/// Lets one repository read the objects of another, and gives it the same refs; how many.
fn lend(from: &Path, to: &Path) -> Result<usize, CopyError> {
    libgit::init()?;
    let mut objects = from.join("objects").into_os_string().into_encoded_bytes();
    objects.push(b'\n');
    fs::create_dir_all(to.join("objects/info"))?;
    fs::write(to.join(LENT), objects)?;
    let (from, to) = (git2::Repository::open_bare(from)?, git2::Repository::open_bare(to)?);
    let mut count = 0;
    for reference in from.references()? {
        let reference = reference?;
        // A ref that leads to another one is not among what is pushed.
        if let (Ok(name), Some(id)) = (std::str::from_utf8(reference.name_bytes()), reference.target()) {
            to.reference(name, id, true, "autostack")?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{REMOTE, World};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_is_whole_without_the_first() {
        let world = World::new();
        for number in 0..3 {
            world.write("a", format!("{number}"));
            world.commit("another");
            world.push(&[REMOTE, "HEAD:refs/heads/main", "HEAD:refs/heads/other"]).await;
        }
        let fresh = |name: &str| {
            let path = world.root().join(name);
            git2::Repository::init_bare(&path).unwrap();
            path
        };
        let (copied, empty) = (fresh("copied.git"), fresh("empty.git"));
        let head = |path: &Path, name: &str| git2::Repository::open_bare(path).unwrap().refname_to_id(name);
        let wanted = head(&world.bare(), "refs/heads/main").unwrap();
        copy(&world.bare(), &copied).await.unwrap();
        copy(&fresh("nothing.git"), &empty).await.unwrap();
        fs::remove_dir_all(world.bare()).unwrap();
        for name in ["refs/heads/main", "refs/heads/other"] {
            assert_eq!(head(&copied, name).unwrap(), wanted);
        }
        world.client(&["fsck", "--strict"], &copied);
        assert!(!copied.join(LENT).exists() && !empty.join(LENT).exists());
        assert!(copy(&world.root().join("missing"), &fresh("other.git")).await.is_err());
    }
}
