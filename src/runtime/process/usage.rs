//! What the processes of an instance use.

use std::{fs, io, time::Duration};

use nix::libc;

use super::procfs::{Stat, descendants, processes, stat_fields};
use crate::backend::Usage;

/// Sums up what descends from `shim`, without the shim. Blocks.
///
/// Memory is what each process holds alone, and once what the one with most of it holds of files and shared
/// memory: summing that up would count a library for each worker. It costs two small reads a process, where
/// the exact figure (PSS) would have the kernel walk all their pages.
pub(crate) fn of(shim: i32) -> io::Result<Usage> {
    let tree: Vec<Stat> = descendants(shim, &processes()?);
    let running = tree.iter().filter(|stat| !stat.has_ended());
    let pages: Vec<Pages> = running.filter_map(|stat| Pages::read(stat.pid)).collect();
    let shared = pages.iter().map(|one| one.shared).max().unwrap_or_default();
    let private: u64 = pages.iter().map(|one| one.private).sum();
    // What the shim has reaped is the app's; what it has done itself is not.
    let ended = Ticks::read(shim).map(|ticks| ticks.children).unwrap_or_default();
    let live = tree.iter().filter_map(|stat| Ticks::read(stat.pid)).map(|ticks| ticks.own + ticks.children);
    Ok(Usage {
        memory_bytes: (private + shared) * constant(libc::_SC_PAGESIZE),
        memory_bytes_max: None,
        cpu: Duration::from_millis((live.sum::<u64>() + ended) * 1_000 / constant(libc::_SC_CLK_TCK)),
        processes: u32::try_from(pages.len()).unwrap_or(u32::MAX),
    })
}

/// A figure of the kernel's, at least 1.
fn constant(name: libc::c_int) -> u64 {
    // SAFETY: the call takes a number and gives one.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).unwrap_or(1).max(1)
}

/// Pages of memory that a process has, from `/proc/PID/statm`.
struct Pages {
    private: u64,
    shared: u64,
}

impl Pages {
    /// `None` where it has just ended.
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut fields = text.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
        let (resident, shared) = (fields.nth(1)??, fields.next()??);
        Some(Self { private: resident.saturating_sub(shared), shared })
    }
}

/// CPU time from `/proc/PID/stat`: its own, and that of the children that it has waited for.
struct Ticks {
    own: u64,
    children: u64,
}

impl Ticks {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // Fields 14 to 17; the first is field 3.
        let mut fields = stat_fields(text)?.skip(11).map(|field| field.parse::<u64>().ok());
        let (user, system) = (fields.next()??, fields.next()??);
        Some(Self { own: user + system, children: fields.next()?? + fields.next()?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_from_the_right_fields() {
        let text = b"42 (a) (b c) S 7 42 42 0 -1 4194560 1 0 0 0 100 20 3000 400 20 0 1 0 98765 1000 10";
        let ticks = Ticks::parse(text).unwrap();
        assert_eq!((ticks.own, ticks.children), (120, 3_400));
        assert!(Ticks::parse(&text[..40]).is_none());
    }
}
