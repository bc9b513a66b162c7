//! Everything that a build has started, however far it ran from its shell, and its end.
//!
//! A build may fork into the background, open sessions of its own and lose its parents. A process counts as
//! the build's if any of these holds: it is in the shell's session, it inherited the build's mark in its
//! environment, or it works inside the artifact, where nothing else works while it is being built.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpid},
};

/// The variable that marks the processes of one build.
pub(crate) const MARK: &str = "AUTOSTACK_BUILD_ID";

/// How long the killing goes on while new processes keep appearing.
const KILL_BUDGET: Duration = Duration::from_millis(800);

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
            if let Some(leader) = self.session() {
                // It may be gone; that is what is wanted.
                let _ = killpg(leader, Signal::SIGKILL);
            }
            let alive = self.alive();
            for process in &alive {
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

    /// The processes of the build that have not ended.
    pub(crate) fn alive(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .filter(|process| *process != getpid() && self.owns(*process))
            .collect()
    }

    fn owns(&self, process: Pid) -> bool {
        let proc = PathBuf::from(format!("/proc/{process}"));
        let Some((state, session)) = state_and_session(&proc) else {
            return false;
        };
        // A zombie has ended; whoever is its parent will reap it.
        if matches!(state, b'Z' | b'X') {
            return false;
        }
        if Some(session) == self.session() {
            return true;
        }
        let is_marked = fs::read(proc.join("environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes()));
        is_marked || fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir))
    }
}

/// State and session of `/proc/PID/stat`; the program's name, which may hold anything, ends at the last `)`.
fn state_and_session(proc: &Path) -> Option<(u8, Pid)> {
    let stat = fs::read(proc.join("stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = String::from_utf8_lossy(stat.get(after_name..)?).into_owned();
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    let session = fields.nth(2)?.parse().ok()?;
    Some((state, Pid::from_raw(session)))
}
