//! What `/proc` says about processes: identity, parents, the mark of an instance.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
};

use serde::{Deserialize, Serialize};

/// A process that cannot be confused with a later one of the same pid: the number and the moment of its
/// start, in clock ticks since boot (field 22 of `/proc/PID/stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
}

impl Identity {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Stat::read(pid).map(|stat| stat.identity())
    }

    /// Whether it still exists; one that has ended but was not reaped counts as gone.
    pub(crate) fn is_alive(self) -> bool {
        Stat::read(self.pid).is_ok_and(|now| now.identity() == self && !now.has_ended())
    }
}

/// The fields of `/proc/PID/stat` that are needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) state: u8,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) start_ticks: u64,
}

impl Stat {
    pub(crate) fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(pid, &text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn parse(pid: i32, text: &[u8]) -> Option<Self> {
        let mut fields = stat_fields(text)?;
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Field 22; the three above were 3, 4 and 5.
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self { pid, state, parent, group, start_ticks })
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity { pid: self.pid, start_ticks: self.start_ticks }
    }

    /// Whether it waits to be reaped only.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The fields of `/proc/PID/stat` from the third on. The name of a program, the second, stands in parentheses
/// and may hold anything: fields are counted from the last `)`.
pub(crate) fn stat_fields(text: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(text.get(name_end + 1..)?).ok()?.split_ascii_whitespace())
}

/// Every process that can be seen now.
pub(crate) fn processes() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // One that ends between the listing and the look is simply not there.
        found.extend(pid.and_then(|pid| Stat::read(pid).ok()));
    }
    Ok(found)
}

/// The children of `root`, their children and so on; without `root` itself.
pub(crate) fn descendants(root: i32, all: &[Stat]) -> Vec<Stat> {
    let mut children: HashMap<i32, Vec<&Stat>> = HashMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    let mut seen = HashSet::from([root]);
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(**child);
                open.push(child.pid);
            }
        }
    }
    found
}

/// The value of [`MARK`] in the environment that a process was executed with.
pub(crate) fn mark_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|variable| {
        variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
    })?;
    String::from_utf8(value.to_vec()).ok()
}

/// The variable that marks a shim and all that runs under it with the id of the instance.
pub(crate) const MARK: &str = "AUTOSTACK_INSTANCE";

/// A value that is another one after each boot: pids and start times are counted anew then.
pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let text = b"42 (a) (b c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1000 10 18446744073709551615";
        let stat = Stat::parse(42, text).unwrap();
        assert_eq!(stat, Stat { pid: 42, state: b'S', parent: 7, group: 42, start_ticks: 98765 });
        for cut in 0..text.len() - 30 {
            let _ = Stat::parse(42, &text[..cut]);
        }
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let stat = |pid, parent| Stat { pid, state: b'S', parent, group: 1, start_ticks: 1 };
        let all = [stat(1, 0), stat(10, 1), stat(11, 10), stat(12, 11), stat(20, 1)];
        let mut found: Vec<i32> = descendants(10, &all).iter().map(|stat| stat.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [11, 12]);
    }

    #[test]
    fn this_process_is_alive_and_another_of_its_pid_is_not() {
        let own = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        assert!(!Identity { start_ticks: own.start_ticks + 1, ..own }.is_alive());
        assert!(processes().unwrap().iter().any(|stat| stat.identity() == own));
    }
}
