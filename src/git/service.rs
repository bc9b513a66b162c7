//! `git receive-pack` and `git upload-pack` as children of the agent.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use autostack_domain::{Invalid, limits};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    command::{self, GitMissing},
    hooks,
    quarantine::{PushLock, SWEEP_PATIENCE},
};

/// How long a child may take to end after SIGTERM (it removes its lock files then) before SIGKILL.
pub const TERM_GRACE: Duration = Duration::from_millis(500);

/// What a client asks git for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A push.
    ReceivePack,
    /// A fetch or a clone.
    UploadPack,
}

impl Service {
    /// The verb as git names it.
    pub fn verb(self) -> &'static str {
        match self {
            Service::ReceivePack => "receive-pack",
            Service::UploadPack => "upload-pack",
        }
    }
}

/// The value of `GIT_PROTOCOL` that a client may set: `version=0`, `version=1` or `version=2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GitProtocol(u8);

impl std::str::FromStr for GitProtocol {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        match given {
            "version=0" => Ok(Self(0)),
            "version=1" => Ok(Self(1)),
            "version=2" => Ok(Self(2)),
            _ => Err(Invalid::new("GIT_PROTOCOL", given, "expected version=0, version=1 or version=2")),
        }
    }
}

/// What a child is given beside the repository.
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    /// The folder of the installed hooks ([`hooks::install_hooks`]), absolute. Only a push needs it.
    pub hooks_dir: PathBuf,
    /// Variables for the hooks; each name begins with [`hooks::ENV_PREFIX`], others are refused.
    pub hook_env: Vec<(String, String)>,
    /// What the client asked for with `GIT_PROTOCOL`.
    pub protocol: Option<GitProtocol>,
    /// Bytes of a pushed pack at most; [`limits::PACK_BYTES_MAX`] where none is given.
    pub pack_bytes_max: Option<u64>,
}

