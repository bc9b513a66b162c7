//! [`Groups`]: control groups of the agent's own, which hold instances to their limits.
//!
//! An instance has a group of its own only where its app has limits; its program enters it before it is executed,
//! its shim stays outside and sees the end. Where the agent may make no groups nothing else takes their place:
//! `setrlimit` counts address space, which runtimes with a just-in-time compiler reserve by the gigabyte, and
//! processes of a user, who is the same for all apps. What does not hold is said ([`Groups::unenforced`]).

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use autostack_domain::{
    Exit, InstanceId,
    resources::{InstanceLimits, MilliCpus},
};
use nix::libc;

use crate::cgroups::Cgroups;

/// Microseconds in which an instance may use its CPU time.
const PERIOD_MICROS: u64 = 100_000;
/// What the group of the agent itself is called, where its service is delegated and has a group below for it
/// (`DelegateSubgroup=agent`): groups that hold processes cannot hand controllers down.
const AGENTS_OWN: &str = "agent";
/// The file of a group that a process enters it by.
const PROCS: &str = "cgroup.procs";
/// Tries to remove a group whose last process has only just ended.
const REMOVE_TRIES: u32 = 50;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// Where groups are made, and how those of this agent are called.
#[derive(Debug)]
pub(crate) struct Groups {
    tree: Result<Tree, String>,
    prefix: String,
}

#[derive(Debug)]
enum Tree {
    /// One folder for all controllers.
    V2(PathBuf),
    /// A folder for each, where there is one that can be written.
    V1 { memory: Option<PathBuf>, cpu: Option<PathBuf>, pids: Option<PathBuf> },
}

