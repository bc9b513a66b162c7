//! [`shim_main`].

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write, pipe},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
};

use autostack_base::now;
use nix::{
    libc,
    sys::{
        prctl,
        signal::SigSet,
        signalfd::{SfdFlags, SignalFd},
        stat::{Mode, umask},
    },
    unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::{child, supervise::Supervisor};
use crate::process::{
    handover::{self, Stdio},
    layout::{ExitRecord, InstanceDir, Kind, ShimRecord},
    output::{OutputWriter, Source},
    procfs::{self, Identity},
};

/// Runs the shim of one instance to its end. `args` is what follows `autostack shim`: the folder of the
/// instance, absolute. Called first of all in `main`, before any thread or runtime exists.
///
/// Standard output is a pipe to the agent: one line of JSON when the program has been executed, or a line
/// that begins with `error: `. Standard input of what ends with the agent is a socket that does so
/// too; a command beside an instance finds its standard descriptors in it.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(dir), None) = (args.next(), args.next()) else {
        say(b"error: usage: autostack shim INSTANCE_DIR\n");
        return ExitCode::from(2);
    };
    match run(PathBuf::from(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("error: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// A step that failed, in words for the agent's log and the pusher's screen.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
struct ShimError {
    step: String,
    source: io::Error,
}

fn at<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> ShimError {
    let step = step.into();
    move |source| ShimError { step, source: source.into() }
}

fn run(dir: PathBuf) -> Result<(), ShimError> {
    detach().map_err(at("leave the agent's session"))?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(at("make a signal descriptor"))?;
    let dir = InstanceDir::new(dir);
    let launch = dir
        .launch()
        .and_then(|launch| launch.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
        .map_err(at("read spec.json"))?;
    let exit = dir.reserve_exit().map_err(at("reserve exit.json"))?;
    let writer = OutputWriter::new(dir.path().to_owned(), launch.output);
    let (stdio, outputs) = connect(launch.kind)?;
    let tmp = launch.tmp.clone().unwrap_or_else(|| dir.tmp());
    let child = child::spawn(&launch, &tmp, stdio)
        .map_err(|error| error.into_parts())
        .map_err(|(step, source)| ShimError { step, source })?;
    let lifeline = lifeline(launch.kind).map_err(at("keep the lifeline"))?;
    // The environment is secret and may be large: it is not needed any more.
    drop(launch);
    let mut supervisor =
        Supervisor::new(child, writer, signals, outputs, lifeline).map_err(at("set up the output"))?;
    if let Err(error) = announce(&dir, child) {
        supervisor.kill();
        return Err(error);
    }
    let ended = supervisor.run();
    exit.write(ExitRecord { exit: ended, ended_at: now() }).map_err(at("write exit.json"))
}

type Outputs = Vec<(OwnedFd, Source)>;

/// The standard descriptors of the program, and those of its outputs that are read here.
fn connect(kind: Kind) -> Result<(Stdio, Outputs), ShimError> {
    match kind {
        Kind::Instance | Kind::OneOff => {
            let null = null().map_err(at("open /dev/null"))?;
            let (stdout, child_stdout) = pipe().map_err(at("make a pipe"))?;
            let (stderr, child_stderr) = pipe().map_err(at("make a pipe"))?;
            let outputs = vec![(stdout.into(), Source::Stdout), (stderr.into(), Source::Stderr)];
            Ok(([null, child_stdout.into(), child_stderr.into()], outputs))
        }
        Kind::Exec { .. } => {
            let stdio = handover::receive(io::stdin().as_raw_fd()).map_err(at("take over descriptors"))?;
            Ok((stdio, Vec::new()))
        }
    }
}

/// Own session, own signals, nothing of the agent's.
fn detach() -> nix::Result<()> {
    SigSet::all().thread_block()?;
    setsid()?;
    chdir("/")?;
    umask(Mode::from_bits_truncate(0o077));
    close_inherited();
    prctl::set_child_subreaper(true)?;
    prctl::set_name(c"autostack-shim")
}

/// Closes all but the three standard descriptors: sockets of systemd's come without close-on-exec.
fn close_inherited() {
    // SAFETY: no descriptor above 2 belongs to anything in this process yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Tells who runs: first on disk, for an agent to come; then to the agent that waits.
fn announce(dir: &InstanceDir, child: i32) -> Result<(), ShimError> {
    let record = ShimRecord {
        boot_id: procfs::boot_id().map_err(at("read the boot id"))?,
        shim: own_identity().map_err(at("look at /proc/self"))?,
        child: Identity::of(child).map_err(at("look at the program in /proc"))?,
        started_at: now(),
    };
    let mut text = serde_json::to_vec(&record).map_err(at("encode shim.json"))?;
    dir.write_shim_record(&text).map_err(at("write shim.json"))?;
    text.push(b'\n');
    say(&text);
    let null = null().map_err(at("open /dev/null"))?;
    dup2_stdout(&null).and_then(|()| dup2_stderr(&null)).map_err(at("let go of the agent"))
}

fn own_identity() -> io::Result<Identity> {
    Identity::of(i32::try_from(std::process::id()).map_err(io::Error::other)?)
}

/// What tells the end of the agent, for a one-off.
fn lifeline(kind: Kind) -> io::Result<Option<OwnedFd>> {
    let lifeline = match kind {
        Kind::Instance => None,
        Kind::OneOff | Kind::Exec { .. } => Some(nix::unistd::dup(io::stdin())?),
    };
    dup2_stdin(null()?)?;
    if let Some(lifeline) = &lifeline {
        close_on_exec(lifeline)?;
    }
    Ok(lifeline)
}

fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    debug_assert!(fd.as_raw_fd() > 2);
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

fn null() -> io::Result<OwnedFd> {
    OpenOptions::new().read(true).write(true).open(Path::new("/dev/null")).map(OwnedFd::from)
}

/// Writes to the agent, which may be gone.
fn say(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}