/// A git child that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No git on this host.
    #[error(transparent)]
    GitMissing(#[from] GitMissing),
    /// The repository or the hooks are not named by an absolute path.
    #[error("{path:?} is not an absolute path")]
    NotAbsolute {
        /// The path in question.
        path: PathBuf,
    },
    /// A variable that is not one of the hooks' own.
    #[error("variable {name:?} is not for hooks: its name does not begin with {}", hooks::ENV_PREFIX)]
    ForeignVariable {
        /// Its name.
        name: String,
    },
    /// The repository is not there, or cannot be locked against a sweep.
    #[error("repository {path:?} cannot be used")]
    Repository {
        /// The repository.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused to start it.
    #[error("git {verb} cannot be started")]
    Start {
        /// `receive-pack` or `upload-pack`.
        verb: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A running git child, head of its own process group. Take the three pipes out, move bytes, drop stdin at
/// the client's end of file, then [`wait`](Self::wait).
///
/// Dropped before its end, it is killed with everything that it started, and what it had received is
/// removed; inside a runtime, soon after the drop.
#[derive(Debug)]
pub struct GitChild {
    /// What the client sends. Closing it ends the push or fetch.
    pub stdin: Option<ChildStdin>,
    /// What the client gets.
    pub stdout: Option<ChildStdout>,
    /// Git's own complaints; the client sees them as its remote's.
    pub stderr: Option<ChildStderr>,
    child: Child,
    pid: u32,
    lock: Option<PushLock>,
    ended: bool,
}

/// Starts `service` on the bare repository `repository`, an absolute path. A push waits until nobody removes
/// there what others have left, ten seconds at most, and keeps no thread waiting meanwhile.
pub async fn start(
    service: Service,
    repository: &Path,
    options: &SpawnOptions,
) -> Result<GitChild, SpawnError> {
    check(repository, options)?;
    let lock = match service {
        Service::ReceivePack => Some(PushLock::shared(repository, SWEEP_PATIENCE).await),
        Service::UploadPack => None,
    };
    run(service, repository, options, lock)
}

/// As [`start`], without waiting: a push is refused while its repository is swept. Must be called inside a
/// tokio runtime.
pub fn spawn(service: Service, repository: &Path, options: &SpawnOptions) -> Result<GitChild, SpawnError> {
    check(repository, options)?;
    let lock = match service {
        Service::ReceivePack => Some(PushLock::try_shared(repository)),
        Service::UploadPack => None,
    };
    run(service, repository, options, lock)
}

fn run(
    service: Service,
    repository: &Path,
    options: &SpawnOptions,
    lock: Option<io::Result<PushLock>>,
) -> Result<GitChild, SpawnError> {
    let lock =
        lock.transpose().map_err(|source| SpawnError::Repository { path: repository.to_owned(), source })?;
    let mut command = command::git(repository)?;
    if let Some(GitProtocol(version)) = options.protocol {
        command.env("GIT_PROTOCOL", format!("version={version}"));
    }
    if service == Service::ReceivePack {
        receive_settings(&mut command, options);
    }
    command.arg(service.verb()).arg("--").arg(repository);
    let mut command = Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let start = |source| SpawnError::Start { verb: service.verb(), source };
    if let Some(lock) = &lock {
        lock.hand_down(&mut command).map_err(start)?;
    }
    let mut child = command.spawn().map_err(start)?;
    let pid = child.id().ok_or_else(|| start(io::Error::other("it ended at once")))?;
    Ok(GitChild {
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        child,
        pid,
        lock,
        ended: false,
    })
}

fn check(repository: &Path, options: &SpawnOptions) -> Result<(), SpawnError> {
    let hooks_dir = (!options.hooks_dir.as_os_str().is_empty()).then_some(options.hooks_dir.as_path());
    if let Some(path) = [Some(repository), hooks_dir].into_iter().flatten().find(|path| !path.is_absolute()) {
        return Err(SpawnError::NotAbsolute { path: path.to_owned() });
    }
    match options.hook_env.iter().find(|(name, _)| !name.starts_with(hooks::ENV_PREFIX)) {
        Some((name, _)) => Err(SpawnError::ForeignVariable { name: name.clone() }),
        None => Ok(()),
    }
}

/// The settings of a push. What git checks by itself is switched on; what it lets pass is checked by
/// [`source`](crate::source).
fn receive_settings(command: &mut std::process::Command, options: &SpawnOptions) {
    let mut hooks_path = OsString::from("core.hooksPath=");
    hooks_path.push(if options.hooks_dir.as_os_str().is_empty() {
        Path::new("/dev/null")
    } else {
        &options.hooks_dir
    });
    command.arg("-c").arg(hooks_path);
    let input_bytes_max =
        format!("receive.maxInputSize={}", options.pack_bytes_max.unwrap_or(limits::PACK_BYTES_MAX));
    let settings = [
        "receive.advertisePushOptions=true",
        "receive.fsckObjects=true",
        // Mistakes of old tools, found in the history of well-known projects, and harmless.
        "receive.fsck.badTimezone=ignore",
        "receive.fsck.missingSpaceBeforeDate=ignore",
        "receive.fsck.zeroPaddedFilemode=ignore",
        // Keep every push as a pack: no thousand small files, and quarantine moves over by one rename.
        "transfer.unpackLimit=1",
        // A push from a clone with --depth makes the repository shallow too.
        "receive.shallowUpdate=true",
        // Whether a branch may be deleted is decided in pre-receive, with a sentence that fits.
        "receive.denyDeleteCurrent=ignore",
        // What the pusher was told is on disk: the ref too, not only the objects.
        "core.fsync=committed",
        &input_bytes_max,
    ];
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    // One allocation for one object, or for the table of as many objects as a pack claims to hold.
    command.env("GIT_ALLOC_LIMIT", (2 * limits::OBJECT_BYTES_MAX).to_string());
    command.envs(options.hook_env.iter().map(|(name, value)| (name, value)));
}

impl GitChild {
    /// The child's process id, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the child's own end, then removes what aborted pushes have left. Close or take
    /// [`stdin`](Self::stdin) first, or the child waits for more. Cancel-safe.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.finish(!status.success()).await;
        Ok(status)
    }

    /// Ends the child and everything that it started: SIGTERM, and SIGKILL after [`TERM_GRACE`]. Then
    /// removes what it had received. Returns when all of it is gone; repeated calls do nothing.
    pub async fn kill_tree(&mut self) {
        if self.ended {
            return;
        }
        drop((self.stdin.take(), self.stdout.take(), self.stderr.take()));
        self.signal(Signal::SIGTERM);
        if timeout(TERM_GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
            // An error means that it has been waited for already.
            let _reaped = self.child.wait().await;
        }
        // The head has ended; whoever of its group ignored SIGTERM has not.
        self.signal(Signal::SIGKILL);
        self.finish(true).await;
    }

    #[cfg(test)]
    pub(crate) fn take_lock(&mut self) -> Option<PushLock> {
        self.lock.take()
    }

    async fn finish(&mut self, aborted: bool) {
        self.ended = true;
        if let Some(lock) = self.lock.take() {
            lock.release(aborted).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid) {
            // ESRCH: nobody of the group is left, which is what is wanted.
            let _gone = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for GitChild {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGTERM);
            self.signal(Signal::SIGKILL);
            if let Some(lock) = self.lock.take() {
                lock.release_in_background();
            }
        }
    }
}
