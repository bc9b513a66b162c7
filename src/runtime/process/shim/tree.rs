//! Signals to everything that descends from the shim.

use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, getpid},
};

use crate::process::{
    pidfd::PidFd,
    procfs::{Stat, descendants, processes},
};

/// Sends a signal once to each descendant: to the program's own process group as one, so that nothing
/// forked meanwhile is missed, and to each that left that group.
pub(super) fn signal_all(group: i32, group_lives: bool, signal: Signal) {
    if group_lives {
        let _ = killpg(Pid::from_raw(group), signal);
    }
    for stat in found() {
        if !(group_lives && stat.group == group) {
            signal_one(&stat, signal);
        }
    }
}

fn found() -> Vec<Stat> {
    processes().map(|all| descendants(getpid().as_raw(), &all)).unwrap_or_default()
}

fn signal_one(stat: &Stat, signal: Signal) {
    if let Ok(Some(process)) = PidFd::open(stat.identity()) {
        let _ = process.signal(signal);
    }
}
