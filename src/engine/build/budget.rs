//! [`BuildKitBudget`]: limits for what BuildKit runs, set where BuildKit itself has no way to.
//!
//! BuildKit ignores `--memory` and its like. With the `cgroupfs` driver the engine puts every command of a build
//! below one control group, `docker/buildkit`; an agent that is root on the same machine limits that group, and
//! so all builds of the engine together.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
};

use nix::{
    sys::eventfd::{EfdFlags, EventFd},
    unistd::geteuid,
};

use super::request::{Budget, Unenforced};
use crate::about::{About, Product};

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// What builds run below, relative to the root of the hierarchy.
const BUILDKIT_GROUP: &str = "docker/buildkit";
/// Processes and threads of all builds together: enough for the largest, an end to a fork bomb.
pub(crate) const BUILD_PIDS_MAX: u64 = 16_384;
/// Weight against running containers, which have 1,024: builds take what these leave.
pub(crate) const BUILD_CPU_SHARES: u64 = 102;
/// The same in the scale of version 2, where containers have 100.
const BUILD_CPU_WEIGHT: u64 = 10;
/// Microseconds over which processor time is counted.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;

/// Microseconds of processor time in each period.
pub(crate) fn quota_us(cpus: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and a share of a period is a whole number"
    )]
    let quota = (cpus * 100_000.0) as u64;
    // The kernel takes no less than a millisecond.
    quota.max(1_000)
}

/// The limits of all builds, as they were set for one.
#[derive(Debug)]
pub(crate) struct BuildKitBudget {
    /// Set where a memory limit is, and can be watched.
    watch: Option<Watch>,
    memory_bytes: Option<u64>,
    /// What could not be limited.
    pub(crate) unenforced: Vec<Unenforced>,
}

#[derive(Debug, Clone)]
enum Group {
    /// Version 1: a tree for each controller.
    V1 { root: PathBuf },
    /// Version 2: one tree.
    V2 { root: PathBuf },
}

impl BuildKitBudget {
    /// Sets the limits, or says which could not be set. Blocks, shortly.
    pub(crate) fn set(budget: Budget, about: &About) -> Self {
        let group = match reachable(about) {
            Ok(group) => group,
            Err(why) => return Self::none(budget, why),
        };
        let mut unenforced = Vec::new();
        let mut note = |what, outcome: io::Result<()>| {
            if let Err(error) = outcome {
                unenforced.push(Unenforced { what, why: format!("the control group of builds: {error}") });
            }
        };
        note("memory", group.make().and_then(|()| group.limit_memory(budget.memory_bytes)));
        note("processors", group.limit_cpu(budget.cpus));
        note("processes", group.limit_pids());
        let watch = budget.memory_bytes.and_then(|_| group.watch().ok());
        Self { watch, memory_bytes: budget.memory_bytes, unenforced }
    }

    fn none(budget: Budget, why: &str) -> Self {
        let what = [
            ("memory", budget.memory_bytes.is_some()),
            ("processors", budget.cpus.is_some()),
            ("processes", true),
        ];
        let unenforced = what.into_iter().filter(|(_, is_asked)| *is_asked);
        let unenforced = unenforced.map(|(what, _)| Unenforced { what, why: why.to_owned() }).collect();
        Self { watch: None, memory_bytes: budget.memory_bytes, unenforced }
    }

    /// The limit in bytes, if a process had to be killed for it since it was set. Blocks, shortly.
    pub(crate) fn killed_for(&self) -> Option<u64> {
        self.watch.as_ref().filter(|watch| watch.has_killed())?;
        self.memory_bytes
    }
}

/// Sees that a process of the group was killed because memory ran out.
#[derive(Debug)]
enum Watch {
    /// Version 1 counts only in the group of the process itself, which is gone by then; but whoever asks for it is
    /// told of every group below.
    V1(EventFd),
    /// Version 2 counts for all groups below: so many before.
    V2 { events: PathBuf, before: u64 },
}

impl Watch {
    fn has_killed(&self) -> bool {
        match self {
            Watch::V1(told) => told.read().is_ok(),
            Watch::V2 { events, before } => kills(events) > *before,
        }
    }
}

fn kills(events: &Path) -> u64 {
    let events = fs::read_to_string(events).unwrap_or_default();
    let of = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    events.lines().find_map(of).unwrap_or(0)
}

/// The group, or why it is out of reach.
fn reachable(about: &About) -> Result<Group, &'static str> {
    if about.product != Product::Docker {
        return Err("only Docker's BuildKit runs in a control group that is known");
    }
    if !about.is_local {
        return Err("the engine runs on another machine");
    }
    if about.is_rootless {
        return Err("the engine runs without root");
    }
    if !geteuid().is_root() {
        return Err("the agent does not run as root");
    }
    if about.cgroup_driver != "cgroupfs" {
        return Err("the engine leaves control groups to systemd, where BuildKit has none of its own");
    }
    let root = PathBuf::from(CGROUPS);
    match about.cgroup_version {
        1 => Ok(Group::V1 { root }),
        2 => Ok(Group::V2 { root }),
        _ => Err("the engine does not say which control groups it uses"),
    }
}

