//! [`Manager`]: what systemd does for a service: it holds the listening sockets, hands them over, and hears what the
//! service says of itself.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd},
        unix::{net::UnixDatagram, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::dup2_raw;

use super::wait;

/// The descriptor of the first socket that is handed over (`sd_listen_fds(3)`).
const FIRST_FD: RawFd = 3;
/// Clear of the descriptors that sockets are handed over as.
const SPARE_FD: RawFd = 100;

/// Holds the sockets of a service.
pub(crate) struct Manager {
    ssh: TcpListener,
    http: TcpListener,
    heard: UnixDatagram,
    socket: PathBuf,
}

impl Manager {
    /// Opens the sockets.
    pub(crate) fn new(folder: &Path) -> Self {
        let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = folder.join("notify");
        let heard = UnixDatagram::bind(&socket).unwrap();
        heard.set_nonblocking(true).unwrap();
        Self { ssh: listener(), http: listener(), heard, socket }
    }

    /// Where it listens for visitors, whether the service runs or not.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.local_addr().unwrap()
    }

    /// Waits until the service says this of itself.
    #[track_caller]
    pub(crate) fn hears(&self, word: &str) {
        wait::soon(word, || {
            let mut buffer = [0; 4096];
            let length = self.heard.recv(&mut buffer).ok()?;
            String::from_utf8_lossy(&buffer[..length]).contains(word).then_some(())
        });
    }

    /// Makes the command one that gets the sockets. Its program is executed by a shell, which alone knows the pid that
    /// it will have.
    pub(crate) fn hand_over(&self, command: &Command) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args());
        shell.env_clear().current_dir("/");
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "http:ssh").env("NOTIFY_SOCKET", &self.socket);
        let sockets = [self.http.as_raw_fd(), self.ssh.as_raw_fd()];
        // SAFETY: between fork and exec it calls only dup2, which is async-signal-safe.
        unsafe {
            shell.pre_exec(move || hand_over(sockets));
        }
        shell
    }
}

/// Puts the sockets where a service looks for them; first out of each other's way.
fn hand_over(sockets: [RawFd; 2]) -> io::Result<()> {
    for (at, socket) in (0..).zip(sockets) {
        duplicate(socket, SPARE_FD + at)?;
    }
    for at in 0..2 {
        duplicate(SPARE_FD + at, FIRST_FD + at)?;
    }
    Ok(())
}

fn duplicate(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: whoever handed the number in keeps the descriptor open meanwhile.
    let source = unsafe { BorrowedFd::borrow_raw(from) };
    // SAFETY: what stood at `to` belongs to nobody in the forked child.
    let duplicated = unsafe { dup2_raw(source, to) }?;
    let _stays_open = duplicated.into_raw_fd();
    Ok(())
}
