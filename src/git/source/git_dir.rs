//! A `.git` folder for builds that ask git about their commit: the commit, its history, an index. It is made by this
//! agent, with nothing of the app's repository in it but objects: no hooks, no configuration, no remotes.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    Source,
    report::{SourceError, SourceReport},
};
use crate::{command, libgit};

/// How long the packing of a history may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Makes `dest/.git`, where the commit was exported to `dest`.
pub(super) fn write(
    source: &Source,
    report: &SourceReport,
    dest: &Path,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    let git_dir = dest.join(".git");
    let fail = |source: io::Error| SourceError::Write { path: ".git".to_owned(), source };
    libgit_init(dest).map_err(|error| fail(io::Error::other(error)))?;
    match fs::remove_dir_all(git_dir.join("hooks")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let commit = report.commit.as_str();
    if !pack(source, &git_dir, &format!("{commit}\n"), cancel)? {
        // A history that is not all there: what came with a shallow push.
        if !pack(source, &git_dir, &format!("--shallow {commit}\n{commit}\n"), cancel)? {
            return Err(fail(io::Error::other("git cannot pack the history of the commit")));
        }
        fs::write(git_dir.join("shallow"), format!("{commit}\n")).map_err(fail)?;
    }
    check_out(dest, commit).map_err(|error| fail(io::Error::other(error)))
}

fn libgit_init(dest: &Path) -> Result<(), git2::Error> {
    libgit::init()?;
    let mut options = git2::RepositoryInitOptions::new();
    options.no_reinit(true).external_template(false).initial_head("main");
    git2::Repository::init_opts(dest, &options).map(drop)
}

/// HEAD and the index, as after a check-out: what the build changes is seen as changed.
fn check_out(dest: &Path, commit: &str) -> Result<(), git2::Error> {
    let repository = git2::Repository::open(dest)?;
    let id = git2::Oid::from_str(commit)?;
    let tree = repository.find_commit(id)?.tree()?;
    let mut index = repository.index()?;
    index.read_tree(&tree)?;
    index.write()?;
    repository.set_head_detached(id)
}

/// Packs what the words on its input ask for; `false` if git cannot.
fn pack(
    source: &Source,
    git_dir: &Path,
    input: &str,
    cancel: &CancellationToken,
) -> Result<bool, SourceError> {
    let fail = |source: io::Error| SourceError::Write { path: ".git".to_owned(), source };
    let mut git = command::git(&source.repository)?;
    if let Some(quarantine) = &source.quarantine {
        git.env("GIT_OBJECT_DIRECTORY", quarantine);
        git.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", source.repository.join("objects"));
    }
    git.arg("-c").arg("pack.threads=1").arg("--git-dir").arg(&source.repository);
    git.args(["pack-objects", "--quiet", "--revs", "--delta-base-offset"]);
    git.arg(git_dir.join("objects/pack/pack"));
    git.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Packing(git.spawn().map_err(fail)?);
    if let Some(mut stdin) = child.0.stdin.take() {
        // One that has ended says so by its status.
        let _ended = stdin.write_all(input.as_bytes());
    }
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.0.try_wait().map_err(fail)? {
            return Ok(status.success());
        }
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        if Instant::now() > end {
            return Err(fail(io::ErrorKind::TimedOut.into()));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Killed when dropped.
struct Packing(Child);

impl Drop for Packing {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