impl Group {
    /// Makes the group where no build has run yet; the engine takes it as it finds it.
    fn make(&self) -> io::Result<()> {
        match self {
            Group::V1 { root } => ["memory", "cpu", "pids"]
                .iter()
                .try_for_each(|controller| fs::create_dir_all(root.join(controller).join(BUILDKIT_GROUP))),
            Group::V2 { root } => {
                fs::create_dir_all(root.join(BUILDKIT_GROUP))?;
                // A controller reaches a group only when each above hands it down.
                for above in ["", "docker"] {
                    for controller in ["+memory", "+cpu", "+pids"] {
                        fs::write(root.join(above).join("cgroup.subtree_control"), controller)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn file(&self, controller: &str, name: &str) -> PathBuf {
        match self {
            Group::V1 { root } => root.join(controller).join(BUILDKIT_GROUP).join(name),
            Group::V2 { root } => root.join(BUILDKIT_GROUP).join(name),
        }
    }

    fn write(&self, controller: &str, name: &str, value: &str) -> io::Result<()> {
        let path = self.file(controller, name);
        fs::write(&path, value)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn limit_memory(&self, bytes: Option<u64>) -> io::Result<()> {
        let value = |unlimited: &str| bytes.map_or_else(|| unlimited.to_owned(), |bytes| bytes.to_string());
        match self {
            Group::V1 { .. } => {
                let value = value("-1");
                let has_swap = self.file("memory", "memory.memsw.limit_in_bytes").exists();
                // The limit with swap may at no time be below the one without: which of the two goes first
                // depends on the direction.
                let first = self.write("memory", "memory.limit_in_bytes", &value);
                if has_swap {
                    self.write("memory", "memory.memsw.limit_in_bytes", &value)?;
                }
                first.or_else(|_| self.write("memory", "memory.limit_in_bytes", &value))
            }
            Group::V2 { .. } => {
                self.write("memory", "memory.max", &value("max"))?;
                match self.file("memory", "memory.swap.max").exists() {
                    true => {
                        self.write("memory", "memory.swap.max", if bytes.is_some() { "0" } else { "max" })
                    }
                    false => Ok(()),
                }
            }
        }
    }

    fn limit_cpu(&self, cpus: Option<f64>) -> io::Result<()> {
        match self {
            Group::V1 { .. } => {
                let quota = cpus.map_or_else(|| "-1".to_owned(), |cpus| quota_us(cpus).to_string());
                self.write("cpu", "cpu.shares", &BUILD_CPU_SHARES.to_string())?;
                self.write("cpu", "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                self.write("cpu", "cpu.cfs_quota_us", &quota)
            }
            Group::V2 { .. } => {
                let quota = cpus.map_or_else(|| "max".to_owned(), |cpus| quota_us(cpus).to_string());
                self.write("cpu", "cpu.weight", &BUILD_CPU_WEIGHT.to_string())?;
                self.write("cpu", "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))
            }
        }
    }

    fn limit_pids(&self) -> io::Result<()> {
        self.write("pids", "pids.max", &BUILD_PIDS_MAX.to_string())
    }

    fn watch(&self) -> io::Result<Watch> {
        match self {
            Group::V1 { .. } => {
                let told = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
                let control = File::open(self.file("memory", "memory.oom_control"))?;
                let order = format!("{} {}", told.as_fd().as_raw_fd(), control.as_raw_fd());
                self.write("memory", "cgroup.event_control", &order)?;
                Ok(Watch::V1(told))
            }
            Group::V2 { .. } => {
                let events = self.file("memory", "memory.events");
                let before = kills(&events);
                Ok(Watch::V2 { events, before })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would have, as plain files.
    fn fake(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn version_2_gets_its_limits() {
        let dir = fake(&["docker/buildkit/memory.swap.max", "cgroup.subtree_control"]);
        let group = Group::V2 { root: dir.path().to_owned() };
        group.make().unwrap();
        group.limit_memory(Some(1 << 30)).unwrap();
        group.limit_cpu(Some(1.5)).unwrap();
        group.limit_pids().unwrap();
        let read = |name: &str| fs::read_to_string(group.file("", name)).unwrap();
        assert_eq!(read("memory.max"), "1073741824");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(read("cpu.weight"), "10");
        assert_eq!(read("pids.max"), "16384");
        group.limit_memory(None).unwrap();
        group.limit_cpu(None).unwrap();
        assert_eq!((read("memory.max").as_str(), read("cpu.max").as_str()), ("max", "max 100000"));
        let watch = group.watch().unwrap();
        fs::write(group.file("", "memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert!(watch.has_killed());
        assert!(!group.watch().unwrap().has_killed(), "what was before does not count");
    }

    #[test]
    fn a_share_of_a_processor_is_never_nothing() {
        assert_eq!((quota_us(0.0), quota_us(0.5), quota_us(2.0)), (1_000, 50_000, 200_000));
        assert_eq!(quota_us(f64::MAX), u64::MAX);
    }

    #[test]
    fn what_cannot_be_limited_is_named_once() {
        let budget = Budget { memory_bytes: Some(1), cpus: None };
        let unenforced = BuildKitBudget::none(budget, "the agent does not run as root").unenforced;
        let what: Vec<_> = unenforced.iter().map(|it| it.what).collect();
        assert_eq!(what, ["memory", "processes"]);
    }
}
