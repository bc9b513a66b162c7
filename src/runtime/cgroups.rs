//! Which control groups a process is in, as the kernel tells of both versions.

use std::{fs, path::PathBuf};

/// Where control groups are mounted.
const MOUNTED: &str = "/sys/fs/cgroup";

/// The control group of each controller that a process is in: `memory` → `/docker/ID`. With version 2 there is one,
/// of all controllers, by the name ``.
#[derive(Debug)]
pub(crate) struct Cgroups(Vec<(String, String)>);

impl Cgroups {
    /// The groups of a process that belongs to a container; `None` where it does not, as far as can be told.
    pub(crate) fn of(pid: i32, container: &str) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        // A pid that came from an engine elsewhere may be anybody's here; the group's name is the container's id.
        text.contains(container).then(|| Self::parse(&text))
    }

    /// The groups of this process; `None` where the kernel has none.
    pub(crate) fn own() -> Option<Self> {
        fs::read_to_string("/proc/self/cgroup").ok().map(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let rows = text.lines().filter_map(|row| {
            let (_, rest) = row.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            Some((controllers.to_owned(), path.to_owned()))
        });
        Self(rows.collect())
    }

    /// The folder of the group that a controller of version 1 keeps.
    pub(crate) fn v1(&self, controller: &str) -> Option<PathBuf> {
        let is_it = |names: &str| names.split(',').any(|name| name == controller);
        let (names, path) = self.0.iter().find(|(names, _)| is_it(names))?;
        let mounts = [names.as_str(), controller].map(|mount| PathBuf::from(MOUNTED).join(mount));
        let folders = mounts.map(|mount| mount.join(path.trim_start_matches('/')));
        folders.into_iter().find(|folder| folder.is_dir())
    }

    /// The folder of the group of version 2.
    pub(crate) fn v2(&self) -> Option<PathBuf> {
        let (_, path) = self.0.iter().find(|(names, _)| names.is_empty())?;
        let folder = PathBuf::from(MOUNTED).join(path.trim_start_matches('/'));
        folder.join("cgroup.controllers").is_file().then_some(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_read() {
        let v1 = Cgroups::parse(
            "12:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab\n1:name=systemd:/docker/ab\n0::/\n",
        );
        assert_eq!(v1.0[0], ("cpu,cpuacct".to_owned(), "/docker/ab".to_owned()));
        assert_eq!(v1.0[3], (String::new(), "/".to_owned()));
        let v2 = Cgroups::parse("0::/system.slice/docker-ab.scope\n");
        assert_eq!(v2.0, [(String::new(), "/system.slice/docker-ab.scope".to_owned())]);
    }

    #[test]
    fn a_process_of_the_host_is_in_no_container() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(Cgroups::of(own, &"ab".repeat(32)).is_none());
    }
}
