//! What a command does in [`super::MemoryBackend`].

use std::time::Duration;

use autostack_domain::Exit;
use autostack_logs::OutputStream;

/// Where a program listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// On `PORT`, where it answers every HTTP request.
    OnPort,
    /// On a port that nobody told it.
    Elsewhere,
    /// Nowhere.
    Nowhere,
}

/// What a program does when it is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// It ends so, at once.
    Ends(Exit),
    /// It goes on until it is killed.
    Ignores,
}

/// What a command does that runs beside an instance ([`crate::Backend::exec`]), after it has printed its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Prints a line.
    Print(String),
    /// Copies its input to its output until that ends.
    CopyInput,
    /// Reads until these bytes came in.
    AwaitInput(Vec<u8>),
    /// Prints the value of a variable as a line; an empty one where it is not set.
    PrintVariable(String),
    /// Prints `ROWS COLUMNS` of its terminal, or `no terminal`.
    PrintSize,
    /// Waits until its terminal has another size.
    AwaitResize,
}

/// A scripted program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) prints: Vec<(OutputStream, Vec<u8>)>,
    pub(super) listens: Listens,
    pub(super) status: u16,
    pub(super) ends: Option<(Duration, Exit)>,
    pub(super) on_term: OnTerm,
    pub(super) refuses: Option<String>,
    pub(super) steps: Vec<Step>,
    pub(super) memory_bytes: u64,
    pub(super) cpus: u32,
}

impl Program {
    /// Listens on `PORT`, answers every request with status 200 and its instance id, and ends by SIGTERM.
    pub fn server() -> Self {
        Self {
            prints: Vec::new(),
            listens: Listens::OnPort,
            status: 200,
            ends: None,
            on_term: OnTerm::Ends(Exit::Signal(15)),
            refuses: None,
            steps: Vec::new(),
            memory_bytes: 1 << 20,
            cpus: 0,
        }
    }

    /// Runs and listens nowhere.
    pub fn worker() -> Self {
        Self { listens: Listens::Nowhere, ..Self::server() }
    }

    /// Ends at once.
    pub fn ends(exit: Exit) -> Self {
        Self { ends: Some((Duration::ZERO, exit)), ..Self::worker() }
    }

    /// Cannot be executed.
    pub fn refuses_to_start(why: &str) -> Self {
        Self { refuses: Some(why.to_owned()), ..Self::worker() }
    }

    /// Prints a line on its standard output first.
    #[must_use]
    pub fn print(self, line: &str) -> Self {
        self.print_on(OutputStream::Stdout, line)
    }

    /// Prints a line on one of its outputs first.
    #[must_use]
    pub fn print_on(mut self, stream: OutputStream, line: &str) -> Self {
        self.prints.push((stream, line.as_bytes().to_vec()));
        self
    }

    /// Ends by itself after a while.
    #[must_use]
    pub fn ends_after(mut self, after: Duration, exit: Exit) -> Self {
        self.ends = Some((after, exit));
        self
    }

    /// Listens there instead.
    #[must_use]
    pub fn listens(mut self, listens: Listens) -> Self {
        self.listens = listens;
        self
    }

    /// Answers with this HTTP status instead.
    #[must_use]
    pub fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Does this next when it runs beside an instance.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Uses so much memory, and so many CPUs without a pause.
    #[must_use]
    pub fn uses(mut self, memory_bytes: u64, cpus: u32) -> Self {
        (self.memory_bytes, self.cpus) = (memory_bytes, cpus);
        self
    }

    /// Does this when asked to end.
    #[must_use]
    pub fn on_term(mut self, on_term: OnTerm) -> Self {
        self.on_term = on_term;
        self
    }
}
