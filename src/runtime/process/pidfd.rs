//! A handle on one process: unlike a pid it never means another one.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use tokio::io::{Interest, unix::AsyncFd};

use super::procfs::Identity;

/// A process, by `pidfd_open(2)`. Readable once it has ended.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// The process of this identity; `None` where it has ended, or another one has its pid now.
    pub(crate) fn open(identity: Identity) -> io::Result<Option<Self>> {
        let opened = match Self::open_pid(identity.pid) {
            Ok(opened) => opened,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Looked at after opening: if the identity is right now, the handle is on that very process.
        Ok(identity.is_alive().then_some(opened))
    }

    /// The process that has this pid now; only for children that were not waited for.
    pub(crate) fn open_pid(pid: i32) -> io::Result<Self> {
        // SAFETY: the call takes two integers and gives a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal; whether the process was there to get it.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.send(signal, std::ptr::null())
    }

    /// Sends a signal that carries a number, as `sigqueue(3)` does; whether the process was there.
    pub(crate) fn signal_with(&self, signal: Signal, value: usize) -> io::Result<bool> {
        let info = QueuedSignal {
            signo: signal as i32,
            errno: 0,
            code: libc::SI_QUEUE,
            // SAFETY: both calls take nothing and cannot fail.
            sender: unsafe { Sender { pid: libc::getpid(), uid: libc::getuid(), value } },
            rest: [0; 12],
        };
        self.send(signal, (&raw const info).cast())
    }

    fn send(&self, signal: Signal, info: *const libc::siginfo_t) -> io::Result<bool> {
        let fd = self.0.as_raw_fd();
        // SAFETY: `info` is null or points to a `siginfo_t` that outlives the call.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, info, 0) };
        if sent == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) { Ok(false) } else { Err(error) }
    }

    /// The same, to be waited for by a task.
    pub(crate) fn into_async(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is owned, never replaced, and closed only when this is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        registered.map_err(io::Error::from)
    }

    /// Waits until it has ended, `budget` at most; whether it has. Blocks.
    pub(crate) fn wait(&self, budget: Duration) -> bool {
        let deadline = Instant::now() + budget;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(Errno::EINTR) => {}
                Err(_) | Ok(0) => return false,
                Ok(_) => return true,
            }
        }
    }

    /// Takes the ended process off the process table where it is a child of ours; otherwise whoever
    /// inherited it does that.
    pub(crate) fn reap(&self) {
        let id = libc::id_t::try_from(self.0.as_raw_fd()).unwrap_or_default();
        // SAFETY: all zero is a valid `siginfo_t`, and the kernel only writes into it.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::WNOHANG);
        }
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A `siginfo_t` as `sigqueue(3)` fills it in.
#[repr(C)]
struct QueuedSignal {
    signo: i32,
    errno: i32,
    code: i32,
    sender: Sender,
    rest: [usize; 12],
}

#[repr(C)]
struct Sender {
    pid: i32,
    uid: u32,
    value: usize,
}

const _: () = assert!(size_of::<QueuedSignal>() >= size_of::<libc::siginfo_t>() || size_of::<usize>() == 4);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_recycled_pid_is_never_opened() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let earlier = Identity { start_ticks: identity.start_ticks - 1, ..identity };
        assert!(PidFd::open(earlier).unwrap().is_none());
        let opened = PidFd::open(identity).unwrap().unwrap();
        assert!(opened.signal(Signal::SIGKILL).unwrap());
        child.wait().unwrap();
        assert!(!opened.signal(Signal::SIGKILL).unwrap());
        assert!(PidFd::open(identity).unwrap().is_none());
    }
}
