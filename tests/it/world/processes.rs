//! What runs on this host, as `/proc` tells.

use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) command: String,
    environ: Vec<u8>,
}

impl Process {
    /// The value of a variable in its environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let entries = self.environ.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        entries.into_iter().find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// Sends a signal. One that has ended meanwhile is fine.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ended = kill(Pid::from_raw(self.pid), signal);
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        is_running(self.pid)
    }
}

/// The processes that were started for something in this folder: it stands in their environment, their command line,
/// or is where they work. One that has ended and waits to be reaped shows none of these.
pub(crate) fn inside(folder: &Path) -> Vec<Process> {
    let wanted = folder.as_os_str().as_bytes();
    pids()
        .filter_map(|pid| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let environ = fs::read(proc.join("environ")).unwrap_or_default();
            let command = fs::read(proc.join("cmdline")).unwrap_or_default();
            let works_inside = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
            let is_meant = works_inside || holds(&environ, wanted) || holds(&command, wanted);
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            is_meant.then_some(Process { pid, command, environ })
        })
        .collect()
}

/// Children of `parent` that have ended and were not reaped.
pub(crate) fn zombies_of(parent: i32) -> Vec<i32> {
    let is_zombie = |pid: &i32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let mut after_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        after_name.next() == Some("Z") && after_name.next() == Some(&parent.to_string())
    };
    pids().filter(is_zombie).collect()
}

/// Whether a process with this pid runs.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// The ports of the range on which somebody listens.
pub(crate) fn listening(range: &RangeInclusive<u16>) -> BTreeSet<u16> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let ports = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (_, local, _, state) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (state == "0A").then_some(port)
    });
    ports.filter(|port| range.contains(port)).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
