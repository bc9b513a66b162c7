//! A terminal for a command: the pair of its two sides.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use nix::{
    fcntl::OFlag,
    libc,
    pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt},
};

use crate::exec::TerminalSize;

/// Makes a terminal of this size: the agent's side, then the side that a program takes for a terminal. Neither
/// is passed on to children, nor becomes anybody's controlling terminal.
pub(crate) fn open(size: TerminalSize) -> io::Result<(File, OwnedFd)> {
    let ours = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname_r(&ours)?;
    let theirs = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name)?;
    let ours = File::from(OwnedFd::from(ours));
    resize(&ours, size)?;
    Ok((ours, theirs.into()))
}

/// Changes the size of a terminal; the programs in its foreground get SIGWINCH where that is a change.
pub(crate) fn resize(terminal: &impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel only reads a `Winsize`, which outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leads a session of its own and takes the terminal on descriptor 0 as its controlling one: keys that are
/// signals reach the program from now on. Between fork and exec: only system calls.
pub(crate) fn take_control() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: the call takes two integers.
    let done = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
