//! Runs one command line of a build: `/bin/sh -c` in the artifact, output copied live, ended on cancel and
//! at the deadline.
//!
//! The shell is the app's own: its line stands in the app's files. It gets the environment that it is given
//! and nothing of the agent's.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use autostack_base::tasks::Tasks;
use autostack_domain::{EnvMap, Exit};
use autostack_logs::BuildLog;
use nix::unistd::Pid;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::tree::{KillOnDrop, ProcessTree};

/// How long output is waited for after the last process has ended.
const OUTPUT_DRAIN: Duration = Duration::from_millis(200);
/// Bytes of output that are kept to show and to understand a failure.
const TAIL_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are read at once.
const READ_BYTES_MAX: usize = 16 * 1024;

/// What surrounds every step of a build.
pub(crate) struct Surroundings<'a> {
    /// Where it runs.
    pub(crate) dir: &'a Path,
    /// Where its output goes.
    pub(crate) log: &'a BuildLog,
    /// When the whole build must have ended.
    pub(crate) deadline: Instant,
    /// Ends it early.
    pub(crate) cancel: &'a CancellationToken,
    /// Everything that the build has started.
    pub(crate) tree: &'a Arc<ProcessTree>,
    /// Where blocking work goes.
    pub(crate) tasks: &'a Tasks,
}

/// How a command line ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself.
    Exit(Exit),
    /// Because the build was cancelled.
    Cancelled,
    /// Because the deadline passed.
    TimedOut,
}

/// The last output of a step.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let excess = self.0.len().saturating_sub(TAIL_BYTES_MAX);
        self.0.drain(..excess);
    }

    /// The output as text.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.0.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

/// Runs `command` until it ends, and ends whatever it leaves behind.
pub(crate) async fn run(
    command: &str,
    env: &EnvMap,
    around: &Surroundings<'_>,
    tail: &mut Tail,
) -> io::Result<Ended> {
    let mut child = spawn(command, env, around.dir)?;
    around.tree.set_session(child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw));
    let _guard = KillOnDrop(Arc::clone(around.tree));
    let pipes = pipes_of(&child);
    let mut outputs = Outputs::take(&mut child, around.log);
    let ended = tokio::select! {
        // Cancel first: a build that prints without end must not outrun it.
        biased;
        () = around.cancel.cancelled() => Ended::Cancelled,
        () = sleep_until(around.deadline) => Ended::TimedOut,
        status = outputs.copy_until(child.wait(), tail) => Ended::Exit(exit_of(status?)),
    };
    let tree = Arc::clone(around.tree);
    if around.tasks.blocking("end of a build step", move || tree.kill()).await.is_err() {
        around.tree.kill();
    }
    // Nobody should hold the pipes any more; who does has hidden from the build.
    if timeout(OUTPUT_DRAIN, outputs.copy_to_end(tail)).await.is_err() {
        let (tree, pipes) = (Arc::clone(around.tree), pipes);
        let _ = around.tasks.blocking("end of a hidden process", move || tree.kill_holders(&pipes)).await;
        let _ = timeout(OUTPUT_DRAIN, outputs.copy_to_end(tail)).await;
    }
    outputs.flush(tail);
    let _ = timeout(OUTPUT_DRAIN, child.wait()).await;
    around.tree.set_session(None);
    Ok(ended)
}

fn spawn(command: &str, env: &EnvMap, dir: &Path) -> io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).current_dir(dir).env_clear();
    shell.envs(env.iter().map(|(name, value)| (name, OsStr::from_bytes(value))));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // SAFETY: setsid is async-signal-safe and touches no memory of ours. It cannot fail in a fresh child,
    // which leads no process group.
    unsafe {
        shell.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
    shell.spawn()
}

/// The inodes of both pipes, by which `/proc` names them.
fn pipes_of(child: &Child) -> Vec<u64> {
    let stdout = child.stdout.as_ref().map(AsFd::as_fd);
    let stderr = child.stderr.as_ref().map(AsFd::as_fd);
    let known = [stdout, stderr].into_iter().flatten().filter_map(|fd| nix::sys::stat::fstat(fd).ok());
    known.map(|known| known.st_ino).collect()
}

fn exit_of(status: ExitStatus) -> Exit {
    status.code().map(Exit::Code).or_else(|| status.signal().map(Exit::Signal)).unwrap_or(Exit::Unknown)
}

/// Both outputs of a child, each with a pen of its own: a line is never cut by the other output.
struct Outputs {
    stdout: Output<ChildStdout>,
    stderr: Output<ChildStderr>,
}

struct Output<R> {
    reader: Option<R>,
    buffer: Vec<u8>,
    /// The line that is not complete yet: two outputs share a tail, but never a line.
    partial: Vec<u8>,
    log: BuildLog,
}

impl Outputs {
    fn take(child: &mut Child, log: &BuildLog) -> Self {
        Self {
            stdout: Output::new(child.stdout.take(), log.clone()),
            stderr: Output::new(child.stderr.take(), log.clone()),
        }
    }

    /// Copies what comes until `end` is reached, and returns what it gives.
    async fn copy_until<T>(&mut self, end: impl Future<Output = T>, tail: &mut Tail) -> T {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                length = self.stdout.read(), if self.stdout.is_open() => self.stdout.copy(length, tail),
                length = self.stderr.read(), if self.stderr.is_open() => self.stderr.copy(length, tail),
                value = &mut end => return value,
            }
        }
    }

    /// Copies what is left.
    async fn copy_to_end(&mut self, tail: &mut Tail) {
        while self.stdout.is_open() || self.stderr.is_open() {
            tokio::select! {
                length = self.stdout.read(), if self.stdout.is_open() => self.stdout.copy(length, tail),
                length = self.stderr.read(), if self.stderr.is_open() => self.stderr.copy(length, tail),
            }
        }
    }

    fn flush(&mut self, tail: &mut Tail) {
        self.stdout.flush(tail);
        self.stderr.flush(tail);
    }
}

impl<R: AsyncRead + Unpin> Output<R> {
    fn new(reader: Option<R>, log: BuildLog) -> Self {
        Self { reader, buffer: vec![0; READ_BYTES_MAX], partial: Vec::new(), log }
    }

    fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Reads into the buffer; 0 at the end. Loses nothing when dropped before it is ready.
    async fn read(&mut self) -> usize {
        match &mut self.reader {
            Some(reader) => reader.read(&mut self.buffer).await.unwrap_or(0),
            None => 0,
        }
    }

    fn copy(&mut self, length: usize, tail: &mut Tail) {
        if length == 0 {
            self.reader = None;
        } else {
            self.log.raw(&self.buffer[..length]);
            self.partial.extend_from_slice(&self.buffer[..length]);
            let complete = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let taken = if self.partial.len() > TAIL_BYTES_MAX { self.partial.len() } else { complete };
            tail.push(&self.partial[..taken]);
            self.partial.drain(..taken);
        }
    }

    /// The last line, if nothing ended it.
    fn flush(&mut self, tail: &mut Tail) {
        self.log.flush();
        if !self.partial.is_empty() {
            self.partial.push(b'\n');
            tail.push(&std::mem::take(&mut self.partial));
        }
    }
}
