//! The one loop of the shim.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use autostack_base::now;
use autostack_domain::Exit;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::Signal,
        signalfd::SignalFd,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::tree;
use crate::process::{
    ONE_OFF_GRACE,
    output::{LineBuffer, OutputWriter, Source},
};

/// How long the rest of the tree may take after the program itself has ended.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// Grace when SIGTERM comes from somebody who did not say how long.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// Pauses between two rounds of SIGKILL, for processes that were forked meanwhile; the last is kept.
const KILL_PAUSES: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
];
/// Bytes read from one output at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads after the last descendant's end: a pipe holds 1 MiB at most.
const DRAIN_READS_MAX: usize = 32;

/// The program, its output, and how far its end has come.
pub(super) struct Supervisor {
    child: i32,
    writer: OutputWriter,
    signals: SignalFd,
    /// What is to be written down; nothing where somebody else reads it.
    outputs: Vec<Output>,
    lifeline: Option<OwnedFd>,
    /// How the program ended.
    exit: Option<Exit>,
    /// No descendant is left.
    alone: bool,
    phase: Phase,
    buffer: Vec<u8>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nobody asked.
    Running,
    /// All got SIGTERM; at the deadline all get SIGKILL.
    Ending { deadline: Instant },
    /// So many rounds of SIGKILL were sent, and this is when the next is due.
    Killing { rounds: usize, next: Instant },
}

impl Supervisor {
    pub(super) fn new(
        child: i32,
        writer: OutputWriter,
        signals: SignalFd,
        outputs: Vec<(OwnedFd, Source)>,
        lifeline: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let outputs = outputs.into_iter().map(|(pipe, source)| Output::new(pipe, source));
        let outputs = outputs.collect::<io::Result<_>>()?;
        Ok(Self {
            child,
            writer,
            signals,
            outputs,
            lifeline,
            exit: None,
            alone: false,
            phase: Phase::Running,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Runs until no descendant is left and all output is written.
    pub(super) fn run(&mut self) -> Exit {
        while !self.alone {
            let ready = self.wait();
            if ready.signal {
                self.take_signals();
            }
            self.reap();
            if ready.lifeline {
                self.lifeline = None;
                self.end_within(ONE_OFF_GRACE);
            }
            self.take_output();
            self.escalate();
        }
        // What the pipes still hold; bounded, as somebody outside the tree may have got hold of one.
        for _ in 0..DRAIN_READS_MAX {
            if !self.take_output() {
                break;
            }
        }
        self.finish_output();
        self.exit.unwrap_or(Exit::Unknown)
    }

    /// Ends everything at once.
    pub(super) fn kill(&mut self) {
        self.end_within(Duration::ZERO);
        self.run();
    }

    fn wait(&self) -> Ready {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let lifeline = self.lifeline.as_ref();
        fds.extend(lifeline.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        for output in &self.outputs {
            fds.extend(output.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        }
        let timeout = self.due().map(|due| {
            // Rounded up, or the loop would spin through the last millisecond.
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        // EINTR and ENOMEM alike: look at everything again.
        let polled = poll(&mut fds, timeout).is_ok();
        let is_ready = |at: usize| polled && fds.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
        Ready { signal: is_ready(0), lifeline: lifeline.is_some() && is_ready(1) }
    }

    fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => None,
            Phase::Ending { deadline } => Some(deadline),
            Phase::Killing { next, .. } => Some(next),
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if let Some(Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) = signal {
                let queued = info.ssi_code == libc::SI_QUEUE;
                let grace = if queued { Duration::from_millis(info.ssi_ptr) } else { DEFAULT_GRACE };
                self.end_within(grace);
            }
        }
    }

    /// Running → Ending, or an earlier deadline while Ending.
    fn end_within(&mut self, grace: Duration) {
        let now = Instant::now();
        // A grace of centuries overflows the clock; a year is as good.
        let wanted = now.checked_add(grace).unwrap_or(now + Duration::from_secs(365 * 24 * 3600));
        match self.phase {
            Phase::Running => {
                self.signal(Signal::SIGTERM);
                // A stopped process does not see SIGTERM before it goes on.
                self.signal(Signal::SIGCONT);
                self.phase = Phase::Ending { deadline: wanted };
            }
            Phase::Ending { deadline } => self.phase = Phase::Ending { deadline: deadline.min(wanted) },
            Phase::Killing { .. } => {}
        }
    }

    /// Ending → Killing at the deadline; Killing → the next round.
    fn escalate(&mut self) {
        let rounds = match self.phase {
            Phase::Running => return,
            Phase::Ending { .. } => 0,
            Phase::Killing { rounds, .. } => rounds,
        };
        if self.alone || self.due().is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.signal(Signal::SIGKILL);
        let pause = KILL_PAUSES.get(rounds).or(KILL_PAUSES.last()).copied().unwrap_or_default();
        self.phase = Phase::Killing { rounds: rounds + 1, next: Instant::now() + pause };
        self.reap();
    }

    fn signal(&self, signal: Signal) {
        // Once the program was reaped, its process group may be another's by now.
        tree::signal_all(self.child, self.exit.is_none(), signal);
    }

    /// Takes every ended process off the table, the adopted ones too. Once the program itself has ended,
    /// the rest of the tree is asked to.
    fn reap(&mut self) {
        self.reap_all();
        if self.exit.is_some() && !self.alone && matches!(self.phase, Phase::Running) {
            self.end_within(ORPHAN_GRACE);
        }
    }

    fn reap_all(&mut self) {
        loop {
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, Exit::Signal(signal as i32)),
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => {
                    self.alone = true;
                    return;
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn ended(&mut self, pid: Pid, exit: Exit) {
        if pid.as_raw() == self.child && self.exit.is_none() {
            self.exit = Some(exit);
        }
    }

    /// Reads once from each output and writes it down; whether there was anything.
    fn take_output(&mut self) -> bool {
        let mut any = false;
        for output in &mut self.outputs {
            any |= output.take(&mut self.buffer, &mut self.writer);
        }
        if any {
            self.writer.flush(now());
        }
        any
    }

    fn finish_output(&mut self) {
        let at = now();
        for output in &mut self.outputs {
            let source = output.source;
            output.lines.finish(|line| self.writer.push(at, source, line));
        }
        self.writer.flush(at);
    }
}

struct Ready {
    signal: bool,
    lifeline: bool,
}

/// One output of the program.
struct Output {
    /// `None` after its end.
    pipe: Option<File>,
    source: Source,
    lines: LineBuffer,
}

impl Output {
    fn new(pipe: OwnedFd, source: Source) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(File::from(pipe)), source, lines: LineBuffer::default() })
    }

    fn take(&mut self, buffer: &mut [u8], writer: &mut OutputWriter) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(taken) => {
                let (at, source) = (now(), self.source);
                self.lines.feed(&buffer[..taken], |line| writer.push(at, source, line));
                true
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => false,
                _ => {
                    self.pipe = None;
                    false
                }
            },
        }
    }
}