/// A file of a group and what is written into it.
type Entry = (&'static str, String);

impl Groups {
    /// Looks where this process may make groups. `instances` tells the groups of one agent from those of another.
    pub(crate) fn find(instances: &Path) -> Self {
        let tree = match Cgroups::own() {
            Some(own) => match own.v2() {
                Some(folder) => v2(&folder),
                None => v1(&own),
            },
            None => Err("this host has no control groups".to_owned()),
        };
        if let Err(why) = &tree {
            tracing::info!(why, "limits of processes cannot be enforced");
        }
        Self { tree, prefix: prefix(instances) }
    }

    /// Makes the group of an instance, with its limits; gives the files through which a process enters it, none
    /// where there is nothing to hold it to. Blocks.
    pub(crate) fn make(&self, id: &InstanceId, limits: &InstanceLimits) -> io::Result<Vec<PathBuf>> {
        for (folder, entries) in self.plan(limits) {
            if let Err(error) = make_group(&folder.join(self.name(id)), &entries) {
                self.remove(id);
                return Err(error);
            }
        }
        Ok(self.doors(id, limits))
    }

    /// The files through which another process enters the group of an instance.
    pub(crate) fn doors(&self, id: &InstanceId, limits: &InstanceLimits) -> Vec<PathBuf> {
        self.plan(limits).into_iter().map(|(folder, _)| folder.join(self.name(id)).join(PROCS)).collect()
    }

    /// Removes the group of an instance whose processes have ended; one that is not there is fine. Blocks.
    pub(crate) fn remove(&self, id: &InstanceId) {
        for group in self.folders().map(|folder| folder.join(self.name(id))) {
            if let Err(error) = remove_group(&group) {
                tracing::warn!(group = %group.display(), %error, "a control group could not be removed");
            }
        }
    }

    /// Removes the groups of instances that are gone. Blocks.
    pub(crate) fn sweep(&self, kept: &dyn Fn(&InstanceId) -> bool) {
        let mut gone = Vec::new();
        for entry in self.folders().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(&self.prefix)?.parse().ok());
            gone.extend(id.filter(|id: &InstanceId| !kept(id)));
        }
        gone.iter().for_each(|id| self.remove(id));
    }

    /// The limits that do not hold here, in words.
    pub(crate) fn unenforced(&self, limits: &InstanceLimits) -> Vec<String> {
        let has = |find: fn(&Tree) -> bool| self.tree.as_ref().is_ok_and(find);
        let has_memory = has(|tree| !matches!(tree, Tree::V1 { memory: None, .. }));
        let has_cpu = has(|tree| !matches!(tree, Tree::V1 { cpu: None, .. }));
        let has_pids = has(|tree| !matches!(tree, Tree::V1 { pids: None, .. }));
        let why = self.tree.as_ref().err().map_or("its control groups lack the controller", String::as_str);
        let rows = [
            ("the memory limit", limits.memory_bytes_max.is_some() && !has_memory),
            ("the memory reservation", limits.memory_bytes_reserved.is_some() && !has_memory),
            ("the cpu limit", limits.cpus_max.is_some() && !has_cpu),
            ("the cpu reservation", limits.cpus_reserved.is_some() && !has_cpu),
            ("the pids limit", limits.pids_max.is_some() && !has_pids),
        ];
        let missing = rows.into_iter().filter(|(_, is_missing)| *is_missing);
        missing.map(|(limit, _)| format!("{limit} cannot be enforced: {why}")).collect()
    }

    /// How an instance ended: where the kernel has killed some of it for its memory, that is why.
    pub(crate) fn judge(&self, id: &InstanceId, limits: &InstanceLimits, exit: Exit) -> Exit {
        let Some(limit_bytes) = limits.memory_bytes_max else { return exit };
        // A shell tells by its code that what it waited for was killed.
        let was_killed = exit == Exit::Signal(libc::SIGKILL) || exit == Exit::Code(128 + libc::SIGKILL);
        if was_killed && self.oom_kills(id) > 0 { Exit::OutOfMemory { limit_bytes } } else { exit }
    }

    fn oom_kills(&self, id: &InstanceId) -> u64 {
        let file = match &self.tree {
            Ok(Tree::V2(folder)) => folder.join(self.name(id)).join("memory.events"),
            Ok(Tree::V1 { memory: Some(folder), .. }) => {
                folder.join(self.name(id)).join("memory.oom_control")
            }
            Ok(Tree::V1 { memory: None, .. }) | Err(_) => return 0,
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        kills.unwrap_or(0)
    }

    /// What has to be made and written, in order.
    fn plan(&self, limits: &InstanceLimits) -> Vec<(&Path, Vec<Entry>)> {
        match &self.tree {
            Err(_) => Vec::new(),
            Ok(Tree::V2(_)) if limits.is_empty() => Vec::new(),
            Ok(Tree::V2(folder)) => vec![(folder, entries_v2(limits))],
            Ok(Tree::V1 { memory, cpu, pids }) => [
                of_v1(memory.as_ref(), memory_v1(limits)),
                of_v1(cpu.as_ref(), cpu_v1(limits)),
                of_v1(pids.as_ref(), pids_of(limits)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        let folders = match &self.tree {
            Err(_) => [None, None, None],
            Ok(Tree::V2(folder)) => [Some(folder), None, None],
            Ok(Tree::V1 { memory, cpu, pids }) => [memory.as_ref(), cpu.as_ref(), pids.as_ref()],
        };
        folders.into_iter().flatten().map(PathBuf::as_path)
    }

    fn name(&self, id: &InstanceId) -> String {
        format!("{}{id}", self.prefix)
    }
}

fn of_v1(folder: Option<&PathBuf>, entries: Vec<Entry>) -> Option<(&Path, Vec<Entry>)> {
    folder.filter(|_| !entries.is_empty()).map(|folder| (folder.as_path(), entries))
}

/// `autostack-0123456789abcdef-`: several agents may share a host.
fn prefix(instances: &Path) -> String {
    let bytes = instances.as_os_str().as_encoded_bytes().iter();
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("autostack-{hash:016x}-")
}

/// The folder of version 2 in which groups are made: beside the agent's own group where it has one for itself, below
/// it where that hands its controllers down already.
fn v2(own: &Path) -> Result<Tree, String> {
    const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
    let is_alone = own.file_name().is_some_and(|name| name == AGENTS_OWN);
    let base = if is_alone { own.parent().unwrap_or(own) } else { own };
    let handed_down = || {
        let text = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
        let names: Vec<&str> = text.split_whitespace().collect();
        CONTROLLERS.iter().all(|controller| names.contains(controller))
    };
    if is_alone && !handed_down() {
        let asked = CONTROLLERS.map(|controller| format!("+{controller}")).join(" ");
        if let Err(error) = fs::write(base.join("cgroup.subtree_control"), asked) {
            return Err(format!("the agent may not divide its control group ({error})"));
        }
    }
    if !handed_down() {
        let hint = "run the agent as a service with Delegate=yes and DelegateSubgroup=agent";
        return Err(format!("the agent has no control group to divide: {hint}"));
    }
    may_make(base).map(|()| Tree::V2(base.to_owned()))
}

fn v1(own: &Cgroups) -> Result<Tree, String> {
    let usable = |controller| own.v1(controller).filter(|folder| may_make(folder).is_ok());
    let (memory, cpu, pids) = (usable("memory"), usable("cpu"), usable("pids"));
    if memory.is_none() && cpu.is_none() && pids.is_none() {
        return Err("the agent may make no control groups on this host".to_owned());
    }
    Ok(Tree::V1 { memory, cpu, pids })
}

fn may_make(folder: &Path) -> Result<(), String> {
    use nix::unistd::{AccessFlags, access};
    let allowed = access(folder, AccessFlags::W_OK | AccessFlags::X_OK);
    allowed.map_err(|error| format!("the agent may make no control groups ({error})"))
}

fn entries_v2(limits: &InstanceLimits) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(bytes) = limits.memory_bytes_max {
        entries.push(("memory.max", bytes.to_string()));
        // Not there where the host has no swap.
        entries.push(("?memory.swap.max", "0".to_owned()));
    }
    if let Some(bytes) = limits.memory_bytes_reserved {
        entries.push(("memory.low", bytes.to_string()));
    }
    if let Some(cpus) = limits.cpus_max {
        entries.push(("cpu.max", format!("{} {PERIOD_MICROS}", quota_micros(cpus))));
    }
    if let Some(cpus) = limits.cpus_reserved {
        // From shares (2 to 262144) to weights (1 to 10000), as container runtimes do.
        let weight = 1 + (shares(cpus).saturating_sub(2) * 9_999) / 262_142;
        entries.push(("cpu.weight", weight.to_string()));
    }
    entries.extend(pids_of(limits));
    entries
}

fn memory_v1(limits: &InstanceLimits) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(bytes) = limits.memory_bytes_max {
        entries.push(("memory.limit_in_bytes", bytes.to_string()));
        // Memory and swap together; not there where the kernel does not count swap.
        entries.push(("?memory.memsw.limit_in_bytes", bytes.to_string()));
    }
    if let Some(bytes) = limits.memory_bytes_reserved {
        entries.push(("memory.soft_limit_in_bytes", bytes.to_string()));
    }
    entries
}

fn cpu_v1(limits: &InstanceLimits) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(cpus) = limits.cpus_max {
        entries.push(("cpu.cfs_period_us", PERIOD_MICROS.to_string()));
        entries.push(("cpu.cfs_quota_us", quota_micros(cpus).to_string()));
    }
    if let Some(cpus) = limits.cpus_reserved {
        entries.push(("cpu.shares", shares(cpus).to_string()));
    }
    entries
}

