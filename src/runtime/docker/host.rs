//! What the host says of a container's processes, where they are processes of this host.

use std::{fs, io, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    cgroups::Cgroups,
    process::{
        pidfd::PidFd,
        procfs::{Stat, processes},
    },
};

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
    fn a_process_of_the_host_is_in_no_container() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(Cgroups::of(own, &"ab".repeat(32)).is_none());
        assert!(socket_tables(own, &"ab".repeat(32)).is_none());
    }
}
