//! From a spec to a running shim.

use std::{
    collections::HashSet,
    io::{self, pipe},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use autostack_domain::InstanceId;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe::Receiver,
    time::timeout,
};

use super::{
    handover,
    layout::{InstanceDir, Kind, Launch, ShimRecord},
    leftovers,
    pidfd::PidFd,
    procfs::MARK,
    shim_command::ShimCommand,
};
use crate::backend::RuntimeError;

/// How long a shim may take until the program is executed; it takes milliseconds unless the host is in
/// great trouble.
const READY_BUDGET: Duration = Duration::from_secs(20);
/// How long a killed shim may take to end.
const KILL_BUDGET: Duration = Duration::from_secs(5);
/// Bytes of the word that a shim is ready.
const READY_BYTES_MAX: u64 = 16 * 1024;

/// A shim that was executed; whether its program was is to be seen.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) shim: PidFd,
    /// Ends with the agent; a one-off ends with it.
    pub(crate) lifeline: Option<UnixStream>,
    ready: OwnedFd,
}

/// Makes the folder and executes the shim, which is handed `stdio` for [`Kind::Exec`]. Leaves nothing behind
/// when it fails. Blocks.
pub(crate) fn spawn(
    command: &ShimCommand,
    dir: &InstanceDir,
    launch: &Launch,
    stdio: Option<&handover::Stdio>,
) -> Result<Spawned, RuntimeError> {
    let id = &launch.spec.id;
    if let Err(error) = dir.create(launch) {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Err(RuntimeError::AlreadyExists { id: id.clone() });
        }
        let _ = dir.remove();
        return Err(RuntimeError::file("make", dir.path())(error));
    }
    let spawned = execute(command, dir.path(), launch.kind, id).map_err(|source| {
        let _ = dir.remove();
        RuntimeError::File { operation: "execute", path: command.program.clone(), source }
    })?;
    if let (Some(stdio), Some(socket)) = (stdio, &spawned.lifeline)
        && let Err(source) = handover::send(socket, stdio)
    {
        let _ = undo(&spawned, dir, id);
        return Err(RuntimeError::system("hand a command its descriptors")(source));
    }
    Ok(spawned)
}

fn execute(command: &ShimCommand, dir: &Path, kind: Kind, id: &InstanceId) -> io::Result<Spawned> {
    let (ready, ready_write) = pipe()?;
    // A socket also for those who are handed nothing: one kind of lifeline is enough.
    let (stdin, lifeline) = match kind {
        Kind::Instance => (Stdio::null(), None),
        Kind::OneOff | Kind::Exec { .. } => {
            let (ours, theirs) = UnixStream::pair()?;
            (Stdio::from(OwnedFd::from(theirs)), Some(ours))
        }
    };
    let child = Command::new(&command.program)
        .arg0("autostack")
        .args(&command.args)
        .arg(dir)
        .env_clear()
        .env(MARK, id.as_str())
        .stdin(stdin)
        .stdout(ready_write.try_clone()?)
        .stderr(ready_write)
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // A child that nobody has waited for keeps its pid, so this is that very one.
    Ok(Spawned { shim: PidFd::open_pid(pid)?, lifeline, ready: ready.into() })
}

/// Waits for the word of the shim that the program was executed.
pub(crate) async fn ready(spawned: &mut Spawned, id: &InstanceId) -> Result<ShimRecord, RuntimeError> {
    let failed = |why: String| RuntimeError::Start { id: id.clone(), why };
    let pipe = spawned.ready.try_clone().and_then(Receiver::from_owned_fd);
    let pipe = pipe.map_err(RuntimeError::system("wait for a shim"))?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(pipe.take(READY_BYTES_MAX));
    match timeout(READY_BUDGET, reader.read_until(b'\n', &mut line)).await {
        Err(_elapsed) => return Err(failed(format!("no answer within {} s", READY_BUDGET.as_secs()))),
        Ok(Err(error)) => return Err(RuntimeError::system("wait for a shim")(error)),
        Ok(Ok(_)) => {}
    }
    serde_json::from_slice(&line).map_err(|_not_a_record| {
        let said = String::from_utf8_lossy(&line);
        let said = said.trim();
        failed(match said.strip_prefix("error: ") {
            Some(why) => why.to_owned(),
            None if said.is_empty() => "the shim ended without a word".to_owned(),
            None => said.to_owned(),
        })
    })
}

/// Undoes a start that failed. Blocks.
pub(crate) fn undo(spawned: &Spawned, dir: &InstanceDir, id: &InstanceId) -> io::Result<()> {
    spawned.shim.signal(Signal::SIGKILL)?;
    spawned.shim.wait(KILL_BUDGET);
    spawned.shim.reap();
    discard(dir, id)
}

/// Ends every process of an instance, its shim too, and removes its folder. Blocks.
pub(crate) fn discard(dir: &InstanceDir, id: &InstanceId) -> io::Result<()> {
    leftovers::kill_marked(&HashSet::from([id.as_str()]))?;
    dir.remove()
}
