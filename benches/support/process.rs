//! Processes and ports.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Result;

/// Programs are looked for where the agent looks for them.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Asks every `every` until there is an answer; says after `longest` what was waited for in vain.
pub(crate) fn wait_for<T>(
    what: &str,
    longest: Duration,
    every: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if begun.elapsed() > longest {
            return Err(format!("{what}: not within {longest:?}").into());
        }
        thread::sleep(every);
    }
}

/// A figure of `/proc/PID/status` that is in KiB there, in bytes: `VmRSS` now, `VmHWM` the highest so far.
pub(crate) fn memory_bytes(pid: u32, figure: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = value.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("/proc/{pid}/status has no {figure}"))? * 1024)
}

/// SIGTERM, then SIGKILL for a child that does not end within `grace`.
pub(crate) fn end(child: &mut Child, grace: Duration) {
    signal(child.id(), Signal::SIGTERM);
    let ended = wait_for("end", grace, Duration::from_millis(5), || child.try_wait().ok().flatten());
    if ended.is_err() {
        // It has ended in the meantime, or it is ours to kill; either way it is gone after this.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Kills every process that works in the folder or was started with its path: instances outlive their agent.
pub(crate) fn end_everything_in(folder: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let works_there = fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        let is_told = || {
            let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&*folder.to_string_lossy())
        };
        if pid != std::process::id() && (works_there || is_told()) {
            signal(pid, Signal::SIGKILL);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // An error means that it has ended already.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The last lines of a file, for a message.
pub(crate) fn last_lines(file: &Path, count: usize) -> io::Result<String> {
    let text = fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(count)..].join("\n"))
}
