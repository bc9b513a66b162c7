//! Everything that a build has started, however far it ran from its shell, and its end.
//!
//! A build may fork into the background, open sessions of its own and lose its parents. A process counts as
//! the build's if any of these holds: it is in the shell's session, it inherited the build's mark in its
//! environment, it works inside the artifact, where nothing else works while it is being built, its parent is
//! one of these, or it still holds the pipes that the shell wrote to.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};

/// The variable that marks the processes of one build.
pub(crate) const MARK: &str = "AUTOSTACK_BUILD_ID";

/// How long the killing goes on while new processes keep appearing.
const KILL_BUDGET: Duration = Duration::from_millis(800);

/// How long the agent may take from forking a child to executing it.
const HOLDER_PAUSE: Duration = Duration::from_millis(20);

/// The processes of one build.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    mark: String,
    dir: PathBuf,
    /// The session of the running step; 0 between steps.
    session: AtomicI32,
}

/// Ends the processes of a build whose future is dropped in the middle of a step.
#[derive(Debug)]
pub(crate) struct KillOnDrop(pub(crate) Arc<ProcessTree>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if self.0.session().is_some() {
            self.0.kill();
        }
    }
}

impl ProcessTree {
    /// The processes of the build marked `id` that works in `dir`.
    pub(crate) fn new(id: &str, dir: &Path) -> Self {
        let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        Self { mark: format!("{MARK}={id}"), dir, session: AtomicI32::new(0) }
    }

    /// Tells which session the running step leads.
    pub(crate) fn set_session(&self, leader: Option<Pid>) {
        self.session.store(leader.map_or(0, Pid::as_raw), Ordering::Relaxed);
    }

    fn session(&self) -> Option<Pid> {
        Some(self.session.load(Ordering::Relaxed)).filter(|pid| *pid > 0).map(Pid::from_raw)
    }

    /// Kills every process of the build until none is left, or the budget is used up by a build that forks
    /// faster than it dies. Returns whether none is left.
    pub(crate) fn kill(&self) -> bool {
        let began = Instant::now();
        loop {
            // First all are found, then the first is killed: its children would lose their parent.
            let mut alive = self.alive();
            // Shells before what they started, as far as numbers tell: they would say "Killed" of it in the log.
            alive.sort_unstable();
            for process in &alive {
                // It may be gone; that is what is wanted.
                let _ = kill(*process, Signal::SIGKILL);
            }
            if alive.is_empty() {
                return true;
            }
            if began.elapsed() > KILL_BUDGET {
                tracing::warn!(count = alive.len(), mark = self.mark, "processes of a build outlive it");
                return false;
            }
            // A killed process needs a moment to go; the next round looks again.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills what holds one of these pipes after everything that showed itself as the build's is gone. Only
    /// what is seen twice is killed: a child that the agent starts meanwhile holds them until it executes.
    pub(crate) fn kill_holders(&self, pipes: &[u64]) {
        let first = holders(pipes);
        std::thread::sleep(HOLDER_PAUSE);
        let twice: Vec<Pid> = holders(pipes).into_iter().filter(|pid| first.contains(pid)).collect();
        for process in &twice {
            tracing::warn!(%process, mark = self.mark, "a process that hid from its build is killed");
            let _ = kill(*process, Signal::SIGKILL);
        }
    }

    /// The processes of the build that have not ended.
    pub(crate) fn alive(&self) -> Vec<Pid> {
        let running = running_processes();
        let mut owned: HashSet<Pid> =
            running.iter().filter(|process| self.owns(process)).map(|process| process.pid).collect();
        // Children of what is owned, and theirs, until no more are found.
        loop {
            let before = owned.len();
            for process in &running {
                if owned.contains(&process.parent) {
                    owned.insert(process.pid);
                }
            }
            if owned.len() == before {
                return owned.into_iter().collect();
            }
        }
    }

    fn owns(&self, process: &Process) -> bool {
        if Some(process.session) == self.session() {
            return true;
        }
        let proc = process.proc();
        let is_marked = fs::read(proc.join("environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes()));
        is_marked || fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir))
    }
}

/// The processes that have one of these pipes open.
fn holders(pipes: &[u64]) -> Vec<Pid> {
    let names: Vec<PathBuf> = pipes.iter().map(|inode| PathBuf::from(format!("pipe:[{inode}]"))).collect();
    let holds = |process: &Process| {
        let open = fs::read_dir(process.proc().join("fd")).into_iter().flatten().filter_map(Result::ok);
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| names.contains(&target))
    };
    running_processes().into_iter().filter(holds).map(|process| process.pid).collect()
}

/// What `/proc` says about a process.
struct Process {
    pid: Pid,
    parent: Pid,
    session: Pid,
}

impl Process {
    fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.pid))
    }
}

/// Every process of the host that has not ended, but this one.
fn running_processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|pid| *pid != getpid())
        .filter_map(read_process)
        .collect()
}

/// Reads `/proc/PID/stat`; the program's name, which may hold anything, ends at the last `)`. `None` for a
/// zombie: it has ended, and whoever is its parent will reap it.
fn read_process(pid: Pid) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().map(Pid::from_raw).ok()?;
    let session = fields.nth(1)?.parse().map(Pid::from_raw).ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { pid, parent, session })
}
