//! A child process whose output is read while it runs. Nothing waits without a bound.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How long a command may take: a push that installs packages is the slowest.
pub(crate) const COMMAND_LIMIT: Duration = Duration::from_secs(240);

/// How a command ended and what it wrote.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output of a command that must end well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Standard output, then standard error.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A running child in a process group of its own, as a shell would start it. Dropped, the group is killed.
pub(crate) struct Live {
    child: Child,
    name: String,
    stdin: Option<ChildStdin>,
    stdout: Collected,
    stderr: Collected,
    ended: Option<ExitStatus>,
}

impl Live {
    /// Starts it; standard input stays open until [`Live::close_input`] or the end.
    pub(crate) fn start(mut command: Command) -> Self {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            stdin: child.stdin.take(),
            stdout: Collected::of(child.stdout.take().unwrap()),
            stderr: Collected::of(child.stderr.take().unwrap()),
            child,
            name,
            ended: None,
        }
    }

    /// Writes to its standard input. A program that reads no more tells by its end how it went.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.stdin.as_mut().unwrap().write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
    }

    /// Ends its standard input.
    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits until its standard output, or its standard error, holds the text.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let end = Instant::now() + super::wait::SOON;
        while !self.seen().contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} did not say {text:?}, but:\n{}", self.name, self.seen());
            self.stderr.changed_or_after(left.min(Duration::from_millis(10)));
        }
    }

    /// What it has written so far: standard output, then standard error.
    pub(crate) fn seen(&self) -> String {
        self.stdout.text() + &self.stderr.text()
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Sends a signal to its whole process group, as the terminal does on Ctrl-C.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ended = killpg(self.group(), signal);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        self.close_input();
        let end = Instant::now() + COMMAND_LIMIT;
        while !self.has_ended() {
            assert!(Instant::now() < end, "{} did not end; it said:\n{}", self.name, self.seen());
            thread::sleep(Duration::from_millis(5));
        }
        // What it wrote last is still in the pipes; a grandchild that holds them open is not waited for.
        self.stdout.join();
        self.stderr.join();
        let status = self.ended.unwrap();
        let code = status.code();
        assert!(code.is_some() || status.signal().is_some());
        Output { code, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::SIGKILL);
            let _reaped = self.child.wait();
        }
    }
}

/// Runs a command to its end with this input.
#[track_caller]
pub(crate) fn run(command: Command, input: &[u8]) -> Output {
    let mut live = Live::start(command);
    if !input.is_empty() {
        live.write(input);
    }
    live.end()
}

/// What a pipe has given so far.
struct Collected {
    shared: Arc<(Mutex<Vec<u8>>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let shared: Arc<(Mutex<Vec<u8>>, Condvar)> = Arc::default();
        let filled = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                filled.0.lock().unwrap().extend_from_slice(&buffer[..count]);
                filled.1.notify_all();
            }
        });
        Self { shared, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.0.lock().unwrap()).into_owned()
    }

    fn changed_or_after(&self, limit: Duration) {
        drop(self.shared.1.wait_timeout(self.shared.0.lock().unwrap(), limit).unwrap());
    }

    fn join(&mut self) {
        let reader = self.reader.take().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while !reader.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}
