//! What the host says of a container's processes, where they are processes of this host.

use std::{fs, io, path::PathBuf, time::Duration};

use nix::sys::signal::Signal;

use crate::process::{
    pidfd::PidFd,
    procfs::{Stat, processes},
};

/// The control group of each controller that a process is in: `memory` → `/docker/ID`. With version 2 there is one,
/// of all controllers, by the name ``.
#[derive(Debug)]
pub(super) struct Cgroups(Vec<(String, String)>);

impl Cgroups {
    /// The groups of a process that belongs to a container; `None` where it does not, as far as can be told.
    pub(super) fn of(pid: i32, container: &str) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        // A pid that came from an engine elsewhere may be anybody's here; the group's name is the container's id.
        text.contains(container).then(|| Self::parse(&text))
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
    pub(super) fn v1(&self, controller: &str) -> Option<PathBuf> {
        let is_it = |names: &str| names.split(',').any(|name| name == controller);
        let (names, path) = self.0.iter().find(|(names, _)| is_it(names))?;
        let mounts = [names.as_str(), controller].map(|mount| PathBuf::from("/sys/fs/cgroup").join(mount));
        let folders = mounts.map(|mount| mount.join(path.trim_start_matches('/')));
        folders.into_iter().find(|folder| folder.is_dir())
    }

    /// The folder of the group of version 2.
    pub(super) fn v2(&self) -> Option<PathBuf> {
        let (_, path) = self.0.iter().find(|(names, _)| names.is_empty())?;
        let folder = PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        folder.join("cgroup.controllers").is_file().then_some(folder)
    }
}

/// The table of sockets of a container's network, as `/proc/net/tcp` shows it; `None` where the host does not show
/// it.
pub(super) fn socket_tables(pid: i32, container: &str) -> Option<String> {
    Cgroups::of(pid, container)?;
    let ipv4 = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    let ipv6 = fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
    Some(ipv4 + &ipv6)
}

/// Rounds after which a container that makes processes faster than they are killed is given up.
const KILL_ROUNDS: usize = 50;
const KILL_PAUSE: Duration = Duration::from_millis(10);

/// Kills the processes of a container that were executed with a variable in their environment; whether none is
/// left. Blocks.
pub(super) fn kill_marked(container: &str, variable: &str) -> io::Result<bool> {
    for _ in 0..KILL_ROUNDS {
        let mut found = false;
        for stat in processes()? {
            found |= kill_if_marked(stat, container, variable)?;
        }
        if !found {
            return Ok(true);
        }
        std::thread::sleep(KILL_PAUSE);
    }
    Ok(false)
}

fn kill_if_marked(stat: Stat, container: &str, variable: &str) -> io::Result<bool> {
    if Cgroups::of(stat.pid, container).is_none() {
        return Ok(false);
    }
    let environment = match fs::read(format!("/proc/{}/environ", stat.pid)) {
        Ok(environment) => environment,
        // It has ended meanwhile; a zombie has no environment.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let is_marked = environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
    match is_marked {
        true => match PidFd::open(stat.identity())? {
            Some(process) => process.signal(Signal::SIGKILL),
            None => Ok(false),
        },
        false => Ok(false),
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
        assert!(socket_tables(own, &"ab".repeat(32)).is_none());
    }
}