fn pids_of(limits: &InstanceLimits) -> Vec<Entry> {
    limits.pids_max.map(|pids| ("pids.max", pids.to_string())).into_iter().collect()
}

fn quota_micros(cpus: MilliCpus) -> u64 {
    u64::from(cpus.0) * PERIOD_MICROS / 1_000
}

/// 1024 for a whole CPU.
pub(crate) fn shares(cpus: MilliCpus) -> u64 {
    (u64::from(cpus.0) * 1_024 / 1_000).clamp(2, 262_144)
}

/// Makes a group and writes its limits; a file whose name begins with `?` need not be there.
fn make_group(group: &Path, entries: &[Entry]) -> io::Result<()> {
    match fs::create_dir(group) {
        // Left behind by a start that was cut off.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for (name, value) in entries {
        let file = group.join(name.trim_start_matches('?'));
        let written = fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
        match written {
            Err(error) if name.starts_with('?') && error.kind() == io::ErrorKind::NotFound => {}
            written => written?,
        }
    }
    Ok(())
}

fn remove_group(group: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < REMOVE_TRIES => {
                tries += 1;
                thread::sleep(REMOVE_PAUSE);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: InstanceLimits = InstanceLimits {
        memory_bytes_max: Some(64 << 20),
        memory_bytes_reserved: Some(32 << 20),
        cpus_max: Some(MilliCpus(1_500)),
        cpus_reserved: Some(MilliCpus(500)),
        pids_max: Some(50),
    };

    /// A folder that looks like a group of version 2.
    fn group_of_v2(path: &Path, handed_down: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("cgroup.subtree_control"), handed_down).unwrap();
    }

    #[test]
    fn what_is_written_is_what_the_kernel_takes() {
        let v2 = [
            ("memory.max", "67108864"),
            ("?memory.swap.max", "0"),
            ("memory.low", "33554432"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "20"),
            ("pids.max", "50"),
        ];
        assert_eq!(entries_v2(&LIMITS), v2.map(|(file, value)| (file, value.to_owned())));
        let cpu = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000"), ("cpu.shares", "512")];
        assert_eq!(cpu_v1(&LIMITS), cpu.map(|(file, value)| (file, value.to_owned())));
        assert_eq!(memory_v1(&LIMITS)[0], ("memory.limit_in_bytes", "67108864".to_owned()));
        assert!(entries_v2(&InstanceLimits::default()).is_empty());
    }

    #[test]
    fn a_delegated_service_divides_the_group_above_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (service, own) =
            (dir.path().join("autostack.service"), dir.path().join("autostack.service/agent"));
        group_of_v2(&service, "cpu memory pids");
        group_of_v2(&own, "");
        let tree = v2(&own).unwrap();
        assert!(matches!(&tree, Tree::V2(folder) if *folder == service), "{tree:?}");
        let refusal = v2(&service.join("..").join("autostack.service").join("agent").join("deeper"));
        assert!(refusal.unwrap_err().contains("DelegateSubgroup=agent"));
    }

    #[test]
    fn an_end_by_the_kernel_is_told_from_a_kill_by_a_person() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups { tree: Ok(Tree::V2(dir.path().to_owned())), prefix: "x-".into() };
        let id: InstanceId = "shop.web.1.00000001".parse().unwrap();
        let group = dir.path().join("x-shop.web.1.00000001");
        fs::create_dir(&group).unwrap();
        let killed = Exit::Signal(libc::SIGKILL);
        assert_eq!(groups.judge(&id, &LIMITS, killed), killed);
        fs::write(group.join("memory.events"), "low 0\noom 3\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert_eq!(groups.judge(&id, &LIMITS, killed), Exit::OutOfMemory { limit_bytes: 64 << 20 });
        assert_eq!(groups.judge(&id, &LIMITS, Exit::Code(0)), Exit::Code(0));
        assert_eq!(groups.judge(&id, &InstanceLimits::default(), killed), killed);
    }

    #[test]
    fn what_does_not_hold_is_said() {
        let none = Groups { tree: Err("no groups here".into()), prefix: String::new() };
        let said = none.unenforced(&LIMITS);
        assert_eq!(said.len(), 5);
        assert_eq!(said[0], "the memory limit cannot be enforced: no groups here");
        assert!(none.unenforced(&InstanceLimits::default()).is_empty());
        let tree = Tree::V1 { memory: None, cpu: Some("/".into()), pids: Some("/".into()) };
        let some = Groups { tree: Ok(tree), prefix: String::new() };
        assert_eq!(some.unenforced(&LIMITS).len(), 2);
    }
}
