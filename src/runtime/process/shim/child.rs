//! How the program of an app is executed.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::Command,
};

use autostack_domain::{Program, env_map::SYSTEM_PATH};
use nix::{
    libc,
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
        stat::{Mode, umask},
    },
    unistd::{Pid, setpgid},
};

use crate::process::{
    handover::Stdio,
    layout::{Kind, Launch},
    procfs::MARK,
    terminal,
};

/// Open files of an app: what a server with some ten thousand connections needs, where the host allows it.
const OPEN_FILES: u64 = 65_536;
/// Out of memory the kernel takes an app before it takes the agent or the shim.
const OOM_SCORE_ADJ: &[u8] = b"200";

/// Why the program was not executed.
#[derive(Debug)]
pub(super) enum SpawnError {
    /// The folder it should start in.
    Folder { path: String, source: io::Error },
    /// It is not a program of this host.
    Image,
    /// Anything else.
    Execute { source: io::Error },
}

impl SpawnError {
    pub(super) fn into_parts(self) -> (String, io::Error) {
        match self {
            SpawnError::Folder { path, source } => (format!("enter {path}"), source),
            SpawnError::Image => ("run an image as a process".to_owned(), io::ErrorKind::Unsupported.into()),
            SpawnError::Execute { source } => ("execute /bin/sh".to_owned(), source),
        }
    }
}

/// Executes `/bin/sh -c COMMAND` in a process group of its own and gives its pid. When this returns, the shell
/// has been executed.
pub(super) fn spawn(launch: &Launch, tmp: &Path, [stdin, stdout, stderr]: Stdio) -> Result<i32, SpawnError> {
    let spec = &launch.spec;
    let Program::Folder { dir, command: line } = &spec.program else { return Err(SpawnError::Image) };
    if let Err(source) = std::fs::read_dir(dir) {
        return Err(SpawnError::Folder { path: dir.display().to_string(), source });
    }
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line).current_dir(dir);
    command.env_clear().env("PATH", SYSTEM_PATH).env("HOME", dir).env("TMPDIR", tmp);
    command.envs(spec.env.iter().map(|(name, value)| (name, OsStr::from_bytes(value))));
    if let Some(port) = launch.port {
        command.env("PORT", port.to_string());
    }
    command.env(MARK, spec.id.as_str());
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let has_terminal = launch.kind == Kind::Exec { terminal: true };
    let groups: Vec<CString> = launch
        .groups
        .iter()
        .map(|group| CString::new(group.as_os_str().as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|error| SpawnError::Execute { source: error.into() })?;
    // SAFETY: `enter` only makes system calls; it neither allocates nor takes a lock, and the shim has one
    // thread.
    unsafe { command.pre_exec(move || enter(has_terminal, &groups)) };
    let child = command.spawn().map_err(|source| SpawnError::Execute { source })?;
    i32::try_from(child.id()).map_err(|error| SpawnError::Execute { source: io::Error::other(error) })
}

/// What happens in the child between fork and exec. Confinement (user, namespaces, seccomp, cgroup) goes
/// here, before the signals are given back.
fn enter(has_terminal: bool, groups: &[CString]) -> io::Result<()> {
    groups.iter().try_for_each(|group| enter_group(group))?;
    if has_terminal {
        terminal::take_control()?;
    } else {
        // A group of its own, in the session of the shim: what it starts is found by descent anyway.
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    }
    // Without its shim nobody reads its output or knows of its end.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES), hard)?;
    raise_oom_score();
    restore_signals();
    Ok(())
}

/// Limits that it was promised hold from its first instruction on, or it does not run.
fn enter_group(procs: &CStr) -> io::Result<()> {
    const SELF: &[u8] = b"0";
    // SAFETY: the path ends in NUL, the buffer is as long as said, and the descriptor is closed here.
    unsafe {
        let fd = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let written = libc::write(fd, SELF.as_ptr().cast(), SELF.len());
        let error = io::Error::last_os_error();
        libc::close(fd);
        if written < 0 { Err(error) } else { Ok(()) }
    }
}

fn raise_oom_score() {
    // SAFETY: the path ends in NUL, the buffer is as long as said, and the descriptor is closed here.
    // Where the host does not allow it, nothing is lost.
    unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, OOM_SCORE_ADJ.as_ptr().cast(), OOM_SCORE_ADJ.len());
            libc::close(fd);
        }
    }
}

/// Ignored signals and the mask survive exec; an app expects neither. By system call, as the library would
/// not touch the two that it keeps for itself, which it had ignored when it started the shim.
fn restore_signals() {
    // All zero is `SIG_DFL` without flags; larger than the kernel's `struct sigaction` anywhere.
    let default = [0u64; 8];
    const SIGNALS: libc::c_int = 64;
    const SET_BYTES: usize = 8;
    // SAFETY: resetting a signal to its default runs no handler, and those that cannot be reset stay; the
    // mask is as long as said.
    unsafe {
        for signal in 1..=SIGNALS {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SET_BYTES);
        }
        let none: *mut libc::sigset_t = std::ptr::null_mut();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, default.as_ptr(), none, SET_BYTES);
    }
}
