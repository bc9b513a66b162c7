//! Processes whose shim was killed: found by the mark in their environment, and ended.

use std::{
    collections::HashSet,
    io, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    pidfd::PidFd,
    procfs::{Stat, descendants, mark_of, processes},
};

/// How long it may take until the last of them is gone.
const END_BUDGET: Duration = Duration::from_secs(5);
/// Between two looks: those that were forked meanwhile, and those that have not ended yet.
const PAUSE: Duration = Duration::from_millis(10);

/// Kills every process marked with one of these instances, and what descends from it; whether none is
/// left. Blocks.
pub(crate) fn kill_marked(instances: &HashSet<&str>) -> io::Result<bool> {
    let deadline = Instant::now() + END_BUDGET;
    loop {
        let found = marked(instances)?;
        if found.is_empty() {
            return Ok(true);
        }
        for stat in found {
            if let Some(process) = PidFd::open(stat.identity())? {
                process.signal(Signal::SIGKILL)?;
            }
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
}

fn marked(instances: &HashSet<&str>) -> io::Result<Vec<Stat>> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let all = processes()?;
    let mut found: Vec<Stat> = Vec::new();
    for stat in &all {
        // Looked at again behind an open handle by `PidFd::open`, which compares the start time.
        if stat.pid != own && mark_of(stat.pid).is_some_and(|mark| instances.contains(mark.as_str())) {
            found.push(*stat);
            found.extend(descendants(stat.pid, &all));
        }
    }
    Ok(found)
}
