//! [`Terminal`]: a program in a terminal of its own, as a person sits before it.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    pty::{Winsize, openpty},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::wait;

/// A program whose input, outputs and controlling terminal are one that a story types into.
pub(crate) struct Terminal {
    child: Child,
    ours: File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Ends when nobody has the terminal open any more.
    reader: thread::JoinHandle<()>,
}

impl Terminal {
    /// Starts it in a terminal of this size.
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let pair = openpty(&size(columns, rows), None).unwrap();
        let theirs = |fd: &OwnedFd| fd.try_clone().unwrap();
        command.stdin(theirs(&pair.slave)).stdout(theirs(&pair.slave)).stderr(theirs(&pair.slave));
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().unwrap();
        drop((command, pair.slave));
        let ours = File::from(pair.master);
        let (shown, mut reading) = (Arc::<Mutex<Vec<u8>>>::default(), ours.try_clone().unwrap());
        let filled = Arc::clone(&shown);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                filled.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, ours, shown, reader }
    }

    /// Types.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size, as a window that is dragged.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = size(columns, rows);
        // SAFETY: the kernel only reads a `Winsize`, which outlives the call.
        let done = unsafe { libc::ioctl(self.ours.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0);
    }

    /// All that was shown so far.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until this is shown.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_for_next("", text);
    }

    /// Waits until `first` is shown, and `text` somewhere after it.
    #[track_caller]
    pub(crate) fn wait_for_next(&self, first: &str, text: &str) {
        let end = Instant::now() + wait::SOON;
        let is_there = || self.shown().split_once(first).is_some_and(|(_, after)| after.contains(text));
        while !is_there() {
            assert!(Instant::now() < end, "{first:?}, {text:?} is not shown, but:\n{}", self.shown());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of the program; its exit code and all that was shown.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait::soon("the program in the terminal to end", || self.child.try_wait().unwrap());
        // What it wrote last is still on its way.
        wait::soon("all that was shown", || self.reader.is_finished().then_some(()));
        (status.code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let _ended = killpg(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGKILL);
            let _reaped = self.child.wait();
        }
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
